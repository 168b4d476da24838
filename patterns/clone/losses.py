"""How a client notices that its subscription has lost something.

A subscription is one queue in order. For the whole tree the numbers of the updates are the proof:
each is one more than the last, and a heartbeat names the last one published. For a subtree it is
the server's count of the subtree's updates, in the subtree's own heartbeat: between two of these,
as many updates must have arrived. A server that says neither cannot be checked.
"""

from __future__ import annotations

from patterns.clone.interest import Interest
from patterns.clone.messages import Heartbeat, epoch_of

LOST = "lost updates"


class LossDetector:
    """Watches one subscription from its beginning, for every subtree of the client.

    Each method returns what is wrong, in two words, or an empty string.
    """

    def __init__(self, interest: Interest) -> None:
        self.joined_at = 0  # the number in the first heartbeat: no snapshot can be older
        self._interest = interest
        self._last: int | None = None  # the highest number that is known to be published
        self._updates: dict[bytes, int] = {}  # the server's count at the subtree's last heartbeat
        self._received = dict.fromkeys(interest.subtrees, 0)  # updates since then

    def receive_update(self, key: bytes, sequence: int) -> str:
        """An update of a key of ours. One that was published before is not counted again."""
        last = self._last
        if last is not None and sequence <= last:
            return ""
        self._received[self._interest.subtree_of(key)] += 1
        if last is None:
            return ""
        self._last = sequence
        if epoch_of(sequence) != epoch_of(last):
            return "new epoch"
        return LOST if self._interest.everything and sequence != last + 1 else ""

    def receive_snapshot(self, sequence: int) -> str:
        """The number of a snapshot: the first heartbeat has proved that nothing lies between."""
        return ""

    def receive_heartbeat(self, beat: Heartbeat) -> str:
        """A HUGZ, or the heartbeat of one of our subtrees."""
        if beat.subtree:
            return self._receive_count(beat)
        if beat.sequence is None:
            return ""
        if self._last is None:
            self._last = self.joined_at = beat.sequence
            return ""
        if beat.sequence < self._last:
            return "server restarted"
        if epoch_of(beat.sequence) != epoch_of(self._last):
            return "new epoch"
        lost = self._interest.everything and beat.sequence > self._last
        self._last = beat.sequence
        return LOST if lost else ""

    def _receive_count(self, beat: Heartbeat) -> str:
        if beat.updates is None:
            return ""
        before = self._updates.get(beat.subtree)
        expected = None if before is None else before + self._received[beat.subtree]
        self._updates[beat.subtree], self._received[beat.subtree] = beat.updates, 0
        return LOST if expected not in (None, beat.updates) else ""


class NumberWatch:
    """The same for a server that sends no heartbeats, as the Guide's before model six.

    The numbers are all there is to go by: nothing lost at the end is noticed before the next
    update, nor anything in a part of the tree but that the numbers go back.
    """

    joined_at = 0

    def __init__(self, interest: Interest) -> None:
        self._everything = interest.everything
        self._first: int | None = None  # the number of the first update of this subscription
        self._newest = 0
        self._snapshot: int | None = None

    def receive_update(self, key: bytes, sequence: int) -> str:
        """An update of a key of ours."""
        newest, self._newest = self._newest, sequence
        if self._first is None:
            self._first = sequence
            return self._check_seam()
        if sequence <= newest:
            return "server restarted"
        return LOST if self._everything and sequence != newest + 1 else ""

    def receive_snapshot(self, sequence: int) -> str:
        """The number of a snapshot: the subscription must go on where it ends, or before."""
        self._snapshot = sequence
        return self._check_seam()

    def receive_heartbeat(self, beat: Heartbeat) -> str:
        """The heartbeat of a subtree, which is worth nothing without those of the server."""
        return ""

    def _check_seam(self) -> str:
        if not self._everything or self._first is None or self._snapshot is None:
            return ""
        return LOST if self._first > self._snapshot + 1 else ""
