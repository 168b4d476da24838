"""Plain pyzmq peers for an Espresso on real sockets, and how to wait for what they do."""

import asyncio
from collections.abc import Callable
from contextlib import asynccontextmanager

import zmq

from patterns.espresso import Espresso
from reactor import Reactor

KERNEL = "@tcp://127.0.0.1:*"
SECONDS = 20.0


async def until(condition: Callable[[], object]) -> None:
    """Let the loop run until something is so."""
    async with asyncio.timeout(SECONDS):
        while not condition():
            await asyncio.sleep(0)


class Peers:
    """Sockets of another context, as other programs have them."""

    def __init__(self, espresso: Espresso, context: zmq.Context) -> None:
        self.espresso = espresso
        self.context = context
        self.front, self.back = espresso.bound_endpoints

    def publisher(self, kind: int = zmq.XPUB) -> zmq.Socket:
        """A publisher: an XPUB, whose subscriptions can be read."""
        return self._open(kind, self.front)

    def subscriber(self, *topics: bytes) -> zmq.Socket:
        socket = self._open(zmq.SUB, self.back)
        for topic in topics:
            socket.subscribe(topic)
        return socket

    def _open(self, kind: int, endpoint: str) -> zmq.Socket:
        socket = self.context.socket(kind)
        socket.linger = 0
        socket.set_hwm(0)
        socket.connect(endpoint)
        return socket


async def receive(socket: zmq.Socket, count: int = 1) -> list[list[bytes]]:
    """The next messages of a plain socket, while the loop runs."""
    messages = []
    for _ in range(count):
        await until(lambda: socket.poll(0))
        messages.append(socket.recv_multipart())
    return messages


async def at_rest(espresso: Espresso) -> None:
    """Wait until what has passed was counted: the figures have come twice and are the same."""
    seen = []
    for _ in range(1000):
        seen.append((espresso.totals, espresso.statistics().captured_frames))
        if len(seen) > 20 and len(set(seen[-20:])) == 1:
            return
        espresso.request_totals()
        for _ in range(10):
            await asyncio.sleep(0.0002)


@asynccontextmanager
async def running(**options):
    """An Espresso on a reactor of its own, and its peers."""
    options = {"frontend": KERNEL, "backend": KERNEL} | options
    espresso = Espresso(**options)
    context = zmq.Context()
    try:
        # Long, so that it is what there is to do that ends a stop, however busy the machine is.
        async with Reactor(stop_timeout=SECONDS) as reactor:
            await reactor.register(espresso)
            yield Peers(espresso, context)
    finally:
        context.destroy(linger=0)
