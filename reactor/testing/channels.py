"""FakeChannel: what fake sockets of all types have in common."""

from __future__ import annotations

import asyncio
import errno
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

import zmq

from reactor.testing.exchange import Exchange, canonical
from reactor.testing.options import Options
from reactor.testing.pipes import Message, Pipe

if TYPE_CHECKING:
    from reactor.streams import Stream


class FakeChannel:
    """A socket that exists in memory only, as `reactor.channels.Channel` describes one.

    It takes turns among its pipes when it receives. A channel that was never bound or connected
    accepts whatever is sent, so that a handler can be tested with one stream and no peer.
    """

    subscribes = False

    def __init__(
        self, exchange: Exchange, socket_type: int, loop: asyncio.AbstractEventLoop
    ) -> None:
        self.socket_type = int(socket_type)
        self.can_send = socket_type not in (zmq.SUB, zmq.PULL)
        self.can_receive = socket_type not in (zmq.PUB, zmq.PUSH)
        self.stream: Stream | None = None  # whose channel it is, as faults are told
        self.node = ""  # of a simulation, on which it was opened
        self.pipes: list[Pipe] = []
        self.bound: list[str] = []
        self.closed = False
        self.options = Options(self.socket_type)
        # Of the options these are looked at for each message, several times.
        self.send_mark = self.options.number(zmq.SNDHWM)
        self.receive_mark = self.options.number(zmq.RCVHWM)
        self.immediate = False
        self._exchange = exchange
        self._loop = loop
        self._unattached = True
        self._dark: list[Pipe] = []
        # What comes from no peer: deliver(), and an XPUB's own messages.
        self._own = Pipe(self, exchange)
        self._readable: deque[Pipe] = deque()
        self._on_message: Callable[[list[bytes]], None] | None = None
        self._pump_due = False
        self._on_writable: list[Callable[[], None]] = []
        self._writable_due = False
        self._on_disconnected: Callable[[], None] | None = None

    # As reactor.channels.Channel has it

    def bind(self, endpoint: str) -> str:
        """Bind and return the real endpoint; raises zmq.ZMQError."""
        self._check_open()
        real = self._exchange.bind(self, endpoint)
        self._attached(real)
        return real

    def connect(self, endpoint: str) -> None:
        """Connect now or as soon as somebody is bound there; raises zmq.ZMQError."""
        self._check_open()
        self._exchange.connect(self, endpoint)
        self._attached(endpoint)

    def unbind(self, endpoint: str) -> None:
        """Undo a bind; over tcp that ends its connections too, over inproc they stay."""
        self._check_open()
        real = canonical(endpoint)
        if real not in self.bound:
            raise zmq.ZMQError(errno.ENOENT)
        self.bound.remove(real)
        self._exchange.release(real)
        if not real.startswith("inproc:"):
            self._leave(pipe for pipe in self.pipes if pipe.bound_at == real)

    def disconnect(self, endpoint: str) -> None:
        """Undo a connect; what has arrived from there and was not read is lost."""
        self._check_open()
        real = canonical(endpoint)
        if not self._leave(pipe for pipe in self.pipes if pipe.connected_to == real):
            raise zmq.ZMQError(errno.ENOENT)

    def set_option(self, option: int, value: int | bytes) -> None:
        """Set an option; raises zmq.ZMQError (EINVAL) where it does not fit."""
        self._check_open()
        self.options.set(option, value)
        self.send_mark = self.options.number(zmq.SNDHWM)
        self.receive_mark = self.options.number(zmq.RCVHWM)
        self.immediate = bool(self.options.number(zmq.IMMEDIATE))
        self.check_writable()

    def get_option(self, option: int) -> int | bytes:
        """Return an option; raises zmq.ZMQError (EINVAL) where it cannot be read."""
        self._check_open()
        if option == zmq.EVENTS:
            receivable, sendable = bool(self._readable), self.can_send and self.has_room()
            return receivable * int(zmq.POLLIN) | sendable * int(zmq.POLLOUT)
        return self.options.get(option)

    def send(self, frames: Sequence[bytes]) -> bool:
        """Send one message; False when it would block; raises zmq.ZMQError."""
        self._check_open()
        if not self.can_send:
            raise zmq.ZMQError(errno.ENOTSUP)
        if not frames:
            raise ValueError("a message has at least one frame")
        return self._unattached or self.transmit(tuple(frames))

    def receive(self) -> list[bytes] | None:
        """Take one message that has arrived, or return None; raises zmq.ZMQError."""
        self._check_open()
        if not self.can_receive:
            raise zmq.ZMQError(errno.ENOTSUP)
        while self._readable:
            pipe = self._readable.popleft()
            message = pipe.take()
            if pipe.readable:
                self._readable.append(pipe)
            if self.wants(message):
                return list(message)
        return None

    def start_receiving(self, callback: Callable[[list[bytes]], None]) -> None:
        """Call `callback` with a message once a loop turn, as long as any wait."""
        self._check_open()
        self._on_message = callback
        self._pump_soon()

    def stop_receiving(self) -> None:
        """Leave further messages where they are."""
        self._on_message = None

    def when_writable(self, callback: Callable[[], None]) -> None:
        """Call `callback` once, from a turn of its own, when a send can succeed."""
        self._check_open()
        self._on_writable.append(callback)
        self.check_writable()

    def watch_connections(self, callback: Callable[[], None] | None) -> None:
        """Call `callback` on a turn of its own after a connection was ended by its other side."""
        self._check_open()
        self._on_disconnected = callback

    async def is_refused(self, endpoint: str, timeout: float) -> bool:
        """True if nobody is bound there, and no partition keeps that from being known."""
        await asyncio.sleep(0)
        return self._exchange.is_refused(self, endpoint)

    def close(self, linger_ms: int) -> None:
        """Leave all peers; what still waits for one is kept for `linger_ms` (-1: for ever).

        What was sent to a peer that is there arrives in any case.
        """
        if self.closed:
            return
        for pipe in self._shut(self._exchange.release):
            pipe.hang_up(linger_ms)

    def _shut(self, release: Callable[[str], None]) -> list[Pipe]:
        """Be closed; return the pipes, which are to be ended."""
        self.closed = True
        self._on_message = self._on_disconnected = None
        self._on_writable.clear()
        self._readable.clear()
        for endpoint in self.bound:
            release(endpoint)
        pipes, self.pipes = self.pipes, []
        return pipes

    def lose_power(self) -> None:
        """Be gone with the machine: what is under way is lost, and no peer is told."""
        if self.closed:
            return
        for pipe in self._shut(self._exchange.silence):
            pipe.go_dark()
            self._dark.append(pipe)

    def power_is_back(self) -> None:
        """The machine answers again: it knows of no connection, and so they end."""
        for pipe in self._dark:
            self._exchange.ended(pipe)
        self._dark.clear()

    @property
    def label(self) -> str:
        """What a trace calls this channel."""
        name = self.stream.name if self.stream is not None else ""
        return f"{self.node}/{name}" if self.node else name

    def heartbeat_patience(self) -> float:
        """The seconds of silence after which a connection ends, 0 without heartbeats."""
        interval = self.int_option(zmq.HEARTBEAT_IVL)
        timeout = self.int_option(zmq.HEARTBEAT_TIMEOUT)
        return (interval + (timeout if timeout > 0 else interval)) / 1000 if interval else 0.0

    # What a socket type decides

    def transmit(self, message: Message) -> bool:
        """Send a message over the pipes; False when it would block."""
        raise NotImplementedError

    def has_room(self) -> bool:
        """Whether `transmit` could succeed, as far as can be told without a message."""
        return True

    def accepts_peer(self) -> bool:
        """Whether one more peer may connect."""
        return True

    def joined(self, pipe: Pipe) -> None:
        """The pipe has got a peer."""

    def left(self, pipe: Pipe) -> None:
        """The pipe is none of this channel's any more."""

    def wants(self, message: Message) -> bool:
        """Whether a message that has arrived is to be received."""
        return True

    def arrived(self, pipe: Pipe, message: Message) -> None:
        """A message has arrived through the pipe."""
        self.keep(pipe, message)

    # What the exchange and the pipes call

    def attach(self, pipe: Pipe) -> None:
        """Have one more pipe."""
        self.pipes.append(pipe)

    def detach(self, pipe: Pipe) -> None:
        """Have a pipe no more; what has arrived through it can still be received."""
        if pipe in self.pipes:
            self.pipes.remove(pipe)
            self.left(pipe)
            self.check_writable()

    def disconnected(self) -> None:
        """A connection has ended, and not by this side."""
        if self._on_disconnected is not None:
            self._loop.call_soon(self._tell_disconnected)

    def check_writable(self) -> None:
        """Keep the promise of `when_writable` if there is room now."""
        if self._on_writable and not self._writable_due and (self._unattached or self.has_room()):
            self._writable_due = True
            self._loop.call_soon(self._call_writable)

    def keep(self, pipe: Pipe, message: Message) -> None:
        """Let a message wait to be received."""
        if not pipe.readable:
            self._readable.append(pipe)
        pipe.store(message)
        self._pump_soon()

    def keep_own(self, message: Message) -> None:
        """Let a message wait that comes from no pipe."""
        if not self.closed:
            self.keep(self._own, message)

    def int_option(self, option: int) -> int:
        """Return an option that is a number."""
        return self.options.number(option)

    def _attached(self, endpoint: str) -> None:
        self._unattached = False
        self.options.last_endpoint = endpoint.encode()

    def _leave(self, pipes: Iterable[Pipe]) -> bool:
        """Hang up these pipes, unread messages and all; False when there are none."""
        left = list(pipes)
        for pipe in left:
            self.detach(pipe)
            pipe.hang_up(self.int_option(zmq.LINGER))
            if pipe in self._readable:
                self._readable.remove(pipe)
        return bool(left)

    def _pump_soon(self) -> None:
        if self._on_message is not None and self._readable and not self._pump_due:
            self._pump_due = True
            self._loop.call_soon(self._pump)

    def _pump(self) -> None:
        self._pump_due = False
        if self._on_message is None:
            return
        callback = self._on_message
        try:
            frames = self.receive()
            if frames is not None:
                callback(frames)
        finally:
            self._pump_soon()

    def _call_writable(self) -> None:
        self._writable_due = False
        callbacks, self._on_writable = self._on_writable, []
        for callback in callbacks:
            callback()

    def _tell_disconnected(self) -> None:
        if self._on_disconnected is not None:
            self._on_disconnected()

    def _check_open(self) -> None:
        if self.closed:
            raise zmq.ZMQError(errno.ENOTSOCK)
