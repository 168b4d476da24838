"""What subscribers have asked for, and for how long it is still worth having: no clock."""

from __future__ import annotations

from collections import Counter, OrderedDict

MAX_PREFIXES = 1_000_000
LINGER_SECONDS = 60.0


class Interest:
    """Counts the subscriptions of every prefix.

    A prefix is wanted from its first subscription on until `linger` seconds after the end of its
    last one, so that who comes back soon finds what was published meanwhile. More than
    `max_prefixes` at a time are refused.
    """

    def __init__(self, linger: float = LINGER_SECONDS, max_prefixes: int = MAX_PREFIXES) -> None:
        if not linger >= 0:
            raise ValueError("linger is at least 0 seconds")
        self.max_prefixes = max_prefixes
        self._linger = linger
        self._counts: Counter[bytes] = Counter()
        self._idle: OrderedDict[bytes, float] = OrderedDict()  # until when

    def __len__(self) -> int:
        """The number of prefixes that have subscribers."""
        return len(self._counts)

    def __contains__(self, prefix: bytes) -> bool:
        return prefix in self._counts

    @property
    def full(self) -> bool:
        """Whether a prefix that is new would be one too many."""
        return len(self._counts) >= self.max_prefixes

    def receive_subscription(self, prefix: bytes) -> bool:
        """Somebody subscribed; True when the prefix was not wanted before."""
        self._counts[prefix] += 1
        if self._counts[prefix] > 1:
            return False
        return self._idle.pop(prefix, None) is None

    def receive_unsubscription(self, prefix: bytes, now: float) -> bool:
        """A subscription has ended; True when it was the last one of its prefix."""
        if prefix not in self._counts:
            return False  # a peer may unsubscribe from what it never had
        self._counts[prefix] -= 1
        if self._counts[prefix]:
            return False
        del self._counts[prefix]
        self._idle[prefix] = now + self._linger
        if len(self._idle) > self.max_prefixes:
            self._idle[next(iter(self._idle))] = now  # its time is over
        return True

    def withdraw(self, now: float) -> list[bytes]:
        """Return the prefixes that are not wanted any more, each once."""
        withdrawn = []
        while self._idle:
            prefix, until = next(iter(self._idle.items()))
            if until > now:
                break
            del self._idle[prefix]
            withdrawn.append(prefix)
        return withdrawn

    def clear(self) -> None:
        """Forget every prefix."""
        self._counts.clear()
        self._idle.clear()

    def covers(self, topic: bytes) -> bool:
        """Whether any prefix of the topic is wanted."""
        prefixes = (topic[:length] for length in range(len(topic) + 1))
        return any(prefix in self._counts or prefix in self._idle for prefix in prefixes)
