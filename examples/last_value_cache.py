"""Last value cache: what a late subscriber has got after a while, with the cache and without it.

A feed publishes every topic once, and from then on one of them now and then. Two subscribers come
late: one asks the cache, the other one the feed itself.
"""

import argparse
import asyncio
import random
from collections.abc import Sequence

import zmq

from patterns.last_value_cache import LastValueCache
from reactor import Reactor, Stream, StreamHandler

LAST_LINE = r"without it: \d+ of \d+ topics after \d+ ms"

TCP = "@tcp://127.0.0.1:*"


class Feed(StreamHandler):
    """Publishes all topics when somebody has subscribed, then one of them every `interval` s."""

    def __init__(self, stream: Stream, topics: int, interval: float) -> None:
        super().__init__(stream)
        self.topics = [b"topic %06d" % number for number in range(topics)]
        self.interval = interval
        self.updates = 0

    def on_message(self, frames: list[bytes]) -> None:
        if frames == [b"\x01"] and not self.updates:  # an XPUB hears of subscriptions: the cache's
            for topic in self.topics:
                self.publish(topic)
            self.reactor.periodic(self.interval, lambda: self.publish(random.choice(self.topics)))

    def publish(self, topic: bytes) -> None:
        self.updates += 1
        self.send(topic, b"update %d" % self.updates)


class LateSubscriber(StreamHandler):
    """Notes which topics it has got, and how long it took until all were there."""

    def __init__(self, stream: Stream, expected: int) -> None:
        super().__init__(stream)
        self.expected = expected
        self.topics: set[bytes] = set()
        self.seconds = 0.0

    def on_start(self) -> None:
        self.came_at = self.reactor.now()

    def on_message(self, frames: list[bytes]) -> None:
        if not self.complete:
            self.topics.add(frames[0])
            self.seconds = self.reactor.now() - self.came_at

    def on_stop(self) -> None:
        if not self.complete:
            self.seconds = self.reactor.now() - self.came_at

    @property
    def complete(self) -> bool:
        return len(self.topics) == self.expected

    def __str__(self) -> str:
        return f"{len(self.topics)} of {self.expected} topics after {self.seconds * 1000:.0f} ms"


async def compare(topics: int, interval: float, seconds: float) -> int:
    async with Reactor() as reactor:
        # Room for the first round: a PUB drops what it has no room for.
        stream = reactor.open_stream(zmq.XPUB, TCP, name="feed", options={zmq.SNDHWM: 2 * topics})
        feed = Feed(stream, topics, interval)
        cache = LastValueCache(frontend=f">{stream.endpoint}", backend=TCP)
        reactor.register(feed, cache)
        (endpoint,) = cache.bound_endpoints
        print(f"ready {endpoint}", flush=True)

        async with asyncio.timeout(10.0):
            while len(cache.values) < topics:
                await asyncio.sleep(0.01)
        with_cache, without = (
            LateSubscriber(reactor.open_stream(zmq.SUB, f">{e}", subscribe=(b"",)), topics)
            for e in (endpoint, stream.endpoint)
        )
        reactor.register(with_cache, without)
        reactor.call_later(seconds, reactor.stop)
        await reactor.stopped()
    print(f"with the cache: {with_cache}")
    print(f"without it: {without}")
    return 0 if with_cache.complete else 1


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--topics", type=int, default=1000, help="topics there are (default: 1000)")
    parser.add_argument(
        "--interval", type=float, default=0.05, help="seconds between updates (default: 0.05)"
    )
    parser.add_argument("--seconds", type=float, default=2.0, help="time to watch (default: 2)")
    options = parser.parse_args(argv)
    return asyncio.run(compare(options.topics, options.interval, options.seconds))


if __name__ == "__main__":
    raise SystemExit(main())
