"""Carries out what a schedule says, on the processes and their links, and heals it."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections import Counter
from collections.abc import Callable, Sequence

from patterns.commands.chaos.cluster import BACKUP, LATE, PRIMARY, SERVERS, STEADY, Cluster
from patterns.commands.chaos.journal import Journal
from patterns.commands.chaos.members import START_SECONDS
from patterns.commands.chaos.proxy import Flow
from patterns.commands.chaos.schedule import BACK, THERE, Fault

# What the simulation's checker calls it. A proxy delays piece by piece: what is sent piles up then.
_CHECKED_AS = {
    "kill": "crash",
    "stop": "pause",
    "unplug": "cut",
    "cut": "cut",
    "reset": "cut",
    "delay": "trickle",
    "trickle": "trickle",
}


class Faults:
    """Hurts a cluster. `counts` is by name."""

    def __init__(self, cluster: Cluster, journal: Journal, chance: random.Random) -> None:
        self.counts: Counter[str] = Counter()
        self.last = ""
        self._cluster = cluster
        self._journal = journal
        self._chance = chance
        self._numbers = itertools.count(1)

    async def at_servers(self, fault: Fault, pair: dict[str, str]) -> None:
        """Carry out a fault of the servers; `pair` says who is active and who is passive."""
        nodes = SERVERS if fault.target == "pair" else (pair[fault.target],)
        await self._carry_out(fault, nodes)

    async def at_clients(self, fault: Fault) -> None:
        """Carry out a fault of some client."""
        names = [name for name in self._cluster.clients if name != LATE]
        if fault.kind == "kill":
            names.remove(STEADY) if STEADY in names else None
        name = self._chance.choice(names)
        server = self._chance.choice(SERVERS)
        await self._carry_out(fault, (name,) if fault.target == "client" else (name, server))

    async def _carry_out(self, fault: Fault, nodes: Sequence[str]) -> None:
        number = next(self._numbers)
        lasting = fault.seconds + (START_SECONDS if fault.kind == "kill" else 0.0)
        self._journal.write(
            "fault",
            number=number,
            kind=_CHECKED_AS[fault.kind],
            nodes=nodes,
            until=self._journal.clock() + lasting,
            name=fault.name,
        )
        self.counts[fault.name] += 1
        self.last = f"{fault.name} ({' - '.join(nodes)}), {fault.seconds:g} s"
        try:
            await self._hurt(fault, nodes)
        finally:
            self._journal.write("healed", number=number)

    async def _hurt(self, fault: Fault, nodes: Sequence[str]) -> None:
        match fault.kind:
            case "kill":
                await self._kill(nodes[0], fault.seconds)
            case "stop":
                await self._stop(nodes[0], fault.seconds)
            case "unplug":
                await self._unplug(nodes[0], fault.seconds)
            case "reset":
                for link in self._cluster.between(*nodes):
                    link.reset()
            case _:
                await self._spoil(fault, nodes)

    async def _kill(self, name: str, seconds: float) -> None:
        member = self._cluster.members[name]
        links = self._cluster.links_to(name)
        await member.kill()
        for link in links:
            link.refuse()
        await asyncio.sleep(seconds)
        await member.start()
        for link in links:
            await link.listen()

    async def _stop(self, name: str, seconds: float) -> None:
        member = self._cluster.members[name]
        member.stop()
        try:
            await asyncio.sleep(seconds)
        finally:
            member.go_on()

    async def _unplug(self, name: str, seconds: float) -> None:
        await self._cluster.network.plug(name, False)
        try:
            await asyncio.sleep(seconds)
        finally:
            await self._cluster.network.plug(name, True)

    async def _spoil(self, fault: Fault, nodes: Sequence[str]) -> None:
        near, far = nodes if nodes != SERVERS else (PRIMARY, BACKUP)
        there, back = self._cluster.flows(near, far)
        flows = {THERE: there, BACK: back}.get(fault.way, there + back)
        for flow in flows:
            _WAYS[fault.kind](flow, fault.amount)
        try:
            await asyncio.sleep(fault.seconds)
        finally:
            for flow in flows:
                flow.heal()


def _delay(flow: Flow, amount: float) -> None:
    flow.delay = amount


def _trickle(flow: Flow, amount: float) -> None:
    flow.rate = int(amount)


_WAYS: dict[str, Callable[[Flow, float], None]] = {
    "cut": lambda flow, _: flow.cut(),
    "delay": _delay,
    "trickle": _trickle,
}
