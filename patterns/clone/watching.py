"""Watchers of a client's map: one that waits in a queue, and one that is called."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Protocol, TypeAlias

from patterns.clone.client_effects import Deleted, Expired, Live, Put, Stale
from patterns.clone.client_errors import WatcherTooSlow
from reactor.errors import as_exception

Event: TypeAlias = Put | Deleted | Expired | Live | Stale


class Watcher(Protocol):
    """Somebody who is told every event below one subtree."""

    subtree: bytes

    def add(self, event: Event, /) -> None:
        """Something has changed below the subtree, or for the whole map."""

    def end(self) -> None:
        """Nothing more comes: the client has ended."""


def concerns(event: Event, subtree: bytes) -> bool:
    """True if a watcher of this subtree is told the event."""
    return isinstance(event, (Live, Stale)) or event.key.startswith(subtree)


class EventQueue:
    """The events below one subtree that somebody has not taken yet, at most `limit`."""

    def __init__(self, subtree: bytes, limit: int) -> None:
        self.subtree = subtree
        self._limit = limit
        self._events: deque[Event] = deque()
        self._wake = asyncio.Event()
        self._ended = self._overflowed = False

    def add(self, event: Event) -> None:
        """Keep it for who waits in `events`; after one that found no room, none is kept."""
        if self._overflowed or len(self._events) >= self._limit:
            self._overflowed = True
        else:
            self._events.append(event)
        self._wake.set()

    def end(self) -> None:
        """Let `events` end when all are taken."""
        self._ended = True
        self._wake.set()

    async def events(self) -> AsyncIterator[Event]:
        """Every event in its turn. Raises WatcherTooSlow behind those that found room."""
        while True:
            while self._events:
                yield self._events.popleft()
            if self._overflowed:
                raise WatcherTooSlow(f"more than {self._limit} events waited")
            if self._ended:
                return
            self._wake.clear()
            await self._wake.wait()


class Watch:
    """A callback that is told every event below one subtree, until `cancel`.

    What it raises goes to `on_error`, and the next event comes all the same.
    """

    def __init__(
        self,
        subtree: bytes,
        callback: Callable[[Event], object],
        on_error: Callable[[Exception], None],
        on_cancel: Callable[[Watch], None],
    ) -> None:
        self.subtree = subtree
        self.active = True
        self._callback = callback
        self._on_error = on_error
        self._on_cancel = on_cancel

    def cancel(self) -> None:
        """Be told nothing more; idempotent, and legal from inside the callback."""
        if self.active:
            self.active = False
            self._on_cancel(self)

    def add(self, event: Event) -> None:
        """Call back."""
        if not self.active:
            return
        try:
            self._callback(event)
        except (Exception, asyncio.CancelledError) as error:
            self._on_error(as_exception(error))

    def end(self) -> None:
        """The client has ended."""
        self.active = False
