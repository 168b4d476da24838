"""Black box: a recorded feed, replayed at full speed, into a box of two process workers.

Each message costs some microseconds of Python, and its number within its key: work that sees a key
go back raises, and would be counted as failed. Halfway, one of the two workers is killed.
"""

import argparse
import asyncio
import os
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import structlog
import zmq

from patterns.black_box import BlackBox, Delivery, QueuePolicy, Work
from reactor import Reactor, Stream

LAST_LINE = r"(\d+) of \1 messages handled, 0 out of order"

KEYS = 100
TURNS = 500


class Check(Work):
    """Works for a while, and sees to it that no key of this worker ever goes back."""

    def __init__(self) -> None:
        self.newest: dict[bytes, int] = {}

    def on_message(self, frames: list[bytes]) -> None:
        key, number = frames[0], int(frames[1])
        for _ in range(TURNS):
            pass
        if number <= self.newest.get(key, -1):
            raise ValueError(f"{key!r} went back to {number}")
        self.newest[key] = number


def record(file: Path, count: int) -> None:
    """Write a feed down, one message a line: its key and its number within the key."""
    with file.open("wb") as lines:
        for number in range(count):
            lines.write(b"key%d %d\n" % (number % KEYS, number // KEYS))


def replay(file: Path) -> Iterator[tuple[bytes, ...]]:
    """Read a feed back, in constant memory."""
    with file.open("rb") as lines:
        for line in lines:
            yield tuple(line.split())


async def publish(feed: Stream, messages: Iterator[tuple[bytes, ...]]) -> None:
    """Publish as fast as the box reads: XPUB_NODROP tells when it has enough for now."""
    for message in messages:
        while not feed.try_send(*message):
            await asyncio.sleep(0.001)


async def example(count: int) -> int:
    async with Reactor(stop_timeout=5.0) as reactor:
        feed = reactor.open_stream(zmq.XPUB, "@tcp://127.0.0.1:*", options={zmq.XPUB_NODROP: 1})
        subscribed = asyncio.Event()
        feed.on_message(lambda frames: subscribed.set())
        box = BlackBox(
            feed.endpoint,
            Check,
            workers=2,
            policy=QueuePolicy.STOP_READING,  # a replay can wait, a live feed cannot
            delivery=Delivery.AT_LEAST_ONCE,
        )
        await reactor.register(box)
        print(f"ready at {feed.endpoint}, workers {list(box.foreman.pids.values())}", flush=True)
        await subscribed.wait()
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "feed"
            record(file, count)
            seconds = await replay_with_a_kill(reactor, box, feed, file, count)
        return report(box, count, seconds)


async def replay_with_a_kill(
    reactor: Reactor, box: BlackBox, feed: Stream, file: Path, count: int
) -> float:
    """Replay the whole feed, kill a worker halfway, and return how long all of it took."""
    began = reactor.now()
    publishing = asyncio.ensure_future(publish(feed, replay(file)))
    await box.foreman.wait_for(lambda: handled(box) > count // 2, 20.0)
    victim = box.foreman.pids[0]
    if victim is not None:
        os.kill(victim, signal.SIGKILL)
    await box.foreman.wait_for(lambda: handled(box) >= count, 20.0)
    publishing.cancel()
    return reactor.now() - began


def handled(box: BlackBox) -> int:
    return sum(shard.handled for shard in box.statistics().shards)


def report(box: BlackBox, count: int, seconds: float) -> int:
    statistics = box.statistics()
    for shard in statistics.shards:
        print(
            f"shard {shard.shard}: handled {shard.handled}, failed {shard.failed}, "
            f"lost {shard.lost}, delivered again {shard.redelivered}, restarts {shard.restarts}"
        )
    failed = sum(shard.failed for shard in statistics.shards)
    rate = count / seconds
    print(f"{rate:,.0f} messages a second, imbalance {statistics.imbalance:.2f}")
    print(f"{handled(box)} of {count} messages handled, {failed} out of order")
    return 0 if handled(box) == count and not failed else 1


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=40_000, help="messages (default: 40000)")
    count = parser.parse_args(argv).count
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    return asyncio.run(example(count))


if __name__ == "__main__":
    raise SystemExit(main())
