"""The updates that a passive server heard from clients and not yet from the active server."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

from patterns.clone.conditions import decode_condition
from patterns.clone.messages import Frames


@dataclass(slots=True)
class _Pending:
    frames: Frames
    heard_at: float
    conditional: bool  # the condition says what it may overwrite, whatever came before or after


class PendingList:
    """Clients' updates in the order they arrived, until the active server publishes them.

    At most `max_entries` and `max_bytes`, the oldest dropped first, none longer than `max_age`
    seconds: an update that the active has not published by then never reached it, and would only
    overwrite newer values at a failover. The active's own publications never get in here.
    """

    def __init__(
        self, *, max_entries: int = 10_000, max_bytes: int = 64 << 20, max_age: float = 10.0
    ) -> None:
        self.max_entries = max_entries
        self.max_bytes = max_bytes
        self.max_age = max_age
        self.dropped = 0
        self._entries: dict[int, _Pending] = {}
        self._by_uuid: dict[bytes, int] = {}
        self._by_key: dict[bytes, list[int]] = {}
        self._published: dict[bytes, float] = {}  # uuids whose client's copy is yet to come
        self._arrivals = 0
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Frames]:
        return iter([entry.frames for entry in self._entries.values()])

    def add(self, frames: Frames, now: float) -> None:
        """Hold an update. Sent again, it keeps its place and is as good as new.

        An update without a uuid cannot be recognised: it is held each time it arrives.
        """
        known = self._by_uuid.get(frames[2])
        if known is not None:
            self._entries[known].heard_at = now
            return
        self._arrivals += 1
        conditional = bool(frames[3]) and decode_condition(frames[3]) is not None
        self._entries[self._arrivals] = _Pending(frames, now, conditional)
        self._by_key.setdefault(frames[0], []).append(self._arrivals)
        if frames[2]:
            self._by_uuid[frames[2]] = self._arrivals
        self._bytes += _size(frames)
        while len(self._entries) > self.max_entries or self._bytes > self.max_bytes:
            self._drop(next(iter(self._entries)))

    def clear_published(self, uuid: bytes, now: float) -> None:
        """The active has published this uuid: forget it, and what came before it for its key.

        What came before is older than what the key has now: applied at a failover, it would
        bring an old value back. One with a condition would not, and may have been acknowledged.
        """
        arrival = self._by_uuid.get(uuid)
        if arrival is None:
            self._expect_copy(uuid, now)
        else:
            self._clear(arrival)

    def clear_anonymous(self, frames: Frames) -> None:
        """The active has published an update without a uuid: the first of its key and value is it.

        Applied once more at a failover it would undo what came since, an expiry for example.
        """
        for arrival in self._by_key.get(frames[0], []):
            held = self._entries[arrival].frames
            if not held[2] and held[4] == frames[4]:
                self._clear(arrival)
                return

    def _clear(self, arrival: int) -> None:
        key = self._entries[arrival].frames[0]
        for earlier in [each for each in self._by_key[key] if each < arrival]:
            if not self._entries[earlier].conditional:
                self._drop(earlier)
        self._remove(arrival)

    def _expect_copy(self, uuid: bytes, now: float) -> None:
        if uuid:
            self._published[uuid] = now
        if len(self._published) > self.max_entries:
            del self._published[next(iter(self._published))]

    def receive_late_copy(self, key: bytes, uuid: bytes) -> None:
        """The client's copy of an update that the active had published before.

        What had come before the publication for its key is older. A second copy, of a writer that
        has not heard the answer, says nothing about what came in between.
        """
        published_at = self._published.pop(uuid, None)
        if published_at is None:
            return
        arrivals = self._by_key.get(key, [])
        for arrival in [n for n in arrivals if self._entries[n].heard_at <= published_at]:
            if not self._entries[arrival].conditional:
                self._drop(arrival)

    def clear_refused(self, uuid: bytes) -> None:
        """The active has refused this uuid: its writer has been told, so it never applies."""
        arrival = self._by_uuid.get(uuid)
        if arrival is not None:
            self._remove(arrival)

    def drop_heard_before(self, instant: float) -> None:
        """Drop what was last heard before an instant: it is not newer than the data of then."""
        for arrival in [n for n, entry in self._entries.items() if entry.heard_at < instant]:
            self._drop(arrival)

    def expire(self, now: float) -> None:
        """Drop what has waited too long."""
        self.drop_heard_before(now - self.max_age)

    def take_all(self) -> list[Frames]:
        """Everything, in the order of arrival; the list is empty afterwards."""
        frames = [entry.frames for entry in self._entries.values()]
        self._entries.clear()
        self._by_uuid.clear()
        self._by_key.clear()
        self._published.clear()
        self._bytes = 0
        return frames

    def _drop(self, arrival: int) -> None:
        self.dropped += 1
        self._remove(arrival)

    def _remove(self, arrival: int) -> None:
        frames = self._entries.pop(arrival).frames
        self._bytes -= _size(frames)
        self._by_uuid.pop(frames[2], None)
        siblings = self._by_key[frames[0]]
        siblings.remove(arrival)
        if not siblings:
            del self._by_key[frames[0]]


def in_order(updates: list[Frames]) -> list[Frames]:
    """Clients' updates in the order of their arrival, but each after the one that it builds on.

    Copies of two writers may have come in another order than their writes were answered in. One
    with a condition waits for the update that it names, and no longer than up to the next update of
    its key without a condition: that may be its own writer's, who had an answer by then.
    """
    ordered: list[Frames] = []
    queue = deque(updates)
    to_come = {frames[2] for frames in updates if frames[2]}
    waiting: dict[bytes, list[tuple[bytes, Frames]]] = {}
    while queue:
        frames = queue.popleft()
        key, uuid = frames[0], frames[2]
        condition = decode_condition(frames[3]) if frames[3] else None
        if condition is not None and condition.uuid in to_come:
            waiting.setdefault(key, []).append((condition.uuid, frames))
            continue
        held = waiting.pop(key, [])
        if condition is None:
            late = [each for awaited, each in held if awaited != uuid]
            ordered += late
            to_come -= {each[2] for each in late}
            held = [each for each in held if each[0] == uuid]
        ordered.append(frames)
        to_come.discard(uuid)
        queue.extendleft(each for awaited, each in reversed(held) if awaited == uuid)
        if others := [each for each in held if each[0] != uuid]:
            waiting[key] = others
    return ordered + [each for _, each in chain.from_iterable(waiting.values())]


def _size(frames: Frames) -> int:
    return sum(map(len, frames))
