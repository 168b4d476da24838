"""When the active Clone server beats, and what its heartbeats say.

It beats each interval, whatever else it publishes. Besides, who has just subscribed is greeted by a
heartbeat at once, so that joining costs a round trip and not an interval. Before the heartbeat of
the whole tree come those of its subtrees in use (`subtrees`).

Time is an argument: monotonic seconds.
"""

from __future__ import annotations

from patterns.clone.messages import MAX_INTERVAL, heartbeat
from patterns.clone.packs import FEATURE as PACKS
from patterns.clone.server_effects import Effect, Publish
from patterns.clone.subtrees import SubtreeCounts

# New subscribers within this time share one answering heartbeat. It goes to all, which is work
# that grows with their number: while more keep coming, the time doubles, up to the limit.
_COALESCE_SECONDS = 0.01
_COALESCE_SECONDS_LIMIT = 0.25
# Said in every heartbeat, so that a client knows it before it asks for its first snapshot.
_OFFER = b"chpx=1\nfeat=" + PACKS.encode() + b"\n"


class Heartbeats:
    """The heartbeats of a server while it is active, each `interval` seconds and for newcomers.

    With `packs`, they offer packed snapshots. `published`, an argument throughout, is the sequence
    of the newest update that has left the server.
    """

    def __init__(self, subtrees: SubtreeCounts, *, interval: float, packs: bool) -> None:
        if not 0 < interval <= MAX_INTERVAL:
            raise ValueError(f"heartbeat {interval} s is not in 0..{MAX_INTERVAL}")
        self.next_at = float("-inf")
        self.packs = packs
        self._subtrees = subtrees
        self._interval = interval
        self._last_at = float("-inf")
        self._greet_at = float("inf")  # when those who subscribed meanwhile get theirs
        self._greet_wait = _COALESCE_SECONDS

    @property
    def deadline(self) -> float:
        """When `tick` has something to say."""
        return min(self.next_at, self._greet_at)

    def begin(self, now: float) -> None:
        """The server becomes active: the first one is due at once."""
        self.next_at = now

    def greet(self, published: int, now: float) -> list[Effect]:
        """Somebody new listens: a heartbeat at once, or a little later if one has just gone out."""
        if now >= self._last_at + self._greet_wait:
            self._greet_wait = _COALESCE_SECONDS
            return self.beat(published, now, only_fresh=True)
        self._greet_at = self._last_at + self._greet_wait
        return []

    def tick(self, published: int, now: float) -> list[Effect]:
        """The heartbeat that is due, for all or for those who have come since the last one."""
        if now >= self.next_at:
            self.next_at = now + self._interval
            if self._greet_at == float("inf"):  # nobody has come since the last one
                self._greet_wait = _COALESCE_SECONDS
            return self.beat(published, now)
        if now < self._greet_at:
            return []
        self._greet_wait = min(2 * self._greet_wait, _COALESCE_SECONDS_LIMIT)
        return self.beat(published, now, only_fresh=True)

    def beat(self, published: int, now: float, *, only_fresh: bool = False) -> list[Effect]:
        """A heartbeat now; with `only_fresh`, of no subtrees but those subscribed to meanwhile."""
        self._last_at = now
        self._greet_at = float("inf")
        counts = self._subtrees.heartbeats(only_fresh=only_fresh)
        properties = b"seq=%d\nhb=%d\nrole=active\n" % (published, self._interval * 1000)
        if self.packs:
            properties += _OFFER
        # HUGZ comes last: who hears it has heard the count of its own subtree.
        return [Publish(frames) for frames in (*counts, heartbeat(properties))]
