"""A publisher that says everything once, and a subscriber that wants one topic and comes late.

The publisher and the subscribers are plain pyzmq, in threads. First come all topics, then one of
them at random every `--interval` seconds: who missed the first round waits long for a given topic.
One late subscriber asks the publisher itself, the other one the cache.
"""

import argparse
import asyncio
import random
import threading
from collections.abc import Sequence
from time import perf_counter

import zmq

from patterns.last_value_cache import LastValueCache
from reactor import Reactor

LAST_LINE = r"with the cache: topic \d{5} after \d"

TCP = "tcp://127.0.0.1:*"


def publish(socket: zmq.Socket[bytes], topics: int, interval: float, over: threading.Event) -> None:
    """A PUB that begins when somebody is there; an XPUB, that is, which hears of that."""
    socket.recv()
    for number in range(topics):
        socket.send_multipart([b"%05d" % number, b"said once"])
    while not over.wait(interval):
        socket.send_multipart([b"%05d" % random.randrange(topics), b"said again"])


def wait_for(
    context: zmq.Context[zmq.Socket[bytes]], endpoint: str, topic: bytes, seconds: float
) -> float | None:
    """A SUB that waits for one message; how many milliseconds it took, None if it did not come."""
    with context.socket(zmq.SUB) as socket:
        began = perf_counter()
        socket.rcvtimeo = int(1000 * seconds)
        socket.subscribe(topic)
        socket.connect(endpoint)
        try:
            socket.recv_multipart()
        except zmq.Again:
            return None
        return (perf_counter() - began) * 1000


async def compare(topics: int, interval: float, seconds: float) -> int:
    topic = b"%05d" % random.randrange(topics)
    over = threading.Event()
    with zmq.Context() as context, context.socket(zmq.XPUB) as feed:
        feed.sndhwm = 2 * topics  # a PUB drops what it has no room for
        feed.linger = 0
        feed.bind(TCP)
        source = feed.get_string(zmq.LAST_ENDPOINT)
        publishing = threading.Thread(target=publish, args=(feed, topics, interval, over))
        async with Reactor(context=context) as reactor:
            cache = LastValueCache(frontend=source, backend=f"@{TCP}")
            reactor.register(cache)
            (endpoint,) = cache.bound_endpoints
            print(f"ready {endpoint}", flush=True)
            publishing.start()
            try:
                async with asyncio.timeout(10.0):
                    while len(cache.values) < topics:
                        await asyncio.sleep(0.01)
                without, cached = await asyncio.gather(
                    asyncio.to_thread(wait_for, context, source, topic, seconds),
                    asyncio.to_thread(wait_for, context, endpoint, topic, seconds),
                )
            finally:
                over.set()
                publishing.join()
    name = f"topic {topic.decode()}"
    if without is None:
        print(f"without it: nothing of {name} yet; the mean is {topics * interval:,.0f} seconds")
    else:
        print(f"without it: {name} after {without:.1f} ms, by luck")
    if cached is None:
        return 1
    print(f"with the cache: {name} after {cached:.1f} ms")
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--topics", type=int, default=1000, help="topics there are (default: 1000)")
    parser.add_argument(
        "--interval", type=float, default=1.0, help="seconds between updates (default: 1)"
    )
    parser.add_argument(
        "--seconds", type=float, default=2.0, help="time to wait for the topic (default: 2)"
    )
    options = parser.parse_args(argv)
    return asyncio.run(compare(options.topics, options.interval, options.seconds))


if __name__ == "__main__":
    raise SystemExit(main())
