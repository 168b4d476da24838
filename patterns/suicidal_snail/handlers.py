"""The subscriber's side: a SUB that judges itself, and what it does when it is a snail."""

from __future__ import annotations

import os
import socket
import time
from asyncio import CancelledError
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import zmq

from patterns.suicidal_snail.diagnosis import (
    SNAIL_EXIT_CODE,
    Diagnosis,
    Limits,
    Reaction,
    SnailError,
)
from patterns.suicidal_snail.feed import Feed, Ticker
from patterns.suicidal_snail.messages import (
    MalformedMessage,
    encode_interest,
    encode_squawk,
    interest_of,
)
from patterns.suicidal_snail.protocol import SnailProtocol
from patterns.suicidal_snail.squawks import squawk_of
from reactor import Handler, HandlerSet, HandlerStatistics, Policy, Stream, StreamHandler
from reactor.endpoints import parse_endpoints
from reactor.errors import as_exception
from reactor.handlers import Hook

HIGH_WATER_MARK = 1000
_TICK_SECONDS = 0.25
_SQUAWKS_WAITING = 100


@dataclass(frozen=True, slots=True)
class SnailSubscriberStatistics(HandlerStatistics):
    """What a subscriber has received, missed and done about it."""

    received: int  # stamped messages, each once
    lost: int
    replayed: int  # stamped messages that were older than one that had come, not judged
    unstamped: int  # messages without a stamp, delivered and not judged
    untracked: int  # messages of more publishers than are judged
    diagnoses: int
    resubscribed: int


class SnailSubscriber(HandlerSet):
    """A subscriber that knows when it is too slow for its feed; override `on_message`.

    `feed` (SUB) connects to publishers unless it is marked `@`; it may name several endpoints,
    separated by commas. `prefixes` are its subscriptions; `limits` and `reactions` say when it is a
    snail and what it does then, on top of `on_snail`. `squawks` (PUSH) connects to whoever collects
    squawks, unless it is marked `@`, and `subscriber` is its name there, by default host and
    process id.

    Messages are judged a list at a time, when those that came together are delivered (100 messages
    or 5 ms at most). Those without a stamp are delivered and not judged. Raises ValueError for
    reactions that cannot be.
    """

    peer_errors = (MalformedMessage,)
    diagnosis: Diagnosis | None = None
    """Why it has stopped, when it has."""

    def __init__(
        self,
        feed: str,
        prefixes: Iterable[bytes] = (b"",),
        *,
        limits: Limits | None = None,
        reactions: Iterable[Reaction] = (Reaction.LOG,),
        squawks: str = "",
        subscriber: str = "",
        high_water_mark: int = HIGH_WATER_MARK,
        wall_clock: Callable[[], float] = time.time,  # noqa: TID251 - ages between two hosts
    ) -> None:
        super().__init__()
        self.feed = feed
        self.prefixes = tuple(dict.fromkeys(prefixes))
        self.limits = limits or Limits()
        self.reactions = frozenset(reactions)
        self.squawks = squawks
        self.subscriber = subscriber or f"{socket.gethostname()}:{os.getpid()}"
        self.diagnoses = self.resubscribed = self.unstamped = 0
        self._high_water_mark = high_water_mark
        self._wall_clock = wall_clock
        self._wall_offset = 0.0
        self._beat_topic = encode_interest(interest_of(self.prefixes)) if self.prefixes else b""
        self.stamps: list[bytes] = []
        """Of messages that were delivered and not yet judged."""
        self._renewing = False
        self._check_reactions()

    def _check_reactions(self) -> None:
        if Reaction.SQUAWK in self.reactions and not self.squawks:
            raise ValueError("a squawk needs an endpoint: squawks=")
        sides = {side for side, _ in parse_endpoints([self.feed], "connect")}
        if Reaction.RESUBSCRIBE in self.reactions and "bind" in sides:
            raise ValueError("who binds cannot connect anew: resubscribing needs a feed to connect")

    # For users

    def on_message(self, frames: list[bytes]) -> Hook:
        """One message came, as it was published, without its stamp; may be a coroutine."""
        return None

    def on_snail(self, diagnosis: Diagnosis) -> Hook:
        """A condition has begun; called before any other reaction."""
        return None

    def on_recovery(self, diagnosis: Diagnosis) -> Hook:
        """A condition has ended."""
        return None

    @property
    def stream(self) -> Stream:
        """The SUB; another one each time that it has subscribed anew."""
        return self._feed.stream

    @property
    def exit_code(self) -> int:
        """What a program should exit with: 70 when this has stopped it as a snail, else 0."""
        return SNAIL_EXIT_CODE if self.diagnosis is not None else 0

    def subscribe(self, prefix: bytes) -> None:
        """Receive messages whose first frame begins with `prefix`, too; ValueError as at first."""
        self._change_prefixes((*self.prefixes, prefix))
        self.stream.subscribe(prefix)
        self._renew_interest()

    def unsubscribe(self, prefix: bytes) -> None:
        """Undo a subscription; nothing happens when there is none with this prefix."""
        if prefix in self.prefixes:
            self._change_prefixes(tuple(kept for kept in self.prefixes if kept != prefix))
            self.stream.unsubscribe(prefix)
            self._renew_interest()

    # Life

    def build(self) -> Iterable[Handler]:
        """Connect to whoever collects squawks, then to the feed."""
        handlers: list[Handler] = []
        self._squawk: Stream | None = None
        if self.squawks:
            self._squawk = self.open_stream(
                zmq.PUSH,
                self.squawks,
                name="squawks",
                unmarked="connect",
                queue_limit=_SQUAWKS_WAITING,
                policy=Policy.DROP_OLDEST,
            )
            handlers.append(StreamHandler(self._squawk))
        now = self.reactor.now()
        interval = min(_TICK_SECONDS, (self.limits.silence or 1.0) / 4)
        self._wall_offset = self._wall_clock() - now
        self.protocol = SnailProtocol(
            self.limits, now, everything=b"" in self.prefixes, interval=interval
        )
        self._feed = Feed(self._subscribed_stream(), self)
        return [*handlers, self._feed, Ticker(interval, self)]

    def _subscribed_stream(self) -> Stream:
        return self.open_stream(
            zmq.SUB,
            self.feed,
            name="feed",
            unmarked="connect",
            # The beats last: when they come, everything else is subscribed to.
            subscribe=(*self.prefixes, *filter(None, [self._beat_topic])),
            options={zmq.RCVHWM: self._high_water_mark},
        )

    def receive_beat(self, topic: bytes, frame: bytes) -> None:
        """A beat came: ours, or one for subscriptions that we had; raises MalformedMessage."""
        self.judge_stamps()  # what was sent before the beat came before it
        if topic == self._beat_topic:
            now = self.reactor.now()
            self._react(self.protocol.receive_beat(frame, self._wall_offset + now, now))

    def receive_unstamped(self) -> None:
        """A message came without a stamp."""
        self.unstamped += 1
        self._react(self.protocol.receive_unstamped(self.reactor.now()))

    def judge_stamps(self) -> None:
        """Judge what has come since the last time."""
        if not self.stamps:
            return
        stamps = self.stamps[:]
        self.stamps.clear()
        now = self.reactor.now()
        before = self.protocol.malformed
        found = self.protocol.receive_stamps(stamps, self._wall_offset + now, now)
        if self.protocol.malformed > before:
            self.refuse("malformed stamps", count=self.protocol.malformed - before)
        self._react(found)

    def tick(self) -> None:
        """Judge what time has brought."""
        self._react(self.protocol.tick(self.reactor.now()))

    # Reactions

    def _react(self, found: list[Diagnosis]) -> None:
        for diagnosis in found:
            if self.diagnosis is not None:
                return  # dead already
            if diagnosis.recovered:
                self._on_recovery(diagnosis)
            else:
                self.diagnoses += 1
                self._on_snail(diagnosis)

    def _on_snail(self, diagnosis: Diagnosis) -> None:
        self._call_hook(self.on_snail, diagnosis)
        if Reaction.LOG in self.reactions:
            self.log.warning("snail", reason=diagnosis.reason.value, diagnosis=str(diagnosis))
        self._send_squawk(diagnosis)
        if Reaction.RESUBSCRIBE in self.reactions:
            self._resubscribe()
        if Reaction.RAISE in self.reactions:
            self._hook_failed(SnailError(diagnosis))
        if Reaction.STOP in self.reactions:
            self.diagnosis = diagnosis
            self.reactor.stop()

    def _on_recovery(self, diagnosis: Diagnosis) -> None:
        self._call_hook(self.on_recovery, diagnosis)
        if Reaction.LOG in self.reactions:
            self.log.info("recovered", reason=diagnosis.reason.value, diagnosis=str(diagnosis))
        self._send_squawk(diagnosis)

    def _call_hook(self, hook: Callable[[Diagnosis], Hook], diagnosis: Diagnosis) -> None:
        try:
            self.reactor.spawn(hook(diagnosis))
        except (Exception, CancelledError) as error:  # and no failure keeps a snail alive
            self._hook_failed(as_exception(error))

    def _send_squawk(self, diagnosis: Diagnosis) -> None:
        if Reaction.SQUAWK not in self.reactions or self._squawk is None:
            return
        at = self._wall_offset + self.reactor.now()
        self._squawk.send(*encode_squawk(squawk_of(diagnosis, self.subscriber, at)))

    def _resubscribe(self) -> None:
        """Begin anew on another socket, as soon as a hook that runs is done with its message.

        Closing drops what waits, here and at the publisher. Disconnecting would as well, but
        libzmq 4.3.5 aborts the process if it has looked into a message of several frames.
        """
        if self._renewing:
            return
        self._renewing = True
        self.resubscribed += 1
        if self.stream.held_by is None:
            self._renew()
        else:
            self.stream.held_by.add_done_callback(lambda _: self._renew())

    def _renew(self) -> None:
        self._renewing = False
        if self.stream.closed or self.reactor.stopping:
            return
        self._feed.replace_stream(self._subscribed_stream())
        self.stamps.clear()
        self.protocol.rejoin(self.reactor.now())

    # Subscriptions

    def _change_prefixes(self, prefixes: tuple[bytes, ...]) -> None:
        self._next_topic = encode_interest(interest_of(prefixes)) if prefixes else b""
        self.prefixes = tuple(dict.fromkeys(prefixes))

    def _renew_interest(self) -> None:
        """Ask for beats about the new subscriptions, and for no others."""
        if self._next_topic == self._beat_topic:
            return
        if self._beat_topic:
            self.stream.unsubscribe(self._beat_topic)
        self._beat_topic = self._next_topic
        if self._beat_topic:
            self.stream.subscribe(self._beat_topic)
        self.judge_stamps()
        self.protocol.change_interest(b"" in self.prefixes)

    def statistics(self) -> SnailSubscriberStatistics:
        """Return a frozen snapshot of the counters."""
        common = super().statistics()
        protocol = self.protocol
        return SnailSubscriberStatistics(
            name=common.name,
            errors=common.errors,
            refused=common.refused,
            received=protocol.received,
            lost=protocol.lost,
            replayed=protocol.replayed,
            unstamped=self.unstamped,
            untracked=protocol.untracked,
            diagnoses=self.diagnoses,
            resubscribed=self.resubscribed,
        )
