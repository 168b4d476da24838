"""Planted bugs: each brings back one defect that the design excludes, by a patch of real code.

`seeds_to_catch` made the table of docs/simulation.md.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import pytest

from patterns.binary_star import conflicts, protocol
from patterns.binary_star.messages import State
from patterns.binary_star.protocol import BinaryStarProtocol
from patterns.binary_star.table import TABLE, Event
from patterns.clone import client_protocol, handlers, interfaces
from patterns.clone.client import CloneClient
from patterns.clone.client_effects import Deleted, WriteFailed
from patterns.clone.client_protocol import ClientProtocol
from patterns.clone.conditions import Condition
from patterns.clone.duplicates import DuplicateFilter
from patterns.clone.following import Follower
from patterns.clone.fork import Fork
from patterns.clone.handlers import CloneServer
from patterns.clone.link_handlers import LinkFollower
from patterns.clone.losses import LossDetector
from patterns.clone.messages import encode_sequence, epoch_of, replace_sequence, sequence_of
from patterns.clone.ordering import Ordering
from patterns.clone.outbox import Outbox
from patterns.clone.peer_link import encode_held
from patterns.clone.pending import PendingList
from patterns.clone.replication import Replication
from patterns.clone.server_effects import Confirm, Publish
from patterns.clone.server_protocol import ServerProtocol, ServerState
from patterns.clone.simulation.campaign import schedule_of
from patterns.clone.simulation.observed import ObservedServer
from patterns.clone.simulation.runs import run
from patterns.clone.store import KeyValueStore
from patterns.clone.subtrees import SubtreeCounts
from patterns.clone.writer import Writer

Patch = Callable[[pytest.MonkeyPatch], None]
LIMIT = 2000


@dataclass(frozen=True)
class Mutant:
    """One planted bug: its name, the failure or the invariant it brings back, where it shows."""

    name: str
    failure: str
    scenario: str
    first: int
    patch: Patch


MUTANTS: list[Mutant] = []


def mutant(
    name: str, failure: str, scenario: str = "mixed", first: int = 0
) -> Callable[[Patch], Patch]:
    """Add a mutant that is caught soon from the seed `first` of its scenario on."""

    def add(patch: Patch) -> Patch:
        MUTANTS.append(Mutant(name, failure, scenario, first, patch))
        return patch

    return add


def wrap(patch, owner, name, wrapper):
    """Replace a method by `wrapper(original, self, ...)`."""
    original = getattr(owner, name)
    patch.setattr(owner, name, lambda self, *args, **kw: wrapper(original, self, *args, **kw))


def returns(patch, owner, name, value):
    patch.setattr(owner, name, lambda *args, **kw: value)


def send_nothing_again(patch):
    """Nor wait for that: else time would stand still at the instant at which it is due."""
    returns(patch, Writer, "send_again", [])
    patch.setattr(Outbox, "deadline", property(lambda self: self._expiry_at))


# Numbers and epochs


@mutant("epochs begin anew at a restart", "F5", "double")
def _(patch):
    returns(patch, handlers, "epoch_at", 0)


@mutant("a promotion begins no epoch", "F5", "crash")
def _(patch):
    def become_active(original, self, now, epoch=0, *, force=False):
        before = self.sequence
        effects = original(self, now, epoch, force=force)
        if before:
            self.store.sequence = before + len(effects)
        return effects

    wrap(patch, ServerProtocol, "become_active", become_active)


@mutant("clients do not say which epoch they have seen", "F1", "mixed", 386)
def _(patch):
    returns(patch, ClientProtocol, "_refuse_server", [])


@mutant("clients follow an older epoch", "F27", "swizzle")
def _(patch):
    patch.setattr(
        ClientProtocol, "epoch", property(lambda self: 0, lambda self, _: None), raising=False
    )


@mutant("a number is given twice", "F5", "calm")
def _(patch):
    def order(original, self, frames, now):
        if self.serving and self._ordering.updates % 20 == 19:
            self._ordering.updates += 1
            self.store.sequence -= 1
        return original(self, frames, now)

    wrap(patch, ServerProtocol, "order_update", order)


# The pair


@mutant("a server without a complete copy takes over", "F9", "mixed", 146)
def _(patch):
    silent = Event.REQUEST_PEER_SILENT
    patch.setitem(TABLE, (State.SYNCING, silent), TABLE[State.PASSIVE, silent])
    wrap(
        patch,
        ServerProtocol,
        "become_active",
        lambda original, self, now, epoch=0, *, force=False: original(self, now, epoch, force=True),
    )


@mutant("no failover", "F3", "crash")
def _(patch):
    for event in (Event.REQUEST_PEER_SILENT, Event.PEER_GONE, Event.PEER_PRIMARY):
        patch.setitem(TABLE, (State.PASSIVE, event), (State.PASSIVE, ()))


@mutant("no failover from a server that is silent", "F3", "gone")
def _(patch):
    patch.setitem(TABLE, (State.PASSIVE, Event.REQUEST_PEER_SILENT), (State.PASSIVE, ()))


@mutant("who should yield stays active", "F1", "swizzle")
def _(patch):
    for event in (Event.PEER_ACTIVE_WINS, Event.PEER_PASSIVE_AHEAD):
        patch.setitem(TABLE, (State.ACTIVE, event), (State.ACTIVE, ()))


@mutant("what is given up is not reported", "F1", "swizzle")
def _(patch):
    returns(patch, KeyValueStore, "changed_since", ())


@mutant("deletions that are given up are not reported", "F1", "swizzle")
def _(patch):
    returns(patch, Fork, "remember_deletion", None)


@mutant("the peer's silence is never noticed", "F7", "crash")
def _(patch):
    def receive(original, self, frame, now):
        effects = original(self, frame, now)
        self._peer_expires_at = float("inf")
        return effects

    wrap(patch, BinaryStarProtocol, "receive_peer_state", receive)
    returns(patch, BinaryStarProtocol, "receive_peer_gone", [])


@mutant("of two actives the one that has accepted less goes on", "F1", "swizzle")
def _(patch):
    writes_since = conflicts._writes_since
    patch.setattr(conflicts, "_writes_since", lambda own, other: -writes_since(own, other))


@mutant("a server without a complete copy says that it was told to lead", "F9", "mixed", 1000)
def _(patch):
    silent = Event.REQUEST_PEER_SILENT
    patch.setitem(TABLE, (State.SYNCING, silent), TABLE[State.PASSIVE, silent])
    patch.setattr(protocol, "_WITH_ANY_COPY", (*protocol._WITH_ANY_COPY, silent))


@mutant("who stood still does not ask whether it was replaced", "I20", "wake")
def _(patch):
    returns(patch, CloneServer, "observe", None)


# The passive server


@mutant("who takes over goes back by four seconds", "F11", "crash")
def _(patch):
    def copy_of(store):
        copied = KeyValueStore()
        for entry in store.snapshot():
            copied.apply(entry, sequence_of(entry), store._deadlines.get(entry[0]))
        copied.sequence = store.sequence
        return copied

    def replicate(original, self, frames, sequence, now):
        earlier = self.__dict__.setdefault("earlier", deque())
        earlier.append((now, copy_of(self._holdings.store)))
        while len(earlier) > 1 and earlier[1][0] < now - 4.0:
            earlier.popleft()
        return original(self, frames, sequence, now)

    def become_active(original, self, epoch, forced):
        earlier = self.protocol._follower.__dict__.pop("earlier", None)
        if earlier and epoch_of(earlier[0][1].sequence) == epoch_of(self.protocol.sequence):
            self.protocol._holdings.store = earlier[0][1]
            self.protocol._holdings.pending.take_all()
        return original(self, epoch, forced)

    wrap(patch, Follower, "_replicate", replicate)
    wrap(patch, ObservedServer, "become_active", become_active)


@mutant("a gap in what the passive server hears is ignored", "F30", "squeeze", 4)
def _(patch):
    def replicate(original, self, frames, sequence, now):
        store = self._holdings.store
        store.sequence = max(store.sequence, sequence - 1)
        return original(self, frames, sequence, now)

    wrap(patch, Follower, "_replicate", replicate)
    returns(patch, Follower, "_resync", [])


@mutant("the passive server expires values itself", "F15", "crash-ttl", 44)
def _(patch):
    def tick(original, self, now):
        if self.state is ServerState.PASSIVE:
            for key in self.store.expire(now, 1000):
                sequence = self.sequence + 1
                self.store.apply((key, encode_sequence(sequence), b"", b"", b""), sequence)
        return original(self, now)

    wrap(patch, ServerProtocol, "tick", tick)


@mutant("a copy of what was published stays pending", "F12", "crash")
def _(patch):
    returns(patch, PendingList, "clear_published", None)
    returns(patch, PendingList, "drop_heard_before", None)
    returns(patch, DuplicateFilter, "seen", None)


@mutant("what the active has published is pending as well", "F14", "crash")
def _(patch):
    def replicate(original, self, frames, sequence, now):
        effects = original(self, frames, sequence, now)
        pending = self._holdings.pending
        pending.add((frames[0], bytes(8), b"p" * 8 + frames[2][:8], *frames[3:]), now)
        return effects

    wrap(patch, Follower, "_replicate", replicate)


@mutant("what is pending is dropped at a promotion", "F11", "crash", 4)
def _(patch):
    def take_all(original, self):
        original(self)
        return []

    wrap(patch, PendingList, "take_all", take_all)
    send_nothing_again(patch)


@mutant("what is pending is applied in another order", "F24", "crash")
def _(patch):
    def take_all(original, self):
        return original(self)[::-1]

    def add(original, self, frames, *args, **kw):
        self._sent.pop(frames[0], None)
        return original(self, frames, *args, **kw)

    wrap(patch, PendingList, "take_all", take_all)
    wrap(patch, Outbox, "add", add)


@mutant("what was pending is applied and not published", "F11", "crash")
def _(patch):
    def become_active(original, self, epoch, forced):
        effects = self.protocol.become_active(self.reactor.now(), epoch, force=forced)
        kept = [e for e in effects if not isinstance(e, Publish) or not sequence_of(e.frames)]
        self._follower.close()
        self.carry_out(kept)
        self.arm()

    wrap(patch, CloneServer, "become_active", become_active)


# Duplicates and order


@mutant("an update sent again is applied again", "F23", "client-link-reset")
def _(patch):
    returns(patch, DuplicateFilter, "seen", None)


@mutant("a writer sends again under no name", "F23", "client-link-reset")
def _(patch):
    def send_again(original, self, now, *, at_once=False):
        messages = original(self, now, at_once=at_once)
        return [(*frames[:2], b"", *frames[3:]) for frames in messages]

    wrap(patch, Outbox, "send_again", send_again)


@mutant("a write is applied after a later one of its client", "F24", "held-conflict", 518)
def _(patch):
    returns(patch, DuplicateFilter, "_is_late", False)


@mutant("two updates of a key are under way at once", "F24", "client-link-reset")
def _(patch):
    def add(original, self, frames, *args, **kw):
        self._sent.pop(frames[0], None)
        return original(self, frames, *args, **kw)

    wrap(patch, Outbox, "add", add)


@mutant("nothing is sent again", "F11", "client-link-reset")
def _(patch):
    send_nothing_again(patch)
    returns(patch, Writer, "receive_writable", [])
    returns(patch, Outbox, "send_again", [])


@mutant("a write is acknowledged before it shows", "F11", "calm")
def _(patch):
    def receive_heartbeat(original, self, frames, now):
        effects = original(self, frames, now)
        for each in self._writer._outbox.under_way():
            effects += self._writer.receive_answer(each, self.store.sequence + 1, now)
        return effects

    wrap(patch, ClientProtocol, "_receive_heartbeat", receive_heartbeat)


@mutant("a write that was replaced before it was sent is never answered", "F11", "crash")
def _(patch):
    def finish(original, self, uuid, now):
        answered, following = original(self, uuid, now)
        return answered[-1:], following

    wrap(patch, Outbox, "finish", finish)


@mutant("a caller does not hear that its write has failed", "F11", "calm")
def _(patch):
    def carry_out(original, self, effects):
        original(self, [each for each in effects if not isinstance(each, WriteFailed)])

    wrap(patch, CloneClient, "carry_out", carry_out)


@mutant("no condition of a write ever holds", "I22", "calm")
def _(patch):
    returns(patch, Condition, "holds", False)


@mutant("every fifth write finds the map full", "limit", "calm")
def _(patch):
    def order(original, self, frames, now):
        self.count = getattr(self, "count", 0) + 1
        known = self._duplicates.seen(frames[2], frames[0], now) is not None
        if self.count % 5 or known:
            return original(self, frames, now)
        return self._refuse(frames, "full", now)

    wrap(patch, Ordering, "order", order)


@mutant("the outbox has no limit", "limit", "squeeze", 48)
def _(patch):
    def init(original, self, **options):
        original(self, **{**options, "max_writes": 10**9})

    wrap(patch, Outbox, "__init__", init)


# The client's map


@mutant("losses are not noticed", "F20", "squeeze")
def _(patch):
    returns(patch, LossDetector, "receive_update", "")
    returns(patch, LossDetector, "receive_heartbeat", "")


@mutant("one lost update in a row is not noticed", "F20", "squeeze", 8)
def _(patch):
    def receive_update(original, self, key, sequence):
        if self._last is not None and sequence == self._last + 2:
            self._last += 1
        return original(self, key, sequence)

    wrap(patch, LossDetector, "receive_update", receive_update)


@mutant("losses in a subtree are not noticed", "F21", "squeeze", 6)
def _(patch):
    returns(patch, LossDetector, "_receive_count", "")


@mutant("a subtree's updates are miscounted", "F21", "calm")
def _(patch):
    returns(patch, SubtreeCounts, "count", None)


@mutant("a resynchronised map keeps deleted keys", "F25", "crash", 38)
def _(patch):
    differences = client_protocol.differences

    def without_deletions(old, new):
        return [each for each in differences(old, new) if not isinstance(each, Deleted)]

    patch.setattr(client_protocol, "differences", without_deletions)


@mutant("a client asks for its snapshot before it hears the server", "F19", "mixed")
def _(patch):
    def connect(original, self, now):
        return [*original(self, now), *self._request_snapshots(now)]

    wrap(patch, ClientProtocol, "_connect", connect)
    returns(patch, LossDetector, "receive_heartbeat", "")


@mutant("a client gives up after some failures", "F28", "double")
def _(patch):
    def pause(original, self, now):
        effects = original(self, now)
        if self._round._failures > 2:
            self._resume_at = float("inf")
        return effects

    wrap(patch, ClientProtocol, "_pause", pause)


# Time


@mutant("nothing expires", "F14", "calm-ttl")
def _(patch):
    returns(patch, KeyValueStore, "expire", [])
    patch.setattr(KeyValueStore, "next_expiry", None)


@mutant("values expire a second early", "F16", "calm-ttl")
def _(patch):
    wrap(
        patch,
        KeyValueStore,
        "expire",
        lambda original, self, now, limit=1000: original(self, now + 1.0, limit),
    )


@mutant("values expire half a minute late", "F14", "calm-ttl")
def _(patch):
    next_expiry = KeyValueStore.next_expiry.fget

    def later(self):
        at = next_expiry(self)
        return None if at is None else at + 30.0

    def expire(original, self, now, limit=1000):
        return original(self, now - 30.0, limit)

    patch.setattr(KeyValueStore, "next_expiry", property(later))
    wrap(patch, KeyValueStore, "expire", expire)


@mutant("who follows nobody lets values expire two seconds early", "F16", "mixed")
def _(patch):
    wrap(patch, ClientProtocol, "_expire", lambda original, self, now: original(self, now + 2.0))


@mutant("a server whose clock was set takes no writes", "M-11", "clocks")
def _(patch):
    def receive_update(original, self, frames):
        ahead = self._wall_clock() - self.reactor.now()
        self.ahead = getattr(self, "ahead", ahead)
        if abs(ahead - self.ahead) < 0.9:
            original(self, frames)

    wrap(patch, CloneServer, "receive_update", receive_update)


@mutant("a replica's deadline counts from its own beginning", "F16", "crash-ttl")
def _(patch):
    def replicate(original, self, frames, sequence, now):
        effects = original(self, frames, sequence, now)
        store = self._holdings.store
        if deadline := store._deadlines.get(frames[0]):
            store._set_deadline(frames[0], now + (deadline - now) / 4)
        return effects

    wrap(patch, Follower, "_replicate", replicate)


@mutant("a refresh does not prolong", "F16", "calm-ttl")
def _(patch):
    def set_deadline(original, self, key, expires_at):
        if expires_at is None or key not in self._deadlines:
            original(self, key, expires_at)

    wrap(patch, KeyValueStore, "_set_deadline", set_deadline)


# The peer link, and what is held back


@mutant("an update is published as replicated before it is confirmed", "I6b", "replicated")
def _(patch):
    def take_due(original, self):
        return [self._take_first() for _ in range(len(self.waiting))]

    wrap(patch, Replication, "take_due", take_due)
    returns(patch, Replication, "level_of", "replicated")


@mutant("a copy of an update that is held back is answered at once", "I20", "held")
def _(patch):
    def answer_again(original, self, frames, known, asked, now):
        if isinstance(known, int) and self._replication.holds(frames[2]):
            return replace_sequence(frames, known)
        return original(self, frames, known, asked, now)

    wrap(patch, Ordering, "_answer_again", answer_again)


@mutant("the passive server confirms what it has only been told of", "I6b", "held")
def _(patch):
    def receive_position(original, self, position, now):
        self.told = position
        return [*original(self, position, now), Confirm()]

    def confirm(original, self):
        follower = self._server.protocol._follower
        self._confirming = False
        if self._stream is not None and not self._stream.closed and follower.following:
            self._stream.send(*encode_held(getattr(follower, "told", 0), follower.question))

    wrap(patch, Follower, "_receive_position", receive_position)
    wrap(patch, LinkFollower, "_confirm", confirm)


@mutant("a confirmation counts for the next update as well", "I6b", "replicated")
def _(patch):
    def receive_held(original, self, peer, sequence, question, newest, now):
        original(self, peer, min(sequence + 1, newest), question, newest, now)

    wrap(patch, Replication, "receive_held", receive_held)


@mutant("what was confirmed counts as long as one lives", "I6b", "replicated", 30)
def _(patch):
    def level_of(original, self, number):
        return "replicated" if number <= self.confirmed else "applied"

    def lose(original, self):
        confirmed = self.confirmed
        original(self)
        self.confirmed = confirmed

    wrap(patch, Replication, "level_of", level_of)
    wrap(patch, Replication, "lose", lose)


@mutant("what was confirmed and what waits is kept over a promotion", "I6b", "held-conflict", 320)
def _(patch):
    def end(original, self):
        kept = self.confirmed, self.waiting.copy(), self._uuids.copy(), self._waiting_bytes
        original(self)
        self.confirmed, self.waiting, self._uuids, self._waiting_bytes = kept

    wrap(patch, Replication, "end", end)


@mutant("a snapshot overtakes what is held back", "I20", "held")
def _(patch):
    def request(original, self, *args, **kw):
        waiting, self.replication.waiting = self.replication.waiting, deque()
        try:
            return original(self, *args, **kw)
        finally:
            self.replication.waiting = waiting

    wrap(patch, ServerProtocol, "receive_snapshot_request", request)


@mutant("a heartbeat tells what is held back", "I20", "held")
def _(patch):
    patch.setattr(ServerProtocol, "published", ServerProtocol.sequence)


@mutant("a passive server with another number is taken for complete", "I6b", "squeeze")
def _(patch):
    def attach(original, self, peer, sequence, newest, now):
        original(self, peer, newest, newest, now)
        self.confirmed = newest

    wrap(patch, Replication, "attach", attach)


@mutant("a server that has to refuse applies", "I21", "refuse")
def _(patch):
    patch.setattr(Replication, "refuses", False)


@mutant("a passive server that was late is late for ever", "I11", "server-link-reset")
def _(patch):
    def receive_held(original, self, *args):
        before, had = self.in_sync, getattr(self, "had", False)
        original(self, *args)
        if had and not before:
            self.in_sync = False
        self.had = had or self.in_sync

    wrap(patch, Replication, "receive_held", receive_held)


@mutant("the passive server misses one update in a row", "F30", "squeeze")
def _(patch):
    def replicate(original, self, frames, sequence, now):
        store = self._holdings.store
        if sequence == store.sequence + 2:
            store.sequence += 1
        return original(self, frames, sequence, now)

    wrap(patch, Follower, "_replicate", replicate)


@mutant("an expiry is not held back", "I20", "held")
def _(patch):
    def order_own(original, self, *args):
        always, self._always_replicated = self._always_replicated, False
        try:
            return original(self, *args)
        finally:
            self._always_replicated = always

    wrap(patch, Ordering, "order_own", order_own)


@mutant("who began with nothing may win", "I6b", "double", 210)
def _(patch):
    returns(patch, conflicts, "began_anew", False)


@mutant("a passive server follows one that began with nothing", "I6b", "mixed", 1038)
def _(patch):
    returns(patch, protocol, "lacks_data_of", False)
    returns(patch, Fork, "lacks_data_of", False)


# Bad input


@mutant("a malformed request is an error", "F33", "junk")
def _(patch):
    patch.setattr(interfaces.SnapshotInterface, "peer_errors", ())


@mutant("a malformed update is an error", "F33", "junk")
def _(patch):
    patch.setattr(interfaces.CollectorInterface, "peer_errors", ())


def seeds_to_catch(planted: Mutant, scenario: str, seeds: Iterable[int]) -> tuple[int, str]:
    """After how many of the seeds a run violates an invariant, and which; 0 if none does."""
    with pytest.MonkeyPatch.context() as patch:
        planted.patch(patch)
        for number, seed in enumerate(seeds, 1):
            violations = run(schedule_of(seed, scenario)).violations
            if violations:
                return number, violations[0].invariant
    return 0, ""
