"""Who subscribes to what, and which topics are busy: bounded memory, no socket, no clock."""

from __future__ import annotations

import heapq
from dataclasses import dataclass

MAX_SUBSCRIPTIONS = 100_000
TOP_CAPACITY = 1000


class SubscriptionTable:
    """How many subscribers each topic has, for at most `limit` topics at a time.

    Fed with every subscribe and unsubscribe of an XPUB with XPUB_VERBOSER. A socket that
    subscribes to one topic twice counts twice.
    """

    def __init__(self, limit: int = MAX_SUBSCRIPTIONS) -> None:
        if limit < 1:
            raise ValueError("a table holds at least one topic")
        self.limit = limit
        self.refused = 0  # subscriptions to topics beyond the limit
        self.unknown = 0  # unsubscriptions from topics that nobody had subscribed to
        self._subscribers: dict[bytes, int] = {}

    def __len__(self) -> int:
        return len(self._subscribers)

    def receive_subscribe(self, topic: bytes) -> None:
        """Count one more subscriber of the topic."""
        count = self._subscribers.get(topic, 0)
        if not count and len(self._subscribers) >= self.limit:
            self.refused += 1
            return
        self._subscribers[topic] = count + 1

    def receive_unsubscribe(self, topic: bytes) -> None:
        """Count one subscriber less."""
        count = self._subscribers.get(topic, 0)
        if not count:
            self.unknown += 1
        elif count == 1:
            del self._subscribers[topic]
        else:
            self._subscribers[topic] = count - 1

    def lookup(self, topic: bytes) -> int:
        """Return how many have subscribed to exactly this topic."""
        return self._subscribers.get(topic, 0)

    def items(self, limit: int | None = None) -> list[tuple[bytes, int]]:
        """Return topics and their subscribers, most first, then by topic; at most `limit`."""

        def order(item: tuple[bytes, int]) -> tuple[int, bytes]:
            return -item[1], item[0]

        if limit is None:
            return sorted(self._subscribers.items(), key=order)
        return heapq.nsmallest(limit, self._subscribers.items(), key=order)

    def clear(self) -> None:
        """Forget every subscriber."""
        self._subscribers.clear()


@dataclass(frozen=True, slots=True)
class TopicRate:
    """Messages and bytes a second of a topic; the first is too high by at most `error`."""

    topic: bytes
    rate: float
    byte_rate: float
    error: float


class TopTopics:
    """The busiest topics of a period, in memory for `capacity` topics (space-saving).

    With n messages in the period, every topic with more than n / capacity of them is found, and
    no count is too high by more than that. A newcomer takes the place and the count of the least.
    """

    def __init__(self, capacity: int = TOP_CAPACITY) -> None:
        if capacity < 1:
            raise ValueError("capacity is at least 1")
        self.capacity = capacity
        self.total = 0
        self._counts: dict[bytes, list[int]] = {}  # topic: count, error, bytes
        # Counts as they were when last looked at: they only grow, so the least is found by
        # putting back what has grown since.
        self._heap: list[tuple[int, bytes]] = []

    def __len__(self) -> int:
        return len(self._counts)

    def add(self, topic: bytes, size: int) -> None:
        """Count one message of `size` bytes."""
        self.total += 1
        entry = self._counts.get(topic)
        if entry is not None:
            entry[0] += 1
            entry[2] += size
        elif len(self._counts) < self.capacity:
            self._counts[topic] = [1, 0, size]
            heapq.heappush(self._heap, (1, topic))
        else:
            least = self._evict_least()
            self._counts[topic] = [least + 1, least, size]
            heapq.heapreplace(self._heap, (least + 1, topic))

    def rates(self, seconds: float, limit: int) -> list[TopicRate]:
        """Return the busiest `limit` topics of a period of `seconds`, most first, then by topic."""
        if not seconds > 0:
            return []
        top = heapq.nsmallest(limit, self._counts.items(), key=lambda item: (-item[1][0], item[0]))
        return [
            TopicRate(topic, count / seconds, size / seconds, error / seconds)
            for topic, (count, error, size) in top
        ]

    def clear(self) -> None:
        """Begin a new period."""
        self.total = 0
        self._counts.clear()
        self._heap.clear()

    def _evict_least(self) -> int:
        """Remove the topic with the least count; its place in the heap is first, and free."""
        while True:
            seen, topic = self._heap[0]
            count = self._counts[topic][0]
            if count == seen:
                del self._counts[topic]
                return count
            heapq.heapreplace(self._heap, (count, topic))
