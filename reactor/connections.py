"""What libzmq does not say with messages: that a connection has ended, and that nobody listens."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from contextlib import suppress

import zmq
from tornado.ioloop import IOLoop
from zmq.eventloop.zmqstream import ZMQStream

from reactor.sockets import FastSocket

# pyzmq's own name for a monitor is made of a file descriptor, which the next socket may get again.
_numbers = itertools.count(1)


class ConnectionMonitor:
    """Calls `callback()` on the loop each time a connection of `socket` ends by itself."""

    def __init__(self, socket: FastSocket, io_loop: IOLoop, callback: Callable[[], None]) -> None:
        self._socket = socket
        endpoint = f"inproc://reactor-connections-{next(_numbers)}"
        socket.monitor(endpoint, int(zmq.EVENT_DISCONNECTED))
        events = FastSocket(socket.context, zmq.PAIR)
        events.set(zmq.LINGER, 0)
        # No limit: at one, libzmq's thread would wait for us, with the traffic of all sockets.
        events.set(zmq.RCVHWM, 0)
        events.connect(endpoint)
        self._stream = ZMQStream(events, io_loop)
        self._stream.on_recv(lambda frames: callback())

    def close(self) -> None:
        """Watch no more; call this before the socket is closed."""
        self._socket.monitor(None, 0)
        self._stream.close(0)
        # As in ZmqChannel.close: a look that is scheduled already finds nothing to look at.
        self._stream._handle_events = lambda *_: None  # type: ignore[method-assign]


async def is_refused(endpoint: str, timeout: float) -> bool:
    """True if the host of a tcp or ipc endpoint answers, and says that nobody listens there."""
    with suppress(OSError, TimeoutError, ValueError):
        async with asyncio.timeout(timeout):
            try:
                _, writer = await _connect(endpoint)
            except (ConnectionRefusedError, FileNotFoundError):
                return True
            writer.close()
            await writer.wait_closed()
    return False


async def _connect(endpoint: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    scheme, _, address = endpoint.partition("://")
    if scheme == "ipc":
        path = f"\0{address[1:]}" if address.startswith("@") else address
        return await asyncio.open_unix_connection(path)
    if scheme != "tcp":
        raise ValueError(f"{endpoint} cannot be asked")
    host, _, port = address.rpartition(";")[2].rpartition(":")
    return await asyncio.open_connection(host.strip("[]"), int(port))
