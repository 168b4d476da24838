"""The history of a run, told to the simulation's recorders from the journals of its processes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from patterns.clone.interest import Interest
from patterns.clone.levels import REPLICATED
from patterns.clone.messages import epoch_of
from patterns.clone.replication import ReplicationPolicy
from patterns.clone.simulation.checker import check
from patterns.clone.simulation.client_recorder import ClientRecorder
from patterns.clone.simulation.history import EVERYTHING, Activity, History
from patterns.clone.simulation.server_recorder import ServerRecorder
from patterns.commands.chaos.journal import Line
from patterns.commands.chaos.policy import PolicyCheck
from patterns.commands.chaos.recorders import Held, Told, replay_client, replay_server

# Who was paused, cut off or slowed down needs so long to notice what it has missed.
_RECOVERY_SECONDS = 10.0
# Whose server dies sooner than it has followed it for so long pauses as if there were none, up to
# half a minute.
_FOLLOWED_SECONDS = 5.0
# A busy machine may lay so much time between what happens and its line.
_SLACK_SECONDS = 0.25
# Who takes over later than so long after a fault has ended does it for the next one.
_AFTER_SECONDS = 0.5
# The other server of a pair serves by then, if nothing else is wrong.
FAILOVER_SECONDS = 10.0
_DEFAULT = ReplicationPolicy()
CHAOS = "chaos"
"""The name of the journal of the chaos itself."""


@dataclass
class _ClientLife:
    recorder: ClientRecorder
    told: Told
    live_since: float | None = None


@dataclass
class _ServerLife:
    recorder: ServerRecorder
    held: Held = field(default_factory=Held)


@dataclass
class _Loss:
    """Of an active server, for a while at least, and who has not seen yet that another one serves.

    `fault` is its place in the history. `hurried` are those who ask the other one at once.
    """

    name: str
    at: float
    epoch: int
    fault: int
    waiting: set[str]
    hurried: set[str]


class MergedHistory:
    """Takes the lines of all journals, in the order of time.

    `subtrees` is what each client follows; a name that is not among them is a server's, or `CHAOS`.
    `policy` is that of both servers.
    """

    def __init__(
        self, subtrees: dict[str, Sequence[bytes]], policy: ReplicationPolicy = _DEFAULT
    ) -> None:
        self._interests = {name: Interest(each) for name, each in subtrees.items()}
        follows = [EVERYTHING, *(each.subtrees for each in self._interests.values())]
        self.history = History(tuple(dict.fromkeys(follows)), slack=_SLACK_SECONDS)
        self.policy_check = PolicyCheck(self.history, policy)
        self._reads_only = policy.refuses and policy.level == REPLICATED
        self.now = 0.0
        self.failovers: dict[str, list[float]] = {}
        self.lost: Counter[str] = Counter()  # by level, as of the last check
        self.overwritten: Counter[str] = Counter()
        self._servers: dict[str, _ServerLife] = {}
        self._clients: dict[str, _ClientLife] = {}
        self._losses: list[_Loss] = []
        self._faults: dict[int, int] = {}  # the number of a fault to its place in the history
        self._looked_at = 0.0

    def take(self, name: str, line: Line) -> None:
        """The next line, of this journal."""
        self.now = line["at"]
        if name == CHAOS:
            self._happened(line)
        elif name in self._interests:
            self._take_client(name, line)
        elif name in self._servers:
            self._take_server(name, line)
        if self.now >= self._looked_at + 1.0:
            self._looked_at = self.now
            self._look()

    def _take_server(self, name: str, line: Line) -> None:
        server = self._servers[name]
        activity = self.history.by_epoch.get(epoch_of(line.get("sequence", 0)))
        released = activity.released if activity is not None else 0
        replay_server(server.recorder, line, server.held)
        is_new = activity is not None and activity.released > released
        self.policy_check.take(server.recorder, name, line, is_new)

    def check(self, healed_at: float) -> None:
        """All agree: check everything so far, with the simulation's checker."""
        recorders = [life.recorder for life in self._servers.values()]
        active = [each for each in recorders if each.activity is not None]
        if len(active) != 1:
            self.history.violate("I11", self.now, f"{len(active)} servers are active in the end")
            return
        (recorder,) = active
        assert recorder.activity is not None
        check(self.history, recorder.activity, healed_at, self.now)
        self._count_lost(recorder.activity)

    def _count_lost(self, last: Activity) -> None:
        """The acknowledged writes that the history which has won does not contain.

        Of those that somebody has overwritten since, nobody can see that any more.
        """
        self.lost.clear()
        self.overwritten.clear()
        lineage = self.history.lineage(last)
        there = {entry.uuid for entry in lineage}
        newest = {entry.key: entry.sequence for entry in lineage}
        uuids = {
            entry.sequence: entry.uuid
            for activity in self.history.activities
            for entry in activity.entries
        }
        for write in self.history.writes.values():
            if write.sequence is not None and uuids[write.sequence] not in there:
                overwritten = newest.get(write.key, 0) > write.sequence
                (self.overwritten if overwritten else self.lost)[write.level] += 1

    # What happens to processes

    def _happened(self, line: Line) -> None:
        match line["what"]:
            case "born":
                self._born(line["who"])
            case "dead":
                self._died(line["who"])
                if not line["expected"]:
                    self.history.violate("I18", self.now, f"{line['who']} has ended by itself")
            case "fault":
                self._faults[line["number"]] = len(self.history.faults)
                fault = (self.now, line["until"], line["kind"], tuple(line["nodes"]))
                self.history.faults.append(fault)
                if self._interests.keys().isdisjoint(line["nodes"]):
                    self.policy_check.hurt(line["number"], fault)
                if len(line["nodes"]) == 1:
                    self._note_loss(line["name"], line["nodes"][0])
            case "healed":
                place = self._faults[line["number"]]
                begin, _, kind, nodes = self.history.faults[place]
                self.history.faults[place] = (begin, self.now, kind, nodes)
                if self._interests.keys().isdisjoint(nodes):
                    self.policy_check.healed(line["number"], self.now)
            case "violates":
                self.history.violate(line["invariant"], self.now, line["text"])

    def _born(self, name: str) -> None:
        if name not in self._interests:
            recorder = ServerRecorder(self.history, name, self._clock)
            self._servers[name] = _ServerLife(recorder)
            self.policy_check.born(name, self.now)
            return
        told = Told(self._interests[name])
        client = ClientRecorder(self.history, name, self._clock)
        client.watch(told)
        self._clients[name] = _ClientLife(client, told)

    def _clock(self) -> float:
        return self.now

    def _died(self, name: str) -> None:
        server = self._servers.pop(name, None)
        if server is not None:
            server.recorder.dies()
            self.policy_check.died(name, self.now)
            return
        del self._clients[name]
        for write in self.history.writes.values():
            if write.client == name and write.answered is None:
                write.answered, write.reason = self.now, "crashed"

    # What clients are told

    def _take_client(self, name: str, line: Line) -> None:
        client = self._clients[name]
        replay_client(client.recorder, name, line, client.told)
        if not client.told.live:
            client.live_since = None
        elif client.live_since is None:
            client.live_since = self.now
        if line["what"] == "told" and client.told.live and self._is_service(line):
            self._served(name, epoch_of(client.told.store.sequence))

    def _look(self) -> None:
        """What no line tells: losses that a client has not noticed, nobody who serves."""
        for name, client in self._clients.items():
            if not self._disturbed(name):
                client.recorder.check_notices()
        for loss in self._losses:
            self._check_service(loss)
        self._losses = [each for each in self._losses if each.waiting]

    def _disturbed(self, name: str) -> bool:
        return any(
            name in nodes and begin <= self.now <= end + _RECOVERY_SECONDS
            for begin, end, _, nodes in reversed(self.history.faults)
        )

    def _is_service(self, line: Line) -> bool:
        """Whether a client is told of an update, or of the end of a write.

        A server that refuses all writes for want of a peer serves who has its map.
        """
        return self._reads_only or any(kind in _SERVICE for kind, *_ in line["effects"])

    # Failovers

    def _note_loss(self, fault: str, name: str) -> None:
        """Something is about to happen to somebody; for an active server another has to serve."""
        server = self._servers.get(name)
        activity = server.recorder.activity if server is not None else None
        if activity is None:
            return
        served = {
            name
            for name, client in self._clients.items()
            if client.told.live and not self._disturbed(name)
        }
        hurried = {
            name
            for name in served
            if self.now - (self._clients[name].live_since or self.now) >= _FOLLOWED_SECONDS
        }
        place = len(self.history.faults) - 1
        self._losses.append(_Loss(fault, self.now, activity.epoch, place, served, hurried))

    def _served(self, name: str, epoch: int) -> None:
        """A client has seen an update in this epoch."""
        successor = self.history.by_epoch.get(epoch)
        for loss in self._losses:
            if name in loss.waiting and epoch > loss.epoch and successor is not None:
                loss.waiting.discard(name)
                if successor.began <= self.history.faults[loss.fault][1] + _AFTER_SECONDS:
                    self.failovers.setdefault(loss.name, []).append(self.now - loss.at)

    def _check_service(self, loss: _Loss) -> None:
        """I11: within ten seconds the other server serves, unless the first one is back."""
        loss.waiting = {
            name for name in loss.waiting if name in self._clients and not self._disturbed(name)
        }
        waiting = loss.waiting & loss.hurried
        if self.now <= loss.at + FAILOVER_SECONDS or not waiting:
            return
        began, ended, kind, _ = self.history.faults[loss.fault]
        if kind == "crash" or ended > began + FAILOVER_SECONDS:
            late = ", ".join(sorted(waiting))
            text = f"{late}: nobody serves since {loss.name} at {loss.at:.3f} s"
            self.history.violate("I11", self.now, text)
        loss.waiting = set()


_SERVICE = ("put", "deleted", "expired", "acknowledged")
