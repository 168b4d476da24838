"""The rules of a Clone server, alone or in a Binary Star pair.

Only the active server orders, expires, publishes and beats. A passive one follows the active's
publications, holds what clients sent to both, and applies that when it becomes active itself.
Which of two servers is active is decided in `patterns.binary_star`; here it is an order.

Time is an argument: monotonic seconds.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import chain

from patterns.binary_star.messages import Progress
from patterns.clone.conditions import CONFLICT, FEATURE, decode_condition, without_condition
from patterns.clone.figures import SYS, OwnFigures
from patterns.clone.messages import (
    HUGZ,
    MAX_BODY,
    MAX_INTERVAL,
    Frames,
    MalformedMessage,
    check_message,
    check_update,
    decode_heartbeat,
    decode_refusal,
    decode_snapshot_end,
    encode_sequence,
    epoch_of,
    heartbeat,
    make_sequence,
    refusal,
    replace_sequence,
    replace_ttl,
    sequence_of,
    snapshot_end,
    whole_seconds,
)
from patterns.clone.packs import FEATURE as PACKS
from patterns.clone.pending import PendingList
from patterns.clone.server_effects import (
    Effect,
    OutOfSync,
    Publish,
    ReportDiverged,
    RequestSnapshot,
    SendSnapshot,
    Synchronised,
)
from patterns.clone.store import DuplicateFilter, KeyValueStore, StoreFull
from patterns.clone.subtrees import SubtreeCounts

# New subscribers within this time share one answering heartbeat. It goes to all, which is work
# that grows with their number: while more keep coming, the time doubles, up to the limit.
_COALESCE_SECONDS = 0.01
_COALESCE_SECONDS_LIMIT = 0.25
# The routing ids of peers begin like this: their snapshots tell also what was applied lately.
PEER_IDENTITY = b"clone-peer-"
# A writer may still send again what was applied; so many uuids are told at most.
_TOLD_LIMIT = 20_000
_ANY_KEY = b"-"  # of an entry that tells a uuid: it deletes nothing, since it comes first
# Deletions since the server became active that it can report if they are given up.
_DELETIONS_LIMIT = 100_000
# A snapshot that was refused or is not what it says is asked for again after this time.
_SYNC_RETRY_SECONDS = 1.0
_ABOUT_THE_SNAPSHOT = b"chpx=1\nfeat=" + FEATURE.encode() + b"\nn=%d\n"
# Said in every heartbeat, so that a client knows it before it asks for its first snapshot.
_OFFER = b"chpx=1\nfeat=" + PACKS.encode() + b"\n"


class ServerState(enum.Enum):
    """What a Clone server is. SYNCING: passive, without a complete copy of the active's data."""

    STARTING = "starting"
    SYNCING = "syncing"
    PASSIVE = "passive"
    ACTIVE = "active"


class NotSynchronised(RuntimeError):
    """A server without a complete copy was to become active, and nobody has forced it."""


@dataclass(frozen=True, slots=True)
class ServerStatistics:
    """What a Clone server has seen and done so far, as of one instant."""

    state: ServerState
    epoch: int
    sequence: int
    keys: int
    pending: int
    subtrees: int
    subtrees_refused: int
    updates: int
    duplicates: int
    expired: int
    refused: int
    conflicts: int
    snapshots: int
    snapshots_refused: int
    replicated: int
    replicas_discarded: int
    pending_dropped: int
    resyncs: int


class ServerProtocol:
    """One Clone server: hears clients and its peer, says what to publish and to answer.

    `make_uuid` gives 16 new bytes at each call. `epoch` is the highest epoch that this server may
    have used in an earlier life (see `messages.epoch_at`); its first one is higher. With `packs`,
    clients that can are offered packed snapshots. With `figures`, the server publishes them, and
    no client may write there. The other arguments are limits, in seconds, bytes
    and numbers. A hook that raises MalformedMessage has changed nothing.
    """

    def __init__(
        self,
        *,
        make_uuid: Callable[[], bytes],
        epoch: int = 0,
        heartbeat: float = 1.0,
        max_body: int = MAX_BODY,
        make_store: Callable[[], KeyValueStore] = KeyValueStore,
        duplicates: DuplicateFilter | None = None,
        pending: PendingList | None = None,
        subtrees: SubtreeCounts | None = None,
        sync_timeout: float = 5.0,
        max_queued: int = 100_000,
        expire_limit: int = 1000,
        packs: bool = True,
        figures: OwnFigures | None = None,
    ) -> None:
        if not 0 < heartbeat <= MAX_INTERVAL:
            raise ValueError(f"heartbeat {heartbeat} s is not in 0..{MAX_INTERVAL}")
        self.state = ServerState.STARTING
        self.suspended = False
        self.heartbeat = heartbeat
        self.max_body = max_body
        self.sync_timeout = sync_timeout
        self.max_queued = max_queued
        self.expire_limit = expire_limit
        self.packs = packs
        self._figures = figures
        self._reserved = SYS if figures is not None else None
        self.store = make_store()
        self._make_store = make_store
        self._make_uuid = make_uuid
        self._epoch_floor = epoch
        self._duplicates = duplicates if duplicates is not None else DuplicateFilter()
        self._pending = pending if pending is not None else PendingList()
        self._subtrees = subtrees if subtrees is not None else SubtreeCounts()
        self._fork = 0
        self._writes = 0
        self._deletions: dict[bytes, Frames] = {}  # by clients, of keys that are gone
        self._last_beat = float("-inf")
        self._next_beat = float("-inf")
        self._greet_at = float("inf")  # when those who subscribed meanwhile get their heartbeat
        self._greet_wait = _COALESCE_SECONDS
        self._attempt = 0
        self._requested_at = 0.0
        self._sync_expires_at = 0.0
        self._collecting = make_store()
        self._collected = 0
        self._queue: deque[Frames] = deque()
        self._updates = self._duplicate_count = self._expired = self._refused = 0
        self._conflicts = self._snapshots = self._snapshots_refused = 0
        self._replicated = self._discarded = self._resyncs = 0

    @property
    def sequence(self) -> int:
        """The sequence of the newest update held, with its epoch in the high bits."""
        return self.store.sequence

    @property
    def serving(self) -> bool:
        """True if the server is active and not suspended."""
        return self.state is ServerState.ACTIVE and not self.suspended

    @property
    def deadline(self) -> float | None:
        """The instant at which `tick` has something to do next, None if never."""
        if self.serving:
            expiry = self.store.next_expiry
            beat = min(self._next_beat, self._greet_at)
            if self._figures is not None:
                beat = min(beat, self._figures.due_at)
            return beat if expiry is None else min(beat, expiry)
        return self._sync_expires_at if self.state is ServerState.SYNCING else None

    def progress(self) -> Progress:
        """How far this server's data has come, for BinaryStarProtocol(progress=...)."""
        return Progress(
            epoch=epoch_of(self.sequence),
            sequence=self.sequence,
            writes=self._writes,
            fork_epoch=epoch_of(self._fork),
            fork_sequence=self._fork,
        )

    # --- clients

    def receive_update(self, frames: Sequence[bytes], now: float) -> list[Effect]:
        """A client's KVSET, from the collector, as `order_update`."""
        publication = self.order_update(frames, now)
        return [] if publication is None else [Publish(publication)]

    def order_update(self, frames: Sequence[bytes], now: float) -> Frames | None:
        """A client's KVSET: what is to be published for it, None if nothing. MalformedMessage.

        The active gives it a number, stores and publishes it. An update without room is answered
        by a refusal; one whose uuid was applied before, by the same publication with its first
        number: every client discards that, and its writer learns that it was applied. One that was
        refused is refused again. A server that is not serving holds it. There is no effect object,
        which would be a tenth of the cost.
        """
        ttl = check_update(frames, max_body=self.max_body)
        condition = decode_condition(frames[3]) if frames[3] else None
        known = self._duplicates.seen(frames[2], now) if frames[2] else None
        if self.state is not ServerState.ACTIVE or self.suspended:
            self._hold(tuple(frames), known, now)
            return None
        if known is not None:
            self._duplicate_count += 1
            return _same_answer(frames, known)
        if self._reserved is not None and frames[0].startswith(self._reserved):
            self._refused += 1
            return self._refuse(frames, "reserved", now)
        if condition is not None:
            if not condition.holds(self.store.get(frames[0])):
                self._conflicts += 1
                return self._refuse(frames, CONFLICT, now)
            frames = (*frames[:3], without_condition(frames[3]), frames[4])
        return self._accept(frames, ttl, now)

    def _refuse(self, frames: Sequence[bytes], reason: str, now: float) -> Frames:
        # Its writer may believe it: a copy of the update that comes later must not be applied.
        self._duplicates.remember(frames[2], reason, now)
        return refusal(frames, reason)

    def _hold(self, frames: Frames, known: int | str | None, now: float) -> None:
        if known is None:
            self._pending.add(frames, now)
        else:
            self._pending.receive_late_copy(frames[0], frames[2])

    def _accept(self, frames: Sequence[bytes], ttl: float | None, now: float) -> Frames:
        store = self.store
        sequence = store.sequence + 1
        key, _, uuid, properties, body = frames
        if ttl is not None and not ttl.is_integer():
            properties = replace_ttl(properties, whole_seconds(ttl))
        numbered = (key, encode_sequence(sequence), uuid, properties, body)
        try:
            store.apply(numbered, sequence, None if ttl is None else now + ttl)
        except StoreFull:
            self._refused += 1
            return self._refuse(frames, "full", now)
        if not body or self._deletions:
            self._remember_deletion(numbered)
        self._updates += 1
        self._writes += 1
        self._duplicates.remember(uuid, sequence, now)
        self._subtrees.count(key, sequence)
        return numbered

    def _remember_deletion(self, frames: Frames) -> None:
        """A deletion leaves nothing in the map that could be reported if it is given up."""
        self._deletions.pop(frames[0], None)
        if not frames[4]:
            self._deletions[frames[0]] = frames
            if len(self._deletions) > _DELETIONS_LIMIT:
                del self._deletions[next(iter(self._deletions))]

    def receive_snapshot_request(
        self, identity: bytes, subtree: bytes, now: float, *, packed: bool = False
    ) -> list[Effect]:
        """A client wants the entries of a subtree. Only the active answers; others are silent."""
        if not self.serving:
            self._snapshots_refused += 1
            return []
        self._snapshots += 1
        entries = self.store.snapshot(subtree, now)
        if identity.startswith(PEER_IDENTITY):
            entries = (*self._applied_lately(), *entries)
        end = snapshot_end(self.sequence, subtree, _ABOUT_THE_SNAPSHOT % len(entries))
        packed = packed and self.packs
        return [SendSnapshot(identity, subtree, self.sequence, entries, end, packed)]

    def _applied_lately(self) -> list[Frames]:
        """Entries that tell uuids: a peer that has not heard of them would apply them again.

        The map has only the newest update of a key, and none of a key that was deleted.
        """
        return [
            (_ANY_KEY, encode_sequence(sequence), uuid, b"", b"")
            for uuid, sequence in self._duplicates.newest(_TOLD_LIMIT)
        ]

    def receive_subscription(self, topic: bytes, subscribed: bool, now: float) -> list[Effect]:
        """Somebody subscribes to a topic at the publisher, or nobody does any more.

        A new listener for heartbeats gets one at once, shared with those who come at the same
        time. To hear of every listener, the publisher needs the option XPUB_VERBOSE.
        """
        if not subscribed:
            self._subtrees.unsubscribe(topic)
            return []
        self._subtrees.subscribe(topic, self.sequence)
        if not self.serving or not HUGZ.startswith(topic):
            return []
        if now >= self._last_beat + self._greet_wait:
            self._greet_wait = _COALESCE_SECONDS
            return self._beat(now, only_fresh=True)
        self._greet_at = self._last_beat + self._greet_wait
        return []

    # --- time

    def tick(self, now: float) -> list[Effect]:
        """Do what is due: expire, beat, forget; or ask again for a snapshot that never came."""
        self._duplicates.expire(now)
        if self.serving:
            effects = [self._expire(key, now) for key in self.store.expire(now, self.expire_limit)]
            return effects + self._tell_figures(now) + self._beat_if_due(now)
        self._pending.expire(now)
        if self.state is ServerState.SYNCING and now >= self._sync_expires_at:
            return self._request_snapshot(now)
        return []

    def _expire(self, key: bytes, now: float) -> Effect:
        """Delete a key whose time is over."""
        self._expired += 1
        return self._publish_own(key, b"o=ttl\n", b"")

    def _tell_figures(self, now: float) -> list[Effect]:
        if self._figures is None or now < self._figures.due_at:
            return []
        counters = asdict(self.statistics())
        counters = {name: value for name, value in counters.items() if isinstance(value, int)}
        del counters["sequence"]  # telling it would change it
        effects: list[Effect] = []
        try:
            for key, body in self._figures.take_changed(counters, now):
                effects.append(self._publish_own(key, b"o=sys\n", body))
        except StoreFull:
            pass  # the clients' values come first; what has a number already is published
        return effects

    def _publish_own(self, key: bytes, properties: bytes, body: bytes) -> Publish:
        """An update of the server's own, which no client has written. Raises StoreFull."""
        sequence = self.sequence + 1
        frames = (key, encode_sequence(sequence), self._make_uuid(), properties, body)
        self.store.apply(frames, sequence)
        self._subtrees.count(key, sequence)
        return Publish(frames)

    def _beat_if_due(self, now: float) -> list[Effect]:
        if now >= self._next_beat:
            self._next_beat = now + self.heartbeat
            if self._greet_at == float("inf"):  # nobody has come since the last one
                self._greet_wait = _COALESCE_SECONDS
            return self._beat(now)
        if now < self._greet_at:
            return []
        self._greet_wait = min(2 * self._greet_wait, _COALESCE_SECONDS_LIMIT)
        return self._beat(now, only_fresh=True)

    def _beat(self, now: float, *, only_fresh: bool = False) -> list[Effect]:
        self._last_beat = now
        self._greet_at = float("inf")
        counts = self._subtrees.heartbeats(only_fresh=only_fresh)
        properties = b"seq=%d\nhb=%d\nrole=active\n" % (self.sequence, self.heartbeat * 1000)
        if self.packs:
            properties += _OFFER
        # HUGZ comes last: who hears it has heard the count of its own subtree.
        return [Publish(frames) for frames in (*counts, heartbeat(properties))]

    # --- orders

    def become_active(self, now: float, epoch: int = 0, *, force: bool = False) -> list[Effect]:
        """Serve, in a new epoch: at least `epoch`, and higher than any seen.

        What clients sent meanwhile is applied and published first, in its order; so every
        snapshot that follows contains it. An active server begins a new epoch. Raises
        NotSynchronised without a complete copy, unless forced.
        """
        if self.state is ServerState.SYNCING and not force:
            raise NotSynchronised("the copy of the active's data is not complete")
        if self.state is ServerState.SYNCING:
            self._forget_replication()
        self.state = ServerState.ACTIVE
        self.suspended = False
        self._fork = self.sequence
        self._writes = 0
        self._deletions.clear()
        new_epoch = max(epoch, epoch_of(self.sequence) + 1, self._epoch_floor + 1)
        self.store.sequence = make_sequence(new_epoch, 0)
        self._next_beat = now
        if self._figures is not None:
            self._figures.begin(now)
        return self._apply_pending(now) + self._beat_if_due(now)

    def receive_epoch(self, epoch: int, now: float) -> list[Effect]:
        """A client has seen this epoch: it follows nobody in an older one.

        Who led in it may have died, and we have never heard of it. So an active server goes on in a
        higher one, with the same data, and a later activity begins above it.
        """
        self._epoch_floor = max(self._epoch_floor, epoch)
        if not self.serving or epoch <= epoch_of(self.sequence):
            return []
        self.store.sequence = make_sequence(epoch + 1, 0)
        return self._beat(now)

    def _apply_pending(self, now: float) -> list[Effect]:
        self._pending.expire(now)
        effects: list[Effect] = []
        queue = deque(self._pending.take_all())
        waiting: dict[tuple[bytes, bytes], list[Frames]] = {}
        while queue:
            frames = queue.popleft()
            condition = decode_condition(frames[3]) if frames[3] else None
            if condition is not None and not condition.holds(self.store.get(frames[0])):
                # Copies of two writers may have come in another order than their writes were
                # answered in: this one may build on one that is yet to be applied.
                waiting.setdefault((frames[0], condition.uuid), []).append(frames)
                continue
            effects += self.receive_update(frames, now)
            uuid = frames[2] if frames[4] else b""
            queue.extendleft(reversed(waiting.pop((frames[0], uuid), [])))
        for frames in chain.from_iterable(waiting.values()):
            effects += self.receive_update(frames, now)
        return effects

    def suspend(self) -> None:
        """Serve nobody until `resume`: the peer may have taken over, and is being asked.

        What clients send meanwhile is held, as by a passive server.
        """
        self.suspended = True

    def resume(self, now: float) -> list[Effect]:
        """The peer has not taken over: apply and publish what was held, and serve again."""
        self.suspended = False
        if not self.serving:
            return []
        return self._apply_pending(now) + self._beat_if_due(now)

    def become_passive(self, now: float, diverged_since: int | None = None) -> list[Effect]:
        """Follow the active: fetch its data, keep the own copy until that is complete.

        With `diverged_since`, what was accepted here after that sequence is reported first.
        """
        effects: list[Effect] = []
        if self.state is ServerState.ACTIVE:
            # Clients need not wait until they miss the next one.
            effects.append(Publish(heartbeat(b"role=passive\n")))
        if diverged_since is not None:
            deletions = self._deletions.values()
            entries = (
                *self.store.changed_since(diverged_since),
                *(each for each in deletions if sequence_of(each) > diverged_since),
            )
            effects += [ReportDiverged(entries)] if entries else []
        self.state = ServerState.SYNCING
        self.suspended = False
        return effects + self._request_snapshot(now)

    def _forget_replication(self) -> None:
        # Uuids were learned from a snapshot that is not used: those updates are not in the map.
        self._duplicates.clear()
        self._queue.clear()
        self._attempt += 1

    # --- the peer

    def receive_published(self, frames: Sequence[bytes], now: float) -> list[Effect]:
        """A publication of the peer. Raises MalformedMessage.

        Only a passive server follows. A number that is not the next one, or a heartbeat with a
        number that never came, means that something was lost: then everything is fetched again.
        """
        sequence = check_message(frames, max_body=self.max_body)
        if self.state not in (ServerState.PASSIVE, ServerState.SYNCING):
            self._discarded += 1
            return []
        if frames[0] == HUGZ:
            return self._hear_heartbeat(frames, now)
        if not sequence:
            self._hear_refusal(frames, now)
            return []  # that, or the heartbeat of a subtree: neither changes the state
        ttl = check_update(frames, max_body=self.max_body)
        if self.state is ServerState.SYNCING:
            return self._queue_publication(tuple(frames), now)
        return self._replicate(tuple(frames), sequence, ttl, now)

    def _hear_heartbeat(self, frames: Sequence[bytes], now: float) -> list[Effect]:
        last = decode_heartbeat(frames).sequence
        if self.state is ServerState.PASSIVE and last is not None and last > self.sequence:
            return self._resync(now)
        return []

    def _hear_refusal(self, frames: Sequence[bytes], now: float) -> None:
        """What the active has refused is never applied here either, whenever its copy arrives."""
        reason = decode_refusal(frames)
        if reason:
            self._pending.clear_refused(frames[2])
            self._duplicates.remember(frames[2], reason, now)

    def _queue_publication(self, frames: Frames, now: float) -> list[Effect]:
        if len(self._queue) < self.max_queued:
            self._queue.append(frames)
            return []
        # The snapshot would have to bridge what finds no room here: only a newer one can.
        self._queue.clear()
        return self._request_snapshot(now)

    def _replicate(
        self, frames: Frames, sequence: int, ttl: float | None, now: float
    ) -> list[Effect]:
        if frames[2]:
            self._pending.clear_published(frames[2], now)
        else:
            self._pending.clear_anonymous(frames)
        if sequence <= self.sequence:
            self._discarded += 1
            return []
        if sequence != self.sequence + 1:
            return self._resync(now, frames)
        try:
            self.store.apply(frames, sequence, None if ttl is None else now + ttl)
        except StoreFull:
            return [OutOfSync(), *self._fail_sync(now)]
        self._replicated += 1
        self._duplicates.remember(frames[2], sequence, now)
        return []

    def _resync(self, now: float, frames: Frames | None = None) -> list[Effect]:
        self._resyncs += 1
        self.state = ServerState.SYNCING
        self._queue.clear()
        if frames is not None:
            self._queue.append(frames)
        return [OutOfSync(), *self._request_snapshot(now)]

    # --- the snapshot from the peer

    def _request_snapshot(self, now: float) -> list[Effect]:
        self._attempt += 1
        self._requested_at = now
        self._sync_expires_at = now + self.sync_timeout
        self._collecting = self._make_store()
        self._collected = 0
        return [RequestSnapshot(self._attempt)]

    def receive_snapshot_entry(
        self, frames: Sequence[bytes], attempt: int, now: float
    ) -> list[Effect]:
        """One entry of the snapshot that was asked for. Raises MalformedMessage."""
        if not self._expects(attempt):
            return []
        ttl = check_update(frames, max_body=self.max_body)
        entry = tuple(frames)
        sequence = sequence_of(entry)
        try:
            self._collecting.apply(entry, sequence, None if ttl is None else now + ttl)
        except StoreFull:
            return self._fail_sync(now)
        self._collected += 1
        self._duplicates.remember(entry[2], sequence, now)
        self._sync_expires_at = now + self.sync_timeout
        return []

    def receive_snapshot_end(
        self, frames: Sequence[bytes], attempt: int, now: float
    ) -> list[Effect]:
        """The snapshot is complete: use it, then what was published since.

        One that is not as long as it says, or from an older epoch than the data held, is thrown
        away. Raises MalformedMessage.
        """
        if not self._expects(attempt):
            return []
        end = decode_snapshot_end(frames)
        incomplete = end.entries is not None and end.entries != self._collected
        if incomplete or epoch_of(end.sequence) < epoch_of(self.sequence):
            return self._fail_sync(now)
        self.store, self._collecting = self._collecting, self._make_store()
        self.store.sequence = end.sequence
        self.state = ServerState.PASSIVE
        self._reconcile_pending(now)
        return self._catch_up(now)

    def _expects(self, attempt: int) -> bool:
        expected = self.state is ServerState.SYNCING and attempt == self._attempt
        self._discarded += not expected
        return expected

    def _fail_sync(self, now: float) -> list[Effect]:
        """Keep the old copy and ask again, but not in a tight circle."""
        self.state = ServerState.SYNCING
        self._attempt += 1
        self._sync_expires_at = now + _SYNC_RETRY_SECONDS
        return []

    def _reconcile_pending(self, now: float) -> None:
        """What was heard before the snapshot was asked for is in it, or lost the race."""
        for frames in list(self._pending):
            if self._duplicates.seen(frames[2], now) is not None:
                self._pending.clear_published(frames[2], now)
        self._pending.drop_heard_before(self._requested_at)

    def _catch_up(self, now: float) -> list[Effect]:
        queued, self._queue = self._queue, deque()
        effects: list[Effect] = []
        for frames in queued:
            effects += self.receive_published(frames, now)
        # A gap among the queued has said OutOfSync and asked again already.
        return effects if effects else [Synchronised()]

    def statistics(self) -> ServerStatistics:
        """A frozen snapshot of the counters."""
        return ServerStatistics(
            state=self.state,
            epoch=epoch_of(self.sequence),
            sequence=self.sequence,
            keys=len(self.store),
            pending=len(self._pending),
            subtrees=len(self._subtrees),
            subtrees_refused=self._subtrees.refused,
            updates=self._updates,
            duplicates=self._duplicate_count,
            expired=self._expired,
            refused=self._refused,
            conflicts=self._conflicts,
            snapshots=self._snapshots,
            snapshots_refused=self._snapshots_refused,
            replicated=self._replicated,
            replicas_discarded=self._discarded,
            pending_dropped=self._pending.dropped,
            resyncs=self._resyncs,
        )


def _same_answer(frames: Sequence[bytes], known: int | str) -> Frames:
    return refusal(frames, known) if isinstance(known, str) else replace_sequence(frames, known)


__all__ = [
    "Effect",
    "MalformedMessage",
    "NotSynchronised",
    "OutOfSync",
    "Publish",
    "ReportDiverged",
    "RequestSnapshot",
    "SendSnapshot",
    "ServerProtocol",
    "ServerState",
    "ServerStatistics",
    "Synchronised",
]
