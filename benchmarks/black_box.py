"""Black box: messages a second handled behind a flooding PUB, by two process workers or by one.

- `black box, 20 us`: each message costs 20 us of Python. The peer is one plain subscriber that does
  the same work in its hook.
- `black box, keyed`: no work; every message is sharded, queued, dealt out, and its order per key is
  kept. The peer is the plain subscriber again, at its full rate of receiving.
- `black box, pump`: no work; libzmq pumps to the two workers. The peer is `zmq.proxy` to one
  subscriber that only receives.
- `black box, prefix`: no work; each worker subscribes to half of the topics. Peer as for keyed.

Everything over tcp or ipc, nothing dropped, nothing pinned. With two cores the publisher's
I/O thread, the reader and the two workers share them.
"""

from __future__ import annotations

import argparse
import asyncio
import os
from collections.abc import Callable, Iterator
from time import perf_counter
from typing import Any

import zmq

from benchmarks.ends import LOOPBACK, SMALL, endpoint_of, open_socket, publish
from benchmarks.processes import Pipe, Role
from benchmarks.samples import REACTOR, Meter, Sample, Settings, Target
from benchmarks.table import render
from patterns.black_box import BlackBox, Feed, PrefixBox, PumpingBox
from reactor import Reactor, StreamHandler

PLAIN = "plain subscriber"
PROXY = "zmq.proxy"
TARGETS = (
    Target("black box, 20 us", PLAIN, at_least=1.7),
    Target("black box, keyed", PLAIN, at_least=0.4),
    Target("black box, pump", PROXY, at_least=0.5),
)

WORK_SECONDS = 20e-6
_TURNS = "BLACK_BOX_TURNS"
_UNLIMITED = 10**9


def work(frames: list[bytes]) -> None:
    """Do as many turns of a loop as the environment says: none, or 20 us of them."""
    for _ in range(TURNS):
        pass


TURNS = int(os.environ.get(_TURNS, "0"))


def turns_for(seconds: float) -> int:
    """Return how many turns take so long on this machine, when nothing disturbs them."""
    turns = 100_000
    best = min(_time_of(turns) for _ in range(20))
    return round(turns * seconds / best)


def _time_of(turns: int) -> float:
    began = perf_counter()
    for _ in range(turns):
        pass
    return perf_counter() - began


class Subscriber(StreamHandler):
    """Works in its hook."""

    received = 0

    def on_message(self, frames: list[bytes]) -> None:
        """Work and count."""
        work(frames)
        self.received += 1


def by_subscriber(pipe: Pipe, upstream: str, turns: int, count: int, seconds: float) -> None:
    """Role: one process, one SUB."""
    global TURNS
    TURNS = turns

    async def main() -> None:
        meter = Meter(count, seconds)
        async with Reactor() as reactor:
            stream = reactor.open_stream(zmq.SUB, subscribe=(b"",), options={zmq.RCVHWM: 0})
            subscriber = Subscriber(stream)
            reactor.register(subscriber)
            stream.connect(upstream)
            await meter.watch(lambda: subscriber.received)
            pipe.send(meter.result().a_second)

    asyncio.run(main())


def keyed(upstream: str) -> BlackBox:
    """Return the box that keeps the order of each key."""
    return BlackBox(upstream, work, queue_limit=_UNLIMITED, high_water_mark=0, late=3600)


def pumped(upstream: str) -> PumpingBox:
    """Return the box that libzmq pumps for."""
    feed = Feed(upstream)
    return PumpingBox(feed, work, high_water_mark=10_000, feed_high_water_mark=0)


def parted(upstream: str) -> PrefixBox:
    """Return the box whose workers subscribe to the even and to the odd hundreds of topics."""
    parts = [[b"topic00%d" % n for n in range(first, 10, 2)] for first in (0, 1)]
    return PrefixBox(upstream, work, parts=parts, high_water_mark=0)


BOXES: dict[str, Callable[[str], Any]] = {"keyed": keyed, "pump": pumped, "prefix": parted}


def by_box(pipe: Pipe, upstream: str, kind: str, turns: int, count: int, seconds: float) -> None:
    """Role: a box of two process workers."""
    os.environ[_TURNS] = str(turns)

    async def main() -> None:
        meter = Meter(count, seconds)
        async with Reactor() as reactor:
            box = BOXES[kind](upstream)
            await reactor.register(box)
            await meter.watch(lambda: sum(s.handled for s in box.statistics().shards))
            pipe.send(meter.result().a_second)

    asyncio.run(main())


def by_proxy(pipe: Pipe, upstream: str) -> None:
    """Role: zmq.proxy from the feed to whoever subscribes."""
    frontend = open_socket(zmq.XSUB, connect=upstream)
    backend = open_socket(zmq.XPUB, bind=LOOPBACK)
    pipe.send(endpoint_of(backend))
    zmq.proxy(frontend, backend)


def receive_all(pipe: Pipe, endpoint: str, count: int, seconds: float) -> None:
    """Role: one SUB that only receives, as fast as Python can."""
    socket = open_socket(zmq.SUB, connect=endpoint)
    receive = super(zmq.Socket, socket).recv
    meter, received = Meter(count, seconds), 0
    while not meter.note(received):
        for _ in range(100):
            receive(0)
            receive(0)
        received += 100
    pipe.send(meter.result().a_second)


def publish_to_all(pipe: Pipe, size: int, count: int, subscriptions: int) -> None:
    """Role: as `publish`, but it waits for several subscriptions."""
    socket = open_socket(zmq.XPUB, bind=LOOPBACK)
    pipe.send(endpoint_of(socket))
    for _ in range(subscriptions):
        socket.recv()
    body = bytes(size)
    send = super(zmq.Socket, socket).send
    for number in range(count):
        send(b"topic%05d" % (number % 1000), int(zmq.SNDMORE))
        send(body, 0)
    pipe.poll(None)


def measure(settings: Settings, round_: int) -> Iterator[Sample]:
    """Yield one rate of every box and of its peer."""
    turns = turns_for(WORK_SECONDS)
    few, many = (40_000, 300_000) if settings.quick else (150_000, 1_000_000)
    yield from _against_subscriber(settings, round_, "black box, 20 us", "keyed", turns, few)
    yield from _against_subscriber(settings, round_, "black box, keyed", "keyed", 0, many)
    yield from _against_subscriber(settings, round_, "black box, prefix", "prefix", 0, many)
    yield _box_sample(settings, round_, "black box, pump", "pump", 0, many)
    with (
        Role(publish, SMALL, many) as publishing,
        Role(by_proxy, publishing.get()) as proxying,
        Role(receive_all, proxying.get(), many, settings.seconds) as receiving,
    ):
        yield Sample("black box, pump", PROXY, round_, SMALL, receiving.get(), "msg/s")


def _against_subscriber(
    settings: Settings, round_: int, name: str, kind: str, turns: int, count: int
) -> Iterator[Sample]:
    yield _box_sample(settings, round_, name, kind, turns, count)
    with (
        Role(publish, SMALL, count) as publishing,
        Role(by_subscriber, publishing.get(), turns, count, settings.seconds) as subscribing,
    ):
        yield Sample(name, PLAIN, round_, SMALL, subscribing.get(), "msg/s")


def _box_sample(
    settings: Settings, round_: int, name: str, kind: str, turns: int, count: int
) -> Sample:
    subscriptions = 10 if kind == "prefix" else 1
    with (
        Role(publish_to_all, SMALL, count, subscriptions) as publishing,
        Role(by_box, publishing.get(), kind, turns, count, settings.seconds) as working,
    ):
        return Sample(name, REACTOR, round_, SMALL, working.get(), "msg/s")


def main() -> None:
    """Run this measurement by itself: `python -m benchmarks.black_box --rounds 5`."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.black_box", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    settings = Settings(options.rounds, 2.0, options.quick)
    samples = [s for n in range(1, settings.rounds + 1) for s in measure(settings, n)]
    print(render(samples, TARGETS))


if __name__ == "__main__":
    main()
