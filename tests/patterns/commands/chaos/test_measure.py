"""How memory grows: least squares within the lives of processes."""

import os

import pytest

from patterns.commands.chaos.measure import Life, Sample, descriptors, sample, slope


def life(began, megabytes_at, seconds, descriptors_at=lambda age: 9):
    times = range(0, seconds + 1, 10)
    samples = [Sample(began + age, megabytes_at(age), descriptors_at(age)) for age in times]
    return Life("client", "reader-0", began, samples)


def test_a_process_that_grows_has_the_slope_of_its_growth():
    assert slope([life(100.0, lambda age: 30 + age / 3600, 600)], 60.0) == pytest.approx(1.0)


def test_a_process_that_does_not_grow_has_none():
    assert slope([life(0.0, lambda age: 30.0, 600)], 60.0) == pytest.approx(0.0)


def test_what_a_process_takes_to_warm_up_does_not_count():
    grows_first = life(0.0, lambda age: min(age, 60), 600)
    assert slope([grows_first], 60.0) == pytest.approx(0.0)
    assert slope([grows_first], 0.0) > 100.0


def test_a_life_that_begins_larger_is_no_growth():
    lives = [life(0.0, lambda age: 30.0, 300), life(400.0, lambda age: 50.0, 300)]
    assert slope(lives, 60.0) == pytest.approx(0.0)


def test_less_than_a_minute_says_nothing():
    assert slope([life(0.0, lambda age: 30.0, 100)], 60.0) is None
    assert slope([], 60.0) is None


def test_descriptors_are_those_of_the_longest_life():
    lives = [
        life(0.0, lambda age: 1.0, 200, lambda age: 7),
        life(0.0, lambda age: 1.0, 400, lambda age: 8 + age // 100),
    ]
    assert descriptors(lives, 100.0) == (9, 12)
    assert descriptors(lives, 1000.0) is None


def test_a_process_is_measured_while_it_is_there():
    measured = sample(os.getpid(), 5.0)
    assert measured.at == 5.0
    assert measured.megabytes > 1.0
    assert measured.descriptors > 2
    assert sample(2**22 + 1, 5.0) is None
