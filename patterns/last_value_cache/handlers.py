"""The last value cache on sockets: a SUB in front, the cache, an XPUB behind."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import zmq

from patterns.last_value_cache.conflation import MAX_SUBSCRIBERS, Conflation
from patterns.last_value_cache.conflation import PATIENCE_SECONDS as CONFLATED_PATIENCE_SECONDS
from patterns.last_value_cache.conflator import Conflator
from patterns.last_value_cache.demand import Demand
from patterns.last_value_cache.grants import Grants
from patterns.last_value_cache.interest import LINGER_SECONDS, Interest
from patterns.last_value_cache.messages import MAX_CREDIT, MAX_PREFIX_BYTES
from patterns.last_value_cache.publisher import Publisher
from patterns.last_value_cache.values import MAX_BYTES, MAX_TOPICS, LastValues, LimitPolicy
from reactor import (
    Handler,
    HandlerSet,
    HandlerStatistics,
    PeriodicHandler,
    Policy,
    Stream,
    StreamHandler,
)
from reactor.endpoints import Side, parse_endpoints

FRONTEND = "tcp://127.0.0.1:5557"
BACKEND = "tcp://127.0.0.1:5558"
# More than the topics that most subscribers ask for, since a replay that fits is safe from live
# messages. If somebody stops reading a feed of 100 bytes a message, it costs about 30 MB.
HIGH_WATER_MARK = 100_000
PATIENCE_SECONDS = 10.0
_TICK_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class LastValueCacheStatistics(HandlerStatistics):
    """What the cache holds, and what it has done since it was started."""

    topics: int
    byte_count: int  # of the frames that are cached
    deleted: int
    expired: int
    evicted: int  # to make room for others
    values_refused: int  # by the limits of the cache
    subscriptions: int
    served_alone: int  # cached messages sent to a new subscriber and nobody else
    replays_pending: int  # prefixes with cached messages still to be sent
    replayed: int  # cached messages sent to all who subscribe to them
    overflows: int  # times that a full subscriber began to lose live messages
    given_up: int  # times that a replay went on without a subscriber that took nothing
    conflated_subscribers: int
    conflated_pending: int  # values that wait for these, of all together
    conflated_sent: int
    conflated_skipped: int  # values that were replaced by newer ones before they were sent


class LastValueCache(HandlerSet):
    """Forwards messages to subscribers, and sends each new one the last values of its topics.

    `frontend` (SUB) connects to publishers unless it is marked `@`, `backend` (XPUB) binds for
    subscribers unless it is marked `>`; either may name several endpoints, separated by commas.
    Messages have any number of frames, the first is the topic. `max_topics`, `max_bytes`, `policy`,
    `ttl` and `separator` are those of `LastValues`, which says what is kept.

    At most `high_water_mark` messages wait for one subscriber. When it is full, cached messages
    wait too, and live ones are lost for it until it has read half of them, as with any PUB: so let
    the mark be above the number of topics that one subscriber asks for. Who takes nothing delays
    what others get of the cache by at most `patience` seconds, and live messages not at all.

    `conflated` (ROUTER, binds) is for ConflatingSubscribers: at most `max_conflated` of them, and
    each is forgotten when it has said nothing for `conflated_patience` seconds.

    With `on_demand`, publishers are asked only for what subscribers ask for, and for `linger`
    seconds longer; nothing else is cached.

    Raises ValueError for a limit that makes no sense.
    """

    def __init__(
        self,
        *,
        frontend: str = FRONTEND,
        backend: str = BACKEND,
        conflated: str = "",
        max_topics: int = MAX_TOPICS,
        max_bytes: int = MAX_BYTES,
        policy: LimitPolicy = LimitPolicy.REFUSE,
        ttl: float | Mapping[bytes, float] | None = None,
        separator: bytes = b"",
        high_water_mark: int = HIGH_WATER_MARK,
        patience: float = PATIENCE_SECONDS,
        max_conflated: int = MAX_SUBSCRIBERS,
        conflated_patience: float = CONFLATED_PATIENCE_SECONDS,
        on_demand: bool = False,
        linger: float = LINGER_SECONDS,
    ) -> None:
        super().__init__()
        if high_water_mark < 1 or not patience >= 0 or not linger >= 0:
            raise ValueError("high_water_mark is at least 1, patience and linger are at least 0")
        self.frontend = frontend
        self.backend = backend
        self.conflated = conflated
        self.high_water_mark = high_water_mark
        self.patience = patience
        self.on_demand = on_demand
        self.values = LastValues(max_topics, max_bytes, policy=policy, ttl=ttl, separator=separator)
        """What is cached: `lookup` and `matching` answer without a subscription."""
        self._interest = Interest(linger if on_demand else 0.0)
        self._conflation = Conflation(self.values, max_conflated, conflated_patience)
        self._publisher: Publisher | None = None
        self._collector: Collector | None = None
        self._conflator: Conflator | None = None

    def build(self) -> Iterable[Handler]:
        """Open the frontend, subscribed to everything or to nothing yet, then what is behind."""
        self.values.clear()  # what was cached before a stop may be out of date
        self._interest.clear()
        self._conflation.clear()
        frontend = self._open_frontend()
        demand = Demand(self._interest, self.values, frontend if self.on_demand else None)
        self._publisher = self._open_publisher(demand)
        self._collector = Collector(frontend, self.values, self._publisher)
        ticking: list[Callable[[float], None]] = [self.values.expire, demand.tick]
        handlers: list[Handler] = [self._publisher]
        if self.conflated:
            self._conflator = Conflator(
                self._open_conflated(), self._conflation, self.values, demand
            )
            handlers.append(self._conflator)
            ticking.append(self._conflator.tick)
        return [*handlers, self._collector, Ticker(ticking)]

    def _open_frontend(self) -> Stream:
        return self.open_stream(
            zmq.SUB,
            self.frontend,
            name="frontend",
            unmarked="connect",
            subscribe=() if self.on_demand else (b"",),
            options={zmq.RCVHWM: self.high_water_mark},
        )

    def _open_publisher(self, demand: Demand) -> Publisher:
        stream = self.open_stream(
            zmq.XPUB,
            name="backend",
            options={
                # For good: libzmq 4.3.5 crashes if it changes while a peer leaves (its issue 4524).
                zmq.SNDHWM: self.high_water_mark,
                zmq.XPUB_NODROP: 1,
            },
            # The Publisher decides what happens to a message that a full subscriber cannot take.
            queue_limit=0,
            policy=Policy.DROP_NEWEST,
        )
        grants = Grants(stream, self.backend)
        grants.open()
        return Publisher(stream, grants, self.values, demand, self.patience)

    def _open_conflated(self) -> Stream:
        return self.open_stream(
            zmq.ROUTER,
            self.conflated,
            name="conflated",
            unmarked="bind",
            options={
                zmq.ROUTER_MANDATORY: 1,  # or what is for somebody who is gone or full is lost
                zmq.SNDHWM: 2 * MAX_CREDIT,  # more than anybody is owed
                zmq.MAXMSGSIZE: 4 * MAX_PREFIX_BYTES,  # of a frame
            },
            queue_limit=0,
            policy=Policy.DROP_NEWEST,
        )

    @property
    def bound_endpoints(self) -> tuple[str, ...]:
        """What others can connect to, with the ports that were bound: in front, then behind."""
        if self._publisher is None or self._collector is None:
            return ()
        bound = _bound(self._collector.stream, self.frontend, "connect")
        bound += _bound(self._publisher.stream, self.backend, "bind")
        if self._conflator is not None:
            bound += _bound(self._conflator.stream, self.conflated, "bind")
        return bound

    def statistics(self) -> LastValueCacheStatistics:
        """Return a frozen snapshot of what the cache holds and has done."""
        common = super().statistics()
        values, publisher, conflation = self.values, self._publisher, self._conflation
        return LastValueCacheStatistics(
            name=common.name,
            errors=common.errors,
            refused=common.refused,
            topics=len(values),
            byte_count=values.byte_count,
            deleted=values.deleted,
            expired=values.expired,
            evicted=values.evicted,
            values_refused=values.refused,
            subscriptions=publisher.subscriptions if publisher else 0,
            served_alone=publisher.served_alone if publisher else 0,
            replays_pending=publisher.replays_pending if publisher else 0,
            replayed=publisher.replayed if publisher else 0,
            overflows=publisher.overflows if publisher else 0,
            given_up=publisher.given_up if publisher else 0,
            conflated_subscribers=len(conflation),
            conflated_pending=conflation.pending,
            conflated_sent=conflation.delivered,
            conflated_skipped=conflation.conflated,
        )


class Collector(StreamHandler):
    """Takes the publishers' messages: into the cache, and on to the subscribers."""

    name = "LastValueCache.frontend"

    def __init__(self, stream: Stream, values: LastValues, publisher: Publisher) -> None:
        super().__init__(stream)
        self._values = values
        self._publisher = publisher

    def on_batch(self, messages: list[list[bytes]]) -> None:
        """Remember the messages, then send them: a subscription in between misses nothing."""
        now = self.reactor.now()
        update = self._values.update
        for frames in messages:
            if not update(frames, now):
                self.refuse("the cache is full", topic=frames[0][:80])
        self._publisher.publish(messages)


class Ticker(PeriodicHandler):
    """Tells the others what time it is."""

    name = "LastValueCache.ticker"

    def __init__(self, told: Iterable[Callable[[float], None]]) -> None:
        super().__init__(_TICK_SECONDS)
        self._told = tuple(told)

    def on_tick(self) -> None:
        """Tell them."""
        now = self.reactor.now()
        for tell in self._told:
            tell(now)


def _bound(stream: Stream, endpoints: str, unmarked: Side) -> tuple[str, ...]:
    """Return those endpoints of a stream that were bound; it lists them as they were written."""
    sides = parse_endpoints([endpoints], unmarked)
    return tuple(
        real for real, (side, _) in zip(stream.endpoints, sides, strict=False) if side == "bind"
    )
