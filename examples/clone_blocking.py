"""Clone without an event loop: threads share one map, and count together without a lock."""

import argparse
import threading
from collections.abc import Sequence

from patterns.clone.blocking import Clone
from patterns.clone.client import Deleted, Put
from patterns.clone.handlers import CloneServer
from patterns.clone.reactor_thread import ReactorThread

LAST_LINE = r"(\d+) visits were counted, \1 were made"
COUNTERS = 3


def visit(clone: Clone, count: int) -> None:
    """Count visits; whoever was slower than another one is asked again, with the new value."""
    for _ in range(count):
        clone.update("/site/visits", lambda value: str(int(value or b"0") + 1))


def announce(event: object) -> None:
    match event:
        case Put(key, body, added=True):
            print(f"new: {key.decode()} = {body.decode()}")
        case Deleted(key):
            print(f"gone: {key.decode()}")


def share(endpoint: str, count: int, seconds: float) -> int:
    with (
        Clone(endpoint, subtree="/site/", timeout=seconds) as clone,
        Clone(endpoint, subtree="/site/", timeout=seconds) as other,
    ):
        clone.watch(announce)
        site = clone.mapping()  # writes are done when they return
        site["/site/name"] = "the site"
        with clone.keep("/site/open", "yes", ttl=2):  # gone at the end, or 2 s after a crash
            threads = [
                threading.Thread(target=visit, args=(each, count))
                for each in [clone, other] * COUNTERS
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        counted = int(clone.get("/site/visits") or 0)
        print(f"open at the end: {'/site/open' in site}")
    print(f"{counted} visits were counted, {2 * COUNTERS * count} were made", flush=True)
    return 0 if counted == 2 * COUNTERS * count else 1


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=20, help="visits of a thread (default: 20)")
    parser.add_argument("--seconds", type=float, default=20.0, help="give up after (default: 20)")
    options = parser.parse_args(argv)
    server = CloneServer(port=0)
    thread = ReactorThread(server, "server")
    thread.start(options.seconds)
    print(f"ready {server.endpoint}", flush=True)
    try:
        return share(server.endpoint, options.count, options.seconds)
    finally:
        thread.stop()


if __name__ == "__main__":
    raise SystemExit(main())
