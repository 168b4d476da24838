"""Espresso: the trace of the Guide, two subscriptions, five messages, two unsubscriptions."""

import argparse
import asyncio
from collections.abc import Sequence

import zmq

from patterns.espresso import Espresso, HandlerTap, Kind, Record
from reactor import Reactor, Stream, StreamHandler

LAST_LINE = r"4 subscription records and (\d+) of \1 messages in the trace"
KERNEL = "@tcp://127.0.0.1:*"
MARKS = {Kind.MESSAGE: ">", Kind.SUBSCRIBE: "+", Kind.UNSUBSCRIBE: "-"}
LETTERS = "ABCDEFGHIJ"


class Publisher(StreamHandler):
    """Publishes letters with a number, until `count` of them were an A or a B."""

    def __init__(self, stream: Stream, count: int) -> None:
        super().__init__(stream)
        self.subscribed: set[bytes] = set()
        self.left = count
        self.number = 0

    def on_message(self, frames: list[bytes]) -> None:
        self.subscribed.add(frames[0])
        if self.subscribed == {b"\x01A", b"\x01B"}:  # both are here: not before
            self.publish()

    def publish(self) -> None:
        while self.left:
            letter = LETTERS[self.number % len(LETTERS)]
            self.send(f"{letter}-{self.number:05}".encode())
            self.number += 1
            self.left -= letter in "AB"


class Subscriber(StreamHandler):
    """Reads `count` messages, then leaves: its connection ends, and with it what it wanted."""

    def __init__(self, stream: Stream, count: int) -> None:
        super().__init__(stream)
        self.left = count

    def on_message(self, frames: list[bytes]) -> None:
        self.left -= 1
        if self.left == 0:
            self.stream.close()


class Trace:
    """Prints what goes through the proxy, and stops at the second unsubscription."""

    def __init__(self, reactor: Reactor) -> None:
        self.reactor = reactor
        self.messages = 0
        self.subscriptions = 0

    def show(self, record: Record) -> None:
        self.messages += record.kind is Kind.MESSAGE
        self.subscriptions += record.kind is not Kind.MESSAGE
        print(MARKS[record.kind], record.topic.decode(), flush=True)
        if self.subscriptions == 4:
            self.reactor.stop()


async def espresso(count: int, seconds: float) -> int:
    async with Reactor() as reactor:
        trace = Trace(reactor)
        proxy = Espresso(frontend=KERNEL, backend=KERNEL, taps=[HandlerTap(trace.show)])
        await reactor.register(proxy)
        front, back = proxy.bound_endpoints
        print(f"ready at {front} and {back}", flush=True)
        publisher = reactor.open_stream(zmq.XPUB, f">{front}", name="publisher")
        subscriber = reactor.open_stream(
            zmq.SUB, f">{back}", name="subscriber", subscribe=(b"A", b"B")
        )
        reactor.register(Publisher(publisher, count), Subscriber(subscriber, count))
        reactor.call_later(seconds, reactor.stop)
        await reactor.stopped()
    print(
        f"{trace.subscriptions} subscription records and {trace.messages} of {count} messages "
        "in the trace"
    )
    return 0 if (trace.subscriptions, trace.messages) == (4, count) else 1


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=5, help="messages to read (default: 5)")
    parser.add_argument("--seconds", type=float, default=10.0, help="give up after (default: 10)")
    options = parser.parse_args(argv)
    return asyncio.run(espresso(options.count, options.seconds))


if __name__ == "__main__":
    raise SystemExit(main())
