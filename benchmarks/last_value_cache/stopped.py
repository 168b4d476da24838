"""A subscriber by credit is stopped (SIGSTOP) while a million updates pass: what does that cost?

`python -m benchmarks.last_value_cache.stopped`. A plain subscriber beside it gets every message.
The memory of the cache is told before, during and after; on waking, the stopped one must have the
newest value of each topic.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
from collections.abc import Sequence
from time import perf_counter

import zmq

from benchmarks.ends import BEGIN, LOOPBACK, TOPICS, endpoint_of, open_socket
from benchmarks.processes import Pipe, Role
from benchmarks.services import Service
from patterns.last_value_cache import ConflatingSubscriber, LastValueCache
from reactor import Reactor

_MORE = int(zmq.SNDMORE)


def publish(pipe: Pipe, rounds: int, a_second: int) -> None:
    """Role: on the word, sends so many updates of each topic, numbered; then the topic `end`."""
    socket = open_socket(zmq.XPUB, bind=LOOPBACK)
    pipe.send(endpoint_of(socket))
    while not pipe.poll(0.005):
        socket.send_multipart([BEGIN, b""])
    pipe.recv()
    began = perf_counter()
    for number in range(1, rounds + 1):
        for topic in TOPICS:
            socket.send(topic, _MORE)
            socket.send(b"%d" % number, 0)
        if number == 1:
            pipe.send("all topics")
            pipe.recv()
        pause = number * len(TOPICS) / a_second - (perf_counter() - began)
        pipe.poll(max(0.0, pause))
    socket.send_multipart([b"end", b"0"])
    pipe.send(perf_counter() - began)
    pipe.poll(None)


def serve(pipe: Pipe, upstream: str) -> None:
    """Role: the cache; tells its two endpoints and its process."""

    async def main() -> None:
        async with Reactor() as reactor:
            cache = LastValueCache(
                frontend=f">{upstream}", backend=f"@{LOOPBACK}", conflated=LOOPBACK
            )
            reactor.register(cache)
            pipe.send((*cache.bound_endpoints, os.getpid()))
            await reactor.stopped()

    asyncio.run(main())


def follow(pipe: Pipe, endpoint: str) -> None:
    """Role: a subscriber by credit; tells its process, then how it ends, when `end` has come."""

    class Newest(ConflatingSubscriber):
        def on_message(self, frames: list[bytes]) -> None:
            values[frames[0]] = frames[1]
            if frames[0] == b"end":
                self.reactor.stop()

    values: dict[bytes, bytes] = {}
    newest = Newest(endpoint)

    async def main() -> None:
        async with Reactor() as reactor:
            reactor.register(newest)
            pipe.send(os.getpid())
            await reactor.stopped()

    asyncio.run(main())
    statistics = newest.statistics()
    pipe.send((values, statistics.received, statistics.joined))


def count(pipe: Pipe, endpoint: str) -> None:
    """Role: a plain subscriber; tells how many messages came until `end`."""
    socket = open_socket(zmq.SUB, connect=endpoint)
    socket.recv_multipart()
    pipe.send("ready")
    received = 0
    while True:
        topic, _ = socket.recv_multipart()
        if topic == b"end":
            break
        received += topic != BEGIN
    pipe.send(received)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run it once and print the figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.last_value_cache.stopped")
    parser.add_argument("--rounds", type=int, default=1000, help="updates of each of 1,000 topics")
    parser.add_argument("--a-second", type=int, default=80_000)
    options = parser.parse_args(arguments)
    with (
        Role(publish, options.rounds, options.a_second) as publishing,
        Role(serve, publishing.get()) as serving,
    ):
        behind, conflated, pid = serving.get()
        cache = Service(behind, pid)
        with Role(follow, conflated) as following, Role(count, behind) as counting:
            stopped = following.get()
            counting.get()
            publishing.put("go")
            publishing.get()
            before = cache.resident_kib()
            os.kill(stopped, signal.SIGSTOP)
            publishing.put("go on")
            seconds = publishing.get(timeout=150)
            received = counting.get()
            during = cache.resident_kib()
            woken = perf_counter()
            os.kill(stopped, signal.SIGCONT)
            values, taken, joined = following.get()
            woken = perf_counter() - woken
            after = cache.resident_kib()
    newest = sum(values.get(topic) == b"%d" % options.rounds for topic in TOPICS)
    print(f"{options.rounds * len(TOPICS):,} updates in {seconds:.1f} s, one subscriber stopped")
    print(f"the plain subscriber got {received:,} of them")
    print(f"memory of the cache: {before:,} KiB before, {during:,} stopped, {after:,} woken")
    print(f"woken, in {woken * 1000:.0f} ms: the newest value of {newest:,} of 1,000 topics")
    print(f"it has taken {taken:,} messages in all, and joined {joined} time(s)")


if __name__ == "__main__":
    main()
