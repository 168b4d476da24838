"""What a tap sees and which of it: records, filters, limits; no socket and no clock."""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

SUBSCRIBE = b"\x01"
UNSUBSCRIBE = b"\x00"


class Direction(enum.Enum):
    """Which way a record goes: DOWN to the subscribers, UP to the publishers."""

    DOWN = "down"
    UP = "up"


class Kind(enum.IntEnum):
    """What passed; the numbers stand in files and on the wire."""

    MESSAGE = 0  # down
    SUBSCRIBE = 1  # up, as are the next two
    UNSUBSCRIBE = 2
    UPSTREAM = 3  # what an XSUB sends of its own that is no subscription


class Record(NamedTuple):
    """One thing that passed: when (seconds of the reactor's time), what, and its frames.

    The frames are as they were on the wire: of a subscription, b"\\x01" or b"\\x00" and the topic.
    """

    when: float
    kind: Kind
    frames: tuple[bytes, ...]

    @property
    def direction(self) -> Direction:
        """Messages go down, everything else goes up."""
        return Direction.UP if self.kind else Direction.DOWN

    @property
    def topic(self) -> bytes:
        """The first frame, or the topic (un)subscribed."""
        first = self.frames[0]
        return first[1:] if self.kind in _SUBSCRIPTIONS else first

    @property
    def size(self) -> int:
        """How many bytes the frames have."""
        return sum(map(len, self.frames))


Redact = Callable[[Record], "Record | None"]
"""Gives the record that taps may see in place of one, or None: no tap sees it at all."""

_SUBSCRIPTIONS = (Kind.SUBSCRIBE, Kind.UNSUBSCRIBE)
_KINDS = {SUBSCRIBE: Kind.SUBSCRIBE, UNSUBSCRIBE: Kind.UNSUBSCRIBE}


def kind_upstream(frames: Sequence[bytes]) -> Kind:
    """Return the kind of what a subscriber's socket has sent up."""
    if len(frames) == 1:
        return _KINDS.get(frames[0][:1], Kind.UPSTREAM)
    return Kind.UPSTREAM


def kind_captured(frames: Sequence[bytes]) -> Kind:
    """Return the kind of what was captured, where nothing says which way it went.

    A subscription is one frame that begins with 1 or 0. A message of a single frame that begins
    so is taken for one; a message of several frames never is.
    """
    if len(frames) == 1:
        return _KINDS.get(frames[0][:1], Kind.MESSAGE)
    return Kind.MESSAGE


@dataclass(frozen=True, slots=True)
class Filter:
    """Which records a tap takes; the default is all. Raises ValueError for what makes no sense.

    Checked in this order: topics that begin with `prefix`, one `direction`, the first of each
    `one_in` of those, and of these at most `per_second`, in bursts of as many (at least one).
    """

    prefix: bytes = b""
    direction: Direction | None = None
    one_in: int = 1
    per_second: float | None = None

    def __post_init__(self) -> None:
        if self.one_in < 1:
            raise ValueError("one_in is at least 1")
        if self.per_second is not None and not 0 < self.per_second < float("inf"):
            raise ValueError("per_second is a number above 0")


_ROUNDING = 1e-9


class RateLimit:
    """A token bucket: at most `per_second` a second on average, `per_second` at once."""

    def __init__(self, per_second: float) -> None:
        self.per_second = per_second
        self._capacity = max(1.0, per_second)
        self._tokens = self._capacity
        self._at: float | None = None

    def admits(self, now: float) -> bool:
        """Return whether one more is within the limit at `now`; if so, it counts."""
        if self._at is None or now > self._at:
            passed = 0.0 if self._at is None else now - self._at
            self._tokens = min(self._capacity, self._tokens + passed * self.per_second)
            self._at = now
        if self._tokens < 1.0 - _ROUNDING:
            return False
        self._tokens -= 1.0
        return True


class Gate:
    """A filter at work: decides record by record, and counts what it has turned away."""

    def __init__(self, filter: Filter) -> None:
        self.filter = filter
        self.matched = 0  # by prefix and direction
        self.sampled_out = 0
        self.rate_limited = 0
        self._limit = None if filter.per_second is None else RateLimit(filter.per_second)
        self._admits_all = filter == Filter()

    def admits(self, record: Record) -> bool:
        """Return whether the tap takes this record."""
        if self._admits_all:
            self.matched += 1
            return True
        wanted = self.filter
        if wanted.direction is not None and record.direction is not wanted.direction:
            return False
        if not record.topic.startswith(wanted.prefix):
            return False
        self.matched += 1
        if (self.matched - 1) % wanted.one_in:
            self.sampled_out += 1
            return False
        if self._limit is not None and not self._limit.admits(record.when):
            self.rate_limited += 1
            return False
        return True
