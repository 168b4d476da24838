"""The rules of a keyed black box: which shard, how much to whom, what when a worker dies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from zlib import crc32

from patterns.black_box.messages import Frames
from patterns.black_box.shards import Delivery, QueuePolicy, Shard, ShardStatistics

QUEUE_LIMIT = 100_000
WINDOW = 1000
BATCH_LIMIT = 500
MAX_DELIVERIES = 3
LATE_SECONDS = 1.0

Key = Callable[[Frames], bytes]
"""Returns the key of a message; messages of one key stay in order."""

ShardRule = Callable[[Frames], int]
"""Returns the number of the shard that a message belongs to, from 0."""


class NoSuchShard(ValueError):
    """The user's rule named a shard that the box does not have."""


@dataclass(frozen=True, slots=True)
class SendWork:
    """Send these messages to the worker of a shard; `first` counts within its life."""

    shard: int
    first: int
    messages: list[Frames]


@dataclass(frozen=True, slots=True)
class ResumeReading:
    """Take messages from the feeds again; `receive_message` has said when not to."""


@dataclass(frozen=True, slots=True)
class ReportLate:
    """The box is a snail: these shards lag so many seconds."""

    lags: dict[int, float]


@dataclass(frozen=True, slots=True)
class ReportOnTime:
    """No shard is late any more."""


Effect = SendWork | ResumeReading | ReportLate | ReportOnTime


def shard_of(key: bytes, shards: int) -> int:
    """Return the shard of a key: the same in every process, on every host, at every start."""
    return crc32(key) % shards


class BlackBoxProtocol:
    """Spreads messages over shards and deals them out by credit.

    Feed it messages with `receive_message` and then, once for many of them, ask `dispatch` what to
    send. A worker holds at most `window` messages, in batches of at most `batch_limit`; the others
    wait in their shard's queue, which `policy` keeps within `queue_limit`. Messages of one shard
    leave in the order in which they came, and none is sent to a worker while another one of the
    shard may hold earlier ones: that is what keeps the order of a key.

    The box is late as soon as the oldest message of any shard is `late` seconds old, and on time
    again when all are younger than half of that.
    """

    def __init__(
        self,
        shards: int,
        *,
        key: Key | None = None,
        shard: ShardRule | None = None,
        queue_limit: int = QUEUE_LIMIT,
        policy: QueuePolicy = QueuePolicy.DROP_OLDEST,
        delivery: Delivery = Delivery.AT_MOST_ONCE,
        window: int = WINDOW,
        batch_limit: int = BATCH_LIMIT,
        max_deliveries: int = MAX_DELIVERIES,
        late: float = LATE_SECONDS,
    ) -> None:
        if min(shards, queue_limit, window, batch_limit) < 1 or max_deliveries < 2:
            raise ValueError("shards and limits are at least 1, max_deliveries at least 2")
        if not late > 0:
            raise ValueError(f"late is a number of seconds above 0, not {late!r}")
        self.policy = policy
        self.queue_limit = queue_limit
        self.late = late
        self.is_late = False
        self.reading = True
        self.shards = [
            Shard(
                number,
                queue_limit=queue_limit,
                window=window,
                batch_limit=batch_limit,
                delivery=delivery,
                max_deliveries=max_deliveries,
            )
            for number in range(shards)
        ]
        self._key = key
        self._rule = shard

    @property
    def idle(self) -> bool:
        """Whether every message that came is done with."""
        return all(shard.idle for shard in self.shards)

    def receive_message(self, frames: Frames) -> bool:
        """A message came from a feed; False when reading has to stop now.

        Raises NoSuchShard when the rule names a shard that is not there.
        """
        shards = self.shards
        if self._rule is not None:
            shard = self._named_shard(frames)
        else:
            key = frames[0] if self._key is None else self._key(frames)
            shard = shards[crc32(key) % len(shards)]  # as shard_of, without the call
        queue = shard.queue
        if len(queue) < self.queue_limit:
            queue.append(frames)
            if len(queue) < self.queue_limit or self.policy is not QueuePolicy.STOP_READING:
                return True
            self.reading = False
            return False
        return self._receive_into_full(shard, frames)

    def receive_ready(self, shard: int, now: float) -> list[Effect]:
        """A new worker of a shard is there; the earlier one has ended."""
        self.shards[shard].open()
        return self.dispatch(now)

    def receive_done(self, shard: int, done: int, failed: int, now: float) -> list[Effect] | None:
        """A worker reports how much it has handled since it began; None when that cannot be."""
        if not self.shards[shard].receive_done(done, failed):
            return None
        return self.dispatch(now)

    def receive_death(self, shard: int) -> int:
        """The worker of a shard has ended; return how many messages it held."""
        return self.shards[shard].close()

    def dispatch(self, now: float) -> list[Effect]:
        """Return what can be sent; `now` is taken as the arrival of what came since the last."""
        effects: list[Effect] = []
        for shard in self.shards:
            shard.mark(now)
            while (batch := shard.take()) is not None:
                effects.append(SendWork(shard.number, *batch))
        if not self.reading and self._has_room():
            self.reading = True
            effects.append(ResumeReading())
        return effects

    def tick(self, now: float) -> list[Effect]:
        """Time has passed: take the rates, and see whether the box is late."""
        for shard in self.shards:
            shard.measure(now)
        lags = {shard.number: shard.lag(now) for shard in self.shards}
        limit = self.late / 2 if self.is_late else self.late
        late = {number: lag for number, lag in lags.items() if lag >= limit}
        if bool(late) == self.is_late:
            return []
        self.is_late = bool(late)
        return [ReportLate(late) if late else ReportOnTime()]

    def discard(self) -> int:
        """Give up what waits, since the box stops; return how many messages that were."""
        return sum(shard.discard() for shard in self.shards)

    def statistics(self, now: float, restarts: Callable[[int], int]) -> tuple[ShardStatistics, ...]:
        """Return a frozen snapshot of every shard."""
        return tuple(shard.statistics(now, restarts(shard.number)) for shard in self.shards)

    def _named_shard(self, frames: Frames) -> Shard:
        assert self._rule is not None
        number = self._rule(frames)
        if not 0 <= number < len(self.shards):
            raise NoSuchShard(f"there is no shard {number}, only 0 to {len(self.shards) - 1}")
        return self.shards[number]

    def _receive_into_full(self, shard: Shard, frames: Frames) -> bool:
        if self.policy is QueuePolicy.DROP_NEWEST:
            shard.dropped_newest += 1
        elif self.policy is QueuePolicy.DROP_OLDEST:
            shard.drop_oldest()
            shard.queue.append(frames)
        else:
            # Came in spite of the stop, or after a redelivery filled the queue: kept all the same.
            shard.queue.append(frames)
            self.reading = False
            return False
        return True

    def _has_room(self) -> bool:
        """Whether all queues have emptied by half: to stop and go at each message costs more."""
        return all(len(shard.queue) <= self.queue_limit // 2 for shard in self.shards)


def imbalance(shards: tuple[ShardStatistics, ...]) -> float:
    """Return what the busiest shard received, as a multiple of the mean; 1 is perfect."""
    received = [shard.received for shard in shards]
    return max(received) * len(received) / sum(received) if any(received) else 1.0
