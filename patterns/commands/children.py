"""Processes that a command starts: each has its log in a file, and none outlives it."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Coroutine, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

T = TypeVar("T")

# A client of the demo tells its state in one line: some 15,000 keys of 60 characters.
_LINE_LIMIT = 64 << 20
_GRACE_SECONDS = 2.0


class ChildFailed(Exception):
    """A process ended or fell silent; the text has the end of its log."""


class Child:
    """A Python process that says and hears lines."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, log: Path) -> None:
        self.name = name
        self.log = log
        self._process = process

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self._process.pid

    async def hear(self, timeout: float | None) -> str:
        """The next line it says; raises ChildFailed if it ends or says nothing for `timeout` s."""
        assert self._process.stdout is not None
        try:
            # Not wait_for, which until Python 3.12 may forget that it was cancelled.
            async with asyncio.timeout(timeout):
                line = await self._process.stdout.readline()
        except TimeoutError:
            raise ChildFailed(f"{self.name} said nothing for {timeout:g} s{self._tail()}") from None
        if not line:
            status = await self._process.wait()
            raise ChildFailed(f"{self.name} ended with status {status}{self._tail()}")
        return line.decode().rstrip("\n")

    def tell(self, line: str) -> None:
        """Write a line to its standard input."""
        assert self._process.stdin is not None
        self._process.stdin.write(line.encode() + b"\n")

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, if it is still there."""
        if self._process.returncode is None:
            self._process.send_signal(number)

    async def end(self) -> None:
        """Ask it to end, and kill it if that takes more than a moment."""
        self.signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(_GRACE_SECONDS):
                await self._process.wait()
        except TimeoutError:
            self.signal(signal.SIGKILL)
            await self._process.wait()

    def _tail(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines()[-5:]
        return "".join(f"\n    {line}" for line in lines)


class Children:
    """Starts processes, and ends those that are left at the end of its `async with` block.

    Their logs go to files in the folder `logs`; `variables` are added to their environment.
    """

    def __init__(self, logs: Path, variables: Mapping[str, str] | None = None) -> None:
        self.logs = logs
        self._variables = dict(variables or {})
        self._children: list[Child] = []

    async def start(self, name: str, *arguments: str, before: Sequence[str] = ()) -> Child:
        """Start `python *arguments`; its standard error goes to `name`.log.

        `before` is a command that runs another one, the rest of its line, in its own place.
        """
        log = self.logs / f"{name}.log"
        with log.open("ab") as output:
            process = await asyncio.create_subprocess_exec(
                *before,
                sys.executable,
                "-P",  # whatever lies in the current directory is not to be imported
                *arguments,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=output,
                limit=_LINE_LIMIT,
                env={**os.environ, **self._variables, "PYTHONPATH": _import_path()},
            )
        child = Child(name, process, log)
        self._children.append(child)
        return child

    async def __aenter__(self) -> Children:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Ask each to end, and kill what has not after a moment."""
        # Also if this is cancelled: a second Ctrl-C must not leave a server behind.
        try:
            await asyncio.gather(*(child.end() for child in self._children))
        finally:
            for child in self._children:
                child.signal(signal.SIGKILL)


async def together(*work: Coroutine[Any, Any, T]) -> list[T]:
    """Run all at once and return what they return; the first failure cancels the others.

    They have ended when it is raised: none starts a process that nobody would end.
    """
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(each) for each in work]
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return [task.result() for task in tasks]


async def until_told(work: Coroutine[Any, Any, T]) -> T:
    """Have SIGTERM do what asyncio has Ctrl-C do: cancel `work`, and so end its processes."""
    task = asyncio.ensure_future(work)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await task


def _import_path() -> str:
    """What this process imports from, so that the children run the same code."""
    return os.pathsep.join(entry or os.getcwd() for entry in sys.path)
