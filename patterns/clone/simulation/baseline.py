"""The baseline: the same schedules on the Guide's design and on ours, judged alike.

    python -m patterns.clone.simulation.baseline [SEEDS]

prints the table of docs/simulation.md.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable

from patterns.clone.messages import KVMessage
from patterns.clone.simulation.cluster import Cluster
from patterns.clone.simulation.generation import generate
from patterns.clone.simulation.guide import GuideClient, GuideServer
from patterns.clone.simulation.history import Write
from patterns.clone.simulation.schedule import (
    BACKUP,
    END,
    PRIMARY,
    SERVERS,
    Schedule,
    Step,
)
from reactor import Handler
from reactor.testing import Node, Simulation

SCENARIOS = (
    "calm",
    "calm-ttl",
    "crash",
    "crash-ttl",
    "server-link-reset",
    "server-link-delay",
    "client-link-reset",
    "client-link-delay",
    "pause",
    "one-way",
)
_LOOK_SECONDS = 0.1

Judge = Callable[[Schedule], set[str]]


class GuideCluster(Cluster):
    """The Guide's servers and clients in place of ours."""

    def __init__(self, schedule: Schedule, simulation: Simulation) -> None:
        self.published: list[KVMessage] = []
        self.answers: dict[bytes, Write] = {}
        self.both_active = False
        self.aborted = False
        super().__init__(schedule, simulation)
        self._look()

    def _server(self, node: Node) -> Handler:
        return GuideServer(node, BACKUP if node.name == PRIMARY else PRIMARY, self.published.append)

    def _client(self, node: Node) -> Handler:
        member = self._members[node.name]
        subtree = member.subtrees[0] if len(member.subtrees) == 1 else ""
        servers = sorted(SERVERS, key=lambda server: server != member.first)
        return GuideClient(node, servers, subtree.encode())

    def _operate(self, step: Step) -> None:
        node = self._node(step.nodes[0])
        if not node.handlers:
            return
        key = step.detail[0].encode()
        body = step.detail[1].encode() if step.kind != "delete" else b""
        write = Write(node.name, 0, key, body, self.simulation.loop.time(), step.seconds)
        self.answers[node.handler.write(key, body, step.seconds)] = write

    def _crash(self, name: str, seconds: float, power: bool) -> None:
        node = self._node(name)
        node.crash(power=power)
        self._later(seconds, node.start)

    def _state_of(self, name: str) -> str:
        node = self._node(name)
        return str(node.handler.state) if node.handlers else "down"

    def guide_servers(self) -> list[GuideServer]:
        """The servers whose process runs."""
        nodes = [self._node(name) for name in SERVERS]
        return [node.handler for node in nodes if node.handlers and not node.handler.aborted]

    def _look(self) -> None:
        servers = self.guide_servers()
        self.both_active |= [server.state for server in servers] == ["ACTIVE", "ACTIVE"]
        self.aborted |= any(
            self._node(name).handlers and self._node(name).handler.aborted for name in SERVERS
        )
        self._later(_LOOK_SECONDS, self._look)


def judge_guide(schedule: Schedule) -> set[str]:
    """What is wrong at the end of a run of the Guide's design, in the table's words."""
    simulation = Simulation(schedule.seed, jitter=schedule.jitter)
    try:
        cluster = GuideCluster(schedule, simulation)
        simulation.advance(END)
        return _verdict(cluster)
    finally:
        simulation.close()


def _verdict(cluster: GuideCluster) -> set[str]:
    found = {word for word, holds in _FLAGS.items() if holds(cluster)}
    active = next((each for each in cluster.guide_servers() if each.state == "ACTIVE"), None)
    if active is None:
        return found | {"nobody serves"}
    truth = {key: message.body for key, message in (active.map or {}).items()}
    for server in cluster.guide_servers():
        held = {key: message.body for key, message in (server.map or {}).items()}
        if server.pending and not server.aborted:
            found.add("pending leaks")
        if server is not active and held != truth:
            found.add("passive differs")
    for name in cluster.schedule.members:
        client: GuideClient = cluster.simulation.nodes[name.name].handler
        expected = {key: body for key, body in truth.items() if key.startswith(client._subtree)}
        if client.state != "ACTIVE" or client.server != active.name:
            found.add("client stuck")
        elif client.map != expected:
            found.add("client differs")
    return found | _lost_writes(cluster, truth)


_FLAGS: dict[str, Callable[[GuideCluster], bool]] = {
    "both active": lambda cluster: cluster.both_active,
    "server aborts": lambda cluster: cluster.aborted,
}


def _lost_writes(cluster: GuideCluster, truth: dict[bytes, bytes]) -> set[str]:
    """A write that its client saw published is lost if the key has an older value in the end."""
    order = {message.uuid: place for place, message in enumerate(cluster.published)}
    last: dict[bytes, int] = {}
    for place, message in enumerate(cluster.published):
        if truth.get(message.key, b"") == message.body:
            last[message.key] = place
    seen = set()
    for member in cluster.schedule.members:
        seen |= cluster.simulation.nodes[member.name].handler.seen
    found = set()
    for uuid, write in cluster.answers.items():
        if uuid in order and uuid in seen and last.get(write.key, -1) < order[uuid]:
            found.add("acknowledged write lost")
        elif uuid not in order and not write.ttl:
            found.add("other write lost")
    return found


def judge_ours(schedule: Schedule) -> set[str]:
    """The same of our design: a violation by its invariant, and what is no violation in a pair."""
    from patterns.clone.simulation.runs import run

    result = run(schedule)
    found = {each.invariant for each in result.violations}
    if result.lost:
        found.add("acknowledged write lost")
    if result.both_active:
        found.add("both active")
    if result.failed:
        found.add("write given up, and its caller told")
    return found


def table_row(scenario: str, judge: Judge, seeds: int) -> str:
    """The share of clean runs of a scenario, and of each thing that was wrong."""
    counts: Counter[str] = Counter()
    clean = 0
    for seed in range(seeds):
        found = judge(generate(seed, scenario))
        clean += not found
        counts.update(found)
    wrong = ", ".join(f"{word} {share(count, seeds)}" for word, count in counts.most_common())
    return f"{share(clean, seeds)} clean" + (f"; {wrong}" if wrong else "")


def share(count: int, total: int) -> str:
    """A percentage with as many digits as it deserves."""
    return f"{100 * count / total:.3g} %"


def main(seeds: int) -> None:
    """Print the table, row by row."""
    write = sys.stdout.write
    write("| Scenario | The Guide's Model Six | This library |\n| --- | --- | --- |\n")
    for scenario in SCENARIOS:
        cells = (table_row(scenario, judge, seeds) for judge in (judge_guide, judge_ours))
        write(f"| {scenario} | {' | '.join(cells)} |\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200)
