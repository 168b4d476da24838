"""Starts workers, as processes or as threads, and tells when they have ended."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from patterns.black_box.work import EX_CONFIG, AnyWork, make_work, path_of
from patterns.black_box.worker_handlers import Post, Worker, work_at
from reactor import Reactor

OnExit = Callable[[str], None]
"""Called from any thread, once, when the worker has ended: says how."""


class Running(Protocol):
    """A worker that was started."""

    pid: int | None

    def kill(self) -> None:
        """End it at once; idempotent. `on_exit` is still called."""


class Spawner(Protocol):
    """Starts workers of one kind."""

    def start(self, post: Post, on_exit: OnExit) -> Running:
        """Start a worker, which connects to its box and reports there."""


class ProcessSpawner:
    """Starts each worker as a fresh interpreter, never by a fork of this one.

    `work` is named by its import path, or a function or class of a module, also of the main
    program's file. With `cores`, the worker of shard n runs on the core `cores[n % len(cores)]`.
    Raises NoSuchWork for work without a name, ValueError for a core that is not there.
    """

    def __init__(self, work: AnyWork, cores: Sequence[int] = ()) -> None:
        self._path = path_of(work)
        self._cores = tuple(cores)
        check_cores(self._cores)
        self._allowed = _affinity()

    def start(self, post: Post, on_exit: OnExit) -> Running:
        """Start a process; a thread waits for its end."""
        process = subprocess.Popen(
            self._command(post), stdin=subprocess.PIPE, env=_environment(), close_fds=True
        )
        running = _RunningProcess(process)
        threading.Thread(
            target=running.watch, args=(on_exit,), name=f"watch-{process.pid}", daemon=True
        ).start()
        return running

    def _command(self, post: Post) -> list[str]:
        shard, incarnation = post.worker
        command = [sys.executable, "-m", "patterns.black_box.worker", f"--box={post.box}"]
        command += [f"--shard={shard}", f"--incarnation={incarnation}", f"--work={self._path}"]
        if post.source:
            command += [f"--source={post.source}", f"--high-water-mark={post.high_water_mark}"]
            command += [f"--prefix={prefix.hex()}" for prefix in post.prefixes]
        return command + [f"--core={core}" for core in self._cores_of(shard)]

    def _cores_of(self, shard: int) -> Iterable[int]:
        if self._cores:
            return [self._cores[shard % len(self._cores)]]
        # A child inherits the cores of the thread that starts it, which a box may have pinned.
        return [] if _affinity() == self._allowed else self._allowed


class _RunningProcess:
    """A process; our end of its standard input ends when we do, which it notices."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.pid: int | None = process.pid
        self._process = process

    def kill(self) -> None:
        self._process.kill()

    def watch(self, on_exit: OnExit) -> None:
        status = self._process.wait()
        assert self._process.stdin is not None
        self._process.stdin.close()
        on_exit(_cause(status))


def _cause(status: int) -> str:
    """Say how a process has ended."""
    if status < 0:
        return f"killed by signal {-status}"
    if status == EX_CONFIG:
        return f"exit status {status}: it cannot find its work, and has logged why"
    return f"exit status {status}"


def check_cores(cores: Iterable[int]) -> None:
    """Raise ValueError if this process may not run on one of the cores."""
    if strange := set(cores) - _affinity():
        allowed = ", ".join(map(str, sorted(_affinity()))) or "none that can be chosen here"
        raise ValueError(f"there is no core {min(strange)} for this process: it has {allowed}")


def _affinity() -> set[int]:
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()


def _environment() -> dict[str, str]:
    """Return our environment, with our import path: what we can import, a worker can too."""
    path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
    return {**os.environ, "PYTHONPATH": path}


class ThreadSpawner:
    """Starts each worker as a thread with a loop of its own.

    That helps where the work gives up the interpreter's lock, or waits. A thread cannot be killed:
    it is abandoned, which means that it ends after the message that it is at.
    """

    def __init__(self, work: AnyWork) -> None:
        self._work = work

    def start(self, post: Post, on_exit: OnExit) -> Running:
        """Start a thread; raises NoSuchWork."""
        running = _RunningThread(post, self._work, on_exit)
        running.thread.start()
        return running


class _RunningThread:
    pid: int | None = None

    def __init__(self, post: Post, work: AnyWork, on_exit: OnExit) -> None:
        self._post = post
        self._work = make_work(work)
        self._on_exit: OnExit | None = on_exit
        self._lock = threading.Lock()
        self._inside: tuple[Reactor, Worker] | None = None
        self._killed = False
        self.thread = threading.Thread(
            target=self._run, name=f"worker-{post.worker.identity.decode()}", daemon=True
        )

    def kill(self) -> None:
        with self._lock:
            self._killed = True
            inside = self._inside
        if inside is not None:
            self._abandon(*inside)
        self._report("abandoned")

    def _run(self) -> None:
        cause = "ended"
        try:
            asyncio.run(work_at(self._post, self._work, self._entered))
        except BaseException as error:
            cause = f"ended by {error!r}"
        self._report(cause)

    def _entered(self, reactor: Reactor, worker: Worker) -> None:
        with self._lock:
            self._inside = (reactor, worker)
            killed = self._killed
        if killed:
            self._abandon(reactor, worker)

    def _abandon(self, reactor: Reactor, worker: Worker) -> None:
        worker.abandon()
        try:
            reactor.call_soon_threadsafe(reactor.stop, True)
        except RuntimeError:
            pass  # its loop has ended already

    def _report(self, cause: str) -> None:
        with self._lock:
            on_exit, self._on_exit = self._on_exit, None
        if on_exit is not None:
            on_exit(cause)
