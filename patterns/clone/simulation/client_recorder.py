"""The recorder of a client: what its process is told and holds, against the history."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from patterns.clone.client_effects import (
    Deleted,
    Effect,
    Expired,
    Live,
    Put,
    Stale,
    WriteAcknowledged,
    WriteFailed,
)
from patterns.clone.interest import Interest
from patterns.clone.levels import REPLICATED
from patterns.clone.losses import LOST
from patterns.clone.messages import epoch_of
from patterns.clone.simulation.history import DRIFT, History, Write, pair_hash
from patterns.clone.store import KeyValueStore

# A client of a subtree notices a loss at the next heartbeat, and any client within this time.
NOTICE_SECONDS = 6.0


class Follower(Protocol):
    """What a client holds: its rules, or what was written down of them."""

    @property
    def store(self) -> KeyValueStore:
        """The map."""

    @property
    def interest(self) -> Interest:
        """The part of the servers' map that it follows."""

    @property
    def live(self) -> bool:
        """True if the map is current."""


class ClientRecorder:
    """What one process of a client is told and holds, against the history."""

    def __init__(self, history: History, name: str, clock: Callable[[], float]) -> None:
        self.view: dict[bytes, bytes] = {}  # rebuilt from the events alone
        self.writing: Write | None = None
        self.squeezed = False  # whether its queues are so short that it may lose updates
        self._history = history
        self._name = name
        self._clock = clock
        self._hash = 0
        self._epoch = 0
        self._sequence = 0
        self._differs_since: float | None = None

    @property
    def now(self) -> float:
        """The time of the run."""
        return self._clock()

    def watch(self, follower: Follower) -> None:
        """This client is the one that is recorded."""
        self._protocol = follower

    def name(self, uuid: bytes) -> bytes:
        """The client has named the write that is under way."""
        if self.writing is not None:
            self._history.writes[uuid] = self.writing
        return uuid

    def forget(self, write: Write) -> None:
        """The client did not take the write."""
        uuids = [uuid for uuid, each in self._history.writes.items() if each is write]
        for uuid in uuids:
            del self._history.writes[uuid]

    def see(self, effects: list[Effect]) -> None:
        """The rules have decided this; their state is already the one after it."""
        for effect in effects:
            match effect:
                case Put(key, body, added):
                    self._changed(key, body, added)
                case Deleted(key):
                    self._changed(key, b"", False)
                case Expired(key):
                    if not self._protocol.live:  # or its server says so, of what it has missed too
                        self._check_expired(key)
                    self._changed(key, b"", False)
                case WriteAcknowledged(uuid, sequence):
                    if self._protocol.store.sequence < sequence:
                        self.violate("I9", f"is told of its write {sequence:x} before it shows")
                    self._answered(uuid, sequence, "")
                case WriteFailed(uuid, reason, number):
                    self._answered(uuid, None, reason, number)
                case Live():
                    self._joined()
                case Stale(reason):
                    self._differs_since = None
                    if self.squeezed and reason == LOST:
                        fault = (self.now, self.now, "loss", (self._name,))
                        self._history.faults.append(fault)
                case _:
                    pass
        if self._protocol.live:
            self._compare()

    def _check_expired(self, key: bytes) -> None:
        """I12: who follows nobody lets a value go by its own clock, and not early either."""
        updates = (entry for activity in self._history.activities for entry in activity.entries)
        body = self.view.get(key)
        written = (each for each in updates if (each.key, each.body) == (key, body))
        first = min(written, key=lambda each: each.at, default=None)
        if first is None:
            return
        lived = self.now - first.at
        if not first.ttl or lived < first.ttl * (1 - DRIFT) - self._history.slack:
            self.violate("I12", f"lets {key!r} expire after {lived:.3f} of {first.ttl} s")

    def _changed(self, key: bytes, body: bytes, added: bool) -> None:
        before = self.view.pop(key, b"")
        if body:
            self.view[key] = body
        if (added and before) or (not added and not before):
            self.violate("I4", f"is told of {key!r} what does not follow from what it was told")
        self._hash ^= pair_hash(key, before) ^ pair_hash(key, body)

    def _joined(self) -> None:
        epoch = epoch_of(self._protocol.store.sequence)
        if epoch < self._epoch:
            self.violate("I3", f"goes from epoch {self._epoch} back to {epoch}")
        self._epoch = max(epoch, self._epoch)
        self._sequence = 0

    def _compare(self) -> None:
        """The map must be the one that its server had at this number, or soon be left."""
        sequence = self._protocol.store.sequence
        if sequence < self._sequence:
            self.violate("I3", f"goes from number {self._sequence:x} back to {sequence:x}")
        self._sequence = sequence
        activity = self._history.by_epoch.get(epoch_of(sequence))
        interest = self._protocol.interest
        expected = activity.hash_at(interest.subtrees, sequence) if activity is not None else None
        if activity is not None and sequence > activity.released:
            self.violate("I20", f"shows number {sequence:x}, which its server holds back")
        if expected == self._hash:
            self._differs_since = None
        elif expected is None or activity is None:
            self.violate("I4", f"has number {sequence:x}, which nobody gave")
        elif interest.everything:
            self.violate("I4", f"has another map than its server had at number {sequence:x}")
        elif self._differs_since is None:
            self._differs_since = self.now

    def check_map(self) -> None:
        """I4: the map itself has what the events have told."""
        held = {entry[0]: entry[4] for entry in self._protocol.store.snapshot()}
        if self._protocol.live and held != self.view:
            self.violate("I4", "holds another map than it was told of")

    def check_notices(self) -> None:
        """A loss must have been noticed by now; call it from time to time while not paused."""
        since = self._differs_since
        if since is not None and self.now - since > NOTICE_SECONDS:
            self.violate("I14", f"has not noticed since {since:.3f} s that it missed an update")
            self._differs_since = None
        if self._protocol.live and self._misses_last_change():
            self.violate("I14", "has not noticed that it missed the last updates")

    def _misses_last_change(self) -> bool:
        sequence = self._protocol.store.sequence
        activity = self._history.by_epoch.get(epoch_of(sequence))
        if activity is None:
            return False
        last = activity.last_release(self._protocol.interest.subtrees)
        return last is not None and last[0] > sequence and self.now - last[1] > NOTICE_SECONDS

    def _answered(self, uuid: bytes, sequence: int | None, reason: str, applied: int = 0) -> None:
        write = self._history.writes[uuid]
        write.answered, write.sequence, write.reason = self.now, sequence, reason
        write.applied = applied or None
        if sequence is not None and write.level == REPLICATED:
            if sequence not in self._history.promised:
                self.violate("I6b", f"takes {sequence:x} for replicated, and no server says so")

    def violate(self, invariant: str, text: str) -> None:
        """Note what must not be."""
        self._history.violate(invariant, self.now, f"{self._name} {text}")
