"""FakeLoop: an asyncio loop whose time stands still until a test moves it."""

from __future__ import annotations

import asyncio
import contextvars
import heapq
import itertools
import logging
import weakref
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar, TypeVarTuple, cast

# AbstractEventLoop is abstract to a type checker only; ours leaves out sockets, pipes, processes.
if TYPE_CHECKING:
    _LoopBase = asyncio.SelectorEventLoop
else:
    _LoopBase = asyncio.AbstractEventLoop

T = TypeVar("T")
Ts = TypeVarTuple("Ts")
ExceptionHandler = Callable[[asyncio.AbstractEventLoop, dict[str, Any]], object]

# A timer this close is due: ten times advance(0.1) must reach a timer at 1.0.
_RESOLUTION = 1e-9
_NEVER = float("inf")


class FakeLoop(_LoopBase):
    """A deterministic asyncio loop in virtual time: nothing runs and no time passes by itself.

    Tasks, futures, asyncio.sleep, timeouts and locks work on it as they are. Callbacks run in the
    order in which they were scheduled, equal deadlines too. An exception that a callback or a
    forgotten task leaves behind is raised by the `advance`, `run_...` or `close` under way, unless
    `set_exception_handler` was used. All instants and durations are seconds.
    """

    callback_limit = 1_000_000
    """So many callbacks without time moving on count as an endless cycle."""

    def __init__(self, now: float = 0.0) -> None:
        self._now = now
        self._ready: deque[asyncio.Handle] = deque()
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._order = itertools.count()
        self._cancelled_timers = 0
        self._tasks: weakref.WeakKeyDictionary[asyncio.Task[Any], None] = (
            weakref.WeakKeyDictionary()
        )
        self._errors: deque[BaseException] = deque()
        self._exception_handler: ExceptionHandler | None = None
        self._driven = False
        self._running: asyncio.AbstractEventLoop = self  # while driven: whose callback runs
        self._closed = False
        self._debug = False

    # For tests only

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass; each timer on the way runs at its own instant.

        Raises what a callback raised; time then stands at that callback's instant. Raises
        ValueError when `seconds` is negative.
        """
        if not seconds >= 0:
            raise ValueError(f"time goes forward: cannot advance by {seconds!r}")
        target = self._now + seconds
        with self._driving():
            self._run_instant()
            while (deadline := self._next_deadline()) <= target + _RESOLUTION:
                self._now = max(self._now, deadline)
                self._run_instant()
            self._now = max(self._now, target)

    def advance_to_next(self) -> bool:
        """Run what is ready, then what is due at the next deadline; False when there is none."""
        with self._driving():
            self._run_instant()
            deadline = self._next_deadline()
            if deadline == _NEVER:
                return False
            self._now = max(self._now, deadline)
            self._run_instant()
            return True

    def run_pending(self) -> int:
        """Run what is ready, and what that makes ready; return how many callbacks ran.

        Time does not move. Raises RuntimeError when `callback_limit` callbacks were not enough.
        """
        with self._driving():
            return self._run_instant()

    def run_until(self, condition: Callable[[], bool], timeout: float = 60.0) -> None:
        """Run, and let time pass as needed, until `condition()` holds.

        Raises TimeoutError after `timeout` seconds, and RuntimeError when nothing is scheduled
        that could ever change the condition.
        """
        limit = self._now + timeout

        def holds() -> bool:
            self._run_as(self)  # and not as a node whose callback was the last
            return condition()

        with self._driving():
            while not holds():
                if self._run_instant(holds):
                    continue
                deadline = self._next_deadline()
                if deadline == _NEVER:
                    raise RuntimeError("deadlock: nothing is scheduled, and the condition is false")
                if deadline > limit + _RESOLUTION:
                    self._now = max(self._now, limit)
                    raise TimeoutError(f"the condition is false after {timeout} s of virtual time")
                self._now = max(self._now, deadline)

    def run_until_complete(
        self, future: Generator[Any, None, T] | Awaitable[T], timeout: float = 3600.0
    ) -> T:
        """Run, and let time pass as needed, until `future` is done; return its result.

        Raises what it raised, and errors as `run_until` does; a coroutine is then cancelled.
        """
        task = asyncio.ensure_future(cast("Awaitable[T]", future), loop=self)
        try:
            self.run_until(task.done, timeout)
        except BaseException:
            if task is not future:
                task.cancel()
            if task.done() and not task.cancelled():
                task.exception()  # retrieved: the error under way says enough
            raise
        return task.result()

    @property
    def deadlines(self) -> tuple[float, ...]:
        """The instants of all timers that are set, in order."""
        return tuple(sorted(when for when, _, timer in self._timers if not timer.cancelled()))

    # As asyncio has it

    def time(self) -> float:
        """The virtual time in seconds."""
        return self._now

    def call_soon(
        self,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: contextvars.Context | None = None,
    ) -> asyncio.Handle:
        """Call `callback(*args)` when the loop runs next."""
        self._check_open()
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    # Appending to a deque is atomic, and nobody sleeps who would have to be woken.
    call_soon_threadsafe = call_soon

    def call_later(
        self,
        delay: float,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        """Call `callback(*args)` in `delay` seconds."""
        return self.call_at(self._now + delay, callback, *args, context=context)

    def call_at(
        self,
        when: float,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        """Call `callback(*args)` at the instant `when`."""
        self._check_open()
        timer = asyncio.TimerHandle(when, callback, args, self, context)
        heapq.heappush(self._timers, (when, next(self._order), timer))
        return timer

    def create_future(self) -> asyncio.Future[Any]:
        """Return a new future of this loop."""
        return asyncio.Future(loop=self)

    def create_task(
        self,
        coro: Coroutine[Any, Any, T] | Generator[Any, None, T],
        *,
        name: object = None,
        context: contextvars.Context | None = None,
    ) -> asyncio.Task[T]:
        """Schedule a coroutine."""
        self._check_open()
        task = asyncio.Task(
            coro, loop=self, name=None if name is None else str(name), context=context
        )
        self._tasks[task] = None
        return task

    def run_in_executor(  # type: ignore[override]
        self, executor: object, func: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        """Call `func(*args)` here and now, since threads have no virtual time; return it done."""
        future: asyncio.Future[T] = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:
            future.set_exception(error)
        return future

    def add_reader(self, fd: Any, callback: Callable[[*Ts], Any], *args: *Ts) -> None:
        """Raise RuntimeError: a real socket was opened on this loop."""
        raise RuntimeError("a FakeLoop watches no descriptors: open streams on a FakeNetwork")

    def get_debug(self) -> bool:
        """Whether handles remember where they were made."""
        return self._debug

    def set_debug(self, enabled: bool) -> None:
        """Have handles remember where they were made."""
        self._debug = enabled

    def is_running(self) -> bool:
        """True while a callback runs."""
        return self._driven

    def is_closed(self) -> bool:
        """True after `close()`."""
        return self._closed

    def get_exception_handler(self) -> ExceptionHandler | None:
        """The handler that was set, or None."""
        return self._exception_handler

    def set_exception_handler(self, handler: ExceptionHandler | None) -> None:
        """Have errors go to `handler(loop, context)` instead of to the test."""
        self._exception_handler = handler

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Take an error as asyncio reports it, to be raised at the next opportunity."""
        if self._exception_handler is not None:
            self._exception_handler(self, context)
        elif self._closed:
            logging.getLogger("asyncio").error(
                context["message"], exc_info=context.get("exception")
            )
        else:
            self._errors.append(context.get("exception") or RuntimeError(context["message"]))

    async def shutdown_asyncgens(self) -> None:
        """Do nothing: asynchronous generators are left to the garbage collector."""

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """Do nothing: there is no executor."""

    def close(self) -> None:
        """Cancel what is left, tasks and timers; idempotent.

        Raises an error that nobody has seen yet, and RuntimeError for a task that goes on although
        it was cancelled.
        """
        if self._driven:
            raise RuntimeError("a loop cannot be closed from one of its callbacks")
        if self._closed:
            return
        try:
            self._cancel_tasks()
        finally:
            self._closed = True
            self._ready.clear()
            self._timers.clear()

    def _cancel_tasks(self) -> None:
        self._raise_error()
        tasks = [task for task in self._tasks if not task.done()]
        for task in tasks:
            task.cancel()
        with self._driving():
            self._run_instant(lambda: all(task.done() for task in tasks))
        self._raise_error()
        left = [str(task.get_coro()) for task in tasks if not task.done()]
        if left:
            raise RuntimeError(f"tasks go on after they were cancelled: {', '.join(left)}")

    # Running

    @contextmanager
    def _driving(self) -> Iterator[None]:
        """Be the thread's running loop, also inside the callback of another one."""
        self._check_open()
        if self._driven:
            raise RuntimeError("this loop is running: let time pass from outside its callbacks")
        outer = asyncio._get_running_loop()
        task = asyncio.current_task(outer) if outer is not None else None
        if outer is not None and task is not None:
            asyncio.tasks._leave_task(outer, task)
        self._run_as(self)
        self._driven = True
        try:
            yield
        finally:
            self._driven = False
            asyncio._set_running_loop(outer)
            if outer is not None and task is not None:
                asyncio.tasks._enter_task(outer, task)

    def _run_as(self, loop: asyncio.AbstractEventLoop) -> None:
        self._running = loop
        asyncio._set_running_loop(loop)

    def _run_instant(self, stop: Callable[[], bool] | None = None) -> int:
        """Run until nothing is ready at this instant, or `stop()`; return how many ran."""
        count = 0
        while (stop is None or not stop()) and (turn := self._run_turn()):
            count += turn
            if count > self.callback_limit:
                raise RuntimeError(
                    f"{count} callbacks ran and time stands still: they schedule each other"
                    f" without end; the next one is {self._ready[0] if self._ready else None}"
                )
        return count

    def _run_turn(self) -> int:
        """Run what is ready now, but not what that makes ready; return how many callbacks ran."""
        # Simulations spend a tenth of their time here: hence the local names, and no calls.
        errors, ready, timers, now = self._errors, self._ready, self._timers, self._now
        if errors:
            raise errors.popleft()
        while timers and timers[0][0] <= now:
            ready.append(heapq.heappop(timers)[2])
        count = 0
        for _ in range(len(ready)):
            handle = ready.popleft()
            if not handle._cancelled:
                count += 1
                loop = handle._loop  # type: ignore[attr-defined]  # the world's, or a node's
                if loop is not self._running:  # on PyPy a system call: no more than needed
                    self._run_as(loop)
                handle._run()  # hands exceptions to call_exception_handler
                if errors:
                    raise errors.popleft()
            # A failed task's traceback refers to this frame: it must not refer to the task.
            del handle
        return count

    def _next_deadline(self) -> float:
        timers = self._timers
        while timers and timers[0][2]._cancelled:
            heapq.heappop(timers)
        return timers[0][0] if timers else _NEVER

    def _timer_handle_cancelled(self, timer: asyncio.TimerHandle) -> None:
        """Forget cancelled timers when they outnumber the others; TimerHandle.cancel calls this."""
        self._cancelled_timers += 1
        if self._cancelled_timers > 100 and self._cancelled_timers > len(self._timers) // 2:
            self._timers = [entry for entry in self._timers if not entry[2].cancelled()]
            heapq.heapify(self._timers)
            self._cancelled_timers = 0

    def _raise_error(self) -> None:
        if self._errors:
            raise self._errors.popleft()

    def _check_open(self) -> None:
        if self._closed:
            raise RuntimeError("the loop is closed")
