"""What a server remembers of updates: whether it had one before, and in which order they were made.

A client has one update of a key under way at a time: with the next one, all earlier ones have
ended. One of those that arrives all the same, by way of an older connection, must not be applied.
"""

from __future__ import annotations

import itertools

from patterns.clone.numbered import CLIENT_SIZE, is_numbered

# The answer to an update that comes after a later one of its client for the same key.
SUPERSEDED = "superseded"

# Clients' names, to keys, to the uuid of the client's newest write of that key.
_Newest = dict[bytes, dict[bytes, bytes]]


class DuplicateFilter:
    """Remembers what became of updates by their uuids, so that one sent twice is answered alike.

    That is the sequence number under which it was applied, or the reason why it was refused;
    SUPERSEDED if a later one of the same client and key was applied (see `numbered`). At most
    `max_entries` and none longer than `max_age` seconds; the last half of the entries, and those
    of the last half of the time, are remembered for sure. An update without a uuid (RFC 12 allows
    it) is never a duplicate.
    """

    def __init__(self, *, max_entries: int = 100_000, max_age: float = 600.0) -> None:
        self.max_entries = max_entries
        self.max_age = max_age
        # Two halves, the older one forgotten as a whole: 120 ns an update, where an OrderedDict
        # that forgets one by one takes 500.
        self._newer: dict[bytes, int | str] = {}
        self._older: dict[bytes, int | str] = {}
        self._newer_order: _Newest = {}
        self._older_order: _Newest = {}
        self._turn_at = float("-inf")

    def __len__(self) -> int:
        return len(self._newer) + len(self._older)

    def seen(self, uuid: bytes, key: bytes, now: float) -> int | str | None:
        """What becomes of an update: sequence or reason, None if it is new (or is forgotten)."""
        if now >= self._turn_at:
            self.expire(now)
        known = self._newer.get(uuid)
        if known is None:
            known = self._older.get(uuid)
            if known is None and self._is_late(uuid, key):
                return SUPERSEDED
        return known

    def _is_late(self, uuid: bytes, key: bytes) -> bool:
        client = uuid[:CLIENT_SIZE]
        keys = self._newer_order.get(client)
        if keys is None or key not in keys:
            keys = self._older_order.get(client)
            if keys is None or key not in keys:
                return False
        return keys[key] > uuid

    def remember(self, uuid: bytes, result: int | str, key: bytes | None, now: float) -> None:
        """Note that a uuid was applied under this number, or why not; the oldest make room.

        With `key`, that of an update that was applied: its client's earlier ones are over. A
        client's updates of a key are remembered in their order.
        """
        if not uuid:
            return
        if now >= self._turn_at:
            self.expire(now)
        elif len(self._newer) >= self.max_entries // 2:
            self._turn(now)
        self._newer[uuid] = result
        if key is not None and is_numbered(uuid):
            client = uuid[:CLIENT_SIZE]
            keys = self._newer_order.get(client)
            if keys is None:
                self._newer_order[client] = {key: uuid}
            else:
                keys[key] = uuid

    def _turn(self, begins_at: float) -> None:
        self._older, self._newer = self._newer, {}
        self._older_order, self._newer_order = self._newer_order, {}
        self._turn_at = begins_at + self.max_age / 2

    def newest(self, limit: int) -> list[tuple[bytes, int | str, bytes | None]]:
        """At most `limit` of the last uuids, oldest first: uuid, what became of it, its key.

        The key only of those that show an order: who is told them can go on as this one would.
        """
        keys = {
            uuid: key
            for order in (self._older_order, self._newer_order)
            for newest in order.values()
            for key, uuid in newest.items()
        }
        results = itertools.chain(reversed(self._newer.items()), reversed(self._older.items()))
        newest = [(*each, keys.get(each[0])) for each in itertools.islice(results, limit)]
        return newest[::-1]

    def clear(self) -> None:
        """Forget everything."""
        self._newer, self._older = {}, {}
        self._newer_order, self._older_order = {}, {}

    def empty_copy(self) -> DuplicateFilter:
        """A new one with the same limits."""
        return DuplicateFilter(max_entries=self.max_entries, max_age=self.max_age)

    def replace(self, other: DuplicateFilter) -> None:
        """Forget everything, and know what the other one does; that is used no more."""
        self._newer, self._older, self._turn_at = other._newer, other._older, other._turn_at
        self._newer_order, self._older_order = other._newer_order, other._older_order

    def expire(self, now: float) -> None:
        """Forget what is too old."""
        if now >= self._turn_at + self.max_age / 2:
            self.clear()
            self._turn(now)
        elif now >= self._turn_at:
            self._turn(self._turn_at)
