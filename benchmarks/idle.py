"""Idle: CPU of a process with messages queued for a peer that takes none, over 3 seconds.

PUSH: the peer was stopped with SIGSTOP. DEALER: nobody listens at the endpoint. ROUTER: mandatory
routing to a stopped peer; such a socket claims to be writable all the while. `nothing` is a
reactor without streams, to compare with. Whoever spins shows 100 %.
"""

from __future__ import annotations

import asyncio
import socket as kernel
from collections.abc import Iterator
from time import process_time

import zmq

from benchmarks.ends import LOOPBACK
from benchmarks.processes import Pipe, Role
from benchmarks.samples import REACTOR, Sample, Settings, Target
from reactor import Reactor, Stream, StreamHandler

SECONDS = 3.0
TARGETS = tuple(Target(f"idle {kind}", at_most=1) for kind in ("PUSH", "DEALER", "ROUTER"))
SOCKET_TYPES = {"PUSH": zmq.PUSH, "DEALER": zmq.DEALER, "ROUTER": zmq.ROUTER}
PEER_TYPES = {"PUSH": zmq.PULL, "ROUTER": zmq.DEALER}
PEER_NAME = b"the stopped one"
# Together more than the kernel's buffers (several MiB over loopback) and libzmq's queues hold.
BODY = bytes(1 << 20)
MESSAGES = 100
SMALL_QUEUE = 10


class Greeter(StreamHandler):
    """Sends back what it gets."""

    def on_message(self, frames: list[bytes]) -> None:
        """Send back one message."""
        self.send(*frames)


def listen(pipe: Pipe, socket_type: int, endpoint: str) -> None:
    """Role: a peer that tells when a message has come through, then takes none."""
    socket = zmq.Socket(zmq.Context(), socket_type)
    socket.set_hwm(1)
    socket.set(zmq.IDENTITY, PEER_NAME)
    socket.connect(endpoint)
    if socket_type == zmq.DEALER:
        socket.send(b"hello")
    socket.recv()
    pipe.send("connected")
    pipe.poll(None)


def unused_endpoint() -> str:
    """Return an endpoint that nobody listens at: the kernel's choice, given back."""
    with kernel.create_server(("127.0.0.1", 0)) as server:
        return f"tcp://127.0.0.1:{server.getsockname()[1]}"


def open_stream(reactor: Reactor, kind: str) -> Stream:
    """Return a stream of that kind with small queues below it, and a handler on it."""
    options: dict[int, int | bytes] = {zmq.SNDHWM: SMALL_QUEUE}
    if kind == "ROUTER":
        options[zmq.ROUTER_MANDATORY] = 1
    endpoint = f">{unused_endpoint()}" if kind == "DEALER" else f"@{LOOPBACK}"
    stream = reactor.open_stream(SOCKET_TYPES[kind], endpoint, options=options)
    reactor.register(StreamHandler(stream) if kind == "PUSH" else Greeter(stream))
    return stream


async def fill(pipe: Pipe, stream: Stream, kind: str) -> None:
    """Wait for the word that the peer is stopped, then send until messages have to queue."""
    if kind == "PUSH":
        stream.send(b"hello")
    await asyncio.get_running_loop().run_in_executor(None, pipe.recv)
    prefix = (PEER_NAME,) if kind == "ROUTER" else ()
    for _ in range(MESSAGES):
        stream.send(*prefix, BODY)
    await asyncio.sleep(1.0)  # the kernel and libzmq take what they can
    if not stream.queue_length:
        raise RuntimeError(f"{kind}: nothing is queued, so nothing is measured")


def wait(pipe: Pipe, kind: str) -> None:
    """Role: a reactor that has nothing it can do; tells its CPU in per cent of a core."""

    async def main() -> None:
        async with Reactor() as reactor:
            if kind == "nothing":
                pipe.send("no endpoint")
            else:
                stream = open_stream(reactor, kind)
                pipe.send(stream.endpoint)
                await fill(pipe, stream, kind)
            began = process_time()
            await asyncio.sleep(SECONDS)
            pipe.send((process_time() - began) / SECONDS * 100)
            pipe.poll(None)

    asyncio.run(main())


def measure(settings: Settings, round_: int) -> Iterator[Sample]:
    """Yield the CPU of every kind of waiting."""
    for kind in ("nothing", *SOCKET_TYPES):
        with Role(wait, kind) as waiting:
            endpoint = waiting.get()
            if kind in PEER_TYPES:
                with Role(listen, PEER_TYPES[kind], endpoint) as peer:
                    peer.get()
                    peer.freeze()
                    waiting.put("stopped")
                    cpu = waiting.get()
            else:
                waiting.put("absent")
                cpu = waiting.get()
            yield Sample(f"idle {kind}", REACTOR, round_, 0, cpu, "% CPU")
