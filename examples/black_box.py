"""Black box: a recorded feed, replayed at full speed, into a box of two process workers.

The feed was recorded at 1,000 messages a second, into a file that `reactor replay` reads as well.
Each message costs some microseconds of Python, and its number within its key: work that sees a key
go back raises, and would be counted as failed. Halfway, one of the two workers is killed.
"""

import argparse
import asyncio
import os
import signal
import tempfile
from collections.abc import Sequence
from pathlib import Path

from patterns.black_box import BlackBox, Delivery, QueuePolicy, Work
from patterns.espresso import Kind, RecordFile, Replay
from reactor import Reactor

LAST_LINE = r"(\d+) of \1 messages handled, 0 out of order"

KEYS = 100
FEED_RATE = 1000.0  # messages a second, when it was recorded
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
    """Write a feed down as `reactor record` does: two frames, a key and its number within it."""
    recording = RecordFile(file)
    recording.open(began=0.0, wall=0.0)
    for number in range(count):
        key, body = b"key%d" % (number % KEYS), b"%d" % (number // KEYS)
        recording.append(number / FEED_RATE, Kind.MESSAGE, (key, body))
    recording.close()


async def example(file: Path, count: int) -> int:
    record(file, count)
    with file.open("rb") as recording:
        # Speed 0 is as fast as it is taken; it begins when the box has subscribed.
        replay = Replay(recording, "tcp://127.0.0.1:*", speed=0, on_done=lambda: None)
        async with Reactor(stop_timeout=5.0) as reactor:
            await reactor.register(replay)
            box = BlackBox(
                replay.bound_endpoint,
                Check,
                workers=2,
                policy=QueuePolicy.STOP_READING,  # a replay can wait, a live feed cannot
                delivery=Delivery.AT_LEAST_ONCE,
            )
            await reactor.register(box)
            began = reactor.now()
            workers = list(box.foreman.pids.values())
            print(f"ready at {replay.bound_endpoint}, workers {workers}", flush=True)
            await handle_with_a_kill(box, count)
            return report(box, count, reactor.now() - began)


async def handle_with_a_kill(box: BlackBox, count: int) -> None:
    """Wait until all is handled; halfway, kill a worker."""
    await box.foreman.wait_for(lambda: handled(box) > count // 2, 20.0)
    victim = box.foreman.pids[0]
    if victim is not None:
        os.kill(victim, signal.SIGKILL)
    await box.foreman.wait_for(lambda: handled(box) >= count, 20.0)


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
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(example(Path(folder) / "feed.esp", count))


if __name__ == "__main__":
    raise SystemExit(main())
