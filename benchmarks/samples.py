"""What a measurement gives: samples, a target for a figure, and the meter that makes a rate."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from time import perf_counter, thread_time
from typing import Protocol

REACTOR = "reactor"


@dataclass(frozen=True)
class Sample:
    """One figure of one peer in one round; `size` is the body's bytes (0: does not matter)."""

    measurement: str
    peer: str
    round: int
    size: int
    value: float
    unit: str

    def as_json(self) -> str:
        """Return the sample as one line of JSON."""
        return json.dumps(asdict(self))


@dataclass(frozen=True)
class Target:
    """A bound for the reactor's ratio to `peer`, or without a peer for its figure itself."""

    measurement: str
    peer: str | None = None
    at_least: float | None = None
    at_most: float | None = None

    def __str__(self) -> str:
        sign, bound = (">=", self.at_least) if self.at_most is None else ("<=", self.at_most)
        return f"{sign} {bound:g}"

    def met(self, value: float) -> bool:
        """Return whether `value` is on the right side of the bound."""
        if self.at_most is not None:
            return value <= self.at_most
        return self.at_least is not None and value >= self.at_least


@dataclass(frozen=True)
class Settings:
    """What the command line asks for."""

    rounds: int = 5
    seconds: float = 2.0
    quick: bool = False


@dataclass(frozen=True)
class Rate:
    """Messages a second, and microseconds of the loop's thread for each where that is known."""

    a_second: float
    cpu: float | None = None

    def samples(self, measurement: str, peer: str, round_: int, size: int) -> Iterator[Sample]:
        """Yield the rate as a sample, and the CPU as another."""
        yield Sample(measurement, peer, round_, size, self.a_second, "msg/s")
        if self.cpu is not None:
            yield Sample(f"{measurement} CPU", peer, round_, size, self.cpu, "us")


class Measurement(Protocol):
    """A module of this package: one kind of figure, peer by peer."""

    @property
    def TARGETS(self) -> tuple[Target, ...]:
        """The bounds that this measurement is held to."""

    def measure(self, settings: Settings, round_: int) -> Iterator[Sample]:
        """Yield the samples of one round, all peers in turn."""


class Meter:
    """How a count grows, from its first note above 0 to its last one below `limit`."""

    def __init__(self, limit: int, seconds: float) -> None:
        self._limit = limit
        self._seconds = seconds
        self._first: tuple[float, float, int] | None = None
        self._last = (0.0, 0.0, 0)

    def note(self, count: int) -> bool:
        """Note `count` as it is now; True once the limit or the time is reached."""
        if count >= self._limit:
            return True
        if not count:
            return False
        self._last = (perf_counter(), thread_time(), count)
        if self._first is None:
            self._first = self._last
        return self._last[0] - self._first[0] >= self._seconds

    async def watch(self, count: Callable[[], int]) -> None:
        """Note `count()` every 20 ms until that is enough, from inside a loop."""
        while not self.note(count()):
            await asyncio.sleep(0.02)

    def rate(self) -> float:
        """Return counts a second."""
        return self.result().a_second

    def result(self) -> Rate:
        """Return the rate and the CPU that this thread needed for it."""
        if self._first is None or self._first[0] == self._last[0]:
            raise RuntimeError("too few messages came to measure a rate")
        seconds, cpu, count = (b - a for a, b in zip(self._first, self._last, strict=True))
        return Rate(count / seconds, cpu / count * 1e6)
