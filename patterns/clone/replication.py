"""What the active server of a pair knows of its passive one, and what waits for it.

Every update and refusal goes to the passive server over the peer link (`peer_link`), in order. An
update that is to be acknowledged as replicated leaves the server only when the passive one has
confirmed its number, and whatever would leave after it waits behind it: so nobody ever sees an
update that a failover could take back. If no confirmation comes in time, nothing waits any more
until the passive server has caught up again; then a probe, a question asked at some instant, is
answered in time, with the number that was the newest then.

Time is an argument: monotonic seconds.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from patterns.clone.levels import APPLIED, REPLICATED, check_level
from patterns.clone.messages import Frames, MalformedMessage, sequence_of
from patterns.clone.peer_link import (
    APPEND_BYTES,
    APPEND_ENTRIES,
    Renewed,
    encode_append,
    encode_position,
    encode_renewed,
)
from patterns.clone.server_effects import SendSnapshot


@dataclass(frozen=True, slots=True)
class ReplicationPolicy:
    """When updates wait for the passive server, and what happens if it does not confirm them.

    `level` is what writers get that ask for none. `timeout` is how long, in seconds, an update
    waits at most. With `refuses`, one that could not be replicated is refused then; else it is
    applied and published, and its writer is told that this is all.
    """

    level: str = APPLIED
    timeout: float = 1.0
    refuses: bool = False

    def __post_init__(self) -> None:
        check_level(self.level)
        if not self.timeout > 0:
            raise ValueError(f"a replication timeout is more than 0 s, not {self.timeout!r}")


@dataclass(frozen=True, slots=True)
class Position:
    """A question for the passive server, behind all that was to be sent up to a number."""

    sequence: int
    question: int


@dataclass(slots=True)
class Waiting:
    """What may not leave yet: a publication or a snapshot.

    `number` is what has to be confirmed before, 0 if it only keeps its place. `asked`: its writer
    wants to hear which level was reached. `new`: it has not been published before. `own`: it is an
    update of the server's own.
    """

    content: Frames | SendSnapshot
    number: int
    asked: bool
    new: bool
    own: bool
    expires_at: float


class Replication:
    """The active server's end of the peer link: one passive server, or none, at a time.

    `max_entries` and `max_bytes` (of bodies) bound what may wait to leave and, for itself, what
    the link has not taken yet. Beyond the first nothing waits any more, as at the timeout; beyond
    the second the link is given up, and the passive server begins anew.
    """

    def __init__(
        self,
        policy: ReplicationPolicy | None = None,
        *,
        max_entries: int = 100_000,
        max_bytes: int = 64 << 20,
    ) -> None:
        self.policy = policy or ReplicationPolicy()
        self.max_entries = max_entries
        self.max_bytes = max_bytes
        self.peer = b""  # the routing id of the link, empty without one
        self.confirmed = 0
        self.in_sync = False
        self.links = self.links_lost = 0
        self.held_back = self.degraded = self.unreplicated = 0
        self.waiting: deque[Waiting] = deque()
        self.snapshots_waiting = 0
        self._uuids: set[bytes] = set()
        self._waiting_bytes = 0
        self._published = 0  # the newest number that has left, while anything waits
        self.asked = 0  # questions, each with a number
        self._counts_from = 0  # answers to earlier ones are too old
        self._probe: tuple[Position, float] | None = None
        self._outgoing: deque[Frames | Position | Renewed] = deque()
        self._outgoing_bytes = 0
        self._message: tuple[Frames, int] | None = None  # the next one, of so many of these
        self._sent_up_to = 0
        self._asks = False  # something waits that no position has asked about

    # --- the link

    def attach(self, peer: bytes, sequence: int, newest: int, now: float) -> None:
        """A passive server says hello: from now on everything after `newest` goes to it.

        It holds all up to `sequence`; if that is the newest number there is, it keeps up as before.
        """
        self.links += 1
        self.peer = peer
        self._clear_outgoing()
        self.in_sync = self.in_sync and sequence == newest
        self.ask_again(newest, now)

    def ask_again(self, newest: int, now: float) -> None:
        """Take nothing for confirmed before a question that is asked now has been answered.

        What has arrived by now may have been sent long ago, by who is gone since.
        """
        self.confirmed = 0
        self._probe = None
        self._counts_from = self.asked + 1
        self.send_position(newest, now)

    def lose(self) -> None:
        """The link is gone, or takes nothing more."""
        self.links_lost += bool(self.peer)
        self.peer = b""
        self.confirmed = 0  # who held it may be gone for good: nothing is on two servers any more
        self.in_sync = False
        self._probe = None
        self._clear_outgoing()

    def end(self) -> None:
        """Forget all of it, and what waited: it was never acknowledged."""
        self.lose()
        self.waiting.clear()
        self.snapshots_waiting = 0
        self._uuids.clear()
        self._waiting_bytes = 0

    def append(self, frames: Frames) -> None:
        """Send an update or a refusal over the link, if there is one."""
        if not self.peer:
            return
        self._outgoing_bytes += len(frames[4])
        self._append(frames)

    def renew(self, old: int, new: int) -> None:
        """The server goes on in another epoch: who follows misses nothing."""
        if self.peer:
            self._append(Renewed(old, new))

    def _append(self, entry: Frames | Renewed) -> None:
        self._outgoing.append(entry)
        if len(self._outgoing) > self.max_entries or self._outgoing_bytes > self.max_bytes:
            self.lose()

    def send_position(self, newest: int, now: float) -> None:
        """Say that all up to this number was sent: the passive server answers with what it holds.

        Of two that follow each other the first need not be sent, if it could not be yet.
        """
        if not self.peer:
            return
        position = self._ask(newest)
        if self._probe is None:
            self._probe = (position, now)

    def _ask(self, sequence: int) -> Position:
        being_sent = self._message is not None and len(self._outgoing) == 1
        if self._outgoing and isinstance(self._outgoing[-1], Position) and not being_sent:
            self._outgoing.pop()
        self.asked += 1
        position = Position(sequence, self.asked)
        self._outgoing.append(position)
        return position

    @property
    def sending(self) -> bool:
        """True if there is something to be sent over the link."""
        return bool(self._outgoing) or self._asks

    def next_message(self) -> Frames | None:
        """What is to be sent over the link next, the same until `message_sent`; None if nothing."""
        if self._message is None:
            if self._asks and not self._outgoing:  # once for all that is held back in a turn
                self._asks = False
                self._ask(self._sent_up_to)
            if self._outgoing:
                self._message = self._pack(self._outgoing[0])
        return None if self._message is None else self._message[0]

    def _pack(self, first: Frames | Position | Renewed) -> tuple[Frames, int]:
        if isinstance(first, Position):
            self._sent_up_to = first.sequence
            return encode_position(first.sequence, first.question), 1
        if isinstance(first, Renewed):
            self._sent_up_to = first.new
            return encode_renewed(first), 1
        entries = self._next_entries()
        numbers = (sequence_of(entry) for entry in reversed(entries))
        self._sent_up_to = next(filter(None, numbers), self._sent_up_to)
        return encode_append(entries), len(entries)

    def _next_entries(self) -> list[Frames]:
        entries: list[Frames] = []
        size = 0
        for entry in self._outgoing:
            if isinstance(entry, (Position, Renewed)):
                break
            size += len(entry[3]) + len(entry[4])
            if entries and (size > APPEND_BYTES or len(entries) == APPEND_ENTRIES):
                break
            entries.append(entry)
        return entries

    def message_sent(self) -> None:
        """The link has taken it."""
        assert self._message is not None
        for _ in range(self._message[1]):
            entry = self._outgoing.popleft()
            if not isinstance(entry, (Position, Renewed)):
                self._outgoing_bytes -= len(entry[4])
        self._message = None

    def _clear_outgoing(self) -> None:
        self._outgoing.clear()
        self._outgoing_bytes = 0
        self._message = None
        self._asks = False

    def receive_held(
        self, peer: bytes, sequence: int, question: int, newest: int, now: float
    ) -> None:
        """The passive server holds all up to a number, and was asked this. MalformedMessage.

        What may leave now is in `take_due`.
        """
        if not peer or peer != self.peer:
            raise MalformedMessage("not from the passive server that is followed by")
        if sequence > newest:
            raise MalformedMessage(f"number {sequence} is held, {newest} is the newest")
        if question > self.asked:
            raise MalformedMessage(f"question {question} is answered, {self.asked} were asked")
        if question < self._counts_from:
            return
        self.confirmed = max(self.confirmed, sequence)
        if self._probe is None:
            return
        probe = self._probe[0]
        if sequence < probe.sequence or question < probe.question:
            return
        self.in_sync = self.in_sync or now <= self._probe[1] + self.policy.timeout
        self._probe = None
        if not self.in_sync:
            self.send_position(newest, now)

    @property
    def refuses(self) -> bool:
        """True if an update that is to be replicated has to be refused now."""
        return self.policy.refuses and not self.in_sync

    # --- what waits

    def published(self, newest: int) -> int:
        """The newest number that has left this server; `newest` is the newest there is."""
        return self._published if self.waiting else newest

    def holds(self, uuid: bytes) -> bool:
        """True if the update of this uuid waits: who sends it again is answered when it leaves."""
        return uuid in self._uuids

    def hold(
        self,
        content: Frames | SendSnapshot,
        number: int,
        *,
        now: float,
        published: int = 0,
        asked: bool = False,
        new: bool = False,
        own: bool = False,
    ) -> None:
        """Let something wait until `number` is confirmed, and behind all that waits already.

        `published` is the newest number that has left, if nothing waits yet.
        """
        if not self.waiting:
            self._published = published
        self._asks = self._asks or (number > self.confirmed and bool(self.peer))
        self.held_back += 1
        expires_at = now + self.policy.timeout
        self.waiting.append(Waiting(content, number, asked, new, own, expires_at))
        if isinstance(content, SendSnapshot):
            self.snapshots_waiting += 1
            return
        self._waiting_bytes += len(content[4])
        if new and content[2]:
            self._uuids.add(content[2])
        if len(self.waiting) > self.max_entries or self._waiting_bytes > self.max_bytes:
            self.in_sync = False

    @property
    def deadline(self) -> float:
        """When `tick` has something to do, infinity if never."""
        expires_at = self.waiting[0].expires_at if self.waiting else float("inf")
        if not self.in_sync:
            return expires_at - self.policy.timeout  # at once
        if self._probe is not None:
            expires_at = min(expires_at, self._probe[1] + self.policy.timeout)
        return expires_at

    def tick(self, now: float) -> None:
        """Stop to wait for a passive server that has not confirmed in time."""
        if self.in_sync and now >= self.deadline:
            self.in_sync = False

    def take_due(self) -> list[Waiting]:
        """What may leave now, in order: what is confirmed, or all if nothing is waited for."""
        due: list[Waiting] = []
        while self.waiting and (not self.in_sync or self.waiting[0].number <= self.confirmed):
            due.append(self._take_first())
        return due

    def _take_first(self) -> Waiting:
        first = self.waiting.popleft()
        content = first.content
        if isinstance(content, SendSnapshot):
            self.snapshots_waiting -= 1
            return first
        self._waiting_bytes -= len(content[4])
        if first.new:
            self._uuids.discard(content[2])
            self._published = sequence_of(content)
        return first

    def level_of(self, number: int) -> str:
        """The level that the update of this number has reached, as far as is known now.

        A passive server that does not confirm in time may be gone, with what it had confirmed.
        """
        return REPLICATED if self.in_sync and number <= self.confirmed else APPLIED
