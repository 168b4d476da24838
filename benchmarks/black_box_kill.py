"""Black box: what a worker that is killed costs, while messages keep coming.

A publisher sends numbered messages of 100 keys at a steady rate to a box of two process workers,
and worker 0 is killed with SIGKILL again and again. Every worker writes down what it handles. At
the end that record is compared with what was published, key by key, and with the box's books.

`python -m benchmarks.black_box_kill` takes about half a minute.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import tempfile
from collections import defaultdict
from pathlib import Path
from statistics import median
from time import perf_counter, sleep  # noqa: TID251 - the sender has no loop

import structlog
import zmq

from benchmarks.ends import LOOPBACK, endpoint_of
from benchmarks.processes import Pipe, Role
from patterns.black_box import BlackBox, Delivery, QueuePolicy, Work
from reactor import Reactor

KEYS = 100
_RECORD = "BLACK_BOX_RECORD"
_BURST_SECONDS = 0.01
_PATIENCE_SECONDS = 60.0


class Record(Work):
    """Writes down each message as a line; a line is one write, and survives its writer."""

    def on_start(self) -> None:
        """Open the record that all workers share."""
        self._file = os.open(os.environ[_RECORD], os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def on_message(self, frames: list[bytes]) -> None:
        """Write down its key and number."""
        os.write(self._file, b" ".join(frames) + b"\n")


def publish_numbered(pipe: Pipe, count: int, rate: float) -> None:
    """Role: an XPUB that drops nothing and sends `count` messages, `rate` a second."""
    with zmq.Context() as context, context.socket(zmq.XPUB) as socket:
        socket.set(zmq.XPUB_NODROP, 1)
        socket.bind(LOOPBACK)
        pipe.send(endpoint_of(socket))
        socket.recv()
        began = perf_counter()
        for number in range(count):
            if number % 100 == 0:
                sleep(max(0.0, began + number / rate - perf_counter()))
            socket.send_multipart([b"key%d" % (number % KEYS), b"%d" % (number // KEYS)])
        pipe.poll(None)


async def run_with_kills(delivery: Delivery, count: int, rate: float, kills: int) -> None:
    """Publish all, kill worker 0 so many times on the way, and print what became of it."""
    with tempfile.TemporaryDirectory() as folder, Role(publish_numbered, count, rate) as publisher:
        record = Path(folder) / "record"
        os.environ[_RECORD] = str(record)
        endpoint = publisher.get()
        box = BlackBox(endpoint, Record, delivery=delivery, policy=QueuePolicy.STOP_READING)
        async with Reactor(stop_timeout=5.0) as reactor:
            await reactor.register(box)
            silences = [await kill_one(reactor, box, count / rate / kills) for _ in range(kills)]
            await box.foreman.wait_for(lambda: received(box) == count and box.idle, count / rate)
            report(box, delivery, count, silences, in_record(record))


async def kill_one(reactor: Reactor, box: BlackBox, every: float) -> float:
    """Kill worker 0 and return for how long its shard handled nothing; takes `every` seconds."""
    began = reactor.now()
    await box.foreman.wait_for(lambda: in_hand(box) > 0, _PATIENCE_SECONDS)
    pid, shard = box.foreman.pids[0], box.protocol.shards[0]
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    killed_at = reactor.now()
    await box.foreman.wait_for(lambda: box.foreman.pids[0] != pid, _PATIENCE_SECONDS)
    handled = shard.handled
    await box.foreman.wait_for(lambda: shard.handled > handled, _PATIENCE_SECONDS)
    silence = reactor.now() - killed_at
    await asyncio.sleep(max(0.0, began + every - reactor.now()))
    return silence


def received(box: BlackBox) -> int:
    """Return how many messages came to the box."""
    return sum(shard.received for shard in box.statistics().shards)


def in_hand(box: BlackBox) -> int:
    """Return how many messages worker 0 holds."""
    return box.protocol.shards[0].in_hand


def in_record(record: Path) -> dict[bytes, list[int]]:
    """Return the numbers of each key, in the order in which they were written down."""
    numbers = defaultdict(list)
    with record.open("rb") as lines:
        for line in lines:
            key, number = line.split()
            numbers[key].append(int(number))
    return numbers


def report(
    box: BlackBox,
    delivery: Delivery,
    count: int,
    silences: list[float],
    record: dict[bytes, list[int]],
) -> None:
    """Print the box's books, and what the record says."""
    shards = box.statistics().shards
    handled, lost = (sum(getattr(s, what) for s in shards) for what in ("handled", "lost"))
    given_up = sum(s.given_up for s in shards)
    distinct = sum(len(set(numbers)) for numbers in record.values())
    lines = sum(map(len, record.values()))
    firsts = [list(dict.fromkeys(numbers)) for numbers in record.values()]
    disorder = sum(numbers != sorted(numbers) for numbers in firsts)
    print(f"{delivery.value}: {count:,} messages, worker 0 killed {shards[0].restarts} times")
    print(
        f"  books     {handled:,} handled + {lost:,} lost + {given_up:,} given up = "
        f"{handled + lost + given_up:,}; {shards[0].redelivered:,} delivered again"
    )
    print(
        f"  record    {distinct:,} different messages, {lines - distinct:,} of them twice; "
        f"keys out of order: {disorder} of {len(record)}"
    )
    print(
        f"  shard 0   nothing handled for {median(silences):.2f} s "
        f"[{min(silences):.2f}-{max(silences):.2f}] after each kill; "
        f"shard 1 lost {shards[1].lost}, restarts {shards[1].restarts}"
    )


def main() -> None:
    """Run both kinds of delivery."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.black_box_kill")
    parser.add_argument("--count", type=int, default=200_000)
    parser.add_argument("--rate", type=float, default=20_000.0, help="messages a second")
    parser.add_argument("--kills", type=int, default=5)
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))  # deaths are meant
    for delivery in Delivery:
        asyncio.run(run_with_kills(delivery, options.count, options.rate, options.kills))


if __name__ == "__main__":
    main()
