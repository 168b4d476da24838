"""Rates: updates to a subscriber, and acknowledged writes, one at a time and 1,000 under way.

"updates" are accepted, numbered, stored, de-duplicated and published, one writer, one subscriber.
Redis does none of that but storing, and says done; "Redis, SET and PUBLISH" tells somebody, too.
"updates CPU" is what the server's process spends on one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack

from benchmarks.clone.peers import Peer
from benchmarks.samples import Sample, Settings, Target

TARGETS = (
    Target("updates", "Guide", at_least=15),
    Target("updates", "NATS KV memory", at_least=4),
    Target("updates", "NATS KV file", at_least=4),
    Target("updates", "Redis", at_least=1.3),
    Target("one at a time", "NATS KV memory", at_least=1.3),
    Target("one at a time", "NATS KV file", at_least=1.3),
    Target("1,000 in flight", "NATS KV memory", at_least=4),
    Target("1,000 in flight", "NATS KV file", at_least=4),
)


def measure(peers: Sequence[Peer], settings: Settings, round_: int) -> Iterator[Sample]:
    """Yield the rates of every peer, each on a new server."""
    for peer in peers:
        if peer.updates is not None:
            with ExitStack() as stack:
                service = peer.serve(stack, 0)
                before = service.cpu_seconds()
                rate = peer.updates(service, settings.seconds)
                cpu = (service.cpu_seconds() - before) / (rate * settings.seconds) * 1e6
            yield Sample("updates", peer.name, round_, 100, rate, "updates/s")
            yield Sample("updates CPU", peer.name, round_, 100, cpu, "us")
    for in_flight, name in ((1, "one at a time"), (1000, "1,000 in flight")):
        for peer in peers:
            if peer.acknowledged is not None:
                with ExitStack() as stack:
                    rate = peer.acknowledged(peer.serve(stack, 0), in_flight, settings.seconds)
                yield Sample(name, peer.name, round_, 100, rate, "writes/s")
