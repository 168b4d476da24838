"""Sends snapshots in bounded chunks between loop turns, fairly among clients.

Never past the ROUTER's high-water mark: a client that does not read is waited for, and given up
when it took nothing for a while. The loop is never held up, whatever the size. Of a storm of
clients so many are served at a time, and the others wait their turn: what a snapshot holds is
fixed when its turn comes, so that those who wait cost no memory.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import zmq

from patterns.clone.messages import Frames
from patterns.clone.packs import encode_pack, split
from patterns.clone.server_effects import SendSnapshot
from reactor import Handler, Stream

CHUNK = 500
CHUNK_BYTES = 512 << 10
MAX_SNAPSHOTS = 10_000
# Enough to keep the network busy while some of them are slow.
MAX_UNDER_WAY = 64
PATIENCE_SECONDS = 30.0
_TURN_SECONDS = 0.002
# Clients that take nothing cost time as well: so many are asked a turn, every so often. One who
# reads takes the 1,000 messages in its queue within 2 ms; if nobody moves, the wait doubles.
_TRIES = 200
_RETRY_SECONDS = 0.001
_RETRY_SECONDS_LIMIT = 0.016
# Plain entries are handed over in lists, which costs 500 ns an entry less.
_AT_ONCE = 50
# Clients that joined together are at about the same place: what is behind them is packed no more.
_RECENT_PACKS = 64


class _Plain:
    """The messages of a snapshot as RFC 12 has it: one an entry."""

    def __init__(
        self, entries: tuple[Frames, ...], encode: Callable[[Frames], Frames] | None
    ) -> None:
        self._entries = entries
        self._encode = encode

    def messages(self, position: int) -> Sequence[Frames]:
        """Some messages from a position on, none at the end."""
        entries = self._entries[position : position + _AT_ONCE]
        return [self._encode(entry) for entry in entries] if self._encode else entries


class _Packs:
    """The packed messages of a snapshot, each packed once for the clients who share it."""

    def __init__(self, entries: tuple[Frames, ...]) -> None:
        self.entries = entries
        self._starts = [0]
        self._recent: dict[int, Frames] = {}

    def messages(self, position: int) -> Sequence[Frames]:
        """The message at a position, none at the end."""
        start = self._starts[position]
        if start == len(self.entries):
            return ()
        pack = self._recent.get(position)
        return (self._pack(position, start) if pack is None else pack,)

    def _pack(self, position: int, start: int) -> Frames:
        end = split(self.entries, start)
        if position + 1 == len(self._starts):
            self._starts.append(end)
        pack = self._recent[position] = encode_pack(self.entries[start:end])
        if len(self._recent) > _RECENT_PACKS:
            del self._recent[next(iter(self._recent))]
        return pack


@dataclass(slots=True)
class _Transfer:
    identity: bytes
    messages: _Plain | _Packs
    end: Frames
    gives_up_at: float
    position: int = 0
    done: bool = False
    blocked: bool = False  # it took nothing when it was asked last


class SnapshotSender(Handler):
    """Holds the snapshots under way, one a client; beyond MAX_SNAPSHOTS they are refused.

    Those that wait for their turn count. `on_turn(identity, subtree, packed)` is called when the
    turn of a request has come, and may `add` the snapshot, at once or later: `promised()` is how
    many are still to be added. `encode` gives the frames of an entry,
    or of the end, as they travel; None: as they are.
    """

    def __init__(
        self,
        router: Stream,
        encode: Callable[[Frames], Frames] | None = None,
        on_turn: Callable[[bytes, bytes, bool], None] | None = None,
        promised: Callable[[], int] = int,
    ) -> None:
        self._router = router
        self._encode = encode
        self._on_turn = on_turn
        self._promised = promised
        self._waiting: OrderedDict[bytes, tuple[bytes, bool]] = OrderedDict()
        self._transfers: OrderedDict[bytes, _Transfer] = OrderedDict()  # in the order of turns
        self._packs: _Packs | None = None
        self._scheduled = False
        self._blocked = 0
        self._retry_seconds = _RETRY_SECONDS
        self.sent = 0
        self.given_up = 0

    @property
    def under_way(self) -> int:
        """How many clients are served or wait for their turn."""
        return len(self._transfers) + len(self._waiting)

    @property
    def waiting(self) -> int:
        """How many clients wait for their turn."""
        return len(self._waiting)

    def request(self, identity: bytes, subtree: bytes, packed: bool) -> None:
        """A client wants a snapshot: in its turn, which is at once if there is no storm."""
        assert self._on_turn is not None
        # Of those who come in one turn of the loop, the first only: to fix a snapshot takes long.
        if not self._waiting and not self._scheduled and self._has_place():
            self._on_turn(identity, subtree, packed)
        elif self.under_way >= MAX_SNAPSHOTS and identity not in self._waiting:
            self._refuse(identity)
        else:
            self._waiting[identity] = (subtree, packed)
            self._schedule(0)

    def _has_place(self) -> bool:
        # A client that takes nothing must not keep the others waiting.
        return len(self._transfers) - self._blocked + self._promised() < MAX_UNDER_WAY

    def _admit(self, ends_at: float) -> None:
        while self._waiting and self._on_turn is not None and self._has_place():
            identity, (subtree, packed) = self._waiting.popitem(last=False)
            self._on_turn(identity, subtree, packed)
            if self.reactor.now() >= ends_at:  # to fix a snapshot with many leases takes long
                break

    def _refuse(self, identity: bytes) -> None:
        self.refuse("too many snapshots under way", identity=identity.hex())

    def add(self, snapshot: SendSnapshot) -> None:
        """Begin to send `snapshot` to its client, in place of one that is still under way to it.

        Both would mix on the client's socket, and the first end would be taken for the second's.
        """
        if (previous := self._transfers.pop(snapshot.identity, None)) is not None:
            self._blocked -= previous.blocked
            self.given_up += 1
        if self.under_way >= MAX_SNAPSHOTS:
            self._refuse(snapshot.identity)
            return
        gives_up_at = self.reactor.now() + PATIENCE_SECONDS
        self._transfers[snapshot.identity] = _Transfer(
            snapshot.identity,
            self._messages_of(snapshot),
            self._encode(snapshot.end) if self._encode else snapshot.end,
            gives_up_at,
        )
        self._schedule(0)

    def _messages_of(self, snapshot: SendSnapshot) -> _Plain | _Packs:
        if not snapshot.packed:
            return _Plain(snapshot.entries, self._encode)
        if self._packs is None or self._packs.entries is not snapshot.entries:
            self._packs = _Packs(snapshot.entries)
        return self._packs

    def give_up(self) -> None:
        """Forget what is under way: clients ask again, perhaps elsewhere."""
        self.given_up += self.under_way
        self._transfers.clear()
        self._waiting.clear()
        self._blocked = 0

    def on_stop(self) -> None:
        """Send nothing more."""
        self.give_up()

    def _schedule(self, delay: float) -> None:
        if not self._scheduled:
            self._scheduled = True
            self.reactor.call_later(delay, self._turn).on_error = self._hook_failed

    def _turn(self) -> None:
        """Send a chunk to the first client that takes any; the next turn begins behind it.

        Chunks that were the last of a snapshot are small, so several of them make one turn.
        """
        self._scheduled = False
        moved = False
        ends_at = self.reactor.now() + _TURN_SECONDS
        for _ in range(min(_TRIES, len(self._transfers))):
            identity, transfer = self._transfers.popitem(last=False)
            self._blocked -= transfer.blocked
            taken = self._send_chunk(transfer)
            moved = moved or taken
            if transfer.done:
                self.sent += 1
            elif self._worth_waiting(transfer, taken):
                transfer.blocked = not taken
                self._blocked += transfer.blocked
                self._transfers[identity] = transfer
            else:
                self.given_up += 1
            if taken and (not transfer.done or self.reactor.now() >= ends_at):
                break
        self._admit(ends_at)
        if not self._transfers:
            self._packs = None
        elif moved:
            self._retry_seconds = _RETRY_SECONDS
            self._schedule(0)
        else:
            self._schedule(self._retry_seconds)
            self._retry_seconds = min(2 * self._retry_seconds, _RETRY_SECONDS_LIMIT)

    def _worth_waiting(self, transfer: _Transfer, moved: bool) -> bool:
        now = self.reactor.now()
        if moved:
            transfer.gives_up_at = now + PATIENCE_SECONDS
        return now < transfer.gives_up_at

    def _send_chunk(self, transfer: _Transfer) -> bool:
        """Send a chunk, or as much of it as is taken; True when at least one message was."""
        router, identity = self._router, transfer.identity
        begun = transfer.position
        size = 0
        try:
            while transfer.position < begun + CHUNK and size < CHUNK_BYTES:
                messages = transfer.messages.messages(transfer.position)
                if not messages:
                    transfer.done = router.try_send(identity, *transfer.end)
                    return transfer.done or transfer.position > begun
                weight = sum([len(frames[-1]) for frames in messages])  # bodies, or whole packs
                if weight > CHUNK_BYTES:
                    messages = messages[:1]  # large ones go one by one
                sent = router.try_send_all([(identity, *frames) for frames in messages])
                transfer.position += sent
                if sent < len(messages):
                    break
                size += weight
        except zmq.ZMQError:
            transfer.gives_up_at = 0.0  # the client has gone (EHOSTUNREACH)
            return False
        return transfer.position > begun
