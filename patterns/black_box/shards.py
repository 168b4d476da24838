"""One shard: what waits for its worker, what its worker holds, and what became of the rest."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from patterns.black_box.messages import Frames


class QueuePolicy(Enum):
    """What happens to messages that a shard's full queue cannot take."""

    DROP_OLDEST = "drop-oldest"
    DROP_NEWEST = "drop-newest"
    STOP_READING = "stop-reading"  # of all feeds: this one slow shard then holds up the others


class Delivery(Enum):
    """What happens to messages that a worker held when it died."""

    AT_MOST_ONCE = "at-most-once"  # they are counted as lost
    AT_LEAST_ONCE = "at-least-once"  # the next worker gets them; it may see some a second time


@dataclass(frozen=True, slots=True)
class ShardStatistics:
    """What one shard holds now, and what it has done since the box was started."""

    shard: int
    received: int  # messages that came to this shard
    handled: int  # that its workers have reported as done
    failed: int  # of those: the work raised
    dropped: int  # by the policy of the queue
    lost: int  # in the hands of a worker that died
    redelivered: int
    given_up: int  # redelivered until they had killed too many workers
    waiting: int  # in the queue
    in_hand: int  # sent to the worker and not yet reported
    restarts: int
    rate: float  # messages handled a second, lately
    lag: float  # seconds since the oldest message that is not handled came


@dataclass(slots=True)
class _Batch:
    """What was sent at once; `messages` are kept only where they may be sent again."""

    count: int
    arrived_at: float
    messages: list[Frames] | None


class Shard:
    """A bounded queue in the order of arrival, and a worker that takes from it by credit.

    A worker holds at most `window` messages, in batches of at most `batch_limit`. After a death
    with Delivery.AT_LEAST_ONCE, the messages it held are suspects: they go to the next worker one
    at a time, so that one that kills again is known, and given up after `max_deliveries`.
    """

    def __init__(
        self,
        number: int,
        *,
        queue_limit: int,
        window: int,
        batch_limit: int,
        delivery: Delivery,
        max_deliveries: int,
    ) -> None:
        self.number = number
        self.queue: deque[Frames] = deque()
        self.queue_limit = queue_limit
        self.handled = self.failed = self.lost = self.redelivered = self.given_up = 0
        self.dropped_oldest = self.dropped_newest = 0
        self.ready = False
        self._window = window
        self._batch_limit = batch_limit
        self._delivery = delivery
        self._max_deliveries = max_deliveries
        # Positions count the messages that were ever queued; `_head` is that of queue[0].
        self._head = 0
        self._marks: deque[tuple[int, float]] = deque()  # from this position on they came then
        self._marked = 0
        # What the worker holds, and its own counts since it was started.
        self._batches: deque[_Batch] = deque()
        self._sent = self._done = self._failed = 0
        self._suspects = 0
        self._deliveries = 0  # of the first suspect
        self._rate = 0.0
        self._rate_from: tuple[float, int] | None = None

    @property
    def in_hand(self) -> int:
        """Messages that were sent to the worker and are not reported as done."""
        return self._sent - self._done

    @property
    def idle(self) -> bool:
        """Whether nothing waits and nothing is in hand."""
        return not self.queue and self._sent == self._done

    # What arrives

    def drop_oldest(self) -> None:
        """Make room for one message at the end of the queue."""
        while len(self.queue) >= self.queue_limit:
            self.queue.popleft()
            self._head += 1
            self.dropped_oldest += 1
            if self._suspects > self.in_hand:
                self._suspects -= 1  # those that are not in hand stand first

    def mark(self, now: float) -> None:
        """Take `now` as the arrival of what was queued since the last mark."""
        end = self._head + len(self.queue)
        if end > self._marked:
            self._marks.append((self._marked, now))
            self._marked = end

    def open(self) -> None:
        """A new worker is there, with empty hands."""
        self._sent = self._done = self._failed = 0
        self.ready = True

    def receive_done(self, done: int, failed: int) -> bool:
        """The worker has handled `done` messages in all; False when it cannot have."""
        if not self._done <= done <= self._sent or not self._failed <= failed <= done:
            return False
        progress = done - self._done
        self.handled += progress
        self.failed += failed - self._failed
        self._done, self._failed = done, failed
        if progress and self._suspects:
            self._suspects -= min(progress, self._suspects)
            self._deliveries = 1  # the next suspect was in the same hands once
        self._forget(progress)
        return True

    def close(self) -> int:
        """The worker is dead; return how many messages it held."""
        self.ready = False
        in_hand = self.in_hand
        if in_hand and self._delivery is Delivery.AT_MOST_ONCE:
            self.lost += in_hand
        elif in_hand:
            self._take_back(in_hand)
        self._batches.clear()
        self._sent = self._done = self._failed = 0
        return in_hand

    # What leaves

    def take(self) -> tuple[int, list[Frames]] | None:
        """Return the batch to send now and the number of its first message, or None."""
        credit = (1 if self._suspects else self._window) - self.in_hand
        count = min(len(self.queue), credit, self._batch_limit)
        if count <= 0 or not self.ready:
            return None
        arrived_at = self._arrival_of_head()
        messages = self._pop(count)
        keeps = self._delivery is Delivery.AT_LEAST_ONCE
        self._batches.append(_Batch(count, arrived_at, messages if keeps else None))
        first = self._sent
        self._sent += count
        return first, messages

    def discard(self) -> int:
        """Give up what waits, since the box stops; return how many messages that were."""
        count = len(self.queue)
        self._pop(count)
        self.dropped_oldest += count
        return count

    # Figures

    def lag(self, now: float) -> float:
        """Return the seconds since the oldest message came that is not handled; 0 if none."""
        if self._batches:
            return max(0.0, now - self._batches[0].arrived_at)
        if self.queue and self._marks:
            return max(0.0, now - self._arrival_of_head())
        return 0.0

    def measure(self, now: float) -> None:
        """Take the rate since the last call."""
        if self._rate_from is not None and now > self._rate_from[0]:
            then, handled = self._rate_from
            self._rate = (self.handled - handled) / (now - then)
        self._rate_from = (now, self.handled)

    def statistics(self, now: float, restarts: int) -> ShardStatistics:
        """Return a frozen snapshot."""
        return ShardStatistics(
            shard=self.number,
            received=self._head + len(self.queue) + self.dropped_newest,
            handled=self.handled,
            failed=self.failed,
            dropped=self.dropped_oldest + self.dropped_newest,
            lost=self.lost,
            redelivered=self.redelivered,
            given_up=self.given_up,
            waiting=len(self.queue),
            in_hand=self.in_hand,
            restarts=restarts,
            rate=self._rate,
            lag=self.lag(now),
        )

    def _pop(self, count: int) -> list[Frames]:
        queue = self.queue
        self._head += count
        if count == len(queue):
            messages = list(queue)
            queue.clear()
            return messages
        return [queue.popleft() for _ in range(count)]

    def _arrival_of_head(self) -> float:
        marks = self._marks
        while len(marks) > 1 and marks[1][0] <= self._head:
            marks.popleft()
        return marks[0][1] if marks else 0.0

    def _forget(self, count: int) -> None:
        """Drop the first `count` messages from what the worker holds."""
        while count:
            batch = self._batches[0]
            if batch.count > count:
                batch.count -= count
                return
            count -= batch.count
            self._batches.popleft()

    def _take_back(self, in_hand: int) -> None:
        """Put what the worker held before all that waits, in its old order."""
        arrived_at = self._batches[0].arrived_at
        messages = [m for batch in self._batches for m in _rest(batch)]
        self._deliveries = self._deliveries + 1 if self._suspects else 1
        if in_hand == 1 and self._deliveries >= self._max_deliveries:
            self.given_up += 1
            self._suspects = max(0, self._suspects - 1)
            self._deliveries = 1
            return
        self.queue.extendleft(reversed(messages))
        self._head -= in_hand
        self._marks.appendleft((self._head, arrived_at))
        self.redelivered += in_hand
        self._suspects = max(self._suspects, in_hand)


def _rest(batch: _Batch) -> Sequence[Frames]:
    """Return the messages of a batch that are not done: the last `count`."""
    messages = batch.messages or []
    return messages[len(messages) - batch.count :]
