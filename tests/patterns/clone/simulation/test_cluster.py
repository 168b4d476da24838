"""What the cluster under test tells its history: faults that have an effect, errors of the dead."""

from dataclasses import replace

import pytest

from patterns.binary_star.messages import State
from patterns.binary_star.table import TABLE, Event
from patterns.clone.simulation import Step, generate, run
from patterns.clone.simulation.cluster import Cluster
from patterns.clone.simulation.observed import ObservedServer


def with_faults(*faults):
    """A schedule of nothing but these."""
    return replace(generate(0, "calm"), steps=faults)


def noted(schedule):
    """Run it: the faults that its history has, each as its beginning and kind."""
    clusters = []

    class Kept(Cluster):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            clusters.append(self)

    assert run(schedule, Kept).violations == ()
    return [(begin, kind) for begin, _, kind, _ in clusters[0].history.faults]


def test_a_fault_that_has_no_effect_is_none():
    """Who is down cannot die, who stands still cannot stop: that is to excuse nothing."""
    schedule = with_faults(
        Step(10.0, "crash", ("primary",), 3.0),
        Step(11.0, "power", ("primary",), 3.0),
        Step(25.0, "pause", ("backup",), 1.0),
        Step(25.5, "pause", ("backup",), 9.0),
        Step(35.0, "drop", ("primary", "primary"), detail=("2",)),  # it sends itself nothing
    )
    assert noted(schedule) == [(10.0, "crash"), (25.0, "pause")]


def test_two_delays_of_a_link_at_once_are_more_than_a_slow_link():
    """They add up, to more than the second that is a slow link's most (mixed, 11308697)."""
    one = ("backup", "primary")
    schedule = with_faults(
        Step(10.0, "slow", one, 9.0, detail=("1.0",)),
        Step(12.0, "slow", ("primary", "client-0"), 2.0, detail=("0.3",)),
        Step(14.0, "slow", one[::-1], 2.0, detail=("0.3",)),
        Step(30.0, "slow", one, 2.0, detail=("0.3",)),
    )
    assert noted(schedule) == [(10.0, "slow"), (12.0, "slow"), (14.0, "trickle"), (30.0, "slow")]


def test_i18_an_error_of_a_server_that_dies_is_counted():
    """Nobody could ask it afterwards, and once in five seconds is too seldom."""

    class Failing(ObservedServer):
        def tick(self):
            super().tick()
            if 11.0 < self.recorder.now < 12.0 and self.recorder.name == "primary":
                raise RuntimeError("planted")

    class Broken(Cluster):
        server_class = Failing

    result = run(with_faults(Step(12.0, "crash", ("primary",), 1.0)), Broken)
    assert {(each.invariant, each.at) for each in result.violations} == {("I18", 12.0)}


@pytest.fixture
def no_failover(monkeypatch):
    for event in (Event.REQUEST_PEER_SILENT, Event.PEER_GONE, Event.PEER_PRIMARY):
        monkeypatch.setitem(TABLE, (State.PASSIVE, event), (State.PASSIVE, ()))


def test_i11_a_server_that_stands_still_does_not_serve(no_failover):
    """Though it is active as far as it knows."""
    result = run(with_faults(Step(10.0, "pause", ("primary",), 16.0)))
    assert {str(each) for each in result.violations} >= {
        "I11 at 21.000 s: nobody serves, primary is gone since 10.0 s"
    }


def test_i11_a_client_that_asks_is_needed_for_a_failover(no_failover):
    """What has happened to all of them may keep them from it."""
    clients = (Step(9.0, "pause", (f"client-{n}",), 9.0) for n in range(3))
    result = run(with_faults(*clients, Step(10.0, "pause", ("primary",), 16.0)))
    assert result.violations == ()


@pytest.mark.parametrize("ends", [True, False])
def test_i11_a_third_fault_may_end_an_outage_before_an_operator_does(ends):
    """As it kills who holds an old copy: then who has nothing leads (mixed, 11383561)."""
    schedule = generate(11383561, "mixed")
    steps = [each for each in schedule.steps if ends or each.kind != "power"]
    assert len(schedule.steps) - len(steps) == (0 if ends else 1)
    result = run(replace(schedule, steps=tuple(steps)))
    assert (result.violations, result.promotions) == ((), 0 if ends else 1)
    assert result.failed > 0


@pytest.mark.parametrize(("later", "promotions"), [(0.0, 1), (0.5, 0)])
def test_i11_who_dies_in_the_moment_after_a_switchover_leaves_no_complete_copy(later, promotions):
    """The one that has handed over has not begun to follow; half a second later it does."""
    schedule = generate(11470813, "mixed")
    steps = tuple(
        replace(each, at=each.at + later * (each.kind == "crash")) for each in schedule.steps
    )
    result = run(replace(schedule, steps=steps))
    assert (result.violations, result.promotions) == ((), promotions)


def test_i11_it_takes_no_operator_after_one_fault(monkeypatch):
    """Here a passive server forgets at its peer's death that its copy is complete."""
    for event in (Event.REQUEST_PEER_SILENT, Event.PEER_GONE, Event.PEER_PRIMARY):
        monkeypatch.setitem(TABLE, (State.PASSIVE, event), (State.SYNCING, ()))
    result = run(with_faults(Step(10.0, "crash", ("primary",), 2.0)))
    assert [each.invariant for each in result.violations if "operator" in each.text] == ["I11"]
