"""Whether active servers keep to the policy of the pair, by what the chaos knows of their peers.

What a server publishes or takes without its peer is right while that does not confirm. Whether it
does, the server itself says in its journal; what has happened to the two says it once more.
"""

from __future__ import annotations

from collections import Counter

from patterns.clone.levels import APPLIED, REPLICATED, UNREPLICATED
from patterns.clone.messages import decode_refusal
from patterns.clone.replication import ReplicationPolicy
from patterns.clone.simulation.history import Fault, History
from patterns.clone.simulation.server_recorder import ServerRecorder
from patterns.commands.chaos.journal import Line
from patterns.commands.chaos.recorders import update_of

# A server asks its peer every second, and waits a second for the answer. On a busy machine too it
# knows after so long that its peer is lost, or back: mostly it takes less than one second.
LOST_SECONDS = 5.0
STEADY_SECONDS = 5.0
# In these the other server confirms nothing, or is not heard.
_SEPARATING = ("cut", "pause")


class PolicyCheck:
    """Is told what happens to the servers, and looks at what the active one does.

    `published` counts updates by whether the passive server had confirmed them before.
    """

    def __init__(self, history: History, policy: ReplicationPolicy) -> None:
        self.published: Counter[str] = Counter()
        self._history = history
        self._policy = policy
        self._holds_back = policy.level == REPLICATED
        self._leads: dict[str, bool] = {}  # of the processes that live
        self._alone_since: dict[str, float] = {}  # whom nobody follows
        self._faults: dict[int, Fault] = {}  # under way, by number
        self._resumed_at: dict[str, float] = {}
        self._steady_since = 0.0

    # What happens to the servers

    def born(self, name: str, now: float) -> None:
        """A process of a server begins."""
        self._leads[name] = False
        self._changed(now)

    def died(self, name: str, now: float) -> None:
        """It has ended."""
        del self._leads[name]
        self._alone_since.pop(name, None)
        self._changed(now)

    def hurt(self, number: int, fault: Fault) -> None:
        """Something goes wrong at a server or between the two; it ends as planned, or later."""
        self._faults[number] = fault
        self._steady_since = fault[0]

    def healed(self, number: int, now: float) -> None:
        """It does not any more."""
        _, _, kind, nodes = self._faults.pop(number)
        if kind == "pause":
            self._resumed_at.update(dict.fromkeys(nodes, now))
        self._steady_since = now

    def _changed(self, now: float) -> None:
        self._steady_since = now
        for name in self._leads:
            if any(other != name and not leads for other, leads in self._leads.items()):
                self._alone_since.pop(name, None)
            else:
                self._alone_since.setdefault(name, now)

    # What the servers do

    def take(self, recorder: ServerRecorder, name: str, line: Line, released: bool) -> None:
        """A server's line, which its recorder was told; it has `released` a new number, or not."""
        match line["what"]:
            case "begin" | "yields":
                self._leads[name] = line["what"] == "begin"
                self._changed(line["at"])
            case "copy":
                self._steady_since = line["at"]
            case "stored" if line["update"]:
                self._check_taken(recorder, name, line)
            case "published" if released:
                self._check_released(recorder, name, line)
            case "published" if not line["sequence"]:
                self._check_refusal(recorder, name, line)

    def _check_released(self, recorder: ServerRecorder, name: str, line: Line) -> None:
        """I20: what is to be confirmed is, when nothing keeps the passive server from it."""
        confirmed = line["sequence"] <= line["confirmed"]
        self.published[REPLICATED if confirmed else APPLIED] += 1
        if self._holds_back and not confirmed and self._is_steady(name, line["at"]):
            text = f"publishes {line['sequence']:x} unconfirmed, with nothing wrong at the servers"
            recorder.violate("I20", text)

    def _check_taken(self, recorder: ServerRecorder, name: str, line: Line) -> None:
        """I21: what is to be replicated or refused is not taken when nobody can confirm it."""
        write = self._history.writes.get(update_of(line)[2])
        if write is None or not self._policy.refuses:
            return
        to_be_replicated = self._holds_back or write.level == REPLICATED
        if to_be_replicated and self._has_lost_its_peer(name, line["at"]):
            text = f"takes {line['sequence']:x}, which it has to refuse: nobody could confirm it"
            recorder.violate("I21", text)

    def _check_refusal(self, recorder: ServerRecorder, name: str, line: Line) -> None:
        """I11: nothing is refused for want of a passive server that keeps up."""
        frames = update_of(line)
        if not frames[2] or decode_refusal(frames) != UNREPLICATED:
            return
        _, first_at = self._history.refused.get(frames[2], (None, 0.0))
        if first_at == line["at"] and self._is_steady(name, line["at"]):
            text = f"refuses an update of {frames[0]!r}, with nothing wrong at the servers"
            recorder.violate("I11", text)

    def _is_steady(self, name: str, now: float) -> bool:
        """Whether the other server has followed this one for a while, and nothing has happened."""
        quiet = not self._faults and now >= self._steady_since + STEADY_SECONDS
        return quiet and name not in self._alone_since

    def _has_lost_its_peer(self, name: str, now: float) -> bool:
        """Whether the other server could not confirm anything for a while, and this one knows it.

        A server that stood still itself may not know it yet.
        """
        since = now - LOST_SECONDS
        paused = any(kind == "pause" and name in nodes for *_, kind, nodes in self._faults.values())
        if paused or self._resumed_at.get(name, 0.0) > since:
            return False
        if self._alone_since.get(name, now) <= since:
            return True
        # It may be healed a moment before that is written down, and never before it was meant to.
        return any(
            kind in _SEPARATING and begin <= since and now < until
            for begin, until, kind, _ in self._faults.values()
        )
