"""The foreman: starts a box's workers, hears their reports, replaces those that die."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

import zmq

from patterns.black_box.crew import (
    BuryWorker,
    Crew,
    Effect,
    KillWorker,
    StartWorker,
    StopWorker,
    WorkerId,
)
from patterns.black_box.messages import DONE, READY, STOP, MalformedMessage, decode_done
from patterns.black_box.private import PrivateEndpoint
from patterns.black_box.spawning import Running, Spawner
from patterns.black_box.worker_handlers import BEAT_SECONDS, Post
from reactor import Handler, HandlerSet, PeriodicHandler, ReactorError, Stream, StreamHandler

# What a worker has said before it died may still be on its way when its end is known.
_LAST_WORDS_SECONDS = 0.05
# Of the time that a stop may take, this much is kept for workers that have to be killed.
_KILLING_SECONDS = 0.1


class WorkerFailed(ReactorError):
    """The workers of a box did not get ready when it started."""


class Box(Protocol):
    """What a foreman tells its box; shards are numbers."""

    def receive_ready(self, shard: int) -> None:
        """A fresh worker is there."""

    def receive_done(self, worker: WorkerId, done: int, failed: int) -> None:
        """A worker has handled so many messages since it was started."""

    def receive_death(self, worker: WorkerId, cause: str) -> None:
        """A worker has ended."""


class Foreman(HandlerSet):
    """Keeps one worker a shard alive, on one ROUTER that all of them connect to.

    `post_of(worker, endpoint)` says what a worker is told when it starts. The endpoint is one that
    only this user can reach, unless one is given.
    """

    name = "BlackBox.workers"

    def __init__(
        self,
        box: Box,
        spawner: Spawner,
        crew: Crew,
        post_of: Callable[[WorkerId, str], Post] = Post,
        endpoint: str = "",
    ) -> None:
        super().__init__()
        self.crew = crew
        self.pids: dict[int, int | None] = {}
        self._box = box
        self._spawner = spawner
        self._post_of = post_of
        self._bind_to = endpoint
        self._running: dict[WorkerId, Running] = {}
        self._changed: asyncio.Event | None = None
        self._begun = False
        self._stop_by = 0.0
        self._start_failure = ""
        self._private: PrivateEndpoint | None = None

    def build(self) -> Iterable[Handler]:
        """Bind, listen, tick; then start the workers and wait until all are ready."""
        self._changed = asyncio.Event()
        try:
            self._listener = _Listener(self._open_reports(), self)
        except BaseException:
            self._remove_endpoint()
            raise
        return [self._listener, _Ticker(self), _Starter(self)]

    async def on_stop(self) -> None:
        """Have the workers finish what they hold, and end those that do not."""
        self.begin_stop()
        try:
            self.carry_out(self.crew.stop(self.reactor.now()))
            patience = self._stop_by - _KILLING_SECONDS - self.reactor.now()
            await self.wait_for(lambda: self.crew.all_absent, max(0.0, patience))
        finally:
            self.carry_out(self.crew.kill_all())
            self._remove_endpoint()
        await self.wait_for(lambda: self.crew.all_absent, _KILLING_SECONDS)

    def begin_stop(self) -> None:
        """Hear reports again, although the reactor stops; idempotent, and counts the time."""
        self._stop_by = self._stop_by or self.reactor.now() + self.reactor.stop_timeout
        if not self._listener.stream.closed:
            self._listener.stream.on_message(self._listener.on_message)

    def send(self, shard: int, frames: Sequence[bytes]) -> bool:
        """Send to the worker of a shard; False when it is not there any more."""
        worker = self.crew.worker(shard)
        try:
            return self._listener.stream.send(worker.identity, *frames)
        except zmq.ZMQError:
            return False  # gone without a word: its end will be noticed, and what it held counted

    async def wait_for(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Wait until `condition()` holds, at most so long; it is looked at after each report."""
        assert self._changed is not None
        try:
            async with asyncio.timeout(seconds):
                while not condition():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            return False
        return True

    async def start_all(self) -> None:
        """Start every worker and wait until each is ready; raises WorkerFailed."""
        try:
            self.carry_out(self.crew.tick(self.reactor.now()))
            await self.wait_for(
                lambda: self.crew.all_ready or bool(self._start_failure), self.crew.start_patience
            )
            if not self.crew.all_ready:
                raise WorkerFailed(self._start_failure or "the workers are not ready in time")
            self._begun = True
        except BaseException:
            self.carry_out(self.crew.kill_all("the box has not started"))
            self._remove_endpoint()
            raise

    # What arrives

    def receive(self, worker: WorkerId, frames: Sequence[bytes]) -> None:
        """A worker says something; raises MalformedMessage."""
        now = self.reactor.now()
        if frames == [READY]:
            if not self.crew.receive_ready(worker, now):
                raise MalformedMessage(f"nobody waits for worker {worker}")
            self._box.receive_ready(worker.shard)
        elif frames[0] == DONE:
            done, failed = decode_done(frames)
            if self.crew.receive_beat(worker, now):  # if not, it was counted as dead
                self._box.receive_done(worker, done, failed)
        else:
            raise MalformedMessage("neither ready nor done")
        self._note_change()

    def receive_exit(self, worker: WorkerId, cause: str) -> None:
        """A worker has ended, and everything it has said was heard."""
        if self._reactor is None:
            return  # so has the box
        self._running.pop(worker, None)
        if not self._begun:
            self._start_failure = (
                f"worker {worker.shard} has ended before its first message: {cause}"
            )
            self.crew.stop(self.reactor.now())
        self.carry_out(self.crew.receive_exit(worker, cause, self.reactor.now()))
        self._note_change()

    def tick(self) -> None:
        """Time has passed."""
        self.carry_out(self.crew.tick(self.reactor.now()))

    # What the rules say

    def carry_out(self, effects: list[Effect]) -> None:
        """Do what the rules say, in their order, at once."""
        for effect in effects:
            match effect:
                case StartWorker(worker):
                    self._start(worker)
                case StopWorker(worker):
                    self.send(worker.shard, (STOP,))
                case KillWorker(worker, cause):
                    self.log.warning("worker killed", worker=worker, cause=cause)
                    self._kill(worker)
                case BuryWorker(worker, cause):
                    self._box.receive_death(worker, cause)

    def _open_reports(self) -> Stream:
        return self.open_stream(
            zmq.ROUTER,
            self._bind_to or self._private_endpoint(),
            name="reports",
            unmarked="bind",
            # Credit bounds what is under way; ROUTER_MANDATORY tells when a worker is not there.
            options={zmq.RCVHWM: 0, zmq.SNDHWM: 0, zmq.ROUTER_MANDATORY: 1},
        )

    def _private_endpoint(self) -> str:
        self._private = PrivateEndpoint()
        return str(self._private)

    def _remove_endpoint(self) -> None:
        if self._private is not None:
            self._private.remove()

    def _start(self, worker: WorkerId) -> None:
        post = self._post_of(worker, self._listener.stream.endpoint)
        loop = self.reactor.loop

        def on_exit(cause: str) -> None:
            try:
                loop.call_soon_threadsafe(self._exit_known, worker, cause)
            except RuntimeError:
                pass  # the loop has ended, and everything with it

        try:
            running = self._spawner.start(post, on_exit)
        except Exception as error:  # no process to be had just now, or work that cannot be made
            on_exit(f"cannot be started: {error}")
            return
        self._running[worker] = running
        self.pids[worker.shard] = running.pid

    def _exit_known(self, worker: WorkerId, cause: str) -> None:
        """See what the worker has still said, and only then count it as dead."""
        if self._reactor is not None:
            # Not a timer of the reactor: those are cancelled when a stop begins.
            loop = self._reactor.loop
            loop.call_later(_LAST_WORDS_SECONDS, self.receive_exit, worker, cause)

    def _kill(self, worker: WorkerId) -> None:
        running = self._running.get(worker)
        if running is not None:
            running.kill()

    def _note_change(self) -> None:
        if self._changed is not None:
            self._changed.set()


class _Listener(StreamHandler):
    """Takes what workers report: [identity, READY] or [identity, DONE, counts]."""

    name = "BlackBox.reports"
    peer_errors = (MalformedMessage,)

    def __init__(self, stream: Stream, foreman: Foreman) -> None:
        super().__init__(stream)
        self._foreman = foreman

    def on_message(self, frames: list[bytes]) -> None:
        identity, *report = frames
        worker = WorkerId.from_identity(identity)
        if worker is None or not report:
            raise MalformedMessage("this comes from no worker")
        self._foreman.receive(worker, report)


class _Ticker(PeriodicHandler):
    """Has the rules look for workers that are silent, or due."""

    name = "BlackBox.ticks"
    interval = BEAT_SECONDS / 2

    def __init__(self, foreman: Foreman) -> None:
        super().__init__()
        self._foreman = foreman

    def on_tick(self) -> None:
        self._foreman.tick()


class _Starter(Handler):
    """Starts the workers; the next handler starts when all are ready."""

    name = "BlackBox.start"

    def __init__(self, foreman: Foreman) -> None:
        self._foreman = foreman

    async def on_start(self) -> None:
        await self._foreman.start_all()
