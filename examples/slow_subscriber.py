"""A subscriber that is slower than its feed: how old is what it works on, conflated and plain?

The feed updates every topic again and again. Both subscribers take 2 milliseconds for a message.
The plain one works through a queue that grows, so what it reads gets older and older. The other
one takes the newest value of each topic, by credit.
"""

import argparse
import asyncio
from collections.abc import Sequence

import zmq

from patterns.last_value_cache import ConflatingSubscriber, LastValueCache
from reactor import PeriodicHandler, Reactor, Stream, StreamHandler

LAST_LINE = r"conflated: the last of \d+ messages was \d+ ms old"

TCP = "@tcp://127.0.0.1:*"
WORK_SECONDS = 0.002


class Feed(PeriodicHandler):
    """Publishes the time under every topic, 50 times a second."""

    interval = 0.02

    def __init__(self, stream: Stream, topics: int) -> None:
        super().__init__()
        self.stream = stream
        self.topics = [b"topic %02d" % number for number in range(topics)]

    def on_tick(self) -> None:
        for topic in self.topics:
            self.stream.send(topic, b"%f" % self.reactor.now())


class Ages:
    """Counts messages, and knows how old the last one was."""

    received = 0
    age = 0.0

    async def work(self, frames: list[bytes], now: float) -> None:
        self.received += 1
        self.age = now - float(frames[1])
        await asyncio.sleep(WORK_SECONDS)

    def __str__(self) -> str:
        return f"the last of {self.received} messages was {self.age * 1000:.0f} ms old"


class Plain(StreamHandler):
    ages = Ages()

    async def on_message(self, frames: list[bytes]) -> None:
        await self.ages.work(frames, self.reactor.now())


class Conflated(ConflatingSubscriber):
    ages = Ages()

    async def on_message(self, frames: list[bytes]) -> None:
        await self.ages.work(frames, self.reactor.now())


async def compare(topics: int, seconds: float) -> int:
    async with Reactor() as reactor:
        source = reactor.open_stream(zmq.PUB, TCP, name="feed")
        cache = LastValueCache(frontend=source.endpoint, backend=TCP, conflated=TCP)
        reactor.register(cache)
        behind, conflated = cache.bound_endpoints
        print(f"ready {behind} {conflated}", flush=True)
        plain = Plain(reactor.open_stream(zmq.SUB, f">{behind}", subscribe=(b"",)))
        slow = Conflated(conflated, credit=topics)
        reactor.register(plain, slow, Feed(source, topics))
        reactor.call_later(seconds, reactor.stop)
        await reactor.stopped()
    print(f"plain: {plain.ages}")
    print(f"conflated: {slow.ages}")
    return 0 if slow.ages.age < plain.ages.age else 1


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--topics", type=int, default=20, help="topics there are (default: 20)")
    parser.add_argument("--seconds", type=float, default=3.0, help="time to watch (default: 3)")
    options = parser.parse_args(argv)
    return asyncio.run(compare(options.topics, options.seconds))


if __name__ == "__main__":
    raise SystemExit(main())
