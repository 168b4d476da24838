"""Handlers: what a user subclasses, one level deep, and registers on a Reactor."""

from __future__ import annotations

from asyncio import CancelledError
from collections.abc import Awaitable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, ClassVar

from reactor.errors import PeerError, ReactorError
from reactor.logs import Logger, get_logger
from reactor.statistics import HandlerStatistics

if TYPE_CHECKING:
    from reactor.reactor import Reactor
    from reactor.streams import Stream
    from reactor.timers import PeriodicTimer

Hook = Awaitable[None] | None

_REFUSAL_LOG_SECONDS = 1.0


class Handler:
    """Something with a beginning and an end on a reactor; every hook is a no-op unless overridden.

    Any hook may be a coroutine function: it is awaited. A hook that raises never stops the loop.
    """

    name: str = ""
    """Shown in logs and errors; the class's name unless set."""

    peer_errors: ClassVar[tuple[type[Exception], ...]] = (PeerError,)
    """Exceptions that mean "the peer is wrong": the message is refused, `on_error` not called."""

    errors: int = 0
    refused: int = 0
    _reactor: Reactor | None = None
    _started = False
    _refusals_unlogged = 0
    _next_refusal_log = 0.0

    def on_start(self) -> Hook:
        """The reactor runs and the streams are open; no message and no tick has come yet."""
        return None

    def on_stop(self) -> Hook:
        """The last chance to send; no message and no tick comes any more."""
        return None

    def on_error(self, error: Exception) -> Hook:
        """A hook raised `error`; the default logs it with its traceback, and the loop goes on."""
        self.log.error("hook failed", exc_info=error, **self._log_fields())
        return None

    def refuse(self, reason: str, **fields: Any) -> None:
        """Count a message that a peer should not have sent, and log it, at most once a second."""
        self.refused += 1
        now = self.reactor.now()
        if now < self._next_refusal_log:
            self._refusals_unlogged += 1
            return
        self._next_refusal_log = now + _REFUSAL_LOG_SECONDS
        self.log.warning(
            "message refused",
            reason=reason,
            refused=self.refused,
            unlogged=self._refusals_unlogged,
            **self._log_fields(),
            **fields,
        )
        self._refusals_unlogged = 0

    @property
    def reactor(self) -> Reactor:
        """The reactor this handler is registered on; raises ReactorError before that."""
        if self._reactor is None:
            raise ReactorError(f"{type(self).__name__} is not registered on a reactor")
        return self._reactor

    @property
    def log(self) -> Logger:
        """A structlog logger that names this handler; no call of it raises."""
        return get_logger(handler=self.name or type(self).__name__)

    def statistics(self) -> HandlerStatistics:
        """Return a frozen snapshot of this handler's counters."""
        return HandlerStatistics(self.name or type(self).__name__, self.errors, self.refused)

    # What the reactor calls. `members` are a handler and all below it, in the order of starting.

    def _members(self) -> Iterator[Handler]:
        yield self

    def _attach(self, reactor: Reactor) -> None:
        if self._reactor is not None:
            raise ReactorError(f"{self.name or type(self).__name__} is registered already")
        self._reactor = reactor
        self.name = self.name or type(self).__name__

    def _detach(self) -> None:
        self._reactor = None
        self._started = False

    def _start_steps(self) -> Iterator[Hook]:
        yield self.on_start()
        self._started = True
        self._begin()

    def _begin(self) -> None:
        """Let messages or ticks come."""

    def _quiesce(self) -> None:
        """Let no further message or tick come."""

    def _running_hooks(self) -> Iterator[Awaitable[None]]:
        yield from ()

    def _streams(self) -> Iterator[Stream]:
        yield from ()

    def _log_fields(self) -> dict[str, Any]:
        return {}

    def _hook_failed(self, error: Exception) -> None:
        if isinstance(error, self.peer_errors):
            self.refuse(str(error))
            return
        self.errors += 1
        reactor = self.reactor
        try:
            reactor.spawn(self.on_error(error))
        except (Exception, CancelledError) as second:
            self.log.error("on_error failed", exc_info=second)
        reactor.handler_failed(error)


class StreamHandler(Handler):
    """Receives the messages of one stream, which it owns: unregistering closes it."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream

    def on_message(self, frames: list[bytes]) -> Hook:
        """One message arrived, as its frames; the next one comes when this hook is done."""
        return None

    def on_batch(self, messages: list[list[bytes]]) -> int | None:
        """Several messages arrived, up to 100, in order; overridden, it replaces `on_message`.

        For handlers that do less than a microsecond's work for each, as a relay does. A plain
        function: when it raises, the rest of its messages is lost. It may return how many it has
        taken: see `Stream.on_batch`.
        """
        return None

    def on_writable(self) -> Hook:
        """The send queue has emptied after messages had to wait in it."""
        return None

    def send(self, *frames: bytes) -> bool:
        """Send one message on this handler's stream; see `Stream.send`."""
        return self.stream.send(*frames)

    def _begin(self) -> None:
        self.stream.on_error = self._hook_failed
        if getattr(self.send, "__func__", None) is StreamHandler.send:
            self.send = self.stream.send  # type: ignore[method-assign]  # 150 ns less a message
        self.stream.on_writable(lambda: self.reactor.spawn(self.on_writable()))
        if type(self).on_batch is not StreamHandler.on_batch:
            self.stream.on_batch(self.on_batch)
        elif type(self).on_message is not StreamHandler.on_message:
            self.stream.on_message(self.on_message)

    def _quiesce(self) -> None:
        if not self.stream.closed:
            self.stream.on_message(None)

    def _running_hooks(self) -> Iterator[Awaitable[None]]:
        if self.stream.held_by is not None:
            yield self.stream.held_by

    def _streams(self) -> Iterator[Stream]:
        yield self.stream

    def _log_fields(self) -> dict[str, Any]:
        return {"stream": self.stream.name, "endpoint": self.stream.endpoint}


class PeriodicHandler(Handler):
    """Ticks every `interval` seconds of monotonic time; coroutine ticks never overlap."""

    interval: float = 1.0
    _timer: PeriodicTimer | None = None

    def __init__(self, interval: float | None = None) -> None:
        if interval is not None:
            self.interval = interval

    def on_tick(self) -> Hook:
        """One interval has passed; ticks that were missed altogether are not made up for."""
        return None

    def _begin(self) -> None:
        self._timer = self.reactor.periodic(self.interval, self.on_tick)
        self._timer.on_error = self._hook_failed

    def _quiesce(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _running_hooks(self) -> Iterator[Awaitable[None]]:
        if self._timer is not None and self._timer.task is not None:
            yield self._timer.task


class HandlerSet(Handler):
    """Several handlers as one: started in order, stopped in reverse, undone if one fails to start.

    Its own `on_start` runs after those of its handlers, its own `on_stop` before theirs.
    """

    handlers: tuple[Handler, ...] = ()
    """What was started so far, in that order."""

    _given: tuple[Handler, ...] = ()
    _opened: list[Stream]

    def __init__(self, *handlers: Handler) -> None:
        self._given = handlers

    def build(self) -> Iterable[Handler]:
        """Open the streams with `open_stream` and return the handlers in the order of starting.

        Called once, when the set starts on a running reactor. The default returns what the
        constructor was given.
        """
        return self._given

    def open_stream(
        self, socket_type: int, *endpoints: str, name: str = "", **options: Any
    ) -> Stream:
        """Open a stream that is closed with this set; arguments as for `Reactor.open_stream`."""
        stream = self.reactor.open_stream(
            socket_type, *endpoints, name=f"{self.name}.{name}" if name else self.name, **options
        )
        self._opened = [opened for opened in self._opened if not opened.closed]
        self._opened.append(stream)
        return stream

    def _attach(self, reactor: Reactor) -> None:
        super()._attach(reactor)
        self._opened = []
        self.handlers = ()

    def _members(self) -> Iterator[Handler]:
        for handler in self.handlers:
            yield from handler._members()
        yield self

    def _start_steps(self) -> Iterator[Hook]:
        for handler in self.build():
            handler._attach(self.reactor)
            self.handlers += (handler,)
            yield from handler._start_steps()
        yield self.on_start()
        self._started = True

    def _streams(self) -> Iterator[Stream]:
        yield from self._opened
