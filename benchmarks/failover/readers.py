"""A client in a process of its own: notes when it sees which pulse, and what it holds."""

from __future__ import annotations

import asyncio
import bisect
import logging
from time import monotonic

import structlog

from benchmarks.processes import Pipe
from patterns.clone import CloneClient
from patterns.clone.client import Put

PULSE = b"/pulse"
CATCH_UP_SECONDS = 30.0

# What the driver asks: `("first", instant)` when a pulse was seen that was written after that
# instant, `("items", sequence)` what the client holds once it has come so far, None to end.
FIRST, ITEMS = "first", "items"


def be_quiet() -> None:
    """Log nothing: what happens here is measured."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))


def read(pipe: Pipe, endpoints: list[str]) -> None:
    """Follow the service until the driver says None."""
    be_quiet()
    asyncio.run(_Reader(pipe, endpoints).run())


class _Reader:
    def __init__(self, pipe: Pipe, endpoints: list[str]) -> None:
        self._pipe = pipe
        self._client = CloneClient(endpoints)
        self._written: list[float] = []  # in order
        self._seen: list[float] = []
        self._news = asyncio.Event()

    async def run(self) -> None:
        async with self._client as client:
            await client.wait_live(CATCH_UP_SECONDS)
            watching = asyncio.create_task(self._watch())
            self._pipe.send("live")
            loop = asyncio.get_running_loop()
            while (order := await loop.run_in_executor(None, self._pipe.recv)) is not None:
                what, argument = order
                self._pipe.send(await (self._first if what == FIRST else self._items)(argument))
            watching.cancel()

    async def _watch(self) -> None:
        async for event in self._client.watch(PULSE):
            if isinstance(event, Put):
                self._written.append(float(event.body))
                self._seen.append(monotonic())
                self._news.set()

    async def _first(self, instant: float) -> float:
        while (place := bisect.bisect_right(self._written, instant)) == len(self._written):
            self._news.clear()
            await self._news.wait()
        return self._seen[place]

    async def _items(self, sequence: int) -> list[tuple[bytes, bytes]]:
        deadline = monotonic() + CATCH_UP_SECONDS
        client = self._client
        while monotonic() < deadline:
            if client.live and client.statistics_of_client().sequence >= sequence:
                break
            await asyncio.sleep(0.01)
        return client.items()
