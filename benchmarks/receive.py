"""Receive: messages a second out of one PULL over tcp while a PUSH in another process floods it.

Each receiver only counts. The reactor's is a StreamHandler, with statistics and error handling
as they come. C is `zmq.proxy` from the PULL to a PUB that filters everything out but the marks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from threading import Thread
from time import perf_counter

import zmq
import zmq.asyncio
from zmq.eventloop.zmqstream import ZMQStream

from benchmarks.ends import BEGIN, END, LOOPBACK, SIZES, endpoint_of, flood, limit, open_socket
from benchmarks.processes import Pipe, Role
from benchmarks.samples import REACTOR, Meter, Rate, Sample, Settings, Target
from reactor import Reactor, StreamHandler

TARGETS = (
    Target("receive", "ZMQStream", at_least=12),
    Target("receive", "raw loop", at_least=1.9),
)


class Counter(StreamHandler):
    """Counts its messages."""

    received = 0

    def on_message(self, frames: list[bytes]) -> None:
        """Count one message."""
        self.received += 1


def by_reactor(pipe: Pipe, count: int, seconds: float) -> None:
    """Role: a StreamHandler that counts."""

    async def main() -> None:
        meter = Meter(count, seconds)
        async with Reactor() as reactor:
            stream = reactor.open_stream(zmq.PULL, f"@{LOOPBACK}", options={zmq.RCVHWM: 0})
            counter = Counter(stream)
            reactor.register(counter)
            pipe.send(stream.endpoint)
            await meter.watch(lambda: counter.received)
            pipe.send(meter.result())

    asyncio.run(main())


def by_zmqstream(pipe: Pipe, count: int, seconds: float) -> None:
    """Role: a bare ZMQStream whose callback counts."""

    async def main() -> None:
        received = 0

        def on_recv(frames: list[bytes]) -> None:
            nonlocal received
            received += 1

        meter = Meter(count, seconds)
        socket = open_socket(zmq.PULL, bind=LOOPBACK)
        ZMQStream(socket).on_recv(on_recv)
        pipe.send(endpoint_of(socket))
        await meter.watch(lambda: received)
        pipe.send(meter.result())

    asyncio.run(main())


def by_raw_loop(pipe: Pipe, count: int, seconds: float) -> None:
    """Role: poll, then `recv_multipart(NOBLOCK)` until nothing waits, at most 1,000 times."""
    meter = Meter(count, seconds)
    socket = open_socket(zmq.PULL, bind=LOOPBACK)
    poller = zmq.Poller()
    poller.register(socket, zmq.POLLIN)
    pipe.send(endpoint_of(socket))
    received = 0
    while not meter.note(received):
        poller.poll(20)
        try:
            for _ in range(1000):
                socket.recv_multipart(zmq.NOBLOCK)
                received += 1
        except zmq.Again:
            pass
    pipe.send(meter.result())


def by_zmq_asyncio(pipe: Pipe, count: int, seconds: float) -> None:
    """Role: a coroutine that awaits `recv_multipart()` of a zmq.asyncio socket."""

    async def main() -> None:
        meter = Meter(count, seconds)
        socket = open_socket(zmq.PULL, bind=LOOPBACK, kind=zmq.asyncio.Socket)
        pipe.send(endpoint_of(socket))
        received = 0
        while not meter.note(received):  # not watch(): a full socket never yields to other tasks
            for _ in range(100):
                await socket.recv_multipart()
            received += 100
        pipe.send(meter.result())

    asyncio.run(main())


def by_c(pipe: Pipe, count: int, seconds: float) -> None:
    """Role: zmq.proxy, timed from outside between the flood's first and last message."""
    frontend = open_socket(zmq.PULL, bind=LOOPBACK)
    backend = zmq.Socket(frontend.context, zmq.PUB)
    backend.bind("inproc://marks")
    marks = zmq.Socket(frontend.context, zmq.SUB)
    marks.subscribe(BEGIN)
    marks.subscribe(END)
    marks.connect("inproc://marks")
    pipe.send(endpoint_of(frontend))
    Thread(target=zmq.proxy, args=(frontend, backend), daemon=True).start()
    marks.recv_multipart()
    began = perf_counter()
    marks.recv_multipart()
    pipe.send(Rate(count / (perf_counter() - began)))
    pipe.poll(None)


RECEIVERS: dict[str, Callable[..., None]] = {
    REACTOR: by_reactor,
    "ZMQStream": by_zmqstream,
    "raw loop": by_raw_loop,
    "zmq.asyncio": by_zmq_asyncio,
    "C": by_c,
}


def measure(settings: Settings, round_: int) -> Iterator[Sample]:
    """Yield the rate of every receiver at every size."""
    for size in SIZES:
        count = limit(size, settings.quick)
        for peer, receiver in RECEIVERS.items():
            with (
                Role(receiver, count, settings.seconds) as receiving,
                Role(flood, receiving.get(), size, count),
            ):
                yield from receiving.get().samples("receive", peer, round_, size)
