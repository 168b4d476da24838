"""The server's and the client's copy of the shared state: entries and their deadlines.

An entry is kept as it travels, a tuple of five frames. A tuple of bytes holds no reference that
could form a cycle, so the garbage collector stops tracking it: a million entries cost it nothing.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from itertools import chain
from operator import itemgetter

from patterns.clone.messages import Frames, replace_ttl, sequence_of, whole_seconds

# Up to this many new keys are inserted into the sorted index one by one; more are sorted in.
_INSERT_LIMIT = 64
# A heap this small is not worth compacting.
_HEAP_SLACK = 64


class StoreFull(Exception):
    """An update would pass the store's limit of keys or bytes; nothing has been changed."""


@dataclass(frozen=True, slots=True)
class StoreStatistics:
    """What a store holds and what it has refused, as of one instant."""

    keys: int
    byte_count: int
    ephemeral: int
    sequence: int
    refused: int


class KeyValueStore:
    """A map of key to entry, in the order of their last updates, with sequence and deadlines.

    `max_keys` and `max_bytes` (all frames together) bound it. Time is monotonic seconds.

    To read, set or delete a key costs O(1), a deletion now and then also the sorting of the keys,
    which comes to O(log keys) for each. A deadline costs O(log of those there are); snapshots cost
    what `snapshot` says.

    There are no tombstones. A deletion has a number and a uuid, which DuplicateFilter remembers as
    any other; who misses it takes a whole snapshot in place of its map, never key by key.
    """

    def __init__(self, *, max_keys: int = 1_000_000, max_bytes: int = 1 << 30) -> None:
        self.max_keys = max_keys
        self.max_bytes = max_bytes
        self.sequence = 0
        self._entries: dict[bytes, Frames] = {}
        self._bytes = 0
        self._refused = 0
        self._deadlines: dict[bytes, float] = {}
        self._heap: list[tuple[float, bytes]] = []
        self._index: list[bytes] = []  # sorted; may name keys that are gone
        self._unindexed: list[bytes] = []  # new keys, not yet in the index
        self._whole: tuple[Frames, ...] | None = None

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: object) -> bool:
        return key in self._entries

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._entries)

    def get(self, key: bytes) -> Frames | None:
        """The entry of a key, None without one."""
        return self._entries.get(key)

    def apply(
        self, frames: Frames, sequence: int, expires_at: float | None = None
    ) -> Frames | None:
        """Store a checked update that already carries `sequence`; return the entry it replaces.

        An empty body deletes. The store's own sequence never goes back. A new deadline, or none,
        takes the place of the key's old one. Raises StoreFull.
        """
        key = frames[0]
        previous = self._entries.get(key)
        if frames[4]:
            self._put(key, frames, previous)
        elif previous is not None:
            self._remove(key, previous)
        if expires_at is not None or key in self._deadlines:
            self._set_deadline(key, expires_at if frames[4] else None)
        self._whole = None
        if sequence > self.sequence:
            self.sequence = sequence
        return previous

    def apply_all(self, entries: Sequence[Frames]) -> None:
        """Store checked entries that have bodies and never expire; as `apply` one by one.

        Raises StoreFull. In bulk, if all keys are new: 250 ns an entry less.
        """
        if not entries:
            return
        keys = [entry[0] for entry in entries]
        growth = sum(map(len, chain.from_iterable(entries)))
        crowded = len(self._entries) + len(keys) > self.max_keys
        known = len(set(keys)) < len(keys) or not self._entries.keys().isdisjoint(keys)
        if known or crowded or self._bytes + growth > self.max_bytes:
            for entry in entries:
                self.apply(entry, sequence_of(entry))
            return
        self._entries.update(zip(keys, entries, strict=True))
        self._unindexed += keys
        self._bytes += growth
        self._whole = None
        # Sequences are not negative, so their frames are in the order of the numbers.
        self.sequence = max(self.sequence, sequence_of(max(entries, key=itemgetter(1))))

    def _put(self, key: bytes, frames: Frames, previous: Frames | None) -> None:
        entries = self._entries
        if previous is None:
            growth = _size(frames)
            full = len(entries) >= self.max_keys
        else:  # what stays the same need not be counted: 150 ns less
            growth = len(frames[4]) - len(previous[4])
            growth += len(frames[3]) - len(previous[3]) + len(frames[2]) - len(previous[2])
            full = False
        if full or (growth > 0 and self._bytes + growth > self.max_bytes):
            self._refused += 1
            raise StoreFull(f"{len(entries)} keys, {self._bytes} bytes")
        if previous is None:
            self._unindexed.append(key)
        else:
            del entries[key]  # so that the key moves to the end of the order
        entries[key] = frames
        self._bytes += growth

    def _remove(self, key: bytes, previous: Frames) -> None:
        del self._entries[key]
        self._bytes -= _size(previous)
        # Without this, keys that come and go would fill the index for ever.
        if len(self._index) + len(self._unindexed) > 2 * len(self._entries) + _INSERT_LIMIT:
            self._index = sorted(self._entries)
            self._unindexed = []

    # --- snapshots

    def snapshot(self, subtree: bytes = b"", now: float | None = None) -> tuple[Frames, ...]:
        """The entries whose keys begin with `subtree`, fixed at this instant, ready to send.

        With `now`, the ttl of an ephemeral entry is the whole seconds that remain to it.
        Everything: O(keys), and free if nothing changed since the last time; in the order of the
        updates. A subtree: O(log keys + its size), and the first time after new keys came also
        the sorting of those; in the order of the keys.
        """
        entries = self._everything() if not subtree else self._below(subtree)
        if now is None or not self._deadlines:
            return entries
        return tuple(
            self._with_remaining(entry, now) if entry[0] in self._deadlines else entry
            for entry in entries
        )

    def _everything(self) -> tuple[Frames, ...]:
        if self._whole is None:
            self._whole = tuple(self._entries.values())
        return self._whole

    def _below(self, subtree: bytes) -> tuple[Frames, ...]:
        self._sort_index()
        index, entries = self._index, self._entries
        found = []
        last = None
        for position in range(bisect_left(index, subtree), len(index)):
            key = index[position]
            if not key.startswith(subtree):
                break
            # A key deleted and set again stands in the index twice.
            if key != last and key in entries:
                found.append(entries[key])
            last = key
        return tuple(found)

    def _sort_index(self) -> None:
        if len(self._unindexed) <= _INSERT_LIMIT:
            for key in self._unindexed:
                insort(self._index, key)
        else:
            self._index.extend(self._unindexed)
            self._index.sort()
        self._unindexed = []

    def _with_remaining(self, entry: Frames, now: float) -> Frames:
        properties = replace_ttl(entry[3], whole_seconds(self._deadlines[entry[0]] - now))
        return (entry[0], entry[1], entry[2], properties, entry[4])

    def changed_since(self, sequence: int) -> tuple[Frames, ...]:
        """The entries last updated after `sequence`, oldest first. Deletions leave no entry."""
        changed = []
        for entry in reversed(self._entries.values()):
            if sequence_of(entry) <= sequence:
                break
            changed.append(entry)
        return tuple(reversed(changed))

    # --- deadlines

    def expire(self, now: float, limit: int = 1000) -> list[bytes]:
        """At most `limit` keys whose time has come, earliest first; each is named once.

        The entries stay until the caller deletes them, with a message of its own.
        """
        due: list[bytes] = []
        while self._heap and self._heap[0][0] <= now and len(due) < limit:
            deadline, key = heappop(self._heap)
            if self._deadlines.get(key) == deadline:
                del self._deadlines[key]
                due.append(key)
        return due

    @property
    def next_expiry(self) -> float | None:
        """The earliest deadline, None if nothing expires."""
        while self._heap and self._deadlines.get(self._heap[0][1]) != self._heap[0][0]:
            heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def remaining_ttl(self, key: bytes, now: float) -> int | None:
        """The whole seconds a key has left, rounded up, at least 1; None if it stays."""
        deadline = self._deadlines.get(key)
        return None if deadline is None else whole_seconds(deadline - now)

    def _set_deadline(self, key: bytes, expires_at: float | None) -> None:
        if expires_at is None:
            self._deadlines.pop(key, None)
            return
        if self._deadlines.get(key) == expires_at:
            return
        self._deadlines[key] = expires_at
        heappush(self._heap, (expires_at, key))
        if len(self._heap) > 2 * len(self._deadlines) + _HEAP_SLACK:
            self._heap = [(deadline, name) for name, deadline in self._deadlines.items()]
            heapify(self._heap)

    def statistics(self) -> StoreStatistics:
        """A frozen snapshot of the counters."""
        return StoreStatistics(
            keys=len(self._entries),
            byte_count=self._bytes,
            ephemeral=len(self._deadlines),
            sequence=self.sequence,
            refused=self._refused,
        )


def _size(frames: Frames) -> int:
    return sum(map(len, frames))
