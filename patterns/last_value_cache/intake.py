"""How a subscriber by credit joins, grants credit, and notices that its cache is gone."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass

from patterns.last_value_cache.messages import MAX_CREDIT
from patterns.last_value_cache.values import Message

CREDIT = 100
BEAT_SECONDS = 1.0
PATIENCE_SECONDS = 5.0


class IntakeState(enum.Enum):
    """How much a subscriber by credit has of what it asked for."""

    JOINING = "joining"
    LOADING = "loading"
    SYNCHRONISED = "synchronised"


@dataclass(frozen=True, slots=True)
class SendJoin:
    """Join on a fresh socket: what waits in the old one, either way, is of no use."""


@dataclass(frozen=True, slots=True)
class SendCredit:
    """Grant so many more updates."""

    credit: int


@dataclass(frozen=True, slots=True)
class SendBeat:
    """Say that we are there."""


@dataclass(frozen=True, slots=True)
class ReportSynchronised:
    """Tell the user that it has all; first, that these topics have gone meanwhile."""

    deletions: tuple[Message, ...]


Effect = SendJoin | SendCredit | SendBeat | ReportSynchronised


class Intake:
    """A subscriber's side: `credit` updates at a time, the next when all of these are handled.

    Granting only then is what makes every update newer than the last grant, at any pace. A cache
    that says nothing for `patience` seconds is joined anew; so is one that does not know us.
    `tick` is to be called every `beat` seconds. Raises ValueError for settings that make no sense.
    """

    def __init__(
        self,
        credit: int = CREDIT,
        beat: float = BEAT_SECONDS,
        patience: float = PATIENCE_SECONDS,
    ) -> None:
        if not 1 <= credit <= MAX_CREDIT:
            raise ValueError(f"a credit is 1 to {MAX_CREDIT} updates")
        if not 0 < beat < patience:
            raise ValueError("beats come more often than patience ends")
        self.credit = credit
        self.beat = beat
        self.patience = patience
        self.state = IntakeState.JOINING
        self.received = 0
        self.joined = 0
        self._left = 0
        self._heard_at = 0.0
        self._ticked_at = 0.0
        self._retry_at: float | None = None
        self._known: set[bytes] = set()
        self._before: set[bytes] = set()  # known before we joined anew, and not seen since

    @property
    def topics(self) -> int:
        """The number of topics that we have a value of."""
        return len(self._known | self._before)

    def start(self, now: float) -> None:
        """We join for the first time, or begin again."""
        self._ticked_at = now
        self._join(now)

    def receive_update(self, frames: Sequence[bytes], now: float) -> None:
        """The newest message of a topic has come; call `receive_handled` when it is done with."""
        self._heard_at = now
        self.received += 1
        if self.state is IntakeState.JOINING:
            self.state = IntakeState.LOADING
        if len(frames) < 2:
            return  # where its topic ends we cannot tell, so we cannot tell that it has gone
        if any(frames[1:]):
            self._known.add(frames[0])
        else:
            self._known.discard(frames[0])
        self._before.discard(frames[0])

    def receive_handled(self) -> list[Effect]:
        """An update is done with."""
        self._left -= 1
        if self._left > 0:
            return []
        self._left = self.credit
        return [SendCredit(self.credit)]

    def receive_synced(self, now: float) -> list[Effect]:
        """All that was there when we joined has come: what has not come is not there any more."""
        self._heard_at = now
        self.state = IntakeState.SYNCHRONISED
        gone, self._before = sorted(self._before), set()
        return [ReportSynchronised(tuple((topic, b"") for topic in gone))]

    def receive_beat(self, now: float) -> None:
        """The cache is there."""
        self._heard_at = now

    def receive_rejoin(self, now: float) -> list[Effect]:
        """The cache does not know us: it has been restarted, or we were silent for too long."""
        return self._join(now)

    def receive_full(self, now: float) -> None:
        """The cache has too many subscribers: try again when patience has ended."""
        self._heard_at = now
        self._retry_at = now + self.patience

    def tick(self, now: float, busy: bool = False) -> list[Effect]:
        """Time has passed; while `busy`, nothing that has come is looked at."""
        stalled = now - self._ticked_at >= 2 * self.beat
        self._ticked_at = now
        if self._retry_at is not None:
            return self._join(now) if now >= self._retry_at else []
        if busy or stalled:
            self._heard_at = now  # who was deaf cannot tell that the other one was dumb
        elif now - self._heard_at >= self.patience:
            return self._join(now)
        return [SendBeat()]

    def _join(self, now: float) -> list[Effect]:
        self.state = IntakeState.JOINING
        self.joined += 1
        self._left = self.credit
        self._heard_at = now
        self._retry_at = None
        self._before |= self._known
        self._known = set()
        return [SendJoin()]
