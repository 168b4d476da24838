"""Suicidal snail: two subscribers of one feed; the slow one notices, squawks, and leaves."""

import argparse
import asyncio
from collections.abc import Sequence

from patterns.suicidal_snail import (
    Diagnosis,
    Limits,
    Reaction,
    SnailError,
    SnailPublisher,
    SnailSubscriber,
)
from reactor import PeriodicHandler, Reactor

LAST_LINE = r"the publisher knows its slow subscribers: slow \(late\)$"
RATE = 500


class Ticks(PeriodicHandler):
    """Publishes RATE messages a second."""

    def __init__(self, publisher: SnailPublisher) -> None:
        super().__init__(1 / RATE)
        self.publisher = publisher

    def on_tick(self) -> None:
        self.publisher.publish(b"tick", b"%d" % self.publisher.statistics().published)


class Reader(SnailSubscriber):
    """Takes `seconds` over each message."""

    def __init__(self, name: str, feed: str, squawks: str, seconds: float) -> None:
        limits = Limits(age=0.5, late_for=0.25, grace=0.25, silence=None, lost=None)
        reactions = [Reaction.SQUAWK, Reaction.RAISE]
        super().__init__(
            feed, [b"tick"], limits=limits, reactions=reactions, squawks=squawks, subscriber=name
        )
        self.seconds = seconds
        self.read = 0
        self.dead = asyncio.Event()

    async def on_message(self, frames: list[bytes]) -> None:
        if not self.dead.is_set():
            self.read += 1
            await asyncio.sleep(self.seconds)  # as if it wrote to a slow disk

    def on_snail(self, diagnosis: Diagnosis) -> None:
        print(f"{self.subscriber} after {self.read} messages: {diagnosis.reason.value}", flush=True)

    def on_error(self, error: Exception) -> None:
        if isinstance(error, SnailError):
            self.dead.set()  # one of two in this process: to be unregistered, not the end of all


async def snail(seconds: float) -> int:
    async with Reactor() as reactor:
        publisher = SnailPublisher(
            "@tcp://127.0.0.1:*", b"ticks", squawks="@tcp://127.0.0.1:*", beat_interval=0.2
        )
        reactor.register(publisher)
        feed, squawks = publisher.endpoints
        print(f"ready at {feed}, squawks at {squawks}", flush=True)
        good = Reader("good", feed, squawks, seconds=0.0)
        slow = Reader("slow", feed, squawks, seconds=0.02)
        reactor.register(good, slow, Ticks(publisher))
        try:
            async with asyncio.timeout(seconds):
                await slow.dead.wait()
                reactor.unregister(slow)
                while not publisher.slow_subscribers():
                    await asyncio.sleep(0.01)
        except TimeoutError:
            print(f"nobody was slow for {seconds} s")
            return 1
        squawk = publisher.slow_subscribers()[0].squawk
        print(f"its squawk: {squawk.age:.1f} s late, {squawk.received} messages received")
        published = publisher.statistics().published
        print(f"meanwhile good has read {good.read} of {published} messages")
        listing = [
            f"{s.squawk.subscriber} ({s.squawk.reason})" for s in publisher.slow_subscribers()
        ]
        print(f"the publisher knows its slow subscribers: {', '.join(listing)}")
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=15.0, help="give up after (default: 15)")
    return asyncio.run(snail(parser.parse_args(argv).seconds))


if __name__ == "__main__":
    raise SystemExit(main())
