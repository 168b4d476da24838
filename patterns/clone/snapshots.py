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
from patterns.clone.server_effects import SendSnapshot
from reactor import Handler, Stream

CHUNK = 200
CHUNK_BYTES = 1 << 20
MAX_SNAPSHOTS = 10_000
PATIENCE_SECONDS = 30.0
# Clients that take nothing cost time as well: so many are asked a turn, every so often.
_TRIES = 200
_RETRY_SECONDS = 0.01


@dataclass(slots=True)
class _Transfer:
    snapshot: SendSnapshot
    gives_up_at: float
    position: int = 0

    @property
    def done(self) -> bool:
        return self.position > len(self.snapshot.entries)

    def next_frames(self, encode: Callable[[Frames], Frames] | None) -> Frames:
        """The entry whose turn it is, or the end of the snapshot after the last."""
        entries = self.snapshot.entries
        body = entries[self.position] if self.position < len(entries) else self.snapshot.end
        return (self.snapshot.identity, *(encode(body) if encode else body))


class SnapshotSender(Handler):
    """Holds the snapshots under way, one a client; beyond MAX_SNAPSHOTS they are refused.

    `encode` gives the frames of an entry, or of the end, as they travel; None: as they are.
    """

    def __init__(self, router: Stream, encode: Callable[[Frames], Frames] | None = None) -> None:
        self._router = router
        self._encode = encode
        self._transfers: OrderedDict[bytes, _Transfer] = OrderedDict()  # in the order of turns
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
        self._transfers[snapshot.identity] = _Transfer(snapshot, gives_up_at)
        self._schedule(0)

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

    def _worth_waiting(self, transfer: _Transfer, moved: bool) -> bool:
        now = self.reactor.now()
        if moved:
            transfer.gives_up_at = now + PATIENCE_SECONDS
        return now < transfer.gives_up_at

    def _send_chunk(self, transfer: _Transfer) -> bool:
        """Send a chunk, or as much of it as is taken; True when at least one entry was."""
        begun = transfer.position
        size = 0
        try:
            while not transfer.done and transfer.position < begun + CHUNK and size < CHUNK_BYTES:
                frames = transfer.next_frames(self._encode)
                if not self._router.try_send(*frames):
                    break
                transfer.position += 1
                size += sum(map(len, frames))
        except zmq.ZMQError:
            transfer.gives_up_at = 0.0  # the client has gone (EHOSTUNREACH)
            return False
        return transfer.position > begun
