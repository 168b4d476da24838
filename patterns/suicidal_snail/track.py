"""One publisher as a subscriber sees it: how far it is, what was lost of it, how old it is."""

from __future__ import annotations

from patterns.suicidal_snail.delays import LeastDelay
from patterns.suicidal_snail.hysteresis import Hysteresis, Losses
from patterns.suicidal_snail.messages import Beat, Stamp


class Track:
    """What is known of one life of one publisher; instants `now` are monotonic seconds.

    With `everything` the subscriber sees every message, so a hole in the sequence is a loss at
    once. Else only what two beats say about the same count since the same sequence is compared.
    """

    def __init__(
        self,
        stamp: Stamp,
        now: float,
        *,
        everything: bool,
        delays: LeastDelay,
        lateness: Hysteresis,
        losses: Losses,
    ) -> None:
        self.incarnation = stamp.incarnation
        self.everything = everything
        self.joined_at = self.heard_at = now
        self.sequence = 0  # the highest that was seen, or that a beat has told of
        self.received = 0
        self.lost = 0
        self.age = 0.0  # of the latest message
        self.late = self.stalled = self.lossy = False
        self.losses = losses
        self.delays = delays
        self._lateness = lateness
        self._accounted: int | None = None  # messages that came or are lost, since the last beat
        self._since = self._count = 0  # what that beat said

    def receive_run(self, first: Stamp, last: Stamp, count: int) -> int:
        """New messages came, `count` of them from `first` to `last`; return how many are lost."""
        known, self.sequence = self.sequence, last.sequence
        self.received += count
        if self._accounted is not None:
            self._accounted += count
        if not self.everything:
            return 0
        if not known:
            known = first.sequence - 1
        return self._lose(last.sequence - known - count)

    def receive_beat(self, beat: Beat) -> int:
        """The publisher tells how far it is; return how many messages that shows to be lost."""
        if self.everything:
            known = self.sequence or beat.stamp.sequence
            self.sequence = max(known, beat.stamp.sequence)
            return self._lose(beat.stamp.sequence - known)
        accounted, self._accounted = self._accounted, 0
        before, self._count = self._count, beat.count
        same, self._since = beat.since == self._since, beat.since
        if accounted is None or not same:
            return 0
        return self._lose(beat.count - before - accounted)

    def forget_beats(self) -> None:
        """The subscriptions have changed: the next beat counts something else."""
        self._accounted = None

    def note_late(self, sent_at: float, received_at: float, now: float) -> None:
        """The latest message was sent then, by the publisher's clock; `received_at` is by ours."""
        delay = received_at - sent_at
        self.age = delay - self.delays.update(delay, now)

    def judge_late(self, late: int, count: int, limit: float, now: float) -> bool:
        """So many of `count` messages were over the limit; True while the subscriber is late."""
        return self._lateness.receive(late, count, self.age > limit, now)

    def _lose(self, lost: int) -> int:
        lost = max(0, lost)
        self.lost += lost
        return lost
