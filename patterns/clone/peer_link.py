"""The words of the peer link, over which the passive server of a pair follows the active one.

It is private to the two, and runs from a DEALER of the passive one to the active's snapshot port:

    P: LINK, "2", sequence, held      hello: I want all after this number; 0: the map as well
    A: POSITION, sequence, question   all up to this number was sent before this
    A: KVPACK..., KTHXBAI             the snapshot, if that is another number than the hello's
    A: APPEND, lengths, data          updates in the order of their numbers, and refusals
    A: RENEWED, old, new              a new epoch: nothing lies between these two numbers
    P: HELD, sequence, question       with a complete copy, I hold all up to this number

`lengths` and `data` are those of a KVPACK (`packs`), but a body may be empty here, and a refusal
has the number zero. A POSITION also comes with every heartbeat, and after the updates of a turn of
which one is not to be published before it is confirmed. Who is PASSIVE answers each with HELD,
and says so also when its copy is complete: what nobody waits for costs no answer. `question` counts
the positions, and an answer repeats that of the newest one it has had: so who asks knows how old it
is at most, however late it comes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from patterns.clone.messages import MAX_BODY, Frames, MalformedMessage, encode_sequence
from patterns.clone.packs import decode_entries, encode_entries

LINK, POSITION, APPEND, HELD = b"LINK", b"POSITION", b"APPEND", b"HELD"
RENEWED = b"RENEWED"
VERSION = b"2"
# The routing id of a passive server begins like this; 16 random bytes follow, others each time.
PEER_IDENTITY = b"clone-peer-"
# As many to a message as a ROUTER, which counts messages, may well keep a thousand times.
APPEND_ENTRIES = 1000
APPEND_BYTES = 64 << 10


@dataclass(frozen=True, slots=True)
class Renewed:
    """The active server goes on in another epoch: who holds all up to `old` holds all to `new`."""

    old: int
    new: int


class OtherVersion(MalformedMessage):
    """The peer speaks a version of the link that this server does not know."""


def is_from_passive(frames: Sequence[bytes]) -> bool:
    """True for what only a passive server sends to a snapshot port, well formed or not."""
    return bool(frames) and frames[0] in (LINK, HELD)


def encode_hello(sequence: int, held: int) -> Frames:
    """The passive server asks to be sent everything after a number; 0: the map as well.

    `held` is the newest number that it holds, of a copy that may be old or have a hole.
    """
    return (LINK, VERSION, encode_sequence(sequence), encode_sequence(held))


def decode_hello(frames: Sequence[bytes]) -> tuple[int, int]:
    """The two numbers in a hello. Raises MalformedMessage, OtherVersion for another version."""
    if len(frames) >= 2 and frames[0] == LINK and frames[1] != VERSION:
        raise OtherVersion(version_problem(frames[1]))
    if len(frames) != 4 or frames[0] != LINK:
        raise MalformedMessage("not a hello of a passive server")
    return _number(frames[2]), _number(frames[3])


def encode_version() -> Frames:
    """The answer to a hello of another version: the one that this server speaks."""
    return (LINK, VERSION)


def version_problem(theirs: bytes) -> str:
    """What an operator has to know about two versions."""
    return (
        f"the peer speaks version {theirs[:20]!r} of the peer link, this server {VERSION!r}:"
        " both of a pair must run the same release of this library"
    )


def encode_held(sequence: int, question: int) -> Frames:
    """The passive server holds everything up to this number, and has been asked this question."""
    return (HELD, encode_sequence(sequence), encode_sequence(question))


def decode_held(frames: Sequence[bytes]) -> tuple[int, int]:
    """The number that is held, and the newest question. Raises MalformedMessage."""
    return _two_numbers(frames, HELD)


def encode_position(sequence: int, question: int) -> Frames:
    """The active server has sent everything up to this number, and asks what is held."""
    return (POSITION, encode_sequence(sequence), encode_sequence(question))


def decode_position(frames: Sequence[bytes]) -> tuple[int, int]:
    """The number up to which all was sent, and the question. Raises MalformedMessage."""
    return _two_numbers(frames, POSITION)


def encode_renewed(renewed: Renewed) -> Frames:
    """The active server goes on in another epoch."""
    return (RENEWED, encode_sequence(renewed.old), encode_sequence(renewed.new))


def decode_renewed(frames: Sequence[bytes]) -> Renewed:
    """The two numbers. Raises MalformedMessage."""
    old, new = _two_numbers(frames, RENEWED)
    if old >= new:
        raise MalformedMessage("a renewed number is higher than the one before")
    return Renewed(old, new)


def encode_append(entries: Sequence[Frames]) -> Frames:
    """The message for 1 to APPEND_ENTRIES updates and refusals."""
    return (APPEND, *encode_entries(entries))


def decode_append(frames: Sequence[bytes], *, max_body: int = MAX_BODY) -> list[Frames]:
    """The updates and refusals, each as good as if `check_update` passed. MalformedMessage."""
    if len(frames) != 3 or frames[0] != APPEND:
        raise MalformedMessage("not an APPEND")
    return decode_entries(frames[1], frames[2], max_body=max_body, min_body=0)


def _two_numbers(frames: Sequence[bytes], word: bytes) -> tuple[int, int]:
    if len(frames) != 3 or frames[0] != word:
        raise MalformedMessage(f"not a {word.decode()}")
    return _number(frames[1]), _number(frames[2])


def _number(frame: bytes) -> int:
    number = int.from_bytes(frame, "big", signed=True)
    if len(frame) != 8 or number < 0:
        raise MalformedMessage(f"{frame[:16]!r} is not a sequence of 8 bytes")
    return number
