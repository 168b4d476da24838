"""Stream: batched bounded receive and straight bounded send on one channel."""

from __future__ import annotations

import asyncio
import enum
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from inspect import isawaitable
from threading import get_ident
from time import monotonic
from typing import Any

import zmq

from reactor.channels import Channel
from reactor.endpoints import Side, check_port, parse_endpoints
from reactor.errors import (
    EndpointError,
    OptionError,
    QueueFull,
    StreamClosed,
    WrongThread,
    as_exception,
    await_hook,
    reason_of,
)
from reactor.logs import get_logger
from reactor.statistics import StreamStatistics

MessageHook = Callable[[list[bytes]], "Awaitable[None] | None"]
BatchHook = Callable[[list[list[bytes]]], "int | None"]
ErrorHook = Callable[[Exception], None]

# A ROUTER is writable when any peer has room, which says nothing of the one that a message is for,
# and an XPUB with XPUB_NODROP always claims to be. These are tried again after this long.
_RETRY_SECONDS = 0.01
# Each retry in vain doubles the wait up to this: a wake-up costs 0.2 ms, a stopped peer nothing.
_RETRY_SECONDS_LIMIT = 0.16

# A list of so many costs a microsecond in all to hand over, and delays its first message by 100 us.
_LIST_MESSAGES = 100

# What these would linger for are subscriptions to publishers that are not there.
_ONLY_RECEIVING = (zmq.SUB, zmq.PULL)


class Policy(enum.Enum):
    """What `Stream.send` does when the peer takes nothing and the queue is full."""

    ERROR = "error"
    DROP_OLDEST = "drop_oldest"
    DROP_NEWEST = "drop_newest"


class Stream:
    """One ZeroMQ socket on the loop, and only on the loop's thread; see `Reactor.open_stream`.

    Receiving: `on_message(callback)` gets each message as a list of bytes, in order, one at a time.
    A readable stream is drained for at most `batch_limit` messages or `batch_seconds` a loop turn.
    Sending: straight to the socket; when that would block, into a queue of at most `queue_limit`
    messages, emptied in order as the peer takes them; at the limit `policy` decides.
    """

    def __init__(
        self,
        channel: Channel,
        loop: asyncio.AbstractEventLoop,
        *,
        socket_type: int,
        name: str,
        queue_limit: int = 1000,
        policy: Policy = Policy.ERROR,
        batch_limit: int = 500,
        batch_seconds: float = 0.005,
        linger_ms: int = 0,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self.socket_type = socket_type
        self.name = name
        self.queue_limit = queue_limit
        self.policy = policy
        self.batch_limit = batch_limit
        self.batch_seconds = batch_seconds
        self.linger_ms = linger_ms
        self.endpoints: tuple[str, ...] = ()
        self.closed = False
        self.queue_peak = 0
        self.messages_received = 0
        self.messages_sent = 0
        self.messages_dropped = 0
        self.send_errors = 0
        self.longest_hook = 0.0
        self.on_error: ErrorHook = self._log_error
        self.on_closed: Callable[[Stream], None] | None = None
        self._channel = channel
        self._channel_send: Callable[[Sequence[bytes]], bool] = channel.send
        self._channel_receive = channel.receive
        self._loop = loop
        self._clock = clock or _clock_of(loop)
        self._thread = get_ident()
        self._queue: deque[tuple[bytes, ...]] = deque()
        self._flush_requested = False
        self._retry_seconds = _RETRY_SECONDS
        self._emptied: asyncio.Future[None] | None = None
        self._message_hook: MessageHook | None = None
        self._batch_hook: BatchHook | None = None
        self._untaken: list[list[bytes]] = []  # by a batch hook whose turn was over
        self._turn_ends_at = 0.0
        self._writable_hook: Callable[[], Any] | None = None
        self._disconnected_hook: Callable[[], Any] | None = None
        self._disconnected = False  # and the hook waits for what had arrived before
        self._paused = False
        self._held_by: asyncio.Task[None] | None = None
        self._receiving = False
        # True while a send may swallow an arrival's edge and no look at the socket is due yet.
        self._unwatched = False
        self._log = get_logger(stream=name)

    # Endpoints and options

    @property
    def endpoint(self) -> str:
        """The first endpoint, as really bound or connected; empty when there is none."""
        return self.endpoints[0] if self.endpoints else ""

    def open(self, endpoints: Iterable[str], unmarked: Side | None) -> None:
        """Bind and connect every endpoint (`@` binds, `>` connects); raises EndpointError."""
        try:
            parsed = parse_endpoints(endpoints, unmarked)
        except ValueError as error:
            raise EndpointError(f"{self.name}: {error}") from None
        for side, endpoint in parsed:
            self.bind(endpoint) if side == "bind" else self.connect(endpoint)

    def bind(self, endpoint: str) -> str:
        """Bind and return the real endpoint, the kernel's port filled in; raises EndpointError."""
        self._check_usable()
        self._prepare(endpoint)
        try:
            real = self._channel.bind(endpoint)
        except zmq.ZMQError as error:
            raise self._no("bind", endpoint, error) from error
        self.endpoints += (real,)
        return real

    def connect(self, endpoint: str) -> None:
        """Connect, now or when the peer is there; raises EndpointError for what never works."""
        self._check_usable()
        self._prepare(endpoint)
        try:
            self._channel.connect(endpoint)
        except zmq.ZMQError as error:
            raise self._no("connect", endpoint, error) from error
        self.endpoints += (endpoint,)

    def _prepare(self, endpoint: str) -> None:
        try:
            check_port(endpoint)
        except ValueError as error:
            raise EndpointError(f"{self.name}: {error}") from None
        if "://[" in endpoint:
            self.set_option(zmq.IPV6, 1)  # libzmq takes no address in brackets without it

    def unbind(self, endpoint: str) -> None:
        """Undo a bind; raises EndpointError when the endpoint is not bound."""
        self._leave("unbind", self._channel.unbind, endpoint)

    def disconnect(self, endpoint: str) -> None:
        """Undo a connect; raises EndpointError when the endpoint is not connected.

        On a SUB or XSUB that messages of several frames wait for, libzmq 4.3.5 may end the process
        (an assertion in its fq.cpp): close such a stream and open another one instead.
        """
        self._leave("disconnect", self._channel.disconnect, endpoint)

    def _leave(self, verb: str, leave: Callable[[str], object], endpoint: str) -> None:
        self._check_usable()
        try:
            leave(endpoint)
        except zmq.ZMQError as error:
            raise self._no(verb, endpoint, error) from error
        self.endpoints = tuple(e for e in self.endpoints if e != endpoint)

    def _no(self, verb: str, endpoint: str, error: zmq.ZMQError) -> EndpointError:
        return EndpointError(f"{self.name}: cannot {verb} {endpoint}: {reason_of(error)}")

    def set_option(self, option: int, value: int | bytes) -> None:
        """Set a socket option (zmq.SNDHWM, ...); raises OptionError where it does not fit."""
        self._check_usable()
        try:
            self._channel.set_option(option, value)
        except (zmq.ZMQError, TypeError, ValueError, OverflowError) as error:
            raise OptionError(
                f"{self.name}: cannot set {_option_name(option)} to {value!r}: {error}"
            ) from error

    def get_option(self, option: int) -> int | bytes:
        """Return a socket option; raises OptionError where there is none."""
        self._check_usable()
        try:
            return self._channel.get_option(option)
        except (zmq.ZMQError, TypeError, ValueError) as error:
            raise OptionError(
                f"{self.name}: cannot read {_option_name(option)}: {error}"
            ) from error

    def subscribe(self, prefix: bytes) -> None:
        """Receive messages whose first frame begins with `prefix` (SUB only)."""
        self.set_option(zmq.SUBSCRIBE, prefix)

    def unsubscribe(self, prefix: bytes) -> None:
        """Undo one `subscribe` with the same prefix (SUB only)."""
        self.set_option(zmq.UNSUBSCRIBE, prefix)

    # Receiving

    @property
    def receiving(self) -> bool:
        """True while messages are delivered: a hook is set, and nothing pauses or holds it."""
        return self._receiving

    def on_message(self, callback: MessageHook | None) -> None:
        """Deliver messages to `callback(frames)`; None leaves them in the socket.

        When the callback returns an awaitable, nothing more is delivered until that is done.
        """
        self._check_usable()
        self._message_hook = callback
        self._batch_hook = None
        self._update_receiving()

    def on_batch(self, callback: BatchHook) -> None:
        """Deliver up to 100 messages at a time to `callback(messages)`, instead of `on_message`.

        For who does less than a microsecond's work for each. The callback is a plain function, and
        when it raises, the rest of its batch is lost. `on_message(None)` ends it.

        A callback whose messages may take longer asks `turn_is_over()` after each of them, and then
        returns how many it has taken, at least one: the others come again, before later ones.
        """
        self._check_usable()
        self._batch_hook = callback
        self._update_receiving()

    def pause(self) -> None:
        """Deliver nothing until `resume()`; the socket keeps messages up to its high-water mark."""
        self._check_usable()
        self._paused = True
        self._update_receiving()

    def resume(self) -> None:
        """Go on delivering after `pause()`."""
        self._check_usable()
        self._paused = False
        self._update_receiving()

    def turn_is_over(self) -> bool:
        """True when a batch hook shall take no more now: others wait, or the stream is held up."""
        return not self._receiving or self._clock() >= self._turn_ends_at

    def hold_until_done(self, waiting: Awaitable[None]) -> None:
        """Deliver nothing more until `waiting` is done; what it raises goes to `on_error`."""
        self._held_by = self._loop.create_task(await_hook(waiting))
        self._held_by.add_done_callback(self._release)
        self._update_receiving()

    def _update_receiving(self) -> None:
        wanted = (
            (self._message_hook is not None or self._batch_hook is not None)
            and not self._paused
            and self._held_by is None
            and not self.closed
        )
        if wanted and not self._receiving:
            self._channel.start_receiving(self._deliver_batch)
            if self._untaken:
                self._loop.call_soon(self._deliver_untaken)
        elif self._receiving and not wanted:
            self._channel.stop_receiving()
        self._receiving = self._unwatched = wanted
        if self._disconnected:
            self._loop.call_soon(self._tell_disconnected)

    def _deliver_batch(self, frames: list[bytes] | None) -> None:
        """Deliver `frames` and what else waits, until nothing does or a bound is met."""
        if self._batch_hook is not None:
            self._deliver_lists(frames, self._batch_hook)
            return
        clock, receive, hook = self._clock, self._channel_receive, self._message_hook
        if self._untaken:
            receive = self._receive_untaken
            if frames is not None:
                self._untaken.append(frames)
            frames = receive()
        limit = left = self.batch_limit
        longest = self.longest_hook
        self._unwatched = False  # the channel looks again by itself after this turn
        began = clock()
        deadline = began + self.batch_seconds
        while frames is not None and hook is not None:
            left -= 1
            try:
                waiting = hook(frames)
                if waiting is not None and isawaitable(waiting):
                    self.hold_until_done(waiting)
            except (Exception, asyncio.CancelledError) as error:
                self.on_error(as_exception(error))
            now = clock()
            if now - began > longest:
                longest = now - began
            began = now
            if left <= 0 or now >= deadline or not self._receiving:
                break
            frames = receive()
        self.longest_hook = longest
        self._end_turn(limit - left)

    def _deliver_lists(self, frames: list[bytes] | None, hook: BatchHook) -> None:
        """As `_deliver_batch`, in lists of messages: 0.5 us less a message when it is relayed."""
        clock, receive = self._clock, self._channel_receive
        self._unwatched = False
        left = self.batch_limit
        self._turn_ends_at = clock() + self.batch_seconds
        messages, self._untaken = self._untaken, []
        while frames is not None or messages:
            if frames is not None:
                messages.append(frames)
            for _ in range(min(left, _LIST_MESSAGES) - len(messages)):
                if (frames := receive()) is None:
                    break
                messages.append(frames)
            taken = len(messages)
            began = clock()
            try:
                taken = hook(messages) or taken
            except (Exception, asyncio.CancelledError) as error:
                self.on_error(as_exception(error))
            now = clock()
            self.longest_hook = max(self.longest_hook, now - began)
            left -= taken
            self._untaken = messages[taken:]
            if frames is None or left <= 0 or now >= self._turn_ends_at or self._untaken:
                break
            if not self._receiving:
                break
            messages, frames = [], receive()
        self._end_turn(self.batch_limit - left)

    def _end_turn(self, received: int) -> None:
        self.messages_received += received
        self._unwatched = self._receiving
        if self._untaken and self._receiving:
            self._loop.call_soon(self._deliver_untaken)

    def _deliver_untaken(self) -> None:
        """Go on with what a batch hook has left, on a later turn or when nothing holds it up."""
        if self._untaken and self._receiving:
            self._deliver_batch(None)
            self._look_again()  # what it took from the socket may have swallowed an edge

    def _receive_untaken(self) -> list[bytes] | None:
        """Take one message for a message hook that has come in place of a batch hook."""
        return self._untaken.pop(0) if self._untaken else self._channel_receive()

    def _release(self, task: asyncio.Task[None]) -> None:
        self._held_by = None
        if not task.cancelled() and (error := task.exception()) is not None:
            if not isinstance(error, Exception):
                raise error
            self.on_error(error)
        if not self.closed:
            self._update_receiving()

    @property
    def held_by(self) -> asyncio.Task[None] | None:
        """The task of a coroutine hook that is still running, or None."""
        return self._held_by

    # Connections

    def on_disconnected(self, callback: Callable[[], Any] | None) -> None:
        """Call `callback()` after a connection has ended that this side did not end; None: no more.

        A peer that is killed is noticed within milliseconds, one whose machine or link vanishes
        not at all. What had arrived is delivered first, unless the stream is paused; several ends
        may be told at once. A connecting stream connects again by itself. tcp and ipc only.
        """
        self._check_usable()
        if (callback is None) is not (self._disconnected_hook is None):
            self._channel.watch_connections(None if callback is None else self._on_disconnected)
        self._disconnected_hook = callback

    async def is_refused(self, endpoint: str = "", timeout: float = 1.0) -> bool:
        """Ask the host of an endpoint (default: the first one) whether nobody listens there.

        True proves that the process that did is gone, as far as its host can be believed: one
        whose firewall answers with a reset says so too. False says nothing: the process may be
        there, or nobody has answered within `timeout` seconds. tcp and ipc only.
        """
        self._check_usable()
        return await self._channel.is_refused(endpoint or self.endpoint, timeout)

    def _on_disconnected(self) -> None:
        if not self._disconnected:
            self._disconnected = True
            self._loop.call_soon(self._tell_disconnected)

    def _tell_disconnected(self) -> None:
        """Deliver what has arrived, a batch a turn of the loop, then tell."""
        if not self._disconnected or self._held_by is not None or self.closed:
            return
        if self._receiving:
            frames = self._channel_receive()
            if frames is not None or self._untaken:
                self._deliver_batch(frames)
                self._loop.call_soon(self._tell_disconnected)
                return
            self._look_again()  # the look above may have swallowed an edge
        self._disconnected = False
        if self._disconnected_hook is not None:
            try:
                self._disconnected_hook()
            except (Exception, asyncio.CancelledError) as error:
                self.on_error(as_exception(error))

    # Sending

    def send(self, *frames: bytes) -> bool:
        """Send one message: True when it is sent or queued, False when the policy dropped it.

        Raises QueueFull (policy ERROR), StreamClosed, WrongThread, TypeError for frames that are
        no bytes, zmq.ZMQError where libzmq refuses for good (EHOSTUNREACH, a mandatory ROUTER).
        """
        return self._send_now(frames) or self._enqueue(frames)

    def try_send(self, *frames: bytes) -> bool:
        """Send one message now or return False and queue nothing, for senders with a pace.

        Raises what `send` raises, but never QueueFull.
        """
        return self._send_now(frames)

    def try_send_all(self, messages: Sequence[Sequence[bytes]]) -> int:
        """Send messages as `try_send` does, up to the first refusal; returns how many were sent.

        For messages that were received: frames must be bytes and nothing else, which nobody checks.
        """
        self._check_thread()
        if self._unwatched:
            self._look_again_soon()
        if self._queue:
            return 0
        send = self._channel_send
        sent = 0
        try:
            for frames in messages:
                if not send(frames):
                    break
                sent += 1
        finally:
            self.messages_sent += sent
        return sent

    def _send_now(self, frames: tuple[bytes, ...]) -> bool:
        if self._thread != get_ident():
            raise WrongThread(_WRONG_THREAD.format(self.name))
        for frame in frames:
            if type(frame) is not bytes:
                frames = self._as_bytes(frames)
                break
        if self._unwatched:
            self._look_again_soon()  # also a send that is refused can swallow an edge
        if self._queue or not self._channel_send(frames):
            return False
        self.messages_sent += 1
        return True

    def on_writable(self, callback: Callable[[], Any] | None) -> None:
        """Call `callback()` each time the queue has emptied after something had to wait in it."""
        self._check_usable()
        self._writable_hook = callback

    @property
    def queue_length(self) -> int:
        """Messages that wait because the peer takes nothing."""
        return len(self._queue)

    async def flushed(self) -> None:
        """Wait until the queue is empty (or the stream closed); libzmq then holds what it held."""
        if not self._queue:
            return
        if self._emptied is None:
            self._emptied = self._loop.create_future()
        await asyncio.shield(self._emptied)

    def _as_bytes(self, frames: tuple[Any, ...]) -> tuple[bytes, ...]:
        for frame in frames:
            if not isinstance(frame, (bytes, bytearray, memoryview)):
                raise TypeError(f"{self.name}: a frame must be bytes, not {type(frame).__name__}")
        return tuple(bytes(frame) for frame in frames)

    def _look_again_soon(self) -> None:
        """Look for messages after this burst of sends: each of them may have swallowed an edge."""
        self._unwatched = False
        self._loop.call_soon(self._look_again)

    def _look_again(self) -> None:
        if self._receiving and not self.closed:
            self._channel.start_receiving(self._deliver_batch)
            self._unwatched = True

    def _enqueue(self, frames: tuple[bytes, ...]) -> bool:
        queue, frames = self._queue, self._as_bytes(frames)
        if len(queue) >= self.queue_limit:
            if self.policy is Policy.ERROR:
                raise QueueFull(
                    f"{self.name}: the peer takes nothing and {len(queue)} messages wait"
                )
            self.messages_dropped += 1
            if self.policy is Policy.DROP_NEWEST or not queue:
                return False
            queue.popleft()
        queue.append(frames)
        self.queue_peak = max(self.queue_peak, len(queue))
        self._request_flush(waits=self.socket_type == zmq.ROUTER)
        return True

    def _request_flush(self, waits: bool) -> None:
        if self._flush_requested:
            return
        self._flush_requested = True
        if waits:
            self._loop.call_later(self._retry_seconds, self._on_writable)
            self._retry_seconds = min(2 * self._retry_seconds, _RETRY_SECONDS_LIMIT)
        else:
            self._channel.when_writable(self._on_writable)

    def _on_writable(self) -> None:
        self._flush_requested = False
        if not self.closed and self._queue and not self._flush():
            self._request_flush(waits=True)

    def _flush(self) -> bool:
        """Send from the queue until it is empty or the peer is full; True when any was sent."""
        before = len(self._queue)
        deadline = self._clock() + self.batch_seconds
        while self._queue and self._send_first():
            if self._clock() >= deadline:
                break
        if not self._queue:
            self._on_emptied()
        elif len(self._queue) < before:
            self._request_flush(waits=self.socket_type == zmq.ROUTER)
        if self._unwatched:
            self._look_again_soon()
        return len(self._queue) < before

    def _send_first(self) -> bool:
        try:
            if not self._channel_send(self._queue[0]):
                return False
        except zmq.ZMQError as error:
            self.send_errors += 1
            self._queue.popleft()
            self.on_error(error)
            return True
        self._queue.popleft()
        self.messages_sent += 1
        self._retry_seconds = _RETRY_SECONDS
        return True

    def _on_emptied(self) -> None:
        if self._emptied is not None:
            self._emptied.set_result(None)
            self._emptied = None
        if self._writable_hook is not None:
            try:
                self._writable_hook()
            except (Exception, asyncio.CancelledError) as error:
                self.on_error(as_exception(error))

    # Ending

    def close(self, linger_ms: int | None = None) -> None:
        """Close the socket; idempotent.

        What waits in the queue is counted as dropped and logged. What libzmq has taken is sent for
        up to `linger_ms` (default: the stream's own, 0 unless it was asked for at opening).
        """
        if self.closed:
            return
        self._check_thread()
        self.closed = True
        self._receiving = self._unwatched = False
        self._untaken = []
        if self._held_by is not None and self._held_by is not asyncio.current_task(self._loop):
            self._held_by.cancel()  # but a coroutine hook may close its own stream and go on
        if self._queue:
            self.messages_dropped += len(self._queue)
            self._log.warning("closed with messages unsent", dropped=len(self._queue))
            self._queue.clear()
        if self._emptied is not None:
            self._emptied.set_result(None)
            self._emptied = None
        self._channel_send = self._refuse_closed
        if self.socket_type in _ONLY_RECEIVING:
            linger_ms = 0
        self._channel.close(self.linger_ms if linger_ms is None else linger_ms)
        if self.on_closed is not None:
            self.on_closed(self)

    def statistics(self) -> StreamStatistics:
        """Return a frozen snapshot of this stream's counters."""
        return StreamStatistics(
            name=self.name,
            endpoints=self.endpoints,
            messages_received=self.messages_received,
            messages_sent=self.messages_sent,
            messages_dropped=self.messages_dropped,
            send_errors=self.send_errors,
            queue_length=len(self._queue),
            queue_limit=self.queue_limit,
            queue_peak=self.queue_peak,
            longest_hook=self.longest_hook,
        )

    def _check_usable(self) -> None:
        self._check_thread()
        if self.closed:
            raise StreamClosed(f"{self.name}: the stream is closed")

    def _check_thread(self) -> None:
        if self._thread != get_ident():
            raise WrongThread(_WRONG_THREAD.format(self.name))

    def _refuse_closed(self, frames: object) -> bool:
        raise StreamClosed(f"{self.name}: the stream is closed")

    def _log_error(self, error: Exception) -> None:
        self._log.error("hook failed", endpoint=self.endpoint, exc_info=error)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name} {' '.join(self.endpoints)}>"


_WRONG_THREAD = (
    "{}: streams belong to their loop's thread; from another one use reactor.call_soon_threadsafe"
)


def _clock_of(loop: asyncio.AbstractEventLoop) -> Callable[[], float]:
    """Return `loop.time`, or what asyncio's own loops call in it: 30 ns less a message."""
    plain = getattr(type(loop), "time", None) is asyncio.BaseEventLoop.time
    return monotonic if plain else loop.time


def _option_name(option: int) -> str:
    try:
        return zmq.SocketOption(option).name
    except ValueError:
        return f"option {option}"
