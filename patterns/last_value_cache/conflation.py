"""What subscribers by credit have still to be sent, the newest value of each topic: no socket."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from itertools import islice

from patterns.last_value_cache.messages import SYNCED, UPDATE, Join
from patterns.last_value_cache.values import LastValues, Message

MAX_SUBSCRIBERS = 100
PATIENCE_SECONDS = 60.0


@dataclass(slots=True)
class _Subscriber:
    """`pending` are topics in the order in which they wait; None is the end of the first values.

    `known` are the topics that it has a value of, as far as it was told: it need not hear of the
    end of any other. Both are bounded by the topics that the cache has, or had when it told.
    """

    prefixes: tuple[bytes, ...]
    credit: int
    heard_at: float
    pending: dict[bytes | None, None]
    known: set[bytes] = field(default_factory=set)
    full: bool = False


@dataclass(frozen=True, slots=True)
class Delivery:
    """Messages to send to one subscriber next, as they go on the wire; true until a change."""

    identity: bytes
    messages: list[Message]
    topics: list[bytes | None]


class Conflation:
    """For every subscriber by credit the topics with a value that it has not taken yet.

    A topic waits once, however often it changes, and its value is looked up when it is sent. So a
    subscriber costs memory for each topic at most, never for each message, and what it is sent is
    the newest there is. What the cache forgets, for whatever reason, it is told as a deletion.

    `take` a delivery, send what can be sent, report it with `receive_sent`. A subscriber that has
    said nothing for `patience` seconds is forgotten, as is one that cannot be reached.
    """

    def __init__(
        self,
        values: LastValues,
        max_subscribers: int = MAX_SUBSCRIBERS,
        patience: float = PATIENCE_SECONDS,
    ) -> None:
        if max_subscribers < 1 or not patience > 0:
            raise ValueError("at least one subscriber, and patience above 0 seconds")
        self.max_subscribers = max_subscribers
        self.patience = patience
        self.conflated = 0  # values that were replaced by newer ones before they were taken
        self.delivered = 0
        self._values = values
        self._subscribers: OrderedDict[bytes, _Subscriber] = OrderedDict()

    def __len__(self) -> int:
        """The number of subscribers."""
        return len(self._subscribers)

    def __contains__(self, identity: bytes) -> bool:
        return identity in self._subscribers

    @property
    def pending(self) -> int:
        """The number of values that wait, of all subscribers together."""
        return sum(len(each.pending) for each in self._subscribers.values())

    def clear(self) -> None:
        """Forget every subscriber; the counters stay."""
        self._subscribers.clear()

    # What subscribers say

    def receive_join(self, identity: bytes, join: Join, now: float) -> bool:
        """Somebody joins, for the first time or anew; False when there are too many already."""
        if identity not in self and len(self) >= self.max_subscribers:
            return False
        pending: dict[bytes | None, None] = {}
        for prefix in join.prefixes:
            pending |= dict.fromkeys(self._values.topics_under(prefix))
        pending[None] = None
        self._subscribers[identity] = _Subscriber(join.prefixes, join.credit, now, pending)
        return True

    def receive_credit(self, identity: bytes, credit: int, now: float) -> bool:
        """Somebody has handled all that it was sent and wants more; False when it is unknown.

        What is left of an earlier credit does not add up.
        """
        if identity not in self:
            return False
        subscriber = self._subscribers[identity]
        subscriber.credit, subscriber.full, subscriber.heard_at = credit, False, now
        return True

    def receive_beat(self, identity: bytes, now: float) -> bool:
        """Somebody is still there; False when it is unknown."""
        if identity not in self:
            return False
        self._subscribers[identity].heard_at = now
        self._subscribers[identity].full = False
        return True

    def remove(self, identity: bytes) -> tuple[bytes, ...]:
        """Forget a subscriber and return its prefixes; none when it is unknown."""
        subscriber = self._subscribers.pop(identity, None)
        return () if subscriber is None else subscriber.prefixes

    def silent(self, now: float) -> list[bytes]:
        """Return the subscribers that have said nothing for too long."""
        return [
            identity
            for identity, subscriber in self._subscribers.items()
            if now - subscriber.heard_at >= self.patience
        ]

    # What the cache says

    def receive_update(self, topic: bytes) -> bool:
        """A topic has another value; True when somebody waits for it with credit."""
        awaited = False
        for subscriber in self._subscribers.values():
            if topic.startswith(subscriber.prefixes):
                if topic in subscriber.pending:
                    self.conflated += 1
                else:
                    subscriber.pending[topic] = None
                    awaited = awaited or (subscriber.credit > 0 and not subscriber.full)
        return awaited

    def receive_forgotten(self, topic: bytes) -> bool:
        """A topic has no value any more; True when somebody waits with credit to hear of it."""
        awaited = False
        for subscriber in self._subscribers.values():
            if topic in subscriber.known:
                subscriber.pending[topic] = None
                awaited = awaited or (subscriber.credit > 0 and not subscriber.full)
            else:
                subscriber.pending.pop(topic, None)
        return awaited

    # What is to be sent

    def take(self, limit: int) -> Delivery | None:
        """Return up to `limit` messages for who has waited longest with credit; at the end, None.

        The mark that the first values are complete costs no credit.
        """
        for identity, subscriber in self._subscribers.items():
            if subscriber.pending and not subscriber.full:
                topics = self._due(subscriber, limit)
                if topics:
                    self._subscribers.move_to_end(identity)
                    return Delivery(identity, [*map(self._message_for, topics)], topics)
        return None

    def receive_sent(self, delivery: Delivery, count: int) -> None:
        """The first `count` messages of the delivery have been sent, and no more fitted."""
        subscriber = self._subscribers[delivery.identity]
        subscriber.full = count < len(delivery.topics)
        for topic in delivery.topics[:count]:
            del subscriber.pending[topic]
            if topic is None:
                continue
            subscriber.credit -= 1
            self.delivered += 1
            if self._values.lookup(topic) is None:
                subscriber.known.discard(topic)
            else:
                subscriber.known.add(topic)

    def _due(self, subscriber: _Subscriber, limit: int) -> list[bytes | None]:
        topics: list[bytes | None] = []
        left = subscriber.credit
        for topic in islice(subscriber.pending, limit):
            if topic is not None:
                if not left:
                    break
                left -= 1
            topics.append(topic)
        return topics

    def _message_for(self, topic: bytes | None) -> Message:
        if topic is None:
            return (SYNCED,)
        message = self._values.lookup(topic) or self._values.deletion_of(topic)
        return (UPDATE, *message)
