"""The runner: `python -m benchmarks.last_value_cache --help`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from benchmarks.ends import SIZES, SMALL
from benchmarks.last_value_cache import mosquitto, nats_core, proxies, redis_pubsub
from benchmarks.last_value_cache.peers import Flood, Peer
from benchmarks.running import add_peers, find_peers, parser_of, run
from benchmarks.samples import Sample, Settings, Target

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
    """Run what the command line asks for."""
    parser = parser_of("benchmarks.last_value_cache", MEASURES, rounds=5, of="rate")
    add_peers(parser)
    options = parser.parse_args(arguments)
    homes = (proxies, nats_core, redis_pubsub, mosquitto)
    peers = find_peers([home.peers for home in homes], options.peers)
    run(options, {name: partial(measure, peers) for name, measure in MEASURES.items()}, TARGETS)


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


MEASURES = {"rates": measure_rates, "joins": measure_joins}

if __name__ == "__main__":
    main()
