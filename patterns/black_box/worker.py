"""The process of one worker: `python -m patterns.black_box.worker`, as its box starts it.

It holds the reading end of a pipe whose other end only the box has: when the box is gone, for
whatever reason, the pipe ends, and the worker finishes what it holds and ends too.
"""

from __future__ import annotations

import argparse
import asyncio
import faulthandler
import os
import signal
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress

import structlog

from patterns.black_box.crew import WorkerId
from patterns.black_box.private import remove_left
from patterns.black_box.work import EX_CONFIG, NoSuchWork, make_work
from patterns.black_box.worker_handlers import GRACE_SECONDS, Post, Worker, work_at
from reactor import Reactor

# The dead man's switch: a worker whose loop stands still so long is ended by a thread of C. It is
# for work that hangs with the interpreter's lock when the box, whose patience is shorter, is gone.
_STANDSTILL_SECONDS = 3600.0


def main(argv: Sequence[str] | None = None) -> int:
    """Work as a process, until the box says so or is gone."""
    parser = argparse.ArgumentParser(prog="python -m patterns.black_box.worker")
    parser.add_argument("--box", required=True, help="the endpoint of the box")
    parser.add_argument("--shard", type=int, required=True)
    parser.add_argument("--incarnation", type=int, default=1)
    parser.add_argument("--work", required=True, help="module:function")
    parser.add_argument("--source", default="", help="take messages from there, not from the box")
    parser.add_argument("--prefix", action="append", default=[], help="hexadecimal")
    parser.add_argument("--high-water-mark", type=int, default=1000)
    parser.add_argument("--core", type=int, action="append", help="run there; may be repeated")
    options = parser.parse_args(argv)
    post = Post(
        WorkerId(options.shard, options.incarnation),
        options.box,
        options.source,
        tuple(bytes.fromhex(prefix) for prefix in options.prefix),
        options.high_water_mark,
    )
    if options.core:
        os.sched_setaffinity(0, options.core)  # before any thread of libzmq is started
    return _work_as_process(post, options.work)


def _work_as_process(post: Post, path: str) -> int:
    leash = _Leash(post)  # first of all: the import of the work may take its time, or hang
    # This is a program of its own, not a library: its logs go where no data goes. The work's module
    # is imported later and may decide otherwise.
    structlog.configure_once(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the box's, which then stops us
    try:
        work = make_work(path)
    except NoSuchWork as error:
        structlog.get_logger("reactor").error("the worker has no work", reason=str(error))
        return EX_CONFIG
    asyncio.run(work_at(post, work, leash.tie))
    faulthandler.cancel_dump_traceback_later()
    return 0


class _Leash:
    """Ends this process when its box is gone, or when its loop stands still for good."""

    def __init__(self, post: Post) -> None:
        self._post = post
        self._parent = os.getppid()
        self._inside: tuple[Reactor, Worker] | None = None
        threading.Thread(target=self._wait, name="leash", daemon=True).start()

    def tie(self, reactor: Reactor, worker: Worker) -> None:
        """Let the worker finish what it holds before the process ends, also at a SIGTERM."""
        self._inside = (reactor, worker)
        reactor.loop.add_signal_handler(signal.SIGTERM, worker.finish)
        self._look()
        reactor.periodic(1.0, self._look)

    def _look(self) -> None:
        faulthandler.dump_traceback_later(_STANDSTILL_SECONDS, exit=True)
        if os.getppid() != self._parent:  # the pipe can be held open by a fork of the box
            self._pull()

    def _wait(self) -> None:
        while os.read(sys.stdin.fileno(), 4096):
            pass
        remove_left(self._post.box)
        if not self._post.prefixes:
            remove_left(self._post.source)
        self._pull()

    def _pull(self) -> None:
        watchdog = threading.Timer(GRACE_SECONDS, os._exit, (1,))
        watchdog.daemon = True
        watchdog.start()
        if self._inside is not None:
            reactor, worker = self._inside
            with suppress(RuntimeError):  # the loop has ended already
                reactor.call_soon_threadsafe(worker.finish)


if __name__ == "__main__":
    raise SystemExit(main())
