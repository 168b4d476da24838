"""Stamps that came together, as the news of each publisher; mostly without a look at each stamp.

The bytes of a stamp are in the order of publisher and sequence. So in sorted stamps those of one
publisher are side by side, its first and its last message at the ends; and to sort what is sorted
costs next to nothing.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from itertools import islice
from operator import eq

from patterns.suicidal_snail.messages import ORIGIN_SIZE, MalformedMessage, Stamp, decode_stamp


def runs(stamps: list[bytes]) -> Iterator[list[bytes]]:
    """Split stamps that are in order into those of each origin."""
    if stamps[0][:ORIGIN_SIZE] == stamps[-1][:ORIGIN_SIZE]:
        yield stamps
        return
    start = 0
    while start < len(stamps):
        origin = stamps[start][:ORIGIN_SIZE]
        end = bisect_left(stamps, True, start, key=lambda stamp: stamp[:ORIGIN_SIZE] != origin)
        yield stamps[start:end]
        start = end


def news(run: list[bytes], first: Stamp, known: int) -> list[bytes]:
    """Return what comes after the sequence `known`, each once: a cache may send values again."""
    if any(map(eq, run, islice(run, 1, None))):
        run = list(dict.fromkeys(run))
    if first.sequence > known:
        return run
    return run[bisect_left(run, True, key=lambda stamp: decode_stamp(stamp).sequence > known) :]


def count_late(run: list[bytes], in_time: float) -> int:
    """Return how many of these were sent before that instant of their publisher's clock."""
    return bisect_left(run, in_time, key=lambda stamp: decode_stamp(stamp).sent_at)


def is_stamp(frame: bytes) -> bool:
    """Return whether a frame is a stamp in all respects."""
    try:
        decode_stamp(frame)
    except MalformedMessage:
        return False
    return True
