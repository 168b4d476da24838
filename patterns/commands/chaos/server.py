"""A server process of the chaos: `python -m patterns.commands.chaos.server`.

The server of `reactor serve clone --role`, watched as in the simulation, with a journal.
"""

from __future__ import annotations

import argparse
import asyncio
import os
from collections.abc import Sequence
from pathlib import Path

from patterns.binary_star.messages import Role
from patterns.clone.server_protocol import ServerState
from patterns.clone.simulation.observed import ObservedServer
from patterns.commands.chaos.asked import answer, contents, orders
from patterns.commands.chaos.journal import Journal
from patterns.commands.chaos.recorders import ServerJournal
from patterns.commands.logs import log_to_stderr
from patterns.commands.replication_options import policy_of
from reactor import Reactor

_HOLDS_SECONDS = 5.0


class Server:
    """The server and what it writes down."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._diary = ServerJournal(Journal(options.journal), options.role)
        self.server = ObservedServer(
            self._diary,
            port=options.port,
            host=options.host,
            role=Role(options.role),
            state_bind=options.state_bind,
            state_connect=options.state_connect,
            peer=options.peer,
            replication=policy_of(options.ack, options.without_peer),
        )

    def write_down(self) -> None:
        """What a passive server holds."""
        protocol = self.server.protocol
        if protocol.state is ServerState.PASSIVE:
            self._diary.holds(protocol.store.snapshot(), protocol.sequence)

    def state(self) -> dict[str, object]:
        """What it is and holds."""
        protocol = self.server.protocol
        return {
            "state": self.server.star_state.value,
            "serving": protocol.serving,
            "sequence": protocol.sequence,
            "entries": contents(protocol.store.snapshot()),
        }


async def main(argv: Sequence[str] | None = None) -> None:
    """Run one server with the arguments of the command line."""
    parser = argparse.ArgumentParser(description="One server of the chaos.")
    parser.add_argument("--journal", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    for name in ("role", "host", "state-bind", "state-connect", "peer", "ack", "without-peer"):
        parser.add_argument(f"--{name}", required=True)
    process = Server(parser.parse_args(argv))
    async with Reactor() as reactor:
        await reactor.register(process.server)
        reactor.periodic(_HOLDS_SECONDS, process.write_down)
        answer(0, ready=os.getpid())
        async for number, _ in orders():
            answer(number, **process.state())


if __name__ == "__main__":
    log_to_stderr("info")
    asyncio.run(main())
