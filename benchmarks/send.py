"""Send: messages a second that one PUSH takes from loop callbacks, 100 a turn, queue unlimited.

A tight drain loop in another process receives over tcp. The reactor sends through a
StreamHandler's `send`. C is `zmq.proxy` from a full inproc queue; it is done when its capture
socket has seen the last message.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from threading import Thread
from time import perf_counter

import zmq
import zmq.asyncio
from zmq.eventloop.zmqstream import ZMQStream

from benchmarks.ends import END, SIZES, TOPICS, drain, limit, open_socket, send_all
from benchmarks.processes import Pipe, Role
from benchmarks.samples import REACTOR, Meter, Rate, Sample, Settings, Target
from reactor import Reactor, StreamHandler

TARGETS = (
    Target("send", "ZMQStream", at_least=25),
    Target("send", "raw loop", at_least=2),
)
A_TURN = TOPICS[:100]

SendOne = Callable[[bytes, bytes], object]


class Sender(StreamHandler):
    """Sends what it is told; its `send` is what is measured."""


async def send_in_turns(pipe: Pipe, send: SendOne, size: int, meter: Meter) -> None:
    """Call `send` 100 times a loop turn until the meter has enough; then tell the rate."""
    loop = asyncio.get_running_loop()
    done = asyncio.Event()
    body = bytes(size)
    sent = 0

    def turn() -> None:
        nonlocal sent
        for topic in A_TURN:
            send(topic, body)
        sent += len(A_TURN)
        if meter.note(sent):
            done.set()
        else:
            loop.call_soon(turn)

    turn()
    await done.wait()
    pipe.send(meter.result())
    pipe.poll(None)  # closing would take time over what is still queued


def by_reactor(pipe: Pipe, endpoint: str, size: int, count: int, seconds: float) -> None:
    """Role: a StreamHandler that sends."""

    async def main() -> None:
        async with Reactor() as reactor:
            stream = reactor.open_stream(zmq.PUSH, f">{endpoint}", options={zmq.SNDHWM: 0})
            sender = Sender(stream)
            reactor.register(sender)
            await send_in_turns(pipe, sender.send, size, Meter(count, seconds))

    asyncio.run(main())


def by_zmqstream(pipe: Pipe, endpoint: str, size: int, count: int, seconds: float) -> None:
    """Role: `send_multipart` of a bare ZMQStream; its own queue empties once a turn."""

    async def main() -> None:
        stream = ZMQStream(open_socket(zmq.PUSH, connect=endpoint))

        def send(topic: bytes, body: bytes) -> None:
            stream.send_multipart([topic, body])

        await send_in_turns(pipe, send, size, Meter(count, seconds))

    asyncio.run(main())


def by_raw_loop(pipe: Pipe, endpoint: str, size: int, count: int, seconds: float) -> None:
    """Role: `send_multipart(NOBLOCK)` of a bare socket, from the same loop callbacks."""

    async def main() -> None:
        socket = open_socket(zmq.PUSH, connect=endpoint)

        def send(topic: bytes, body: bytes) -> None:
            socket.send_multipart([topic, body], zmq.NOBLOCK)

        await send_in_turns(pipe, send, size, Meter(count, seconds))

    asyncio.run(main())


def by_zmq_asyncio(pipe: Pipe, endpoint: str, size: int, count: int, seconds: float) -> None:
    """Role: a coroutine that awaits `send_multipart()` of a zmq.asyncio socket."""

    async def main() -> None:
        socket = open_socket(zmq.PUSH, connect=endpoint, kind=zmq.asyncio.Socket)
        body = bytes(size)
        meter = Meter(count, seconds)
        sent = 0
        while not meter.note(sent):
            for topic in A_TURN:
                await socket.send_multipart([topic, body])
            sent += len(A_TURN)
        pipe.send(meter.result())
        pipe.poll(None)

    asyncio.run(main())


def by_c(pipe: Pipe, endpoint: str, size: int, count: int, seconds: float) -> None:
    """Role: zmq.proxy, from its start until the capture socket sees the last message."""
    backend = open_socket(zmq.PUSH, connect=endpoint)
    context = backend.context
    sockets = [zmq.Socket(context, kind) for kind in (zmq.PULL, zmq.PUSH, zmq.PUB, zmq.SUB)]
    for socket in sockets:
        socket.set_hwm(0)
    frontend, source, capture, marks = sockets
    marks.subscribe(END)
    for binding, connecting, name in ((frontend, source, "queue"), (capture, marks, "marks")):
        binding.bind(f"inproc://{name}")
        connecting.connect(f"inproc://{name}")
    send_all(source, size, count)
    proxy = Thread(target=zmq.proxy, args=(frontend, backend, capture), daemon=True)
    began = perf_counter()
    proxy.start()
    marks.recv_multipart()
    pipe.send(Rate(count / (perf_counter() - began)))
    pipe.poll(None)


SENDERS: dict[str, Callable[..., None]] = {
    REACTOR: by_reactor,
    "ZMQStream": by_zmqstream,
    "raw loop": by_raw_loop,
    "zmq.asyncio": by_zmq_asyncio,
    "C": by_c,
}


def measure(settings: Settings, round_: int) -> Iterator[Sample]:
    """Yield the rate of every sender at every size."""
    for size in SIZES:
        count = limit(size, settings.quick)
        for peer, sender in SENDERS.items():
            with (
                Role(drain) as draining,
                Role(sender, draining.get(), size, count, settings.seconds) as sending,
            ):
                yield from sending.get().samples("send", peer, round_, size)
