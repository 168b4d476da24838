"""Writes the updates as fast as they are accepted, and counts what is not."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from patterns.clone.client import CloneClient
from patterns.commands.demo.feed import Feed
from patterns.commands.demo.rates import Update
from patterns.commands.demo.truth import Truth

# Enough to keep the servers busy, and answered within the client's `retry` on a machine that takes
# no more than 500 a second. Two updates of one key are about 7,000 apart: no two are under way, so
# the client combines none, and the servers see every one.
WINDOW = 1000
_BURST = 100
# So that each currency that a client watches is written on both sides of the middle.
FEWEST_UPDATES = 10 * _BURST
_FULL_PAUSE_SECONDS = 0.001


class Replay:
    """One pass over the updates, with at most WINDOW of them unacknowledged.

    It ends with the last update or after `seconds`, whatever comes first; in the middle of that it
    awaits `half_way()`. A write that is lost ends it as well: the demo has failed.
    """

    def __init__(
        self,
        writer: CloneClient,
        feed: Feed,
        updates: Sequence[Update],
        *,
        seconds: float,
        half_way: Callable[[], Awaitable[None]],
    ) -> None:
        self.truth = Truth()
        self.written = 0
        self.lost = 0
        self.seconds = 0.0
        self.progress = 0.0
        """The part of the updates, or of the time for them, that is behind us: 0 to 1."""
        self._writer = writer
        self._feed = feed
        self._updates = updates
        self._limit = seconds
        self._half_way: Callable[[], Awaitable[None]] | None = half_way
        self._unacknowledged = 0
        self._room = asyncio.Event()

    async def run(self) -> None:
        """Write, and wait until every write is acknowledged or given up."""
        now = asyncio.get_running_loop().time
        begun = now()
        for start in range(0, len(self._updates), _BURST):
            elapsed = now() - begun
            self.progress = max(start / len(self._updates), elapsed / self._limit)
            if self._half_way is not None and self.progress >= 0.5:
                await self._half_way()
                self._half_way = None  # and one burst more in any case, for the clients to see
            elif self.progress >= 1 or self.lost:
                break
            await self._write(self._updates[start : start + _BURST])
        await self._acknowledged_but(0)
        self.seconds = now() - begun

    async def _write(self, burst: Sequence[Update]) -> None:
        for update in burst:
            self.truth.note(update)
            self._unacknowledged += 1
            self._writer.set(update.key, update.body).add_done_callback(self._answered)
            while not self._feed.publish(update.topic, update.body):
                await asyncio.sleep(_FULL_PAUSE_SECONDS)
        self.written += len(burst)
        await self._acknowledged_but(WINDOW - _BURST)

    async def _acknowledged_but(self, count: int) -> None:
        """Wait until at most `count` writes are unacknowledged; gives the loop a turn anyway."""
        await asyncio.sleep(0)
        while self._unacknowledged > count:
            self._room.clear()
            await self._room.wait()

    def _answered(self, write: asyncio.Future[int]) -> None:
        self._unacknowledged -= 1
        self.lost += write.cancelled() or write.exception() is not None
        self._room.set()
