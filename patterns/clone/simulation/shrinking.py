"""Shrinking: the shortest schedule found that still breaks the same invariant, as a pytest file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from patterns.clone.simulation.runs import Result, run
from patterns.clone.simulation.schedule import OPERATIONS, Schedule, Step

Run = Callable[[Schedule], Result]

_FIRST_PARTS = 2


class _Budget:
    """So many runs and no more: the last half of a shrinking gains little."""

    def __init__(self, run: Run, invariant: str, runs: int) -> None:
        self.left = runs
        self._run = run
        self._invariant = invariant

    def fails(self, schedule: Schedule) -> bool:
        """Whether a schedule still breaks the invariant; False when nothing is left."""
        if not self.left:
            return False
        self.left -= 1
        violations = self._run(schedule).violations
        return any(each.invariant == self._invariant for each in violations)


def shrink(schedule: Schedule, invariant: str, *, runs: int = 400, run: Run = run) -> Schedule:
    """Return a schedule as short as can be found in so many `runs` that breaks the invariant.

    First steps are left out (delta debugging), then clients, then chance is taken out of the
    network, and faults are made shorter. The schedule itself if it does not fail.
    """
    budget = _Budget(run, invariant, runs)
    if not budget.fails(schedule):
        return schedule
    schedule = replace(schedule, steps=tuple(_fewer(budget, schedule)))
    for candidate in _simpler(schedule):
        merged = _merge(schedule, candidate)
        if merged != schedule and budget.fails(merged):
            schedule = merged
    return replace(schedule, steps=tuple(_shorter(budget, schedule)))


def _fewer(budget: _Budget, schedule: Schedule) -> list[Step]:
    """Delta debugging: leave out ever smaller parts, as long as it still fails."""
    steps, parts = list(schedule.steps), _FIRST_PARTS
    while len(steps) > 1 and budget.left:
        size = max(1, len(steps) // parts)
        for begin in range(0, len(steps), size):
            rest = steps[:begin] + steps[begin + size :]
            if budget.fails(replace(schedule, steps=tuple(rest))):
                steps, parts = rest, max(_FIRST_PARTS, parts - 1)
                break
        else:
            if size == 1:
                break
            parts = min(len(steps), 2 * parts)
    return steps


def _simpler(schedule: Schedule) -> Iterator[dict[str, object]]:
    """What may be made plainer, each on its own."""
    used = {name for step in schedule.steps for name in step.nodes}
    for member in schedule.members[1:]:
        if member.name not in used:
            yield {"without": member}
    yield {"drift": 0.0}
    yield {"jitter": 0.0}
    yield {"squeeze": 0}
    yield {"ack": "applied"}


def _merge(schedule: Schedule, change: dict[str, object]) -> Schedule:
    if "without" in change:
        members = tuple(each for each in schedule.members if each != change["without"])
        return replace(schedule, members=members)
    return replace(schedule, **change)  # type: ignore[arg-type]


def _shorter(budget: _Budget, schedule: Schedule) -> list[Step]:
    steps = list(schedule.steps)
    for number, step in enumerate(steps):
        if step.kind in (*OPERATIONS, "clock"):
            continue
        for seconds in (step.seconds / 4, step.seconds / 2, round(step.seconds)):
            tried = [*steps]
            tried[number] = replace(step, seconds=round(seconds, 3))
            if seconds < step.seconds and budget.fails(replace(schedule, steps=tuple(tried))):
                steps = tried
                break
    return steps


def pytest_file(schedule: Schedule, violation: str) -> str:
    """The source of a test that runs a schedule and passes when nothing is violated."""
    told: list[str] = []
    run(schedule, on_event=lambda line: told.append(line) if ">" not in line else None)
    story = "\n".join(f"#   {line}" for line in told[:100])
    steps = "\n".join(f"        {step!r}," for step in schedule.steps)
    members = "\n".join(f"        {member!r}," for member in schedule.members)
    return f'''"""Seed {schedule.seed} of the scenario {schedule.scenario}, shrunk.

{violation}
"""

from patterns.clone.simulation import Member, Schedule, Step, run

SCHEDULE = Schedule(
    seed={schedule.seed},
    scenario={schedule.scenario!r},
    members=(
{members}
    ),
    steps=(
{steps}
    ),
    squeeze={schedule.squeeze},
    drift={schedule.drift},
    jitter={schedule.jitter},
    ack={schedule.ack!r},
    without_peer={schedule.without_peer!r},
)

# What happens:
{story}


def test_{schedule.scenario.replace("-", "_")}_{schedule.seed}():
    assert [str(violation) for violation in run(SCHEDULE).violations] == []
'''
