"""Last value cache: a late subscriber gets the last value of its topics at once.

The pattern of the Guide's chapter 5, "Last Value Caching". A proxy between publishers and
subscribers remembers the last message of every topic and sends it to whoever subscribes.

    publisher PUB --+                                                 +-- SUB subscriber
                    +--> SUB frontend | LastValueCache | XPUB backend --+
    publisher PUB --+                                                 +-- SUB subscriber

    from patterns.last_value_cache import LastValueCache
    from reactor import run

    run(LastValueCache(frontend=">tcp://127.0.0.1:5557", backend="@tcp://127.0.0.1:5558"))

What a subscriber can rely on:

- Each new subscription, of a topic or of any prefix, gets every topic that is cached under it.
- It never gets an older value of a topic after a newer one, and between the cached values and the
  live ones none is missing, as long as the subscriber is not full (below).
- Cached values are sent as fast as subscribers take them. Live messages never wait for that.

What it must expect:

- A cached value goes to all who subscribe to its topic, not only to the new one: the others get
  their newest value once more. Nothing tells a cached value from a live one.
- A subscriber for whom `high_water_mark` messages wait is full: as with any PUB, it loses live
  messages until it has read half of them, and cached ones that are sent meanwhile. A joiner for
  whom that matters asks for fewer topics than the mark, or reads as fast as it is sent to.
- Nothing is kept on disk: a cache that was restarted knows what was published since.
"""

from patterns.last_value_cache.handlers import LastValueCache, LastValueCacheStatistics
from patterns.last_value_cache.protocol import LastValues

__all__ = ["LastValueCache", "LastValueCacheStatistics", "LastValues"]
