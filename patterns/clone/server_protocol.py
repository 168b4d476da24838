"""The rules of a Clone server, alone or in a Binary Star pair.

Only the active server orders, expires, publishes and beats. A passive one follows the active
(`following`), holds what clients sent to both, and applies that when it becomes active itself.
What the active one knows of its passive peer, and may not publish before that has confirmed it, is
in `replication`. Which of two servers is active is decided in `patterns.binary_star`; here it is an
order.

Time is an argument: monotonic seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict

from patterns.binary_star.messages import Progress
from patterns.clone.conditions import CONFLICT, FEATURE, decode_condition, without_condition
from patterns.clone.duplicates import DuplicateFilter
from patterns.clone.figures import SYS, OwnFigures
from patterns.clone.following import Follower
from patterns.clone.heartbeats import Heartbeats
from patterns.clone.holdings import Holdings
from patterns.clone.levels import (
    APPLIED,
    REPLICATED,
    UNREPLICATED,
    decode_level,
    with_level,
    without_level,
)
from patterns.clone.levels import FEATURE as LEVELS
from patterns.clone.messages import (
    HUGZ,
    MAX_BODY,
    Frames,
    MalformedMessage,
    check_update,
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
from patterns.clone.peer_link import HELD, decode_held, decode_hello
from patterns.clone.pending import PendingList, in_order
from patterns.clone.replication import Replication, Waiting
from patterns.clone.server_effects import (
    Confirm,
    Effect,
    OutOfSync,
    Publish,
    ReportDiverged,
    ReportReplication,
    SayHello,
    SendSnapshot,
    Synchronised,
)
from patterns.clone.server_status import NotSynchronised, ServerState, ServerStatistics
from patterns.clone.store import KeyValueStore, StoreFull
from patterns.clone.subtrees import SubtreeCounts

# A writer may still send again what was applied; so many uuids are told at most.
_TOLD_LIMIT = 20_000
# Deletions since the server became active that it can report if they are given up.
_DELETIONS_LIMIT = 100_000
# Figures of the server that it would never stop to publish.
_CHANGED_BY_TELLING = ("sequence", "confirmed", "held_back")
_ABOUT_THE_SNAPSHOT = b"chpx=1\nfeat=%s\nn=%d\n"
_ALONE = FEATURE.encode()
_OF_A_PAIR = f"{FEATURE},{LEVELS}".encode()


class ServerProtocol:
    """One Clone server: hears clients and its peer, says what to publish and to answer.

    `make_uuid` gives 16 new bytes at each call. `epoch` is the highest epoch that this server may
    have used in an earlier life (see `messages.epoch_at`); its first one is higher. With `packs`,
    clients that can are offered packed snapshots. With `figures`, the server publishes them, and
    no client may write there. One of a pair has a `replication`, which one that stands alone has
    not. The other arguments are limits, in seconds, bytes and numbers. A hook that raises
    MalformedMessage has changed nothing.
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
        replication: Replication | None = None,
    ) -> None:
        self.state = ServerState.STARTING
        self.suspended = False
        self.heartbeat = heartbeat
        self.max_body = max_body
        self.expire_limit = expire_limit
        self.replication = replication if replication is not None else Replication()
        self._features = _ALONE if replication is None else _OF_A_PAIR
        self._always_replicated = self.replication.policy.level == REPLICATED
        self._figures = figures
        self._reserved = SYS if figures is not None else None
        self._duplicates = duplicates if duplicates is not None else DuplicateFilter()
        self._pending = pending if pending is not None else PendingList()
        self._holdings = Holdings(make_store(), self._duplicates, self._pending)
        self._follower = Follower(
            self._holdings,
            make_store=make_store,
            heartbeat=heartbeat,
            sync_timeout=sync_timeout,
            max_queued=max_queued,
            max_body=max_body,
        )
        self._make_uuid = make_uuid
        self._epoch_floor = epoch
        self._subtrees = subtrees if subtrees is not None else SubtreeCounts()
        self._heartbeats = Heartbeats(self._subtrees, interval=heartbeat, packs=packs)
        self._fork = 0
        self._began = 0  # the epoch in which this server became active by itself
        self._writes = 0
        self._deletions: dict[bytes, Frames] = {}  # by clients, of keys that are gone
        self._told_in_sync = False
        self._updates = self._duplicate_count = self._expired = self._refused = 0
        self._conflicts = self._snapshots = self._snapshots_refused = 0

    @property
    def store(self) -> KeyValueStore:
        """The map that this server holds; another one after a snapshot from the peer."""
        return self._holdings.store

    @property
    def sequence(self) -> int:
        """The sequence of the newest update held, with its epoch in the high bits."""
        return self._holdings.store.sequence

    @property
    def published(self) -> int:
        """The sequence of the newest update that has left this active server."""
        return self.replication.published(self.sequence)

    @property
    def packs(self) -> bool:
        """True if clients that can are offered packed snapshots."""
        return self._heartbeats.packs

    @property
    def serving(self) -> bool:
        """True if the server is active and not suspended."""
        return self.state is ServerState.ACTIVE and not self.suspended

    @property
    def deadline(self) -> float | None:
        """The instant at which `tick` has something to do next, None if never."""
        if self.serving:
            expiry = self.store.next_expiry
            due_at = min(self._heartbeats.deadline, self.replication.deadline)
            if self._figures is not None:
                due_at = min(due_at, self._figures.due_at)
            return due_at if expiry is None else min(due_at, expiry)
        return self._follower.deadline

    def progress(self) -> Progress:
        """How far this server's data has come, for BinaryStarProtocol(progress=...)."""
        return Progress(
            epoch=epoch_of(self.sequence),
            sequence=self.sequence,
            writes=self._writes,
            fork_epoch=epoch_of(self._fork) or self._began,
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
        refused is refused again. What may not leave yet is published later, by an effect. A server
        that is not serving holds it. There is no effect object here, which would be a tenth of the
        cost.
        """
        ttl = check_update(frames, max_body=self.max_body)
        condition = level = None
        if frames[3]:
            condition, level = decode_condition(frames[3]), decode_level(frames[3])
        known = self._duplicates.seen(frames[2], frames[0], now) if frames[2] else None
        if self.state is not ServerState.ACTIVE or self.suspended:
            self._hold(tuple(frames), known, now)
            return None
        if level is not None:
            frames = (*frames[:3], without_level(frames[3]), frames[4])
        if known is not None:
            return self._answer_again(frames, known, level == REPLICATED, now)
        if self._reserved is not None and frames[0].startswith(self._reserved):
            self._refused += 1
            return self._refuse(frames, "reserved", now)
        if condition is not None:
            if not condition.holds(self.store.get(frames[0])):
                self._conflicts += 1
                return self._refuse(frames, CONFLICT, now)
            frames = (*frames[:3], without_condition(frames[3]), frames[4])
        replicated = self._always_replicated if level is None else level == REPLICATED
        if replicated and self.replication.refuses:
            self.replication.unreplicated += 1
            return self._refuse(frames, UNREPLICATED, now)
        return self._accept(frames, ttl, now, replicated, level == REPLICATED)

    def _answer_again(
        self, frames: Sequence[bytes], known: int | str, asked: bool, now: float
    ) -> Frames | None:
        """What came of an update that is sent once more; None: it is answered when it leaves."""
        self._duplicate_count += 1
        link = self.replication
        if link.holds(frames[2]):
            return None
        if isinstance(known, str):
            return self._keep_place(refusal(frames, known), now)
        answer = replace_sequence(frames, known)
        if asked and link.in_sync and known > link.confirmed:
            link.hold(answer, known, published=self.published, now=now, asked=True)
            return None
        if asked:
            answer = _with_level(answer, link.level_of(known))
        return self._keep_place(answer, now)

    def _refuse(self, frames: Sequence[bytes], reason: str, now: float) -> Frames | None:
        # Its writer may believe it: a copy of the update that comes later must not be applied.
        self._duplicates.remember(frames[2], reason, None, now)
        answer = refusal(frames, reason)
        self.replication.append(answer)
        return self._keep_place(answer, now)

    def _keep_place(self, answer: Frames, now: float) -> Frames | None:
        """An answer leaves behind everything that was to leave before it."""
        if not self.replication.waiting:
            return answer
        self.replication.hold(answer, 0, published=self.published, now=now)
        return None

    def _hold(self, frames: Frames, known: int | str | None, now: float) -> None:
        if known is None:
            self._pending.add(frames, now)
        else:
            self._pending.receive_late_copy(frames[0], frames[2])

    def _accept(
        self,
        frames: Sequence[bytes],
        ttl: float | None,
        now: float,
        replicated: bool,
        asked: bool,
    ) -> Frames | None:
        store = self._holdings.store
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
        self._duplicates.remember(uuid, sequence, key, now)
        return self._leave(numbered, sequence, now, replicated, asked)

    def _leave(
        self,
        numbered: Frames,
        sequence: int,
        now: float,
        replicated: bool = False,
        asked: bool = False,
        own: bool = False,
    ) -> Frames | None:
        """Every new number comes by here: what is to be published for it now, None if it waits.

        `replicated`: only when the passive server has confirmed it, if that keeps up. `asked`: its
        writer is told which level was reached. `own`: it is an update of the server's own.
        """
        link = self.replication
        if link.peer:
            link.append(numbered)
        if link.waiting or (replicated and link.in_sync):
            link.hold(
                numbered,
                sequence if replicated else 0,
                published=sequence - 1,
                now=now,
                asked=asked,
                new=True,
                own=own,
            )
            return None
        self._subtrees.count(numbered[0], sequence)
        if not replicated or own:
            return numbered
        link.degraded += 1
        return _with_level(numbered, APPLIED) if asked else numbered

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
        packed = packed and self.packs
        snapshot = self._snapshot(identity, subtree, entries, packed)
        if not self.replication.waiting:
            return [snapshot]
        self.replication.hold(snapshot, 0, published=self.published, now=now)
        return []

    def _snapshot(
        self, identity: bytes, subtree: bytes, entries: tuple[Frames, ...], packed: bool
    ) -> SendSnapshot:
        about = _ABOUT_THE_SNAPSHOT % (self._features, len(entries))
        end = snapshot_end(self.sequence, subtree, about)
        return SendSnapshot(identity, subtree, self.sequence, entries, end, packed)

    def _answered_lately(self) -> list[Frames]:
        """Entries that tell uuids: a peer that has not heard of them would apply them again.

        The map has only the newest update of a key, none of a key that was deleted, and nothing of
        those that were refused. They delete nothing, since they come first. Where the key does not
        matter, the uuid stands in its place.
        """
        return [
            refusal((uuid, b"", uuid), result)
            if isinstance(result, str)
            else (key or uuid, encode_sequence(result), uuid, b"", b"")
            for uuid, result, key in self._duplicates.newest(_TOLD_LIMIT)
        ]

    def receive_subscription(self, topic: bytes, subscribed: bool, now: float) -> list[Effect]:
        """Somebody subscribes to a topic at the publisher, or nobody does any more.

        A new listener for heartbeats gets one at once, shared with those who come at the same
        time. To hear of every listener, the publisher needs the option XPUB_VERBOSE.
        """
        if not subscribed:
            self._subtrees.unsubscribe(topic)
            return []
        self._subtrees.subscribe(topic, self.published)
        if not self.serving or not HUGZ.startswith(topic):
            return []
        return self._heartbeats.greet(self.published, now)

    # --- time

    def tick(self, now: float) -> list[Effect]:
        """Do what is due: expire, beat, forget; or say hello once more to who does not answer."""
        self._duplicates.expire(now)
        if self.serving:
            effects = self._settle(now)
            for key in self.store.expire(now, self.expire_limit):
                self._expired += 1
                effects += self._publish_own(key, b"o=ttl\n", b"", now)
            return effects + self._tell_figures(now) + self._beat_if_due(now)
        self._pending.expire(now)
        return self._follow(self._follower.tick(now))

    def _tell_figures(self, now: float) -> list[Effect]:
        if self._figures is None or now < self._figures.due_at:
            return []
        counters = asdict(self.statistics())
        counters = {name: value for name, value in counters.items() if isinstance(value, int)}
        for name in _CHANGED_BY_TELLING:
            del counters[name]
        effects: list[Effect] = []
        try:
            for key, body in self._figures.take_changed(counters, now):
                effects += self._publish_own(key, b"o=sys\n", body, now)
        except StoreFull:
            pass  # the clients' values come first; what has a number already is published
        return effects

    def _publish_own(self, key: bytes, properties: bytes, body: bytes, now: float) -> list[Effect]:
        """An update of the server's own, which no client has written. Raises StoreFull."""
        sequence = self.sequence + 1
        frames = (key, encode_sequence(sequence), self._make_uuid(), properties, body)
        self.store.apply(frames, sequence)
        publication = self._leave(frames, sequence, now, self._always_replicated, own=True)
        return [] if publication is None else [Publish(publication)]

    def _beat_if_due(self, now: float) -> list[Effect]:
        if now >= self._heartbeats.next_at:
            self.replication.send_position(self.sequence, now)
        return self._heartbeats.tick(self.published, now)

    # --- orders

    def become_active(self, now: float, epoch: int = 0, *, force: bool = False) -> list[Effect]:
        """Serve, in a new epoch: at least `epoch`, and higher than any seen.

        What clients sent meanwhile is applied and published first, in its order; so every
        snapshot that follows contains it. An active server begins a new epoch. Raises
        NotSynchronised without a complete copy, unless forced.
        """
        if self.state is ServerState.SYNCING and not force:
            raise NotSynchronised("the copy of the active's data is not complete")
        self._follower.end()
        if self.state is not ServerState.ACTIVE:
            self.replication.end()
        self.state = ServerState.ACTIVE
        self.suspended = False
        self._fork = self.sequence
        self._writes = 0
        self._deletions.clear()
        new_epoch = max(epoch, epoch_of(self.sequence) + 1, self._epoch_floor + 1)
        self.store.sequence = make_sequence(new_epoch, 0)
        self._began = 0 if force else new_epoch  # who leads by an operator's word may have nothing
        self._heartbeats.begin(now)
        if self._figures is not None:
            self._figures.begin(now)
        self.replication.send_position(self.sequence, now)
        return self._settle(now) + self._apply_pending(now) + self._beat_if_due(now)

    def receive_epoch(self, epoch: int, now: float) -> list[Effect]:
        """A client has seen this epoch: it follows nobody in an older one.

        Who led in it may have died, and we have never heard of it. So an active server goes on in a
        higher one, with the same data, and a later activity begins above it.
        """
        self._epoch_floor = max(self._epoch_floor, epoch)
        if not self.serving or epoch <= epoch_of(self.sequence):
            return []
        self.store.sequence = make_sequence(epoch + 1, 0)
        self.replication.send_position(self.sequence, now)
        return self._heartbeats.beat(self.published, now)

    def _apply_pending(self, now: float) -> list[Effect]:
        self._pending.expire(now)
        effects: list[Effect] = []
        for frames in in_order(self._pending.take_all()):
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
        return self._settle(now) + self._apply_pending(now) + self._beat_if_due(now)

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
        self.suspended = False
        self.replication.end()
        self._told_in_sync = False
        self.state = ServerState.SYNCING
        return effects + self._follow(self._follower.begin(now))

    # --- the peer link, of an active server

    def receive_from_passive(
        self, identity: bytes, frames: Sequence[bytes], now: float
    ) -> list[Effect]:
        """What the passive server says: hello, or what it holds. Raises MalformedMessage."""
        if frames[0] == HELD:
            self.replication.receive_held(identity, decode_held(frames), self.sequence, now)
            return self._settle(now)
        sequence = decode_hello(frames)
        if not self.serving or self._lacks_data_of(sequence):
            self._snapshots_refused += 1
            return []
        self.replication.attach(identity, sequence, self.sequence, now)
        effects = self._settle(now)
        lately = self._answered_lately()
        if sequence != self.sequence:
            self._snapshots += 1
            entries = (*lately, *self.store.snapshot(b"", now))
            effects.append(self._snapshot(identity, b"", entries, packed=True))
        else:  # it misses no update, but perhaps what was refused while there was no link
            for entry in lately:
                if not sequence_of(entry):
                    self.replication.append(entry)
        return effects

    def _lacks_data_of(self, sequence: int) -> bool:
        """True if we began with nothing when others held this: who says so has to lead, not follow.

        The two hear of each other in their heartbeats, but perhaps a little later.
        """
        return not self._fork and 0 < epoch_of(sequence) < self._began

    def receive_link_lost(self, now: float) -> list[Effect]:
        """The passive server is not to be reached over the link any more."""
        self.replication.lose()
        return self._settle(now)

    def _settle(self, now: float) -> list[Effect]:
        """Let go what may leave by now, and say so if the passive server falls behind or is back.

        A suspended server lets nothing go: the peer may have taken over.
        """
        if not self.serving:
            return []
        link = self.replication
        link.tick(now)
        effects: list[Effect] = [self._let_go(each) for each in link.take_due()]
        if link.in_sync is not self._told_in_sync:
            self._told_in_sync = link.in_sync
            effects.append(ReportReplication(link.in_sync))
        return effects

    def _let_go(self, waiting: Waiting) -> Effect:
        content = waiting.content
        if isinstance(content, SendSnapshot):
            return content
        sequence = sequence_of(content)
        if waiting.new:
            self._subtrees.count(content[0], sequence)
            unconfirmed = waiting.number > self.replication.confirmed
            self.replication.degraded += unconfirmed and not waiting.own
        if waiting.asked:
            content = _with_level(content, self.replication.level_of(sequence))
        return Publish(content)

    # --- the peer link, of a passive server

    def receive_from_active(
        self, frames: Sequence[bytes], attempt: int, now: float
    ) -> list[Effect]:
        """What the active server answers to a hello, and goes on to send. MalformedMessage."""
        return self._follow(self._follower.receive(frames, attempt, now))

    def receive_link_broken(self, attempt: int, now: float) -> None:
        """The connection to the active server has ended, with everything received before."""
        self._follower.receive_broken(attempt, now)

    def _follow(self, effects: list[Effect]) -> list[Effect]:
        if self._follower.following:
            complete = self._follower.complete
            self.state = ServerState.PASSIVE if complete else ServerState.SYNCING
        return effects

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
            replicated=self._follower.replicated,
            replicas_discarded=self._follower.discarded,
            pending_dropped=self._pending.dropped,
            resyncs=self._follower.resyncs,
            in_sync=self.replication.in_sync,
            confirmed=self.replication.confirmed,
            waiting=len(self.replication.waiting),
            held_back=self.replication.held_back,
            degraded=self.replication.degraded,
            unreplicated=self.replication.unreplicated,
            links=self.replication.links,
            links_lost=self.replication.links_lost,
        )


def _with_level(frames: Frames, level: str) -> Frames:
    return (*frames[:3], with_level(frames[3], level), frames[4])


__all__ = [
    "Confirm",
    "Effect",
    "MalformedMessage",
    "NotSynchronised",
    "OutOfSync",
    "Publish",
    "ReportDiverged",
    "ReportReplication",
    "SayHello",
    "SendSnapshot",
    "ServerProtocol",
    "ServerState",
    "ServerStatistics",
    "Synchronised",
]
