"""Snapshot: milliseconds from nothing until one client has 100,000 keys in its map.

Connecting is included. "our server, raw client" takes the snapshot as CHP has it, one message an
entry; our own client takes a packed one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack

from benchmarks.clone.peers import Peer
from benchmarks.samples import Sample, Settings, Target

KEYS = 100_000
TARGETS = (
    Target("snapshot", "Guide", at_most=1 / 20),
    Target("snapshot", "NATS KV memory", at_most=1 / 8),
    Target("snapshot", "NATS KV file", at_most=1 / 8),
    Target("snapshot", "Redis", at_most=1.0),
)


def measure(peers: Sequence[Peer], settings: Settings, round_: int) -> Iterator[Sample]:
    """Yield the time of every peer."""
    keys = KEYS // 10 if settings.quick else KEYS  # where targets do not apply
    for peer in peers:
        if peer.snapshot is not None:
            with ExitStack() as stack:
                seconds = peer.snapshot(peer.serve(stack, keys), keys)
            yield Sample("snapshot", peer.name, round_, 100, seconds * 1000, "ms")
