"""The load: one client that writes all the time, and knows what was acknowledged."""

from __future__ import annotations

import asyncio
import itertools
from time import monotonic

from benchmarks.failover.readers import PULSE
from patterns.clone import CloneClient
from patterns.clone.client import WriteError

BODY = bytes(100)
INTERVAL_SECONDS = 0.005
_KEYS_WRITTEN = 500  # of all keys: so that each is written, deleted and written again
_DELETED_EVERY = 7


class Ledger:
    """What was written to each key, in order, and the last of it that was acknowledged."""

    def __init__(self) -> None:
        self.acknowledged = 0
        self.failed = 0
        self._last: dict[bytes, bytes] = {}  # empty: a deletion
        self._later: dict[bytes, list[bytes]] = {}  # tried since

    def note_tried(self, key: bytes, body: bytes) -> None:
        """A write is under way."""
        self._later.setdefault(key, []).append(body)

    def note_acknowledged(self, key: bytes, body: bytes) -> None:
        """It is done, and with it all that was tried before for its key."""
        self.acknowledged += 1
        later = self._later[key]
        if body in later:  # else a later one was acknowledged first
            del later[: later.index(body) + 1]
            self._last[key] = body

    def faults(self, items: list[tuple[bytes, bytes]]) -> tuple[int, int]:
        """How many acknowledged writes are lost, and how many deleted keys are back."""
        held = dict(items)
        wrong = [key for key in self._last if held.get(key, b"") not in self._allowed(key)]
        back = sum(not self._last[key] for key in wrong)
        return len(wrong) - back, back

    def _allowed(self, key: bytes) -> list[bytes]:
        return [self._last[key], *self._later.get(key, [])]


class Load:
    """Writes to `client` from `start()` to `stop()`."""

    def __init__(self, client: CloneClient) -> None:
        self.client = client
        self.ledger = Ledger()
        self._numbers = itertools.count()
        self._writes: set[asyncio.Task[None]] = set()
        self._task: asyncio.Task[None] | None = None

    async def fill(self, keys: int) -> None:
        """Give so many keys a value."""
        for first in range(0, keys, 1000):
            batch = range(first, min(keys, first + 1000))
            await asyncio.gather(*(self._write(b"/key/%d" % n, b"%d " % n + BODY) for n in batch))

    def start(self) -> None:
        """Write a pulse and a key at each turn."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Write no more, and wait until everything is answered."""
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await asyncio.gather(*self._writes)

    async def _run(self) -> None:
        while True:
            number = next(self._numbers)
            deletes = number % _DELETED_EVERY == 0
            key = b"/key/%d" % (number % _KEYS_WRITTEN)
            self._begin(key, b"" if deletes else b"%d " % number + BODY)
            self._begin(PULSE, b"%.6f" % monotonic())
            await asyncio.sleep(INTERVAL_SECONDS)

    def _begin(self, key: bytes, body: bytes) -> None:
        write = asyncio.create_task(self._write(key, body))
        self._writes.add(write)
        write.add_done_callback(self._writes.discard)

    async def _write(self, key: bytes, body: bytes) -> None:
        self.ledger.note_tried(key, body)
        try:
            await (self.client.set(key, body) if body else self.client.delete(key))
        except WriteError:
            self.ledger.failed += 1
        else:
            self.ledger.note_acknowledged(key, body)
