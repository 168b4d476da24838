"""The runner: `python -m benchmarks.last_value_cache --help`."""

from __future__ import annotations

import argparse
import platform
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import IO

from benchmarks.ends import SIZES, SMALL
from benchmarks.last_value_cache import mosquitto, nats_core, proxies, redis_pubsub
from benchmarks.last_value_cache.peers import Flood, Peer
from benchmarks.samples import Sample, Settings, Target
from benchmarks.table import render

ONE, TEN = "one subscriber", "ten subscribers"
JOIN_ONE, JOIN_ALL = "join, one topic of 100,000", "join, all 100,000"
TARGETS = (
    Target(ONE, "Guide", at_least=4),
    Target(ONE, "C", at_least=0.25),
    Target(ONE, "NATS core", at_least=1.7),
    Target(ONE, "Redis", at_least=2.3),
    Target(ONE, "mosquitto", at_least=8),
    Target(f"{ONE} CPU", "Guide", at_most=0.25),
    Target(TEN, "NATS core", at_least=5),
    Target(JOIN_ONE, "mosquitto", at_most=0.4),
    Target(JOIN_ONE, "mosquitto, no delay", at_most=0.4),
    Target(JOIN_ALL, "mosquitto", at_most=0.1),
    Target(JOIN_ALL, "mosquitto, no delay", at_most=0.1),
)
TOPICS = 100_000
# So much is published for one subscriber and for ten; a peer that is slow is stopped by the clock.
_COUNTS = {1: {32: 2_000_000, 1024: 600_000}, 10: {32: 300_000, 1024: 100_000}}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what the command line asks for; the table comes last."""
    options = parse(arguments)
    settings = Settings(options.rounds, options.seconds, options.quick)
    peers = [peer for peer in find_peers() if any(name in peer.name for name in options.peers)]
    with ExitStack() as stack:
        lines = stack.enter_context(open(options.json, "w")) if options.json else sys.stderr
        samples = list(run(options.only, peers, settings, lines))
    print("\n" + render(samples, TARGETS))


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the options; `--quick` changes the defaults of the others."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.last_value_cache")
    parser.add_argument("--rounds", type=int, help="default 5")
    parser.add_argument("--seconds", type=float, help="for each rate; default 2")
    parser.add_argument(
        "--only", type=lambda text: text.split(","), default=["rates", "joins"], help="rates,joins"
    )
    parser.add_argument(
        "--peers", type=lambda text: text.split(","), default=[""], help="parts of names: a,b,c"
    )
    parser.add_argument("--json", metavar="FILE", help="JSON lines go there instead of stderr")
    parser.add_argument("--quick", action="store_true", help="1 round, 0.5 s, fewer messages")
    options = parser.parse_args(arguments)
    options.rounds = options.rounds or (1 if options.quick else 5)
    options.seconds = options.seconds or (0.5 if options.quick else 2.0)
    return options


def find_peers() -> list[Peer]:
    """Return the peers that are installed, and say which version, or what is missing."""
    found: list[Peer] = []
    print(f"Python {platform.python_version()}, {platform.platform()}", file=sys.stderr)
    for home in (proxies, nats_core, redis_pubsub, mosquitto):
        try:
            peers = home.peers()
        except FileNotFoundError as error:
            print(f"skipped: {error}", file=sys.stderr)
            continue
        print(f"{', '.join(peer.name for peer in peers)}: {peers[0].version}", file=sys.stderr)
        found += peers
    return found


def run(
    chosen: Sequence[str], peers: Sequence[Peer], settings: Settings, lines: IO[str]
) -> Iterator[Sample]:
    """Yield every sample, and write it as it comes; all peers take part in each round."""
    parts = {"rates": measure_rates, "joins": measure_joins}
    for number in range(1, settings.rounds + 1):
        for name in chosen:
            print(f"round {number} of {settings.rounds}: {name}", file=sys.stderr)
            for sample in parts[name](peers, settings, number):
                print(sample.as_json(), file=lines, flush=True)
                yield sample


def measure_rates(peers: Sequence[Peer], settings: Settings, round_: int) -> Iterator[Sample]:
    """Yield the rates through every peer, at every size and with one and ten subscribers.

    On a machine that is busy with other things the CPU tells more than the rate.
    """
    for name, subscribers in ((ONE, 1), (TEN, 10)):
        for size in SIZES:
            count = _COUNTS[subscribers][size] // (4 if settings.quick else 1)
            flood = Flood(size, subscribers, count, settings.seconds)
            for peer in peers:
                if peer.rate is not None:
                    yield from peer.rate(flood).samples(name, peer.name, round_, size)


def measure_joins(peers: Sequence[Peer], settings: Settings, round_: int) -> Iterator[Sample]:
    """Yield the times of joining, in milliseconds."""
    for peer in peers:
        if peer.join is not None:
            one, every = peer.join(TOPICS // (10 if settings.quick else 1))
            yield Sample(JOIN_ONE, peer.name, round_, SMALL, one * 1000, "ms")
            yield Sample(JOIN_ALL, peer.name, round_, SMALL, every * 1000, "ms")


if __name__ == "__main__":
    main()
