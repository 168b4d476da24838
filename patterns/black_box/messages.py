"""What a box and its workers say to each other; both are of one program, on one host.

The box's ROUTER to a worker's DEALER, and back:

    WORK   first, arities, lengths, body    messages number `first` and on, in one batch
    STOP                                    finish what you hold, report, end

    READY                                   give me work
    DONE   done, failed                     so many of what you sent are handled: credit, and a beat

A batch is packed, because libzmq's price is by the frame: packing and unpacking a message of two
frames costs about 0.5 us at both ends together, sending and receiving its frames three times that.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from itertools import accumulate, chain, pairwise
from struct import Struct
from typing import NamedTuple

WORK = b"WORK"
STOP = b"STOP"
READY = b"READY"
DONE = b"DONE"

Frames = Sequence[bytes]

_NUMBER = Struct("!Q")
_COUNTS = Struct("!QQ")


class MalformedMessage(ValueError):
    """A message between box and worker that neither of them sends."""


class Done(NamedTuple):
    """So many messages has a worker handled since it was started, of which so many failed."""

    done: int
    failed: int


def encode_work(first: int, messages: Sequence[Frames]) -> tuple[bytes, ...]:
    """Return the frames of a batch: `messages`, of which the first has the number `first`."""
    arities = array("I", map(len, messages))
    if arities.count(arities[0]) == len(arities):
        del arities[1:]  # by far the most common feed: all messages have as many frames
    frames = list(chain.from_iterable(messages))
    lengths = array("I", map(len, frames))
    return WORK, _NUMBER.pack(first), arities.tobytes(), lengths.tobytes(), b"".join(frames)


def decode_work(frames: Frames) -> tuple[int, list[list[bytes]]]:
    """Return what `encode_work` was given; raises MalformedMessage for anything else."""
    if len(frames) != 5 or len(frames[1]) != _NUMBER.size:
        raise MalformedMessage("a batch has five frames")
    arities, lengths = _numbers(frames[2]), _numbers(frames[3])
    body = frames[4]
    ends = list(accumulate(lengths, initial=0))
    if ends[-1] != len(body) or not arities or 0 in arities:
        raise MalformedMessage("the lengths of a batch do not add up")
    parts = [body[begin:end] for begin, end in pairwise(ends)]
    (first,) = _NUMBER.unpack(frames[1])
    if len(arities) == 1 and len(parts) % arities[0] == 0:
        columns = [iter(parts)] * arities[0]
        return first, list(map(list, zip(*columns, strict=True)))
    return first, _divided(parts, arities)


def _numbers(frame: bytes) -> array[int]:
    numbers = array("I")
    if len(frame) % numbers.itemsize:
        raise MalformedMessage("a list of numbers is cut off")
    numbers.frombytes(frame)
    return numbers


def _divided(parts: list[bytes], arities: array[int]) -> list[list[bytes]]:
    ends = list(accumulate(arities, initial=0))
    if ends[-1] != len(parts):
        raise MalformedMessage("the frames of a batch do not add up")
    return [parts[begin:end] for begin, end in pairwise(ends)]


def encode_done(report: Done) -> tuple[bytes, ...]:
    """Return the frames of a worker's report."""
    return DONE, _COUNTS.pack(*report)


def decode_done(frames: Frames) -> Done:
    """Return a worker's report; raises MalformedMessage for anything else."""
    if len(frames) != 2 or len(frames[1]) != _COUNTS.size:
        raise MalformedMessage("a report has two frames, of 4 and 16 bytes")
    report = Done(*_COUNTS.unpack(frames[1]))
    if report.failed > report.done:
        raise MalformedMessage("more failed than was handled")
    return report
