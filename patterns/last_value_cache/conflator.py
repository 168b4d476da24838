"""The side of the cache that subscribers by credit connect to: a ROUTER."""

from __future__ import annotations

import zmq

from patterns.last_value_cache.conflation import Conflation, Delivery
from patterns.last_value_cache.demand import Demand
from patterns.last_value_cache.messages import (
    BYE,
    CREDIT,
    FULL,
    HUGZ,
    JOIN,
    REJOIN,
    MalformedMessage,
    decode_credit,
    decode_join,
)
from patterns.last_value_cache.values import LastValues
from reactor import OneShotTimer, Stream, StreamHandler

# A turn takes some milliseconds at most; then the loop serves the others.
_TURN_SECONDS = 0.005
_PAGE_TOPICS = 100


class Conflator(StreamHandler):
    """Sends each subscriber the newest values that it has not taken, as far as its credit goes."""

    name = "LastValueCache.conflated"
    peer_errors = (MalformedMessage,)

    def __init__(
        self, stream: Stream, conflation: Conflation, values: LastValues, demand: Demand
    ) -> None:
        super().__init__(stream)
        self.conflation = conflation
        self._values = values
        self._demand = demand
        self._timer: OneShotTimer | None = None

    def on_start(self) -> None:
        """Hear of every change of the cache from now on."""
        self._values.watch(self._note_update, self._note_forgotten)

    def on_stop(self) -> None:
        """Hear of no change any more."""
        self._values.watch(None, None)
        if self._timer is not None:
            self._timer.cancel()

    def on_message(self, frames: list[bytes]) -> None:
        """Carry out a command; raises MalformedMessage for what is none."""
        identity, command, *rest = frames if len(frames) > 1 else (*frames, b"")
        now = self.reactor.now()
        if command == JOIN:
            self._receive_join(identity, frames[1:], now)
        elif command == CREDIT:
            known = self.conflation.receive_credit(identity, decode_credit(frames[1:]), now)
            self._flush_soon() if known else self._reply(identity, REJOIN)
        elif command == HUGZ and not rest:
            known = self.conflation.receive_beat(identity, now)
            self._reply(identity, HUGZ if known else REJOIN)
            self._flush_soon()
        elif command == BYE and not rest:
            self._forget(identity)
        else:
            raise MalformedMessage(f"no command of a subscriber: {command[:80]!r}")

    def tick(self, now: float) -> None:
        """Forget who has been silent for too long."""
        for identity in self.conflation.silent(now):
            self.log.info("silent subscriber forgotten", subscriber=identity.hex())
            self._forget(identity)

    def _receive_join(self, identity: bytes, frames: list[bytes], now: float) -> None:
        join = decode_join(frames)
        self._forget(identity)
        self._values.expire(now)
        added = [prefix for prefix in join.prefixes if self._demand.add(prefix)]
        if len(added) == len(join.prefixes) and self.conflation.receive_join(identity, join, now):
            self._flush_soon()
            return
        for prefix in added:
            self._demand.remove(prefix, now)
        self.refuse("too many subscribers", subscribers=len(self.conflation))
        self._reply(identity, FULL)

    def _forget(self, identity: bytes) -> None:
        for prefix in self.conflation.remove(identity):
            self._demand.remove(prefix, self.reactor.now())

    def _note_update(self, topic: bytes) -> None:
        if self.conflation.receive_update(topic):
            self._flush_soon()

    def _note_forgotten(self, topic: bytes) -> None:
        if self.conflation.receive_forgotten(topic):
            self._flush_soon()

    # Sending

    def _reply(self, identity: bytes, *frames: bytes) -> bool:
        """Send to one subscriber; False when it is full, and it is forgotten when it is gone."""
        try:
            return self.stream.try_send(identity, *frames)
        except zmq.ZMQError:  # EHOSTUNREACH: the ROUTER is a mandatory one
            self._forget(identity)
            return False

    def _flush_soon(self) -> None:
        """At the end of the turn: what changes until then is sent once."""
        if self._timer is None:
            self._timer = self.reactor.call_later(0, self._flush)

    def _flush(self) -> None:
        self._timer = None
        deadline = self.reactor.now() + _TURN_SECONDS
        while (delivery := self.conflation.take(_PAGE_TOPICS)) is not None:
            self._send(delivery)
            if self.reactor.now() >= deadline:
                self._flush_soon()
                return

    def _send(self, delivery: Delivery) -> None:
        sent = 0
        for message in delivery.messages:
            if not self._reply(delivery.identity, *message):
                break
            sent += 1
        if delivery.identity in self.conflation:
            self.conflation.receive_sent(delivery, sent)
