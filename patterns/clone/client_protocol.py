"""The rules of a Clone client: join, follow, notice a loss, change the server, write.

To join, the client subscribes and waits for a heartbeat on that subscription: it proves that
nothing published from then on is missed. Only then it asks for a snapshot, collects it aside, and
takes it in place of what it held. A server that is silent, a loss, or an older epoch than one
heard before: everything begins again, with the next server or the same, after a random pause.

Time is an argument: monotonic seconds. Call `tick` at least four times per `server_ttl`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from operator import index

from patterns.clone.client_effects import (
    Connect,
    Deleted,
    Disconnect,
    Effect,
    Expired,
    Live,
    Put,
    RequestSnapshot,
    SendUpdate,
    Stale,
    Vote,
    WriteAcknowledged,
    WriteFailed,
)
from patterns.clone.client_states import ClientState, ClientStatistics, Entry
from patterns.clone.conditions import Condition, Deletions
from patterns.clone.differences import difference, differences
from patterns.clone.interest import Interest
from patterns.clone.joining import Collection, Published
from patterns.clone.levels import APPLIED, without_level
from patterns.clone.losses import LOST, LossDetector, NumberWatch
from patterns.clone.messages import (
    HUGZ,
    MAX_BODY,
    MalformedMessage,
    check_message,
    check_publication,
    decode_heartbeat,
    decode_refusal,
    decode_snapshot_end,
    encode_sequence,
    epoch_notice,
    epoch_of,
    is_snapshot_end,
    sequence_of,
    snapshot_request,
)
from patterns.clone.outbox import Outbox, OutboxFull
from patterns.clone.packs import FEATURE as PACKS
from patterns.clone.patience import Patience
from patterns.clone.rounds import ServerRound
from patterns.clone.store import KeyValueStore, StoreFull
from patterns.clone.writer import ConditionsUnsupported, Writer

_OLDER_EPOCH = "older epoch"


class ClientProtocol:
    """One client of a Clone service with one or more servers, numbered in order of preference.

    `subtree` is one or several; those inside another add nothing. `jitter` gives a number in 0..1
    at each call and spreads the clients' attempts. With `join_after`, the service may be one
    without heartbeats: after so many seconds, or when an update has proved the subscription, the
    client asks for a snapshot all the same, and it takes no silence for death until it has heard a
    first heartbeat. With `learns`, a server's own heartbeat interval takes the place of
    `server_ttl`, `vote_after` and `vote_interval` as soon as it is heard. `haste` is the longest
    pause, in seconds, after the end of a server that was followed.
    """

    def __init__(
        self,
        servers: int = 1,
        subtree: bytes | Iterable[bytes] = b"",
        *,
        jitter: Callable[[], float],
        server_ttl: float = 3.0,
        join_after: float | None = None,
        vote_after: float = 0.5,
        vote_interval: float = 1.0,
        learns: bool = False,
        haste: float = 0.02,
        pause: float = 0.25,
        max_pause: float = 30.0,
        max_body: int = MAX_BODY,
        max_queued: int = 100_000,
        make_store: Callable[[], KeyValueStore] = KeyValueStore,
        outbox: Outbox | None = None,
    ) -> None:
        self.state = ClientState.STALE
        self.interest = Interest([subtree] if isinstance(subtree, bytes) else subtree)
        self.join_after = join_after
        self.max_body = max_body
        self.max_queued = max_queued
        self.store = make_store()
        self.epoch = 0  # the highest that any server has proved to have
        self.watched = (
            True  # without a watcher nothing is said of keys: a third of an update's cost
        )
        self._make_store = make_store
        outbox = outbox if outbox is not None else Outbox()
        self._writer = Writer(self.interest, outbox, max_body)
        self._deletions = Deletions()
        self._round = ServerRound(
            servers, jitter=jitter, haste=haste, pause=pause, max_pause=max_pause
        )
        self._patience = Patience(
            server_ttl=server_ttl,
            join_after=join_after,
            vote_after=vote_after,
            vote_interval=vote_interval,
            learns=learns,
        )
        self._beats = join_after is None  # the server is known to send heartbeats
        self._losses: LossDetector | NumberWatch = LossDetector(self.interest)
        self._subscription = 0
        self._requests = 0
        self._snapshot_sequence = 0  # of the newest one in the map
        self._collection: Collection | None = None
        self._current_at = float("-inf")
        self._resume_at = float("inf")
        self._refusals = 0  # of servers in an older epoch, since the last that was followed
        self._updates = self._discarded = self._loss_count = 0
        self._snapshots = self._snapshots_failed = 0

    @property
    def live(self) -> bool:
        """True if the map is current."""
        return self.state is ClientState.LIVE

    @property
    def server(self) -> int:
        """The number of the server that this client follows or tries."""
        return self._round.server

    @property
    def server_ttl(self) -> float:
        """How many seconds a server may be silent."""
        return self._patience.server_ttl

    def get(self, key: bytes) -> bytes | None:
        """The value of a key as far as this client knows, None without one.

        Raises ValueError for a key outside the subtrees: this client cannot know it.
        """
        entry = self.store.get(key)
        if entry is None:
            self.interest.check(key)
            return None
        return entry[4]

    def entry(self, key: bytes) -> Entry:
        """The value of a key and its sequence number; as `get` in everything else."""
        entry = self.store.get(key)
        if entry is None:
            self.interest.check(key)
            return Entry(None, 0)
        return Entry(entry[4], sequence_of(entry))

    def age(self, now: float) -> float:
        """How many seconds ago the map was known to be current; infinite if it never was.

        While it follows a server, that is the time since the server was heard last.
        """
        return now - (self._patience.heard_at if self.live else self._current_at)

    def start(self, now: float) -> list[Effect]:
        """Begin with the first server."""
        self._patience.start(now)
        return self._connect(now)

    def close(self, now: float) -> list[Effect]:
        """Leave the server, and give up what is not acknowledged."""
        effects: list[Effect] = [*self._writer.close(), *self._leave("closed")]
        self._resume_at = float("inf")
        return effects

    # --- writing

    def set(
        self,
        key: bytes,
        body: bytes,
        *,
        uuid: bytes,
        now: float,
        ttl: float | None = None,
        if_sequence: int | None = None,
        ack: str = APPLIED,
        timeout: float | None = None,
    ) -> list[Effect]:
        """Write a value, for `ttl` seconds or for ever.

        With `if_sequence`, only if the key's entry has that number, or is not there for 0. Ends in
        WriteAcknowledged, at the level `ack`, or WriteFailed for this uuid, the latter after
        `timeout` seconds (default: the outbox's). The own map changes when the server has published
        it. Raises ValueError for a key, a ttl, a body or a level that no server would take,
        OutboxFull, and ConditionsUnsupported.
        """
        if not body:
            raise ValueError("an empty body deletes: use delete()")
        effects = self._writer.write(
            key,
            body,
            uuid,
            now,
            ttl=ttl,
            condition=self._condition(key, if_sequence),
            ack=ack,
            timeout=timeout,
        )
        return [*effects]

    def delete(
        self,
        key: bytes,
        *,
        uuid: bytes,
        now: float,
        if_sequence: int | None = None,
        ack: str = APPLIED,
        timeout: float | None = None,
    ) -> list[Effect]:
        """Delete a key; as `set` in everything else."""
        condition = self._condition(key, if_sequence)
        return [
            *self._writer.write(key, b"", uuid, now, condition=condition, ack=ack, timeout=timeout)
        ]

    def _condition(self, key: bytes, if_sequence: int | None) -> Condition | None:
        if if_sequence is None:
            return None
        if_sequence = int(index(if_sequence))
        if not 0 <= if_sequence < 1 << 63:
            raise ValueError(f"sequence {if_sequence} is not in 0..{(1 << 63) - 1}")
        return Condition.of(if_sequence, self.store.get(key), self._deletions.get(key))

    def receive_writable(self, server: int, now: float) -> list[Effect]:
        """A server's collector has subscribed to this client's updates: nothing is lost now."""
        return [*self._writer.receive_writable(server)]

    def receive_unwritable(self, server: int, now: float) -> list[Effect]:
        """A server's collector is gone."""
        self._writer.receive_unwritable(server)
        return []

    # --- the subscription

    def receive_published(
        self, frames: Sequence[bytes], subscription: int, now: float
    ) -> list[Effect]:
        """Whatever the subscriber receives: KVPUB, HUGZ, a subtree's heartbeat, a refusal.

        Raises MalformedMessage, with nothing changed.
        """
        self._patience.observe(now)
        if subscription != self._subscription or self.state is ClientState.STALE:
            self._discarded += 1
            return []
        sequence = check_message(frames, max_body=self.max_body)
        if frames[0] == HUGZ or not (sequence or frames[2]):
            return self._receive_heartbeat(frames, now)
        if not sequence:
            return self._receive_refusal(frames, now)
        ttl = check_publication(frames)
        if frames[0] not in self.interest:
            self._patience.heard_at = now
            return []  # a key that begins with HUGZ: the subscription to heartbeats matches it
        expires_at = None if ttl is None else now + ttl
        return self._receive_update(Published(tuple(frames), sequence, expires_at), now)

    def _receive_heartbeat(self, frames: Sequence[bytes], now: float) -> list[Effect]:
        beat = decode_heartbeat(frames)
        if not beat.active:
            return self._lose("server steps down", now)
        if not self._beats and frames[0] == HUGZ:
            self._beats = True
            if self.live:  # the subscription came later than was hoped for: again, with proof
                return self._resync("heartbeats have begun", now)
            self._losses = LossDetector(self.interest)
            self.state = ClientState.CONNECTING
        if beat.interval_ms:
            self._patience.learn(beat.interval_ms / 1000)
        ours = not beat.subtree or beat.subtree in self.interest.subtrees
        lost = self._losses.receive_heartbeat(beat) if ours else ""
        if lost and self.state is not ClientState.CONNECTING:
            return self._resync(lost, now)  # not heard: the map's age counts from before the loss
        if not ours:
            return []  # and not heard: it says nothing of what this client misses
        self._patience.heard_at = now
        if not beat.subtree:
            self._patience.receive_heartbeat(now)
        if self.state is not ClientState.CONNECTING:
            if self._collection is not None and not beat.subtree:
                self._collection.receive_heartbeat(beat.sequence)
            return self._go_live_if_consistent(now)
        if frames[0] != HUGZ:
            return []
        if beat.sequence is not None and epoch_of(beat.sequence) < self.epoch:
            return self._fail(_OLDER_EPOCH, now)
        return self._request_snapshots(now, packed=PACKS in beat.features)

    def _receive_update(self, update: Published, now: float) -> list[Effect]:
        lost = self._losses.receive_update(update.frames[0], update.sequence)
        if lost and self.state is not ClientState.CONNECTING:
            return self._resync(lost, now)
        self._patience.heard_at = now
        if self.state is ClientState.CONNECTING:
            # The snapshot will contain it; and it proves this subscription.
            return [] if self._beats else self._request_snapshots(now)
        if self._collection is None:
            return self._follow(update, now)
        if not self._collection.add_update(update):
            return self._resync("queue full", now)
        return self._go_live_if_consistent(now)

    def _receive_refusal(self, frames: Sequence[bytes], now: float) -> list[Effect]:
        if not self.live:
            # Who hears of a conflict finds in the map what is there: the write is sent again as
            # soon as that is so, and refused again.
            return []
        reason = decode_refusal(frames)
        return [*self._writer.receive_refusal(frames[2], reason, now)] if reason else []

    def _follow(self, update: Published, now: float) -> list[Effect]:
        """Apply an update to the map, then acknowledge it: who waits for it will find it there."""
        effects: list[Effect] = []
        frames, sequence = update.frames, update.sequence
        if sequence > self.store.sequence:
            if b"ack=" in frames[3]:  # the answer to its writer, no part of the entry
                frames = (*frames[:3], without_level(frames[3]), frames[4])
            try:
                previous = self.store.apply(frames, sequence, update.expires_at)
            except StoreFull:
                return self._resync("store full", now)
            self._updates += 1
            if not frames[4]:
                self._deletions.remember(frames[0], frames[2])
            self.epoch = max(self.epoch, epoch_of(sequence))
            if self.watched:
                effects += difference(frames, previous)
        elif sequence > self._snapshot_sequence and self._writer.waits_for(frames[2]):
            # Its first publication would have ended it: that was lost, and not noticed yet.
            return self._resync(LOST, now)
        else:
            self._discarded += 1
        return [*effects, *self._writer.receive_answer(update.frames, sequence, now)]

    # --- the snapshots

    def _request_snapshots(self, now: float, *, packed: bool = False) -> list[Effect]:
        """Ask for each subtree, all at once: a server that answers at once answers them alike."""
        self.state = ClientState.SYNCING
        self._patience.ask(now)
        first, self._requests = self._requests + 1, self._requests + len(self.interest.subtrees)
        requests = dict(enumerate(self.interest.subtrees, first))
        self._collection = Collection(
            self.interest,
            requests,
            self._make_store,
            packed=packed,
            max_body=self.max_body,
            max_queued=self.max_queued,
        )
        if not self._beats:
            self._collection.receive_heartbeat(None)
        return [
            RequestSnapshot(self.server, snapshot_request(subtree, packed=packed), number)
            for number, subtree in requests.items()
        ]

    def receive_snapshot(self, frames: Sequence[bytes], request: int, now: float) -> list[Effect]:
        """Whatever a snapshot socket receives: KVSYNC, KVPACK or KTHXBAI.

        Raises MalformedMessage.
        """
        self._patience.observe(now)
        collection = self._collection
        if collection is None or not collection.expects(request):
            self._discarded += 1
            return []
        if is_snapshot_end(frames):
            return self._receive_snapshot_end(collection, frames, request, now)
        try:
            collection.receive(frames, request, now)
        except StoreFull:
            self._snapshots_failed += 1
            return self._fail("store full", now)
        self._patience.receive_snapshot(now)
        self._patience.heard_at = now
        return []

    def _receive_snapshot_end(
        self, collection: Collection, frames: Sequence[bytes], request: int, now: float
    ) -> list[Effect]:
        end = decode_snapshot_end(frames)
        if epoch_of(end.sequence) < self.epoch:
            problem = _OLDER_EPOCH
        elif end.sequence < self._losses.joined_at:
            problem = "older snapshot"
        else:
            problem = collection.finish(end, request) or self._losses.receive_snapshot(end.sequence)
        if problem:
            self._snapshots_failed += 1
            return self._fail(problem, now)
        self._patience.receive_snapshot(now)
        return self._go_live_if_consistent(now)

    def _go_live_if_consistent(self, now: float) -> list[Effect]:
        collection = self._collection
        if collection is None or not collection.consistent:
            return []
        self._collection = None
        return self._go_live(collection, now)

    def _go_live(self, collection: Collection, now: float) -> list[Effect]:
        """Swap the maps, report every difference, apply what came meanwhile, send again."""
        old, self.store = self.store, collection.store
        self.store.sequence = collection.oldest
        self._snapshot_sequence = collection.newest
        self.epoch = max(self.epoch, epoch_of(collection.newest))
        self.state = ClientState.LIVE
        self._round.receive_live(now)
        self._patience.receive_live()
        self._refusals = 0
        self._snapshots += 1
        effects: list[Effect] = [*differences(old, self.store)] if self.watched else []
        effects += self._writer.receive_snapshot(self.store, collection.features, now)
        for update, is_new in collection.take_updates():
            if is_new:
                effects += self._follow(update, now)
            else:
                self._discarded += 1
                effects += self._writer.receive_answer(update.frames, update.sequence, now)
            if self.state is not ClientState.LIVE:
                return effects
        self.store.sequence = max(self.store.sequence, collection.newest)
        return [*effects, Live(self.server), *self._writer.send_again(now, at_once=True)]

    # --- time

    @property
    def deadline(self) -> float:
        """The instant at which `tick` wants to be called at the latest."""
        latest = min(self._patience.deadline, self._resume_at, self._writer.deadline)
        if self.state is not ClientState.STALE:
            latest = min(latest, self._silent_at)
        expiry = None if self.live else self.store.next_expiry
        return latest if expiry is None else min(latest, expiry)

    def tick(self, now: float) -> list[Effect]:
        """Do what is due: give up a silent server, vote, try again, send again, time out."""
        self._patience.observe(now)
        effects: list[Effect] = [*self._writer.tick(now)]
        if not self.live:
            effects += self._expire(now)
        match self.state:
            case ClientState.STALE:
                return effects + (self._connect(now) if now >= self._resume_at else [])
            case ClientState.CONNECTING if now >= self._patience.join_at:
                return effects + self._request_snapshots(now)
            case ClientState.CONNECTING if now < self._silent_at and now >= self._patience.vote_at:
                self._patience.vote(now)
                return [*effects, Vote(self.server, snapshot_request(HUGZ))]
            case ClientState.SYNCING if now >= self._patience.without_snapshot_at:
                self._snapshots_failed += 1
                self._patience.give_up_snapshot()
                return effects + self._fail("no snapshot", now)
            case _ if now >= self._silent_at:
                return effects + self._lose("server silent", now)
        return effects

    @property
    def _silent_at(self) -> float:
        return self._patience.silent_at if self._beats else float("inf")

    def _expire(self, now: float) -> list[Effect]:
        """Without a server that would say so, a value goes when its own time is over.

        A server that is followed knows better: its clock counts, and the value may be renewed.
        """
        keys = self.store.expire(now)
        for key in keys:
            self.store.apply((key, encode_sequence(0), b"", b"", b""), self.store.sequence)
        return [Expired(key) for key in keys] if self.watched else []

    # --- changing the server

    def receive_disconnected(self, subscription: int, now: float) -> list[Effect]:
        """The subscriber's connection broke: what was published meanwhile is lost."""
        self._patience.observe(now)
        if subscription != self._subscription or self.state is ClientState.STALE:
            return []
        self._loss_count += 1
        return self._lose("disconnected", now)

    def _connect(self, now: float) -> list[Effect]:
        self.state = ClientState.CONNECTING
        self._subscription += 1
        self._losses = (LossDetector if self._beats else NumberWatch)(self.interest)
        self._patience.begin(now, beats=self._beats, hasty=self._round.begin())
        self._resume_at = float("inf")
        return [Connect(self.server, self._subscription)]

    def _resync(self, reason: str, now: float) -> list[Effect]:
        """Something was lost: fetch everything again, from the same server."""
        self._loss_count += 1
        return self._leave(reason) + self._pause(now)

    def _lose(self, reason: str, now: float) -> list[Effect]:
        """The server has ended, or hands over: ask the others at once, each for a short time.

        Only when it was followed for some time: a connection that breaks again and again is none
        to hurry for.
        """
        if self.join_after is None and self._round.has_followed(self.server_ttl, now):
            self._round.hurry()
        return self._fail(reason, now)

    def _fail(self, reason: str, now: float) -> list[Effect]:
        """This server will not do: go to the next."""
        effects = self._leave(reason)
        self._beats = self.join_after is None
        if reason == _OLDER_EPOCH:
            effects += self._refuse_server()
        self._round.go_on()
        return effects + self._pause(now)

    def _refuse_server(self) -> list[Effect]:
        """A server is in an older epoch than one seen before. The first time, look for that one.

        Whoever led in it may be gone for good, and this server never have heard of it: tell it.
        """
        if self.join_after is not None:
            self.epoch = 0  # a server of a model without votes is the only one: believe it then
            return []
        self._refusals += 1
        if self._refusals <= 2:  # it is there, and goes on in a newer epoch once it is told
            self._round.begin_anew()
        if self._refusals <= 1:
            return []
        return [Vote(self.server, epoch_notice(self.epoch))]

    def _leave(self, reason: str) -> list[Effect]:
        effects: list[Effect] = []
        if self.live:
            self._current_at = self._patience.heard_at
            effects.append(Stale(reason))
        if self.state is not ClientState.STALE:
            effects.append(Disconnect(self.server))
        self.state = ClientState.STALE
        self._collection = None
        self._patience.end()
        return effects

    def _pause(self, now: float) -> list[Effect]:
        self._resume_at = self._round.take_pause(self.server_ttl, now)
        return self._connect(now) if now >= self._resume_at else []

    def statistics(self) -> ClientStatistics:
        """A frozen snapshot of the counters."""
        return ClientStatistics(
            state=self.state,
            server=self.server,
            epoch=self.epoch,
            sequence=self.store.sequence,
            keys=len(self.store),
            unacknowledged=self._writer.unacknowledged,
            updates=self._updates,
            discarded=self._discarded,
            losses=self._loss_count,
            snapshots=self._snapshots,
            snapshots_failed=self._snapshots_failed,
            acknowledged=self._writer.acknowledged,
            failed=self._writer.failed,
            sent_again=self._writer.sent_again,
        )


__all__ = [
    "ClientProtocol",
    "ClientState",
    "ClientStatistics",
    "ConditionsUnsupported",
    "Connect",
    "Deleted",
    "Disconnect",
    "Effect",
    "Entry",
    "Expired",
    "Live",
    "MalformedMessage",
    "OutboxFull",
    "Put",
    "RequestSnapshot",
    "SendUpdate",
    "Stale",
    "Vote",
    "WriteAcknowledged",
    "WriteFailed",
]
