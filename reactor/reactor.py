"""Reactor: one loop, one context; opens streams, runs handlers, stops everything in order."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Awaitable, Callable, Generator, Iterable, Iterator
from inspect import isawaitable
from itertools import chain
from threading import get_ident
from types import TracebackType
from typing import Any

import zmq

from reactor.channels import Network, ZmqNetwork
from reactor.endpoints import Side
from reactor.errors import ReactorError, WrongThread, as_exception, await_hook
from reactor.handlers import Handler, Hook
from reactor.logs import get_logger
from reactor.statistics import ReactorStatistics
from reactor.streams import Policy, Stream
from reactor.timers import OneShotTimer, PeriodicTimer


class Reactor:
    """Runs handlers on the asyncio loop that is running (Tornado's and Jupyter's loops are one).

        async with Reactor() as reactor:
            reactor.register(MyHandler(reactor.open_stream(zmq.PULL, "@tcp://127.0.0.1:5555")))
            await reactor.stopped()

    `loop` and `network` are replaced by fakes in tests. Without a `context` the reactor makes its
    own and terminates it when it stops. `strict=True` stops at the first hook that raises, and
    `stopped()` raises that error. A graceful stop takes at most about `stop_timeout` seconds.
    Every `lag_interval` seconds the loop's lag is measured (None: only by the timers there are).
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop | None = None,
        *,
        context: zmq.Context[Any] | None = None,
        network: Network | None = None,
        strict: bool = False,
        stop_timeout: float = 1.0,
        lag_interval: float | None = 0.5,
    ) -> None:
        self.strict = strict
        self.stop_timeout = stop_timeout
        self.network = network
        self._loop = loop
        self._context = context
        self._lag_interval = lag_interval
        self._running = False
        self._thread = 0
        self._handlers: list[Handler] = []
        self._streams: list[Stream] = []
        # Dictionaries keep their order: what is left at the end is cancelled in it, always.
        self._timers: weakref.WeakKeyDictionary[OneShotTimer | PeriodicTimer, None] = (
            weakref.WeakKeyDictionary()
        )
        self._tasks: dict[asyncio.Future[Any], None] = {}
        self._ends: dict[asyncio.Future[Any], None] = {}  # those that a stop waits for
        self._shutdown_task: asyncio.Task[None] | None = None
        self._stopped: asyncio.Event | None = None
        self._deadline = 0.0
        self._hurry: asyncio.Event | None = None
        self._failure: Exception | None = None
        self._loop_lag = self._longest_loop_lag = self._longest_tick = 0.0
        self._longest_closed_hook = 0.0

    # Life

    async def start(self) -> None:
        """Take the running loop and start the handlers registered so far; once in a lifetime."""
        if self._stopped is not None:
            raise ReactorError("a reactor is started once; make a new one")
        self._loop = self._loop or asyncio.get_running_loop()
        self._thread = get_ident()
        self._stopped = asyncio.Event()
        self._hurry = asyncio.Event()
        if self.network is None:
            self.network = ZmqNetwork(self._context, self.stop_timeout + 1.0)
        self._running = True
        if self._lag_interval is not None:
            self.periodic(self._lag_interval, lambda: None)
        waiting, self._handlers = self._handlers, []
        try:
            await self.register(*waiting)
        except BaseException:
            self.stop()
            raise

    def stop(self, hard: bool = False) -> None:
        """Begin to stop; idempotent, and legal from inside any hook (of this reactor's thread).

        Timers and receiving end, `on_stop` hooks run in reverse order, queues are flushed, streams
        closed, an owned context terminated: within `stop_timeout`, or at once when `hard`.
        """
        if not self._running:
            return
        if self._shutdown_task is None:
            self._deadline = self.now() + self.stop_timeout
            for timer in list(self._timers):
                timer.cancel()
            for member in self._members():
                member._quiesce()
            self._shutdown_task = self.loop.create_task(self._shutdown())
        if hard:
            self._deadline = self.now()
            assert self._hurry is not None
            self._hurry.set()

    async def stopped(self) -> None:
        """Wait until the reactor has stopped; raises the error that stopped a strict one."""
        if self._stopped is None:
            raise ReactorError("the reactor was not started")
        await self._stopped.wait()
        if self._failure is not None:
            raise self._failure

    async def __aenter__(self) -> Reactor:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()
        try:
            await self.stopped()
        except Exception:
            if error is None:
                raise

    @property
    def running(self) -> bool:
        """True from start until the last stream is closed."""
        return self._running

    @property
    def stopping(self) -> bool:
        """True once `stop()` was called."""
        return self._shutdown_task is not None

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The asyncio loop of this reactor; raises ReactorError before it is known."""
        if self._loop is None:
            raise ReactorError("the reactor is not started: use `async with Reactor()` or `run()`")
        return self._loop

    # Handlers

    def register(self, *handlers: Handler) -> Completion:
        """Start `handlers` in order; if one fails, those of this call are undone and it raises.

        Before the reactor runs, they are kept for its start. Await the result when an `on_start`
        hook is a coroutine; with plain hooks everything is done when this returns. An `on_stop`
        that is a coroutine ends what it undoes later, within `stop_timeout`.
        """
        if self.stopping:
            raise ReactorError("the reactor is stopping: nothing can be registered any more")
        if not self._running:
            self._handlers.extend(handlers)
            return Completion(None)
        steps = self._start_steps(handlers)
        try:
            rest = _first_awaitable(steps)
        except Exception:
            self._abandon(handlers)
            raise
        if rest is None:
            return Completion(None)
        return Completion(self._keep(self._finish_start(rest, steps, handlers)))

    def unregister(self, handler: Handler) -> Completion:
        """Deliver nothing more to `handler`, run its `on_stop`, flush and close its streams.

        Awaiting the result waits for the end of that, at most `stop_timeout`. Raises ReactorError
        for a handler that is not registered here.
        """
        if handler not in self._handlers:
            raise ReactorError(f"{handler.name or type(handler).__name__} is not registered here")
        self._handlers.remove(handler)
        if not self._running:
            return Completion(None)
        members = list(handler._members())
        for member in members:
            member._quiesce()
        return Completion(self._keep_end(self._finish(members, self.now() + self.stop_timeout)))

    def _start_steps(self, handlers: tuple[Handler, ...]) -> Iterator[Hook]:
        for handler in handlers:
            handler._attach(self)
            self._handlers.append(handler)
            yield from handler._start_steps()

    async def _finish_start(
        self, waiting: Awaitable[None], steps: Iterator[Hook], handlers: tuple[Handler, ...]
    ) -> None:
        try:
            await waiting
            for step in steps:
                if step is not None and isawaitable(step):
                    await step
        except BaseException:
            # As for unregister: what has started, workers for example, may need time to end.
            await self._finish(self._withdraw(handlers), self.now() + self.stop_timeout)
            raise

    def _abandon(self, handlers: tuple[Handler, ...]) -> None:
        """Undo a start that failed: at once, but an `on_stop` that is a coroutine has its time."""
        members = self._withdraw(handlers)
        steps = self._stop_steps(members)
        for waiting in steps:
            rest = chain([waiting], steps)
            self._keep_end(self._end(members, rest, self.now() + self.stop_timeout))
            return
        self._part(members, 0)

    def _withdraw(self, handlers: tuple[Handler, ...]) -> list[Handler]:
        """Take back a registration that failed: deliver nothing more; return what was attached."""
        members: list[Handler] = []
        for handler in handlers:
            if handler in self._handlers:
                self._handlers.remove(handler)
                members += list(handler._members())
        for member in members:
            member._quiesce()
        return members

    # Streams and timers

    def open_stream(
        self,
        socket_type: int,
        *endpoints: str,
        name: str = "",
        unmarked: Side | None = None,
        subscribe: tuple[bytes, ...] = (),
        options: dict[int, int | bytes] | None = None,
        queue_limit: int = 1000,
        policy: Policy = Policy.ERROR,
        batch_limit: int = 500,
        batch_seconds: float = 0.005,
        linger_ms: int = 0,
    ) -> Stream:
        """Open a socket of a libzmq type and bind (`@`) or connect (`>`) it to every endpoint.

        `unmarked` says what endpoints without a mark do. `options` are set first, by libzmq's
        numbers; `subscribe` holds prefixes (SUB). Raises EndpointError or OptionError, which name
        the stream, and closes it. The stream ends with its handler, or with the reactor.
        """
        if not self._running or self.network is None:
            raise ReactorError(
                "streams are opened on a running reactor: use `async with Reactor()`"
            )
        stream = self.network.stream_class(
            self.network.open_channel(socket_type, self.loop),
            self.loop,
            socket_type=int(socket_type),
            name=name or zmq.SocketType(socket_type).name,
            queue_limit=queue_limit,
            policy=policy,
            batch_limit=batch_limit,
            batch_seconds=batch_seconds,
            linger_ms=linger_ms,
        )
        stream.on_closed = self._forget_stream
        self._streams.append(stream)
        try:
            for option, value in (options or {}).items():
                stream.set_option(option, value)
            for prefix in subscribe:
                stream.subscribe(prefix)
            stream.open(endpoints, unmarked)
        except BaseException:
            self._close_streams(iter([stream]), 0)
            raise
        return stream

    def periodic(self, interval: float, callback: Callable[[], Hook]) -> PeriodicTimer:
        """Call `callback()` every `interval` seconds of monotonic time, until cancelled.

        Raises ValueError for an interval that is not above 0.
        """
        timer = PeriodicTimer(self.loop, self, interval, callback)
        self._timers[timer] = None
        return timer

    def call_later(self, delay: float, callback: Callable[..., Any], *args: Any) -> OneShotTimer:
        """Call `callback(*args)` once, after `delay` seconds."""
        return self.call_at(self.now() + delay, callback, *args)

    def call_at(self, when: float, callback: Callable[..., Any], *args: Any) -> OneShotTimer:
        """Call `callback(*args)` once, at the instant `when` of `now()`."""
        timer = OneShotTimer(self.loop, self, when, callback, *args)
        self._timers[timer] = None
        return timer

    def call_soon_threadsafe(self, callback: Callable[..., Any], *args: Any) -> None:
        """Call `callback(*args)` on the loop's thread: the only door from other threads."""
        self.loop.call_soon_threadsafe(callback, *args)

    def check_thread(self) -> None:
        """Raise WrongThread on another thread than the loop's."""
        if self._thread != get_ident():
            raise WrongThread(
                "this belongs to its loop's thread; from another one use call_soon_threadsafe"
            )

    def now(self) -> float:
        """The loop's monotonic time in seconds; a change of the wall clock does not move it."""
        return self.loop.time()

    def statistics(self) -> ReactorStatistics:
        """Return a frozen snapshot of every counter; call it on the loop's thread."""
        return ReactorStatistics(
            loop_lag=self._loop_lag,
            longest_loop_lag=self._longest_loop_lag,
            longest_hook=max(
                [self._longest_tick, self._longest_closed_hook]
                + [stream.longest_hook for stream in self._streams]
            ),
            handlers=tuple(member.statistics() for member in self._members()),
            streams=tuple(stream.statistics() for stream in self._streams),
        )

    # What handlers and timers report

    def spawn(self, waiting: Hook) -> None:
        """Run what a hook returned, if it is awaitable, as a task whose errors are logged."""
        if waiting is not None and isawaitable(waiting):
            self._keep(_run_logged(waiting))

    def handler_failed(self, error: Exception) -> None:
        """A hook raised and its handler was told; a strict reactor stops and keeps the error."""
        if self.strict:
            self._failure = self._failure or error
            self.stop()

    def timer_failed(self, error: Exception) -> None:
        """A timer's callback that belongs to no handler raised."""
        get_logger().error("timer callback failed", exc_info=error)
        self.handler_failed(error)

    def timer_fired(self, timer: object, lateness: float, seconds: float) -> None:
        """Measure the loop's lag by every timer, and the longest hook."""
        self._loop_lag = lateness
        self._longest_loop_lag = max(self._longest_loop_lag, lateness)
        self._longest_tick = max(self._longest_tick, seconds)

    def _members(self) -> list[Handler]:
        """Every handler, those of sets too, in the order of starting."""
        return [member for handler in self._handlers for member in handler._members()]

    # The end

    async def _shutdown(self) -> None:
        try:
            await self._stop_in_order()
        finally:  # who cancels all tasks cancels this one too, and then waits for `stopped`
            self._close_streams(list(self._streams), 0)
            try:
                await self._close_network()
            finally:
                self._running = False
                assert self._stopped is not None
                self._stopped.set()

    async def _stop_in_order(self) -> None:
        await self._within(list(self._ends), None)
        await self._finish(self._members(), None)
        for timer in list(self._timers):
            timer.cancel()  # set by an on_stop
        self._handlers.clear()
        await self._flush(self._streams, None)
        self._close_streams(list(self._streams), self._remaining_ms(None))
        for task in list(self._tasks):
            task.cancel()

    async def _close_network(self) -> None:
        assert self.network is not None
        try:
            await self.network.close()
        except TimeoutError:
            get_logger().error("the context does not terminate: a socket is open")

    async def _finish(self, members: list[Handler], deadline: float | None) -> None:
        """End quiet handlers: await running hooks, `on_stop` in reverse, flush, close streams."""
        await self._within([hook for m in members for hook in m._running_hooks()], deadline)
        await self._end(members, self._stop_steps(members), deadline)

    async def _end(
        self, members: list[Handler], steps: Iterable[list[Awaitable[None]]], deadline: float | None
    ) -> None:
        for waiting in steps:
            await self._within(waiting, deadline)
        await self._flush(_streams_of(members), deadline)
        self._part(members, self._remaining_ms(deadline))

    def _part(self, members: list[Handler], linger_ms: int) -> None:
        self._close_streams(_streams_of(members), linger_ms)
        for member in members:
            member._detach()

    def _stop_steps(self, members: list[Handler]) -> Iterator[list[Awaitable[None]]]:
        """Call `on_stop` of those that have started, in reverse; yield what is to be awaited."""
        for member in reversed(members):
            if member._started and (waiting := self._call_on_stop(member)):
                yield waiting

    def _call_on_stop(self, member: Handler) -> list[Awaitable[None]]:
        try:
            waiting = member.on_stop()
        except (Exception, asyncio.CancelledError) as error:
            member._hook_failed(as_exception(error))
            return []
        if waiting is None or not isawaitable(waiting):
            return []
        return [self._keep(_run_reporting(waiting, member))]

    async def _flush(self, streams: list[Stream], deadline: float | None) -> None:
        await self._within([s.flushed() for s in streams if s.queue_length], deadline)

    async def _within(self, awaitables: list[Awaitable[None]], deadline: float | None) -> None:
        """Await all until the deadline or a hard stop; then cancel what is left."""
        if not awaitables:
            return
        assert self._hurry is not None
        work: asyncio.Future[Any] = asyncio.gather(*awaitables, return_exceptions=True)
        hurry: asyncio.Future[Any] = self.loop.create_task(self._hurry.wait())
        began = self.now()
        timeout = self._remaining_ms(deadline) / 1000
        await asyncio.wait({work, hurry}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        hurry.cancel()
        if not work.done():
            waited = round(self.now() - began, 3)  # a hard stop does not wait to the end
            get_logger().warning("not done in time: cancelled", waited=waited)
            work.cancel()
        await asyncio.wait({work, hurry}, timeout=self.stop_timeout)
        if work.done() and not work.cancelled():
            work.exception()  # a gather that was cancelled keeps it as its exception

    def _remaining_ms(self, deadline: float | None) -> int:
        end = self._deadline if deadline is None or self.stopping else deadline
        return max(0, int((end - self.now()) * 1000))

    def _close_streams(self, streams: Iterable[Stream], linger_ms: int) -> None:
        for stream in streams:
            stream.close(max(linger_ms, stream.linger_ms) if linger_ms else 0)

    def _forget_stream(self, stream: Stream) -> None:
        self._streams.remove(stream)
        self._longest_closed_hook = max(self._longest_closed_hook, stream.longest_hook)

    def _keep(self, work: Awaitable[None]) -> asyncio.Future[None]:
        """Run `work` as a task that is referred to until it is done."""
        task = asyncio.ensure_future(work, loop=self.loop)
        self._tasks[task] = None
        task.add_done_callback(self._forget)
        return task

    def _keep_end(self, work: Awaitable[None]) -> asyncio.Future[None]:
        """As `_keep`; when the reactor stops meanwhile, it waits for it as for every `on_stop`."""
        task = self._keep(work)
        self._ends[task] = None
        task.add_done_callback(self._ends.pop)
        return task

    def _forget(self, task: asyncio.Future[None]) -> None:
        self._tasks.pop(task, None)
        if not task.cancelled():
            task.exception()  # retrieved: it was logged, or whoever awaits the task gets it


class Completion:
    """The end of a `register` or `unregister`; awaiting it is optional."""

    def __init__(self, work: asyncio.Future[None] | None) -> None:
        self._work = work

    def __await__(self) -> Generator[Any, None, None]:
        """Wait for the end; raises what went wrong."""
        if self._work is not None:
            yield from self._work.__await__()


def _streams_of(members: list[Handler]) -> list[Stream]:
    return list(dict.fromkeys(stream for member in members for stream in member._streams()))


def _first_awaitable(steps: Iterator[Hook]) -> Awaitable[None] | None:
    for step in steps:
        if step is not None and isawaitable(step):
            return step
    return None


async def _run_logged(waiting: Awaitable[None]) -> None:
    try:
        await await_hook(waiting)
    except Exception as error:
        get_logger().error("hook failed", exc_info=error)


async def _run_reporting(waiting: Awaitable[None], member: Handler) -> None:
    try:
        await await_hook(waiting)
    except Exception as error:
        member._hook_failed(error)
