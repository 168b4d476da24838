"""The words of the Clustered Hashmap Protocol (RFC 12) and their strict decoding.

A key-value message has five frames: key, sequence (8 bytes, signed, network order), uuid (empty or
16 bytes), properties (`name=value` lines) and body. The Guide's programs read and write the same
frames in models 5 and 6; those of models 1 to 4 leave out the uuid and the properties. What this
library adds travels in properties only: they are the one place that no Guide program stumbles over.

Source: RFC 12 (CHP), sections on the snapshot, publisher and collector interfaces.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from numbers import Number
from typing import TypeAlias

from patterns.binary_star.messages import COUNTER_BITS

Frames: TypeAlias = tuple[bytes, ...]
PropertyValue: TypeAlias = str | bytes | bytearray | memoryview | float | Decimal

ICANHAZ = b"ICANHAZ?"
KTHXBAI = b"KTHXBAI"
HUGZ = b"HUGZ"
# KVSYNC, KVPUB and KVSET are names of messages in RFC 12; they are never sent as bytes.
RESERVED_KEYS = frozenset({ICANHAZ, KTHXBAI, HUGZ})

MAX_KEY = 255  # a C peer keeps the key as a string with a one-byte length and cuts longer ones
MAX_BODY = 1 << 20
# No frame comes near it. Whoever announces a longer one is hung up on, before any of it is in
# memory; what is only somewhat too long is refused with a reason.
MAX_FRAME = 2 * MAX_BODY
MAX_PROPERTIES = 4096
MAX_PROPERTY_COUNT = 32
MAX_TTL = 365 * 24 * 3600
UUID_SIZE = 16
# Seconds between heartbeats: what a client still believes before it takes silence for death.
MAX_INTERVAL = 120

EPOCH_BITS = 35
MAX_EPOCH = (1 << EPOCH_BITS) - 1
MAX_COUNTER = (1 << COUNTER_BITS) - 1

# 2025-01-01T00:00:00Z. 35 bits of sixteenths of a second from here last for 68 years.
_EPOCH_ORIGIN = 1_735_689_600
_EPOCHS_PER_SECOND = 16

_SEQUENCE = struct.Struct("!q")
_SHORT_SEQUENCE = struct.Struct("!i")  # the Guide's kvsimple in Python
_pack_sequence = _SEQUENCE.pack
_unpack_sequence = _SEQUENCE.unpack
NO_SEQUENCE = _pack_sequence(0)
_PACKED = b"pack=1\n"

# The properties of the updates of a server's own: a value has expired, a figure has changed.
EXPIRED, FIGURE = b"o=ttl\n", b"o=sys\n"
OWN = frozenset({EXPIRED, FIGURE})

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_VALUE = re.compile(r"[ -<>-~]*")  # printable ASCII without "="
_TTL = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,9})?", re.ASCII)
_NUMBER = re.compile(r"[0-9]{1,19}", re.ASCII)


class MalformedMessage(ValueError):
    """A peer sent frames that are not a message of the protocol; nothing has been changed."""


# --- sequences -----------------------------------------------------------------------------


def make_sequence(epoch: int, counter: int) -> int:
    """The sequence number of the counter-th update of an epoch: `epoch << 28 | counter`.

    A later epoch is larger than all of an earlier one, so that even a client which only knows
    RFC 12's "discard unless greater" drops what a dead incarnation still sends. When half of the
    counter is used up, after 134 million updates, an activity goes on in a new epoch, which makes
    clients join anew, no more.
    """
    if not 0 <= epoch <= MAX_EPOCH:
        raise ValueError(f"epoch {epoch} is outside 0..{MAX_EPOCH}")
    if not 0 <= counter <= MAX_COUNTER:
        raise ValueError(f"counter {counter} is outside 0..{MAX_COUNTER}")
    return epoch << COUNTER_BITS | counter


def epoch_of(sequence: int) -> int:
    """The epoch of a sequence number; 0 for a server that knows no epochs."""
    return sequence >> COUNTER_BITS


def counter_of(sequence: int) -> int:
    """The position of a sequence number inside its epoch."""
    return sequence & MAX_COUNTER


def epoch_at(wall_seconds: float) -> int:
    """An epoch for a server that starts without remembered state: sixteenths of seconds since 2025.

    `wall_seconds` is Unix time. A server restarted a moment later gets a higher epoch than any
    that it or its peer have used, as long as their clocks agree to that moment.
    """
    epochs = int((wall_seconds - _EPOCH_ORIGIN) * _EPOCHS_PER_SECOND)
    return min(max(epochs, 0), MAX_EPOCH - (1 << 20))


# The 8-byte frame of a sequence number; a function around it would cost as much again.
encode_sequence = _pack_sequence


def sequence_of(frames: Sequence[bytes]) -> int:
    """The sequence number in frame 1 of frames that have been checked already."""
    number: int = _unpack_sequence(frames[1])[0]
    return number


def replace_sequence(frames: Sequence[bytes], sequence: int) -> Frames:
    """The same message with another sequence number; the other frames are not copied."""
    return (frames[0], _pack_sequence(sequence), frames[2], frames[3], frames[4])


# --- properties ----------------------------------------------------------------------------


def parse_properties(frame: bytes) -> dict[str, str]:
    """The properties of a frame of `name=value` lines, in order.

    A value may contain `=`: the first one separates. A last line without a newline is accepted
    (Guide programs in Python read it; those in C ignore that line). A name given twice is
    refused, because one peer would read the first and another the last.
    Raises MalformedMessage.
    """
    if not frame:
        return {}
    terminated = len(frame) + (not frame.endswith(b"\n"))
    if terminated > MAX_PROPERTIES:
        raise MalformedMessage(f"properties of {len(frame)} bytes, at most {MAX_PROPERTIES}")
    try:
        lines = frame.decode("utf-8").removesuffix("\n").split("\n")
    except UnicodeDecodeError:
        raise MalformedMessage("properties are not text") from None
    if len(lines) > MAX_PROPERTY_COUNT:
        raise MalformedMessage(f"{len(lines)} properties, at most {MAX_PROPERTY_COUNT}")
    return _parse_lines(lines)


def _parse_lines(lines: list[str]) -> dict[str, str]:
    properties: dict[str, str] = {}
    for line in lines:
        name, separator, value = line.partition("=")
        if not separator or not name:
            raise MalformedMessage(f"property line {line[:80]!r} is not name=value")
        if name in properties:
            raise MalformedMessage(f"property {name[:80]!r} given twice")
        properties[name] = value
    return properties


def encode_properties(properties: Mapping[str, PropertyValue]) -> bytes:
    """The frame for some properties, one `name=value` line each, every line terminated.

    Values may be text, anything bytes-like, or a number of any kind. Raises TypeError for others,
    ValueError for a name that is not letters, digits, `_`, `.` or `-`, and for a value with `=`, a
    newline, another control character or anything that is not ASCII: Guide programs would lose or
    misread it.
    """
    frame = "".join(f"{_name(name)}={_value(value)}\n" for name, value in properties.items())
    if len(frame) > MAX_PROPERTIES or len(properties) > MAX_PROPERTY_COUNT:
        raise ValueError(
            f"{len(properties)} properties of {len(frame)} bytes, "
            f"at most {MAX_PROPERTY_COUNT} of {MAX_PROPERTIES}"
        )
    return frame.encode("ascii")


def _name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} cannot be the name of a property")
    return name


def _value(value: PropertyValue) -> str:
    if isinstance(value, (bytes, bytearray, memoryview)):
        text = bytes(value).decode("latin-1")
    elif isinstance(value, (str, Number)):
        text = str(value)
    else:
        raise TypeError(f"{value!r} is neither text nor bytes nor a number")
    if not _VALUE.fullmatch(text):
        raise ValueError(f"{value!r} cannot be the value of a property")
    return text


def decode_ttl(properties: bytes) -> float | None:
    """The time to live in seconds that a properties frame gives, or None without one.

    An integer or a decimal from 0 to MAX_TTL; 0 means "for ever", as at the Guide's servers.
    Raises MalformedMessage for anything else: a sign, an exponent, nan, inf, junk.
    """
    if not properties:
        return None
    return _ttl(parse_properties(properties))


def _ttl(properties: Mapping[str, str]) -> float | None:
    text = properties.get("ttl")
    if text is None:
        return None
    if not _TTL.fullmatch(text) or float(text) > MAX_TTL:
        raise MalformedMessage(f"ttl {text[:80]!r} is not a number in 0..{MAX_TTL}")
    return float(text) or None


def whole_seconds(ttl: float) -> int:
    """A ttl as peers read it: a whole number, rounded up, at least 1."""
    return max(1, math.ceil(ttl))


def replace_ttl(properties: bytes, ttl: int) -> bytes:
    """The same properties frame with another ttl; the other lines stay as they are."""
    lines = [line for line in properties.split(b"\n") if line and not line.startswith(b"ttl=")]
    return b"".join(line + b"\n" for line in (*lines, b"ttl=%d" % ttl))


def decode_number(properties: Mapping[str, str], name: str) -> int | None:
    """The non-negative integer in a property, or None without one. Raises MalformedMessage."""
    text = properties.get(name)
    if text is None:
        return None
    if not _NUMBER.fullmatch(text):
        raise MalformedMessage(f"property {name}={text[:80]!r} is not a number")
    return int(text)


# --- key-value messages --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class KVMessage:
    """One decoded key-value message: KVSYNC, KVPUB or KVSET of RFC 12."""

    key: bytes
    sequence: int = 0
    uuid: bytes = b""
    properties: bytes = b""
    body: bytes = b""

    def encode(self) -> Frames:
        """The five frames: key, sequence, uuid, properties, body."""
        sequence = _pack_sequence(self.sequence)
        return (self.key, sequence, self.uuid, self.properties, self.body)

    @classmethod
    def decode(cls, frames: Sequence[bytes], *, max_body: int = MAX_BODY) -> KVMessage:
        """The message in five frames. Raises MalformedMessage for anything else."""
        sequence = check_message(frames, max_body=max_body)
        return cls(frames[0], sequence, frames[2], frames[3], frames[4])

    def encode_simple(self, *, sequence_size: int = 8) -> Frames:
        """The three frames of the models 1 to 4: key, sequence, body.

        Raises ValueError for a message with a uuid or properties, which have no place there.
        """
        if self.uuid or self.properties:
            raise ValueError("three frames have no place for a uuid, nor for properties")
        return to_simple(self.encode(), sequence_size)

    @classmethod
    def decode_simple(
        cls, frames: Sequence[bytes], *, sequence_size: int = 8, max_body: int = MAX_BODY
    ) -> KVMessage:
        """The message in three frames. Raises MalformedMessage for anything else.

        The Guide's kvsimple in Python has a `sequence_size` of 4 bytes.
        """
        return cls.decode(to_full(frames, sequence_size), max_body=max_body)

    @property
    def is_deletion(self) -> bool:
        """True if the message deletes its key: its body is empty (RFC 12)."""
        return not self.body

    @property
    def ttl(self) -> float | None:
        """The time to live in seconds, or None. Raises MalformedMessage."""
        return decode_ttl(self.properties)


def to_simple(frames: Frames, sequence_size: int = 8) -> Frames:
    """The three frames of five, without uuid and properties.

    In a sequence of 4 bytes travels the counter alone: an epoch has no room there.
    """
    if sequence_size == 8:
        return (frames[0], frames[1], frames[4])
    return (frames[0], _SHORT_SEQUENCE.pack(counter_of(sequence_of(frames))), frames[4])


def to_full(frames: Sequence[bytes], sequence_size: int = 8) -> Frames:
    """The five frames of three, which are checked for their number and that of their sequence.

    Raises MalformedMessage.
    """
    if len(frames) != 3:
        raise MalformedMessage(f"{len(frames)} frames, not 3")
    key, number, body = frames
    if len(number) != sequence_size:
        raise MalformedMessage(f"sequence of {len(number)} bytes, not {sequence_size}")
    if sequence_size == 4:
        number = _pack_sequence(_SHORT_SEQUENCE.unpack(number)[0])
    return (key, number, b"", b"", body)


def check_message(frames: Sequence[bytes], *, max_body: int = MAX_BODY) -> int:
    """Check five frames in full and return the sequence number. Raises MalformedMessage.

    The frames themselves may then be kept, stored and forwarded: nothing was decoded that would
    have to be encoded again.
    """
    if len(frames) != 5:
        raise MalformedMessage(f"{len(frames)} frames, not 5")
    key, number, uuid, properties, body = frames
    if not 0 < len(key) <= MAX_KEY:
        raise MalformedMessage(f"key of {len(key)} bytes, not 1..{MAX_KEY}")
    if len(number) != 8:
        raise MalformedMessage(f"sequence of {len(number)} bytes, not 8")
    if uuid and len(uuid) != UUID_SIZE:
        raise MalformedMessage(f"uuid of {len(uuid)} bytes, neither 0 nor {UUID_SIZE}")
    if len(body) > max_body:
        raise MalformedMessage(f"body of {len(body)} bytes, at most {max_body}")
    if properties:
        parse_properties(properties)
    sequence: int = _unpack_sequence(number)[0]
    if sequence < 0:
        raise MalformedMessage(f"negative sequence {sequence}")
    return sequence


def check_update(frames: Sequence[bytes], *, max_body: int = MAX_BODY) -> float | None:
    """Check a KVSET or KVPUB in full and return its ttl, None without one.

    Also refuses the words of the protocol as keys: a stored KTHXBAI would end other clients'
    snapshots early. Raises MalformedMessage.
    """
    check_message(frames, max_body=max_body)
    return check_content(frames)


def check_content(frames: Sequence[bytes]) -> float | None:
    """What `check_update` checks beyond `check_message`, for frames that have passed that."""
    if frames[0] in RESERVED_KEYS:
        raise MalformedMessage(f"key {frames[0]!r} is a word of the protocol")
    return decode_ttl(frames[3]) if frames[3] else None


def check_publication(frames: Sequence[bytes]) -> float | None:
    """What to check of a KVPUB or KVSYNC beyond `check_message`; returns its ttl, None without one.

    A ttl that makes no sense counts as none. Refused, the client would miss an update that others
    have, and it is the server that deletes in the end. The Guide's servers overwrite the ttl with
    the instant of the end (milliseconds since 1970 in C, seconds in Python) and send that in
    snapshots, and again when they delete the key. Raises MalformedMessage.
    """
    if frames[0] in RESERVED_KEYS:
        raise MalformedMessage(f"key {frames[0]!r} is a word of the protocol")
    try:
        return decode_ttl(frames[3])
    except MalformedMessage:
        return None


def decode_update(frames: Sequence[bytes], *, max_body: int = MAX_BODY) -> KVMessage:
    """A client's KVSET; an empty body deletes the key. Raises MalformedMessage."""
    check_update(frames, max_body=max_body)
    return KVMessage.decode(frames, max_body=max_body)


# --- commands ------------------------------------------------------------------------------


def snapshot_request(subtree: bytes = b"", *, packed: bool = False) -> Frames:
    """The two frames by which a client asks for a snapshot: ICANHAZ?, subtree.

    `packed` adds a third, which only a server that has offered it understands.
    """
    return (ICANHAZ, subtree, _PACKED) if packed else (ICANHAZ, subtree)


def decode_snapshot_request(frames: Sequence[bytes]) -> bytes:
    """The subtree asked for by the frames after the identity. Raises MalformedMessage.

    ICANHAZ? alone asks for everything: the Guide's models 2 and 3 send no subtree. For a third
    frame see `wants_packs`.
    """
    packed = tuple(frames[2:]) == (_PACKED,)
    if not 1 <= len(frames) <= 2 + packed or frames[0] != ICANHAZ:
        raise MalformedMessage("not a snapshot request")
    subtree = frames[1] if len(frames) >= 2 else b""
    if len(subtree) > MAX_KEY:
        raise MalformedMessage(f"subtree of {len(subtree)} bytes, at most {MAX_KEY}")
    return subtree


def epoch_notice(epoch: int) -> Frames:
    """The frames by which a client says that it has seen an epoch.

    To a server that does not know them they ask for a subtree that is empty by definition.
    """
    return snapshot_request(b"%s %d" % (HUGZ, epoch))


def decode_epoch_notice(subtree: bytes) -> int:
    """The epoch in the subtree of a snapshot request, 0 if that is none of these notices."""
    word, _, number = subtree.partition(b" ")
    noticed = word == HUGZ and len(number) <= 11 and number.isdigit()
    return min(int(number), MAX_EPOCH) if noticed else 0


def wants_packs(frames: Sequence[bytes]) -> bool:
    """True if a well-formed snapshot request asks for many entries to a message."""
    return len(frames) == 3


def snapshot_end(sequence: int, subtree: bytes = b"", properties: bytes = b"") -> Frames:
    """KTHXBAI: the snapshot is complete, and current as of `sequence`.

    The sequence is the server's own, not the highest of the entries sent: a later deletion is in
    the snapshot too, and leaves no entry.
    """
    return (KTHXBAI, _pack_sequence(sequence), b"", properties, subtree)


@dataclass(frozen=True, slots=True)
class SnapshotEnd:
    """A decoded KTHXBAI. `entries` is how many were sent, None if the server does not say.

    `features` are the names of what the server can do beyond RFC 12.
    """

    sequence: int
    subtree: bytes
    entries: int | None
    extended: bool
    features: frozenset[str]


def is_snapshot_end(frames: Sequence[bytes]) -> bool:
    """True for a KTHXBAI, well formed or not."""
    return bool(frames) and frames[0] == KTHXBAI


def decode_snapshot_end(frames: Sequence[bytes]) -> SnapshotEnd:
    """A KTHXBAI; `n` = entries sent, `chpx` = 1 from a server of this library, `feat` = a,b,c."""
    sequence = check_message(frames)
    if frames[0] != KTHXBAI:
        raise MalformedMessage("not the end of a snapshot")
    properties = parse_properties(frames[3])
    entries = decode_number(properties, "n")
    extended = properties.get("chpx") == "1"
    return SnapshotEnd(sequence, frames[4], entries, extended, _features(properties))


def _features(properties: Mapping[str, str]) -> frozenset[str]:
    names = properties.get("feat", "").split(",") if properties.get("chpx") == "1" else []
    return frozenset(name for name in names if name)


def heartbeat(properties: bytes = b"", subtree: bytes = b"") -> Frames:
    """HUGZ, or the heartbeat of one subtree, which has the subtree in place of the key.

    Frame 1 is zero, as RFC 12 has it; the sequence travels as property `seq`. Zero also is what
    makes a subtree's heartbeat harmless: a client of the Guide discards every message whose
    number is not greater than the one it knows.
    """
    return (subtree or HUGZ, NO_SEQUENCE, b"", properties, b"")


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """A decoded heartbeat, with None for what the server does not say.

    `subtree` is empty in a HUGZ. `sequence` is the last number published (in that subtree), and
    `updates` how many updates of that subtree were published so far. `interval_ms` is the time
    between heartbeats. A server that is not `active` any more says so once, and then nothing.
    `features`, as in KTHXBAI, is what has to be known before a snapshot is asked for.
    """

    subtree: bytes
    sequence: int | None
    updates: int | None
    interval_ms: int | None = None
    active: bool = True
    features: frozenset[str] = frozenset()


def decode_heartbeat(frames: Sequence[bytes]) -> Heartbeat:
    """A HUGZ or the heartbeat of a subtree. Raises MalformedMessage.

    Guide servers put their sequence into frame 1, RFC 12 wants zero there: both are accepted,
    and property `seq` wins.
    """
    number = check_message(frames)
    properties = parse_properties(frames[3])
    sequence = decode_number(properties, "seq")
    if sequence is None and number:
        sequence = number
    subtree = b"" if frames[0] == HUGZ else frames[0]
    return Heartbeat(
        subtree,
        sequence,
        updates=decode_number(properties, "n"),
        interval_ms=decode_number(properties, "hb"),
        active=properties.get("role", "active") == "active",
        features=_features(properties),
    )


def refusal(frames: Sequence[bytes], reason: str) -> Frames:
    """Tell the writer of an update that it was refused: number zero, its uuid, no body.

    Nobody else is concerned: every client discards number zero. Property `refused` = reason.
    """
    properties = encode_properties({"refused": reason})
    return (frames[0], NO_SEQUENCE, frames[2], properties, b"")


def decode_refusal(frames: Sequence[bytes]) -> str:
    """The reason of a refusal; an empty string for every other message of number zero."""
    return parse_properties(frames[3]).get("refused", "")
