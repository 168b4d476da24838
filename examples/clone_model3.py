"""Clone, Model Three: clients write, and all see all updates in one order."""

import argparse
import asyncio
from collections.abc import Sequence

from patterns.clone import model3
from reactor import Reactor

LAST_LINE = r"both clients hold the same \d+ keys"


async def write(client: model3.Client, name: str, count: int) -> None:
    await client.wait_live()
    for number in range(count):
        await client.set(f"{name}-{number}", str(number))
        await client.set("last", name)  # both write it; the server decides who was the last one


async def share(port: int, count: int, seconds: float) -> int:
    async with asyncio.timeout(seconds), Reactor() as reactor:
        server = model3.Server(port)
        reactor.register(server)
        print(f"ready {server.endpoint}", flush=True)
        async with model3.Client(server.endpoint) as ann, model3.Client(server.endpoint) as bob:
            await asyncio.gather(write(ann, "ann", count), write(bob, "bob", count))
            # What each has written is done, what the other one has may be on its way.
            while ann.statistics_of_client().sequence != bob.statistics_of_client().sequence:
                await asyncio.sleep(0.01)
            same = ann.items() == bob.items()
            keys = len(ann.items())
    print(f"both clients hold the same {keys} keys" if same else "the clients differ")
    return 0 if same else 1


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="the Guide's is 5556 (default: any)")
    parser.add_argument(
        "--count", type=int, default=5, help="keys that each client writes (default: 5)"
    )
    parser.add_argument("--seconds", type=float, default=20.0, help="give up after (default: 20)")
    options = parser.parse_args(argv)
    return asyncio.run(share(options.port, options.count, options.seconds))


if __name__ == "__main__":
    raise SystemExit(main())
