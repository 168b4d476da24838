"""The runner: `python -m benchmarks.clone --help`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Protocol

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
from benchmarks.running import add_peers, find_peers, parser_of, run
from benchmarks.samples import Sample, Settings, Target


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
    """Run what the command line asks for."""
    parser = parser_of("benchmarks.clone", MEASUREMENTS, rounds=3, of="rate", fewer="keys")
    add_peers(parser)
    options = parser.parse_args(arguments)
    homes = (ours, guide, nats_kv, redis_kv, etcd_kv)
    peers = find_peers([home.peers for home in homes], options.peers)
    measures = {name: partial(module.measure, peers) for name, module in MEASUREMENTS.items()}
    targets = [target for name in options.only for target in MEASUREMENTS[name].TARGETS]
    run(options, measures, targets)


if __name__ == "__main__":
    main()
