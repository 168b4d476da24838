"""What the cluster under test tells its history: faults that have an effect, errors of the dead."""

from dataclasses import replace

from patterns.clone.simulation import Step, generate, run
from patterns.clone.simulation.cluster import Cluster
from patterns.clone.simulation.observed import ObservedServer


def with_faults(*faults):
    """A schedule of nothing but these."""
    return replace(generate(0, "calm"), steps=faults)


def test_a_fault_that_has_no_effect_is_none():
    """Who is down cannot die, who stands still cannot stop: that is to excuse nothing."""
    clusters = []

    class Kept(Cluster):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            clusters.append(self)

    schedule = with_faults(
        Step(10.0, "crash", ("primary",), 3.0),
        Step(11.0, "power", ("primary",), 3.0),
        Step(25.0, "pause", ("backup",), 1.0),
        Step(25.5, "pause", ("backup",), 9.0),
    )
    assert run(schedule, Kept).violations == ()
    faults = [(begin, kind) for begin, _, kind, _ in clusters[0].history.faults]
    assert faults == [(10.0, "crash"), (25.0, "pause")]


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
