"""The file that records are kept in, as bytes in and bytes out; docs/espresso.md has the format.

    file    header record*
    header  "ESPRESSO" version(u16) reserved(u16) length(u32) wall_ns(u64) crc(u32)
    record  length(u32) crc(u32) payload
    payload offset_ns(u64) kind(u8) reserved(u8) frames(u16) length(u32)* frame*

Numbers are little-endian. `length` counts what comes behind it and the crc; the crc is zlib's.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import NamedTuple
from zlib import crc32

from patterns.espresso.protocol import Kind, Record

MAGIC = b"ESPRESSO"
VERSION = 1
MAX_RECORD_BYTES = 64 * 1024 * 1024
"""A longer record is damage: no length in a broken file makes a reader allocate more."""

MAX_FRAMES = 0xFFFF
READ_BYTES = 32 * 1024  # more objects at once than this makes, and the collector runs

_HEADER = struct.Struct("<8sHHIQ")
_CRC = struct.Struct("<I")
_FRAMING = struct.Struct("<II")
_PAYLOAD = struct.Struct("<QBBH")
# With the lengths of two frames: a topic and a body are by far the most common.
_PAYLOAD_OF_TWO = struct.Struct("<QBBHII")
_RECORD_OF_TWO = struct.Struct("<IIQBBHII")
_PADDING = bytes(8)  # so that any last record can be unpacked as if it had two
_RECORD_BYTES = _FRAMING.size + _PAYLOAD.size
_KIND = tuple(Kind)
HEADER_BYTES = _HEADER.size + _CRC.size


class RecordingError(ValueError):
    """A file is no recording, or of a version that this reader does not know."""


class Entry(NamedTuple):
    """One record of a file; `offset` is seconds since the recording began."""

    offset: float
    kind: Kind
    frames: tuple[bytes, ...]


PlainEntry = tuple[float, int, tuple[bytes, ...]]
"""An Entry without its names, the kind as its number."""


def encode_header(wall: float) -> bytes:
    """Return the bytes a recording begins with; `wall` is the time of day (Unix, seconds)."""
    header = _HEADER.pack(MAGIC, VERSION, 0, HEADER_BYTES, int(wall * 1e9))
    return header + _CRC.pack(crc32(header))


def decode_header(data: bytes) -> float:
    """Return the time of day at which a recording began; raises RecordingError."""
    if len(data) < HEADER_BYTES or not data.startswith(MAGIC):
        raise RecordingError("this is no recording")
    _, version, _, length, wall_ns = _HEADER.unpack_from(data)
    if version != VERSION or length != HEADER_BYTES:
        raise RecordingError(f"a recording of version {version}; this reader knows {VERSION}")
    if _CRC.unpack_from(data, _HEADER.size)[0] != crc32(data[: _HEADER.size]):
        raise RecordingError("the header of this recording is damaged")
    return float(wall_ns) / 1e9


def encode_record(record: Record, began: float) -> bytes:
    """Return one record as bytes; `began` is the instant of the header.

    Raises ValueError for more frames or bytes than the format holds.
    """
    return encode_entry(record.when - began, record.kind, record.frames)


def encode_entry(offset: float, kind: Kind, frames: Sequence[bytes]) -> bytes:
    """Return what passed `offset` seconds after the beginning as bytes; as `encode_record`."""
    offset_ns = int(offset * 1e9) if offset > 0 else 0
    if len(frames) == 2:
        topic, body = frames
        head = _PAYLOAD_OF_TWO.pack(offset_ns, kind, 0, 2, len(topic), len(body))
        payload = head + topic + body
    else:
        payload = _encode_payload(offset_ns, kind, frames)
    length = len(payload)
    if length > MAX_RECORD_BYTES:
        raise ValueError(f"a record of {length} bytes is too long for a file")
    return _FRAMING.pack(length, crc32(payload)) + payload


def encode_entries(entries: Sequence[tuple[float, Kind, Sequence[bytes]]], began: float) -> bytes:
    """Return many (when, kind, frames) as bytes, a third quicker than one by one."""
    encoded: list[bytes] = []
    add, pack_two, pack_framing = encoded.append, _PAYLOAD_OF_TWO.pack, _FRAMING.pack
    for when, kind, frames in entries:
        if len(frames) == 2 and when >= began:
            topic, body = frames
            offset_ns = int((when - began) * 1e9)
            payload = pack_two(offset_ns, kind, 0, 2, len(topic), len(body)) + topic + body
            if len(payload) <= MAX_RECORD_BYTES:
                add(pack_framing(len(payload), crc32(payload)))
                add(payload)
                continue
        add(encode_entry(when - began, kind, frames))
    return b"".join(encoded)


def _encode_payload(offset_ns: int, kind: Kind, frames: Sequence[bytes]) -> bytes:
    count = len(frames)
    if count > MAX_FRAMES:
        raise ValueError(f"a record of {count} frames is too long for a file")
    lengths = struct.pack(f"<{count}I", *map(len, frames))
    return _PAYLOAD.pack(offset_ns, kind, 0, count) + lengths + b"".join(frames)


class Reader:
    """Reads a recording from `read(size)` in constant memory: one block and one record.

    The end is where the file ends or where the first damaged record begins: what a crash left
    behind a whole record, its torn tail, is not read. `torn_bytes` says how long that is, as far
    as it was looked at, and `good_bytes` where a writer may go on. Raises RecordingError for what
    does not begin as a recording.
    """

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self._read = read
        self.wall = decode_header(read(HEADER_BYTES))
        """The time of day at which the recording began (Unix, seconds)."""
        self.good_bytes = HEADER_BYTES
        self.torn_bytes = 0
        self._damaged = False

    def __iter__(self) -> Iterator[Entry]:
        """Yield every whole record in order."""
        for offset, kind, frames in chain.from_iterable(self.blocks()):
            yield Entry(offset, _KIND[kind], frames)

    def blocks(self) -> Iterator[list[PlainEntry]]:
        """Yield the records block by block as plain tuples, for those who are in a hurry."""
        rest = b""
        while True:
            block = self._read(max(READ_BYTES, _missing(rest)))
            data = rest + block
            entries, end = self._entries(data + _PADDING, len(data))
            self.good_bytes += end
            rest = data[end:]
            yield entries
            if self._damaged or not block:
                break
        self.torn_bytes = len(rest)

    def _entries(self, data: bytes, size: int) -> tuple[list[PlainEntry], int]:
        """Return the whole records in the first `size` bytes and where the last of them ends.

        900 ns a record; in one piece, since calls cost as much as what they would do.
        """
        entries: list[PlainEntry] = []
        append, unpack, kinds = entries.append, _RECORD_OF_TWO.unpack_from, len(_KIND)
        at, last = 0, size - _RECORD_BYTES
        while at <= last:
            length, crc, offset_ns, kind, _, count, first, second = unpack(data, at)
            end = at + 8 + length
            if end > size or not 12 <= length <= MAX_RECORD_BYTES:
                self._damaged = not 12 <= length <= MAX_RECORD_BYTES
                break
            body = at + 28 + first
            if count == 2 and body + second == end:
                frames: tuple[bytes, ...] = (data[at + 28 : body], data[body:end])
            else:
                frames = _frames(data, at + 20, end, count)
            if crc32(data[at + 8 : end]) != crc or not frames or kind >= kinds:
                self._damaged = True
                break
            append((offset_ns * 1e-9, kind, frames))
            at = end
        return entries, at


def _missing(rest: bytes) -> int:
    """Return how many bytes the record that `rest` begins still wants."""
    if len(rest) < _FRAMING.size:
        return 0
    return int(_FRAMING.unpack_from(rest)[0]) + _FRAMING.size - len(rest)


def _frames(data: bytes, at: int, end: int, count: int) -> tuple[bytes, ...]:
    """Cut `count` frames out of a payload whose lengths begin at `at`; none when they differ."""
    start = at + 4 * count
    if start > end:
        return ()
    frames = []
    for length in struct.unpack_from(f"<{count}I", data, at):
        frames.append(data[start : start + length])
        start += length
    return tuple(frames) if start == end else ()
