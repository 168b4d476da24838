"""The processes of a benchmark: a publisher, one plain subscriber, and boxes.

Each is started as `python -m patterns.commands.bench.roles ROLE ...` and says in a line on standard
output what it has found. When its standard input ends, whoever started it is gone, and so is it.

The publisher waits where a queue is full (XPUB_NODROP): nothing is dropped, memory is bounded, and
all go as fast as the slowest lets them.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import threading
from collections.abc import Callable, Sequence

import zmq
from zmq.backend import Socket as BackendSocket

from patterns.black_box import BlackBox, PrefixBox, PumpingBox, QueuePolicy
from patterns.commands.bench.work import spin
from reactor import Reactor, StreamHandler

# A topic has ten bytes; the first nine make a hundred prefixes.
PREFIXES = tuple(b"topic%04d" % number for number in range(100))
_TOPICS = tuple(b"%s%d" % (prefix, last) for prefix in PREFIXES for last in range(10))
_WORK = "patterns.commands.bench.work:spin"
_HIGH_WATER_MARK = 10_000
_SETTLE_SECONDS = 0.3
_POLL_SECONDS = 0.02
_NEVER_SECONDS = 1e9

AnyBox = BlackBox | PumpingBox | PrefixBox


def publish(size: int, subscriptions: int) -> None:
    """Say the endpoint, wait for so many subscriptions, publish bodies of `size` bytes for ever."""
    with zmq.Context() as context, context.socket(zmq.XPUB) as socket:
        socket.set(zmq.XPUB_NODROP, 1)
        socket.set_hwm(_HIGH_WATER_MARK)
        socket.bind("tcp://127.0.0.1:*")
        print(socket.get_string(zmq.LAST_ENDPOINT), flush=True)
        for _ in range(subscriptions):
            socket.recv()
        # pyzmq's own send looks at its arguments for longer than libzmq takes to send.
        send, body, more = BackendSocket.send, bytes(size), int(zmq.SNDMORE)
        while True:
            for topic in _TOPICS:
                send(socket, topic, more)
                send(socket, body)


class _Subscriber(StreamHandler):
    """Works in its hook, as anybody would."""

    received = 0

    def on_message(self, frames: list[bytes]) -> None:
        spin(frames)
        self.received += 1


async def subscribe(endpoint: str, seconds: float) -> float:
    """Return how many messages a second one plain subscriber handles."""
    async with Reactor() as reactor:
        stream = reactor.open_stream(
            zmq.SUB, f">{endpoint}", subscribe=(b"",), options={zmq.RCVHWM: _HIGH_WATER_MARK}
        )
        subscriber = _Subscriber(stream)
        await reactor.register(subscriber)
        return await _rate(reactor, lambda: subscriber.received, seconds)


def keyed(endpoint: str, workers: int) -> AnyBox:
    """Return a box that keeps the order of each key, and waits rather than drop."""
    return BlackBox(
        endpoint,
        _WORK,
        workers=workers,
        policy=QueuePolicy.STOP_READING,
        queue_limit=_HIGH_WATER_MARK,
        late=_NEVER_SECONDS,  # what floods it always waits
    )


def pump(endpoint: str, workers: int) -> AnyBox:
    """Return a box that libzmq pumps for."""
    return PumpingBox(endpoint, _WORK, workers=workers, high_water_mark=_HIGH_WATER_MARK)


def prefix(endpoint: str, workers: int) -> AnyBox:
    """Return a box whose workers subscribe each to its share of the prefixes."""
    return PrefixBox(endpoint, _WORK, parts=[PREFIXES[n::workers] for n in range(workers)])


BOXES: dict[str, Callable[[str, int], AnyBox]] = {"keyed": keyed, "pump": pump, "prefix": prefix}


async def spread(endpoint: str, kind: str, workers: int, seconds: float) -> float:
    """Return how many messages a second a box handles."""
    async with Reactor(stop_timeout=1.0) as reactor:
        box = BOXES[kind](endpoint, workers)
        await reactor.register(box)
        return await _rate(
            reactor, lambda: sum(shard.handled for shard in box.statistics().shards), seconds
        )


async def _rate(reactor: Reactor, count: Callable[[], int], seconds: float) -> float:
    """Return by how much `count()` grows a second, once it grows steadily."""
    while not count():
        await asyncio.sleep(_POLL_SECONDS)
    await asyncio.sleep(_SETTLE_SECONDS)
    began, before = reactor.now(), count()
    await asyncio.sleep(seconds)
    return (count() - before) / (reactor.now() - began)


def main(argv: Sequence[str] | None = None) -> None:
    """Play one role."""
    parser = argparse.ArgumentParser(prog="python -m patterns.commands.bench.roles")
    roles = parser.add_subparsers(dest="role", required=True)
    publisher = roles.add_parser("publish")
    publisher.add_argument("--size", type=int, required=True)
    publisher.add_argument("--subscriptions", type=int, required=True)
    subscriber, box = roles.add_parser("subscribe"), roles.add_parser("spread")
    for receiver in (subscriber, box):
        receiver.add_argument("endpoint")
        receiver.add_argument("--seconds", type=float, required=True)
    box.add_argument("--kind", choices=list(BOXES), required=True)
    box.add_argument("--workers", type=int, required=True)
    options = vars(parser.parse_args(argv))
    threading.Thread(target=_end_with_stdin, name="leash", daemon=True).start()
    role = options.pop("role")
    if role == "publish":
        publish(**options)
    else:
        receive = subscribe if role == "subscribe" else spread
        print(asyncio.run(receive(**options)), flush=True)


def _end_with_stdin() -> None:
    while os.read(sys.stdin.fileno(), 4096):
        pass
    os._exit(1)  # a publisher in the middle of a send hears of nothing else


if __name__ == "__main__":
    main()
