"""What a publisher keeps: its sequence, and a count of messages for every interest of a guard.

A subscriber sees of a publisher's sequence what its subscriptions let through, so a hole says
nothing by itself. It asks for beats about exactly its prefixes; a beat says how many messages went
to them. What a publisher sends to one subscriber arrives in order, so between two beats as many
messages must have arrived as the second count is higher than the first: the difference is lost.
"""

from __future__ import annotations

from dataclasses import dataclass

from patterns.suicidal_snail.messages import (
    PUBLISHER_SIZE,
    Beat,
    Interest,
    Stamp,
    decode_interest,
    encode_beat,
    encode_origin,
    encode_stamp,
)

MAX_INTERESTS = 1000
MAX_TOPICS = 100_000
# A guard that comes back within this time after a broken connection learns what it has missed.
KEEP_SECONDS = 60.0


@dataclass(slots=True)
class _Counter:
    prefixes: Interest
    since: int
    count: int = 0
    left_at: float | None = None  # when its last subscriber went


class Publication:
    """Stamps the messages of one publisher, and counts them for at most `max_interests` interests.

    `publisher` is a name of at most 8 bytes. Topics beyond `max_topics` cost a look at every
    interest again, but no memory. Raises ValueError for a longer name.
    """

    def __init__(
        self,
        publisher: bytes,
        incarnation: int,
        *,
        max_interests: int = MAX_INTERESTS,
        max_topics: int = MAX_TOPICS,
        keep: float = KEEP_SECONDS,
    ) -> None:
        if not 0 < len(publisher) <= PUBLISHER_SIZE:
            raise ValueError(f"a publisher's name has 1 to {PUBLISHER_SIZE} bytes: {publisher!r}")
        self.publisher = publisher.ljust(PUBLISHER_SIZE, b"\0")
        self.incarnation = incarnation % 2**32
        self.sequence = 0
        self.interests_refused = 0
        self._origin = encode_origin(self.publisher, self.incarnation)
        self._max_interests = max_interests
        self._max_topics = max_topics
        self._keep = keep
        self._interests: dict[bytes, _Counter] = {}  # by the topic of their beats
        self._counters: dict[bytes, tuple[_Counter, ...]] = {}  # by the topic of a message

    def __len__(self) -> int:
        """The number of interests that are counted, those that were left a while ago included."""
        return len(self._interests)

    def stamp(self, topic: bytes, sent_at: float) -> bytes:
        """Count a message that is sent now, and return its stamp; `sent_at` since 1970."""
        self.sequence += 1
        counters = self._counters.get(topic)
        for counter in self._find(topic) if counters is None else counters:
            counter.count += 1
        return encode_stamp(self._origin, self.sequence, sent_at)

    def receive_subscription(self, beat_topic: bytes) -> bool:
        """A guard asks for beats; False when there are too many interests already.

        Raises MalformedMessage for a topic that is none of a beat.
        """
        counter = self._interests.get(beat_topic)
        if counter is not None:
            counter.left_at = None
            return True
        prefixes = decode_interest(beat_topic)
        if len(self._interests) >= self._max_interests and not self._forget_one_left():
            self.interests_refused += 1
            return False
        self._interests[beat_topic] = _Counter(prefixes, self.sequence)
        self._counters.clear()
        return True

    def receive_unsubscription(self, beat_topic: bytes, now: float) -> None:
        """The last guard with this interest has gone, maybe to come back."""
        counter = self._interests.get(beat_topic)
        if counter is not None:
            counter.left_at = now

    def tick(self, now: float) -> None:
        """Forget interests that nobody has had for a while."""
        for topic, counter in list(self._interests.items()):
            if counter.left_at is not None and now - counter.left_at > self._keep:
                self._forget(topic)

    def beats(self, sent_at: float) -> list[tuple[bytes, bytes]]:
        """Return the beats of all interests that somebody has, as messages of two frames."""
        return [
            (topic, self.beat(topic, sent_at))
            for topic, counter in self._interests.items()
            if counter.left_at is None
        ]

    def beat(self, beat_topic: bytes, sent_at: float) -> bytes:
        """Return the second frame of the beat for one interest that is counted."""
        counter = self._interests[beat_topic]
        stamp = Stamp(self.publisher, self.incarnation, self.sequence, sent_at)
        return encode_beat(Beat(stamp, counter.since, counter.count))

    def _find(self, topic: bytes) -> tuple[_Counter, ...]:
        counters = tuple(c for c in self._interests.values() if topic.startswith(c.prefixes))
        if len(self._counters) < self._max_topics:
            self._counters[topic] = counters
        return counters

    def _forget_one_left(self) -> bool:
        left = [topic for topic, c in self._interests.items() if c.left_at is not None]
        if left:
            self._forget(left[0])
        return bool(left)

    def _forget(self, topic: bytes) -> None:
        del self._interests[topic]
        self._counters.clear()
