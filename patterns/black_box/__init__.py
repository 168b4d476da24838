"""Black box: a subscriber too fast for one process, spread over workers.

The pattern of the Guide's chapter 5, "High-Speed Subscribers (Black Box Pattern)": a thread that
only reads, and workers behind it that no publisher knows of.

                             +----------- box -----------+        +-- worker 0   keys a, d, ...
    publisher PUB --+        |        +- queue of 0 --+  |  WORK  |
                    +-> SUB -| filter, shard by key    |- ROUTER --+
    publisher PUB --+        |        +- queue of 1 --+  |  DONE  |
                             +---------------------------+        +-- worker 1   keys b, c, ...

    from patterns.black_box import BlackBox
    from reactor import run

    run(BlackBox(">tcp://127.0.0.1:5557", "prices:handle", workers=2))

- **Order is kept per key**: a key belongs to one shard, a shard to one worker at a time, and a
  worker that died has really ended before the next one gets anything. (A thread that hangs cannot
  be ended; what it is at the middle of may finish late.)
- **A slow worker holds up nobody else's keys**: each takes by credit, the rest waits in a bounded
  queue of its own shard, with a policy and a counter.
- **A worker that dies** is replaced. What it held and had not reported, at most a window and what
  it did in its last 10 ms, is counted as lost (the default) or delivered again, as you choose.
- **A snail is seen**: as soon as one shard lags too far, the whole box is late.

`PumpingBox` spreads without keys, inside libzmq; with `PrefixBox` each worker subscribes to its own
part of the feed. Both are quicker, and promise less.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from patterns.black_box.direct import DirectBoxStatistics, PrefixBox, PumpingBox
    from patterns.black_box.feeds import Feed
    from patterns.black_box.foreman import WorkerFailed
    from patterns.black_box.handlers import BlackBox, BlackBoxStatistics
    from patterns.black_box.shards import Delivery, QueuePolicy, ShardStatistics
    from patterns.black_box.work import NoSuchWork, Work

_HOMES = {
    "BlackBox": "handlers",
    "BlackBoxStatistics": "handlers",
    "Delivery": "shards",
    "DirectBoxStatistics": "direct",
    "Feed": "feeds",
    "NoSuchWork": "work",
    "PrefixBox": "direct",
    "PumpingBox": "direct",
    "QueuePolicy": "shards",
    "ShardStatistics": "shards",
    "Work": "work",
    "WorkerFailed": "foreman",
}

__all__ = [
    "BlackBox",
    "BlackBoxStatistics",
    "Delivery",
    "DirectBoxStatistics",
    "Feed",
    "NoSuchWork",
    "PrefixBox",
    "PumpingBox",
    "QueuePolicy",
    "ShardStatistics",
    "Work",
    "WorkerFailed",
]


def __getattr__(name: str) -> object:
    """Import a public name at its first use: a worker's process needs only a few of them."""
    if name not in _HOMES:
        raise AttributeError(f"module 'patterns.black_box' has no attribute {name!r}")
    return getattr(import_module(f"patterns.black_box.{_HOMES[name]}"), name)
