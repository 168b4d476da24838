"""Which workers live: when to start one, when to give one up, how long to wait before the next."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

START_PATIENCE_SECONDS = 30.0  # a fresh interpreter that imports the user's libraries
SETTLED_SECONDS = 10.0  # who has lived this long is restarted at once
_FIRST_DELAY = 0.1
_LONGEST_DELAY = 5.0


class WorkerId(NamedTuple):
    """One life of the worker of one shard; `incarnation` counts its lives from 1."""

    shard: int
    incarnation: int

    @property
    def identity(self) -> bytes:
        """The routing id under which this worker connects to its box."""
        return b"%d.%d" % self

    @classmethod
    def from_identity(cls, identity: bytes) -> WorkerId | None:
        """Return whose routing id this is, or None when it is no worker's."""
        shard, dot, incarnation = identity.partition(b".")
        if not (shard.isdigit() and dot and incarnation.isdigit()):
            return None
        return cls(int(shard), int(incarnation))


class WorkerState(Enum):
    """Where a worker is between its start and its end."""

    ABSENT = "absent"  # ended, or not begun; the next start may be due later
    STARTING = "starting"  # it runs and has not said that it is ready
    READY = "ready"
    DYING = "dying"  # it was killed; nobody takes its place before it is known to have ended
    STOPPING = "stopping"  # it was told to finish and end


@dataclass(frozen=True, slots=True)
class StartWorker:
    """Start this worker, and say so by `receive_exit` when it has ended."""

    worker: WorkerId


@dataclass(frozen=True, slots=True)
class KillWorker:
    """End this worker at once."""

    worker: WorkerId
    cause: str


@dataclass(frozen=True, slots=True)
class StopWorker:
    """Tell this worker to finish what it holds and to end."""

    worker: WorkerId


@dataclass(frozen=True, slots=True)
class BuryWorker:
    """This worker has ended: what it held will not be reported any more."""

    worker: WorkerId
    cause: str


Effect = StartWorker | KillWorker | StopWorker | BuryWorker


@dataclass(slots=True)
class _Seat:
    worker: WorkerId
    state: WorkerState = WorkerState.ABSENT
    began_at: float = 0.0
    heard_at: float = 0.0
    failures: int = 0  # in a row, of workers that did not settle
    start_at: float | None = 0.0
    cause: str = ""


class Crew:
    """One worker a shard, kept alive: `now` in, what to do out.

    A worker that says nothing for `patience` seconds is killed: a message that takes longer than
    that is a hang. A worker that has ended is started again, at once; one that dies again before it
    was there for 10 seconds, after a pause that doubles from 0.1 to 5. Never are there two for one
    shard.
    """

    def __init__(
        self,
        size: int,
        *,
        patience: float,
        start_patience: float = START_PATIENCE_SECONDS,
    ) -> None:
        if size < 1:
            raise ValueError(f"a box has at least one worker, not {size}")
        if not patience > 0:
            raise ValueError(f"patience is a number of seconds above 0, not {patience!r}")
        self.patience = patience
        self.start_patience = start_patience
        self.stopping = False
        self._seats = [_Seat(WorkerId(shard, 0)) for shard in range(size)]

    def __len__(self) -> int:
        return len(self._seats)

    @property
    def all_ready(self) -> bool:
        """Whether every shard has a worker that takes messages."""
        return all(seat.state is WorkerState.READY for seat in self._seats)

    @property
    def all_absent(self) -> bool:
        """Whether no worker is left."""
        return all(seat.state is WorkerState.ABSENT for seat in self._seats)

    def worker(self, shard: int) -> WorkerId:
        """Return who is, or was the last to be, the worker of a shard."""
        return self._seats[shard].worker

    def state(self, shard: int) -> WorkerState:
        """Return where the worker of a shard is."""
        return self._seats[shard].state

    def restarts(self, shard: int) -> int:
        """Return how often the worker of a shard was replaced."""
        return max(0, self._seats[shard].worker.incarnation - 1)

    def is_current(self, worker: WorkerId) -> bool:
        """Whether this worker is there, rather than one that has ended or was never started."""
        return (
            0 <= worker.shard < len(self._seats)
            and self._seats[worker.shard].worker == worker
            and self._seats[worker.shard].state is not WorkerState.ABSENT
        )

    def receive_ready(self, worker: WorkerId, now: float) -> bool:
        """A worker wants messages; False when it is none that was waited for."""
        seat = self._seat_of(worker)
        if seat is None or seat.state is not WorkerState.STARTING:
            return False
        seat.state = WorkerState.READY
        seat.heard_at = now
        return True

    def receive_beat(self, worker: WorkerId, now: float) -> bool:
        """A worker has said something; False when it is not there any more."""
        seat = self._seat_of(worker)
        if seat is None:
            return False
        seat.heard_at = now
        return True

    def receive_exit(self, worker: WorkerId, cause: str, now: float) -> list[Effect]:
        """A worker has ended, whatever the reason."""
        seat = self._seat_of(worker)
        if seat is None:
            return []
        settled = seat.state is not WorkerState.STARTING and now - seat.began_at >= SETTLED_SECONDS
        seat.failures = 0 if settled else seat.failures + 1
        seat.state = WorkerState.ABSENT
        seat.start_at = None if self.stopping else now + _delay(seat.failures)
        return [BuryWorker(worker, seat.cause or cause), *self.tick(now)]

    def tick(self, now: float) -> list[Effect]:
        """Time has passed: start who is due, give up who is silent."""
        return [effect for seat in self._seats for effect in self._tick_seat(seat, now)]

    def stop(self, now: float) -> list[Effect]:
        """End: who is ready finishes what it holds, who is not is killed; nobody is started."""
        self.stopping = True
        effects: list[Effect] = []
        for seat in self._seats:
            seat.start_at = None
            if seat.state is WorkerState.READY:
                seat.state = WorkerState.STOPPING
                effects.append(StopWorker(seat.worker))
            elif seat.state is WorkerState.STARTING:
                effects += self._kill(seat, "not ready at the stop")
        return effects

    def kill_all(self, cause: str = "has not ended in time") -> list[Effect]:
        """End at once."""
        self.stopping = True
        effects: list[Effect] = []
        for seat in self._seats:
            seat.start_at = None
            if seat.state is not WorkerState.ABSENT:
                effects += self._kill(seat, cause)
        return effects

    def _seat_of(self, worker: WorkerId) -> _Seat | None:
        return self._seats[worker.shard] if self.is_current(worker) else None

    def _tick_seat(self, seat: _Seat, now: float) -> Iterator[Effect]:
        if seat.state is WorkerState.ABSENT:
            if seat.start_at is not None and now >= seat.start_at:
                yield self._start(seat, now)
        elif seat.state is WorkerState.STARTING:
            if now - seat.began_at > self.start_patience:
                yield from self._kill(seat, f"not ready after {self.start_patience} s")
        elif seat.state is WorkerState.READY and now - seat.heard_at > self.patience:
            yield from self._kill(seat, f"silent for {self.patience} s")

    def _start(self, seat: _Seat, now: float) -> Effect:
        seat.worker = WorkerId(seat.worker.shard, seat.worker.incarnation + 1)
        seat.state = WorkerState.STARTING
        seat.began_at = seat.heard_at = now
        seat.start_at = None
        seat.cause = ""
        return StartWorker(seat.worker)

    def _kill(self, seat: _Seat, cause: str) -> Iterator[Effect]:
        seat.state = WorkerState.DYING
        seat.cause = cause
        yield KillWorker(seat.worker, cause)


def _delay(failures: int) -> float:
    """Return the seconds before a start that follows so many failures in a row."""
    if failures <= 1:
        return 0.0
    return min(_FIRST_DELAY * 2.0 ** (failures - 2), _LONGEST_DELAY)
