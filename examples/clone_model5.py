"""Clone, Model Five: a value with a time to live goes away by itself, at every client."""

import argparse
import asyncio
from collections.abc import Sequence

from patterns.clone import model5
from reactor import Reactor

LAST_LINE = r"left are \d+ of \d+ keys: those that were to stay"


async def expire(port: int, count: int, seconds: float) -> int:
    async with asyncio.timeout(seconds), Reactor() as reactor:
        server = model5.Server(port)
        reactor.register(server)
        print(f"ready {server.endpoint}", flush=True)
        async with model5.Client(server.endpoint, "/offers/") as client:
            await client.wait_live()
            for number in range(count):
                await client.set(f"/offers/today-{number}", str(number), ttl=1)
                await client.set(f"/offers/always-{number}", str(number))
            print(f"written: {len(client.items())} keys")
            while any(b"today" in key for key, _ in client.items()):
                await asyncio.sleep(0.01)
            left = len(client.items())
    print(f"left are {left} of {2 * count} keys: those that were to stay")
    return 0 if left == count else 1


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="the Guide's is 5556 (default: any)")
    parser.add_argument("--count", type=int, default=5, help="keys of each kind (default: 5)")
    parser.add_argument("--seconds", type=float, default=20.0, help="give up after (default: 20)")
    options = parser.parse_args(argv)
    return asyncio.run(expire(options.port, options.count, options.seconds))


if __name__ == "__main__":
    raise SystemExit(main())
