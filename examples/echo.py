"""Echo: a ROUTER that returns what it gets, and a DEALER that asks, on one reactor."""

import argparse
import asyncio
from collections.abc import Sequence

import zmq

from reactor import Reactor, Stream, StreamHandler

LAST_LINE = r"(\d+) of \1 echoes came back"


class Echo(StreamHandler):
    """Sends every message back to the peer it came from."""

    def on_message(self, frames: list[bytes]) -> None:
        self.send(*frames)  # a ROUTER puts the peer's identity first, and takes it from there


class Client(StreamHandler):
    """Asks again as soon as the echo is there, `count` times."""

    def __init__(self, stream: Stream, count: int) -> None:
        super().__init__(stream)
        self.count = count
        self.echoes = 0

    def on_start(self) -> None:
        self.send(b"echo 0")

    def on_message(self, frames: list[bytes]) -> None:
        self.echoes += frames == [b"echo %d" % self.echoes]
        if self.echoes == self.count:
            self.reactor.stop()
        else:
            self.send(b"echo %d" % self.echoes)


async def echo(count: int, seconds: float) -> int:
    async with Reactor() as reactor:
        server = reactor.open_stream(zmq.ROUTER, "@tcp://127.0.0.1:*", name="server")
        print(f"ready at {server.endpoint}", flush=True)
        client = Client(reactor.open_stream(zmq.DEALER, f">{server.endpoint}"), count)
        reactor.register(Echo(server), client)
        reactor.call_later(seconds, reactor.stop)
        await reactor.stopped()
    print(f"{client.echoes} of {count} echoes came back")
    return 0 if client.echoes == count else 1


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=5, help="echoes to ask for (default: 5)")
    parser.add_argument("--seconds", type=float, default=10.0, help="give up after (default: 10)")
    options = parser.parse_args(argv)
    return asyncio.run(echo(options.count, options.seconds))


if __name__ == "__main__":
    raise SystemExit(main())
