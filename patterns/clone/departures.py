"""In which order everything leaves the active Clone server, to its clients and to its passive peer.

An update that has to be confirmed by the passive server first waits for that (`replication`), and
whatever would leave after it waits behind it: the next updates, answers and snapshots. So nobody
hears of anything earlier than of what came before it.

Time is an argument: monotonic seconds.
"""

from __future__ import annotations

from typing import TypeVar

from patterns.clone.levels import APPLIED, with_level
from patterns.clone.messages import Frames, sequence_of
from patterns.clone.replication import Replication, Waiting
from patterns.clone.server_effects import Effect, Publish, ReportReplication, SendSnapshot
from patterns.clone.subtrees import SubtreeCounts

_Content = TypeVar("_Content", Frames, SendSnapshot)


class Departures:
    """What an active server publishes and answers: now, or when its turn has come (`settle`).

    Every update that leaves is counted in its `subtrees`, and only then, since their heartbeats
    tell clients what should have arrived.
    """

    def __init__(self, replication: Replication, subtrees: SubtreeCounts) -> None:
        self.replication = replication
        self.subtrees = subtrees
        self._told_in_sync = False

    def end(self) -> None:
        """The server is not active any more: what waits never leaves."""
        self.replication.end()
        self._told_in_sync = False

    def leave(
        self,
        numbered: Frames,
        sequence: int,
        now: float,
        replicated: bool = False,
        asked: bool = False,
        own: bool = False,
    ) -> Frames | None:
        """Every new number comes by here: what is to be published for it now, None if it waits.

        `replicated`: only when the passive server has confirmed it, if that keeps up. `asked`: its
        writer is told which level was reached. `own`: it is an update of the server's own.
        """
        link = self.replication
        if link.peer:
            link.append(numbered)
        if link.waiting or (replicated and link.in_sync):
            link.hold(
                numbered,
                sequence if replicated else 0,
                published=sequence - 1,
                now=now,
                asked=asked,
                new=True,
                own=own,
            )
            return None
        self.subtrees.count(numbered[0], sequence)
        if not replicated or own:
            return numbered
        link.degraded += 1
        return _with_level(numbered, APPLIED) if asked else numbered

    def leave_again(
        self, numbered: Frames, sequence: int, newest: int, now: float, *, asked: bool
    ) -> Frames | None:
        """An update that has left is published once more, as the answer to who sent it again.

        With `asked`, when the passive server has confirmed it. `newest` is the newest number.
        """
        link = self.replication
        waits = link.waiting or (link.in_sync and sequence > link.confirmed)
        if asked and waits:  # the level is that of the instant at which it leaves
            link.hold(numbered, sequence, published=newest, now=now, asked=True)
            return None
        if asked:
            numbered = _with_level(numbered, link.level_of(sequence))
        return self.keep_place(numbered, now)

    def keep_place(self, content: _Content, now: float) -> _Content | None:
        """An answer or a snapshot leaves behind everything that was to leave before it."""
        if not self.replication.waiting:
            return content
        self.replication.hold(content, 0, now=now)
        return None

    def settle(self, now: float) -> list[Effect]:
        """What may leave by now, and a report if the passive server falls behind or is back."""
        link = self.replication
        link.tick(now)
        effects: list[Effect] = [self._let_go(each) for each in link.take_due()]
        if link.in_sync is not self._told_in_sync:
            self._told_in_sync = link.in_sync
            effects.append(ReportReplication(link.in_sync))
        return effects

    def _let_go(self, waiting: Waiting) -> Effect:
        content = waiting.content
        if isinstance(content, SendSnapshot):
            return content
        sequence = sequence_of(content)
        if waiting.new:
            self.subtrees.count(content[0], sequence)
            unconfirmed = waiting.number > self.replication.confirmed
            self.replication.degraded += unconfirmed and not waiting.own
        if waiting.asked:
            content = _with_level(content, self.replication.level_of(sequence))
        return Publish(content)


def _with_level(frames: Frames, level: str) -> Frames:
    return (*frames[:3], with_level(frames[3], level), frames[4])
