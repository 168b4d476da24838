"""The last value of every topic, within limits: no socket, no clock."""

from __future__ import annotations

import enum
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence

from patterns.last_value_cache.topics import SortedTopics

Message = tuple[bytes, ...]
"""The frames of a message; the first one is its topic, or begins with it."""

MAX_TOPICS = 1_000_000
MAX_BYTES = 256 * 1024 * 1024


class LimitPolicy(enum.Enum):
    """What happens to a message that does not fit into the cache any more."""

    REFUSE = "refuse"
    """It is not kept, and neither is an older value of its topic."""

    EVICT = "evict"
    """Topics that were not updated for the longest time are forgotten, until it fits."""


class LastValues:
    """The last message of every topic, within `max_topics` topics and `max_bytes` of frames.

    A message has any number of frames; the first is its topic. A message whose frames after the
    topic are all empty deletes the topic; one that has no frame but its topic does not. With a
    `separator`, a message of one frame is its topic, the separator and a body, and the topic is
    what ends with the first separator, included; here an empty body deletes as well.

    `ttl` says for how many seconds a value is good: for all topics, or for those under each of
    several prefixes, of which the longest counts. `expire` forgets what is older.

    Raises ValueError for a limit that makes no sense.
    """

    def __init__(
        self,
        max_topics: int = MAX_TOPICS,
        max_bytes: int = MAX_BYTES,
        *,
        policy: LimitPolicy = LimitPolicy.REFUSE,
        ttl: float | Mapping[bytes, float] | None = None,
        separator: bytes = b"",
    ) -> None:
        if max_topics < 1 or max_bytes < 1:
            raise ValueError("a cache holds at least one topic and one byte")
        self.max_topics = max_topics
        self.max_bytes = max_bytes
        self.policy = policy
        self.byte_count = 0
        self.deleted = 0
        self.refused = 0
        self.evicted = 0
        self.expired = 0
        self._separator = separator
        # Topics in the order of their updates are needed for evicting only: it costs memory.
        self._messages: dict[bytes, Message] = OrderedDict() if policy is LimitPolicy.EVICT else {}
        self._topics = SortedTopics()
        self._lifetimes = _lifetimes(ttl)
        self.watch(None, None)

    def __len__(self) -> int:
        return len(self._messages)

    def update(self, frames: Sequence[bytes], now: float = 0.0) -> bool:
        """Remember a message as the last of its topic, or delete the topic; False when refused.

        A message that is refused is counted, and its topic is forgotten: who subscribes later
        sees nothing rather than a value that is out of date. `now` matters only with a `ttl`.
        """
        message = tuple(frames)  # not a list: the garbage collector stops tracking it
        topic = message[0]
        messages = self._messages
        old = messages.get(topic)
        if old is None or len(message) != 2 or len(old) != 2 or not message[1]:
            return self._replace(message, now)
        # By far the most common case: another body for a topic that is known.
        messages[topic] = message
        if self._noting:
            self._note(topic, now)
        grown = len(message[1]) - len(old[1])
        if not grown:
            return True
        self.byte_count += grown
        return self.byte_count <= self.max_bytes or self._make_room(topic)

    def watch(
        self,
        on_update: Callable[[bytes], None] | None,
        on_forget: Callable[[bytes], None] | None,
    ) -> None:
        """Tell of every topic that has got another value, and of every one that has none any more.

        A value is forgotten when it was deleted, refused or evicted, or has expired.
        """
        self._on_update, self._on_forget = on_update, on_forget
        # An update that nobody must know of costs 0.1 us less.
        evicting = self.policy is LimitPolicy.EVICT
        self._noting = evicting or bool(self._lifetimes) or on_update is not None

    def lookup(self, topic: bytes) -> Message | None:
        """Return the last message of exactly this topic, or None."""
        return self._messages.get(topic)

    def matching(
        self,
        prefix: bytes,
        after: bytes | None = None,
        last: bytes | None = None,
        limit: int | None = None,
    ) -> list[Message]:
        """Return the last messages of the topics under `prefix` (b"": of all), in byte order.

        Of these the ones behind the topic `after`, up to and with `last`, at most `limit`.
        The cost depends on what is returned, not on what is cached. A prefix that goes beyond a
        separator finds the message that begins with it.
        """
        messages = self._messages
        found = [messages[topic] for topic in self._topics.page(prefix, after, last, limit)]
        if self._separator and self._separator in prefix and after is None:
            found = self._beginning_with(prefix) + found
        return found[:limit]

    def topics_under(self, prefix: bytes) -> list[bytes]:
        """Return the topics under `prefix` in byte order."""
        return self._topics.page(prefix)

    def topic_of(self, message: Sequence[bytes]) -> bytes:
        """Return the topic of a message."""
        if self._separator and len(message) == 1:
            head, separator, _ = message[0].partition(self._separator)
            return head + separator
        return message[0]

    def deletion_of(self, topic: bytes) -> Message:
        """Return the message that says that a topic has no value any more."""
        if self._separator and topic.endswith(self._separator):
            return (topic,)
        return (topic, b"")

    def expire(self, now: float) -> None:
        """Forget the values that are too old, and count them."""
        for _, _, deadlines in self._lifetimes:
            while deadlines:
                topic, expires_at = next(iter(deadlines.items()))
                if expires_at > now:
                    break
                self._forget(topic)
                self.expired += 1

    def forget(self, topic: bytes) -> None:
        """Forget the value of a topic that has one, for a reason that is not the cache's."""
        self._forget(topic)

    def clear(self) -> None:
        """Forget every topic; the counters of what was deleted and refused stay."""
        self._messages.clear()
        self._topics = SortedTopics()
        self.byte_count = 0
        for _, _, deadlines in self._lifetimes:
            deadlines.clear()

    def _replace(self, message: Message, now: float) -> bool:
        topic = self.topic_of(message)
        old = self._messages.get(topic)
        if self._deletes(message, topic):
            if old is not None:
                self._forget(topic)
                self.deleted += 1
            return True
        size = _size(message)
        if size > self.max_bytes:
            return self._refuse(topic, old)
        if old is None:
            if len(self._messages) >= self.max_topics:
                if self.policy is LimitPolicy.REFUSE:
                    return self._refuse(topic, old)
                self._evict()
            self._topics.add(topic)
        self._messages[topic] = message
        self.byte_count += size - (0 if old is None else _size(old))
        self._note(topic, now)
        return self.byte_count <= self.max_bytes or self._make_room(topic)

    def _deletes(self, message: Message, topic: bytes) -> bool:
        if len(message) > 1:
            return not any(message[1:])
        separator = self._separator
        return bool(separator) and message[0] == topic and topic.endswith(separator)

    def _note(self, topic: bytes, now: float) -> None:
        """A topic has got a value: begin its lifetime anew, and tell who wants to know."""
        if isinstance(self._messages, OrderedDict):
            self._messages.move_to_end(topic)
        for prefix, seconds, deadlines in self._lifetimes:
            if topic.startswith(prefix):
                deadlines[topic] = now + seconds
                deadlines.move_to_end(topic)
                break
        if self._on_update is not None:
            self._on_update(topic)

    def _make_room(self, topic: bytes) -> bool:
        """Come below the limit of bytes again, after a topic has got a value."""
        if self.policy is LimitPolicy.REFUSE or _size(self._messages[topic]) > self.max_bytes:
            return self._refuse(topic, self._messages[topic])
        while self.byte_count > self.max_bytes:
            self._evict()
        return True

    def _evict(self) -> None:
        self._forget(next(iter(self._messages)))
        self.evicted += 1

    def _refuse(self, topic: bytes, old: Message | None) -> bool:
        if old is not None:
            self._forget(topic)
        self.refused += 1
        return False

    def _forget(self, topic: bytes) -> None:
        self.byte_count -= _size(self._messages.pop(topic))
        self._topics.remove(topic)
        for _, _, deadlines in self._lifetimes:
            deadlines.pop(topic, None)
        if self._on_forget is not None:
            self._on_forget(topic)

    def _beginning_with(self, prefix: bytes) -> list[Message]:
        """Return the message of one frame that begins with more than its topic, if there is one."""
        topic = self.topic_of((prefix,))
        message = self._messages.get(topic)
        if topic == prefix or message is None or not message[0].startswith(prefix):
            return []
        return [message]


def _size(message: Message) -> int:
    return sum(map(len, message))


def _lifetimes(
    ttl: float | Mapping[bytes, float] | None,
) -> list[tuple[bytes, float, OrderedDict[bytes, float]]]:
    """Return prefixes, the longest first, their seconds, and what expires when, in that order.

    All topics of one prefix live equally long, so the one that was updated first expires first:
    no heap, and what is kept is bounded by the topics.
    """
    ttls = ttl if isinstance(ttl, Mapping) else {} if ttl is None else {b"": ttl}
    if not all(seconds > 0 for seconds in ttls.values()):
        raise ValueError("a ttl is at least more than no time at all")
    prefixes = sorted(ttls, key=len, reverse=True)
    return [(prefix, ttls[prefix], OrderedDict()) for prefix in prefixes]
