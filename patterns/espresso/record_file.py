"""A recording that is being written: bounded, buffered, closed for good by the first failure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from patterns.espresso.protocol import Kind, Record
from patterns.espresso.recording import encode_entries, encode_entry, encode_header

MAX_FILE_BYTES = 10 * 1024**3
FLUSH_SECONDS = 1.0
"""How often whoever writes should call `flush`: so much is lost when the process dies."""

_BUFFER_BYTES = 256 * 1024
_BATCH = 100


class RecordFile:
    """Writes records to `path`, up to `max_bytes`; nothing more after a failed write."""

    def __init__(
        self, path: str | Path, *, max_bytes: int = MAX_FILE_BYTES, overwrite: bool = False
    ) -> None:
        self.path = Path(path)
        self.max_bytes = max_bytes
        self.overwrite = overwrite
        self.bytes_written = 0
        self.written = 0
        """How many records are in the file."""
        self.refused = 0
        """How many were too long, or came when the file was full or closed."""
        self.full = False
        self._began = 0.0
        self._file: BinaryIO | None = None
        self._waiting: list[tuple[float, Kind, Sequence[bytes]]] = []

    def open(self, began: float, wall: float) -> None:
        """Create the file; `began` is now in the records' time, `wall` the time of day.

        Raises OSError, FileExistsError unless `overwrite`.
        """
        self._file = open(self.path, "wb" if self.overwrite else "xb", buffering=_BUFFER_BYTES)
        self._began = began
        header = encode_header(wall)
        self._file.write(header)
        self.bytes_written = len(header)

    def write(self, record: Record) -> bool:
        """Write a record; False when the file is full or closed, or the record too long for it.

        Raises OSError, after which the file is closed.
        """
        before = self.written
        self._write_one(record.when, record.kind, record.frames)
        return self.written > before

    def append(self, when: float, kind: Kind, frames: Sequence[bytes]) -> None:
        """Write a record together with the next ones, which is quicker; raises OSError."""
        self._waiting.append((when, kind, frames))
        if len(self._waiting) >= _BATCH:
            self._write_waiting()

    def flush(self) -> None:
        """Hand what waits to the system; raises OSError, after which the file is closed."""
        self._write_waiting()
        if self._file is not None:
            try:
                self._file.flush()
            except OSError:
                self._abandon()
                raise

    def close(self) -> None:
        """Write what waits and close; idempotent. Raises OSError."""
        try:
            self._write_waiting()
        finally:
            file, self._file = self._file, None
            if file is not None:
                file.close()

    def _write_waiting(self) -> None:
        if not self._waiting:
            return
        waiting, self._waiting = self._waiting, []
        try:
            data = encode_entries(waiting, self._began)
        except ValueError:  # one of them is too long
            data = None
        if data is not None and self.bytes_written + len(data) <= self.max_bytes:
            self._write_bytes(data, len(waiting))
        else:
            for when, kind, frames in waiting:
                self._write_one(when, kind, frames)

    def _write_one(self, when: float, kind: Kind, frames: Sequence[bytes]) -> None:
        try:
            data = encode_entry(when - self._began, kind, frames)
        except ValueError:
            self.refused += 1
            return
        # Full once, full for good: a shorter record that would still fit is no reason to go on.
        self.full = self.full or self.bytes_written + len(data) > self.max_bytes
        if self.full:
            self.refused += 1
        else:
            self._write_bytes(data, 1)

    def _write_bytes(self, data: bytes, records: int) -> None:
        if self._file is None:
            self.refused += records
            return
        try:
            self._file.write(data)
        except OSError:
            self._abandon()
            raise
        self.bytes_written += len(data)
        self.written += records

    def _abandon(self) -> None:
        file, self._file = self._file, None
        try:
            if file is not None:
                file.close()
        except OSError:
            pass  # the caller is told of the first failure
