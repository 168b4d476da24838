"""One run of the chaos: rounds of faults, after each of which all have to agree."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from patterns.clone.replication import ReplicationPolicy
from patterns.commands.chaos.agreement import disagreement
from patterns.commands.chaos.cluster import LATE, SERVERS, Client, Cluster, crowd
from patterns.commands.chaos.evidence import report_of
from patterns.commands.chaos.faults import Faults
from patterns.commands.chaos.journal import Journal
from patterns.commands.chaos.measure import sample
from patterns.commands.chaos.merged import CHAOS
from patterns.commands.chaos.network import Network, open_network
from patterns.commands.chaos.report import Report
from patterns.commands.chaos.schedule import SERVER_REST, Fault, client_faults, server_faults
from patterns.commands.children import Child, ChildFailed, Children
from patterns.commands.replication_options import without_peer_of

ROUND_SECONDS = 300.0
# After everything is healed, the pair and its clients have so long to agree.
AGREE_SECONDS = 45.0
_IN_STEP_SECONDS = 60.0
_ASK_AGAIN_SECONDS = 0.3
_WRITE_ON_SECONDS = 2.0
_LATE_SECONDS = (4.0, 15.0)
_PROGRESS_SECONDS = 10.0
_SAMPLE_SECONDS = 5.0
# Whoever stood still may write what happened so long ago.
_LAG_SECONDS = 45.0
_JUDGE_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What is run. With `levels`, some writes ask to be replicated; servers are killed or not.

    `policy` is that of both servers.
    """

    seconds: float
    seed: int = 0
    namespaces: bool = True
    levels: bool = True
    kills_servers: bool = True
    policy: ReplicationPolicy = ReplicationPolicy()
    clients: Sequence[Client] = crowd()
    round_seconds: float = ROUND_SECONDS
    server_rest: float = SERVER_REST

    def server_faults(self, *, plugs: bool) -> Iterator[Fault]:
        """What goes wrong at the servers; without `plugs` nobody can be unplugged."""
        return server_faults(
            self.seed, plugs=plugs, kills=self.kills_servers, rest=self.server_rest
        )


class Judge:
    """The judge's process, asked one thing at a time; `verdict` is what it has said last."""

    def __init__(self, child: Child) -> None:
        self.verdict: dict[str, Any] = {}
        self.judged_until = 0.0
        self._child = child
        self._turn = asyncio.Lock()

    async def take_until(self, instant: float) -> None:
        """Have everything up to this instant looked at."""
        await self._ask("until", instant)
        self.judged_until = instant

    async def check(self, healed_at: float) -> None:
        """Have everything checked, at a time when all agree."""
        await self._ask("check", healed_at)

    async def _ask(self, word: str, instant: float) -> None:
        async with self._turn:
            self._child.tell(f"1 {word} {instant!r}")
            self.verdict = json.loads(await self._child.hear(_JUDGE_SECONDS))


class Chaos:
    """One run: the processes are in `children`, and end with it."""

    def __init__(
        self, plan: Plan, network: Network, children: Children, say: Callable[[str], object]
    ) -> None:
        self._plan = plan
        self._children = children
        self._say = say
        self._journal = Journal(children.logs / f"{CHAOS}.jsonl")
        self._cluster = Cluster(
            plan.clients,
            network,
            children,
            self._journal,
            plan.seed,
            plan.levels,
            plan.policy,
        )
        self._faults = Faults(self._cluster, self._journal, random.Random(f"{plan.seed} choices"))
        self._server_faults = plan.server_faults(plugs=network.plugs)
        self._client_faults = client_faults(plan.seed, plugs=network.plugs)
        self._chance = random.Random(f"{plan.seed} late")
        self._where = network.description

    async def run(self) -> Report:
        """Start everything, run round after round, and report; raises ChildFailed."""
        self._began = self._now()
        self._ends_at = self._began + self._plan.seconds
        self._judge = Judge(await self._start_judge())
        beside = [
            asyncio.create_task(self._every(_PROGRESS_SECONDS, self._progress)),
            asyncio.create_task(self._every(_SAMPLE_SECONDS, self._sample)),
        ]
        try:
            await self._cluster.start()
            while self._now() < self._ends_at:
                await self._round()
        finally:
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)
            for member in self._cluster.members.values():
                member.expect_end()
            await self._cluster.close()
        return report_of(self._children.logs, self._judge.verdict)

    async def _start_judge(self) -> Child:
        self._journal.write(
            "plan",
            subtrees=self._cluster.subtrees,
            seed=self._plan.seed,
            where=self._where,
            ack=self._plan.policy.level,
            without_peer=without_peer_of(self._plan.policy),
        )
        module = "patterns.commands.chaos.judge"
        return await self._children.start("judge", "-m", module, str(self._children.logs))

    def _now(self) -> float:
        return self._journal.clock()

    # A round

    async def _round(self) -> None:
        until = min(self._now() + self._plan.round_seconds, self._ends_at)
        async with asyncio.TaskGroup() as lanes:
            lanes.create_task(self._hurt_servers(until))
            lanes.create_task(self._hurt_clients(until))
            if LATE in self._cluster.clients:
                lanes.create_task(self._join_late(until))
        await self._settle()

    async def _hurt_servers(self, until: float) -> None:
        for fault in self._server_faults:
            if not await self._in_step() or not await self._rest(fault.after, until):
                return
            if pair := await self._in_step():  # they may have changed places meanwhile
                await self._faults.at_servers(fault, pair)

    async def _in_step(self) -> dict[str, str]:
        """Wait until one server is active, the other passive; return which. Nobody: never (I11)."""
        gives_up_at = self._now() + _IN_STEP_SECONDS
        while not (pair := await self._cluster.pair()) and self._now() < gives_up_at:
            await asyncio.sleep(_ASK_AGAIN_SECONDS)
        if not pair:
            text = f"the pair is not in step {_IN_STEP_SECONDS:.0f} s after {self._faults.last}"
            self._journal.write("violates", invariant="I11", text=text)
        return pair

    async def _hurt_clients(self, until: float) -> None:
        for fault in self._client_faults:
            if not await self._rest(fault.after, until):
                return
            await self._faults.at_clients(fault)

    async def _join_late(self, until: float) -> None:
        """A client comes, stays for a while, and goes."""
        while await self._rest(self._chance.uniform(*_LATE_SECONDS), until):
            await self._cluster.members[LATE].kill()
            await self._cluster.members[LATE].start()

    async def _rest(self, seconds: float, until: float) -> bool:
        """Do nothing for a while; False if the time is over by then."""
        await asyncio.sleep(max(0.0, min(seconds, until - self._now())))
        return self._now() < until

    # Between rounds

    async def _settle(self) -> None:
        """All is healed: everybody has to agree, and the whole history is checked."""
        healed_at = self._now()
        await asyncio.sleep(_WRITE_ON_SECONDS)
        await self._cluster.ask(list(self._cluster.clients), "quiet")
        problem = await self._disagreement()
        while problem and self._now() < healed_at + AGREE_SECONDS:
            await asyncio.sleep(_ASK_AGAIN_SECONDS)
            problem = await self._disagreement()
        if problem:
            self._journal.write("violates", invariant=problem[0], text=problem[1])
        settled_at = self._journal.write("settled", healed_at=healed_at)
        await self._judge.take_until(settled_at)
        await self._judge.check(healed_at)
        self._tell()
        await self._cluster.ask(list(self._cluster.clients), "go")

    async def _disagreement(self) -> tuple[str, str] | None:
        clients = self._cluster.clients
        servers, followers = await asyncio.gather(
            self._cluster.ask(SERVERS), self._cluster.ask(list(clients))
        )
        return disagreement(servers, followers, self._cluster.subtrees)

    # Beside

    async def _every(self, seconds: float, work: Callable[[], Any]) -> None:
        while True:
            await asyncio.sleep(seconds)
            with suppress(ChildFailed):  # the lanes meet it too
                await work()

    async def _progress(self) -> None:
        instant = self._now() - _LAG_SECONDS
        if instant > max(self._judge.judged_until, self._began):
            await self._judge.take_until(instant)
        self._tell()

    def _tell(self) -> None:
        verdict = self._judge.verdict
        done = sum(self._faults.counts.values())
        acknowledged = sum(verdict.get("acknowledged", {}).values())
        self._say(
            f"{self._now() - self._began:5.0f} s  {done:3d} faults, the last: {self._faults.last};"
            f" {acknowledged:,} writes acknowledged and {verdict.get('violations', 0)} violations"
            f" by {max(0.0, self._judge.judged_until - self._began):.0f} s"
        )

    async def _sample(self) -> None:
        for member in self._cluster.members.values():
            measured = sample(member.pid, self._now()) if member.pid is not None else None
            if measured is not None:
                self._journal.write(
                    "measured",
                    who=member.name,
                    megabytes=round(measured.megabytes, 2),
                    descriptors=measured.descriptors,
                )


async def play(plan: Plan, folder: Path, say: Callable[[str], object]) -> Report:
    """Run the chaos once; raises ChildFailed. All processes have ended at the end."""
    network = await open_network(plan.namespaces)
    try:
        async with Children(folder) as children:
            return await Chaos(plan, network, children, say).run()
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None
    finally:
        await network.close()
