"""A client's own updates, each kept until the server has published it.

Of one key only one update is under way at a time, so that none sent again can overtake a newer
one. While it is, newer updates of the key wait, and a newer one takes the place of the one that
waits: what counts is the state. Who wrote the one replaced is answered together with the newer.
An update with a condition neither replaces another nor is replaced: its answer is its own. Nor does
one take the place of another that needs something else of the server, which may refuse it for that,
or of one that waits longer than itself, which would be given up with it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from patterns.clone.messages import Frames

_NOTHING: frozenset[str] = frozenset()


class OutboxFull(Exception):
    """Too many updates are waiting for the server; this one was not taken."""


@dataclass(slots=True)
class _Write:
    frames: Frames
    expires_at: float
    needs: frozenset[str]
    alone: bool
    sent_at: float | None = None  # None: it waits for an earlier update of its key
    replaced: tuple[tuple[bytes, float], ...] = ()  # uuid, expires_at, which is no later

    def may_replace(self, older: _Write) -> bool:
        """True if the answer to this one is as good for who wrote the older."""
        if self.alone or older.alone:
            return False
        return older.needs == self.needs and older.expires_at <= self.expires_at


class Outbox:
    """The updates that are not acknowledged, in the order they were made.

    At most `max_writes` (those replaced count, somebody waits for them) and `max_bytes`. Sent
    again every `retry` seconds, given up after `timeout` seconds. Those that need what the server's
    `features` do not have are not sent, but have their turn among the others.
    """

    def __init__(
        self,
        *,
        max_writes: int = 10_000,
        max_bytes: int = 64 << 20,
        retry: float = 2.0,
        timeout: float = 30.0,
    ) -> None:
        if not retry > 0:
            raise ValueError(f"a write is sent again after more than 0 s, not {retry!r}")
        self.max_writes = max_writes
        self.max_bytes = max_bytes
        self.retry = retry
        self.timeout = timeout
        self.features = _NOTHING
        self._writes: dict[bytes, _Write] = {}
        self._sent: dict[bytes, bytes] = {}  # key to the uuid of the update under way
        self._waiting: dict[bytes, list[bytes]] = {}  # key to the uuids of those that wait
        self._count = 0
        self._bytes = 0
        # Nothing is due before these instants, so that a tick need not look at every write.
        self._retry_at = self._expiry_at = float("inf")

    def __len__(self) -> int:
        return self._count

    def add(
        self,
        frames: Frames,
        now: float,
        *,
        needs: frozenset[str] = _NOTHING,
        alone: bool = False,
        timeout: float | None = None,
    ) -> list[Frames]:
        """Take an update with a new uuid; return what is to be sent now. Raises OutboxFull.

        `needs` are the features that the server must have. One that is to be `alone` has a
        condition.
        """
        key, uuid = frames[0], frames[2]
        if uuid in self._writes:
            raise ValueError(f"uuid {uuid.hex()} is in use")
        size = sum(map(len, frames))
        if self._count >= self.max_writes or self._bytes + size > self.max_bytes:
            raise OutboxFull(f"{self._count} updates of {self._bytes} bytes are waiting")
        expires_at = now + (self.timeout if timeout is None else timeout)
        write = _Write(frames, expires_at, needs, alone)
        if expires_at < self._expiry_at:
            self._expiry_at = expires_at
        if key in self._waiting:
            self._replace_waiting(key, write)
        self._writes[uuid] = write
        self._count += 1
        self._bytes += size
        if key in self._sent:
            self._waiting.setdefault(key, []).append(uuid)
            return []
        return self._send(uuid, now)

    def _replace_waiting(self, key: bytes, write: _Write) -> None:
        while waiting := self._waiting.get(key):
            uuid = waiting[-1]
            older = self._writes[uuid]
            if not write.may_replace(older):
                return
            self._remove(uuid)
            self._count += 1  # somebody waits for it all the same
            write.replaced = (*older.replaced, (uuid, older.expires_at), *write.replaced)

    def _send(self, uuid: bytes, now: float) -> list[Frames]:
        write = self._writes[uuid]
        write.sent_at = now
        if now + self.retry < self._retry_at:
            self._retry_at = now + self.retry
        self._sent[write.frames[0]] = uuid
        return [write.frames] if self._may_go(write) else []

    def _may_go(self, write: _Write) -> bool:
        return not write.needs or write.needs <= self.features

    @property
    def deadline(self) -> float:
        """Nothing is given up or sent again before this instant."""
        return min(self._expiry_at, self._retry_at)

    def under_way(self) -> list[Frames]:
        """The updates that were sent and not acknowledged, in order."""
        return [write.frames for write in self._under_way()]

    def _under_way(self) -> Iterator[_Write]:
        return (
            write
            for write in self._writes.values()
            if write.sent_at is not None and self._may_go(write)
        )

    def needs_of(self, uuid: bytes) -> frozenset[str] | None:
        """What an update under way needs, None for one that is none or was not sent yet."""
        write = self._writes.get(uuid)
        return None if write is None or write.sent_at is None else write.needs

    def finish(self, uuid: bytes, now: float) -> tuple[list[bytes], list[Frames]]:
        """An update under way is acknowledged or refused.

        Returns the uuids that this answers, and what is to be sent next.
        """
        if self.needs_of(uuid) is None:
            return [], []
        write = self._remove(uuid)
        following = self._send_next(write.frames[0], now)
        if not write.replaced:
            return [uuid], following
        self._count -= len(write.replaced)
        return [*(each for each, _ in write.replaced), uuid], following

    def _remove(self, uuid: bytes) -> _Write:
        write = self._writes.pop(uuid)
        key = write.frames[0]
        if write.sent_at is not None:
            del self._sent[key]
        else:
            self._waiting[key].remove(uuid)
            if not self._waiting[key]:
                del self._waiting[key]
        self._count -= 1
        self._bytes -= sum(map(len, write.frames))
        return write

    def _send_next(self, key: bytes, now: float) -> list[Frames]:
        waiting = self._waiting.get(key)
        if waiting is None:
            return []
        uuid = waiting.pop(0)
        if not waiting:
            del self._waiting[key]
        return self._send(uuid, now)

    def send_again(self, now: float, *, at_once: bool = False) -> list[Frames]:
        """The updates under way whose retry is due, or all of them; in order."""
        if now < self._retry_at and not at_once:
            return []
        due = []
        self._retry_at = float("inf")
        for write in self._under_way():
            assert write.sent_at is not None
            if at_once or now >= write.sent_at + self.retry:
                write.sent_at = now
                due.append(write.frames)
            self._retry_at = min(self._retry_at, write.sent_at + self.retry)
        return due

    def expire(self, now: float) -> tuple[list[bytes], list[Frames]]:
        """The uuids whose time is over, and what may be sent in their place.

        An update given up may have been applied all the same: its answer may have been lost.
        """
        if now < self._expiry_at:
            return [], []
        failed: list[bytes] = []
        following: list[Frames] = []
        self._expiry_at = float("inf")
        for uuid, write in list(self._writes.items()):
            late = [each for each, expires_at in write.replaced if expires_at <= now]
            if late:
                write.replaced = tuple(each for each in write.replaced if each[1] > now)
                self._count -= len(late)
                failed += late
            if write.expires_at <= now:
                following += self._give_up(uuid, now)
                failed.append(uuid)
                continue
            earliest = min([write.expires_at, *(each for _, each in write.replaced)])
            self._expiry_at = min(self._expiry_at, earliest)
        return failed, self._still_here(following)

    def _give_up(self, uuid: bytes, now: float) -> list[Frames]:
        write = self._remove(uuid)
        self._count -= len(write.replaced)
        return [] if write.sent_at is None else self._send_next(write.frames[0], now)

    def take_unsupported(self, now: float) -> tuple[list[bytes], list[Frames]]:
        """The uuids of those that need more than there is, given up, and what may be sent."""
        failed: list[bytes] = []
        following: list[Frames] = []
        unsupported = [uuid for uuid, write in self._writes.items() if not self._may_go(write)]
        for uuid in reversed(unsupported):  # what waits first: it would be sent for another
            replaced = [each for each, _ in reversed(self._writes[uuid].replaced)]
            following += self._give_up(uuid, now)
            failed += [uuid, *replaced]
        return failed[::-1], self._still_here(following)

    def _still_here(self, messages: list[Frames]) -> list[Frames]:
        """Without those that had their turn and were given up in the same go."""
        return [frames for frames in messages if frames[2] in self._writes]

    def take_all(self) -> list[bytes]:
        """The uuids of everything, in order; the outbox is empty afterwards."""
        uuids: list[bytes] = []
        for uuid, write in self._writes.items():
            uuids += [*(each for each, _ in write.replaced), uuid]
        self._writes.clear()
        self._sent.clear()
        self._waiting.clear()
        self._count = self._bytes = 0
        return uuids
