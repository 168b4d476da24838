"""What stands between ZeroMQ sockets: XPUB -> (SUB, proxy, XPUB) -> SUB, the same ends for all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from statistics import median
from time import perf_counter

import zmq
from zmq.eventloop.zmqstream import ZMQStream

from benchmarks.ends import BEGIN, LOOPBACK, endpoint_of, open_socket, send_all
from benchmarks.last_value_cache.peers import Flood, Peer, rate_of
from benchmarks.processes import Pipe, Role
from benchmarks.samples import REACTOR, Meter, Rate
from patterns.last_value_cache import LastValueCache
from reactor import Reactor

_UNLIMITED = 10**9
_JOINS = 20
_PROBE_MS = 5


# The ends


def publish(pipe: Pipe, flood: Flood) -> None:
    """Role: sends a probe now and then, until it is told to send everything."""
    socket = open_socket(zmq.XPUB, bind=LOOPBACK)
    pipe.send(endpoint_of(socket))
    while not pipe.poll(_PROBE_MS / 1000):
        socket.send_multipart([BEGIN, b""])
    send_all(socket, flood.size, flood.count)
    pipe.recv()
    pipe.poll(None)


def subscribe(pipe: Pipe, endpoint: str, flood: Flood) -> None:
    """Role: says when messages get through, then tells their rate."""
    socket = open_socket(zmq.SUB, connect=endpoint)
    receive = super(zmq.Socket, socket).recv
    socket.recv_multipart()
    pipe.send("ready")
    while receive(0) == BEGIN:
        receive(0)
    receive(0)
    meter, received = Meter(flood.count, flood.seconds), 0
    while not meter.note(received):
        for _ in range(100):
            receive(0)
            receive(0)
        received += 100
    pipe.send((meter.rate(), received))


def join(pipe: Pipe, endpoint: str, topics: int) -> None:
    """Role: tells the median seconds until one topic has come, and those until all have."""
    seconds = []
    for number in range(_JOINS):
        began = perf_counter()
        context = zmq.Context()
        with context.socket(zmq.SUB) as socket:
            socket.subscribe(_topic(number * topics // _JOINS))
            socket.connect(endpoint)
            socket.recv_multipart()
            seconds.append(perf_counter() - began)
    began = perf_counter()
    socket = open_socket(zmq.SUB, connect=endpoint)
    receive = super(zmq.Socket, socket).recv
    for _ in range(topics):
        receive(0)
        receive(0)
    pipe.send((median(seconds), perf_counter() - began))


# The proxies


def by_reactor(pipe: Pipe, upstream: str, topics: int) -> None:
    """Role: a LastValueCache; with `topics`, it has so many from the start."""

    async def main() -> None:
        async with Reactor() as reactor:
            cache = LastValueCache(
                frontend=f">{upstream}", backend=f"@{LOOPBACK}", high_water_mark=_UNLIMITED
            )
            reactor.register(cache)
            for number in range(topics):
                cache.values.update((_topic(number), bytes(32)))
            pipe.send(cache.bound_endpoints[0])
            await reactor.stopped()

    asyncio.run(main())


def by_guide(pipe: Pipe, upstream: str, topics: int) -> None:
    """Role: a message at a time; what is new goes into a dictionary and on, and to who joins."""
    frontend = open_socket(zmq.SUB, connect=upstream)
    backend = open_socket(zmq.XPUB, bind=LOOPBACK)
    pipe.send(endpoint_of(backend))
    last: dict[bytes, bytes] = {}
    poller = zmq.Poller()
    poller.register(frontend, zmq.POLLIN)
    poller.register(backend, zmq.POLLIN)
    while True:
        ready = dict(poller.poll(1000))
        if frontend in ready:
            topic, body = message = frontend.recv_multipart()
            last[topic] = body
            backend.send_multipart(message)
        if backend in ready:
            event = backend.recv()
            if event[0] == 1 and event[1:] in last:
                backend.send_multipart([event[1:], last[event[1:]]])


def by_zmqstream(pipe: Pipe, upstream: str, topics: int) -> None:
    """Role: two bare ZMQStreams."""

    async def main() -> None:
        frontend = ZMQStream(open_socket(zmq.SUB, connect=upstream))
        backend = ZMQStream(open_socket(zmq.XPUB, bind=LOOPBACK))
        last: dict[bytes, list[bytes]] = {}

        def on_message(frames: list[bytes]) -> None:
            last[frames[0]] = frames
            backend.send_multipart(frames)

        def on_subscription(frames: list[bytes]) -> None:
            if frames[0][:1] == b"\x01" and frames[0][1:] in last:
                backend.send_multipart(last[frames[0][1:]])

        frontend.on_recv(on_message)
        backend.on_recv(on_subscription)
        pipe.send(endpoint_of(backend.socket))
        await asyncio.Event().wait()

    asyncio.run(main())


def by_c(pipe: Pipe, upstream: str, topics: int) -> None:
    """Role: zmq.proxy, which keeps nothing."""
    frontend = open_socket(zmq.XSUB, connect=upstream)
    backend = open_socket(zmq.XPUB, bind=LOOPBACK)
    pipe.send(endpoint_of(backend))
    zmq.proxy(frontend, backend)


def _topic(number: int) -> bytes:
    return b"topic%07d" % number


def _rate_through(proxy: Callable[..., None]) -> Callable[[Flood], Rate]:
    def rate(flood: Flood) -> Rate:
        with (
            Role(publish, flood) as publishing,
            Role(proxy, publishing.get(), 0) as proxying,
        ):
            endpoint = proxying.get()
            roles = (Role(subscribe, endpoint, flood) for _ in range(flood.subscribers))
            return rate_of(publishing, roles, proxying.cpu_seconds)

    return rate


def _joins(topics: int) -> tuple[float, float]:
    with Role(by_reactor, "tcp://127.0.0.1:1", topics) as serving:
        with Role(join, serving.get(), topics) as joining:
            one, every = joining.get()
            return float(one), float(every)


def peers() -> list[Peer]:
    """Return ours and what libzmq and pyzmq offer."""
    version = f"libzmq {zmq.zmq_version()}, pyzmq {zmq.pyzmq_version()}"
    return [
        Peer(REACTOR, version, _rate_through(by_reactor), _joins),
        Peer("Guide", version, _rate_through(by_guide)),
        Peer("ZMQStream", version, _rate_through(by_zmqstream)),
        Peer("C", version, _rate_through(by_c)),
    ]
