"""Snail: messages a second out of a full SUB, with and without a guard that judges them.

The same stamped messages (topic, body, stamp) come to a StreamHandler that counts and to a
SnailSubscriber that counts. They are all sent before the first one is read, and nothing is dropped,
so the receiver alone is what is measured, how slow the publisher may be. `filtered` is the guard
with a subscription to half of the topics, `two publishers` gets the messages of two, and
`unstamped` is the StreamHandler with messages of two frames.

`python -m benchmarks.snail` takes about three minutes, `--quick` half a minute.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import zmq

from benchmarks.ends import LOOPBACK, SIZES, TOPICS, endpoint_of, limit, open_socket
from benchmarks.processes import Pipe, Role
from benchmarks.samples import REACTOR, Meter, Sample, Settings, Target
from benchmarks.table import render
from patterns.suicidal_snail import Limits, SnailSubscriber
from patterns.suicidal_snail.messages import encode_origin, encode_stamp
from reactor import Reactor, StreamHandler

TARGETS = (
    Target("snail", "no guard", at_least=0.85),
    Target("snail CPU", "no guard", at_most=1 / 0.85),
)

# Never a snail, whatever it is: judging goes on, and no reaction disturbs the measurement.
LIMITS = Limits(age=1e9, lost=None, silence=None, grace=0.0)
# For what has been sent to reach the receiver's queue.
_TRANSFER_SECONDS = 0.5
_MORE = int(zmq.SNDMORE)


class Counter(StreamHandler):
    """Counts its messages."""

    received = 0

    def on_message(self, frames: list[bytes]) -> None:
        """Count one message."""
        self.received += 1


class GuardedCounter(SnailSubscriber):
    """Counts its messages, and is judged."""

    received = 0

    def on_message(self, frames: list[bytes]) -> None:
        """Count one message."""
        self.received += 1


def publish_stamped(pipe: Pipe, size: int, count: int, publisher: bytes, stamped: bool) -> None:
    """Role: an XPUB that waits for a subscription, then publishes everything at once."""
    socket = open_socket(zmq.XPUB, bind=LOOPBACK)
    pipe.send(endpoint_of(socket))
    socket.recv()
    pipe.recv()
    send = super(zmq.Socket, socket).send
    origin, body = encode_origin(publisher, int(time.time())), bytes(size)  # noqa: TID251 - a stamp
    sequence = 0
    for _ in range(count // len(TOPICS)):
        sent_at = time.time()  # noqa: TID251 - a stamp
        for topic in TOPICS:
            sequence += 1
            send(topic, _MORE)
            if stamped:
                send(body, _MORE)
                send(encode_stamp(origin, sequence, sent_at), 0)
            else:
                send(body, 0)
    pipe.send("sent")
    pipe.poll(None)


def without_guard(pipe: Pipe, endpoints: list[str], count: int, seconds: float) -> None:
    """Role: a StreamHandler that counts."""

    def handler(reactor: Reactor) -> Counter:
        return Counter(
            reactor.open_stream(
                zmq.SUB, *endpoints, unmarked="connect", subscribe=(b"",), options={zmq.RCVHWM: 0}
            )
        )

    asyncio.run(_count(pipe, handler, count, seconds))


def with_guard(
    pipe: Pipe, endpoints: list[str], count: int, seconds: float, *prefixes: bytes
) -> None:
    """Role: a SnailSubscriber that counts."""

    def handler(_: Reactor) -> GuardedCounter:
        return GuardedCounter(
            ",".join(endpoints), prefixes or (b"",), limits=LIMITS, high_water_mark=0
        )

    asyncio.run(_count(pipe, handler, count, seconds))


async def _count(pipe: Pipe, make_handler: Any, count: int, seconds: float) -> None:
    async with Reactor() as reactor:
        handler = make_handler(reactor)
        reactor.register(handler)
        handler.stream.pause()
        await asyncio.sleep(0.2)  # the connections stand, and the publishers wait for a word
        pipe.send("ready")
        pipe.recv()
        await asyncio.sleep(_TRANSFER_SECONDS)
        meter = Meter(count, seconds)
        handler.stream.resume()
        await meter.watch(lambda: handler.received)
        pipe.send(meter.result())


def measure(settings: Settings, round_: int) -> Iterator[Sample]:
    """Yield one rate of every kind of receiver at every size."""
    for size in SIZES:
        count = limit(size, settings.quick) // 5  # they all wait in memory
        half = tuple(b"topic00%d" % digit for digit in range(5))
        cases: list[tuple[str, Any, int, bool, tuple[bytes, ...]]] = [
            ("no guard", without_guard, 1, True, ()),
            (REACTOR, with_guard, 1, True, ()),
            ("filtered", with_guard, 1, True, half),
            ("two publishers", with_guard, 2, True, ()),
            ("no guard, two publishers", without_guard, 2, True, ()),
            ("unstamped", without_guard, 1, False, ()),
        ]
        for peer, receiver, publishers, stamped, prefixes in cases:
            with ExitStack() as stack:
                share = count // publishers
                feeds = [
                    stack.enter_context(Role(publish_stamped, size, share, b"feed-%d" % n, stamped))
                    for n in range(publishers)
                ]
                endpoints = [feed.get() for feed in feeds]
                role = Role(receiver, endpoints, count, settings.seconds, *prefixes)
                receiving = stack.enter_context(role)
                receiving.get()
                for feed in feeds:
                    feed.put("go")
                for feed in feeds:
                    feed.get()
                receiving.put("go")
                yield from receiving.get().samples("snail", peer, round_, size)


def main() -> None:
    """Run this measurement by itself."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.snail", description=__doc__)
    parser.add_argument("--rounds", type=int, help="default 5")
    parser.add_argument("--seconds", type=float, default=1.0, help="for each sample, at most")
    parser.add_argument("--quick", action="store_true", help="2 rounds, a quarter of the messages")
    options = parser.parse_args()
    rounds = options.rounds or (2 if options.quick else 5)
    settings = Settings(rounds, options.seconds, options.quick)
    samples = []
    for number in range(1, rounds + 1):
        print(f"round {number} of {rounds}", file=sys.stderr)
        samples += measure(settings, number)
    print(render(samples, TARGETS))


if __name__ == "__main__":
    main()
