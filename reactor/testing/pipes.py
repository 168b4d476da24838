"""Pipe: one channel's end of a connection, with what is on the way and what has arrived."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reactor.testing.channels import FakeChannel
    from reactor.testing.exchange import Exchange

Message = tuple[bytes, ...]


class Pipe:
    """`channel`'s end of a connection; `peer` is the other end, None while there is none.

    The connecting side keeps its pipe from `connect()` on, over all disconnections, and messages
    wait in it. The bound side gets a new pipe with each connection.
    """

    def __init__(
        self, channel: FakeChannel, exchange: Exchange, connected_to: str = "", bound_at: str = ""
    ) -> None:
        self.channel = channel
        self.connected_to = connected_to  # on the connecting side
        self.bound_at = bound_at  # on the bound side
        self.peer: Pipe | None = None
        self.hung_up = False
        self.cut = False  # by a partition: what is on the way stays there
        self.dark = False  # the other machine has no power, and nobody knows
        self.cut_at: float | None = None  # since when it is cut, in either direction
        self.latency = 0.0
        self._label: bytes | None = None
        self.routing_id = b""  # what a ROUTER at this end calls the peer
        self.topics: dict[bytes, None] = {}  # what the peer is sent
        self.asked: dict[bytes, None] = {}  # what it has subscribed to, in XPUB's manual mode
        self._exchange = exchange
        self._on_the_way: deque[tuple[float, Message | None]] = deque()  # None: the peer hung up
        self._arrived: deque[Message] = deque()
        self._unacknowledged = 0
        self._read = 0
        self._stale = 0  # arrived over a connection that has ended: nobody counts them any more
        self._arrival: asyncio.Handle | None = None
        self._random: random.Random | None = None

    @property
    def label(self) -> bytes:
        """Who sends to whom, for a trace."""
        if self._label is None:
            peer = self.peer.channel.label if self.peer is not None else "nobody"
            self._label = f"{self.channel.label}>{peer}".encode()
        return self._label

    @property
    def endpoint(self) -> str:
        """Where this connection was made, as either side calls it."""
        return self.connected_to or self.bound_at

    # Sending

    def has_room(self) -> bool:
        """Whether the high-water marks leave room for one more message."""
        if self.peer is None and self.channel.immediate:
            return False
        limit = self._limit()
        return not limit or self._unacknowledged < limit

    def write(self, message: Message) -> bool:
        """Send a message on its way; False when there is no room."""
        if not self.has_room():
            return False
        self._unacknowledged += 1
        self._put(message)
        return True

    def hang_up(self, linger_ms: int) -> None:
        """End the connection after what was sent; unconnected, keep that for `linger_ms`."""
        self.hung_up = True
        waits_for_peer = self.peer is None and bool(self._on_the_way)
        self._put(None)
        if self.peer is None and (linger_ms == 0 or not waits_for_peer):
            self._exchange.ended(self)
        elif self.peer is None and linger_ms > 0:
            self._exchange.loop.call_later(linger_ms / 1000, self._give_up)

    def clear(self) -> None:
        """Lose what is on the way, and the peer; what has arrived stays readable."""
        self.peer = None
        self.cut = self.dark = False
        self.cut_at = self._label = None
        self._unacknowledged = self._read = 0
        self._stale = len(self._arrived)
        self._lose_what_is_on_the_way()

    def go_dark(self) -> None:
        """This end's machine has lost its power: the peer goes on sending, and hears nothing."""
        self.hung_up = True
        for end in (self,) if self.peer is None else (self, self.peer):
            end.cut = end.dark = True
        self._lose_what_is_on_the_way()

    def _lose_what_is_on_the_way(self) -> None:
        self._on_the_way.clear()
        if self._arrival is not None:
            self._arrival.cancel()
            self._arrival = None

    def flow(self) -> None:
        """Go on after the peer was joined, or a partition has healed."""
        if self._arrival is not None or self.peer is None or self.cut or not self._on_the_way:
            return
        loop, due = self._exchange.loop, self._on_the_way[0][0]
        # A turn of the loop in any case: nothing arrives on the sender's stack.
        self._arrival = (
            loop.call_at(due, self._arrive) if due > loop.time() else loop.call_soon(self._arrive)
        )

    def depart(self) -> None:
        """Send what has waited for a peer on its way."""
        due = self._due()
        self._on_the_way = deque((due, message) for _, message in self._on_the_way)
        self.flow()

    def _put(self, message: Message | None) -> None:
        self._on_the_way.append((self._due(), message))
        self.flow()

    def _due(self) -> float:
        exchange = self._exchange
        now = exchange.loop.time() + self.latency
        if not exchange.jitter:
            return now
        if self._random is None:
            # Of its own, so that what happens elsewhere does not shift what happens here.
            self._random = exchange.chance(
                f"{self.channel.label} {self.connected_to or self.bound_at}"
            )
        return now + exchange.jitter(self._random)

    def _arrive(self) -> None:
        self._arrival = None
        now = self._exchange.loop.time()
        # Nobody overtakes in a pipe: who is due earlier than the one in front waits for it.
        while self._on_the_way and self._on_the_way[0][0] <= now and not self.cut:
            message = self._on_the_way.popleft()[1]
            assert self.peer is not None
            if message is None:
                self._exchange.ended(self)
            elif self._exchange.loses(self, message):
                self.peer.acknowledge()
            elif not self.peer.hung_up:
                if self._exchange.on_arrival is not None:
                    self._exchange.on_arrival(self, message)
                self.peer.channel.arrived(self.peer, message)
        self.flow()

    def _limit(self) -> int:
        """The room as libzmq counts it for inproc: both marks added up; 0 is no limit."""
        own = self.channel.send_mark
        if self.peer is None:
            return own
        other = self.peer.channel.receive_mark
        return own + other if own and other else 0

    def _give_up(self) -> None:
        if self.peer is None:
            self._exchange.ended(self)

    # Receiving

    def store(self, message: Message) -> None:
        """Keep a message that has arrived until it is taken."""
        self._arrived.append(message)

    def take(self) -> Message:
        """Return the oldest message that has arrived."""
        if self._stale:
            self._stale -= 1
        else:
            self.acknowledge()
        return self._arrived.popleft()

    @property
    def readable(self) -> bool:
        """Whether a message has arrived."""
        return bool(self._arrived)

    def acknowledge(self) -> None:
        """Count a message as read; libzmq tells the sender in steps of half its limit."""
        self._read += 1
        sender = self.peer
        if sender is not None and self._read >= (sender._limit() + 1) // 2:
            sender._unacknowledged -= self._read
            self._read = 0
            sender.channel.check_writable()
