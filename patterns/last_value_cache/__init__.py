"""Last value cache: a late subscriber gets the last value of its topics at once.

The pattern of the Guide's chapter 5, "Last Value Caching". A proxy between publishers and
subscribers remembers the last message of every topic and sends it to whoever subscribes.

    publisher PUB --+                                           +-- SUB subscriber
                    |        +------ LastValueCache -----+      |
                    +--> SUB | the last value of each    | XPUB-+-- SUB subscriber
                    |        | topic, within limits      |
    publisher PUB --+        +---------------------------+ ROUTER -- DEALER ConflatingSubscriber
                                                             <- credit, newest values ->

    from patterns.last_value_cache import LastValueCache
    from reactor import run

    run(LastValueCache(frontend=">tcp://127.0.0.1:5557", backend="@tcp://127.0.0.1:5558"))

What a subscriber can rely on:

- Each new subscription, of a topic or of any prefix, gets every topic that is cached under it.
- It never gets an older value of a topic after a newer one, and between the cached values and the
  live ones none is missing, as long as the subscriber is not full (below).
- Cached values are sent as fast as subscribers take them. Live messages never wait for that.
- A `ConflatingSubscriber` may be as slow as it likes: it gets the newest value of each topic that
  it has not taken yet, and costs memory for topics, not for messages.

What it must expect:

- One cached value goes to the new subscriber alone. Several, under a prefix, go to all who
  subscribe to these topics, each value once: the others get their newest value once more. Nothing
  tells a cached value from a live one.
- A plain subscriber for whom `high_water_mark` messages wait is full: as with any PUB, it loses
  live messages until it has read half of them, and cached ones that are sent meanwhile. A joiner
  for whom that matters asks for fewer topics than the mark, reads as fast as it is sent to, or is a
  ConflatingSubscriber.
- Nothing is kept on disk: a cache that was restarted knows what was published since.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from patterns.last_value_cache.handlers import LastValueCache, LastValueCacheStatistics
    from patterns.last_value_cache.subscriber import (
        ConflatingSubscriber,
        ConflatingSubscriberStatistics,
    )
    from patterns.last_value_cache.values import LastValues, LimitPolicy

_HOMES = {
    "ConflatingSubscriber": "subscriber",
    "ConflatingSubscriberStatistics": "subscriber",
    "LastValueCache": "handlers",
    "LastValueCacheStatistics": "handlers",
    "LastValues": "values",
    "LimitPolicy": "values",
}

__all__ = [
    "ConflatingSubscriber",
    "ConflatingSubscriberStatistics",
    "LastValueCache",
    "LastValueCacheStatistics",
    "LastValues",
    "LimitPolicy",
]


def __getattr__(name: str) -> object:
    """Import a public name at its first use: a subscriber needs only a few of them."""
    if name not in _HOMES:
        raise AttributeError(f"module 'patterns.last_value_cache' has no attribute {name!r}")
    return getattr(import_module(f"patterns.last_value_cache.{_HOMES[name]}"), name)
