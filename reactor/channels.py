"""What a Stream stands on: the Channel and Network seams, and the real ones on ZMQStream."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import zmq
from tornado.ioloop import IOLoop
from zmq.eventloop.zmqstream import ZMQStream

from reactor.connections import ConnectionMonitor, is_refused
from reactor.sockets import FastSocket

if TYPE_CHECKING:
    from reactor.streams import Stream


class Channel(Protocol):
    """One socket as a Stream uses it: nothing blocks, callbacks come on turns of their own."""

    def bind(self, endpoint: str, /) -> str:
        """Bind and return the real endpoint (a `*` port filled in); raises zmq.ZMQError."""

    def connect(self, endpoint: str, /) -> object:
        """Connect; raises zmq.ZMQError for an endpoint that can never work."""

    def unbind(self, endpoint: str, /) -> object:
        """Undo a bind."""

    def disconnect(self, endpoint: str, /) -> object:
        """Undo a connect."""

    def set_option(self, option: int, value: int | bytes, /) -> None:
        """Set a socket option by libzmq's number; raises zmq.ZMQError where it does not fit."""

    def get_option(self, option: int, /) -> int | bytes:
        """Return a socket option by libzmq's number."""

    def send(self, frames: Sequence[bytes], /) -> bool:
        """Send one message whole; False when it would block; other failures raise zmq.ZMQError."""

    def receive(self) -> list[bytes] | None:
        """Take one waiting message, or return None."""

    def start_receiving(self, callback: Callable[[list[bytes]], None], /) -> None:
        """Call `callback` with the first waiting message, once a loop turn while any wait.

        The callback may take more by `receive()`. Calling this again looks for messages again,
        which a sender must do: a send can swallow the descriptor's only sign of an arrival.
        """

    def stop_receiving(self) -> None:
        """Leave further messages where they are."""

    def when_writable(self, callback: Callable[[], None], /) -> None:
        """Call `callback` once, on a later loop turn, when libzmq says a send can succeed."""

    def watch_connections(self, callback: Callable[[], None] | None, /) -> None:
        """Call `callback` when a connection has ended that this side did not end; None: no more.

        Not over inproc, of which libzmq says nothing.
        """

    async def is_refused(self, endpoint: str, timeout: float, /) -> bool:
        """Ask the host of `endpoint`: True if it says that nobody listens there."""

    def close(self, linger_ms: int, /) -> None:
        """Close the socket; what libzmq still holds is sent for up to `linger_ms`."""


class Network(Protocol):
    """Where channels come from: libzmq, or the fake network of the test kit."""

    stream_class: type[Stream]

    def open_channel(self, socket_type: int, loop: asyncio.AbstractEventLoop, /) -> Channel:
        """Open a socket of a libzmq type (zmq.SUB, ...)."""

    async def close(self) -> None:
        """Release what is shared by all channels; they are closed before."""


class ZmqChannel:
    """A channel on one ZMQStream, which watches the descriptor and never misses its edges."""

    def __init__(self, socket: FastSocket, io_loop: IOLoop) -> None:
        self._socket = socket
        self._io_loop = io_loop
        self._monitor: ConnectionMonitor | None = None
        self._zmq_stream = ZMQStream(socket, io_loop)
        self.send = socket.try_send
        self.receive = socket.receive
        self.set_option = socket.set
        self.get_option: Callable[[int], Any] = socket.get
        self.connect = socket.connect
        self.unbind = socket.unbind
        self.disconnect = socket.disconnect
        self.is_refused = is_refused

    def bind(self, endpoint: str) -> str:
        """Bind and return the endpoint that libzmq reports, with the port the kernel chose."""
        self._socket.bind(endpoint)
        return bytes(self._socket.get(zmq.LAST_ENDPOINT)).rstrip(b"\0").decode()

    def start_receiving(self, callback: Callable[[list[bytes]], None]) -> None:
        """Have ZMQStream hand over the first message of each wake-up, and look again now."""
        self._zmq_stream.on_recv(callback)

    def stop_receiving(self) -> None:
        """Have ZMQStream leave further messages in the socket."""
        self._zmq_stream.on_recv(None)

    def when_writable(self, callback: Callable[[], None]) -> None:
        """Queue an empty message: FastSocket sends nothing for it, ZMQStream reports its turn."""
        self._zmq_stream.send_multipart([], callback=lambda *_: callback())

    def watch_connections(self, callback: Callable[[], None] | None) -> None:
        """Have libzmq report it through a monitor: two more sockets, only for who asks."""
        if self._monitor is not None:
            self._monitor.close()
        self._monitor = None
        if callback is not None:
            self._monitor = ConnectionMonitor(self._socket, self._io_loop, callback)

    def close(self, linger_ms: int) -> None:
        """Unregister from the loop, then close the socket."""
        self.watch_connections(None)
        self._zmq_stream.close(linger_ms)
        # A look that is scheduled already would find the socket gone, and log a warning about it.
        self._zmq_stream._handle_events = lambda *_: None  # type: ignore[method-assign]


class ZmqNetwork:
    """Opens sockets of one context; a context of its own is terminated by `close()`."""

    def __init__(
        self, context: zmq.Context[zmq.Socket[bytes]] | None, close_timeout: float
    ) -> None:
        from reactor.streams import Stream

        self.stream_class: type[Stream] = Stream
        self._owned = context is None
        self._context = context or zmq.Context()
        self._close_timeout = close_timeout
        if self._owned:
            self._context.set(zmq.BLOCKY, 0)  # sockets forgotten by their users never hold up exit

    def open_channel(self, socket_type: int, loop: asyncio.AbstractEventLoop) -> ZmqChannel:
        """Open a socket; called inside the running loop, whose Tornado face it needs."""
        socket = FastSocket(self._context, socket_type)
        socket.set(zmq.LINGER, 0)
        return ZmqChannel(socket, IOLoop.current())  # noqa: TID251 - the loop's own IOLoop, looked up once a socket

    async def close(self) -> None:
        """Terminate an owned context in a thread, since that waits for lingering sockets."""
        if not self._owned or self._context.closed:
            return
        loop = asyncio.get_running_loop()
        done = asyncio.Event()

        def terminate() -> None:
            self._context.term()
            loop.call_soon_threadsafe(done.set)

        threading.Thread(target=terminate, name="zmq-term", daemon=True).start()
        await asyncio.wait_for(done.wait(), self._close_timeout)
