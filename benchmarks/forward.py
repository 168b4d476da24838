"""Forward: messages a second through a proxy that stores each by its topic and sends it on.

XPUB -> (SUB, proxy, XPUB) -> SUB, three processes over tcp; the last one measures the rate. The
proxy connects to the flood when the subscription has reached it, so nothing is missed. C is
`zmq.proxy`, which stores nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

import zmq
import zmq.asyncio
from zmq.eventloop.zmqstream import ZMQStream

from benchmarks.ends import LOOPBACK, SIZES, collect, endpoint_of, limit, open_socket, publish
from benchmarks.processes import Pipe, Role
from benchmarks.samples import REACTOR, Rate, Sample, Settings, Target
from reactor import Reactor, Stream, StreamHandler

TARGETS = (Target("forward", "ZMQStream", at_least=15),)


class Frontend(StreamHandler):
    """Stores what is new under its topic, and forwards."""

    def __init__(self, stream: Stream, backend: StreamHandler) -> None:
        super().__init__(stream)
        self.backend = backend
        self.last: dict[bytes, list[bytes]] = {}

    def on_message(self, frames: list[bytes]) -> None:
        """Look the topic up, store the message, send it on."""
        topic = frames[0]
        if self.last.get(topic) is not frames:
            self.last[topic] = frames
        self.backend.send(*frames)


class ListFrontend(Frontend):
    """Does the same with lists of messages: a relay spends most of its time on being called."""

    def on_batch(self, messages: list[list[bytes]]) -> None:
        """Store each message, then send them on."""
        last = self.last
        for frames in messages:
            topic = frames[0]
            if last.get(topic) is not frames:
                last[topic] = frames
        self.backend.stream.try_send_all(messages)  # the queues are unlimited: none is refused


class Backend(StreamHandler):
    """Where subscriptions arrive: the first one starts the flood."""

    upstream: str
    frontend: Stream

    def on_message(self, frames: list[bytes]) -> None:
        """Connect to the flood, now that somebody listens."""
        self.frontend.connect(self.upstream)


def by_reactor(pipe: Pipe, upstream: str, frontend: type[Frontend] = Frontend) -> None:
    """Role: two StreamHandlers."""

    async def main() -> None:
        async with Reactor() as reactor:
            unlimited: dict[int, int | bytes] = {zmq.RCVHWM: 0, zmq.SNDHWM: 0}
            backend = Backend(reactor.open_stream(zmq.XPUB, f"@{LOOPBACK}", options=unlimited))
            stream = reactor.open_stream(zmq.SUB, subscribe=(b"",), options=unlimited)
            backend.upstream, backend.frontend = upstream, stream
            reactor.register(backend, frontend(stream, backend))
            pipe.send(backend.stream.endpoint)
            await reactor.stopped()

    asyncio.run(main())


def by_reactor_in_lists(pipe: Pipe, upstream: str) -> None:
    """Role: two StreamHandlers, of which one takes lists."""
    by_reactor(pipe, upstream, ListFrontend)


def by_zmqstream(pipe: Pipe, upstream: str) -> None:
    """Role: two bare ZMQStreams."""

    async def main() -> None:
        frontend = ZMQStream(open_socket(zmq.SUB))
        backend = ZMQStream(open_socket(zmq.XPUB, bind=LOOPBACK))
        last: dict[bytes, list[bytes]] = {}

        def on_message(frames: list[bytes]) -> None:
            topic = frames[0]
            if last.get(topic) is not frames:
                last[topic] = frames
            backend.send_multipart(frames)

        frontend.on_recv(on_message)
        backend.on_recv(lambda frames: frontend.connect(upstream))
        pipe.send(endpoint_of(backend.socket))
        await asyncio.Event().wait()

    asyncio.run(main())


def by_raw_loop(pipe: Pipe, upstream: str) -> None:
    """Role: poll, then receive and send multipart until nothing waits, at most 1,000 times."""
    frontend = open_socket(zmq.SUB)
    backend = open_socket(zmq.XPUB, bind=LOOPBACK)
    pipe.send(endpoint_of(backend))
    backend.recv()
    frontend.connect(upstream)
    last: dict[bytes, list[bytes]] = {}
    poller = zmq.Poller()
    poller.register(frontend, zmq.POLLIN)
    while True:
        poller.poll()
        try:
            for _ in range(1000):
                frames = frontend.recv_multipart(zmq.NOBLOCK)
                topic = frames[0]
                if last.get(topic) is not frames:
                    last[topic] = frames
                backend.send_multipart(frames, zmq.NOBLOCK)
        except zmq.Again:
            pass


def by_zmq_asyncio(pipe: Pipe, upstream: str) -> None:
    """Role: a coroutine that awaits both calls of zmq.asyncio sockets."""

    async def main() -> None:
        frontend = open_socket(zmq.SUB, kind=zmq.asyncio.Socket)
        backend = open_socket(zmq.XPUB, bind=LOOPBACK, kind=zmq.asyncio.Socket)
        pipe.send(endpoint_of(backend))
        await backend.recv()
        frontend.connect(upstream)
        last: dict[bytes, list[bytes]] = {}
        while True:
            frames = await frontend.recv_multipart()
            topic = frames[0]
            if last.get(topic) is not frames:
                last[topic] = frames
            await backend.send_multipart(frames)

    asyncio.run(main())


def by_c(pipe: Pipe, upstream: str) -> None:
    """Role: zmq.proxy; XSUB passes the subscription on by itself."""
    frontend = open_socket(zmq.XSUB, connect=upstream)
    backend = open_socket(zmq.XPUB, bind=LOOPBACK)
    pipe.send(endpoint_of(backend))
    zmq.proxy(frontend, backend)


PROXIES: dict[str, Callable[..., None]] = {
    REACTOR: by_reactor,
    "reactor, in lists": by_reactor_in_lists,
    "ZMQStream": by_zmqstream,
    "raw loop": by_raw_loop,
    "zmq.asyncio": by_zmq_asyncio,
    "C": by_c,
}


def measure(settings: Settings, round_: int) -> Iterator[Sample]:
    """Yield the rate through every proxy at every size."""
    for size in SIZES:
        count = limit(size, settings.quick) * 4 // 5
        for peer, proxy in PROXIES.items():
            with (
                Role(publish, size, count) as publishing,
                Role(proxy, publishing.get()) as proxying,
                Role(collect, proxying.get(), count, settings.seconds, True) as collecting,
            ):
                collecting.get()
                cpu = -proxying.cpu_seconds()
                received, rate = collecting.get()
                cpu += proxying.cpu_seconds()
                yield from Rate(rate, cpu / received * 1e6).samples("forward", peer, round_, size)
