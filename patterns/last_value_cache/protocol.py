"""The cache and what it owes to new subscribers: no socket, no clock."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from patterns.last_value_cache.topics import SortedTopics

Message = tuple[bytes, ...]
"""The frames of a message; the first one is its topic."""

MAX_TOPICS = 1_000_000
MAX_BYTES = 256 * 1024 * 1024


class LastValues:
    """The last message of every topic, within `max_topics` topics and `max_bytes` of frames.

    A message has any number of frames; the first is its topic. A message whose frames after the
    topic are all empty deletes the topic; one that has no frame but its topic does not.
    """

    def __init__(self, max_topics: int = MAX_TOPICS, max_bytes: int = MAX_BYTES) -> None:
        if max_topics < 1 or max_bytes < 1:
            raise ValueError("a cache holds at least one topic and one byte")
        self.max_topics = max_topics
        self.max_bytes = max_bytes
        self.byte_count = 0
        self.deleted = 0
        self.refused = 0
        self._messages: dict[bytes, Message] = {}
        self._topics = SortedTopics()

    def __len__(self) -> int:
        return len(self._messages)

    def update(self, frames: Sequence[bytes]) -> bool:
        """Remember a message as the last of its topic, or delete the topic; False when refused.

        A message that does not fit into the limits is refused and counted, and its topic is
        forgotten: who subscribes later sees nothing rather than a value that is out of date.
        """
        message = tuple(frames)  # not a list: the garbage collector stops tracking it
        topic = message[0]
        old = self._messages.get(topic)
        if old is None or len(message) != 2 or len(old) != 2 or not message[1]:
            return self._replace(topic, old, message)
        # By far the most common case: another body for a topic that is known.
        self._messages[topic] = message
        self.byte_count += len(message[1]) - len(old[1])
        return self.byte_count <= self.max_bytes or self._refuse(topic)

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
        The cost depends on what is returned, not on what is cached.
        """
        messages = self._messages
        return [messages[topic] for topic in self._topics.page(prefix, after, last, limit)]

    def clear(self) -> None:
        """Forget every topic; the counters of what was deleted and refused stay."""
        self._messages.clear()
        self._topics = SortedTopics()
        self.byte_count = 0

    def _replace(self, topic: bytes, old: Message | None, message: Message) -> bool:
        if len(message) > 1 and not any(message[1:]):
            if old is not None:
                self._forget(topic)
                self.deleted += 1
            return True
        if old is None:
            if len(self._messages) >= self.max_topics:
                self.refused += 1
                return False
            self._topics.add(topic)
        self._messages[topic] = message
        self.byte_count += _size(message) - (0 if old is None else _size(old))
        return self.byte_count <= self.max_bytes or self._refuse(topic)

    def _refuse(self, topic: bytes) -> bool:
        self._forget(topic)
        self.refused += 1
        return False

    def _forget(self, topic: bytes) -> None:
        self.byte_count -= _size(self._messages.pop(topic))
        self._topics.remove(topic)


def _size(message: Message) -> int:
    return sum(map(len, message))


@dataclass(slots=True)
class _Lap:
    """How far the replay of one prefix has come: the topics after `after`, up to `last`, are due.

    `then_to` is set when somebody subscribed to the same prefix on the way: after the way to the
    end of the prefix, another one is due, from its beginning to there.
    """

    after: bytes | None = None
    last: bytes | None = None
    then_to: bytes | None = None
    refused_since: float | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """Some messages to send next, of one prefix; true until the cache is updated."""

    messages: list[Message]
    lap: _Lap


class Replays:
    """What is still to be sent to new subscribers, fair among prefixes.

    Subscribers of one prefix share its replay, like passengers of a circular line: who joins on
    the way gets the rest first, then the beginning. So after a restart, when everybody subscribes
    again, the topics of a prefix are sent twice at most, not once for each subscriber.

    `take` a page, send what can be sent, report it with `receive_sent`, and what was refused with
    `receive_refusal`. `patience` is in seconds.
    """

    def __init__(self, values: LastValues, patience: float) -> None:
        self._values = values
        self._patience = patience
        self._laps: OrderedDict[bytes, _Lap] = OrderedDict()

    def __len__(self) -> int:
        """The number of prefixes that are not done."""
        return len(self._laps)

    def receive_subscription(self, prefix: bytes) -> None:
        """Somebody subscribed: every topic cached under `prefix` is to be sent from now on."""
        lap = self._laps.get(prefix)
        if lap is not None:
            lap.then_to, lap.last = lap.after, None
        elif self._values.matching(prefix, limit=1):
            self._laps[prefix] = _Lap()

    def receive_unsubscription(self, prefix: bytes) -> None:
        """The last subscriber of `prefix` has gone: nothing is to be sent for it any more."""
        self._laps.pop(prefix, None)

    def take(self, limit: int) -> Page | None:
        """Return up to `limit` messages of the prefix that has waited longest; at the end, None."""
        while self._laps:
            prefix, lap = next(iter(self._laps.items()))
            messages = self._values.matching(prefix, lap.after, lap.last, limit)
            if messages:
                self._laps.move_to_end(prefix)
                return Page(messages, lap)
            if lap.then_to is None:
                del self._laps[prefix]
            else:
                lap.after, lap.last, lap.then_to = None, lap.then_to, None
        return None

    def receive_sent(self, page: Page, count: int) -> None:
        """The first `count` messages of the page have been sent."""
        if count:
            page.lap.after = page.messages[count - 1][0]
            page.lap.refused_since = None

    def receive_refusal(self, page: Page, now: float) -> bool:
        """Somebody is full, so the next message was refused; True when patience has ended."""
        if page.lap.refused_since is None:
            page.lap.refused_since = now
        return now - page.lap.refused_since >= self._patience
