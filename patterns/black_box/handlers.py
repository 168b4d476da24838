"""The keyed black box on sockets: feeds in front, the dealing out, workers behind."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import zmq

from patterns.black_box.crew import Crew, WorkerId
from patterns.black_box.feeds import AnyFeeds, Feed, as_feeds
from patterns.black_box.foreman import Foreman
from patterns.black_box.messages import Frames, encode_work
from patterns.black_box.protocol import (
    BATCH_LIMIT,
    LATE_SECONDS,
    MAX_DELIVERIES,
    QUEUE_LIMIT,
    WINDOW,
    BlackBoxProtocol,
    Effect,
    Key,
    NoSuchShard,
    ReportLate,
    ReportOnTime,
    ResumeReading,
    SendWork,
    ShardRule,
    imbalance,
)
from patterns.black_box.shards import Delivery, QueuePolicy, ShardStatistics
from patterns.black_box.spawning import ProcessSpawner, Spawner, ThreadSpawner, check_cores
from patterns.black_box.work import AnyWork
from reactor import Handler, HandlerSet, HandlerStatistics, PeriodicHandler, Stream, StreamHandler
from reactor.endpoints import parse_endpoints

WorkerKind = Literal["processes", "threads"]
Filter = Callable[[Frames], bool]
"""Says whether a message is wanted; runs in the reader, before a message costs anything more."""

PATIENCE_SECONDS = 10.0
HIGH_WATER_MARK = 10_000


@dataclass(frozen=True, slots=True)
class BlackBoxStatistics(HandlerStatistics):
    """What a box has done, shard by shard."""

    received: int  # of the feeds, what was filtered out included
    filtered: int
    reading: bool
    late: bool
    imbalance: float  # what the busiest shard received, as a multiple of the mean
    shards: tuple[ShardStatistics, ...]


class BlackBox(HandlerSet):
    """Spreads feeds over workers by key; the order of each key is kept.

    `feeds`: endpoints or Feed objects. `work`: `module:function`, a function of a module or a
    subclass of Work; each worker has its own. `key(frames)` returns the key (default: the first
    frame), or `shard(frames)` the number of the shard itself; `filter(frames)` drops what is not
    wanted. `queue_limit`, `policy`, `delivery`, `window`, `batch_limit`, `max_deliveries` and
    `late` are those of BlackBoxProtocol; `patience` that of Crew, in seconds. `cores` pins process
    workers, `reader_core` the thread that reads. Registering waits until all workers are ready, and
    raises WorkerFailed when they cannot be; only then the feeds are connected.

    Raises ValueError for settings that make no sense, NoSuchWork for work that has no name.
    """

    def __init__(
        self,
        feeds: AnyFeeds,
        work: AnyWork,
        *,
        workers: int = 2,
        kind: WorkerKind = "processes",
        key: Key | None = None,
        shard: ShardRule | None = None,
        filter: Filter | None = None,
        queue_limit: int = QUEUE_LIMIT,
        policy: QueuePolicy = QueuePolicy.DROP_OLDEST,
        delivery: Delivery = Delivery.AT_MOST_ONCE,
        window: int = WINDOW,
        batch_limit: int = BATCH_LIMIT,
        max_deliveries: int = MAX_DELIVERIES,
        late: float = LATE_SECONDS,
        patience: float = PATIENCE_SECONDS,
        high_water_mark: int = HIGH_WATER_MARK,
        cores: Sequence[int] = (),
        reader_core: int | None = None,
        endpoint: str = "",
        spawner: Spawner | None = None,
    ) -> None:
        super().__init__()
        if reader_core is not None and kind == "threads":
            raise ValueError("threads inherit the reader's core: pin it with processes only")
        check_cores([] if reader_core is None else [reader_core])
        self.feeds = as_feeds(feeds)
        self.filter = filter
        self.high_water_mark = high_water_mark
        self.protocol = BlackBoxProtocol(
            workers,
            key=key,
            shard=shard,
            queue_limit=queue_limit,
            policy=policy,
            delivery=delivery,
            window=window,
            batch_limit=batch_limit,
            max_deliveries=max_deliveries,
            late=late,
        )
        self.foreman = Foreman(
            self,
            spawner or make_spawner(kind, work, cores),
            Crew(workers, patience=patience),
            endpoint=endpoint,
        )
        self.filtered = 0
        self._reader_core = reader_core
        self._dispatch_due = False
        self._readers: list[_Reader] = []

    def build(self) -> Iterable[Handler]:
        """Start the workers, then the readers of the feeds."""
        if self._reader_core is not None:
            os.sched_setaffinity(0, {self._reader_core})
        self._readers = [_Reader(self._open_feed(feed), feed, self) for feed in self.feeds]
        return [self.foreman, _Ticker(self), *self._readers]

    async def on_stop(self) -> None:
        """Deal out what waits and let the workers handle it, for half of the stop's time."""
        self.foreman.begin_stop()
        self._dispatch()
        await self.foreman.wait_for(lambda: self.idle, self.reactor.stop_timeout / 2)
        if left := self.protocol.discard():
            self.log.warning("stopped with messages that nobody took", dropped=left)

    @property
    def idle(self) -> bool:
        """Whether everything that was received is done with."""
        return self.protocol.idle

    @property
    def bound_endpoints(self) -> tuple[str, ...]:
        """The feeds that publishers can connect to (`@`), with the ports that were bound."""
        return tuple(endpoint for reader in self._readers for endpoint in reader.bound_endpoints)

    def on_late(self, lags: dict[int, float]) -> None:
        """The box has become late: these shards lag so many seconds. The default logs it."""
        self.log.warning("the box is late", lags={n: round(lag, 3) for n, lag in lags.items()})

    def on_time(self) -> None:
        """No shard of the box is late any more. The default logs it."""
        self.log.info("the box is on time again")

    def statistics(self) -> BlackBoxStatistics:
        """Return a frozen snapshot of the whole box and of each shard."""
        common = super().statistics()
        now = self.reactor.now() if self._reactor is not None else 0.0
        shards = self.protocol.statistics(now, self.foreman.crew.restarts)
        return BlackBoxStatistics(
            name=common.name,
            errors=common.errors,
            refused=common.refused + sum(reader.refused for reader in self._readers),
            received=self.filtered + sum(shard.received for shard in shards),
            filtered=self.filtered,
            reading=self.protocol.reading,
            late=self.protocol.is_late,
            imbalance=imbalance(shards),
            shards=shards,
        )

    # What arrives

    def stop_reading(self) -> None:
        """Leave messages in the feeds' sockets: a queue is full, and the policy is to wait."""
        for reader in self._readers:
            reader.stream.pause()

    def dispatch_soon(self) -> None:
        """Deal out after this burst of messages: one batch for all of it."""
        if not self._dispatch_due:
            self._dispatch_due = True
            self.reactor.loop.call_soon(self._dispatch)

    def receive_ready(self, shard: int) -> None:
        """A fresh worker is there."""
        self._carry_out(self.protocol.receive_ready(shard, self.reactor.now()))

    def receive_done(self, worker: WorkerId, done: int, failed: int) -> None:
        """A worker has handled so many messages since it was started."""
        effects = self.protocol.receive_done(worker.shard, done, failed, self.reactor.now())
        if effects is None:
            self.refuse("a report that cannot be", worker=worker, done=done, failed=failed)
        else:
            self._carry_out(effects)

    def receive_death(self, worker: WorkerId, cause: str) -> None:
        """A worker has ended; what it held is lost or goes to the next one."""
        held = self.protocol.receive_death(worker.shard)
        if held or not self.foreman.crew.stopping:
            self.log.error("worker died", worker=worker, cause=cause, held=held)

    def tick(self) -> None:
        """Time has passed."""
        self._carry_out(self.protocol.tick(self.reactor.now()))

    # What the rules say

    def _dispatch(self) -> None:
        self._dispatch_due = False
        if self._reactor is not None:
            self._carry_out(self.protocol.dispatch(self.reactor.now()))

    def _carry_out(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case SendWork(shard, first, messages):
                    self.foreman.send(shard, encode_work(first, messages))
                case ResumeReading():
                    for reader in self._readers:
                        reader.stream.resume()
                case ReportLate(lags):
                    self.on_late(lags)
                case ReportOnTime():
                    self.on_time()

    def _open_feed(self, feed: Feed) -> Stream:
        options: dict[int, int | bytes] = {zmq.RCVHWM: self.high_water_mark}
        if feed.io_threads:
            options[zmq.AFFINITY] = feed.io_threads
        return self.open_stream(zmq.SUB, name="feed", subscribe=feed.prefixes, options=options)


class _Reader(StreamHandler):
    """Takes the messages of one feed: filter, shard, queue, and no more."""

    name = "BlackBox.reader"
    peer_errors = (NoSuchShard,)

    def __init__(self, stream: Stream, feed: Feed, box: BlackBox) -> None:
        super().__init__(stream)
        self._feed = feed
        self._box = box
        self._filter = box.filter
        self._receive = box.protocol.receive_message

    def on_start(self) -> None:
        """Connect, now that all workers are ready."""
        self.stream.open((self._feed.endpoints,), "connect")

    @property
    def bound_endpoints(self) -> list[str]:
        """What of the feed was bound; a stream lists its endpoints as they were written."""
        sides = parse_endpoints((self._feed.endpoints,), "connect")
        pairs = zip(self.stream.endpoints, sides, strict=False)
        return [real for real, (side, _) in pairs if side == "bind"]

    def on_message(self, frames: list[bytes]) -> None:
        if self._filter is not None and not self._filter(frames):
            self._box.filtered += 1
            return
        if not self._receive(frames):
            self._box.stop_reading()
        if not self._box._dispatch_due:
            self._box.dispatch_soon()


class _Ticker(PeriodicHandler):
    """Has the rules look at rates and lags."""

    name = "BlackBox.figures"

    def __init__(self, box: BlackBox) -> None:
        super().__init__(interval=min(1.0, box.protocol.late / 4))
        self._box = box

    def on_tick(self) -> None:
        self._box.tick()


def make_spawner(kind: WorkerKind, work: AnyWork, cores: Sequence[int] = ()) -> Spawner:
    """Return what starts workers of this kind; raises ValueError for settings that do not fit."""
    if kind == "processes":
        return ProcessSpawner(work, cores)
    if kind != "threads":
        raise ValueError(f"workers are processes or threads, not {kind!r}")
    if cores:
        raise ValueError("threads share the interpreter: only processes have cores of their own")
    return ThreadSpawner(work)
