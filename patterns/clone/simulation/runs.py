"""One run: a schedule carried out, watched, and judged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from patterns.binary_star.messages import State
from patterns.clone.client_protocol import ClientState
from patterns.clone.simulation.checker import check, check_callers
from patterns.clone.simulation.cluster import Cluster
from patterns.clone.simulation.history import EVERYTHING, History, Interest, Violation
from patterns.clone.simulation.observed import ObservedClient, ObservedServer
from patterns.clone.simulation.schedule import END, HEAL, LAST_OPERATION, SERVERS, Schedule
from reactor.testing import Simulation

# After everything is healed, the pair and its clients have so long to agree.
AGREEMENT_SECONDS = 45.0
# After an operator has ended a long outage: a client may pause half a minute before each server.
LONG_AGREEMENT_SECONDS = 75.0
# A pair of which neither has a complete copy is left to an operator, who comes after this time.
OPERATOR_SECONDS = 12.0
# The other server of a pair serves by then, if a client asks (RFC: preferably under 10 seconds).
FAILOVER_SECONDS = 10.0
# So long after a switchover the server that has handed over may still be fetching its copy.
MOMENT_SECONDS = 1.0
_WATCH_SECONDS = 1.0
_MEASURE_EVERY = 5


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a run; equal traces are equal runs."""

    schedule: Schedule
    violations: tuple[Violation, ...]
    trace: str
    settled: float | None  # seconds after the last operation until all agreed
    acknowledged: int
    failed: int  # neither applied for sure, nor refused on condition
    degraded: int  # to be replicated, and told that they are only applied
    promised: int  # updates that both servers were said to hold
    lost: int  # acknowledged, and lost with a server that died or was given up
    activities: int
    both_active: bool  # at some time
    promotions: int  # by the operator
    faults: Counter[tuple[str, str]]
    void: bool = False  # judged up to some instant only: see `History.void`


def run(
    schedule: Schedule,
    cluster_class: type[Cluster] = Cluster,
    on_event: Callable[[str], object] | None = None,
) -> Result:
    """Carry out a schedule and check it; `on_event` is told the trace, line by line."""
    simulation = Simulation(schedule.seed, jitter=schedule.jitter, on_event=on_event)
    result = _Run(schedule, simulation, cluster_class).result()
    with suppress(Exception):  # the result has it
        simulation.close()
    return result


class _Run:
    def __init__(
        self, schedule: Schedule, simulation: Simulation, cluster_class: type[Cluster]
    ) -> None:
        self._schedule = schedule
        self._simulation = simulation
        self._cluster = cluster_class(schedule, simulation)
        self._history: History = self._cluster.history
        self._promotions = 0
        self._leaderless_since: float | None = None
        self._gives_up_at = LAST_OPERATION + AGREEMENT_SECONDS
        self._lost = 0
        self._watches = 0
        self._watch()

    def result(self) -> Result:
        settled = None
        try:
            settled = self._carry_out()
        except Exception as error:  # whatever a callback raised: it would have stopped a process
            now = self._simulation.loop.time()
            self._history.violate("I18", now, f"{type(error).__name__}: {error}")
        writes = self._history.writes.values()
        return Result(
            schedule=self._schedule,
            violations=tuple(self._history.violations),
            trace=self._simulation.trace,
            settled=settled,
            acknowledged=sum(write.sequence is not None for write in writes),
            failed=sum(write.failed for write in writes),
            degraded=sum(write.applied is not None for write in writes),
            promised=len(self._history.promised),
            lost=self._lost,
            activities=len(self._history.activities),
            both_active=self._history.overlaps(),
            promotions=self._promotions,
            faults=self._cluster.faults,
            void=self._history.void,
        )

    def _carry_out(self) -> float | None:
        simulation, history = self._simulation, self._history
        simulation.advance(LAST_OPERATION)
        open_point = self._await_agreement()
        settled = simulation.loop.time() - LAST_OPERATION
        if open_point:
            history.violate(open_point[0], simulation.loop.time(), open_point[1])
            return None
        simulation.advance(max(2.0, END - simulation.loop.time()))
        if self._disagreement():
            simulation.advance(1.0)  # something expires at this very instant, perhaps
        # What a short queue has lost of the last updates may be noticed only after they agreed.
        settle = self._await_agreement if self._schedule.squeeze else self._disagreement
        if open_point := settle():
            history.violate(open_point[0], simulation.loop.time(), open_point[1])
        self._measure(at_end=True)
        (active,) = self._cluster.active() or (None,)
        if active is not None and active.recorder.activity is not None:
            now = simulation.loop.time()
            self._lost = check(history, active.recorder.activity, HEAL, now)
        check_callers(history)
        return settled

    def _await_agreement(self) -> tuple[str, str] | None:
        """What is not as it has to be when clients have had their time; None if all is."""
        loop = self._simulation.loop
        while (open_point := self._disagreement()) and loop.time() < self._gives_up_at:
            self._simulation.advance(0.5)
        return open_point

    # While it runs

    def _watch(self) -> None:
        """Look at what no event tells: losses not noticed, limits, and a pair that is stuck."""
        now = self._simulation.loop.time()
        self._watches += 1
        for client in self._cluster.clients:
            if not self._disturbed(client.name, now):
                client.recorder.check_notices()
            client.recorder.check_map()
        for server in self._cluster.servers:
            server.recorder.compare(server.protocol)
        self._check_service(now)
        if {server.star_state for server in self._cluster.servers} & {State.ACTIVE, State.PASSIVE}:
            self._end_outage(now)
        elif self._leaderless_since is None:
            self._leaderless_since = now
        if self._watches % _MEASURE_EVERY == 0:
            self._measure()
        if now > HEAL + OPERATOR_SECONDS:
            self._help()
        self._simulation.loop.call_later(_WATCH_SECONDS, self._watch)

    def _end_outage(self, now: float) -> None:
        """Somebody leads or may take over; not thanks to an operator, but to one fault more."""
        since, self._leaderless_since = self._leaderless_since, None
        troubles = self._troubles()
        before = [each for each in troubles if since is not None and each <= since]
        if since is not None and 2 <= len(before) < len(troubles):
            self._history.outages.append((since, now))

    def _troubles(self) -> list[float]:
        """When what leaves the pair without a complete copy has begun; it takes two.

        A switchover is one for who dies just after it: for a moment the pair has one copy.
        """
        history = self._history
        faults = [each[0] for each in history.faults if history.concerns_servers(each)]
        orders = [each[0] for each in history.faults if each[2] == "switchover"]
        near = [at for at in orders if any(at <= fault <= at + MOMENT_SECONDS for fault in faults)]
        return faults + near

    def _check_service(self, now: float) -> None:
        """I11: of two servers one may be gone, if nothing else is wrong: the other one serves.

        As soon as a client asks, which nothing has happened to.
        """
        faults = [each for each in self._history.faults if each[2] not in ("clock", "junk")]
        lately = [each for each in faults if each[0] <= now <= each[1] + 20.0]
        at_servers = [each for each in lately if not set(SERVERS).isdisjoint(each[3])]
        if len(at_servers) != 1 or at_servers[0][2] not in ("crash", "power", "pause"):
            return
        begin, end, _, (node,) = at_servers[0]
        others = [server for server in self._cluster.active() if server.recorder.name != node]
        hurt = {name for *_, nodes in lately for name in nodes}
        asks = any(member.name not in hurt for member in self._schedule.members)
        if begin + FAILOVER_SECONDS < now < end and asks and not others:
            self._history.violate("I11", now, f"nobody serves, {node} is gone since {begin} s")

    def _disturbed(self, name: str, now: float) -> bool:
        """Whether a client stands still, or has just stood still."""
        return any(
            kind == "pause" and name in nodes and begin <= now <= end + 8.0
            for begin, end, kind, nodes in self._history.faults
        )

    def _help(self) -> None:
        """Be the operator: a pair without a complete copy is told who shall go on."""
        servers = self._cluster.servers
        if len(servers) < 2 or self._leaderless_since is None:
            return
        best = max(servers, key=lambda server: server.protocol.sequence)
        now = self._simulation.loop.time()
        self._promotions += 1
        if len(self._troubles()) < 2:
            self._history.violate("I11", now, "it takes an operator, after one fault at most")
        self._history.outages.append((self._leaderless_since, now))
        self._gives_up_at = now + LONG_AGREEMENT_SECONDS
        self._simulation.note(f"the operator promotes {best.name}")
        assert best.star is not None
        best.star.carry_out(best.star.protocol.promote(best.reactor.now()))

    def _measure(self, at_end: bool = False) -> None:
        """I13 and I18: every queue keeps its limit, and no hook has raised."""
        now = self._simulation.loop.time()
        for node in self._simulation.nodes.values():
            if not node.handlers:
                continue
            statistics = node.reactor.statistics()
            for stream in statistics.streams:
                if stream.queue_peak > stream.queue_limit:
                    self._history.violate("I13", now, f"{stream.name} passes its limit")
            self._cluster.check_errors(node)
        for client in self._cluster.clients:
            if client.protocol.statistics().unacknowledged > self._cluster.max_writes:
                self._history.violate("I13", now, f"{client.name} has too many writes under way")

    # At the end

    def _disagreement(self) -> tuple[str, str] | None:
        """What is not yet as it has to be in the end (I10, I11); None if all is."""
        cluster = self._cluster
        states = sorted(server.star_state.value for server in cluster.servers)
        if states != ["active", "passive"]:
            return "I11", f"the servers are {' and '.join(states)}"
        (active,) = cluster.active()
        if not active.protocol.serving:
            return "I11", f"{active.name} does not serve"
        if not active.protocol.replication.in_sync:
            return "I11", f"{active.name} takes its passive server for late"
        truth = contents(active)
        for server in cluster.servers:
            if contents(server) != truth:
                return "I10", f"{server.name} holds another map than {active.name}"
        for client in cluster.clients:
            if client.protocol.state is not ClientState.LIVE:
                return "I11", f"{client.name} is {client.protocol.state.value}"
            if client.protocol.statistics().unacknowledged:
                return "I11", f"{client.name} has writes without an answer"
            if contents(client) != contents(active, client.protocol.interest.subtrees):
                return "I10", f"{client.name} holds another map than {active.name}"
            if {key: entry[3] for key, entry in contents(client).items()} != client.recorder.view:
                return "I10", f"{client.name} was told of other changes than there were"
        return None


def contents(
    holder: ObservedServer | ObservedClient, interest: Interest = EVERYTHING
) -> dict[bytes, tuple[bytes, ...]]:
    """Key to key, number, uuid and body: all that has to be equal everywhere."""
    entries = holder.protocol.store.snapshot()
    return {
        entry[0]: (entry[0], entry[1], entry[2], entry[4])
        for entry in entries
        if entry[0].startswith(interest)
    }
