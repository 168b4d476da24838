"""Memory and descriptors of processes over time, and whether they grow."""

from __future__ import annotations

import os
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

_PAGE = os.sysconf("SC_PAGE_SIZE")
_MEGABYTE = 1 << 20
# A server grows at first. It remembers for ten minutes what it has applied (DuplicateFilter); and
# who follows anew is told 20,000 uuids, for which the ten minutes begin again: at 20 writes a
# second it has so many after a quarter of an hour.
GROWING_SECONDS = 1200.0
_READING_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class Sample:
    """What a process had at an instant, in seconds: resident megabytes, and descriptors."""

    at: float
    megabytes: float
    descriptors: int


@dataclass
class Life:
    """The samples of one life of a process."""

    began: float
    samples: list[Sample] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """How old it was at the last sample."""
        return self.samples[-1].at - self.began if self.samples else 0.0


@dataclass(frozen=True, slots=True)
class Memory:
    """The longest life of a process, of so many `lives`, and how many minutes it has lasted.

    `megabytes` are those at its beginning and every ten minutes after that; `slope` is megabytes an
    hour in its second half, None if it was too short to tell. The descriptors are the median and
    the most of the first third of its life, and those of the last.
    """

    lives: int
    minutes: float
    samples: int
    megabytes: Sequence[float]
    slope: float | None
    descriptors: tuple[tuple[int, int], tuple[int, int]]


def sample(pid: int, now: float) -> Sample | None:
    """Measure a process; None if it is gone."""
    folder = Path("/proc") / str(pid)
    try:
        pages = int((folder / "statm").read_text().split()[1])
        counted = len(os.listdir(folder / "fd"))
    except (OSError, IndexError):
        return None
    # Who is dead and waits to be noticed has no memory.
    return Sample(now, pages * _PAGE / _MEGABYTE, counted) if pages else None


def memory(lives: Sequence[Life]) -> Memory | None:
    """What the samples of a process's lives say; None if there are none."""
    longest = max(lives, key=lambda life: life.seconds, default=None)
    if longest is None or not longest.samples:
        return None
    third = max(1, len(longest.samples) // 3)
    return Memory(
        lives=len(lives),
        minutes=round(longest.seconds / 60, 1),
        samples=len(longest.samples),
        megabytes=_readings(longest),
        slope=slope(longest),
        descriptors=(_usual(longest.samples[:third]), _usual(longest.samples[-third:])),
    )


def slope(life: Life) -> float | None:
    """How many megabytes an hour a process grows in the second half of its life: least squares.

    None if it may still have been filling what it remembers.
    """
    half = life.seconds / 2
    if half < GROWING_SECONDS:
        return None
    samples = [each for each in life.samples if each.at >= life.began + half]
    line = statistics.linear_regression(
        [each.at for each in samples], [each.megabytes for each in samples]
    )
    return round(line.slope * 3600, 2)


def _readings(life: Life) -> list[float]:
    readings: list[float] = []
    for each in life.samples:
        if each.at >= life.began + len(readings) * _READING_SECONDS:
            readings.append(round(each.megabytes, 1))
    return readings


def _usual(samples: Sequence[Sample]) -> tuple[int, int]:
    """The median of the descriptors, and the most of them."""
    counts = [each.descriptors for each in samples]
    return statistics.median_low(counts), max(counts)
