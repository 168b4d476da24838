"""The rules of a Clone server, alone or in a Binary Star pair.

Only the active server orders updates (`ordering`), lets them go (`departures`), expires and beats
(`heartbeats`). A passive one follows the active (`following`), holds what clients sent to both, and
applies that when it becomes active itself: there its data forks (`fork`). What the active one knows
of its passive peer, and may not publish before that has confirmed it, is in `replication`. Which of
two servers is active is decided in `patterns.binary_star`; here it is an order.

Time is an argument: monotonic seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from patterns.binary_star.messages import Progress
from patterns.clone.conditions import FEATURE
from patterns.clone.departures import Departures
from patterns.clone.duplicates import DuplicateFilter
from patterns.clone.figures import SYS, OwnFigures
from patterns.clone.following import Follower
from patterns.clone.fork import Fork, renewed
from patterns.clone.heartbeats import Heartbeats
from patterns.clone.holdings import Holdings
from patterns.clone.levels import FEATURE as LEVELS
from patterns.clone.messages import (
    EXPIRED,
    FIGURE,
    HUGZ,
    MAX_BODY,
    MAX_COUNTER,
    Frames,
    MalformedMessage,
    counter_of,
    epoch_of,
    heartbeat,
    sequence_of,
    snapshot_end,
)
from patterns.clone.ordering import Ordering
from patterns.clone.peer_link import HELD, decode_held, decode_hello
from patterns.clone.pending import PendingList
from patterns.clone.replication import Replication
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
        self._figures = figures
        duplicates = duplicates if duplicates is not None else DuplicateFilter()
        pending = pending if pending is not None else PendingList()
        self._holdings = Holdings(make_store(), duplicates, pending)
        self._follower = Follower(
            self._holdings,
            make_store=make_store,
            heartbeat=heartbeat,
            sync_timeout=sync_timeout,
            max_queued=max_queued,
            max_body=max_body,
        )
        self._subtrees = subtrees if subtrees is not None else SubtreeCounts()
        self._heartbeats = Heartbeats(self._subtrees, interval=heartbeat, packs=packs)
        self._fork = Fork(epoch)
        self._departures = Departures(self.replication, self._subtrees)
        self._ordering = Ordering(
            self._holdings,
            self._fork,
            self._departures,
            make_uuid=make_uuid,
            max_body=max_body,
            reserved=None if figures is None else SYS,
        )
        self._expired = self._snapshots = self._snapshots_refused = 0

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
    def conflicts(self) -> int:
        """How many writes on condition were refused because they met another entry."""
        return self._ordering.conflicts

    @property
    def question(self) -> int:
        """The newest question of the active server that this one follows, for its answer."""
        return self._follower.question

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
        return self._fork.progress(self.sequence)

    # --- clients

    def receive_update(self, frames: Sequence[bytes], now: float) -> list[Effect]:
        """A client's KVSET, from the collector, as `order_update`."""
        publication = self.order_update(frames, now)
        return [] if publication is None else [Publish(publication)]

    def order_update(self, frames: Sequence[bytes], now: float) -> Frames | None:
        """A client's KVSET: what is to be published for it, None if nothing. MalformedMessage.

        The active server orders it, and may have to publish it later, by an effect. One that is not
        serving holds it.
        """
        if self.state is ServerState.ACTIVE and not self.suspended:
            return self._ordering.order(frames, now)
        self._ordering.hold(frames, now)
        return None

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
        due = self._departures.keep_place(snapshot, now)
        return [] if due is None else [due]

    def _snapshot(
        self, identity: bytes, subtree: bytes, entries: tuple[Frames, ...], packed: bool
    ) -> SendSnapshot:
        about = _ABOUT_THE_SNAPSHOT % (self._features, len(entries))
        end = snapshot_end(self.sequence, subtree, about)
        return SendSnapshot(identity, subtree, self.sequence, entries, end, packed)

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
        self._holdings.duplicates.expire(now)
        if self.serving:
            effects = self._settle(now) + self._renew_epoch(now)
            for key in self.store.expire(now, self.expire_limit):
                self._expired += 1
                effects += self._ordering.order_own(key, EXPIRED, b"", now)
            return effects + self._tell_figures(now) + self._beat_if_due(now)
        self._holdings.pending.expire(now)
        return self._follow(self._follower.tick(now))

    def _renew_epoch(self, now: float) -> list[Effect]:
        """Go on in a new epoch long before the counter runs over into one.

        The next one may be the peer's, which has taken over and is not heard: so in the next but
        one.
        """
        if counter_of(self.sequence) <= MAX_COUNTER // 2:
            return []
        return self.receive_epoch(epoch_of(self.sequence) + 1, now)

    def _tell_figures(self, now: float) -> list[Effect]:
        if self._figures is None or now < self._figures.due_at:
            return []
        effects: list[Effect] = []
        try:
            for key, body in self._figures.take_changed(self.statistics(), now):
                effects += self._ordering.order_own(key, FIGURE, body, now)
        except StoreFull:
            pass  # the clients' values come first; what has a number already is published
        return effects

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
        if self.state is ServerState.ACTIVE:
            self._renew_number(self._fork.go_on(self.sequence, epoch))
        else:
            self._departures.end()
            self.store.sequence = self._fork.begin(self.sequence, epoch, force=force)
        self.state = ServerState.ACTIVE
        self.suspended = False
        self._heartbeats.begin(now)
        if self._figures is not None:
            self._figures.begin(now)
        self.replication.send_position(self.sequence, now)
        return self._settle(now) + self._ordering.order_held(now) + self._beat_if_due(now)

    def receive_epoch(self, epoch: int, now: float) -> list[Effect]:
        """A client has seen this epoch: it follows nobody in an older one.

        Who led in it may have died, and we have never heard of it. So an active server goes on in a
        higher one, with the same data, and a later activity begins above it.
        """
        self._fork.receive_epoch(epoch)
        if not self.serving or epoch <= epoch_of(self.sequence):
            return []
        self._renew_number(renewed(self.sequence, epoch + 1))
        self.replication.send_position(self.sequence, now)
        return self._heartbeats.beat(self.published, now)

    def _renew_number(self, number: int) -> None:
        """Go on from a number of a new epoch: who follows misses nothing, and is told so."""
        self.replication.renew(self.sequence, number)
        self.store.sequence = number

    def suspend(self, now: float) -> None:
        """Serve nobody until `resume`: the peer may have taken over, and is being asked.

        What clients send meanwhile is held, as by a passive server. And who follows is asked
        again: what is known of it is as old as the last word, and grows older.
        """
        self.suspended = True
        self.replication.ask_again(self.sequence, now)

    def resume(self, now: float) -> list[Effect]:
        """The peer has not taken over: apply and publish what was held, and serve again."""
        self.suspended = False
        if not self.serving:
            return []
        return self._settle(now) + self._ordering.order_held(now) + self._beat_if_due(now)

    def become_passive(self, now: float, diverged_since: int | None = None) -> list[Effect]:
        """Follow the active: fetch its data, keep the own copy until that is complete.

        With `diverged_since`, what was accepted here after that sequence is reported first.
        """
        effects: list[Effect] = []
        if self.state is ServerState.ACTIVE:
            # Clients need not wait until they miss the next one.
            effects.append(Publish(heartbeat(b"role=passive\n")))
        if diverged_since is not None:
            entries = self._fork.changed_since(diverged_since, self.store)
            effects += [ReportDiverged(entries)] if entries else []
        self.suspended = False
        self._departures.end()
        self.state = ServerState.SYNCING
        return effects + self._follow(self._follower.begin(now))

    # --- the peer link, of an active server

    def receive_from_passive(
        self, identity: bytes, frames: Sequence[bytes], now: float
    ) -> list[Effect]:
        """What the passive server says: hello, or what it holds. Raises MalformedMessage."""
        if frames[0] == HELD:
            held, question = decode_held(frames)
            self.replication.receive_held(identity, held, question, self.sequence, now)
            return self._settle(now)
        sequence, held = decode_hello(frames)
        if not self.serving or self._fork.lacks_data_of(held, self.sequence):
            self._snapshots_refused += 1
            return []
        self.replication.attach(identity, sequence, self.sequence, now)
        effects = self._settle(now)
        lately = self._ordering.answered_lately()
        if sequence != self.sequence:
            self._snapshots += 1
            entries = (*lately, *self.store.snapshot(b"", now))
            effects.append(self._snapshot(identity, b"", entries, packed=True))
        else:  # it misses no update, but perhaps what was refused while there was no link
            for entry in lately:
                if not sequence_of(entry):
                    self.replication.append(entry)
        return effects

    def receive_link_lost(self, now: float) -> list[Effect]:
        """The passive server is not to be reached over the link any more."""
        self.replication.lose()
        return self._settle(now)

    def _settle(self, now: float) -> list[Effect]:
        """A suspended server lets nothing go: the peer may have taken over."""
        return self._departures.settle(now) if self.serving else []

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
            pending=len(self._holdings.pending),
            subtrees=len(self._subtrees),
            subtrees_refused=self._subtrees.refused,
            updates=self._ordering.updates,
            duplicates=self._ordering.duplicates,
            expired=self._expired,
            refused=self._ordering.refused,
            conflicts=self._ordering.conflicts,
            snapshots=self._snapshots,
            snapshots_refused=self._snapshots_refused,
            replicated=self._follower.replicated,
            replicas_discarded=self._follower.discarded,
            pending_dropped=self._holdings.pending.dropped,
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
