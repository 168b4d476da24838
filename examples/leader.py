"""Leader election: one of several candidates leads; when it resigns or dies, another one does."""

import argparse
import asyncio
from collections.abc import Sequence

from patterns.clone.client import CloneClient, Deleted, Expired, WriteError
from patterns.clone.handlers import CloneServer
from reactor import Reactor

LAST_LINE = r"\d+ terms, never two leaders at once"
KEY = "/leader"
TTL = 1.0  # so long nobody leads when a leader has died; when it resigns, another one leads at once


class Election:
    """What the example watches: who leads at the moment, and who has led."""

    def __init__(self) -> None:
        self.leading: set[str] = set()
        self.terms: list[str] = []
        self.two_at_once = False

    def begin(self, name: str) -> None:
        self.leading.add(name)
        self.terms.append(name)
        self.two_at_once |= len(self.leading) > 1
        print(f"{name} leads", flush=True)

    def end(self, name: str, why: str) -> None:
        self.leading.discard(name)
        print(f"{name} {why}")


async def stand(election: Election, endpoint: str, name: str, term: float) -> None:
    """Be elected, lead for a while, resign, and so on; the first leader of all dies instead."""
    async with CloneClient(endpoint, subtree=KEY) as client:
        await client.wait_live()
        while True:
            lease = client.keep(KEY, name, TTL, exclusive=True)
            try:
                await lease.start()
            except WriteError:
                await vacancy(client)  # somebody else leads
                continue
            election.begin(name)
            try:
                async with asyncio.timeout(term):
                    election.end(name, f"is no leader any more: {await lease.lost()}")
            except TimeoutError:
                if len(election.terms) == 1:
                    election.end(name, "dies")
                    return  # without a word: nobody renews its value, and it expires
                election.end(name, "resigns")  # before anybody else can be told
                await lease.release()


async def vacancy(client: CloneClient) -> None:
    """Wait until nobody leads."""
    async for event in client.watch(KEY):
        if isinstance(event, Deleted | Expired) or client.get(KEY) is None:
            return


async def elect(count: int, seconds: float) -> int:
    election = Election()
    async with Reactor() as reactor:
        server = CloneServer(port=0)
        reactor.register(server)
        print(f"ready {server.endpoint}", flush=True)
        candidates = [
            asyncio.create_task(stand(election, server.endpoint, name, term=0.3))
            for name in ("ann", "ben", "cyd")
        ]
        try:
            async with asyncio.timeout(seconds):
                while len(election.terms) < count:
                    await asyncio.sleep(0.05)
        finally:
            for candidate in candidates:
                candidate.cancel()
            await asyncio.gather(*candidates, return_exceptions=True)
    if election.two_at_once:
        print("two led at once")
        return 1
    print(f"{len(election.terms)} terms, never two leaders at once")
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=6, help="terms to see (default: 6)")
    parser.add_argument("--seconds", type=float, default=20.0, help="give up after (default: 20)")
    options = parser.parse_args(argv)
    return asyncio.run(elect(options.count, options.seconds))


if __name__ == "__main__":
    raise SystemExit(main())
