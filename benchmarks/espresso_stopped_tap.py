"""A tap whose reader is stopped (SIGSTOP) while a million messages pass: what it costs, and counts.

    python -m benchmarks.espresso_stopped_tap [--count 1000000] [--seconds 10]

Publisher, proxy, subscriber and reader are processes. The first round has a reader that reads, the
second one that is stopped from before the first message until after the last. A hundred bytes a
message, paced over so many seconds. Every message must be accounted for, at each place.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
from contextlib import ExitStack
from dataclasses import asdict
from time import perf_counter, sleep  # noqa: TID251 - the sender has no loop
from typing import Any

import zmq

from benchmarks.ends import LOOPBACK, open_socket
from benchmarks.processes import Pipe, Role
from patterns.espresso import Direction, EndpointTap, Espresso, Filter
from reactor import Reactor

BODY = 90
UNLIMITED = 10**9
_BATCH = 500


def pace(pipe: Pipe, upstream: str, count: int, seconds: float) -> None:
    """Role: an XPUB that sends so many messages over so many seconds when told to begin."""
    socket = open_socket(zmq.XPUB, connect=upstream)
    socket.recv()  # the subscriber
    pipe.send("ready")
    pipe.recv()
    body = bytes(BODY)
    began = perf_counter()
    for number in range(count):
        if not number % _BATCH:
            sleep(max(0.0, began + number / count * seconds - perf_counter()))
        socket.send(b"%010d" % number, zmq.SNDMORE)
        socket.send(body)
    pipe.send(perf_counter() - began)
    pipe.poll(None)


def subscribe(pipe: Pipe, endpoint: str, count: int) -> None:
    """Role: a SUB that takes everything, and tells the longest silence and whether all came."""
    socket = open_socket(zmq.SUB, connect=endpoint)
    pipe.send("ready")
    longest, last, in_order = 0.0, None, True
    for number in range(count):
        topic = socket.recv()
        socket.recv()
        now = perf_counter()
        if last is not None:
            longest = max(longest, now - last)
        else:
            began = now
        last = now
        in_order = in_order and topic == b"%010d" % number
    pipe.send((count / (perf_counter() - began), longest, in_order))


def proxy(pipe: Pipe) -> None:
    """Role: an Espresso with one tap; tells its statistics when asked."""

    async def main() -> None:
        tap = EndpointTap("tcp://127.0.0.1:*", Filter(direction=Direction.DOWN))
        async with Reactor() as reactor:
            espresso = Espresso(
                frontend=f"@{LOOPBACK}",
                backend=f"@{LOOPBACK}",
                taps=[tap],
                high_water_mark=UNLIMITED,
            )
            await reactor.register(espresso)
            pipe.send((*espresso.bound_endpoints, tap.endpoint))
            while not tap.wants_records:
                await asyncio.sleep(0.01)
            pipe.send("tapped")
            while not pipe.poll():
                await asyncio.sleep(0.05)
            for _ in range(20):  # until the figures rest
                espresso.request_totals()
                await asyncio.sleep(0.05)
            pipe.send((asdict(espresso.statistics()), asdict(tap.statistics())))
            await reactor.stopped()

    asyncio.run(main())


def read(pipe: Pipe, endpoint: str) -> None:
    """Role: a SUB of the tap's messages; tells how many it has when nothing comes for 2 seconds."""
    socket = open_socket(zmq.SUB, connect=endpoint)
    socket.unsubscribe(b"")
    socket.subscribe(b">")
    pipe.send(os.getpid())
    received = 0
    while True:
        while socket.poll(2000 if received else None):
            socket.recv_multipart()
            received += 1
        pipe.send(received)
        pipe.poll(None)


def round_(count: int, seconds: float, stopped: bool) -> None:
    """Run one round and print what happened."""
    with ExitStack() as stack:
        espresso = stack.enter_context(Role(proxy))
        front, back, tap = espresso.get()
        reader = stack.enter_context(Role(read, tap))
        pid = reader.get()
        espresso.get()
        subscriber = stack.enter_context(Role(subscribe, back, count))
        subscriber.get()
        publisher = stack.enter_context(Role(pace, front, count, seconds))
        publisher.get()
        if stopped:
            os.kill(pid, signal.SIGSTOP)
        publisher.put("begin")
        took = publisher.get(seconds * 6 + 30)
        subscribed = subscriber.get(60)
        if stopped:
            os.kill(pid, signal.SIGCONT)
        received = reader.get(60)
        espresso.put("statistics")
        statistics, figures = espresso.get()
    report(count, stopped, took, subscribed, received, statistics, figures)


def report(
    count: int,
    stopped: bool,
    took: float,
    subscribed: tuple[float, float, bool],
    received: int,
    statistics: dict[str, Any],
    tap: dict[str, Any],
) -> None:
    """Print one round."""
    rate, silence, in_order = subscribed
    lost = statistics["lost_frames"] // 2
    print(f"reader {'stopped' if stopped else 'reading'}: {count:,} messages sent in {took:.1f} s")
    print(
        f"  subscriber  {rate:,.0f} msg/s, longest silence {silence * 1000:.0f} ms, "
        f"{'all in order' if in_order else 'OUT OF ORDER'}"
    )
    print(f"  proxy       {statistics['frames_down'] // 2:,} passed; capture lost {lost:,}")
    print(
        f"  tap         {tap['matched']:,} taken = {tap['delivered']:,} delivered "
        f"+ {tap['dropped']:,} dropped; {tap['matched'] + lost:,} of {count:,} accounted for"
    )
    print(f"  reader      {received:,} received")


def main() -> None:
    """Run both rounds."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.espresso_stopped_tap")
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=float, default=10.0)
    options = parser.parse_args()
    for stopped in (False, True):
        round_(options.count, options.seconds, stopped)


if __name__ == "__main__":
    main()
