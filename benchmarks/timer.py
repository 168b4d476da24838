"""Timer: how late a 10 ms timer is at worst, on a loop whose stream is flooded all the while.

The raw loop has no timer: it reads the clock after every message, so its lateness is what the
machine does to a busy process by running others, and what nobody can undercut.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from time import perf_counter

import zmq
from tornado.ioloop import PeriodicCallback
from zmq.eventloop.zmqstream import ZMQStream

from benchmarks.ends import LOOPBACK, SMALL, endpoint_of, flood, limit, open_socket
from benchmarks.processes import Pipe, Role
from benchmarks.receive import Counter
from benchmarks.samples import REACTOR, Sample, Settings, Target
from reactor import PeriodicHandler, Reactor

INTERVAL = 0.01
TARGETS = (Target("timer", at_most=20),)


class Lateness:
    """The worst lateness of a timer; counted from the first message on, for `seconds`."""

    def __init__(self, count: int, seconds: float) -> None:
        self.done = asyncio.Event()
        self._limit = count
        self._seconds = seconds
        self._ends = 0.0
        self.due = 0.0
        self.worst = 0.0

    def tick(self, received: int) -> None:
        """Take one tick; skipped ticks count as one late one."""
        now = perf_counter()
        if not received:
            return
        if not self._ends:
            self.due, self._ends = now + INTERVAL, now + self._seconds
            return
        if now >= self._ends or received >= self._limit:
            self.done.set()
            return
        self.worst = max(self.worst, now - self.due)
        self.due = min(self.due, now)  # earlier than expected: the first tick was a late one
        while self.due <= now:
            self.due += INTERVAL


class Ticker(PeriodicHandler):
    """Ticks every 10 ms."""

    interval = INTERVAL
    lateness: Lateness
    counter: Counter

    def on_tick(self) -> None:
        """Take one tick."""
        self.lateness.tick(self.counter.received)


def by_reactor(pipe: Pipe, count: int, seconds: float) -> None:
    """Role: a PeriodicHandler beside a StreamHandler."""

    async def main() -> None:
        async with Reactor() as reactor:
            ticker = Ticker()
            ticker.lateness = Lateness(count, seconds)
            options: dict[int, int | bytes] = {zmq.RCVHWM: 0}
            stream = reactor.open_stream(zmq.PULL, f"@{LOOPBACK}", options=options)
            ticker.counter = Counter(stream)
            reactor.register(ticker.counter, ticker)
            pipe.send(stream.endpoint)
            await ticker.lateness.done.wait()
            pipe.send(ticker.lateness.worst)

    asyncio.run(main())


def by_zmqstream(pipe: Pipe, count: int, seconds: float) -> None:
    """Role: Tornado's PeriodicCallback beside a bare ZMQStream."""

    async def main() -> None:
        received = 0

        def on_recv(frames: list[bytes]) -> None:
            nonlocal received
            received += 1

        lateness = Lateness(count, seconds)
        stream = ZMQStream(open_socket(zmq.PULL, bind=LOOPBACK))
        stream.on_recv(on_recv)
        PeriodicCallback(lambda: lateness.tick(received), INTERVAL * 1000).start()
        pipe.send(endpoint_of(stream.socket))
        await lateness.done.wait()
        pipe.send(lateness.worst)

    asyncio.run(main())


def by_raw_loop(pipe: Pipe, count: int, seconds: float) -> None:
    """Role: a poll and drain loop that never is away from the clock for longer than a message."""
    lateness = Lateness(count, seconds)
    socket = open_socket(zmq.PULL, bind=LOOPBACK)
    pipe.send(endpoint_of(socket))
    received = 0
    while not lateness.done.is_set():
        if socket.poll(1):
            socket.recv_multipart()
            received += 1
        if perf_counter() >= lateness.due:
            lateness.tick(received)
    pipe.send(lateness.worst)


PEERS: dict[str, Callable[..., None]] = {
    REACTOR: by_reactor,
    "ZMQStream": by_zmqstream,
    "raw loop": by_raw_loop,
}


def measure(settings: Settings, round_: int) -> Iterator[Sample]:
    """Yield the worst lateness in milliseconds."""
    count = limit(SMALL, settings.quick)
    for peer, receiver in PEERS.items():
        with (
            Role(receiver, count, settings.seconds) as receiving,
            Role(flood, receiving.get(), SMALL, count),
        ):
            yield Sample("timer", peer, round_, SMALL, receiving.get() * 1000, "ms late")
