"""A reactor in a thread of its own, for programs that have no event loop, or not this one."""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import CancelledError, Future
from typing import Any, TypeVar

import zmq

from patterns.clone.client_errors import ClientClosed
from reactor import Handler, Reactor, ReactorError

T = TypeVar("T")

# Beyond the reactor's own `stop_timeout`: a thread that is still there then is left to itself.
_STOP_GRACE_SECONDS = 2.0
# How long the thread may take to call off what nobody waits for any more.
_CALL_OFF_SECONDS = 1.0


class ReactorThread:
    """Runs one handler on a reactor in a daemon thread, and calls functions there for others.

    A context of its own goes with it: at the end of the interpreter there may be no further thread
    to terminate one in.
    """

    def __init__(self, handler: Handler, name: str) -> None:
        self._handler = handler
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._lock = threading.Lock()
        self._calls: set[Future[Any]] = set()
        self._awaited: dict[Future[Any], asyncio.Future[Any]] = {}  # of the thread alone
        self._process = os.getpid()
        self._started: Future[None] = Future()
        self._ended = self._unwanted = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._reactor: Reactor | None = None

    def start(self, timeout: float) -> None:
        """Start; returns when the handler has. Raises what it raises, and TimeoutError.

        It ends with `stop`, or with the interpreter.
        """
        self._thread.start()
        atexit.register(self.stop)
        try:
            self._started.result(timeout)
        except TimeoutError:
            raise TimeoutError(f"the client's thread did not start in {timeout:g} s") from None

    @property
    def is_current(self) -> bool:
        """True if this is called on the thread itself, which cannot wait for itself."""
        return threading.current_thread() is self._thread

    def call(self, function: Callable[[], T], timeout: float) -> T:
        """The result of `function()` on the thread.

        Raises what that raises, TimeoutError, and ClientClosed if the thread ends before.
        """

        async def call() -> T:
            return function()

        return self.wait(call, timeout)

    def wait(self, function: Callable[[], Awaitable[T]], timeout: float) -> T:
        """The result of what `function()` gives to await on the thread; else as `call`.

        At a TimeoutError that is cancelled: nothing goes on that nobody waits for.
        """
        if self.is_current:
            raise ReactorError("this thread runs the client: it cannot wait for itself")
        result: Future[T] = Future()
        self._submit(lambda: self._answer(function, result), result)
        try:
            return result.result(timeout)
        except CancelledError:
            raise ClientClosed("the client was closed meanwhile") from None
        except TimeoutError:
            return self._call_off(result, timeout)
        finally:
            with self._lock:
                self._calls.discard(result)

    def _call_off(self, result: Future[T], timeout: float) -> T:
        """Cancel what takes too long, unless it ends in this very moment: then that counts."""
        too_late = TimeoutError(f"not done in {timeout:g} s")
        if result.cancel():  # it has not begun
            raise too_late from None
        if not result.done():
            with self._lock:
                if self._loop is not None and not self._ended:
                    self._loop.call_soon_threadsafe(self._cancel, result)
        try:
            return result.result(_CALL_OFF_SECONDS)
        except ClientClosed:
            raise too_late from None

    def _cancel(self, result: Future[Any]) -> None:
        if (awaited := self._awaited.get(result)) is not None:
            awaited.cancel()

    def _submit(self, function: Callable[[], None], result: Future[Any]) -> None:
        with self._lock:
            if self._ended or self._loop is None:
                raise ClientClosed("the client was closed before this call")
            self._calls.add(result)
            self._loop.call_soon_threadsafe(function)

    def _answer(self, function: Callable[[], Awaitable[T]], result: Future[T]) -> None:
        if not result.set_running_or_notify_cancel():
            return
        try:
            waiting = asyncio.ensure_future(function())
        except Exception as error:
            result.set_exception(error)
        else:
            self._awaited[result] = waiting
            waiting.add_done_callback(lambda done: self._copy(done, result))

    def _copy(self, done: asyncio.Future[T], result: Future[T]) -> None:
        del self._awaited[result]
        error = None if done.cancelled() else done.exception()  # asked for, or asyncio complains
        if result.done():
            return
        if done.cancelled():
            result.set_exception(ClientClosed("the client was closed meanwhile"))
        elif error is not None:
            result.set_exception(error)
        else:
            result.set_result(done.result())

    def stop(self, *, wait: bool = True) -> None:
        """Stop the reactor and wait for the thread, at most a few seconds; idempotent.

        Called on the thread itself, it does not wait; nor without `wait`, as by the garbage
        collector, which runs on any thread. In a process that was forked there is nothing to stop.
        """
        if os.getpid() != self._process:
            return
        with self._lock:
            self._unwanted = True
            if self._loop is None and not self._started.done():
                return  # it is starting, for somebody who waits no more, and ends when it has
            if self._loop is not None and self._reactor is not None and not self._ended:
                self._loop.call_soon_threadsafe(self._reactor.stop)
                limit = self._reactor.stop_timeout + _STOP_GRACE_SECONDS
            else:
                limit = _STOP_GRACE_SECONDS
        if wait and self._thread.is_alive() and not self.is_current:
            self._thread.join(limit)

    # On the thread

    def _run(self) -> None:
        context: zmq.Context[Any] = zmq.Context()
        context.set(zmq.BLOCKY, 0)
        try:
            asyncio.run(self._serve(context))
        except Exception as error:
            if not self._started.done():
                self._started.set_exception(error)
        finally:
            self._end()
            context.destroy(linger=0)
            atexit.unregister(self.stop)

    async def _serve(self, context: zmq.Context[Any]) -> None:
        async with Reactor(context=context) as reactor:
            await reactor.register(self._handler)
            with self._lock:
                self._loop, self._reactor = reactor.loop, reactor
                unwanted = self._unwanted
            self._started.set_result(None)
            if not unwanted:
                await reactor.stopped()
            self._end()  # before the loop is closed: that takes no calls any more

    def _end(self) -> None:
        """Nobody waits for ever: who called when it was too late is told."""
        with self._lock:
            self._ended = True
            left = list(self._calls)
        for result in left:
            if not result.done() and not result.cancel():
                result.set_exception(ClientClosed("the client was closed meanwhile"))
