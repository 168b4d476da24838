"""How a client notices that its subscription has lost something.

A subscription is one queue in order. For the whole tree the numbers of the updates are the proof:
each is one more than the last, and a heartbeat names the last one published. For a subtree it is
the server's count of the subtree's updates, in the subtree's own heartbeat: between two of these,
as many updates must have arrived. A server that says neither cannot be checked.
"""

from __future__ import annotations

from patterns.clone.messages import Heartbeat, epoch_of


class LossDetector:
    """Watches one subscription from its beginning.

    Each method returns what is wrong, in two words, or an empty string.
    """

    def __init__(self, subtree: bytes) -> None:
        self.joined_at = 0  # the number in the first heartbeat: no snapshot can be older
        self._subtree = subtree
        self._last: int | None = None  # the highest number that is known to be published
        self._updates: int | None = None  # the server's count at its last heartbeat
        self._received = 0  # updates since then

    def receive_update(self, sequence: int) -> str:
        """An update inside the subtree. One that was published before is not counted again."""
        last = self._last
        if last is not None and sequence <= last:
            return ""
        self._received += 1
        if last is None:
            return ""
        self._last = sequence
        if epoch_of(sequence) != epoch_of(last):
            return "new epoch"
        return "lost updates" if not self._subtree and sequence != last + 1 else ""

    def receive_heartbeat(self, beat: Heartbeat) -> str:
        """A HUGZ, or the heartbeat of the subtree."""
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
        lost = not self._subtree and beat.sequence > self._last
        self._last = beat.sequence
        return "lost updates" if lost else ""

    def _receive_count(self, beat: Heartbeat) -> str:
        if beat.updates is None:
            return ""
        expected = None if self._updates is None else self._updates + self._received
        self._updates, self._received = beat.updates, 0
        return "lost updates" if expected not in (None, beat.updates) else ""
