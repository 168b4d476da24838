"""Memory and descriptors of processes over time, and how memory grows."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

_PAGE = os.sysconf("SC_PAGE_SIZE")
_MEGABYTE = 1 << 20


@dataclass(frozen=True, slots=True)
class Sample:
    """What a process had at an instant, in seconds: resident megabytes, and descriptors."""

    at: float
    megabytes: float
    descriptors: int


@dataclass
class Life:
    """The samples of one life of a process."""

    kind: str
    name: str
    began: float
    samples: list[Sample] = field(default_factory=list)

    def after(self, warm_up: float) -> list[Sample]:
        """Those that are older than so many seconds."""
        return [each for each in self.samples if each.at >= self.began + warm_up]


def sample(pid: int, now: float) -> Sample | None:
    """Measure a process; None if it is gone."""
    folder = Path("/proc") / str(pid)
    try:
        pages = int((folder / "statm").read_text().split()[1])
        return Sample(now, pages * _PAGE / _MEGABYTE, len(os.listdir(folder / "fd")))
    except (OSError, IndexError):
        return None


def slope(lives: Iterable[Life], warm_up: float) -> float | None:
    """How many megabytes an hour the memory grows within lives, by least squares.

    The line of each life has its own height, and all have one slope. Samples of the first `warm_up`
    seconds of a life do not count. None with less than a minute to look at.
    """
    above = below = watched = 0.0
    for life in lives:
        samples = life.after(warm_up)
        if len(samples) < 2:
            continue
        watched += samples[-1].at - samples[0].at
        at = _mean([each.at for each in samples])
        megabytes = _mean([each.megabytes for each in samples])
        above += sum((each.at - at) * (each.megabytes - megabytes) for each in samples)
        below += sum((each.at - at) ** 2 for each in samples)
    return above / below * 3600 if watched >= 60 and below else None


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def descriptors(lives: Iterable[Life], warm_up: float) -> tuple[int, int] | None:
    """How many the longest life had at the end of its warm-up, and at its end."""
    lives = [life for life in lives if life.after(warm_up)]
    if not lives:
        return None
    longest = max(lives, key=lambda life: life.samples[-1].at - life.began)
    samples = longest.after(warm_up)
    return samples[0].descriptors, samples[-1].descriptors
