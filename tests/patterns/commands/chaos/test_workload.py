"""What the writers write."""

import random
from collections import Counter

from patterns.clone.levels import APPLIED, REPLICATED
from patterns.commands.chaos.workload import BIG, next_operation


def operations(seed=1, levels=False):
    chance = random.Random(seed)
    return [next_operation(chance, "writer-0", number, levels) for number in range(2000)]


def test_a_seed_decides_what_is_written():
    assert operations(1) == operations(1) != operations(2)


def test_no_body_is_written_twice():
    bodies = Counter(each.body for each in operations() if each.body)
    assert max(bodies.values()) == 1


def test_there_is_something_of_everything():
    done = operations()
    assert any(not each.body for each in done)
    assert any(len(each.body) >= BIG for each in done)
    assert all(2 <= each.ttl <= 12 for each in done if each.ttl) and any(e.ttl for e in done)
    assert {each.key[:3] for each in done if each.conditional} == {b"/n/"}
    assert {each.level for each in done} == {APPLIED}


def test_levels_are_asked_for_if_wanted():
    levels = Counter(each.level for each in operations(levels=True))
    assert levels[REPLICATED] > 500 and levels[APPLIED] > 500
