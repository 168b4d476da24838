"""The subscribers' side of the cache: live messages at once, cached ones turn by turn."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import zmq

from patterns.last_value_cache.demand import Demand
from patterns.last_value_cache.grants import Grants
from patterns.last_value_cache.replays import Page, Replays
from patterns.last_value_cache.values import LastValues
from reactor import OneShotTimer, Stream, StreamHandler

_SUBSCRIBE = b"\x01"
_UNSUBSCRIBE = b"\x00"

# One turn of a replay takes a millisecond or two; then the loop serves the others.
_TURN_MESSAGES = 1000
_TURN_SECONDS = 0.005
_PAGE_TOPICS = 100
# A full subscriber refuses one prefix and maybe not the next: so many are tried in one turn.
_REFUSALS_PER_TURN = 10
# When to try again: an XPUB always claims to be writable.
_RETRY_SECONDS = 0.002
# With so many prefixes waiting for their replay, further subscriptions wait in the socket.
_MAX_REPLAYS = 10_000


class Publisher(StreamHandler):
    """Answers every subscription on an XPUB with the cached messages under its prefix.

    If there is one, it goes to the new subscriber alone, at once. Several are a replay, which goes
    to all who have subscribed to these topics.

    The XPUB runs with XPUB_NODROP, so that a send is refused while the queue of a subscriber it
    goes to is full. A replay then waits. A live message is sent once more without the option:
    libzmq drops it for those who are full, and skips them until they have read half their queue.
    """

    name = "LastValueCache.backend"

    def __init__(
        self, stream: Stream, grants: Grants, values: LastValues, demand: Demand, patience: float
    ) -> None:
        super().__init__(stream)
        self.subscriptions = 0
        self.served_alone = 0
        self.replayed = 0
        self.overflows = 0
        self.given_up = 0
        self._grants = grants
        self._values = values
        self._demand = demand
        self._replays = Replays(values, patience)
        self._timer: OneShotTimer | None = None

    def on_message(self, frames: list[bytes]) -> None:
        """Serve b"\\x01" + prefix, end what is owed to b"\\x00" + prefix, refuse the rest."""
        kind, prefix = frames[0][:1], frames[0][1:]
        if len(frames) == 1 and kind == _SUBSCRIBE:
            self._receive_subscription(prefix)
        elif len(frames) == 1 and kind == _UNSUBSCRIBE:
            self._grants.revoke(prefix)
            if self._demand.remove(prefix, self.reactor.now()):
                self._replays.receive_unsubscription(prefix)
        else:
            self.refuse("not a subscription", frames=len(frames), begins=frames[0][:80])
            self._grants.give_up(self.reactor)

    def _receive_subscription(self, prefix: bytes) -> None:
        if not self._demand.add(prefix):
            self.refuse("too many subscriptions", prefix=prefix[:80])
            return
        self.subscriptions += 1
        self._grants.grant(prefix)
        self._values.expire(self.reactor.now())
        owed = self._values.matching(prefix, limit=2)
        if len(owed) == 1 and self._grants.send_alone(owed[0]):
            self.served_alone += 1
        elif owed:
            self._replays.receive_subscription(prefix)
            self._begin_replay()

    def on_stop(self) -> None:
        """Leave replays unfinished: who subscribes to the next proxy starts anew."""
        if self._timer is not None:
            self._timer.cancel()

    @property
    def replays_pending(self) -> int:
        """The number of prefixes with cached messages still to be sent."""
        return len(self._replays)

    def publish(self, messages: Sequence[Sequence[bytes]]) -> None:
        """Send live messages; those that are refused, to all subscribers but those who are full."""
        sent = self.stream.try_send_all(messages)
        while sent < len(messages):
            self.overflows += 1
            self._send_lossy(messages[sent])
            messages = messages[sent + 1 :]
            sent = self.stream.try_send_all(messages)

    def _send_lossy(self, frames: Iterable[bytes]) -> None:
        self.stream.set_option(zmq.XPUB_NODROP, 0)
        try:
            self.stream.send(*frames)
        finally:
            self.stream.set_option(zmq.XPUB_NODROP, 1)

    # Replays

    def _begin_replay(self) -> None:
        if len(self._replays) >= _MAX_REPLAYS:
            self.stream.pause()
        if self._timer is None and self._replays:
            self._timer = self.reactor.call_later(0, self._replay)

    def _replay(self) -> None:
        """Send a turn's worth of cached messages, and come back when there are more."""
        self._timer = None
        self._values.expire(self.reactor.now())
        went_on = self._send_turn()
        if len(self._replays) <= _MAX_REPLAYS // 2:
            self.stream.resume()
        if self._replays:
            self._timer = self.reactor.call_later(0 if went_on else _RETRY_SECONDS, self._replay)

    def _send_turn(self) -> bool:
        """Send until the turn is over or nothing is left; False when all that was tried waits."""
        enough = self.replayed + _TURN_MESSAGES
        deadline = self.reactor.now() + _TURN_SECONDS
        refusals = 0
        while self.replayed < enough and self.reactor.now() < deadline:
            page = self._replays.take(_PAGE_TOPICS)
            if page is None:
                return True
            if not self._send_page(page):
                refusals += 1
                if refusals >= min(_REFUSALS_PER_TURN, len(self._replays)):
                    return False
        return True

    def _send_page(self, page: Page) -> bool:
        """Send a page, up to the first refusal (False)."""
        sent = self.stream.try_send_all(page.messages)
        self.replayed += sent
        self._replays.receive_sent(page, sent)
        return sent == len(page.messages) or self._go_on_after_patience(page, sent)

    def _go_on_after_patience(self, page: Page, sent: int) -> bool:
        """Leave behind who has taken nothing for too long; until then wait (False)."""
        if not self._replays.receive_refusal(page, self.reactor.now()):
            return False
        self._send_lossy(page.messages[sent])
        self._replays.receive_sent(page, sent + 1)
        self.given_up += 1
        return True
