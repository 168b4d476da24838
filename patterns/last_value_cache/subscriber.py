"""A subscriber that takes the newest values at its own pace, by credit: a DEALER."""

from __future__ import annotations

import asyncio
from asyncio import CancelledError
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from inspect import isawaitable

import zmq

from patterns.last_value_cache.intake import (
    BEAT_SECONDS,
    CREDIT,
    PATIENCE_SECONDS,
    Effect,
    Intake,
    IntakeState,
    ReportSynchronised,
    SendBeat,
    SendCredit,
    SendJoin,
)
from patterns.last_value_cache.messages import (
    BYE,
    FULL,
    HUGZ,
    REJOIN,
    SYNCED,
    UPDATE,
    Join,
    MalformedMessage,
    decode_join,
    encode_credit,
    encode_join,
)
from patterns.last_value_cache.values import Message
from reactor import (
    Handler,
    HandlerSet,
    HandlerStatistics,
    PeriodicHandler,
    Policy,
    Stream,
    StreamHandler,
)
from reactor.errors import as_exception
from reactor.handlers import Hook

CONFLATED = "tcp://127.0.0.1:5559"
_UNSENT = 100


@dataclass(frozen=True, slots=True)
class ConflatingSubscriberStatistics(HandlerStatistics):
    """What a subscriber by credit has got."""

    state: str
    topics: int  # that it has a value of
    received: int
    joined: int  # times that it has joined, the first one included


class ConflatingSubscriber(HandlerSet):
    """Gets the newest value of each topic, however slow it is; override `on_message`.

    It connects to the `conflated` endpoint of a LastValueCache and takes `credit` updates at a
    time: when these are handled it asks for more, and gets of each topic that has changed the
    newest value only. So what it is given was the newest when it asked last, or later: a small
    credit means newer values, a large one fewer pauses of a round trip.

    First come the values that there are, then `on_synchronised`, then changes. An empty body says
    that the topic has no value any more. A cache that says nothing for `patience` seconds is joined
    anew, and what has gone meanwhile is told as well, except topics of messages of one frame.

    Raises ValueError for settings that make no sense.
    """

    def __init__(
        self,
        endpoint: str = CONFLATED,
        prefixes: Iterable[bytes] = (b"",),
        *,
        credit: int = CREDIT,
        beat: float = BEAT_SECONDS,
        patience: float = PATIENCE_SECONDS,
    ) -> None:
        super().__init__()
        self.endpoint = endpoint
        self.intake = Intake(credit, beat, patience)
        self.join = decode_join(encode_join(Join(credit, tuple(prefixes))))  # or no cache takes it
        self._link: Link | None = None

    # For users

    def on_message(self, frames: list[bytes]) -> Hook:
        """The newest message of a topic, as it was published; may be a coroutine."""
        return None

    def on_synchronised(self) -> Hook:
        """All values that there were when we joined have come; again after each joining."""
        return None

    @property
    def stream(self) -> Stream:
        """The DEALER; another one each time that it has joined anew."""
        assert self._link is not None, "it has not started"
        return self._link.stream

    def statistics(self) -> ConflatingSubscriberStatistics:
        """Return a frozen snapshot of the counters."""
        common = super().statistics()
        return ConflatingSubscriberStatistics(
            name=common.name,
            errors=common.errors,
            refused=common.refused,
            state=self.intake.state.value,
            topics=self.intake.topics,
            received=self.intake.received,
            joined=self.intake.joined,
        )

    # Life

    def build(self) -> Iterable[Handler]:
        """Connect and join."""
        self._link = Link(self._connected_stream(), self)
        return [self._link, _Ticker(self.intake.beat, self)]

    def on_start(self) -> None:
        """Join for the first time."""
        self.intake.start(self.reactor.now())
        self.stream.send(*encode_join(self.join))

    def on_stop(self) -> None:
        """Let the cache forget us."""
        self.stream.send(BYE)

    def _connected_stream(self) -> Stream:
        return self.open_stream(
            zmq.DEALER,
            self.endpoint,
            name="updates",
            unmarked="connect",
            queue_limit=_UNSENT,
            policy=Policy.DROP_OLDEST,  # only beats, if the cache is not there
            # Credit bounds what is under way, and nobody else sends to a DEALER.
            options={zmq.RCVHWM: 0},
        )

    # What comes

    def receive_update(self, frames: list[bytes]) -> Hook:
        """An update has come: have it handled, then count it as such."""
        self.intake.receive_update(frames, self.reactor.now())
        waiting: Hook = None
        try:
            waiting = self.on_message(frames)
        finally:
            if waiting is None or not isawaitable(waiting):
                self.carry_out(self.intake.receive_handled())
        return self._handled_after(waiting) if isawaitable(waiting) else None

    async def _handled_after(self, waiting: Awaitable[None]) -> None:
        stream = self.stream
        try:
            await waiting
        finally:
            if stream is self.stream and not stream.closed:
                self.carry_out(self.intake.receive_handled())

    def receive_other(self, kind: bytes) -> Hook:
        """The cache says something else; raises MalformedMessage for what it never says."""
        now = self.reactor.now()
        if kind == SYNCED:
            return self.carry_out(self.intake.receive_synced(now))
        if kind == HUGZ:
            self.intake.receive_beat(now)
        elif kind == REJOIN:
            self.carry_out(self.intake.receive_rejoin(now))
        elif kind == FULL:
            self.log.warning("the cache has too many subscribers", endpoint=self.endpoint)
            self.intake.receive_full(now)
        else:
            raise MalformedMessage(f"no cache says {kind[:80]!r}")
        return None

    def tick(self) -> None:
        """Time has passed."""
        busy = self.stream.held_by is not None
        self.carry_out(self.intake.tick(self.reactor.now(), busy))

    # What the rules say

    def carry_out(self, effects: list[Effect]) -> Hook:
        """Do what the rules say, in their order; returns what a hook of the user returned."""
        hook: Hook = None
        for effect in effects:
            match effect:
                case SendCredit(credit):
                    self.stream.send(*encode_credit(credit))
                case SendBeat():
                    self.stream.send(HUGZ)
                case SendJoin():
                    self._join_anew()
                case ReportSynchronised(deletions):
                    hook = self._report(deletions)
        return hook

    def _join_anew(self) -> None:
        assert self._link is not None
        self.log.info("joining anew", joined=self.intake.joined, endpoint=self.endpoint)
        self._link.replace_stream(self._connected_stream())
        self.stream.send(*encode_join(self.join))

    def _report(self, deletions: tuple[Message, ...]) -> Hook:
        hooks: list[Callable[[], Hook]] = [
            partial(self.on_message, list(frames)) for frames in deletions
        ]
        rest = iter([*hooks, self.on_synchronised])
        first = self._call_until_awaitable(rest)
        return None if first is None else self._await_in_turn(first, rest)

    def _call_until_awaitable(self, hooks: Iterator[Callable[[], Hook]]) -> Hook:
        """Call hooks, also after one that raises, until one is to be awaited: that is returned."""
        for hook in hooks:
            try:
                waiting = hook()
            except (Exception, CancelledError) as error:
                self._hook_failed(as_exception(error))
                continue
            if waiting is not None and isawaitable(waiting):
                return waiting
        return None

    async def _await_in_turn(self, waiting: Hook, hooks: Iterator[Callable[[], Hook]]) -> None:
        while waiting is not None:
            try:
                await waiting
            except (Exception, CancelledError) as error:
                task = asyncio.current_task()
                if task is not None and task.cancelling():
                    raise  # ours: the stream is closed, and not something that the hook has asked
                self._hook_failed(as_exception(error))
            waiting = self._call_until_awaitable(hooks)

    @property
    def synchronised(self) -> bool:
        """Whether all values that there were when we joined have come."""
        return self.intake.state is IntakeState.SYNCHRONISED


class Link(StreamHandler):
    """The connection of the moment."""

    peer_errors = (MalformedMessage,)

    def __init__(self, stream: Stream, subscriber: ConflatingSubscriber) -> None:
        super().__init__(stream)
        self.name = f"{subscriber.name}.updates"
        self._subscriber = subscriber

    def on_message(self, frames: list[bytes]) -> Hook:
        """Hand an update on without its first frame, and everything else by its name."""
        if frames[0] == UPDATE and len(frames) > 1:
            del frames[0]
            return self._subscriber.receive_update(frames)
        return self._subscriber.receive_other(frames[0])

    def replace_stream(self, stream: Stream) -> None:
        """Close the stream and whatever waits in it, and go on with another one."""
        self.stream.close()
        self.stream = stream
        self._begin()


class _Ticker(PeriodicHandler):
    def __init__(self, interval: float, subscriber: ConflatingSubscriber) -> None:
        super().__init__(interval)
        self.name = f"{subscriber.name}.ticker"
        self._subscriber = subscriber

    def on_tick(self) -> None:
        """Tell the subscriber that time passes."""
        self._subscriber.tick()
