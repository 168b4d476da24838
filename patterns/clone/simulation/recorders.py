"""Recorders: what processes of the pair and its clients do and are told, against the history."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable
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
from patterns.clone.fork import renewed
from patterns.clone.interest import Interest
from patterns.clone.levels import REPLICATED, decode_level
from patterns.clone.messages import (
    HUGZ,
    Frames,
    counter_of,
    decode_heartbeat,
    decode_refusal,
    encode_sequence,
    epoch_of,
    sequence_of,
)
from patterns.clone.server_effects import Effect as ServerEffect
from patterns.clone.server_effects import ReportDiverged
from patterns.clone.server_protocol import ServerProtocol, ServerState
from patterns.clone.simulation.history import (
    EVERYTHING,
    Activity,
    Copy,
    Entry,
    History,
    Write,
    map_hash,
    pair_hash,
)
from patterns.clone.simulation.promises import check_promotion
from patterns.clone.store import KeyValueStore

# A client of a subtree notices a loss at the next heartbeat, and any client within this time.
NOTICE_SECONDS = 6.0
# A server whose peer's machine is gone without a word notices it within this time, or later if
# something holds up what comes from it.
_NEWS_SECONDS = 3.0


def tell_of_updates(store: KeyValueStore, numbered: Callable[[Frames, int], None]) -> None:
    """Call `numbered(frames, sequence)` after each update that the map takes from now on."""
    apply = store.apply

    def recorded(frames: Frames, sequence: int, expires_at: float | None = None) -> Frames | None:
        previous = apply(frames, sequence, expires_at)
        numbered(frames, sequence)
        return previous

    store.apply = recorded  # type: ignore[method-assign]


class ServerRecorder:
    """What one process of a server does, for the history; `clock` tells the time of the run."""

    def __init__(self, history: History, name: str, clock: Callable[[], float]) -> None:
        self.activity: Activity | None = None
        self._held: list[Activity] = []  # those whose updates this process still stands for
        self._copy: Copy | None = None
        self._left_at: float | None = None  # serves nobody since then: it hands over
        self._history = history
        self._name = name
        self._clock = clock

    @property
    def now(self) -> float:
        """The time of the run."""
        return self._clock()

    def begin(self, entries: Iterable[Frames], fork: int) -> None:
        """The server is about to be active with what it held at the number `fork`.

        That must have been published, or be nothing.
        """
        goes_on = self.activity is not None
        self._end()
        history = self._history
        activity = history.begin(self._name, self.now, fork, entries)
        activity.first = counter_of(renewed(fork, 0)) if goes_on else 0
        self.activity = activity
        self._held.append(activity)
        earlier = history.by_epoch.get(epoch_of(fork))
        if earlier is not None and earlier.hash_at(EVERYTHING, fork) != map_hash(activity.map):
            self.violate("I4", "leads with a map that never was")

    def hold(self, store: KeyValueStore) -> None:
        """Watch the map that the server has now, which may be another one than it had."""
        copy = self._copy
        if copy is not None and copy.store is store:
            return
        if copy is not None:
            copy.ended = self.now
        self._copy = Copy(self._name, store)
        self._history.copies.append(self._copy)
        tell_of_updates(store, self.numbered)

    def yields(self) -> None:
        """The server follows its peer from now on."""
        self._end()
        for activity in self._held:
            activity.yielded = self.now
        self._held.clear()

    def dies(self) -> None:
        """The process is about to be killed."""
        self._end()
        for activity in self._held:
            activity.died = self.now
        if self._copy is not None:
            self._copy.ended, self._copy.died = self.now, True

    def _end(self) -> None:
        if self.activity is not None:
            self.activity.ended = self.now if self._left_at is None else self._left_at
        self.activity = self._left_at = None

    def leaves(self) -> None:
        """The server hands over to its peer, and serves nobody."""
        self._left_at = self.now

    def stays(self) -> None:
        """The peer has not taken over, or nobody knows that it has."""
        if self.activity is not None and self._left_at is not None:
            self.activity.absences.append((self._left_at, self.now))
        self._left_at = None

    def number(self, sequence: int) -> None:
        """Give the activity its epoch, from a number of it."""
        activity = self.activity
        if activity is None or activity.epoch or epoch_of(sequence) <= epoch_of(activity.fork):
            return  # that, or what was held back before this activity began
        activity.epoch = epoch_of(sequence)
        known = self._history.by_epoch.setdefault(activity.epoch, activity)
        if known is activity:
            return
        undone = known.died is not None or self._began_below(known)
        if self._name in self._history.set_back and undone:
            self._history.void = True
        else:
            self.violate("I1", f"is active in epoch {activity.epoch}, as {known.node} was before")

    def _began_below(self, known: Activity) -> bool:
        """Whether this server began with nothing, in an older epoch than the peer's, unheard."""
        return known.node != self._name and any(
            each.node == self._name
            and not each.fork
            and each.epoch < known.epoch
            and each.began > known.began
            for each in self._history.activities
        )

    def see(self, effects: list[ServerEffect]) -> None:
        """The rules have decided this."""
        for effect in effects:
            if isinstance(effect, ReportDiverged):
                for held in self._held:
                    held.reported.update(entry[2] for entry in effect.entries)

    def numbered(self, frames: Frames, sequence: int) -> None:
        """The server has stored an update. If it is active, it has given it this number."""
        activity = self.activity
        if activity is None:
            return
        self.number(sequence)
        if sequence != activity.sequence + 1:
            self.violate("I1", f"numbers {sequence:x} after {activity.sequence:x}")
        activity.add(Entry.of((frames[0], encode_sequence(sequence), *frames[2:]), self.now))

    def published(self, frames: Frames, confirmed: int = 0, holds_back: bool = False) -> None:
        """This goes to the clients: a new number, an old one again, a heartbeat or a refusal.

        The server takes it that its peer holds all up to `confirmed`; if it `holds_back`, it lets
        nothing else go.
        """
        activity, sequence = self.activity, sequence_of(frames)
        if activity is None:
            return
        if frames[0] == HUGZ:
            self._check_beat(activity, decode_heartbeat(frames).sequence or 0)
        if not sequence:
            if frames[2] and decode_refusal(frames):
                self._history.refused.setdefault(frames[2], (activity, self.now))
            return
        if sequence > max(activity.sequence, activity.fork):
            self.numbered(frames, sequence)
        is_new = self._release(sequence)
        if not is_new:
            self._check_known(sequence, frames[2])
        elif holds_back and sequence > confirmed:
            self.violate("I20", f"publishes {sequence:x}, which its peer has not confirmed")
        # Sent again to a writer that has asked for no level, it says nothing of the peer.
        if (is_new and sequence <= confirmed) or decode_level(frames[3]) == REPLICATED:
            self._promise(sequence)

    def _check_beat(self, activity: Activity, told: int) -> None:
        """A heartbeat tells the last number that was published; the first one tells the epoch."""
        self.number(told)
        if epoch_of(told) == activity.epoch and told > activity.released:
            self.violate("I20", f"beats with {told:x}, which it holds back")

    def _release(self, sequence: int) -> bool:
        """Whether this is new to the clients. An update may leave after a new epoch has begun."""
        activity = self._history.by_epoch.get(epoch_of(sequence))
        if activity not in self._held or sequence <= activity.released:
            return False
        if sequence != activity.entries[len(activity.releases)].sequence:
            self.violate("I20", f"publishes {sequence:x} after {activity.released:x}")
        activity.releases.append(self.now)
        return True

    def _promise(self, sequence: int) -> None:
        """The server says that its peer holds this: it does, or has just died with it."""
        history = self._history
        if not any(
            copy.node != self._name and (not copy.died or self._may_not_know(copy))
            for copy in history.holders(sequence)
        ):
            self.violate("I6b", f"says that its peer holds {sequence:x}, which it does not")
        history.promised.setdefault(sequence, self.now)

    def _may_not_know(self, copy: Copy) -> bool:
        """Whether news of the peer's death may still be under way, or what it said before."""
        assert copy.ended is not None
        return self.now < copy.ended + _NEWS_SECONDS or any(
            {*nodes} <= {self._name, copy.node}
            and (kind in ("cut", "slow") or (kind == "pause" and self._name in nodes))
            and begin <= self.now <= end + _NEWS_SECONDS
            for begin, end, kind, nodes in self._history.faults
        )

    def _check_known(self, sequence: int, uuid: bytes) -> None:
        """An update that is sent again is answered with its first number, if it is in the map."""
        activity = self._history.by_epoch.get(epoch_of(sequence))
        entries = activity.entries if activity is not None else []
        place = bisect_left(entries, sequence, key=lambda each: each.sequence)
        known = entries[place] if place < len(entries) else None
        if known is None or (known.sequence, known.uuid) != (sequence, uuid):
            self.violate("I1", f"gives {sequence:x} to a second update")
        position = max(self.activity.sequence, self.activity.fork) if self.activity else 0
        if not self._history.holds(position, sequence):
            self.violate("I6a", f"answers {sequence:x} as applied, which it has given up")

    def check_promises(self, position: int) -> None:
        """The server is about to be active with all up to this number."""
        check_promotion(self._history, self._name, position, self.now)

    def compare(self, protocol: ServerProtocol) -> None:
        """What a passive server holds is what the active had at the same number."""
        if protocol.state is ServerState.PASSIVE:
            held = {entry[0]: entry[4] for entry in protocol.store.snapshot()}
            self.compare_map(protocol.sequence, held)

    def compare_map(self, sequence: int, held: dict[bytes, bytes]) -> None:
        """The same, for the keys and bodies held at this number."""
        leader = self._history.by_epoch.get(epoch_of(sequence))
        if leader is not None and leader.hash_at(EVERYTHING, sequence) != map_hash(held):
            self.violate("I4", f"holds another map than the active had at number {sequence:x}")

    def violate(self, invariant: str, text: str) -> None:
        """Note what must not be."""
        self._history.violate(invariant, self.now, f"{self._name} {text}")


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
                case Deleted(key) | Expired(key):
                    self._changed(key, b"", False)
                case WriteAcknowledged(uuid, sequence):
                    if self._protocol.store.sequence < sequence:
                        self.violate("I9", f"is told of its write {sequence:x} before it shows")
                    self._answered(uuid, sequence, "")
                case WriteFailed(uuid, reason, number):
                    self._answered(uuid, None, reason, number)
                case Live():
                    self._joined()
                case Stale():
                    self._differs_since = None
                case _:
                    pass
        if self._protocol.live:
            self._compare()

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
