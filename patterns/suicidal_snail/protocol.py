"""The rules by which a subscriber knows that it is a snail: late, lossy or stalled.

- **Late**: messages are older than a limit, for so long or so many of them. An age is what a
  message took longer than the quickest one lately, so clocks need not agree: see `delays`.
- **Lossy**: messages that matched our subscriptions did not arrive: see `publication`.
- **Stalled**: a publisher that beats was silent beyond a deadline, or none was ever heard.

Whoever has just joined is given a grace, in which nothing is declared.
"""

from __future__ import annotations

from patterns.suicidal_snail.delays import LeastDelay
from patterns.suicidal_snail.diagnosis import Diagnosis, Limits, Reason
from patterns.suicidal_snail.hysteresis import Hysteresis, LateFor, LateShare, Losses
from patterns.suicidal_snail.messages import (
    MalformedMessage,
    Stamp,
    decode_beat,
    decode_stamp,
    publisher_text,
)
from patterns.suicidal_snail.runs import count_late, is_stamp, news, runs
from patterns.suicidal_snail.track import Track

MAX_PUBLISHERS = 1000
# Who is silent for so long may be forgotten for another publisher, if silence is not judged.
_FORGET_SECONDS = 60.0


class SnailProtocol:
    """Judges what one subscriber receives, of at most `max_publishers` publishers.

    `everything`: its subscriptions let all messages through. `now` is monotonic, `received_at` wall
    time. Each input returns the conditions that began or ended with it, in order.
    """

    def __init__(
        self,
        limits: Limits,
        now: float,
        *,
        everything: bool,
        interval: float,
        max_publishers: int = MAX_PUBLISHERS,
    ) -> None:
        self.limits = limits
        self.interval = interval
        """How often `tick` is meant to be called, in seconds."""
        self.received = 0
        self.lost = 0
        self.replayed = 0
        self.untracked = 0
        self.malformed = 0
        self._everything = everything
        self._max_publishers = max_publishers
        self._tracks: dict[bytes, Track] = {}
        self._nobody_heard = False
        self._joined_at = self._heard_at = self._ticked_at = now

    # What arrived

    def receive_stamps(
        self, stamps: list[bytes], received_at: float, now: float
    ) -> list[Diagnosis]:
        """Judge messages by their stamps, which came one after the other, the last of them now.

        What begins like a stamp and is none is counted in `malformed`.
        """
        found = self._heard(now)
        for run in runs(sorted(stamps)):
            try:
                found += self._receive_run(run, received_at, now)
            except MalformedMessage:
                good = [stamp for stamp in run if is_stamp(stamp)]
                self.malformed += len(run) - len(good)
                found += self._receive_run(good, received_at, now) if good else []
        return found

    def receive_beat(self, frame: bytes, received_at: float, now: float) -> list[Diagnosis]:
        """Judge by a beat for our own interest; raises MalformedMessage if it is none."""
        beat = decode_beat(frame)
        found = self._heard(now)
        track = self._track(beat.stamp, now)
        if track is not None:
            lost = track.receive_beat(beat)
            track.note_late(beat.stamp.sent_at, received_at, now)
            found += self._judge(track, beat.stamp.publisher, lost, None, 1, now)
        return found

    def receive_unstamped(self, now: float) -> list[Diagnosis]:
        """A message of a publisher that does not stamp: somebody is there, and that is all."""
        return self._heard(now)

    def tick(self, now: float) -> list[Diagnosis]:
        """Time passes: judge silence, forget losses. A pause of our own is nobody's silence."""
        pause = now - self._ticked_at - self.interval
        self._ticked_at = now
        if pause > self.interval:
            self._heard_at += pause
            for track in self._tracks.values():
                track.heard_at = min(now, track.heard_at + pause)
        found = self._judge_nobody(now)
        for publisher, track in list(self._tracks.items()):
            found += self._judge_losses(track, publisher, 0, now)
            found += self._judge_silence(track, publisher, now)
        return found

    def rejoin(self, now: float) -> None:
        """Begin anew, with the grace of one who has just joined."""
        self._tracks.clear()
        self._nobody_heard = False
        self._joined_at = self._heard_at = now

    def change_interest(self, everything: bool) -> None:
        """The subscriptions have changed; what was compared so far says nothing about the new."""
        self._everything = everything
        for track in self._tracks.values():
            # Messages let through by the old subscriptions may be under way. The first beat for
            # the new ones tells where they begin, so even of everything the beats have to tell.
            track.forget_beats()
            track.everything = False

    # Judging

    def _receive_run(self, run: list[bytes], received_at: float, now: float) -> list[Diagnosis]:
        """Judge what came of one publisher, as far as it is news."""
        first, last = decode_stamp(run[0]), decode_stamp(run[-1])
        track = self._track(last, now)
        if track is None:
            self.untracked += len(run)
            return []
        new = news(run, first, track.sequence)
        if len(new) < len(run):
            self.replayed += len(run) - len(new)
            if not new:
                return self._judge_silence(track, last.publisher, now)
            run, first = new, decode_stamp(new[0])
        self.received += len(run)
        lost = track.receive_run(first, last, len(run))
        track.note_late(last.sent_at, received_at, now)
        limit = self.limits.age
        late = 0
        if limit is not None and track.age + last.sent_at - first.sent_at > limit:
            late = count_late(run, last.sent_at + track.age - limit)
        return self._judge(track, last.publisher, lost, late, len(run), now)

    def _judge(
        self, track: Track, publisher: bytes, lost: int, late: int | None, count: int, now: float
    ) -> list[Diagnosis]:
        found = self._judge_silence(track, publisher, now)
        found += self._judge_losses(track, publisher, lost, now)
        limit = self.limits.age
        if limit is not None and not self._in_grace(track, now):
            late = int(track.age > limit) if late is None else late
            verdict = track.judge_late(late, count, limit, now)
            if verdict != track.late:
                track.late = verdict
                found.append(self._diagnosis(Reason.LATE, track, publisher, not verdict, now))
        return found

    def _judge_losses(
        self, track: Track, publisher: bytes, lost: int, now: float
    ) -> list[Diagnosis]:
        self.lost += lost
        if self.limits.lost is None or self._in_grace(track, now):
            return []
        verdict = track.losses.receive(lost, now)
        if verdict == track.lossy:
            return []
        track.lossy = verdict
        return [self._diagnosis(Reason.LOSSY, track, publisher, not verdict, now)]

    def _judge_silence(self, track: Track, publisher: bytes, now: float) -> list[Diagnosis]:
        limit = self.limits.silence
        if limit is None:
            return []
        silence = now - track.heard_at
        verdict = silence > limit
        found = []
        if verdict != track.stalled and not (verdict and self._in_grace(track, now)):
            track.stalled = verdict
            found = [self._diagnosis(Reason.STALLED, track, publisher, not verdict, now)]
        return found

    def _judge_nobody(self, now: float) -> list[Diagnosis]:
        """Nobody is heard when there is no publisher that could be judged by itself."""
        limit = self.limits.silence
        silence = now - self._heard_at
        if limit is None or self._tracks or self._nobody_heard or silence <= limit:
            return []
        if now - self._joined_at < self.limits.grace:
            return []
        self._nobody_heard = True
        return [Diagnosis(Reason.STALLED, "", silence=silence)]

    def _heard(self, now: float) -> list[Diagnosis]:
        self._heard_at = now
        if not self._nobody_heard:
            return []
        self._nobody_heard = False
        return [Diagnosis(Reason.STALLED, "", recovered=True)]

    def _in_grace(self, track: Track, now: float) -> bool:
        return now - track.joined_at < self.limits.grace

    def _diagnosis(
        self, reason: Reason, track: Track, publisher: bytes, recovered: bool, now: float
    ) -> Diagnosis:
        return Diagnosis(
            reason,
            publisher_text(publisher),
            recovered,
            age=track.age,
            silence=now - track.heard_at,
            received=track.received,
            lost=track.lost,
        )

    # Publishers

    def _track(self, stamp: Stamp, now: float) -> Track | None:
        """The publisher's track; a publisher that was started anew has a new one."""
        track = self._tracks.get(stamp.publisher)
        if track is None or track.incarnation != stamp.incarnation:
            if track is None and not self._make_room(now):
                return None
            track = self._tracks[stamp.publisher] = self._new_track(stamp, track, now)
        elif track.stalled:
            # Its clock may have stood still meanwhile, with the whole machine.
            track.delays = LeastDelay(self.limits.delay_window)
        track.heard_at = now
        return track

    def _make_room(self, now: float) -> bool:
        """Forget the publisher that was silent longest, if need be, and if it was so for long."""
        if len(self._tracks) < self._max_publishers:
            return True
        publisher, track = min(self._tracks.items(), key=lambda item: item[1].heard_at)
        if now - track.heard_at <= (self.limits.silence or _FORGET_SECONDS):
            return False
        del self._tracks[publisher]
        return True

    def _new_track(self, stamp: Stamp, old: Track | None, now: float) -> Track:
        limits = self.limits
        lateness: Hysteresis = LateFor(limits.late_for)
        if limits.late_share is not None:
            lateness = LateShare(*limits.late_share)
        track = Track(
            stamp,
            now,
            everything=self._everything,
            delays=LeastDelay(limits.delay_window),
            lateness=lateness,
            losses=Losses(limits.lost or 1, limits.loss_window),
        )
        if old is not None:  # what was declared of its former life ends when this one is well
            track.late, track.lossy, track.stalled = old.late, old.lossy, old.stalled
        return track
