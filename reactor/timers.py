"""Periodic and one-shot timers on the loop's monotonic time.

Tornado's PeriodicCallback follows the wall clock, so a clock set back silences a heartbeat for as
long. These keep its habits (no overlap, missed ticks are skipped) on `loop.time()`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from inspect import isawaitable
from typing import Any, Protocol

from reactor.errors import as_exception, await_hook


class TimerOwner(Protocol):
    """What a timer tells its reactor."""

    def timer_fired(self, timer: object, lateness: float, seconds: float) -> None:
        """A callback ran, `lateness` seconds after it was due, for `seconds`."""

    def timer_failed(self, error: Exception) -> None:
        """A callback raised."""


class OneShotTimer:
    """Calls `callback(*args)` once, at an instant of the loop's time; see `Reactor.call_later`."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        owner: TimerOwner,
        when: float,
        callback: Callable[..., Any],
        *args: Any,
    ) -> None:
        self.when = when
        self.on_error: Callable[[Exception], None] = owner.timer_failed
        self._loop = loop
        self._owner = owner
        self._callback = callback
        self._args = args
        self._task: asyncio.Task[None] | None = None
        self._handle: asyncio.TimerHandle | None = loop.call_at(when, self._fire)

    @property
    def active(self) -> bool:
        """True until the timer has fired or was cancelled."""
        return self._handle is not None

    def cancel(self) -> None:
        """Never call back; idempotent, and harmless after the timer has fired."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _fire(self) -> None:
        self._handle = None
        began = self._loop.time()
        try:
            waiting = self._callback(*self._args)
            if waiting is not None and isawaitable(waiting):
                self._task = self._loop.create_task(_guarded(waiting, self.on_error))
        except (Exception, asyncio.CancelledError) as error:
            self.on_error(as_exception(error))
        self._owner.timer_fired(self, began - self.when, self._loop.time() - began)


class PeriodicTimer:
    """Calls `callback()` every `interval` seconds until stopped; made by `Reactor.periodic`.

    A coroutine callback is awaited before the next tick is due. A tick that comes late does not
    shift the others, and ticks that were missed altogether are skipped.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        owner: TimerOwner,
        interval: float,
        callback: Callable[[], Awaitable[None] | None],
    ) -> None:
        if not interval > 0:
            raise ValueError(f"an interval is a number of seconds above 0, not {interval!r}")
        self.interval = interval
        self.on_error: Callable[[Exception], None] = owner.timer_failed
        self.task: asyncio.Task[None] | None = None
        self._loop = loop
        self._owner = owner
        self._callback = callback
        self._due = loop.time() + interval
        self._handle: asyncio.TimerHandle | None = loop.call_at(self._due, self._tick)

    @property
    def active(self) -> bool:
        """True until the timer was stopped."""
        return self._handle is not None

    def cancel(self) -> None:
        """Tick no more; idempotent. A coroutine tick that is under way goes on to its end."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _tick(self) -> None:
        began = self._loop.time()
        try:
            waiting = self._callback()
            if waiting is not None and isawaitable(waiting):
                self.task = self._loop.create_task(_guarded(waiting, self.on_error))
        except (Exception, asyncio.CancelledError) as error:
            self.on_error(as_exception(error))
        self._owner.timer_fired(self, began - self._due, self._loop.time() - began)
        if self.task is not None and not self.task.done():
            self.task.add_done_callback(self._schedule_next)
        else:
            self._schedule_next()

    def _schedule_next(self, _: object = None) -> None:
        self.task = None
        if self._handle is None:
            return
        self._due = next_due(self._due, self.interval, self._loop.time())
        self._handle = self._loop.call_at(self._due, self._tick)


def next_due(due: float, interval: float, now: float) -> float:
    """Return the first instant after `now` that is a whole number of intervals after `due`."""
    if now < due + interval:
        return due + interval
    return due + ((now - due) // interval + 1) * interval


async def _guarded(waiting: Awaitable[None], on_error: Callable[[Exception], None]) -> None:
    try:
        await await_hook(waiting)
    except Exception as error:
        on_error(error)
