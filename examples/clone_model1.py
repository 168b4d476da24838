"""Clone, Model One: a server publishes; a client has what it was there for."""

import argparse
import asyncio
from collections.abc import Sequence

from patterns.clone import model1
from reactor import Reactor

LAST_LINE = r"updates that came too early for the client: \d+"


class Client(model1.Client):
    def on_update(self, key: bytes, body: bytes) -> None:
        print(f"{key.decode()} = {body.decode()}")


async def publish(port: int, count: int, seconds: float) -> int:
    async with asyncio.timeout(seconds), Reactor() as reactor:
        server = model1.Server(port)
        reactor.register(server)
        print(f"ready {server.endpoint}", flush=True)
        client = Client(server.endpoint)
        reactor.register(client)
        published = 0
        while client.updates < count:
            server.set(b"key-%d" % published, b"%d" % (1000 + published))
            published += 1
            await asyncio.sleep(0.01)  # the subscription is on its way; nobody says when it arrives
    print(f"updates that came too early for the client: {published - client.updates}")
    return 0 if client.lost == 0 else 1


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="the Guide's is 5556 (default: any)")
    parser.add_argument("--count", type=int, default=5, help="updates to receive (default: 5)")
    parser.add_argument("--seconds", type=float, default=20.0, help="give up after (default: 20)")
    options = parser.parse_args(argv)
    return asyncio.run(publish(options.port, options.count, options.seconds))


if __name__ == "__main__":
    raise SystemExit(main())
