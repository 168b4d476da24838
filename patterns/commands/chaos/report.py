"""What the chaos has found: a table, or one JSON object."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from patterns.clone.levels import APPLIED, REPLICATED, UNREPLICATED
from patterns.commands.chaos.measure import Memory

_LISTED = 20


@dataclass(frozen=True, slots=True)
class Report:
    """The result of a run. By level, by kind of fault, by reason, by process.

    `published` is by the level that an update had reached when clients first saw it; all else by
    that which its writer has asked for.
    """

    where: str
    seed: int
    ack: str
    without_peer: str
    seconds: float
    faults: Mapping[str, int]
    published: Mapping[str, int]
    acknowledged: Mapping[str, int]
    failed: Mapping[str, int]
    unanswered: int
    lost: Mapping[str, int]
    overwritten: Mapping[str, int]
    divergent: int
    stuck: int
    late_joins: int
    activities: int
    conflicts: int
    given_up: int
    failovers: Mapping[str, Sequence[float]]
    memory: Mapping[str, Memory]
    unhandled: Sequence[str]
    violations: int
    listed: Sequence[str]

    @property
    def passed(self) -> bool:
        """Nothing that is promised was broken, and no process met what it could not handle."""
        found = self.violations or self.unhandled or self.divergent or self.stuck
        return not (found or self.lost.get(REPLICATED) or self.overwritten.get(REPLICATED))

    def table(self) -> str:
        """A line for each finding, then the first of the violations."""
        lines = [f"{name:<24}{text}".rstrip() for name, text in self._rows()]
        return "\n".join([*lines, *self.listed[:_LISTED], *self.unhandled[:_LISTED]])

    def _rows(self) -> list[tuple[str, str]]:
        faults = sum(self.faults.values())
        rows = [
            ("time", f"{self.seconds / 60:.1f} minutes, {self.where}, seed {self.seed}"),
            ("servers", f"--ack {self.ack} --without-peer {self.without_peer}"),
            ("faults", f"{faults:,}, one every {self.seconds / max(faults, 1):.1f} s"),
        ]
        rows += [("", f"{count:5,}  {name}") for name, count in sorted(self.faults.items())]
        rows += self._writes()
        rows += [
            ("divergent", f"{self.divergent:,}"),
            ("stuck", f"{self.stuck:,}"),
            ("unhandled exceptions", f"{len(self.unhandled):,}"),
            ("activities", f"{self.activities:,} of servers; {self.late_joins:,} late joiners"),
            ("conflicts", f"{self.conflicts:,} times two active; {self.given_up:,} keys given up"),
        ]
        rows += [(f"failover, {name}", _spread(each)) for name, each in self.failovers.items()]
        rows += [(f"memory {name}", _memory(each)) for name, each in self.memory.items()]
        return [*rows, ("violations", f"{self.violations:,}")]

    def _writes(self) -> list[tuple[str, str]]:
        both, one = (self.published.get(level, 0) for level in (REPLICATED, APPLIED))
        rows = [
            ("published, on both", f"{both:,} updates, which the passive server had confirmed"),
            ("published, on one", f"{one:,}, for it did not keep up"),
        ]
        rows = rows if self.ack == REPLICATED else []
        rows += [(f"acknowledged {level}", f"{n:,}") for level, n in self.acknowledged.items()]
        rows += [
            ("unknown", f"{self._unknown():,} (given up, or their client was killed)"),
            ("told as only applied", f"{self.failed.get(APPLIED, 0):,} that were to be replicated"),
            ("refused, unreplicated", f"{self.failed.get(UNREPLICATED, 0):,} for want of a peer"),
            ("refused", f"{self._refused():,} (conflicts of compare-and-set, and others)"),
        ]
        for level, lost in self.lost.items():
            since = f"and {self.overwritten[level]:,} that were overwritten since"
            rows.append((f"lost {level}", f"{lost:,}, {since}"))
        return rows

    def _unknown(self) -> int:
        return self.unanswered + sum(self.failed.get(each, 0) for each in _UNKNOWN)

    def _refused(self) -> int:
        known = (*_UNKNOWN, APPLIED, UNREPLICATED)
        return sum(count for reason, count in self.failed.items() if reason not in known)

    def as_json(self) -> str:
        """Everything as one JSON object, in seconds, megabytes and numbers."""
        figures = asdict(self)
        figures["failovers"] = {
            name: {f"p{share}": quantile(each, share) for share in (50, 99, 100)}
            | {"seen": len(each)}
            for name, each in self.failovers.items()
        }
        return json.dumps({"passed": self.passed, **figures})


_UNKNOWN = ("timeout", "closed", "crashed")


def quantile(values: Sequence[float], percent: int) -> float | None:
    """The value that so many percent of the values do not pass; None without values."""
    if not values:
        return None
    ordered = sorted(values)
    return round(ordered[min(len(ordered) * percent // 100, len(ordered) - 1)], 3)


def _spread(values: Sequence[float]) -> str:
    p50, p99, most = (quantile(values, percent) for percent in (50, 99, 100))
    return f"p50 {p50:.2f} s, p99 {p99:.2f} s, longest {most:.2f} s, seen {len(values):,} times"


def _memory(memory: Memory) -> str:
    of = f"the longest of {memory.lives:,} lives" if memory.lives > 1 else "one life"
    slope = "too short to tell" if memory.slope is None else f"{memory.slope:+.1f} MB/h"
    megabytes = ", ".join(f"{each:.0f}" for each in memory.megabytes)
    (first, first_most), (last, last_most) = memory.descriptors
    return (
        f"{slope}, {of}, {memory.minutes:.1f} minutes: {megabytes} MB every ten minutes;"
        f" {first} descriptors ({first_most} at most), in its last third {last} ({last_most})"
    )
