"""Who is slow: what an operator knows from squawks, in bounded memory."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from patterns.suicidal_snail.diagnosis import Diagnosis
from patterns.suicidal_snail.messages import Squawk

MAX_SUBSCRIBERS = 1000
KEEP_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class SlowSubscriber:
    """A subscriber that has squawked: its last squawk, when that came, how many came in all."""

    squawk: Squawk
    at: float
    squawks: int


class SlowSubscribers:
    """The subscribers that squawked lately and have not recovered, each with its last squawk.

    At most `limit`: then whoever has been silent longest is left out. `keep` is in seconds.
    """

    def __init__(self, limit: int = MAX_SUBSCRIBERS, keep: float = KEEP_SECONDS) -> None:
        self._limit = limit
        self._keep = keep
        # By subscriber, publisher and reason: one may be late and lossy, and recover from one.
        self._slow: OrderedDict[tuple[str, str, str], SlowSubscriber] = OrderedDict()

    def __len__(self) -> int:
        """How many conditions are known, those included that nobody has confirmed for long."""
        return len(self._slow)

    def receive_squawk(self, squawk: Squawk, now: float) -> None:
        """A subscriber says that it is slow, or that it is no longer."""
        key = squawk.subscriber, squawk.publisher, squawk.reason
        before = self._slow.pop(key, None)
        if squawk.recovered:
            return
        squawks = before.squawks + 1 if before else 1
        self._slow[key] = SlowSubscriber(squawk, now, squawks)
        if len(self._slow) > self._limit:
            self._slow.popitem(last=False)

    def list(self, now: float) -> list[SlowSubscriber]:
        """Return who is slow, the latest squawk first."""
        while self._slow and now - next(iter(self._slow.values())).at > self._keep:
            self._slow.popitem(last=False)
        return list(reversed(self._slow.values()))


def squawk_of(diagnosis: Diagnosis, subscriber: str, at: float) -> Squawk:
    """Return what a subscriber says of a diagnosis; `at` in seconds since 1970."""
    return Squawk(
        subscriber=subscriber,
        publisher=diagnosis.publisher,
        reason=diagnosis.reason.value,
        recovered=diagnosis.recovered,
        age=round(diagnosis.age, 6),
        silence=round(diagnosis.silence, 6),
        received=diagnosis.received,
        lost=diagnosis.lost,
        time=at,
    )
