"""Boxes whose reader is not Python: libzmq pumps, or each worker reads its own part of the feed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from patterns.black_box.crew import Crew, WorkerId
from patterns.black_box.feeds import AnyFeeds, as_feeds
from patterns.black_box.foreman import Foreman
from patterns.black_box.handlers import HIGH_WATER_MARK, PATIENCE_SECONDS, WorkerKind, make_spawner
from patterns.black_box.pump import Pump, PumpSwitch
from patterns.black_box.spawning import Spawner
from patterns.black_box.tally import Tally, WorkerStatistics
from patterns.black_box.work import AnyWork
from patterns.black_box.worker_handlers import Post
from reactor import Handler, HandlerSet, HandlerStatistics, PeriodicHandler

# Small, so that a slow worker holds few messages that another one could do.
PUMP_HIGH_WATER_MARK = 100


@dataclass(frozen=True, slots=True)
class DirectBoxStatistics(HandlerStatistics):
    """What the workers of a box without a Python reader have done."""

    shards: tuple[WorkerStatistics, ...]


class _DirectBox(HandlerSet):
    """Supervises workers that take their messages from elsewhere."""

    def __init__(
        self,
        size: int,
        spawner: Spawner,
        post_of: Callable[[WorkerId, str], Post],
        patience: float,
        endpoint: str,
    ) -> None:
        super().__init__()
        self.tally = Tally(size)
        self.foreman = Foreman(self, spawner, Crew(size, patience=patience), post_of, endpoint)

    def build(self) -> Iterable[Handler]:
        """Start the workers."""
        return [self.foreman, _Ticker(self.tally)]

    def receive_ready(self, shard: int) -> None:
        """A fresh worker is there; it has connected to its source."""

    def receive_done(self, worker: WorkerId, done: int, failed: int) -> None:
        """A worker has handled so many messages since it was started."""
        if not self.tally.receive_done(worker, done, failed):
            self.refuse("a report that cannot be", worker=worker, done=done, failed=failed)

    def receive_death(self, worker: WorkerId, cause: str) -> None:
        """A worker has ended; how many messages it held is known to libzmq only."""
        if not self.foreman.crew.stopping:
            self.log.error("worker died", worker=worker, cause=cause)

    def statistics(self) -> DirectBoxStatistics:
        """Return a frozen snapshot of every worker's figures."""
        common = super().statistics()
        restarts = self.foreman.crew.restarts
        size = len(self.foreman.crew)
        return DirectBoxStatistics(
            name=common.name,
            errors=common.errors,
            refused=common.refused,
            shards=tuple(self.tally.statistics(n, restarts(n)) for n in range(size)),
        )


class PumpingBox(_DirectBox):
    """Spreads feeds over workers inside libzmq, without keys: the reader is no Python at all.

    A thread without the interpreter's lock pumps from SUB to PUSH (`zmq.proxy`); the workers take
    in turns, each at most `high_water_mark` ahead. There is **no order** among workers, no filter
    but the feeds' prefixes, and no lag; when a worker dies, what it had taken and what was under
    way to it (at most two marks) is lost and not counted. `io_threads` is the number of libzmq's
    I/O threads for the pump, `pump_cores` the cores they may run on.
    """

    def __init__(
        self,
        feeds: AnyFeeds,
        work: AnyWork,
        *,
        workers: int = 2,
        kind: WorkerKind = "processes",
        patience: float = PATIENCE_SECONDS,
        high_water_mark: int = PUMP_HIGH_WATER_MARK,
        feed_high_water_mark: int = HIGH_WATER_MARK,
        io_threads: int = 1,
        cores: Sequence[int] = (),
        pump_cores: Sequence[int] = (),
        endpoint: str = "",
        spawner: Spawner | None = None,
    ) -> None:
        self.pump = Pump(
            as_feeds(feeds),
            feed_high_water_mark=feed_high_water_mark,
            high_water_mark=high_water_mark,
            io_threads=io_threads,
            cores=pump_cores,
        )
        super().__init__(
            workers,
            spawner or make_spawner(kind, work, cores),
            lambda worker, box: Post(worker, box, self.pump.endpoint, (), high_water_mark),
            patience,
            endpoint,
        )

    def build(self) -> Iterable[Handler]:
        """Bind for the workers, start them, then pump."""
        return [self.pump, *super().build(), PumpSwitch(self.pump)]

    @property
    def bound_endpoints(self) -> tuple[str, ...]:
        """The feeds that publishers can connect to (`@`), with the ports that were bound."""
        return self.pump.bound_endpoints


class PrefixBox(_DirectBox):
    """Each worker subscribes to its own part of the feed: the quickest, with no reader at all.

    `parts` names for each worker the prefixes of its topics. The order of each topic is kept;
    libzmq does the sharding, at the publisher. What the box cannot do then: a filter, a policy
    (a slow worker loses at its `high_water_mark`, unseen), lag, and keeping what comes while a
    worker is restarted. Guard the work with a sequence number where a loss has to be noticed.
    """

    def __init__(
        self,
        feed: str,
        work: AnyWork,
        *,
        parts: Sequence[Sequence[bytes]],
        kind: WorkerKind = "processes",
        patience: float = PATIENCE_SECONDS,
        high_water_mark: int = HIGH_WATER_MARK,
        cores: Sequence[int] = (),
        endpoint: str = "",
        spawner: Spawner | None = None,
    ) -> None:
        if not all(parts):
            raise ValueError("each worker subscribes to at least one prefix")
        super().__init__(
            len(parts),
            spawner or make_spawner(kind, work, cores),
            lambda worker, box: Post(
                worker, box, feed, tuple(parts[worker.shard]), high_water_mark
            ),
            patience,
            endpoint,
        )


class _Ticker(PeriodicHandler):
    """Takes the rates."""

    name = "BlackBox.figures"

    def __init__(self, tally: Tally) -> None:
        super().__init__()
        self._tally = tally

    def on_tick(self) -> None:
        self._tally.tick(self.reactor.now())
