"""The frames of the pattern: stamps, beats, the interest that asks for beats, and squawks.

Every number is big-endian. A **stamp** is the last frame of a published message, 32 bytes:

    magic A5 'S' 'N' '1' | incarnation u32 | publisher 8 bytes | sequence u64 | sent at u64

The first 16 bytes are its origin. `incarnation` changes with each start of the publisher (seconds
since 1970 then), `sequence` counts its messages from 1, `sent at` is microseconds since 1970.

A **beat** is a message of two frames, the topic that a guard has subscribed to for it and 48 bytes:

    magic A5 'S' 'B' '1' | incarnation | publisher | sequence u64 | sent at | since u64 | count u64

`sequence` is that of the publisher's last message. Since the message with the sequence `since`,
`count` messages were published that match the **interest**, a set of subscription prefixes:

    topic of a beat: 00 'snail' 00 | for each prefix: its length u16, the prefix | FFFF

A **squawk** is `SNAIL1` and a JSON object: see `Squawk`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from struct import Struct
from struct import error as StructError

STAMP_MAGIC = b"\xa5SN1"
BEAT_MAGIC = b"\xa5SB1"
BEAT_TOPIC = b"\x00snail\x00"
SQUAWK_TOPIC = b"SNAIL1"
ORIGIN_SIZE = 16
PUBLISHER_SIZE = 8
MAX_INTEREST_BYTES = 4096
MAX_SQUAWK_BYTES = 4096

_STAMP = Struct(">4sI8sQQ")
_STAMP_END = Struct(">QQ")
_ORIGIN = Struct(">4sI8s")
_BEAT = Struct(">4sI8sQQQQ")
_LENGTH = Struct(">H")
_INTEREST_END = b"\xff\xff"
_MAX_PREFIX = 0xFFFE
STAMP_SIZE = _STAMP.size

Interest = tuple[bytes, ...]
"""Subscription prefixes in byte order, none of which begins with another one."""


class MalformedMessage(ValueError):
    """A peer sent a frame that is no stamp, beat, interest or squawk as this module has them."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """When which publisher sent which message; `sent_at` is in seconds since 1970."""

    publisher: bytes
    incarnation: int
    sequence: int
    sent_at: float


@dataclass(frozen=True, slots=True)
class Beat:
    """How far a publisher is, and how many messages matched one interest since a sequence."""

    stamp: Stamp
    since: int
    count: int


def encode_origin(publisher: bytes, incarnation: int) -> bytes:
    """Return the first 16 bytes of all stamps of one publisher's life."""
    return _ORIGIN.pack(STAMP_MAGIC, incarnation, publisher)


def encode_stamp(origin: bytes, sequence: int, sent_at: float) -> bytes:
    """Return the stamp of one message; `sent_at` in seconds since 1970."""
    return origin + _STAMP_END.pack(sequence, int(sent_at * 1e6))


def decode_stamp(frame: bytes) -> Stamp:
    """Return what a stamp says; raises MalformedMessage for anything else."""
    try:
        magic, incarnation, publisher, sequence, sent_at = _STAMP.unpack(frame)
    except StructError:
        raise MalformedMessage(f"a stamp has {STAMP_SIZE} bytes, not {len(frame)}") from None
    if magic != STAMP_MAGIC or not sequence:
        raise MalformedMessage("not a stamp")
    return Stamp(publisher, incarnation, sequence, sent_at / 1e6)


def encode_beat(beat: Beat) -> bytes:
    """Return the second frame of a beat."""
    stamp = beat.stamp
    sent_at = int(stamp.sent_at * 1e6)
    return _BEAT.pack(
        BEAT_MAGIC,
        stamp.incarnation,
        stamp.publisher,
        stamp.sequence,
        sent_at,
        beat.since,
        beat.count,
    )


def decode_beat(frame: bytes) -> Beat:
    """Return what a beat's second frame says; raises MalformedMessage for anything else."""
    try:
        magic, incarnation, publisher, sequence, sent_at, since, count = _BEAT.unpack(frame)
    except StructError:
        raise MalformedMessage(f"a beat has {_BEAT.size} bytes, not {len(frame)}") from None
    if magic != BEAT_MAGIC:
        raise MalformedMessage("not a beat")
    return Beat(Stamp(publisher, incarnation, sequence, sent_at / 1e6), since, count)


def interest_of(prefixes: Iterable[bytes]) -> Interest:
    """Return the least set of prefixes that matches what `prefixes` match."""
    least: list[bytes] = []
    for prefix in sorted(prefixes):
        if not least or not prefix.startswith(least[-1]):
            least.append(prefix)
    return tuple(least)


def encode_interest(interest: Interest) -> bytes:
    """Return the topic of the beats for an interest; raises ValueError when it is too long.

    No such topic begins with another one, so who subscribes to it gets these beats alone.
    """
    if any(len(prefix) > _MAX_PREFIX for prefix in interest):
        raise ValueError(f"a prefix has at most {_MAX_PREFIX} bytes")
    parts = [_LENGTH.pack(len(prefix)) + prefix for prefix in interest]
    topic = BEAT_TOPIC + b"".join(parts) + _INTEREST_END
    if len(topic) > MAX_INTEREST_BYTES:
        raise ValueError(
            f"the prefixes of one guard take at most {MAX_INTEREST_BYTES} bytes, not {len(topic)}"
        )
    return topic


def decode_interest(topic: bytes) -> Interest:
    """Return the interest of a beat's topic; raises MalformedMessage for anything else."""
    if not topic.startswith(BEAT_TOPIC) or len(topic) > MAX_INTEREST_BYTES:
        raise MalformedMessage("not an interest")
    prefixes: list[bytes] = []
    rest = topic[len(BEAT_TOPIC) :]
    while rest != _INTEREST_END:
        if len(rest) < 2:
            raise MalformedMessage("an interest without its end")
        end = 2 + _LENGTH.unpack_from(rest)[0]
        if len(rest) < end:
            raise MalformedMessage("an interest that is cut off")
        prefixes.append(rest[2:end])
        rest = rest[end:]
    if not prefixes or interest_of(prefixes) != tuple(prefixes):
        raise MalformedMessage("an interest that is not in its least form")
    return tuple(prefixes)


@dataclass(frozen=True, slots=True)
class Squawk:
    """What a slow subscriber tells an operator; times in seconds, `time` since 1970.

    `reason` is late, lossy or stalled; `recovered` says that it is so no longer. `publisher` is
    empty when none was ever heard.
    """

    subscriber: str
    publisher: str
    reason: str
    recovered: bool
    age: float
    silence: float
    received: int
    lost: int
    time: float


def encode_squawk(squawk: Squawk) -> tuple[bytes, bytes]:
    """Return the two frames of a squawk."""
    return SQUAWK_TOPIC, json.dumps(asdict(squawk), separators=(",", ":")).encode()


def decode_squawk(frames: list[bytes]) -> Squawk:
    """Return what a squawk says; raises MalformedMessage for anything else."""
    if len(frames) != 2 or frames[0] != SQUAWK_TOPIC or len(frames[1]) > MAX_SQUAWK_BYTES:
        raise MalformedMessage("not a squawk")
    try:
        values = json.loads(frames[1])
    except (ValueError, RecursionError):
        raise MalformedMessage("a squawk that is no JSON") from None
    if not isinstance(values, dict):
        raise MalformedMessage("a squawk that is no object")
    for field in fields(Squawk):
        if not _fits(values.get(field.name), str(field.type)):
            raise MalformedMessage(f"a squawk with a wrong {field.name}")
    return Squawk(**{field.name: values[field.name] for field in fields(Squawk)})


def _fits(value: object, kind: str) -> bool:
    if isinstance(value, bool):  # which is an int for Python
        return kind == "bool"
    match kind:
        case "str":
            return isinstance(value, str)
        case "int":
            return isinstance(value, int)
        case "float":
            return isinstance(value, int | float) and math.isfinite(value)
    return False


def publisher_text(publisher: bytes) -> str:
    """Return a publisher's 8 bytes for people: as text when they are, else in hexadecimal."""
    name = publisher.rstrip(b"\0")
    if name.isascii() and name.decode("ascii").isprintable():
        return name.decode("ascii")
    return publisher.hex()
