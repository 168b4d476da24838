"""How a client of a part of the tree can notice that it has missed an update.

Sequence numbers run through the whole tree, so a client of one subtree sees holes all the time.
The server therefore counts the updates of every subtree that somebody subscribes to, and says in
that subtree's heartbeat how many there were. A subscription is one queue: what was published
before the heartbeat and has not arrived before it is lost.
"""

from __future__ import annotations

from patterns.clone.messages import MAX_KEY, RESERVED_KEYS, Frames, heartbeat


class _Count:
    __slots__ = ("updates", "sequence")

    def __init__(self, sequence: int) -> None:
        self.updates = 0
        self.sequence = sequence


class SubtreeCounts:
    """Counts the updates under each subtree in use, at most `max_subtrees`.

    A subtree beyond the limit gets no heartbeat: its clients work, but cannot notice a loss.
    """

    def __init__(self, *, max_subtrees: int = 1000) -> None:
        self.max_subtrees = max_subtrees
        self.refused = 0
        self._counts: dict[bytes, _Count] = {}
        self._fresh: dict[bytes, None] = {}  # a set that keeps the order, the same in every process
        self._lengths: list[int] = []

    def __len__(self) -> int:
        return len(self._counts)

    def subscribe(self, subtree: bytes, sequence: int) -> None:
        """Begin to count for somebody who subscribes; `sequence` is the last one published.

        Topics that cannot be a subtree are ignored, and the whole tree needs no count.
        """
        if not subtree or len(subtree) > MAX_KEY or subtree in RESERVED_KEYS:
            return
        if subtree not in self._counts:
            if len(self._counts) >= self.max_subtrees:
                self.refused += 1
                return
            self._counts[subtree] = _Count(sequence)
            self._find_lengths()
        self._fresh[subtree] = None

    def unsubscribe(self, subtree: bytes) -> None:
        """Nobody subscribes any more."""
        if self._counts.pop(subtree, None) is not None:
            self._fresh.pop(subtree, None)
            self._find_lengths()

    def _find_lengths(self) -> None:
        self._lengths = sorted({len(subtree) for subtree in self._counts})

    def count(self, key: bytes, sequence: int) -> None:
        """An update of this key is published; O(distinct lengths of subtrees)."""
        for length in self._lengths:
            if length > len(key):
                return
            count = self._counts.get(key[:length])
            if count is not None:
                count.updates += 1
                count.sequence = sequence

    def heartbeats(self, *, only_fresh: bool = False) -> list[Frames]:
        """The heartbeat of every subtree, or of those subscribed to since the last time."""
        subtrees = self._fresh if only_fresh else self._counts
        frames = [self._heartbeat(subtree, self._counts[subtree]) for subtree in subtrees]
        self._fresh.clear()
        return frames

    def _heartbeat(self, subtree: bytes, count: _Count) -> Frames:
        return heartbeat(b"seq=%d\nn=%d\n" % (count.sequence, count.updates), subtree)
