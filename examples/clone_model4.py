"""Clone, Model Four: a client of a subtree hears of nothing else."""

import argparse
import asyncio
from collections.abc import Sequence

from patterns.clone import model4
from reactor import Reactor

LAST_LINE = r"of (\d+) keys below each of two subtrees, the client of /a/ holds \1"


async def share(port: int, count: int, seconds: float) -> int:
    async with asyncio.timeout(seconds), Reactor() as reactor:
        server = model4.Server(port)
        reactor.register(server)
        print(f"ready {server.endpoint}", flush=True)
        async with (
            model4.Client(server.endpoint) as writer,
            model4.Client(server.endpoint, "/a/") as reader,
        ):
            await asyncio.gather(writer.wait_live(), reader.wait_live())
            for number in range(count):
                await writer.set(f"/a/{number}", str(number))
                await writer.set(f"/b/{number}", str(number))
            while len(reader.items()) < count:
                await asyncio.sleep(0.01)
            held = [key for key, _ in reader.items()]
    print(f"of {count} keys below each of two subtrees, the client of /a/ holds {len(held)}")
    return 0 if all(key.startswith(b"/a/") for key in held) else 1


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="the Guide's is 5556 (default: any)")
    parser.add_argument(
        "--count", type=int, default=5, help="keys in each of two subtrees (default: 5)"
    )
    parser.add_argument("--seconds", type=float, default=20.0, help="give up after (default: 20)")
    options = parser.parse_args(argv)
    return asyncio.run(share(options.port, options.count, options.seconds))


if __name__ == "__main__":
    raise SystemExit(main())
