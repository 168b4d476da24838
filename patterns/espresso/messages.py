"""Records and status on a tap's endpoint, as frames.

    record  [">" or "<" + topic] [version(u8) kind(u8) sequence(u64) wall_ns(u64)] frame*
    status  ["!status"] [JSON]

The first character is the direction, down or up, so that a SUB asks for what it wants by prefix:
b">EUR" for messages whose topic begins with EUR, b"<" for subscriptions, b"" for everything.
"""

from __future__ import annotations

import enum
import json
import struct
from collections.abc import Sequence
from typing import Any, NamedTuple

from patterns.espresso.protocol import Direction, Kind, Record

DOWN, UP = b">", b"<"
STATUS = b"!status"
VERSION = 1

_HEADER = struct.Struct("!BBQQ")
_KINDS = tuple(Kind)


class Style(enum.Enum):
    """How a tap's endpoint sends what passes.

    RECORD as this module says, PLAIN as the capture socket of `zmq.proxy` does (the frames alone),
    PREFIXED as pyzmq's `monitored_queue` does in the Guide's tracer (a frame b"pub" or b"sub"
    before the others).
    """

    RECORD = "record"
    PLAIN = "plain"
    PREFIXED = "prefixed"


class NotARecord(ValueError):
    """What came from a tap's endpoint is no record of a version that is known."""


class TappedRecord(NamedTuple):
    """A record as a tap's reader gets it.

    `sequence` counts the records that the tap has taken, from 1, those included that it dropped:
    a hole is what this reader has missed. `wall` is the time of day at the proxy (Unix, seconds).
    """

    sequence: int
    wall: float
    kind: Kind
    frames: tuple[bytes, ...]

    @property
    def record(self) -> Record:
        """The record with its time of day as its instant."""
        return Record(self.wall, self.kind, self.frames)


def encode(record: Record, sequence: int, wall: float, style: Style) -> tuple[bytes, ...]:
    """Return the frames that a tap's endpoint sends for a record."""
    if style is Style.PLAIN:
        return record.frames
    if style is Style.PREFIXED:
        return (b"sub" if record.kind else b"pub", *record.frames)
    mark = UP if record.kind else DOWN
    header = _HEADER.pack(VERSION, record.kind, sequence, int(wall * 1e9))
    return (mark + record.topic, header, *record.frames)


def decode(frames: Sequence[bytes]) -> TappedRecord:
    """Return the record in the frames of Style.RECORD; raises NotARecord."""
    if len(frames) < 3 or len(frames[1]) != _HEADER.size:
        raise NotARecord("no record")
    version, kind, sequence, wall_ns = _HEADER.unpack(frames[1])
    if version != VERSION or kind >= len(_KINDS):
        raise NotARecord(f"a record of version {version}, kind {kind}")
    return TappedRecord(sequence, wall_ns / 1e9, _KINDS[kind], tuple(frames[2:]))


def subscription(prefix: bytes, direction: Direction | None) -> tuple[bytes, ...]:
    """Return what a SUB subscribes to for the records with this topic prefix and direction."""
    marks = {Direction.DOWN: (DOWN,), Direction.UP: (UP,), None: (DOWN, UP)}[direction]
    return tuple(mark + prefix for mark in marks)


def encode_status(status: dict[str, Any]) -> tuple[bytes, bytes]:
    """Return the frames of a status message."""
    return STATUS, json.dumps(status, separators=(",", ":")).encode()


def decode_status(frames: Sequence[bytes]) -> dict[str, Any]:
    """Return the status in a status message; raises NotARecord."""
    if len(frames) != 2 or frames[0] != STATUS:
        raise NotARecord("no status")
    try:
        status = json.loads(frames[1])
    except ValueError:
        raise NotARecord("a status that is no JSON") from None
    if not isinstance(status, dict):
        raise NotARecord("a status that is no object")
    return status


def printable(data: bytes) -> str:
    """Return bytes as text for people: UTF-8, and anything else as \\xNN."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in data.decode("utf-8", "backslashreplace")
    )
