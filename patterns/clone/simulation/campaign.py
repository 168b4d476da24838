"""A campaign: many seeds, one tally. Seeds go to processes in batches; here is what one does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from patterns.clone.simulation.generation import generate
from patterns.clone.simulation.runs import Result, run
from patterns.clone.simulation.scenarios import SCENARIOS
from patterns.clone.simulation.schedule import END, Schedule

ALL = "all"
_MIXED = SCENARIOS[0]
_LISTED_FAILURES = 1000
_COUNTS = (
    "seeds",
    "acknowledged",
    "failed",
    "degraded",
    "promised",
    "lost",
    "activities",
    "promotions",
    "void",
)


@dataclass(frozen=True, slots=True)
class Failure:
    """A seed that broke an invariant: the first of its violations, in words."""

    seed: int
    scenario: str
    invariant: str
    text: str

    @property
    def command(self) -> str:
        """The line that runs this seed again."""
        return f"reactor simulate --seeds 1 --first {self.seed} --scenario {self.scenario}"


@dataclass
class Tally:
    """What came of all runs so far."""

    seeds: int = 0
    acknowledged: int = 0
    failed: int = 0
    degraded: int = 0
    promised: int = 0
    lost: int = 0
    activities: int = 0
    promotions: int = 0
    void: int = 0
    slowest: float = 0.0
    faults: Counter[tuple[str, str]] = field(default_factory=Counter)
    violated: Counter[str] = field(default_factory=Counter)
    failures: list[Failure] = field(default_factory=list)

    def add(self, result: Result) -> None:
        """Count one more run."""
        self.seeds += 1
        self.acknowledged += result.acknowledged
        self.failed += result.failed
        self.degraded += result.degraded
        self.promised += result.promised
        self.lost += result.lost
        self.activities += result.activities
        self.promotions += result.promotions
        self.void += result.void
        self.slowest = max(self.slowest, result.settled or 0.0)
        self.faults += result.faults
        if result.violations:
            self.violated.update({each.invariant for each in result.violations})
            first = result.violations[0]
            schedule = result.schedule
            self.failures.append(
                Failure(schedule.seed, schedule.scenario, first.invariant, str(first))
            )

    def merge(self, other: Tally) -> None:
        """Count what another process has counted."""
        for name in _COUNTS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.slowest = max(self.slowest, other.slowest)
        self.faults += other.faults
        self.violated += other.violated
        self.failures = [*self.failures, *other.failures][:_LISTED_FAILURES]

    def summary(self) -> str:
        """One line for people."""
        found = f"{sum(1 for _ in self.failures)} seeds failed" if self.failures else "0 violations"
        hours = self.seeds * END / 3600
        return (
            f"{self.seeds} seeds, {hours:.1f} virtual hours, {sum(self.faults.values())} faults, "
            f"{self.activities - self.seeds} failovers, {self.acknowledged} writes acknowledged, "
            f"{self.lost} of them lost with a server, {self.failed} failed, "
            f"{self.promised} updates on both servers, {self.degraded} told that they are not, "
            f"{self.void} seeds judged up to an epoch used twice: {found}"
        )


def schedule_of(seed: int, scenario: str = ALL) -> Schedule:
    """The schedule of a seed. Of all: every second seed is mixed, the others take turns."""
    if scenario == ALL:
        scenario = _MIXED if seed % 2 else SCENARIOS[seed // 2 % len(SCENARIOS)]
    return generate(seed, scenario)


def run_seeds(
    seeds: Iterable[int], scenario: str = ALL, run: Callable[[Schedule], Result] = run
) -> Tally:
    """Run seeds one after the other."""
    tally = Tally()
    for seed in seeds:
        tally.add(run(schedule_of(seed, scenario)))
    return tally
