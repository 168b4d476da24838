"""The work of a benchmark: so many turns of an empty loop for each message."""

from __future__ import annotations

import os
from time import perf_counter

TURNS = "REACTOR_BENCH_TURNS"
"""The environment variable that says how many turns."""

_turns = range(int(os.environ.get(TURNS, "0")))
_MEASURED_TURNS = 100_000
_ATTEMPTS = 20


def spin(frames: list[bytes]) -> None:
    """Do the work of one message."""
    for _ in _turns:
        pass


def turns_for(seconds: float) -> int:
    """Return how many turns take so long on this machine, when nothing disturbs them."""
    best = min(_time_of(_MEASURED_TURNS) for _ in range(_ATTEMPTS)) if seconds else 1.0
    return round(_MEASURED_TURNS * seconds / best)


def _time_of(turns: int) -> float:
    began = perf_counter()
    for _ in range(turns):
        pass
    return perf_counter() - began
