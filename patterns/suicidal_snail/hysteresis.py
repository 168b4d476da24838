"""When bad moments become a verdict: one spike is none, and one good moment does not end one."""

from __future__ import annotations

from collections import deque
from itertools import repeat
from typing import Protocol


class Hysteresis(Protocol):
    """Turns how late messages were into whether this subscriber is late."""

    def receive(self, late: int, count: int, latest_is_late: bool, now: float) -> bool:
        """So many of `count` messages were late, maybe the latest of them; True while a snail."""


class LateFor:
    """Late for `seconds` on end, without a message in time; as long in time, and well again."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._verdict = False
        self._changing_since: float | None = None

    def receive(self, late: int, count: int, latest_is_late: bool, now: float) -> bool:
        """See `Hysteresis`; only the latest message counts."""
        if latest_is_late == self._verdict:
            self._changing_since = None
        elif self._changing_since is None:
            self._changing_since = now
        if self._changing_since is not None and now - self._changing_since >= self._seconds:
            self._verdict = latest_is_late
            self._changing_since = None
        return self._verdict


class LateShare:
    """At least `n` of the last `m` messages late; well again when it is at most half of `n`."""

    def __init__(self, n: int, m: int) -> None:
        self._n = n
        self._late: deque[bool] = deque(maxlen=m)
        self._sum = 0
        self._verdict = False

    def receive(self, late: int, count: int, latest_is_late: bool, now: float) -> bool:
        """See `Hysteresis`; of messages that come together, the late ones came first."""
        if late or self._sum:
            self._late.extend(repeat(True, late))
            self._late.extend(repeat(False, count - late))
            self._sum = sum(self._late)
        self._verdict = self._sum >= self._n or (self._verdict and self._sum > self._n // 2)
        return self._verdict


class Losses:
    """Whether `limit` messages or more were lost in the last `window` seconds."""

    def __init__(self, limit: int, window: float) -> None:
        self._limit = limit
        self._window = window
        self._recent: deque[tuple[float, int]] = deque()
        self._sum = 0

    def receive(self, lost: int, now: float) -> bool:
        """So many more are lost; True while that is too many."""
        while self._recent and now - self._recent[0][0] > self._window:
            self._sum -= self._recent.popleft()[1]
        if lost:
            self._sum += lost
            self._note(lost, now)
        return self._sum >= self._limit

    def _note(self, lost: int, now: float) -> None:
        """Keep at most a hundred entries: losses that follow each other closely are one."""
        if self._recent and now - self._recent[-1][0] < self._window / 100:
            then, before = self._recent.pop()
            self._recent.append((then, before + lost))
        else:
            self._recent.append((now, lost))
