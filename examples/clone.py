"""Clone: two clients share one map; one of them writes, the other one watches."""

import argparse
import asyncio
from collections.abc import Sequence

from patterns.clone.client import CloneClient, Deleted, Expired, Live, Put
from patterns.clone.handlers import CloneServer
from reactor import Reactor

LAST_LINE = r"both clients hold the same \d+ keys"


async def write(client: CloneClient, count: int) -> None:
    await client.wait_live()
    for number in range(count):
        # Not done until the server has published it: from then on it is there for everybody.
        await client.set(f"/rates/{number}", str(1000 + number))
    await client.delete("/rates/0")
    await client.set("/rates/offer", "only for a second", ttl=1)


async def watch(client: CloneClient) -> None:
    """Print what changes below /rates/, until the offer is over."""
    async for event in client.watch("/rates/"):
        match event:
            case Live():
                print("live: what comes now has just happened")
            case Put(key, body, added):
                print(f"{'new' if added else 'changed'}: {key.decode()} = {body.decode()}")
            case Deleted(key):
                print(f"deleted: {key.decode()}")
            case Expired(key):
                print(f"its time is over: {key.decode()}")
                return


async def gone(client: CloneClient, key: str) -> None:
    """Wait until the client knows that a key is gone."""
    async for _ in client.watch(key):
        if client.get(key) is None:
            return


async def share(count: int, seconds: float) -> int:
    async with Reactor() as reactor:
        server = CloneServer(port=0)
        reactor.register(server)
        print(f"ready {server.endpoint}", flush=True)
        async with (
            asyncio.timeout(seconds),
            CloneClient(server.endpoint) as writer,
            CloneClient(server.endpoint, subtree="/rates/") as reader,
        ):
            await asyncio.gather(write(writer, count), watch(reader))
            await gone(writer, "/rates/offer")  # each client hears of it in its own time
            same = writer.items() == reader.items()
            keys = len(reader.items())
    print(f"both clients hold the same {keys} keys" if same else "the clients differ")
    return 0 if same and keys == count - 1 else 1


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=5, help="keys to write (default: 5)")
    parser.add_argument("--seconds", type=float, default=20.0, help="give up after (default: 20)")
    options = parser.parse_args(argv)
    return asyncio.run(share(options.count, options.seconds))


if __name__ == "__main__":
    raise SystemExit(main())
