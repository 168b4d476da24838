"""Journals: what a process does, as JSON lines in a file of its own.

A line is in the kernel before what it tells of leaves the process, so a SIGKILL loses none. All
processes of a machine have one monotonic clock, by which their lines are put in order.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeAlias

import msgspec

Line: TypeAlias = dict[str, Any]
"""`at`, the instant in seconds; `what` happened; and what else there is to say."""

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Line).decode


def text(frame: bytes) -> str:
    """A frame as a string, each byte a character; `frame_of` gives it back."""
    return frame.decode("latin-1")


def frame_of(string: str) -> bytes:
    """The frame that `text` has made a string of."""
    return string.encode("latin-1")


class Journal:
    """Appends lines to a file, each with one system call."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self._descriptor = os.open(path, flags, 0o644)
        self.clock = clock

    def write(self, what: str, **fields: Any) -> float:
        """Note that this happens now; return the instant."""
        now = self.clock()
        os.write(self._descriptor, _encode({"at": now, "what": what, **fields}) + b"\n")
        return now

    def close(self) -> None:
        """Write no more."""
        os.close(self._descriptor)


class JournalReader:
    """Reads a journal while it is written, line by line up to an instant."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._offset = 0
        self._rest = b""
        self._lines: list[Line] = []  # read, and later than what was asked for

    def read_until(self, instant: float) -> list[Line]:
        """The next lines, as far as they are not later than this."""
        if not self._lines or self._lines[-1]["at"] <= instant:
            self._read()
        for number, line in enumerate(self._lines):
            if line["at"] > instant:
                taken, self._lines = self._lines[:number], self._lines[number:]
                return taken
        taken, self._lines = self._lines, []
        return taken

    def _read(self) -> None:
        """Read what is new; between two looks no descriptor is held, for there are many lives."""
        with self.path.open("rb") as file:
            file.seek(self._offset)
            data = file.read()
        self._offset += len(data)
        whole, separator, self._rest = (self._rest + data).rpartition(b"\n")
        if separator:
            self._lines += [_decode(line) for line in whole.split(b"\n")]


def in_order(journals: Iterable[tuple[str, list[Line]]]) -> list[tuple[str, Line]]:
    """The lines of several journals, each under the name of its own, by the time."""
    lines = [(name, line) for name, lines in journals for line in lines]
    return sorted(lines, key=lambda each: each[1]["at"])
