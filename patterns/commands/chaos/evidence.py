"""What a run has left in its folder, and the report of it.

The report is made of the journals and logs alone and of what the judge says of them, so that it can
be made again whatever becomes of the one that a run prints.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from patterns.clone.replication import ReplicationPolicy
from patterns.commands.chaos.cluster import LATE
from patterns.commands.chaos.journal import JournalReader, Line
from patterns.commands.chaos.measure import Life, Sample, memory
from patterns.commands.chaos.merged import CHAOS
from patterns.commands.chaos.report import Report
from patterns.commands.replication_options import policy_of, without_peer_of

_UNHANDLED = re.compile(
    r"Traceback \(most recent call last\)|Exception ignored|was never (?:retrieved|awaited)"
)


@dataclass
class _Run:
    """What the journal of the chaos itself says."""

    plan: Line
    ended_at: float
    faults: Counter[str] = field(default_factory=Counter)
    found: Counter[str] = field(default_factory=Counter)  # by invariant
    late_joins: int = 0
    lives: dict[str, list[Life]] = field(default_factory=dict)

    def take(self, line: Line) -> None:
        """The next line."""
        match line["what"]:
            case "born":
                self.lives.setdefault(line["who"], []).append(Life(line["at"]))
                self.late_joins += line["who"] == LATE and line["life"] > 1
            case "measured":
                measured = Sample(line["at"], line["megabytes"], line["descriptors"])
                self.lives[line["who"]][-1].samples.append(measured)
            case "fault":
                self.faults[line["name"]] += 1
            case "violates":
                self.found[line["invariant"]] += 1
            case "settled":
                self.ended_at = line["at"]


def chaos_lines(folder: Path) -> list[Line]:
    """The journal of the chaos itself, whose first line is the plan."""
    return JournalReader(folder / f"{CHAOS}.jsonl").read_until(float("inf"))


def planned_policy(plan: Line) -> ReplicationPolicy:
    """The policy of both servers; a plan from before there were several tells none."""
    return policy_of(plan.get("ack"), plan.get("without_peer"))


def report_of(folder: Path, verdict: Mapping[str, Any]) -> Report:
    """The report of the run that has left this folder; `verdict` is what the judge says of it."""
    lines = chaos_lines(folder)
    run = _Run(lines[0], lines[-1]["at"])
    for line in lines:
        run.take(line)
    policy = planned_policy(run.plan)
    logs = sorted(folder.glob("*.log"))
    return Report(
        where=run.plan["where"],
        seed=run.plan["seed"],
        ack=policy.level,
        without_peer=without_peer_of(policy),
        seconds=run.ended_at - run.plan["at"],
        faults=dict(run.faults),
        published=verdict["published"],
        acknowledged=verdict["acknowledged"],
        failed=verdict["failed"],
        unanswered=verdict["unanswered"],
        lost=verdict["lost"],
        overwritten=verdict["overwritten"],
        divergent=run.found["I10"],
        stuck=run.found["I11"],
        late_joins=run.late_joins,
        activities=verdict["activities"],
        conflicts=sum(map(conflicts, logs)),
        given_up=verdict["given_up"],
        failovers=verdict["failovers"],
        memory={
            name: measured
            for name, lives in run.lives.items()
            if (measured := memory(lives)) is not None
        },
        unhandled=[line for log in logs for line in unhandled(log)],
        violations=verdict["violations"],
        listed=verdict["first"],
    )


def conflicts(log: Path) -> int:
    """How often a server has yielded to another active one, which tells of it as well."""
    lines = log.read_text(errors="replace").splitlines()
    return sum("both servers were active" in line and '"won": false' in line for line in lines)


def unhandled(log: Path) -> list[str]:
    """What a process has written to its log of exceptions that nobody handled."""
    return [
        f"{log.name}:{number}: {line.strip()[:200]}"
        for number, line in enumerate(log.read_text(errors="replace").splitlines(), 1)
        if _UNHANDLED.search(line)
    ]
