"""What workers report that take their messages from elsewhere than from the box."""

from __future__ import annotations

from dataclasses import dataclass

from patterns.black_box.crew import WorkerId


@dataclass(frozen=True, slots=True)
class WorkerStatistics:
    """What the workers of one shard have done since the box was started."""

    shard: int
    handled: int
    failed: int  # of those: the work raised
    restarts: int
    rate: float  # messages handled a second, lately


@dataclass(slots=True)
class _Count:
    worker: WorkerId
    handled: int = 0
    failed: int = 0
    earlier_handled: int = 0  # by workers that have ended
    earlier_failed: int = 0
    rate: float = 0.0
    rate_from: tuple[float, int] | None = None


class Tally:
    """Adds up the reports of all lives of each worker."""

    def __init__(self, size: int) -> None:
        self._counts = [_Count(WorkerId(shard, 0)) for shard in range(size)]

    def receive_done(self, worker: WorkerId, done: int, failed: int) -> bool:
        """A worker reports what it has done since it was started; False when that cannot be."""
        count = self._counts[worker.shard]
        if worker != count.worker:
            count.worker = worker
            count.earlier_handled += count.handled
            count.earlier_failed += count.failed
            count.handled = count.failed = 0
        if done < count.handled or not count.failed <= failed <= done:
            return False
        count.handled, count.failed = done, failed
        return True

    def tick(self, now: float) -> None:
        """Take the rates since the last tick."""
        for count in self._counts:
            handled = count.earlier_handled + count.handled
            if count.rate_from is not None and now > count.rate_from[0]:
                then, before = count.rate_from
                count.rate = (handled - before) / (now - then)
            count.rate_from = (now, handled)

    def statistics(self, shard: int, restarts: int) -> WorkerStatistics:
        """Return a frozen snapshot of one shard."""
        count = self._counts[shard]
        return WorkerStatistics(
            shard=shard,
            handled=count.earlier_handled + count.handled,
            failed=count.earlier_failed + count.failed,
            restarts=restarts,
            rate=count.rate,
        )
