"""Joiners: 200 CloneClients that join while 5,000 updates a second flow; is every map right?

Seconds until all are live, how many of them were before the last update, and what must be zero:
clients whose map differs from the server's at the end, losses that they noticed, and updates that a
client was told twice, out of turn or not at all after it had become live.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from time import perf_counter

import zmq

from benchmarks.clone import ours
from benchmarks.clone.ends import open_writer
from benchmarks.clone.peers import Peer
from benchmarks.processes import Pipe, Role
from benchmarks.samples import REACTOR, Sample, Settings, Target
from patterns.clone import CloneClient, Live, Put
from patterns.clone.client_protocol import ClientStatistics
from reactor import Reactor

CLIENTS = 200
PROCESSES = 2
RATE = 5_000
KEYS = 1_000
FLOW_SECONDS = 4.0  # 4 million messages in all: half a minute's work for two cores
TARGETS = (
    Target("joiners: maps that differ", at_most=0),
    Target("joiners: losses", at_most=0),
    Target("joiners: gaps and duplicates", at_most=0),
)
_PATIENCE_SECONDS = 90.0


def feed(pipe: Pipe, endpoint: str) -> None:
    """Role: writes 1, 2, 3 ... round the keys at a steady rate, and tells the last number."""
    socket = open_writer(endpoint, zmq.XPUB)
    began = perf_counter()
    number = 0
    while number < RATE * FLOW_SECONDS:
        while (perf_counter() - began) * RATE > number:
            number += 1
            uuid = number.to_bytes(16, "big")
            socket.send_multipart([b"%d" % (number % KEYS), bytes(8), uuid, b"", b"%d" % number])
        time.sleep(0.002)  # noqa: TID251 - a process of its own, without a loop
    pipe.send(number)
    pipe.poll(None)
    time.sleep(1.0)  # noqa: TID251 - what libzmq still holds leaves


class _Joiner:
    """One client, and what it was told after it had become live."""

    def __init__(self, reactor: Reactor, endpoint: str) -> None:
        self.client = CloneClient(endpoint, server_ttl=_PATIENCE_SECONDS)
        self.last = self.wrong = self.followed = 0
        self._live = False
        reactor.register(self.client)
        self.client.add_watch(self._hear)

    def _hear(self, event: object) -> None:
        match event:
            case Live():
                self._live = True
            case Put(_, body, _):
                number = int(body)
                self.followed += self._live
                self.wrong += self._live and number != self.last + 1
                self.last = max(self.last, number)

    def statistics(self) -> ClientStatistics:
        """Return what the client counts."""
        return self.client.statistics_of_client()


def join(pipe: Pipe, endpoint: str, count: int) -> None:
    """Role: so many clients; tells when all are live, is told the last number, tells the faults."""

    async def main() -> None:
        async with Reactor() as reactor:
            joiners = [_Joiner(reactor, endpoint) for _ in range(count)]
            for joiner in joiners:
                await joiner.client.wait_live(_PATIENCE_SECONDS)
            pipe.send("live")
            while not pipe.poll():
                await asyncio.sleep(0.02)
            last = pipe.recv()
            async with asyncio.timeout(_PATIENCE_SECONDS):
                while any(joiner.last < last for joiner in joiners):
                    await asyncio.sleep(0.02)
            truth = {b"%d" % (n % KEYS): b"%d" % n for n in range(1, last + 1)}
            pipe.send(
                (
                    sum(dict(joiner.client.items()) != truth for joiner in joiners),
                    sum(joiner.statistics().losses for joiner in joiners),
                    sum(joiner.wrong for joiner in joiners),
                    sum(joiner.followed > 0 for joiner in joiners),
                )
            )

    asyncio.run(main())


def measure(peers: Sequence[Peer], settings: Settings, round_: int) -> Iterator[Sample]:
    """Yield the time, the updates and the faults."""
    count = CLIENTS // 10 if settings.quick else CLIENTS
    with ExitStack() as stack:
        service = ours.serve(stack, 0)
        feeding = stack.enter_context(Role(feed, service.address))
        time.sleep(0.5)  # noqa: TID251 - some updates are there; no loop here to stop
        began = perf_counter()
        roles = [
            stack.enter_context(Role(join, service.address, count // PROCESSES))
            for _ in range(PROCESSES)
        ]
        for role in roles:
            role.get(timeout=_PATIENCE_SECONDS)
        seconds = perf_counter() - began
        last = feeding.get()
        for role in roles:
            role.put(last)
        found = [role.get(timeout=100) for role in roles]
    *faults, joined = (sum(each) for each in zip(*found, strict=True))
    yield Sample("joiners: all live", REACTOR, round_, 0, seconds, "s")
    yield Sample("joiners: joined while updates flowed", REACTOR, round_, 0, joined, "clients")
    yield Sample("joiners: updates", REACTOR, round_, 0, last, "updates")
    for target, fault in zip(TARGETS, faults, strict=True):
        yield Sample(target.measurement, REACTOR, round_, 0, fault, "")
