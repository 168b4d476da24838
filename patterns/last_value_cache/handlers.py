"""The last value cache on sockets: a SUB in front, the cache, an XPUB behind."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import zmq

from patterns.last_value_cache.protocol import MAX_BYTES, MAX_TOPICS, LastValues
from patterns.last_value_cache.publisher import Publisher
from reactor import Handler, HandlerSet, HandlerStatistics, Policy, Stream, StreamHandler
from reactor.endpoints import Side, parse_endpoints

FRONTEND = "tcp://127.0.0.1:5557"
BACKEND = "tcp://127.0.0.1:5558"
# More than the topics that most subscribers ask for, since a replay that fits is safe from live
# messages. If somebody stops reading a feed of 100 bytes a message, it costs about 30 MB.
HIGH_WATER_MARK = 100_000
PATIENCE_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class LastValueCacheStatistics(HandlerStatistics):
    """What the cache holds, and what it has done since it was started."""

    topics: int
    byte_count: int  # of the frames that are cached
    deleted: int
    values_refused: int  # by the limits of the cache
    subscriptions: int
    replays_pending: int  # prefixes with cached messages still to be sent
    replayed: int  # cached messages sent
    overflows: int  # times that a full subscriber began to lose live messages
    given_up: int  # times that a replay went on without a subscriber that took nothing


class LastValueCache(HandlerSet):
    """Forwards messages to subscribers, and sends each new one the last values of its topics.

    `frontend` (SUB) connects to publishers unless it is marked `@`, `backend` (XPUB) binds for
    subscribers unless it is marked `>`; either may name several endpoints, separated by commas.
    Messages have any number of frames, the first is the topic; `LastValues` says what is kept.

    At most `high_water_mark` messages wait for one subscriber. When it is full, cached messages
    wait too, and live ones are lost for it until it has read half of them, as with any PUB: so let
    the mark be above the number of topics that one subscriber asks for. Who takes nothing delays
    what others get of the cache by at most `patience` seconds, and live messages not at all.
    Raises ValueError for a limit that makes no sense.
    """

    def __init__(
        self,
        *,
        frontend: str = FRONTEND,
        backend: str = BACKEND,
        max_topics: int = MAX_TOPICS,
        max_bytes: int = MAX_BYTES,
        high_water_mark: int = HIGH_WATER_MARK,
        patience: float = PATIENCE_SECONDS,
    ) -> None:
        super().__init__()
        if high_water_mark < 1 or patience < 0:
            raise ValueError("high_water_mark is at least 1 and patience is not negative")
        self.frontend = frontend
        self.backend = backend
        self.high_water_mark = high_water_mark
        self.patience = patience
        self.values = LastValues(max_topics, max_bytes)
        """What is cached: `lookup` and `matching` answer without a subscription."""
        self._publisher: Publisher | None = None
        self._collector: Collector | None = None

    def build(self) -> Iterable[Handler]:
        """Open the backend, then the frontend, subscribed to everything."""
        self.values.clear()  # what was cached before a stop may be out of date
        self._publisher = Publisher(self._open_backend(), self.values, self.patience)
        self._collector = Collector(self._open_frontend(), self.values, self._publisher)
        return [self._publisher, self._collector]

    def _open_frontend(self) -> Stream:
        return self.open_stream(
            zmq.SUB,
            self.frontend,
            name="frontend",
            unmarked="connect",
            subscribe=(b"",),
            options={zmq.RCVHWM: self.high_water_mark},
        )

    def _open_backend(self) -> Stream:
        return self.open_stream(
            zmq.XPUB,
            self.backend,
            name="backend",
            unmarked="bind",
            options={
                # For good: libzmq 4.3.5 crashes if it changes while a peer leaves (its issue 4524).
                zmq.SNDHWM: self.high_water_mark,
                zmq.XPUB_VERBOSE: 1,  # or only the first subscriber of a topic is reported
                zmq.XPUB_NODROP: 1,
            },
            # The Publisher decides what happens to a message that a full subscriber cannot take.
            queue_limit=0,
            policy=Policy.DROP_NEWEST,
        )

    @property
    def bound_endpoints(self) -> tuple[str, ...]:
        """What others can connect to, with the ports that were bound: frontend, then backend."""
        if self._publisher is None or self._collector is None:
            return ()
        return _bound(self._collector.stream, self.frontend, "connect") + _bound(
            self._publisher.stream, self.backend, "bind"
        )

    def statistics(self) -> LastValueCacheStatistics:
        """Return a frozen snapshot of what the cache holds and has done."""
        common = super().statistics()
        values, publisher = self.values, self._publisher
        return LastValueCacheStatistics(
            name=common.name,
            errors=common.errors,
            refused=common.refused,
            topics=len(values),
            byte_count=values.byte_count,
            deleted=values.deleted,
            values_refused=values.refused,
            subscriptions=publisher.subscriptions if publisher else 0,
            replays_pending=publisher.replays_pending if publisher else 0,
            replayed=publisher.replayed if publisher else 0,
            overflows=publisher.overflows if publisher else 0,
            given_up=publisher.given_up if publisher else 0,
        )


class Collector(StreamHandler):
    """Takes the publishers' messages: into the cache, and on to the subscribers."""

    name = "LastValueCache.frontend"

    def __init__(self, stream: Stream, values: LastValues, publisher: Publisher) -> None:
        super().__init__(stream)
        self._update = values.update
        self._publish = publisher.stream.send
        self._publish_past_full = publisher.send_past_full

    def on_message(self, frames: list[bytes]) -> None:
        """Remember the message, then send it: a subscription in between misses nothing."""
        if not self._update(frames):
            self.refuse("the cache is full", topic=frames[0][:80])
        if not self._publish(*frames):
            self._publish_past_full(frames)


def _bound(stream: Stream, endpoints: str, unmarked: Side) -> tuple[str, ...]:
    """Return those endpoints of a stream that were bound; it lists them as they were written."""
    sides = parse_endpoints([endpoints], unmarked)
    return tuple(
        real for real, (side, _) in zip(stream.endpoints, sides, strict=False) if side == "bind"
    )
