"""The runner: `python -m benchmarks.clone --help`."""

from __future__ import annotations

import argparse
import platform
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import IO, Protocol

from benchmarks.clone import (
    connections,
    etcd_kv,
    guide,
    joiners,
    large,
    memory,
    nats_kv,
    ours,
    rates,
    redis_kv,
    snapshot,
)
from benchmarks.clone.peers import Peer
from benchmarks.samples import Sample, Settings, Target
from benchmarks.table import render


class CloneMeasurement(Protocol):
    """A module of this package: one kind of figure, peer by peer."""

    @property
    def TARGETS(self) -> tuple[Target, ...]:
        """The bounds that this measurement is held to."""

    def measure(self, peers: Sequence[Peer], settings: Settings, round_: int) -> Iterator[Sample]:
        """Yield the samples of one round, all peers in turn."""


MEASUREMENTS: dict[str, CloneMeasurement] = {
    "rates": rates,
    "snapshot": snapshot,
    "large": large,
    "connections": connections,
    "joiners": joiners,
    "memory": memory,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what the command line asks for; the table comes last."""
    options = parse(arguments)
    settings = Settings(options.rounds, options.seconds, options.quick)
    peers = [peer for peer in find_peers() if any(name in peer.name for name in options.peers)]
    with ExitStack() as stack:
        lines = stack.enter_context(open(options.json, "w")) if options.json else sys.stdout
        samples = list(run(options.only, peers, settings, lines))
    targets = [target for name in options.only for target in MEASUREMENTS[name].TARGETS]
    print("\n" + render(samples, targets))


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the options; `--quick` changes the defaults of the others."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.clone", description=__doc__)
    parser.add_argument("--rounds", type=int, help="default 3")
    parser.add_argument("--seconds", type=float, help="for each rate; default 2")
    parser.add_argument("--only", type=names, default=list(MEASUREMENTS), help="a,b,c")
    parser.add_argument(
        "--peers", type=lambda text: text.split(","), default=[""], help="parts of names: a,b,c"
    )
    parser.add_argument("--json", metavar="FILE", help="JSON lines go there instead of stdout")
    parser.add_argument("--quick", action="store_true", help="1 round, 0.5 s, fewer keys")
    options = parser.parse_args(arguments)
    options.rounds = options.rounds or (1 if options.quick else 3)
    options.seconds = options.seconds or (0.5 if options.quick else 2.0)
    return options


def names(text: str) -> list[str]:
    """Return the measurements named in a comma-separated list."""
    chosen = text.split(",")
    unknown = set(chosen) - set(MEASUREMENTS)
    if unknown:
        raise argparse.ArgumentTypeError(f"{unknown} not among {list(MEASUREMENTS)}")
    return chosen


def find_peers() -> list[Peer]:
    """Return the peers that are installed, and say which version, or what is missing."""
    found: list[Peer] = []
    print(f"Python {platform.python_version()}, {platform.platform()}", file=sys.stderr)
    for home in (ours, guide, nats_kv, redis_kv, etcd_kv):
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
    for number in range(1, settings.rounds + 1):
        for name in chosen:
            print(f"round {number} of {settings.rounds}: {name}", file=sys.stderr)
            for sample in MEASUREMENTS[name].measure(peers, settings, number):
                print(sample.as_json(), file=lines, flush=True)
                yield sample


if __name__ == "__main__":
    main()
