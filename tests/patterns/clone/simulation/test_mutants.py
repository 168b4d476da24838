"""Every planted bug is caught: a checker that finds nothing may be blind."""

import pytest

from .mutants import LIMIT, MUTANTS, seeds_to_catch


def test_there_are_enough_and_each_has_a_name():
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS) >= 25


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_planted_bug_is_caught(mutant):
    seeds = range(mutant.first, mutant.first + LIMIT)
    count, caught_by = seeds_to_catch(mutant, mutant.scenario, seeds)
    assert 0 < count <= LIMIT
    # That something raises is the end of a run, and says nothing of a bug that does not raise.
    assert (caught_by == "I18") is (mutant.failure in ("F33", "I18"))
