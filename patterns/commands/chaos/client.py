"""A client process of the chaos: `python -m patterns.commands.chaos.client`.

It follows some subtrees, and writes so many times a second until it hears `quiet`; `go` lets it
write again, and any other word asks what it holds.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
from collections.abc import Sequence
from pathlib import Path

from patterns.clone.client import ClientState
from patterns.clone.numbered import NumberedUuids
from patterns.clone.outbox import OutboxFull
from patterns.clone.simulation.history import Write
from patterns.clone.simulation.observed import ObservedClient
from patterns.commands.chaos.asked import answer, contents, orders
from patterns.commands.chaos.journal import Journal
from patterns.commands.chaos.recorders import ClientJournal
from patterns.commands.chaos.workload import WRITES_OF_A_LIFE, next_operation
from patterns.commands.logs import log_to_stderr
from reactor import Reactor

_UNANSWERED = 400  # writes that wait, with which a writer pauses


class Client:
    """A client, what it writes, and what it writes down."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._name = options.name
        self._chance = random.Random(f"{options.seed} {options.name} {options.life}")
        self._number = options.life * WRITES_OF_A_LIFE
        self._levels = options.levels
        self._writing = True
        self.client = ObservedClient(
            ClientJournal(Journal(options.journal), options.name),
            options.server,
            options.subtree or b"",
            make_uuid=NumberedUuids(lambda: os.urandom(16)),
        )

    def hear(self, word: str) -> None:
        """Write, or write no more."""
        self._writing = {"go": True, "quiet": False}.get(word, self._writing)

    def write(self) -> None:
        """The next operation, unless too many are not answered."""
        waiting = self.client.protocol.statistics().unacknowledged
        if (
            not self._writing
            or self.client.state is ClientState.CONNECTING
            or waiting > _UNANSWERED
        ):
            return
        self._number += 1
        operation = next_operation(self._chance, self._name, self._number, self._levels)
        write = Write(
            self._name,
            self._number,
            operation.key,
            operation.body,
            invoked=self.client.reactor.now(),
            ttl=operation.ttl,
            level=operation.level,
            compares=operation.conditional,
        )
        try:
            self.client.write(write)
        except OutboxFull:
            pass

    def state(self) -> dict[str, object]:
        """What it is and holds."""
        protocol = self.client.protocol
        return {
            "state": protocol.state.value,
            "unanswered": protocol.statistics().unacknowledged,
            "entries": contents(protocol.store.snapshot()),
        }


async def main(argv: Sequence[str] | None = None) -> None:
    """Run one client with the arguments of the command line."""
    parser = argparse.ArgumentParser(description="One client of the chaos.")
    parser.add_argument("--name", required=True)
    parser.add_argument("--life", type=int, default=0)
    parser.add_argument("--journal", type=Path, required=True)
    parser.add_argument("--server", action="append", required=True)
    parser.add_argument("--subtree", action="append")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rate", type=float, default=0.0, help="writes a second")
    parser.add_argument("--levels", action="store_true", help="some writes ask for `replicated`")
    options = parser.parse_args(argv)
    process = Client(options)
    async with Reactor() as reactor:
        await reactor.register(process.client)
        if options.rate:
            reactor.periodic(1 / options.rate, process.write)
        answer(0, ready=os.getpid())
        async for number, word in orders():
            process.hear(word)
            answer(number, **process.state())


if __name__ == "__main__":
    log_to_stderr("warning")
    asyncio.run(main())
