"""NodeLoop: the loop of one simulated node, on the time and the order of the whole simulation."""

from __future__ import annotations

import asyncio
import contextvars
import heapq
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVarTuple

from reactor.testing.loop import FakeLoop

if TYPE_CHECKING:
    from reactor.testing.channels import FakeChannel

Ts = TypeVarTuple("Ts")


class NodeLoop(FakeLoop):
    """What one process of a simulated node runs on: a view of the simulation's `world` loop.

    Callbacks keep their place in the world's one order. While it is `paused` they are held, and
    come at once when it goes on; after `kill()` they never come. Its monotonic clock runs `rate`
    times as fast as the world's and began at another instant: clocks of two nodes have nothing to
    say to each other.
    """

    def __init__(self, world: FakeLoop, node: str, rate: float = 1.0, began: float = 0.0) -> None:
        super().__init__()
        self.world = world
        self.node = node
        self.paused = False
        self.dead = False
        self.channels: list[FakeChannel] = []
        self._rate = rate
        self._began = began
        # A timer that runs is due, whatever the conversion of its instant has rounded off.
        self._latest = began
        self._held: list[_Held] = []

    def pause(self) -> None:
        """Hold all callbacks."""
        self.paused = True

    def resume(self) -> None:
        """Run at once, in their order, what was held; idempotent."""
        self.paused = False
        self.world._ready.extend(self._held)
        self._held.clear()

    def kill(self) -> None:
        """Never run anything again; coroutines end where they stand."""
        self.dead = True
        for task in list(self._tasks):
            if not task.done():
                task._log_destroy_pending = False  # type: ignore[attr-defined]
                _close(task)
        self._held.clear()  # the last to know of a task that has not begun, which was closed above

    # As asyncio has it

    def time(self) -> float:
        """The monotonic time of this node in seconds."""
        now = self._began + self.world._now * self._rate
        return now if now > self._latest else self._latest

    def call_soon(
        self,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: contextvars.Context | None = None,
    ) -> asyncio.Handle:
        """Call `callback(*args)` when the world runs next and this node is not paused."""
        handle = _NodeHandle(callback, args, self, context)
        if not self.dead:
            self.world._ready.append(handle)
        return handle

    call_soon_threadsafe = call_soon

    def call_at(
        self,
        when: float,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        """Call `callback(*args)` at the instant `when` of this node's time."""
        timer = _NodeTimer(when, callback, args, self, context)
        if not self.dead:
            due = (when - self._began) / self._rate
            heapq.heappush(self.world._timers, (due, next(self.world._order), timer))
        return timer

    def call_later(
        self,
        delay: float,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        """Call `callback(*args)` in `delay` seconds of this node's time."""
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def is_running(self) -> bool:
        """True while a callback of this node runs."""
        return asyncio._get_running_loop() is self

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Hand an error to the world, to be raised by what lets time pass."""
        if not self.dead:
            self.world.call_exception_handler(context)

    def _timer_handle_cancelled(self, timer: asyncio.TimerHandle) -> None:
        self.world._timer_handle_cancelled(timer)

    def _run_or_hold(self, handle: _Held) -> None:
        """Run a callback, unless this is not the time for it."""
        if self.dead:
            return
        if self.paused:
            self._held.append(handle)
            return
        asyncio.Handle._run(handle)


class _NodeHandle(asyncio.Handle):
    __slots__ = ()
    _loop: NodeLoop

    def _run(self) -> None:
        if not self._cancelled:  # it may have been cancelled while it was held
            self._loop._run_or_hold(self)


class _NodeTimer(asyncio.TimerHandle):
    __slots__ = ()
    _loop: NodeLoop

    def _run(self) -> None:
        if not self._cancelled:
            loop = self._loop
            loop._latest = max(loop._latest, self.when())
            loop._run_or_hold(self)


_Held = _NodeHandle | _NodeTimer


def _close(task: asyncio.Task[Any]) -> None:
    coroutine = task.get_coro()
    try:
        if coroutine is not None:
            coroutine.close()
    except (RuntimeError, GeneratorExit):
        pass  # it goes on after its end: nobody hears of it any more
