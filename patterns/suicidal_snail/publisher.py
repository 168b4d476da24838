"""The publisher's side: stamps and beats, and who of the subscribers says that it is slow."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import zmq

from patterns.suicidal_snail.messages import (
    BEAT_TOPIC,
    PUBLISHER_SIZE,
    MalformedMessage,
    Squawk,
    decode_squawk,
)
from patterns.suicidal_snail.publication import Publication
from patterns.suicidal_snail.squawks import SlowSubscriber, SlowSubscribers
from reactor import Handler, HandlerSet, HandlerStatistics, PeriodicTimer, Stream, StreamHandler

BEAT_SECONDS = 1.0
HIGH_WATER_MARK = 1000
_SUBSCRIBED = b"\x01" + BEAT_TOPIC
_UNSUBSCRIBED = b"\x00" + BEAT_TOPIC


class Stamping(StreamHandler):
    """A handler, or a mixin of one, that stamps what it publishes on its stream.

    The stream is an XPUB, so that guards can ask for beats; on a PUB there are stamps and no beats.
    `publisher` is a name of at most 8 bytes that is its own; without one it is eight random bytes,
    and whoever is started anew is somebody else. `beat_interval` is in seconds. Raises ValueError
    for a longer name.

    Wall time is read once, at the start, and goes on from there monotonically: setting the clock
    makes no message older.
    """

    def __init__(
        self,
        stream: Stream,
        publisher: bytes = b"",
        *,
        beat_interval: float = BEAT_SECONDS,
        wall_clock: Callable[[], float] = time.time,  # noqa: TID251 - ages between two hosts
    ) -> None:
        super().__init__(stream)
        self._wall_clock = wall_clock
        self._wall_offset = 0.0
        self._beat_interval = beat_interval
        self._timer: PeriodicTimer | None = None
        self.publication = Publication(publisher or os.urandom(PUBLISHER_SIZE), int(wall_clock()))

    def publish(self, topic: bytes, *frames: bytes) -> bool:
        """Publish `topic`, `frames` and a stamp; False when the stream's policy dropped it.

        Raises ValueError for a topic that is one of beats, and what `Stream.send` raises.
        """
        if topic.startswith(BEAT_TOPIC):
            raise ValueError(f"topics that begin with {BEAT_TOPIC!r} are those of beats")
        return self.stream.send(topic, *frames, self.publication.stamp(topic, self.wall_now()))

    def wall_now(self) -> float:
        """Seconds since 1970 as stamps have them."""
        return self._wall_offset + self.reactor.now()

    def on_start(self) -> None:
        """Set the clock of the stamps, and begin to beat; call it if you override it."""
        self._wall_offset = self._wall_clock() - self.reactor.now()
        self._timer = self.reactor.periodic(self._beat_interval, self.beat)
        self._timer.on_error = self._hook_failed

    def on_stop(self) -> None:
        """Beat no more; call it if you override it."""
        if self._timer is not None:
            self._timer.cancel()

    def on_message(self, frames: list[bytes]) -> None:
        """A subscription came: if it is a guard's for its beats, it gets the first one at once."""
        event = frames[0]
        try:
            if event.startswith(_SUBSCRIBED):
                self._receive_guard(event[1:])
            elif event.startswith(_UNSUBSCRIBED):
                self.publication.receive_unsubscription(event[1:], self.reactor.now())
        except MalformedMessage as error:
            self.refuse(str(error))

    def beat(self) -> None:
        """Tell all guards how far this publisher is."""
        self.publication.tick(self.reactor.now())
        for message in self.publication.beats(self.wall_now()):
            self.stream.send(*message)

    def _receive_guard(self, beat_topic: bytes) -> None:
        if self.publication.receive_subscription(beat_topic):
            self.stream.send(beat_topic, self.publication.beat(beat_topic, self.wall_now()))
        else:
            self.refuse("too many interests: a guard will hear no beats")


@dataclass(frozen=True, slots=True)
class SnailPublisherStatistics(HandlerStatistics):
    """What a publisher has done, and what its subscribers say."""

    published: int
    interests: int
    slow_subscribers: int


class SquawkCollector(StreamHandler):
    """Takes squawks from a PULL stream and knows who is slow.

    `on_squawk` may be overridden; the list is `slow_subscribers()`.
    """

    peer_errors = (MalformedMessage,)

    def __init__(self, stream: Stream, slow: SlowSubscribers | None = None) -> None:
        super().__init__(stream)
        self._slow = SlowSubscribers() if slow is None else slow

    def on_message(self, frames: list[bytes]) -> None:
        """One squawk came."""
        squawk = decode_squawk(frames)
        self._slow.receive_squawk(squawk, self.reactor.now())
        self.on_squawk(squawk)

    def on_squawk(self, squawk: Squawk) -> None:
        """A subscriber says that it is slow, or that it has recovered; the default logs it."""
        self.log.warning(
            "subscriber recovered" if squawk.recovered else "subscriber is slow",
            subscriber=squawk.subscriber,
            reason=squawk.reason,
            publisher=squawk.publisher,
            age=squawk.age,
            lost=squawk.lost,
        )

    def slow_subscribers(self) -> list[SlowSubscriber]:
        """Return who has squawked lately and has not recovered, the latest first."""
        return self._slow.list(self.reactor.now())


class SnailPublisher(HandlerSet):
    """A publisher whose subscribers can tell when they are too slow, and tell it.

    `backend` (XPUB) binds for subscribers unless it is marked `>`. With `squawks`, a PULL that
    binds there collects what slow subscribers report. At most `high_water_mark` messages wait for
    one subscriber, then it loses messages. The rest, ValueError included, is as for `Stamping`.
    """

    def __init__(
        self,
        backend: str,
        publisher: bytes = b"",
        *,
        squawks: str = "",
        beat_interval: float = BEAT_SECONDS,
        high_water_mark: int = HIGH_WATER_MARK,
        wall_clock: Callable[[], float] = time.time,  # noqa: TID251 - ages between two hosts
    ) -> None:
        super().__init__()
        if len(publisher) > PUBLISHER_SIZE:
            raise ValueError(f"a publisher's name has at most {PUBLISHER_SIZE} bytes")
        self.backend = backend
        self.squawks = squawks
        self.publisher = publisher
        self._beat_interval = beat_interval
        self._high_water_mark = high_water_mark
        self._wall_clock = wall_clock
        self._slow = SlowSubscribers()
        self._stamping: Stamping | None = None
        self._collector: SquawkCollector | None = None

    def build(self) -> Iterable[Handler]:
        """Bind the collector of squawks, if there is to be one, then the XPUB."""
        handlers: list[Handler] = []
        if self.squawks:
            stream = self.open_stream(zmq.PULL, self.squawks, name="squawks", unmarked="bind")
            self._collector = SquawkCollector(stream, self._slow)
            handlers.append(self._collector)
        backend = self.open_stream(
            zmq.XPUB,
            self.backend,
            name="backend",
            unmarked="bind",
            # Verbose: or only the first guard of an interest would get its first beat at once.
            options={zmq.SNDHWM: self._high_water_mark, zmq.XPUB_VERBOSE: 1},
        )
        self._stamping = Stamping(
            backend,
            self.publisher,
            beat_interval=self._beat_interval,
            wall_clock=self._wall_clock,
        )
        return [*handlers, self._stamping]

    def publish(self, topic: bytes, *frames: bytes) -> bool:
        """Publish `topic`, `frames` and a stamp; as `Stamping.publish`."""
        assert self._stamping is not None, "publish() before the set was started"
        return self._stamping.publish(topic, *frames)

    def slow_subscribers(self) -> list[SlowSubscriber]:
        """Return who has squawked lately and has not recovered, the latest first."""
        return self._slow.list(self.reactor.now())

    @property
    def endpoints(self) -> tuple[str, ...]:
        """Where it is bound or connected: the backend's endpoints, then the collector's."""
        handlers = (self._stamping, self._collector)
        return tuple(endpoint for h in handlers if h for endpoint in h.stream.endpoints)

    def statistics(self) -> SnailPublisherStatistics:
        """Return a frozen snapshot of what it has done."""
        common = super().statistics()
        publication = self._stamping.publication if self._stamping else None
        return SnailPublisherStatistics(
            name=common.name,
            errors=common.errors,
            refused=common.refused,
            published=publication.sequence if publication else 0,
            interests=len(publication) if publication else 0,
            slow_subscribers=len(self._slow),
        )
