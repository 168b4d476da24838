"""Shrinking: what is not needed goes, what is needed stays."""

from collections import Counter
from dataclasses import replace

import pytest

from patterns.clone.server_protocol import ServerProtocol
from patterns.clone.simulation import Result, Step, Violation, generate, run, shrink
from patterns.clone.simulation.shrinking import pytest_file

WHOLE = generate(3, "swizzle")


def breaks_when(condition):
    """A run that breaks I4 where the condition holds of the schedule."""
    runs = []

    def judge(schedule):
        runs.append(schedule)
        violations = (Violation("I4", 1.0, "planted"),) if condition(schedule) else ()
        return replace(PASSED, schedule=schedule, violations=violations)

    return judge, runs


PASSED = Result(WHOLE, (), "", 0.0, 0, 0, 0, 0, 0, 0, False, 0, Counter())


def needs(*steps):
    return lambda schedule: set(steps) <= set(schedule.steps)


@pytest.mark.parametrize("places", [(0,), (5, 40), (0, 31, 77), tuple(range(10))])
def test_exactly_the_steps_that_are_needed_are_left(places):
    wanted = [WHOLE.steps[place] for place in places]
    judge, runs = breaks_when(needs(*wanted))
    short = shrink(WHOLE, "I4", run=judge, runs=2000)
    assert list(short.steps) == wanted
    assert len(runs) < 1000


def test_a_schedule_that_does_not_fail_is_left_as_it_is():
    judge, runs = breaks_when(lambda schedule: False)
    assert shrink(WHOLE, "I4", run=judge) == WHOLE
    assert len(runs) == 1


def test_another_invariant_is_another_failure():
    judge, _ = breaks_when(lambda schedule: True)
    assert shrink(WHOLE, "I7", run=judge) == WHOLE


def test_it_ends_after_so_many_runs():
    judge, runs = breaks_when(needs(*WHOLE.steps[::2]))
    shrink(WHOLE, "I4", run=judge, runs=25)
    assert len(runs) == 25


def test_chance_and_time_are_made_plain():
    schedule = replace(WHOLE, drift=1e-4, jitter=0.02, squeeze=4)
    cut = next(step for step in schedule.steps if step.kind == "cut")
    judge, _ = breaks_when(lambda schedule: any(each.kind == "cut" for each in schedule.steps))
    short = shrink(schedule, "I4", run=judge)
    assert (short.drift, short.jitter, short.squeeze) == (0.0, 0.0, 0)
    (left,) = short.steps
    assert left.seconds < cut.seconds or left.seconds < 5.0
    assert len(short.members) < len(schedule.members)


def test_a_real_failure_becomes_a_test_that_fails(tmp_path, monkeypatch):
    """The source is run: it fails with the bug, and passes without."""

    def fail(self, frames, now):
        raise ZeroDivisionError

    whole = generate(0, "calm")
    with monkeypatch.context() as patch:
        patch.setattr(ServerProtocol, "order_update", fail)
        violation = run(whole).violations[0]
        short = shrink(whole, violation.invariant, runs=60)
        assert len(short.steps) == 1
        source = pytest_file(short, str(violation))
        names: dict = {}
        exec(compile(source, "test_it.py", "exec"), names)
        with pytest.raises(AssertionError):
            names["test_calm_0"]()
    names["test_calm_0"]()
    assert names["SCHEDULE"] == short
    assert isinstance(short.steps[0], Step)
