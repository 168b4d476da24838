"""The cluster under test: a pair and its clients on simulated machines, and a schedule's steps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from patterns.binary_star.messages import Role, State
from patterns.clone.client import ClientClosed
from patterns.clone.levels import APPLIED, REPLICATED
from patterns.clone.numbered import NumberedUuids
from patterns.clone.outbox import OutboxFull
from patterns.clone.peer_link import is_from_passive
from patterns.clone.replication import ReplicationPolicy
from patterns.clone.simulation.client_recorder import ClientRecorder
from patterns.clone.simulation.history import EVERYTHING, History, Interest, Write
from patterns.clone.simulation.observed import ObservedClient, ObservedServer
from patterns.clone.simulation.schedule import (
    BACKUP,
    OPERATIONS,
    PRIMARY,
    SERVERS,
    Member,
    Schedule,
    Step,
)
from patterns.clone.simulation.server_recorder import ServerRecorder
from patterns.clone.simulation.stranger import Stranger
from reactor import Handler
from reactor.testing import Node, Simulation

PORT = 5556
_STATE_PORT = 5003
# Sooner than the quiet time at the end is over, so that every write has its answer there.
WRITE_TIMEOUT = 12.0


class Cluster:
    """Runs a schedule's steps on a simulation; what happened is in `history`."""

    server_class: type[ObservedServer] = ObservedServer
    client_class: type[ObservedClient] = ObservedClient

    def __init__(self, schedule: Schedule, simulation: Simulation) -> None:
        self.schedule = schedule
        self.simulation = simulation
        self.network = simulation.network
        interests = {EVERYTHING: None, **{_interest(each): None for each in schedule.members}}
        self.history = History(tuple(interests))
        self.faults: Counter[tuple[str, str]] = Counter()
        self.max_writes = max(4, schedule.squeeze) if schedule.squeeze else 10_000
        self.full_outbox = 0
        self._numbers = 0
        self._strangers = 0
        self._chance = simulation.chance("junk")
        drift = simulation.chance("drift")
        for name in SERVERS:
            simulation.node(name, self._server, drift=schedule.drift * drift.uniform(-1, 1))
        self._members = {member.name: member for member in schedule.members}
        for name in self._members:
            simulation.node(name, self._client, drift=schedule.drift * drift.uniform(-1, 1))
        for step in schedule.steps:
            simulation.at(step.at, lambda step=step: self._carry_out(step))  # type: ignore[misc]

    # Who is there

    @property
    def servers(self) -> list[ObservedServer]:
        """The servers that run, the primary first."""
        return [node.handler for name in SERVERS if (node := self._node(name)).handlers]

    @property
    def clients(self) -> list[ObservedClient]:
        """The clients that run."""
        return [node.handler for name in self._members if (node := self._node(name)).handlers]

    def active(self) -> list[ObservedServer]:
        """The servers that are active."""
        return [server for server in self.servers if server.star_state is State.ACTIVE]

    def _node(self, name: str) -> Node:
        return self.simulation.nodes[name]

    def _server(self, node: Node) -> Handler:
        primary = node.name == PRIMARY
        other = BACKUP if primary else PRIMARY
        server = self.server_class(
            ServerRecorder(self.history, node.name, self.simulation.loop.time),
            port=PORT,
            host=node.name,
            role=Role.PRIMARY if primary else Role.BACKUP,
            state_bind=f"tcp://{node.name}:{_STATE_PORT}",
            state_connect=f"tcp://{other}:{_STATE_PORT}",
            peer=f"tcp://{other}:{PORT}",
            replication=ReplicationPolicy(
                level=self.schedule.ack, refuses=self.schedule.without_peer == "refuse"
            ),
            make_uuid=node.make_uuid,
            wall_clock=node.wall_clock,
        )
        server.squeeze = self.schedule.squeeze
        return server

    def _client(self, node: Node) -> Handler:
        member: Member = self._members[node.name]
        second = BACKUP if member.first == PRIMARY else PRIMARY
        client = self.client_class(
            ClientRecorder(self.history, node.name, self.simulation.loop.time),
            [f"tcp://{name}:{PORT}" for name in (member.first, second)],
            _interest(member),
            max_writes=self.max_writes,
            write_timeout=WRITE_TIMEOUT,
            make_uuid=NumberedUuids(node.make_uuid),
            jitter=node.random.random,
        )
        client.squeeze = self.schedule.squeeze
        client.recorder.squeezed = bool(self.schedule.squeeze)
        return client

    # What is done

    def _carry_out(self, step: Step) -> None:
        if step.kind in OPERATIONS:
            self._node(step.nodes[0]).call_soon(self._operate, step)
            return
        states = "/".join(self._state_of(name) for name in SERVERS)
        kind = f"{step.kind} {step.detail[0]}" if step.kind == "cut" else step.kind
        self.faults[kind, states] += 1
        if not self._has_effect(step):
            return
        if step.kind != "drop":  # which is a fault when it loses something
            until = step.at + (step.seconds if step.kind != "clock" else 0.0)
            self.history.faults.append((step.at, until, self._kind_of(step), step.nodes))
        self._disturb(step)

    def _kind_of(self, step: Step) -> str:
        """Two delays of a link at once add up to more than the second that "slow" stands for."""
        twice = step.kind == "slow" and any(
            kind in ("slow", "trickle") and step.at <= until and {*nodes} == {*step.nodes}
            for _, until, kind, nodes in self.history.faults
        )
        return "trickle" if twice else step.kind

    def _has_effect(self, step: Step) -> bool:
        """Not if it kills who is dead, or stops who stands still: that excuses nothing."""
        match step.kind:
            case "crash" | "power":
                return self._node(step.nodes[0]).running
            case "pause":
                return not self._node(step.nodes[0]).paused
        return True

    def _state_of(self, name: str) -> str:
        node = self._node(name)
        return str(node.handler.star_state.value) if node.handlers else "down"

    def _operate(self, step: Step) -> None:
        """Write as a client; the history knows the write by the uuid that the client gave it."""
        name = step.nodes[0]
        handlers = self._node(name).handlers
        if not handlers:
            return
        client: ObservedClient = self._node(name).handler
        key = step.detail[0].encode()
        body = step.detail[1].encode() if step.kind != "delete" else b""
        level = REPLICATED if step.detail[-1] == REPLICATED else APPLIED
        self._numbers += 1
        now, compares = self.simulation.loop.time(), step.kind == "swap"
        life = self._node(name).starts
        write = Write(name, self._numbers, key, body, now, step.seconds, level, compares, life=life)
        try:
            client.write(write)
        except OutboxFull:
            self.full_outbox += 1
        except ClientClosed:
            pass

    def _disturb(self, step: Step) -> None:
        match step.kind:
            case "crash" | "power":
                self._crash(step.nodes[0], step.seconds, step.kind == "power")
            case "pause":
                self._pause(self._node(step.nodes[0]), step.seconds)
            case "cut":
                mode = step.detail[0]
                cut = self.network.partition(
                    *step.nodes, reset=mode == "reset", one_way=mode == "one-way"
                )
                self._later(step.seconds, cut.cancel)
            case "slow":
                delay = self.network.delay(float(step.detail[0]), *step.nodes)
                self._later(step.seconds, delay.cancel)
            case "drop":
                source, to = step.nodes
                port = "snapshots" if to in SERVERS else "publisher"
                loses = self._next_of_a_server(int(step.detail[0]), step.nodes)
                self.network.drop(loses, f"{source}.{port}", to)
            case "switchover":
                for server in self.active():
                    server.switchover()
            case "clock":
                self._node(step.nodes[0]).set_clock_forward(step.seconds)
                if step.seconds < 0:
                    self.history.set_back.add(step.nodes[0])
            case "junk":
                self._let_talk(step.nodes[0], step.detail[0])
            case _:
                raise ValueError(f"no step is called {step.kind!r}")

    def _next_of_a_server(
        self, count: int, nodes: tuple[str, ...]
    ) -> Callable[[list[bytes]], bool]:
        """Picks the next messages of a publisher or ROUTER, which lose some at their limits.

        What a passive server says in between is not lost while its connection stands. The fault
        lasts from the first that is lost to the last, which may come long after it was planned.
        """
        faults = self.history.faults
        lost: list[float] = []
        place = 0

        def loses(frames: list[bytes]) -> bool:
            nonlocal place
            if is_from_passive(frames) or len(lost) == count:
                return False
            if not lost:
                place = len(faults)
                faults.append((0.0, 0.0, "drop", nodes))
            lost.append(self.simulation.loop.time())
            faults[place] = (lost[0], lost[-1], "drop", nodes)
            return True

        return loses

    def _let_talk(self, server: str, port: str) -> None:
        """A stranger comes; not to a publisher whose queues are shorter than all that it beats.

        Its subscriptions would make that so, and nobody hear the last heartbeat. A real server
        beats to 1,000 subtrees, and its queues are a hundred times as long.
        """
        if self.schedule.squeeze and port == "publisher":
            port = "collector"
        self._strangers += 1
        stranger = Stranger(server, port, self._chance)
        self.simulation.node(f"stranger-{self._strangers}", lambda node: stranger)

    def _crash(self, name: str, seconds: float, power: bool) -> None:
        node, now = self._node(name), self.simulation.loop.time()
        self.check_errors(node)  # nobody can count them afterwards
        if name in SERVERS and node.handlers:
            node.handler.recorder.dies()
        for write in self.history.writes.values():
            if write.client != name or write.answered not in (None, now):
                continue
            write.told = True  # there is nobody left to be told
            if write.answered is None:
                write.answered, write.reason = now, "crashed"
        node.crash(power=power)
        self._later(seconds, node.start)

    def check_errors(self, node: Node) -> None:
        """I18: no hook of this process has raised."""
        now = self.simulation.loop.time()
        for handler in node.reactor.statistics().handlers if node.handlers else ():
            if handler.errors:
                self.history.violate("I18", now, f"{handler.name}: {handler.errors} errors")

    def _pause(self, node: Node, seconds: float) -> None:
        node.pause()
        self._later(seconds, node.resume)

    def _later(self, seconds: float, callback: Callable[[], object]) -> None:
        self.simulation.loop.call_later(seconds, callback)


def _interest(member: Member) -> Interest:
    return tuple(subtree.encode() for subtree in member.subtrees)
