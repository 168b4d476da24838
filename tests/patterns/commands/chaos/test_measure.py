"""How memory and descriptors grow, within the longest life of a process."""

import os
import subprocess
import sys

import pytest

from patterns.commands.chaos.measure import GROWING_SECONDS, Life, Sample, memory, sample, slope

LONG = 3600


def life(megabytes_at, seconds, *, began=0.0, descriptors_at=lambda age: 9):
    times = range(0, seconds + 1, 10)
    return Life(began, [Sample(began + at, megabytes_at(at), descriptors_at(at)) for at in times])


def test_a_process_that_grows_has_the_slope_of_its_growth():
    assert slope(life(lambda age: 30 + age / 3600, LONG, began=100.0)) == pytest.approx(1.0)


def test_a_process_that_does_not_grow_has_none():
    assert slope(life(lambda age: 30.0, LONG)) == 0.0


def test_how_a_process_grows_at_first_does_not_count():
    assert slope(life(lambda age: min(age, LONG / 2), LONG)) == 0.0
    assert slope(life(lambda age: min(age, LONG / 2 + 600), LONG)) > 100.0


def test_who_has_not_lived_for_long_enough_tells_nothing():
    enough = int(2 * GROWING_SECONDS)
    assert slope(life(lambda age: 30.0, enough - 10)) is None
    assert slope(life(lambda age: 30.0, enough)) == 0.0
    assert slope(Life(0.0)) is None


def test_the_longest_life_tells_what_can_be_told():
    lives = [life(lambda age: 70.0, 200), life(lambda age: 50.0, LONG, began=300.0), Life(4000.0)]
    found = memory(lives)
    assert (found.lives, found.minutes, found.samples) == (3, 60.0, 361)
    assert found.slope == 0.0
    assert memory([Life(0.0)]) is None
    assert memory([]) is None


def test_megabytes_are_told_every_ten_minutes():
    found = memory([life(lambda age: 30 + age / 600, LONG)])
    assert found.megabytes == [30.0, 31.0, 32.0, 33.0, 34.0, 35.0, 36.0]


def test_descriptors_are_compared_between_the_first_and_the_last_third():
    leaks = memory([life(lambda age: 1.0, LONG, descriptors_at=lambda age: 8 + age // 600)])
    assert leaks.descriptors == ((8, 9), (13, 14))
    swings = memory([life(lambda age: 1.0, LONG, descriptors_at=lambda age: 8 + age % 30 // 20)])
    assert swings.descriptors == ((8, 9), (8, 9))


def test_a_process_is_measured_while_it_is_there():
    measured = sample(os.getpid(), 5.0)
    assert measured.at == 5.0
    assert measured.megabytes > 1.0
    assert measured.descriptors > 2
    assert sample(2**22 + 1, 5.0) is None


def test_who_is_dead_and_not_yet_missed_has_no_memory():
    with subprocess.Popen([sys.executable, "-c", ""], stdout=subprocess.PIPE) as child:
        child.stdout.read()  # until it has ended
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert sample(child.pid, 5.0) is None
