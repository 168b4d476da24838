"""Some seeds of every scenario, on the real handlers; `reactor simulate` runs them by the thousand.

REACTOR_SIMULATION_SEEDS says how many of each scenario.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from patterns.clone.simulation import SCENARIOS, generate, run
from patterns.clone.simulation.cluster import Cluster

SEEDS = int(os.environ.get("REACTOR_SIMULATION_SEEDS", "4"))


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_no_invariant_is_violated(scenario):
    for seed in range(SEEDS):
        result = run(generate(seed, scenario))
        assert [str(each) for each in result.violations] == [], f"{scenario}, seed {seed}"
        assert result.acknowledged > 10


def test_a_loss_of_the_last_updates_that_is_noticed_after_they_agreed_is_mended_in_time():
    """A queue of two messages loses one after all is healed; the client pauses for 18 s."""
    assert run(generate(10439615, "mixed")).violations == ()


def test_i6b_what_a_dead_peer_had_sent_does_not_confirm_to_who_wakes_that_it_is_there():
    """Its last word was long on its way to a server that stood still."""
    assert run(generate(10913528, "held")).violations == ()


def test_messages_that_are_dropped_are_a_fault_when_they_are_lost():
    """That may be long after it was planned; what was acknowledged before is not excused by it."""
    clusters = []

    class Kept(Cluster):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            clusters.append(self)

    schedule = generate(10927741, "mixed")
    (planned,) = [step.at for step in schedule.steps if step.kind == "drop"]
    (switchover,) = [step.at for step in schedule.steps if step.kind == "switchover"]
    assert run(schedule, Kept).violations == ()
    (begin, end), *more = [fault[:2] for fault in clusters[0].history.faults if fault[2] == "drop"]
    assert planned < switchover < begin <= end < switchover + 1.0
    assert not more


@pytest.mark.parametrize("scenario", ["mixed", "squeeze"])
def test_i19_the_same_seed_gives_the_same_trace(scenario):
    first, second = (run(generate(9, scenario)) for _ in range(2))
    assert first.trace == second.trace
    assert first.trace != run(generate(10, scenario)).trace


@pytest.mark.parametrize("hash_seed", ["0", "4711"])
def test_i19_the_trace_does_not_depend_on_the_process(hash_seed):
    program = "from patterns.clone.simulation import generate, run; print(run(generate(9)).trace)"
    told = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(__file__).parents[4],
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        check=True,
        text=True,
        timeout=50,
    )
    assert told.stdout.splitlines()[-1] == run(generate(9)).trace


def test_a_schedule_is_made_of_its_seed_alone():
    assert generate(3) == generate(3)
    assert generate(3) != generate(4)
    with pytest.raises(ValueError, match="no scenario"):
        generate(3, "weather")
