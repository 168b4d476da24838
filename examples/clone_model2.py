"""Clone, Model Two: a client that comes late has everything all the same."""

import argparse
import asyncio
from collections.abc import Sequence

from patterns.clone import model2
from reactor import Reactor

LAST_LINE = r"the late client holds all (\d+) of \1 keys"


async def join(port: int, count: int, seconds: float) -> int:
    async with asyncio.timeout(seconds), Reactor() as reactor:
        server = model2.Server(port)
        reactor.register(server)
        print(f"ready {server.endpoint}", flush=True)
        for number in range(count):
            server.set(b"key-%d" % number, b"%d" % (1000 + number))
        async with model2.Client(server.endpoint) as client:
            await client.wait_live()
            print(f"in the snapshot: {len(client.items())} keys")
            server.set(b"late", b"published after it")
            while client.get("late") is None:
                await asyncio.sleep(0.01)
            held = len(client.items())
    print(f"the late client holds all {held} of {count + 1} keys")
    return 0 if held == count + 1 else 1


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="the Guide's is 5556 (default: any)")
    parser.add_argument("--count", type=int, default=5, help="keys to publish (default: 5)")
    parser.add_argument("--seconds", type=float, default=20.0, help="give up after (default: 20)")
    options = parser.parse_args(argv)
    return asyncio.run(join(options.port, options.count, options.seconds))


if __name__ == "__main__":
    raise SystemExit(main())
