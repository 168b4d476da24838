"""The recorder of a server: what its process holds, numbers and lets go, against the history."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable

from patterns.clone.fork import renewed
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
from patterns.clone.replication import Replication
from patterns.clone.server_effects import Effect, ReportDiverged, ReportReplication
from patterns.clone.server_protocol import ServerProtocol, ServerState
from patterns.clone.simulation.history import (
    EVERYTHING,
    Activity,
    Copy,
    Entry,
    History,
    map_hash,
)
from patterns.clone.simulation.promises import check_promotion, peer_holds
from patterns.clone.simulation.publications import (
    asks_for_a_copy,
    broken_by_refusal,
    has_to_refuse,
    is_replaced,
)
from patterns.clone.store import KeyValueStore


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
        self.link: Replication | None = None  # of the real server, if that is here
        self._held: list[Activity] = []  # those whose updates this process still stands for
        self._copy: Copy | None = None
        self._left_at: float | None = None  # serves nobody since then: it hands over
        self._late_at: float | None = None  # when it last found that its peer does not confirm
        self._history = history
        self.name = name
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
        activity = history.begin(self.name, self.now, fork, entries)
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
        self._copy = Copy(self.name, store)
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
        undone = known.died is not None or self._history.began_below(self.name, known)
        if self.name in self._history.set_back and undone:
            self._history.void = True
        else:
            self.violate("I1", f"is active in epoch {activity.epoch}, as {known.node} was before")

    def see(self, effects: list[Effect]) -> None:
        """The rules have decided this."""
        for effect in effects:
            if isinstance(effect, ReportReplication) and not effect.in_sync:
                self._late_at = self.now
            if isinstance(effect, ReportDiverged):
                for held in self._held:
                    held.reported.update(entry[2] for entry in effect.entries)

    def numbered(self, frames: Frames, sequence: int) -> None:
        """The server has stored an update. If it is active, it has given it this number."""
        activity = self.activity
        if activity is None:
            return
        self.number(sequence)
        if self.link is not None and has_to_refuse(self._history, frames[2], self.link):
            self.violate("I21", f"numbers {sequence:x}, which it has to refuse")
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
            if sequence:
                self.violate("I20", f"publishes {sequence:x}, and is not active")
            return
        if frames[0] == HUGZ:
            self._check_beat(activity, decode_heartbeat(frames).sequence or 0)
        if not sequence:
            if frames[2] and (reason := decode_refusal(frames)):
                self._refused(activity, frames[2], reason)
            return
        if sequence > max(activity.sequence, activity.fork):
            self.numbered(frames, sequence)
        is_new = self._release(sequence)
        if not is_new:
            self._check_known(sequence, frames[2])
        elif sequence > confirmed and (holds_back or self._waits_for_its_peer(frames[2])):
            self.violate("I20", f"publishes {sequence:x}, which its peer has not confirmed")
        elif is_replaced(self._history, activity, self.now):
            self.violate("I20", f"publishes {sequence:x}, and has been replaced")
        # Sent again to a writer that has asked for no level, it says nothing of the peer.
        if (is_new and sequence <= confirmed) or decode_level(frames[3]) == REPLICATED:
            self._promise(sequence)

    def refuses_for(self, uuid: bytes, entry: Frames | None) -> None:
        """I22: a write on condition is refused as it meets this entry, None for none."""
        write = self._history.writes.get(uuid)
        if write is not None and write.seen == (b"" if entry is None else entry[2]):
            self.violate("I22", f"refuses {uuid.hex()}, which meets what its writer has seen")

    def _refused(self, activity: Activity, uuid: bytes, reason: str) -> None:
        """Refused once, and again to who asks again; the first time there is a cause."""
        history = self._history
        first = history.refused.setdefault(uuid, (activity, self.now))
        if first != (activity, self.now) or self.link is None:
            return
        was_late = self._late_at == self.now  # it may be in step again when the refusal leaves
        if broken := broken_by_refusal(history, uuid, reason, self.link, was_late=was_late):
            self.violate(broken, f"refuses {uuid.hex()} as {reason}, without a cause")

    def _waits_for_its_peer(self, uuid: bytes) -> bool:
        """Whether this is not to leave before the passive server has it, which keeps up."""
        in_sync = self.link is not None and self.link.in_sync
        return in_sync and asks_for_a_copy(self._history, uuid)

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
        if not peer_holds(self._history, self.name, sequence, self.now):
            self.violate("I6b", f"says that its peer holds {sequence:x}, which it does not")
        self._history.promised.setdefault(sequence, self.now)

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

    def may_be_forced(self, position: int) -> bool:
        """Whether the server may be told to lead with what it held at this number, an old copy.

        By an operator, just now; or since the other one leads, and has none of that.
        """
        history = self._history
        if any(until == self.now for _, until in history.outages):
            return True
        held = history.reach(position).keys() - {0}
        rivals = (each for each in history.activities if each.node != self.name)
        leads = (each.sequence for each in rivals if each.ended is None)
        return bool(held) and any(held.isdisjoint(history.reach(number)) for number in leads)

    def check_promises(self, position: int) -> None:
        """The server is about to be active with all up to this number."""
        check_promotion(self._history, self.name, position, self.now)

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
        self._history.violate(invariant, self.now, f"{self.name} {text}")
