"""The Guide's design on the same schedules: its known failures show, and where it is well it is."""

import pytest

from patterns.clone.simulation import generate
from patterns.clone.simulation.baseline import judge_guide, judge_ours, table_row


def found_by(judge, scenario, seeds):
    return set().union(*(judge(generate(seed, scenario)) for seed in range(seeds)))


def test_without_a_fault_both_designs_are_well():
    assert found_by(judge_guide, "calm", 3) == set()
    assert found_by(judge_ours, "calm", 3) == set()


@pytest.mark.parametrize(
    ("scenario", "failure"),
    [
        ("calm-ttl", "pending leaks"),  # F14
        ("crash", "pending leaks"),  # F12
        ("crash", "client stuck"),  # F28
        ("crash-ttl", "passive differs"),  # F15
        ("server-link-reset", "passive differs"),  # F30
    ],
)
def test_the_failures_of_the_guides_design_show(scenario, failure):
    assert failure in found_by(judge_guide, scenario, 12)


def test_a_row_counts_runs():
    row = table_row("calm", lambda schedule: {"odd"} if schedule.seed % 2 else set(), 4)
    assert row == "50 % clean; odd 50 %"
