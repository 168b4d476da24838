"""What a client collects aside while it joins: a snapshot of each subtree, and what comes since.

The snapshots may be of different instants, each with a number of its own. What was published
after one of them waits in the queue, so the map is consistent as soon as the subscription has
reached the highest of these numbers: then every subtree has all that was published until then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from patterns.clone.interest import Interest
from patterns.clone.messages import (
    Frames,
    SnapshotEnd,
    check_message,
    check_publication,
    decode_ttl,
    epoch_of,
    sequence_of,
)
from patterns.clone.packs import decode_pack, is_pack
from patterns.clone.store import KeyValueStore


@dataclass(slots=True)
class _Part:
    subtree: bytes
    entries: int = 0
    sequence: int | None = None  # None: it is not complete


class Published(NamedTuple):
    """An update that waits for the snapshot; its deadline is None if it stays."""

    frames: Frames
    sequence: int
    expires_at: float | None


class Collection:
    """One attempt to join: `requests` are the numbers of its requests and their subtrees.

    With `packed`, packed snapshots were asked for. At most `max_queued` updates wait.
    """

    def __init__(
        self,
        interest: Interest,
        requests: Mapping[int, bytes],
        make_store: Callable[[], KeyValueStore],
        *,
        packed: bool,
        max_body: int,
        max_queued: int,
    ) -> None:
        self.store = make_store()
        self._interest = interest
        self._packed = packed
        self._max_body = max_body
        self._max_queued = max_queued
        self._parts = {number: _Part(subtree) for number, subtree in requests.items()}
        self._missing = len(requests)
        self._queue: list[Published] = []
        self.features: frozenset[str] = frozenset()  # what the server can do beyond RFC 12
        self._reached = 0.0  # the subscription has everything up to this number

    def expects(self, request: int) -> bool:
        """True if the answer to this request is still under way."""
        part = self._parts.get(request)
        return part is not None and part.sequence is None

    def receive(self, frames: Sequence[bytes], request: int, now: float) -> None:
        """A part of a snapshot, KVSYNC or KVPACK. Raises MalformedMessage, and StoreFull."""
        if self._packed and is_pack(frames):
            self._add_pack(decode_pack(frames, max_body=self._max_body), self._parts[request], now)
        else:
            check_message(frames, max_body=self._max_body)
            self._add_entry(tuple(frames), self._parts[request], now)

    def _add_entry(self, frames: Frames, part: _Part, now: float) -> None:
        ttl = check_publication(frames)
        part.entries += 1
        if frames[0].startswith(part.subtree):
            expires_at = None if ttl is None else now + ttl
            self.store.apply(frames, sequence_of(frames), expires_at)

    def _add_pack(self, entries: Sequence[Frames], part: _Part, now: float) -> None:
        part.entries += len(entries)
        ours = [entry for entry in entries if entry[0].startswith(part.subtree)]
        if not any([entry[3] for entry in ours]):
            self.store.apply_all(ours)
            return
        for entry in ours:
            ttl = decode_ttl(entry[3])
            self.store.apply(entry, sequence_of(entry), None if ttl is None else now + ttl)

    def finish(self, end: SnapshotEnd, request: int) -> str:
        """The end of a snapshot; returns what is wrong with it, in two words, or nothing."""
        part = self._parts[request]
        if end.entries is not None and end.entries != part.entries:
            return "incomplete snapshot"
        if any(epoch_of(each) != epoch_of(end.sequence) for each in self._sequences()):
            return "new epoch"
        part.sequence = end.sequence
        self.features = end.features
        self._missing -= 1
        return ""

    def add_update(self, update: Published) -> bool:
        """Queue what was published; False if there is no room."""
        if len(self._queue) >= self._max_queued:
            return False
        self._queue.append(update)
        self._reached = max(self._reached, update.sequence)
        return True

    def receive_heartbeat(self, sequence: int | None) -> None:
        """Everything up to this number has arrived; a server that tells none is believed."""
        self._reached = max(self._reached, float("inf") if sequence is None else sequence)

    def _sequences(self) -> list[int]:
        return [part.sequence for part in self._parts.values() if part.sequence is not None]

    @property
    def oldest(self) -> int:
        """The number of the oldest snapshot."""
        return min(self._sequences())

    @property
    def newest(self) -> int:
        """The number of the newest snapshot."""
        return max(self._sequences())

    @property
    def consistent(self) -> bool:
        """True if all snapshots are there and, with the queue, show the same instant."""
        if self._missing:
            return False
        return self.oldest == self.newest or self._reached >= self.newest

    def take_updates(self) -> Iterator[tuple[Published, bool]]:
        """What waited, in order, and for each whether the snapshot of its subtree lacks it."""
        known = {part.subtree: part.sequence or 0 for part in self._parts.values()}
        for update in self._queue:
            subtree = self._interest.subtree_of(update.frames[0])
            yield update, update.sequence > known[subtree]
