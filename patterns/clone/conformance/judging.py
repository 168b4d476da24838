"""What single messages and lists of them prove about a server: functions of frames, no state."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from patterns.clone.conformance.clauses import Deviation, Outcome
from patterns.clone.messages import (
    UUID_SIZE,
    Frames,
    MalformedMessage,
    parse_properties,
    sequence_of,
)

_SHOWN = 60


def shown(data: bytes) -> str:
    """Some bytes as a report shows them: short, and printable whatever a server sends."""
    text = repr(data)[1:]
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}... ({len(data)} bytes)"


def fail(seen: str) -> Deviation:
    """A deviation that peers stumble over."""
    return Deviation(Outcome.FAIL, seen)


def note(seen: str) -> Deviation:
    """A deviation that peers are used to, or one from a SHOULD."""
    return Deviation(Outcome.NOTE, seen)


def is_numbered(frames: Sequence[bytes]) -> bool:
    """True for five frames of which the second has eight bytes: what every command is."""
    return len(frames) == 5 and len(frames[1]) == 8


def _skeleton(frames: Sequence[bytes]) -> Iterator[Deviation]:
    if len(frames) != 5:
        simple = ", the simple form of the Guide's models 2 to 4" if len(frames) == 3 else ""
        yield fail(f"{len(frames)} frames{simple}")
    elif len(frames[1]) != 8:
        yield fail(f"a sequence of {len(frames[1])} bytes")
    elif sequence_of(frames) < 0:
        yield fail(f"a negative sequence, {sequence_of(frames)}")


def _filled(frames: Sequence[bytes], *positions: int) -> Iterator[Deviation]:
    for position in positions:
        if frames[position]:
            yield note(f"frame {position} is not empty")


def _properties(frame: bytes) -> Iterator[Deviation]:
    try:
        parse_properties(frame)
    except MalformedMessage as error:
        yield fail(str(error))
    else:
        if frame and not frame.endswith(b"\n"):
            yield note("the last property has no newline")


def judge_kvsync(frames: Sequence[bytes]) -> list[Deviation]:
    """An entry of a snapshot. The Guide's servers send uuid and properties along."""
    broken = list(_skeleton(frames))
    if broken:
        return broken
    found = [*_filled(frames, 2, 3), *_properties(frames[3])]
    if not frames[0]:
        found.append(fail("an empty key"))
    if not frames[4]:
        found.append(fail(f"an entry without a value, {shown(frames[0])}"))
    return found


def judge_snapshot_end(frames: Sequence[bytes], subtree: bytes) -> list[Deviation]:
    """A KTHXBAI. The Guide's servers leave the subtree out (C) or send a uuid along (Python)."""
    broken = list(_skeleton(frames))
    if broken:
        return broken
    found = [*_filled(frames, 2, 3), *_properties(frames[3])]
    if subtree and not frames[4]:
        found.append(note("frame 4 is empty, not the subtree"))
    elif frames[4] != subtree:
        found.append(fail(f"frame 4 is {shown(frames[4])}, asked for was {shown(subtree)}"))
    return found


def judge_end_sequence(entries: Sequence[Frames], end: Frames) -> list[Deviation]:
    """The number of a KTHXBAI. A later one than those of the entries: a deletion may have it."""
    highest = max((sequence_of(entry) for entry in entries), default=0)
    number = sequence_of(end)
    if number < highest:
        return [fail(f"{number}, but there is an entry with {highest}")]
    if number > highest:
        return [note(f"{number}, the highest entry has {highest}")]
    return []


def judge_entries(
    entries: Sequence[Frames], subtree: bytes, wanted: Mapping[bytes, bytes]
) -> list[Deviation]:
    """Which keys a snapshot holds: all of `wanted`, and nothing outside of `subtree`."""
    found = []
    values: dict[bytes, bytes] = {}
    for entry in entries:
        key, body = entry[0], entry[4]
        if not key.startswith(subtree):
            found.append(fail(f"{shown(key)} is outside of {shown(subtree)}"))
        if key in values:
            found.append(fail(f"{shown(key)} twice"))
        values[key] = body
    for key, body in wanted.items():
        if key not in values:
            found.append(fail(f"{shown(key)} is missing"))
        elif values[key] != body:
            found.append(fail(f"{shown(key)} is {shown(values[key])}, not {shown(body)}"))
    return found


def judge_kvpub(frames: Sequence[bytes]) -> list[Deviation]:
    """A publication, be it an update or a deletion."""
    broken = list(_skeleton(frames))
    if broken:
        return broken
    found = list(_properties(frames[3]))
    if not frames[0]:
        found.append(fail("an empty key"))
    if frames[2] and len(frames[2]) != UUID_SIZE:
        found.append(fail(f"a uuid of {len(frames[2])} bytes"))
    return found


def judge_sequences(publications: Sequence[Frames]) -> list[Deviation]:
    """The numbers of publications, in the order of their arrival.

    Number zero, without a uuid or a value, is what this library's servers beat for a subtree:
    a client discards it, as it must.
    """
    found = []
    last = 0
    for frames in publications:
        number = sequence_of(frames)
        if not number and not frames[2] and not frames[4]:
            found.append(note(f"number 0 for {shown(frames[0])}, which clients discard"))
        elif number <= last:
            found.append(fail(f"{number} after {last}"))
        else:
            last = number
    return found


def judge_echo(sent: bytes, published: bytes, what: str) -> list[Deviation]:
    """A frame of a KVSET in its KVPUB; leaving it out is less than changing it."""
    if published == sent:
        return []
    if not published:
        return [note(f"the {what} is left out")]
    return [fail(f"the {what} is {shown(published)}, sent was {shown(sent)}")]


def judge_hugz(frames: Sequence[bytes]) -> list[Deviation]:
    """A heartbeat. The Guide's servers send their sequence and a uuid along."""
    broken = list(_skeleton(frames))
    if broken:
        return broken
    found = [*_filled(frames, 2, 3), *_properties(frames[3])]
    if any(frames[1]):
        found.insert(0, note("frame 1 is not zero"))
    if frames[4]:
        found.append(fail("there is a value: clients would keep it as a key"))
    return found


def judge_heartbeats(count: int, seconds: float) -> list[Deviation]:
    """How many heartbeats came in so many seconds without anything else."""
    return [] if count > 1 else [note(f"{count or 'none'} within {seconds:g} s")]
