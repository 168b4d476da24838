"""How a passive Clone server follows the active one: over the peer link, in order, without a hole.

It says hello with the number that it holds. If that is the active's, nothing else is fetched; else
a snapshot follows over the same link, and what is appended meanwhile is applied after it. A link
that breaks or falls silent is no sign that something is missing, and a dead active server looks no
different: the copy stays complete, so that this server may take over, and hello is said again.

Time is an argument: monotonic seconds.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from patterns.clone.holdings import Holdings
from patterns.clone.messages import (
    MAX_BODY,
    OWN,
    Frames,
    MalformedMessage,
    check_content,
    decode_refusal,
    decode_snapshot_end,
    epoch_of,
    is_snapshot_end,
    sequence_of,
)
from patterns.clone.packs import decode_pack, is_pack
from patterns.clone.peer_link import (
    APPEND,
    LINK,
    POSITION,
    RENEWED,
    OtherVersion,
    Renewed,
    decode_append,
    decode_position,
    decode_renewed,
    version_problem,
)
from patterns.clone.server_effects import (
    Confirm,
    Effect,
    OutOfSync,
    SayHello,
    Synchronised,
)
from patterns.clone.store import KeyValueStore, StoreFull

# A snapshot that was refused or is not what it says is asked for again after this time.
_SYNC_RETRY_SECONDS = 1.0
# After the link broke: a peer that was killed is replaced before, one that is there is not missed.
_RECONNECT_SECONDS = 0.1
# So many heartbeats without a word over the link, and hello is said again.
_SILENT_HEARTBEATS = 2


class Follower:
    """The passive server's end of the peer link; it changes `holdings`, and nothing else does.

    `complete` is whether the copy has no hole. `sync_timeout` seconds without progress make it ask
    for the snapshot again. At most `max_queued` updates, and `max_queued_bytes` of bodies, wait for
    the end of one. An attempt is one hello with what answers it: what comes from an earlier one is
    discarded.
    """

    def __init__(
        self,
        holdings: Holdings,
        *,
        make_store: Callable[[], KeyValueStore] = KeyValueStore,
        heartbeat: float = 1.0,
        sync_timeout: float = 5.0,
        max_queued: int = 100_000,
        max_queued_bytes: int = 64 << 20,
        max_body: int = MAX_BODY,
    ) -> None:
        self.complete = False
        self.attempt = 0
        self.question = 0  # the newest that this attempt was asked
        self.following = False
        self.replicated = self.discarded = self.resyncs = 0
        self._holdings = holdings
        self._make_store = make_store
        self._silence = _SILENT_HEARTBEATS * heartbeat
        self._sync_timeout = sync_timeout
        self._max_queued = max_queued
        self._max_bytes = max_queued_bytes
        self._max_body = max_body
        self._asked_at = 0.0
        self._hello_at = float("inf")  # the next one, if nothing comes before
        self._answer_wait = self._silence
        self._answered = False  # this attempt has had its first position
        self._collecting = make_store()
        self._collected = 0
        # What became of uuids: of those in the map, and of those that the active tells besides.
        self._answers = holdings.duplicates.empty_copy()
        self._told: dict[bytes, tuple[int | str, bytes | None]] = {}
        self._queue: deque[Frames | Renewed] = deque()  # updates, and renewed numbers
        self._queued_bytes = 0  # of bodies

    @property
    def sequence(self) -> int:
        """The number of the newest update held."""
        return self._holdings.store.sequence

    @property
    def deadline(self) -> float | None:
        """When `tick` has something to do, None if never."""
        return self._hello_at if self.following else None

    def begin(self, now: float) -> list[Effect]:
        """Follow the active server: fetch its data, keep the own copy until that is complete."""
        self.following = True
        self.complete = False
        self._answer_wait = self._silence
        return self._say_hello(now)

    def end(self) -> None:
        """Follow nobody any more, and keep the own copy, with all that is known of it."""
        self.following = False
        self.attempt += 1
        self._forget_collected()

    def _forget_collected(self) -> None:
        self._queue.clear()
        self._queued_bytes = 0
        self._collecting = self._make_store()
        self._collected = 0
        self._answers = self._holdings.duplicates.empty_copy()
        self._told.clear()

    def _say_hello(self, now: float) -> list[Effect]:
        self.attempt += 1
        self.question = 0
        self._answered = False
        self._asked_at = now
        # An answer takes an active server with many leases longer than its heartbeats.
        self._hello_at = now + self._answer_wait
        self._answer_wait = min(2 * self._answer_wait, max(self._silence, self._sync_timeout))
        self._forget_collected()
        return [SayHello(self.attempt, self.sequence if self.complete else 0, self.sequence)]

    def tick(self, now: float) -> list[Effect]:
        """Say hello again if the link has been silent for too long."""
        return self._say_hello(now) if self.following and now >= self._hello_at else []

    def receive_broken(self, attempt: int, now: float) -> None:
        """The link's connection has ended; what had arrived over it was received before."""
        if self._expects(attempt):
            self._hello_at = min(self._hello_at, now + _RECONNECT_SECONDS)

    # --- what arrives

    def receive(self, frames: Sequence[bytes], attempt: int, now: float) -> list[Effect]:
        """A message of the active server. Raises MalformedMessage."""
        if not self._expects(attempt):
            return []
        word = frames[0] if frames else b""
        if word == APPEND:
            entries = decode_append(frames, max_body=self._max_body)
            self._heard(now)
            return self._receive_entries(entries, now)
        if word == RENEWED:
            self._heard(now)
            return self._receive_renewed(decode_renewed(frames), now)
        if word == POSITION:
            position, self.question = decode_position(frames)
            return self._receive_position(position, now)
        if is_pack(frames):
            entries = decode_pack(frames, max_body=self._max_body, min_body=0)
            return self._receive_snapshot_entries(entries, now)
        if is_snapshot_end(frames):
            return self._receive_snapshot_end(frames, now)
        if word == LINK and len(frames) == 2:
            raise OtherVersion(version_problem(frames[1]))
        raise MalformedMessage("no message of the peer link")

    def _expects(self, attempt: int) -> bool:
        expected = self.following and attempt == self.attempt
        self.discarded += not expected
        return expected

    def _heard(self, now: float) -> None:
        if self.complete:
            self._hello_at = now + self._silence

    def _receive_position(self, position: int, now: float) -> list[Effect]:
        first, self._answered = not self._answered, True
        self._answer_wait = self._silence
        if not self.complete:
            if first:  # the snapshot follows
                self._hello_at = now + self._sync_timeout
            return []
        self._heard(now)
        if position == self.sequence:
            return [Confirm()]
        if position < self.sequence:  # the two will find out who of them has to yield
            self.discarded += 1
            return []
        if not first:
            return self._resync(now)
        # Something is missing, and the snapshot follows over this very link.
        self._lose_copy()
        self._hello_at = now + self._sync_timeout
        return [OutOfSync()]

    def _lose_copy(self) -> None:
        self.resyncs += 1
        self.complete = False

    def _resync(self, now: float) -> list[Effect]:
        self._lose_copy()
        return [OutOfSync(), *self._say_hello(now)]

    def _receive_entries(self, entries: Sequence[Frames], now: float) -> list[Effect]:
        """Updates and refusals, in the active's order."""
        effects: list[Effect] = []
        for entry in entries:
            sequence = sequence_of(entry)
            if not sequence:
                self._hear_refusal(entry, now)
            elif self.complete:
                effects = self._replicate(entry, sequence, now)
            else:
                effects = self._enqueue(entry, now)
            if effects:
                return effects
        return []

    def _receive_renewed(self, renewed: Renewed, now: float) -> list[Effect]:
        return self._renew(renewed, now) if self.complete else self._enqueue(renewed, now)

    def _enqueue(self, entry: Frames | Renewed, now: float) -> list[Effect]:
        size = 0 if isinstance(entry, Renewed) else len(entry[4])
        if len(self._queue) >= self._max_queued or self._queued_bytes + size > self._max_bytes:
            # The snapshot would have to bridge what finds no room: only a newer one can.
            return self._say_hello(now)
        self._queued_bytes += size
        self._queue.append(entry)
        return []

    def _apply_queued(self, entry: Frames | Renewed, now: float) -> list[Effect]:
        if isinstance(entry, Renewed):
            return self._renew(entry, now)
        return self._replicate(entry, sequence_of(entry), now)

    def _renew(self, renewed: Renewed, now: float) -> list[Effect]:
        store = self._holdings.store
        if store.sequence < renewed.old:
            return self._resync(now)
        if store.sequence == renewed.old:
            store.sequence = renewed.new
        else:
            self.discarded += 1
        return []

    def _hear_refusal(self, frames: Frames, now: float) -> None:
        """What the active has refused is never applied here either, whenever its copy arrives."""
        reason = decode_refusal(frames)
        if reason:
            self._holdings.pending.clear_refused(frames[2])
            self._holdings.duplicates.remember(frames[2], reason, None, now)
            if not self.complete:
                self._told[frames[2]] = reason, None
                if len(self._told) > self._holdings.duplicates.max_entries:
                    del self._told[next(iter(self._told))]

    def _replicate(self, frames: Frames, sequence: int, now: float) -> list[Effect]:
        """Apply the update that comes next; what it leads to if it does not, and nothing else."""
        holdings = self._holdings
        if frames[2]:
            holdings.pending.clear_published(frames[2], now)
        else:
            holdings.pending.clear_anonymous(frames)
        held = holdings.store.sequence
        if sequence <= held:
            self.discarded += 1
            return []
        if sequence != held + 1:
            return self._resync(now)
        ttl = check_content(frames) if frames[3] else None
        try:
            holdings.store.apply(frames, sequence, None if ttl is None else now + ttl)
        except StoreFull:
            self._fail_sync(now)
            return [OutOfSync()]
        self.replicated += 1
        if frames[3] not in OWN:  # nobody sends one of those again
            holdings.duplicates.remember(frames[2], sequence, frames[0], now)
        return []

    # --- the snapshot

    def _receive_snapshot_entries(self, entries: Sequence[Frames], now: float) -> list[Effect]:
        if self.complete:
            self.discarded += 1
            return []
        for entry in entries:
            sequence = sequence_of(entry)
            ttl = check_content(entry) if entry[3] else None
            try:
                self._collecting.apply(entry, sequence, None if ttl is None else now + ttl)
            except StoreFull:
                self._fail_sync(now)
                return []
            if entry[4]:
                if entry[2] not in self._told:
                    self._answers.remember(entry[2], sequence, entry[0], now)
            else:
                key = entry[0] if entry[0] != entry[2] else None
                self._told[entry[2]] = sequence or decode_refusal(entry), key
        self._collected += len(entries)
        self._hello_at = now + self._sync_timeout
        return []

    def _receive_snapshot_end(self, frames: Sequence[bytes], now: float) -> list[Effect]:
        """Use the snapshot, then what was appended since.

        One that is not as long as it says, or from an older epoch than the data held, is thrown
        away.
        """
        end = decode_snapshot_end(frames)
        if self.complete:
            self.discarded += 1
            return []
        incomplete = end.entries is not None and end.entries != self._collected
        if incomplete or epoch_of(end.sequence) < epoch_of(self.sequence):
            self._fail_sync(now)
            return []
        self._holdings.store, self._collecting = self._collecting, self._make_store()
        self._holdings.store.sequence = end.sequence
        self._replace_answers(now)
        self.complete = True
        self._heard(now)
        self._reconcile_pending(now)
        queued, self._queue = self._queue, deque()
        self._forget_collected()
        for entry in queued:
            if effects := self._apply_queued(entry, now):
                return effects  # a gap among the queued
        return [Synchronised(), Confirm()]

    def _replace_answers(self, now: float) -> None:
        """Those of the own map are forgotten: some may have been given up, and are in none now."""
        # What was told comes last, and in its order, so that what only the map has does not push it
        # out, here and at whom this server will tell it.
        for uuid, (result, key) in self._told.items():
            self._answers.remember(uuid, result, key, now)
        self._holdings.duplicates.replace(self._answers)

    def _fail_sync(self, now: float) -> None:
        """Keep the old copy and ask again, but not in a tight circle."""
        self.complete = False
        self.attempt += 1
        self._hello_at = now + _SYNC_RETRY_SECONDS

    def _reconcile_pending(self, now: float) -> None:
        """What was heard before the snapshot was asked for is in it, or lost the race."""
        pending, duplicates = self._holdings.pending, self._holdings.duplicates
        for frames in list(pending):
            known = duplicates.seen(frames[2], frames[0], now)
            if isinstance(known, str):
                pending.clear_refused(frames[2])
            elif known is not None:
                pending.clear_published(frames[2], now)
        pending.drop_heard_before(self._asked_at)
