"""Sends snapshots in bounded chunks between loop turns, fairly among clients.

Never past the ROUTER's high-water mark: a client that does not read is waited for, and given up
when it took nothing for a while. The loop is never held up, whatever the size.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import zmq

from patterns.clone.messages import Frames
from patterns.clone.packs import encode_pack, split
from patterns.clone.server_effects import SendSnapshot
from reactor import Handler, Stream

CHUNK = 500
CHUNK_BYTES = 512 << 10
MAX_SNAPSHOTS = 10_000
PATIENCE_SECONDS = 30.0
# Clients that take nothing cost time as well: so many are asked a turn, every so often.
_TRIES = 200
_RETRY_SECONDS = 0.01
# Clients that joined together are at about the same place: what is behind them is packed no more.
_RECENT_PACKS = 64


class _Plain:
    """The messages of a snapshot as RFC 12 has it: one an entry."""

    def __init__(
        self, entries: tuple[Frames, ...], encode: Callable[[Frames], Frames] | None
    ) -> None:
        self._entries = entries
        self._encode = encode

    def message(self, position: int) -> Frames | None:
        """The message at a position, None behind the last."""
        if position == len(self._entries):
            return None
        entry = self._entries[position]
        return self._encode(entry) if self._encode else entry


class _Packs:
    """The packed messages of a snapshot, each packed once for the clients who share it."""

    def __init__(self, entries: tuple[Frames, ...]) -> None:
        self.entries = entries
        self._starts = [0]
        self._recent: dict[int, Frames] = {}

    def message(self, position: int) -> Frames | None:
        """The message at a position, None behind the last."""
        return self._recent.get(position) or self._pack(position)

    def _pack(self, position: int) -> Frames | None:
        start = self._starts[position]
        if start == len(self.entries):
            return None
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


class SnapshotSender(Handler):
    """Holds the snapshots under way, one a client; beyond MAX_SNAPSHOTS they are refused.

    `encode` gives the frames of an entry, or of the end, as they travel; None: as they are.
    """

    def __init__(self, router: Stream, encode: Callable[[Frames], Frames] | None = None) -> None:
        self._router = router
        self._encode = encode
        self._transfers: OrderedDict[bytes, _Transfer] = OrderedDict()  # in the order of turns
        self._packs: _Packs | None = None
        self._scheduled = False
        self.sent = 0
        self.given_up = 0

    def add(self, snapshot: SendSnapshot) -> None:
        """Begin to send `snapshot` to its client, in place of one that is still under way to it.

        Both would mix on the client's socket, and the first end would be taken for the second's.
        """
        if self._transfers.pop(snapshot.identity, None) is not None:
            self.given_up += 1
        if len(self._transfers) >= MAX_SNAPSHOTS:
            self.refuse("too many snapshots under way", identity=snapshot.identity.hex())
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
        self.given_up += len(self._transfers)
        self._transfers.clear()

    def on_stop(self) -> None:
        """Send nothing more."""
        self.give_up()

    def _schedule(self, delay: float) -> None:
        if not self._scheduled:
            self._scheduled = True
            self.reactor.call_later(delay, self._turn).on_error = self._hook_failed

    def _turn(self) -> None:
        """Send one chunk to the first client that takes any; the next turn begins behind it."""
        self._scheduled = False
        moved = False
        for _ in range(min(_TRIES, len(self._transfers))):
            identity, transfer = self._transfers.popitem(last=False)
            moved = self._send_chunk(transfer)
            if transfer.done:
                self.sent += 1
            elif self._worth_waiting(transfer, moved):
                self._transfers[identity] = transfer
            else:
                self.given_up += 1
            if moved:
                break
        if self._transfers:
            self._schedule(0 if moved else _RETRY_SECONDS)
        else:
            self._packs = None

    def _worth_waiting(self, transfer: _Transfer, moved: bool) -> bool:
        now = self.reactor.now()
        if moved:
            transfer.gives_up_at = now + PATIENCE_SECONDS
        return now < transfer.gives_up_at

    def _send_chunk(self, transfer: _Transfer) -> bool:
        """Send a chunk, or as much of it as is taken; True when at least one message was."""
        send, message_at, identity = (
            self._router.try_send,
            transfer.messages.message,
            transfer.identity,
        )
        position = begun = transfer.position
        last = begun + CHUNK
        size = 0
        try:
            while position < last and size < CHUNK_BYTES and not transfer.done:
                message = message_at(position)
                if not send(identity, *(message or transfer.end)):
                    break
                position += 1
                if message is None:
                    transfer.done = True
                else:
                    size += len(message[-1])  # the body, or the entries of a pack
        except zmq.ZMQError:
            transfer.gives_up_at = 0.0  # the client has gone (EHOSTUNREACH)
            return False
        transfer.position = position
        return position > begun
