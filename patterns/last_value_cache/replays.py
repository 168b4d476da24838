"""What is still to be sent to new subscribers of many topics: no socket, no clock."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from patterns.last_value_cache.values import LastValues, Message


@dataclass(slots=True)
class _Lap:
    """How far the replay of one prefix has come: the topics after `after`, up to `last`, are due.

    `then_to` is set when somebody subscribed to the same prefix on the way: after the way to the
    end of the prefix, another one is due, from its beginning to there.
    """

    after: bytes | None = None
    last: bytes | None = None
    then_to: bytes | None = None
    refused_since: float | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """Some messages to send next, of one prefix; true until the cache is updated."""

    messages: list[Message]
    lap: _Lap


class Replays:
    """What is still to be sent to new subscribers, fair among prefixes.

    Subscribers of one prefix share its replay, like passengers of a circular line: who joins on
    the way gets the rest first, then the beginning. So after a restart, when everybody subscribes
    again, the topics of a prefix are sent twice at most, not once for each subscriber.

    `take` a page, send what can be sent, report it with `receive_sent`, and what was refused with
    `receive_refusal`. `patience` is in seconds.
    """

    def __init__(self, values: LastValues, patience: float) -> None:
        self._values = values
        self._patience = patience
        self._laps: OrderedDict[bytes, _Lap] = OrderedDict()

    def __len__(self) -> int:
        """The number of prefixes that are not done."""
        return len(self._laps)

    def receive_subscription(self, prefix: bytes) -> None:
        """Somebody subscribed: every topic cached under `prefix` is to be sent from now on."""
        lap = self._laps.get(prefix)
        if lap is not None:
            lap.then_to, lap.last = lap.after, None
        elif self._values.matching(prefix, limit=1):
            self._laps[prefix] = _Lap()

    def receive_unsubscription(self, prefix: bytes) -> None:
        """The last subscriber of `prefix` has gone: nothing is to be sent for it any more."""
        self._laps.pop(prefix, None)

    def take(self, limit: int) -> Page | None:
        """Return up to `limit` messages of the prefix that has waited longest; at the end, None."""
        while self._laps:
            prefix, lap = next(iter(self._laps.items()))
            messages = self._values.matching(prefix, lap.after, lap.last, limit)
            if messages:
                self._laps.move_to_end(prefix)
                return Page(messages, lap)
            if lap.then_to is None:
                del self._laps[prefix]
            else:
                lap.after, lap.last, lap.then_to = None, lap.then_to, None
        return None

    def receive_sent(self, page: Page, count: int) -> None:
        """The first `count` messages of the page have been sent."""
        if count:
            # Its topic: a message of one frame goes on behind that, where other topics may be.
            page.lap.after = self._values.topic_of(page.messages[count - 1])
            page.lap.refused_since = None

    def receive_refusal(self, page: Page, now: float) -> bool:
        """Somebody is full, so the next message was refused; True when patience has ended."""
        if page.lap.refused_since is None:
            page.lap.refused_since = now
        return now - page.lap.refused_since >= self._patience
