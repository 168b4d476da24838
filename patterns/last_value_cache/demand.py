"""Who asks for what, told to the publishers if the cache subscribes on demand only."""

from __future__ import annotations

from patterns.last_value_cache.interest import Interest
from patterns.last_value_cache.values import LastValues
from reactor import Stream


class Demand:
    """Keeps the frontend subscribed to what is wanted; without a frontend, only counts.

    What is not wanted any more is forgotten: nobody tells the cache when it changes.
    """

    def __init__(self, interest: Interest, values: LastValues, frontend: Stream | None) -> None:
        self.interest = interest
        self._values = values
        self._frontend = frontend

    def add(self, prefix: bytes) -> bool:
        """Somebody subscribes; False when there are too many prefixes already."""
        if self.interest.full and prefix not in self.interest:
            return False
        if self.interest.receive_subscription(prefix) and self._frontend is not None:
            self._frontend.subscribe(prefix)
        return True

    def remove(self, prefix: bytes, now: float) -> bool:
        """A subscription has ended; True when it was the last one of its prefix."""
        return self.interest.receive_unsubscription(prefix, now)

    def tick(self, now: float) -> None:
        """Time has passed: end what nobody has wanted for long enough."""
        for prefix in self.interest.withdraw(now):
            if self._frontend is not None:
                self._frontend.unsubscribe(prefix)
                for topic in self._values.topics_under(prefix):
                    if not self.interest.covers(topic):
                        self._values.forget(topic)
