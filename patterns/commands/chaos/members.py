"""The processes of the chaos: each has lives, a journal for each, and answers what it is asked."""

from __future__ import annotations

import asyncio
import itertools
import json
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from patterns.commands.chaos.journal import Journal
from patterns.commands.chaos.network import Network
from patterns.commands.children import Child, ChildFailed, Children

START_SECONDS = 30.0
_MODULE = "patterns.commands.chaos."

Answer = dict[str, Any]


class Member:
    """One process, again and again: `kind` is its module, `arguments` those of all its lives."""

    def __init__(
        self,
        kind: str,
        name: str,
        arguments: Sequence[str],
        *,
        children: Children,
        network: Network,
        journal: Journal,
    ) -> None:
        self.kind = kind
        self.name = name
        self.life = 0
        self.on_exit: Callable[[Member], object] = lambda member: None
        self._arguments = list(arguments)
        self._children = children
        self._network = network
        self._journal = journal
        self._child: Child | None = None
        self._hearing: asyncio.Task[None] | None = None
        self._numbers = itertools.count(1)
        self._asked: dict[int, asyncio.Future[Answer]] = {}
        self._ended = asyncio.Event()
        self._to_end = False

    @property
    def pid(self) -> int | None:
        """The process that runs now."""
        return self._child.pid if self._child is not None else None

    @property
    def log(self) -> Path:
        """The log of all its lives."""
        return self._children.logs / f"{self.name}.log"

    async def start(self) -> None:
        """Begin a life, and wait until it is ready. Raises ChildFailed."""
        self.life += 1
        journal = self._children.logs / f"{self.name}.{self.life}.jsonl"
        journal.touch()
        self._journal.write("born", who=self.name, kind=self.kind, life=self.life)
        self._to_end = False
        self._ended.clear()
        life = ("--life", str(self.life)) if self.kind != "server" else ()
        self._child = child = await self._children.start(
            self.name,
            *("-W", "error", "-m", _MODULE + self.kind, "--journal", str(journal)),
            *(*self._arguments, *life),
            before=self._network.command(self.name),
        )
        ready = self._asked[0] = asyncio.get_running_loop().create_future()
        self._hearing = asyncio.create_task(self._hear(child))
        try:
            async with asyncio.timeout(START_SECONDS):
                await ready
        except TimeoutError:
            raise ChildFailed(f"{self.name} is not ready after {START_SECONDS:g} s") from None

    async def _hear(self, child: Child) -> None:
        try:
            while True:
                answer = json.loads(await child.hear(None))
                future = self._asked.pop(answer["answer"], None)
                if future is not None and not future.done():
                    future.set_result(answer)
        except ChildFailed as failure:
            self._child = None
            self._journal.write("dead", who=self.name, expected=self._to_end)
            for future in self._asked.values():
                if not future.done():
                    future.set_exception(failure)
                    future.exception()
            self._asked.clear()
            self._ended.set()
            if not self._to_end:
                self.on_exit(self)

    async def ask(self, word: str, timeout: float) -> Answer | None:
        """What it answers, None if it does not within `timeout` seconds or is not there."""
        if self._child is None:
            return None
        number = next(self._numbers)
        future = self._asked[number] = asyncio.get_running_loop().create_future()
        self._child.tell(f"{number} {word}")
        try:
            async with asyncio.timeout(timeout):
                answer: Answer = await future
                return answer
        except (TimeoutError, ChildFailed):
            self._asked.pop(number, None)
            return None

    async def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        if self._child is None:
            return
        self._to_end = True
        self._child.signal(signal.SIGKILL)
        await self._ended.wait()

    def stop(self) -> None:
        """Have it stand still."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Have it go on."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        if self._child is not None:
            self._child.signal(number)

    def expect_end(self) -> None:
        """It is about to be ended with all others."""
        self._to_end = True
