"""The rules of a Clone client: join, follow, notice a loss, change the server, write.

To join, the client subscribes and waits for a heartbeat on that subscription: it proves that
nothing published from then on is missed. Only then it asks for a snapshot, collects it aside, and
takes it in place of what it held. A server that is silent, a loss, or an older epoch than one
heard before: everything begins again, with the next server or the same, after a random pause.

Time is an argument: monotonic seconds. Call `tick` at least four times per `server_ttl`.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

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
from patterns.clone.losses import LossDetector
from patterns.clone.messages import (
    HUGZ,
    MAX_BODY,
    MAX_KEY,
    MAX_TTL,
    RESERVED_KEYS,
    UUID_SIZE,
    Frames,
    KVMessage,
    MalformedMessage,
    check_message,
    check_update,
    decode_heartbeat,
    decode_refusal,
    decode_snapshot_end,
    encode_properties,
    epoch_of,
    is_snapshot_end,
    parse_properties,
    sequence_of,
    snapshot_request,
    whole_seconds,
)
from patterns.clone.outbox import Outbox, OutboxFull
from patterns.clone.store import KeyValueStore, StoreFull


class ClientState(enum.Enum):
    """What a client is doing.

    CONNECTING: waits for a heartbeat. SYNCING: waits for the snapshot. LIVE: follows, its map is
    current. STALE: its map is old or empty, and it pauses before it tries again.
    """

    CONNECTING = "connecting"
    SYNCING = "syncing"
    LIVE = "live"
    STALE = "stale"


@dataclass(frozen=True, slots=True)
class ClientStatistics:
    """What a client has seen and done so far, as of one instant."""

    state: ClientState
    server: int
    epoch: int
    sequence: int
    keys: int
    unacknowledged: int
    updates: int
    discarded: int
    losses: int
    snapshots: int
    snapshots_failed: int
    acknowledged: int
    failed: int
    sent_again: int


class ClientProtocol:
    """One client of a Clone service with one or more servers, numbered in order of preference.

    `jitter` gives a number in 0..1 at each call and spreads the clients' attempts. The client
    writes inside its own subtree only: elsewhere it would never see its update come back.
    """

    def __init__(
        self,
        servers: int = 1,
        subtree: bytes = b"",
        *,
        jitter: Callable[[], float],
        server_ttl: float = 3.0,
        vote_after: float = 0.5,
        vote_interval: float = 1.0,
        pause: float = 0.25,
        max_pause: float = 30.0,
        max_body: int = MAX_BODY,
        max_queued: int = 100_000,
        make_store: Callable[[], KeyValueStore] = KeyValueStore,
        outbox: Outbox | None = None,
    ) -> None:
        if servers < 1:
            raise ValueError("a client needs a server")
        if len(subtree) > MAX_KEY or subtree in RESERVED_KEYS:
            raise ValueError(f"{subtree!r} cannot be a subtree")
        self.state = ClientState.STALE
        self.servers = servers
        self.subtree = subtree
        self.server = 0
        self.server_ttl = server_ttl
        self.vote_after = vote_after
        self.vote_interval = vote_interval
        self.pause = pause
        self.max_pause = max_pause
        self.max_body = max_body
        self.max_queued = max_queued
        self.store = make_store()
        self.epoch = 0  # the highest that any server has proved to have
        self._jitter = jitter
        self._make_store = make_store
        self._outbox = outbox if outbox is not None else Outbox()
        self._writable: set[int] = set()
        self._losses = LossDetector(subtree)
        self._subscription = 0
        self._request = 0
        self._collecting = make_store()
        self._collected = 0
        self._queue: deque[Frames] = deque()
        self._observed_at: float | None = None
        self._silent_at = float("inf")
        self._sync_expires_at = float("inf")
        self._vote_at = float("inf")
        self._resume_at = float("inf")
        self._live_since: float | None = None
        self._failures = 0
        self._updates = self._discarded = self._loss_count = 0
        self._snapshots = self._snapshots_failed = 0
        self._acknowledged = self._failed = self._sent_again = 0

    @property
    def live(self) -> bool:
        """True if the map is current."""
        return self.state is ClientState.LIVE

    def get(self, key: bytes) -> bytes | None:
        """The value of a key as far as this client knows, None without one."""
        entry = self.store.get(key)
        return entry[4] if entry else None

    def start(self, now: float) -> list[Effect]:
        """Begin with the first server."""
        self._observed_at = now
        return self._connect(now)

    def close(self, now: float) -> list[Effect]:
        """Leave the server, and give up what is not acknowledged."""
        failed = [WriteFailed(uuid, "closed") for uuid in self._outbox.take_all()]
        self._failed += len(failed)
        effects: list[Effect] = [*failed, *self._leave("closed")]
        self._resume_at = float("inf")
        return effects

    # --- writing

    def set(
        self, key: bytes, body: bytes, *, uuid: bytes, now: float, ttl: float | None = None
    ) -> list[Effect]:
        """Write a value, for `ttl` seconds or for ever.

        Ends in WriteAcknowledged or WriteFailed for this uuid. The own map changes when the
        server has published it. Raises ValueError for a key, a ttl or a body that no server would
        take, and OutboxFull.
        """
        if not body:
            raise ValueError("an empty body deletes: use delete()")
        if ttl is not None and not 0 < ttl <= MAX_TTL:
            raise ValueError(f"ttl {ttl} is not in 0..{MAX_TTL}")
        properties = b"" if ttl is None else encode_properties({"ttl": whole_seconds(ttl)})
        return self._write(KVMessage(key, 0, uuid, properties, body), now)

    def delete(self, key: bytes, *, uuid: bytes, now: float) -> list[Effect]:
        """Delete a key; as `set` in everything else."""
        return self._write(KVMessage(key, 0, uuid), now)

    def _write(self, message: KVMessage, now: float) -> list[Effect]:
        if len(message.uuid) != UUID_SIZE:
            raise ValueError(f"a uuid has {UUID_SIZE} bytes")
        if not message.key.startswith(self.subtree):
            raise ValueError(f"key {message.key!r} is outside the subtree {self.subtree!r}")
        frames = message.encode()
        check_update(frames, max_body=self.max_body)
        return self._send(self._outbox.add(frames, now))

    def _send(self, messages: list[Frames]) -> list[Effect]:
        # Without a server that listens they would be lost; `receive_writable` sends them then.
        return [SendUpdate(None, frames) for frames in messages] if self._writable else []

    def receive_writable(self, server: int, now: float) -> list[Effect]:
        """A server's collector has subscribed to this client's updates: nothing is lost now."""
        self._writable.add(server)
        return [SendUpdate(server, frames) for frames in self._outbox.under_way()]

    def receive_unwritable(self, server: int, now: float) -> list[Effect]:
        """A server's collector is gone."""
        self._writable.discard(server)
        return []

    # --- the subscription

    def receive_published(
        self, frames: Sequence[bytes], subscription: int, now: float
    ) -> list[Effect]:
        """Whatever the subscriber receives: KVPUB, HUGZ, the subtree's heartbeat, a refusal.

        Raises MalformedMessage, with nothing changed.
        """
        self._observe(now)
        if subscription != self._subscription or self.state is ClientState.STALE:
            self._discarded += 1
            return []
        sequence = check_message(frames, max_body=self.max_body)
        if frames[0] == HUGZ or not (sequence or frames[2]):
            return self._receive_heartbeat(frames, now)
        if not sequence:
            return self._receive_refusal(frames, now)
        check_update(frames, max_body=self.max_body)
        self._silent_at = now + self.server_ttl
        if not frames[0].startswith(self.subtree):
            return []  # a key that begins with HUGZ: the subscription to heartbeats matches it
        return self._receive_update(tuple(frames), sequence, now)

    def _receive_heartbeat(self, frames: Sequence[bytes], now: float) -> list[Effect]:
        beat = decode_heartbeat(frames)
        self._silent_at = now + self.server_ttl
        if beat.subtree not in (b"", self.subtree):
            return []
        lost = self._losses.receive_heartbeat(beat)
        if self.state is not ClientState.CONNECTING:
            return self._resync(lost, now) if lost else []
        if frames[0] != HUGZ:
            return []
        if beat.sequence is not None and epoch_of(beat.sequence) < self.epoch:
            return self._fail("older epoch", now)
        return self._request_snapshot(now)

    def _receive_update(self, frames: Frames, sequence: int, now: float) -> list[Effect]:
        lost = self._losses.receive_update(sequence)
        if self.state is ClientState.CONNECTING:
            return []  # the snapshot will contain it
        if lost:
            return self._resync(lost, now)
        if self.state is ClientState.LIVE:
            return self._follow(frames, sequence, now)
        if len(self._queue) >= self.max_queued:
            return self._resync("queue full", now)
        self._queue.append(frames)
        return []

    def _receive_refusal(self, frames: Sequence[bytes], now: float) -> list[Effect]:
        reason = decode_refusal(frames)
        if not reason:
            return []
        answered, following = self._outbox.finish(frames[2], now)
        self._failed += len(answered)
        return [*(WriteFailed(uuid, reason) for uuid in answered), *self._send(following)]

    def _follow(self, frames: Frames, sequence: int, now: float) -> list[Effect]:
        """Apply an update to the map, then acknowledge it: who waits for it will find it there."""
        effects: list[Effect] = []
        if sequence > self.store.sequence:
            try:
                previous = self.store.apply(frames, sequence)
            except StoreFull:
                return self._resync("store full", now)
            self._updates += 1
            self.epoch = max(self.epoch, epoch_of(sequence))
            effects += _difference(frames, previous)
        else:
            self._discarded += 1
        return effects + self._acknowledge(frames[2], sequence, now)

    def _acknowledge(self, uuid: bytes, sequence: int, now: float) -> list[Effect]:
        if not self._outbox.is_under_way(uuid):
            return []
        answered, following = self._outbox.finish(uuid, now)
        self._acknowledged += len(answered)
        return [*(WriteAcknowledged(each, sequence) for each in answered), *self._send(following)]

    # --- the snapshot

    def _request_snapshot(self, now: float) -> list[Effect]:
        self.state = ClientState.SYNCING
        self._vote_at = float("inf")
        self._request += 1
        self._collecting = self._make_store()
        self._collected = 0
        self._queue.clear()
        self._sync_expires_at = now + self.server_ttl
        return [RequestSnapshot(self.server, snapshot_request(self.subtree), self._request)]

    def receive_snapshot(self, frames: Sequence[bytes], request: int, now: float) -> list[Effect]:
        """Whatever the snapshot socket receives: KVSYNC or KTHXBAI. Raises MalformedMessage."""
        self._observe(now)
        if self.state is not ClientState.SYNCING or request != self._request:
            self._discarded += 1
            return []
        if is_snapshot_end(frames):
            return self._receive_snapshot_end(frames, now)
        check_update(frames, max_body=self.max_body)
        return self._receive_snapshot_entry(tuple(frames), now)

    def _receive_snapshot_entry(self, frames: Frames, now: float) -> list[Effect]:
        self._sync_expires_at = now + self.server_ttl
        # A Guide server sends the whole snapshot in one go, and no heartbeat meanwhile.
        self._silent_at = max(self._silent_at, now + self.server_ttl)
        self._collected += 1
        if not frames[0].startswith(self.subtree):
            return []
        try:
            self._collecting.apply(frames, sequence_of(frames))
        except StoreFull:
            self._snapshots_failed += 1
            return self._fail("store full", now)
        return []

    def _receive_snapshot_end(self, frames: Sequence[bytes], now: float) -> list[Effect]:
        end = decode_snapshot_end(frames)
        problem = ""
        if end.entries is not None and end.entries != self._collected:
            problem = "incomplete snapshot"
        elif epoch_of(end.sequence) < self.epoch:
            problem = "older epoch"
        elif end.sequence < self._losses.joined_at:
            problem = "older snapshot"
        if problem:
            self._snapshots_failed += 1
            return self._fail(problem, now)
        return self._go_live(end.sequence, now)

    def _go_live(self, sequence: int, now: float) -> list[Effect]:
        """Swap the maps, report every difference, apply what came meanwhile, send again."""
        old, self.store = self.store, self._collecting
        self._collecting = self._make_store()
        self.store.sequence = sequence
        self.epoch = max(self.epoch, epoch_of(sequence))
        self.state = ClientState.LIVE
        self._live_since = now
        self._snapshots += 1
        effects = _differences(old, self.store) + self._acknowledge_from_snapshot(now)
        queued, self._queue = self._queue, deque()
        for frames in queued:
            effects += self._follow(frames, sequence_of(frames), now)
            if self.state is not ClientState.LIVE:
                return effects
        return [*effects, Live(self.server), *self._send_again(now, at_once=True)]

    def _acknowledge_from_snapshot(self, now: float) -> list[Effect]:
        effects: list[Effect] = []
        for frames in self._outbox.under_way():
            entry = self.store.get(frames[0])
            if entry is not None and entry[2] == frames[2]:
                effects += self._acknowledge(frames[2], sequence_of(entry), now)
        return effects

    # --- time

    @property
    def deadline(self) -> float:
        """The instant at which `tick` wants to be called at the latest."""
        latest = (self._observed_at or 0.0) + self.server_ttl / 4
        return min(latest, self._vote_at, self._resume_at)

    def tick(self, now: float) -> list[Effect]:
        """Do what is due: give up a silent server, vote, try again, send again, time out."""
        self._observe(now)
        effects = self._tick_outbox(now)
        match self.state:
            case ClientState.STALE:
                return effects + (self._connect(now) if now >= self._resume_at else [])
            case ClientState.CONNECTING:
                return effects + self._tick_connecting(now)
            case ClientState.SYNCING if now >= self._sync_expires_at:
                self._snapshots_failed += 1
                return effects + self._fail("no snapshot", now)
            case _ if now >= self._silent_at:
                return effects + self._fail("server silent", now)
        return effects

    def _tick_connecting(self, now: float) -> list[Effect]:
        if now >= self._silent_at:
            return self._fail("server silent", now)
        if now < self._vote_at:
            return []
        self._vote_at = now + self.vote_interval
        return [Vote(self.server, snapshot_request(HUGZ))]

    def _tick_outbox(self, now: float) -> list[Effect]:
        failed, following = self._outbox.expire(now)
        self._failed += len(failed)
        effects: list[Effect] = [WriteFailed(uuid, "timeout") for uuid in failed]
        return effects + self._send(following) + self._send_again(now)

    def _send_again(self, now: float, *, at_once: bool = False) -> list[Effect]:
        effects = self._send(self._outbox.send_again(now, at_once=at_once))
        self._sent_again += len(effects)
        return effects

    def _observe(self, now: float) -> None:
        """If our own loop stood still, the server was not silent: what it said still waits."""
        previous, self._observed_at = self._observed_at, now
        if previous is not None and now - previous > self.server_ttl / 2:
            grace = now + self.server_ttl / 2
            self._silent_at = max(self._silent_at, grace)
            self._sync_expires_at = max(self._sync_expires_at, grace)

    # --- changing the server

    def receive_disconnected(self, subscription: int, now: float) -> list[Effect]:
        """The subscriber's connection broke: what was published meanwhile is lost."""
        if subscription != self._subscription or self.state is ClientState.STALE:
            return []
        return self._resync("disconnected", now)

    def _connect(self, now: float) -> list[Effect]:
        self.state = ClientState.CONNECTING
        self._subscription += 1
        self._losses = LossDetector(self.subtree)
        self._silent_at = now + self.server_ttl
        self._vote_at = now + self.vote_after
        self._resume_at = float("inf")
        return [Connect(self.server, self._subscription)]

    def _resync(self, reason: str, now: float) -> list[Effect]:
        """Something was lost: fetch everything again, from the same server."""
        self._loss_count += 1
        return self._leave(reason) + self._pause(now)

    def _fail(self, reason: str, now: float) -> list[Effect]:
        """This server will not do: go to the next, round and round, for ever."""
        effects = self._leave(reason)
        self.server = (self.server + 1) % self.servers
        return effects + self._pause(now)

    def _leave(self, reason: str) -> list[Effect]:
        effects: list[Effect] = [Stale(reason)] if self.state is ClientState.LIVE else []
        if self.state is not ClientState.STALE:
            effects.append(Disconnect(self.server))
        self.state = ClientState.STALE
        self._queue.clear()
        self._collecting = self._make_store()
        self._vote_at = float("inf")
        return effects

    def _pause(self, now: float) -> list[Effect]:
        """Wait a random time, up to twice as long at each failure in a row."""
        if self._live_since is not None and now - self._live_since > self.max_pause:
            self._failures = 0
        self._live_since = None
        longest = min(self.max_pause, self.pause * 2 ** min(self._failures, 30))
        self._failures += 1
        self._resume_at = now + longest * self._jitter()
        return self._connect(now) if now >= self._resume_at else []

    def statistics(self) -> ClientStatistics:
        """A frozen snapshot of the counters."""
        return ClientStatistics(
            state=self.state,
            server=self.server,
            epoch=self.epoch,
            sequence=self.store.sequence,
            keys=len(self.store),
            unacknowledged=len(self._outbox),
            updates=self._updates,
            discarded=self._discarded,
            losses=self._loss_count,
            snapshots=self._snapshots,
            snapshots_failed=self._snapshots_failed,
            acknowledged=self._acknowledged,
            failed=self._failed,
            sent_again=self._sent_again,
        )


def _difference(frames: Frames, previous: Frames | None) -> list[Effect]:
    """What an update changes for somebody who watches the map."""
    if frames[4]:
        return [Put(frames[0], frames[4], added=previous is None)]
    if previous is None:
        return []
    if frames[3] and parse_properties(frames[3]).get("o") == "ttl":
        return [Expired(frames[0])]
    return [Deleted(frames[0])]


def _differences(old: KeyValueStore, new: KeyValueStore) -> list[Effect]:
    """What changes for somebody who watches, when a snapshot takes the place of a map."""
    effects: list[Effect] = [Deleted(key) for key in old if key not in new]
    for entry in new.snapshot():
        previous = old.get(entry[0])
        if previous is None or previous[4] != entry[4]:
            effects.append(Put(entry[0], entry[4], added=previous is None))
    return effects


__all__ = [
    "ClientProtocol",
    "ClientState",
    "ClientStatistics",
    "Connect",
    "Deleted",
    "Disconnect",
    "Effect",
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
