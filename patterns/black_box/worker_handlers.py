"""One worker on a reactor: takes messages, does the work, reports."""

from __future__ import annotations

import asyncio
from asyncio import CancelledError
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from inspect import isawaitable

import zmq

from patterns.black_box.crew import WorkerId
from patterns.black_box.messages import (
    READY,
    STOP,
    WORK,
    Done,
    MalformedMessage,
    decode_work,
    encode_done,
)
from patterns.black_box.work import Work
from reactor import Handler, HandlerSet, PeriodicHandler, Reactor, Stream, StreamHandler
from reactor.errors import as_exception

BEAT_SECONDS = 0.25
GRACE_SECONDS = 2.0
# So long works a worker before it looks at its sockets and reports: what is not reported when it
# dies counts as lost or is done again.
_SLICE_SECONDS = 0.01
# A pump counts as empty when nothing has come for so long after the box has stopped.
_EMPTY_SECONDS = 0.05


@dataclass(frozen=True)
class Post:
    """Where a worker works: whose it is, and where its messages come from.

    `box` is the endpoint of the box. Messages come from there, by credit, unless `source` is an
    endpoint of its own: of a pump (PULL), or with `prefixes` of a feed (SUB).
    """

    worker: WorkerId
    box: str
    source: str = ""
    prefixes: tuple[bytes, ...] = ()
    high_water_mark: int = 1000


class Worker(HandlerSet):
    """One worker on a reactor of its own; ends that reactor when the box says so."""

    def __init__(self, post: Post, work: Work) -> None:
        super().__init__()
        self.post = post
        self.work = work
        self.done = 0
        self.failed = 0
        self._finishing = False
        self._waiting: deque[list[bytes]] = deque()
        self._next = 0  # the number that the next batch has to begin with
        self._busy = False
        self._reported_at = 0.0
        self._reported = 0
        self._source: Stream | None = None

    def build(self) -> Iterable[Handler]:
        """Start the work, then the feed if there is one, and say that all is ready."""
        self.work.shard = self.post.worker.shard
        self._box = self.open_stream(
            zmq.DEALER,
            self.post.box,
            name="box",
            unmarked="connect",
            options={zmq.IDENTITY: self.post.worker.identity, zmq.RCVHWM: 0, zmq.SNDHWM: 0},
        )
        handlers: list[Handler] = [self.work, _Orders(self._box, self), _Beat(self)]
        if self.post.source:
            self._source = self._open_source()
            handlers.append(_Source(self._source, self))
        return handlers

    def on_start(self) -> None:
        """Ask for work."""
        self._box.send(READY)

    def on_stop(self) -> None:
        """Report the last that was done."""
        self.report()

    def report(self) -> None:
        """Tell the box what is done: credit for as much again, and a sign of life."""
        self._box.send(*encode_done(Done(self.done, self.failed)))
        self._reported_at = self.reactor.now()
        self._reported = self.done

    def beat(self) -> None:
        """Give a sign of life, unless the message that is in hand makes no progress."""
        held = self._busy or (self._source is not None and self._source.held_by is not None)
        if not held or self.done > self._reported:
            self.report()

    def abandon(self) -> None:
        """Drop what waits; from any thread. What is in the middle of its work goes on."""
        self._waiting.clear()
        self._finishing = True

    def finish(self) -> None:
        """End as soon as everything is done that has come; idempotent."""
        if self._finishing or self._reactor is None:
            return
        self._finishing = True
        if self._source is not None and not self.post.prefixes:
            self._finish_source(self._source.messages_received)
        elif not self._busy:
            self.reactor.stop()

    def receive_work(self, frames: Sequence[bytes]) -> None:
        """Take a batch; raises MalformedMessage."""
        first, messages = decode_work(frames)
        if first != self._next:
            # A hole would go unnoticed for ever, and the box's books would never be right again.
            raise SystemExit(f"batch {first} came, and {self._next} was due")
        self._next += len(messages)
        self._waiting.extend(messages)
        if not self._busy:
            self._busy = True
            self._run()

    def do(self, frames: list[bytes]) -> Awaitable[None] | None:
        """Do the work of one message, and count it; what it raises is counted and logged."""
        try:
            waiting = self.work.on_message(frames)
            if waiting is not None and isawaitable(waiting):
                return self._finish_one(waiting)
        except (Exception, CancelledError) as error:
            self._fail(as_exception(error))
        self.done += 1
        return None

    async def _finish_one(self, waiting: Awaitable[None]) -> None:
        try:
            await waiting
        except (Exception, CancelledError) as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise  # ours: the worker is ended, and not something that the work has asked
            self._fail(as_exception(error))
        self.done += 1

    def _fail(self, error: Exception) -> None:
        self.failed += 1
        self.work._hook_failed(error)

    def _run(self) -> None:
        """Work for a slice of time, report, and come back if anything is left."""
        waiting, work, clock = self._waiting, self.work.on_message, self.reactor.now
        deadline = clock() + _SLICE_SECONDS
        # The hot loop: as `do`, without its call, which would cost a tenth of an idle worker.
        while waiting and clock() < deadline:
            try:
                pending = work(waiting.popleft())
                if pending is not None and isawaitable(pending):
                    self.reactor.spawn(self._run_after(self._finish_one(pending)))
                    return
            except (Exception, CancelledError) as error:
                self._fail(as_exception(error))
            self.done += 1
        self._busy = bool(waiting)
        self.report()
        if self._busy:
            self.reactor.loop.call_soon(self._run)
        elif self._finishing:
            self.reactor.stop()

    async def _run_after(self, pending: Awaitable[None]) -> None:
        await pending
        if self.reactor.now() >= self._reported_at + _SLICE_SECONDS:
            self.report()
        self._run()

    def _open_source(self) -> Stream:
        post = self.post
        options: dict[int, int | bytes] = {zmq.RCVHWM: post.high_water_mark}
        kind = zmq.SUB if post.prefixes else zmq.PULL
        return self.open_stream(
            kind,
            *post.source.split(","),
            name="source",
            unmarked="connect",
            subscribe=post.prefixes,
            options=options,
        )

    def _finish_source(self, received: int) -> None:
        def look() -> None:
            assert self._source is not None
            now = self._source.messages_received
            self.reactor.stop() if now == received else self._finish_source(now)

        self.reactor.call_later(_EMPTY_SECONDS, look)


class _Orders(StreamHandler):
    """Takes batches and the order to stop from the box."""

    peer_errors = (MalformedMessage,)

    def __init__(self, stream: Stream, worker: Worker) -> None:
        super().__init__(stream)
        self._worker = worker

    def on_message(self, frames: list[bytes]) -> None:
        if frames[0] == WORK:
            self._worker.receive_work(frames)
        elif frames[0] == STOP:
            self._worker.finish()
        else:
            self.refuse("neither work nor a stop", begins=frames[0][:80])


class _Source(StreamHandler):
    """Takes messages from a pump or straight from a feed."""

    def __init__(self, stream: Stream, worker: Worker) -> None:
        super().__init__(stream)
        self._do = worker.do

    def on_message(self, frames: list[bytes]) -> Awaitable[None] | None:
        return self._do(frames)


class _Beat(PeriodicHandler):
    """Reports now and then even if nothing has come."""

    interval = BEAT_SECONDS

    def __init__(self, worker: Worker) -> None:
        super().__init__()
        self._worker = worker

    def on_tick(self) -> None:
        self._worker.beat()


async def work_at(
    post: Post, work: Work, on_running: Callable[[Reactor, Worker], None] | None = None
) -> None:
    """Run one worker until its box ends it; `on_running` is called when it can be stopped."""
    worker = Worker(post, work)
    async with Reactor(stop_timeout=GRACE_SECONDS, lag_interval=None) as reactor:
        await reactor.register(worker)
        if on_running is not None:
            on_running(reactor, worker)
        await reactor.stopped()
