"""The memory of what became of updates, and of the order in which a client made them."""

from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from patterns.clone.duplicates import SUPERSEDED, DuplicateFilter
from patterns.clone.numbered import CLIENT_SIZE, NumberedUuids, is_numbered

UUID = bytes(range(16))
KEY = b"/a"


def test_an_applied_uuid_is_known_by_its_sequence():
    applied = DuplicateFilter()
    applied.remember(UUID, 7, KEY, 100.0)
    assert applied.seen(UUID, KEY, 101.0) == 7
    assert applied.seen(bytes(16), KEY, 101.0) is None


def test_s6_12_updates_without_a_uuid_are_never_duplicates():
    applied = DuplicateFilter()
    applied.remember(b"", 7, KEY, 0.0)
    assert applied.seen(b"", KEY, 0.0) is None
    assert len(applied) == 0


def test_a_uuid_is_forgotten_when_it_is_too_old():
    applied = DuplicateFilter(max_age=10.0)
    applied.remember(UUID, 7, KEY, 100.0)
    assert applied.seen(UUID, KEY, 109.9) == 7
    assert applied.seen(UUID, KEY, 110.0) is None
    applied.expire(110.0)
    assert len(applied) == 0


def test_the_oldest_make_room():
    applied = DuplicateFilter(max_entries=2)
    for n in range(3):
        applied.remember(bytes([n]) * 16, n, KEY, 0.0)
    assert [applied.seen(bytes([n]) * 16, KEY, 0.0) for n in range(3)] == [None, 1, 2]


@given(st.lists(st.tuples(st.integers(0, 30), st.floats(0.0, 4.0)), max_size=60))
def test_the_last_half_is_always_known_and_nothing_too_old_ever(arrivals):
    applied = DuplicateFilter(max_entries=8, max_age=10.0)
    now, history = 0.0, []
    for n, pause in arrivals:
        now += pause
        applied.remember(bytes([n]) * 16, n, KEY, now)
        history.append((n, now))
        assert len(applied) <= 8
        ages = {n: now - at for n, at in history}
        known = {n for n in ages if applied.seen(bytes([n]) * 16, KEY, now) is not None}
        assert known >= {n for n, at in history[-4:] if now - at < 5.0}
        assert all(ages[n] < 10.0 for n in known)


def test_one_that_is_remembered_again_is_young_again():
    applied = DuplicateFilter(max_entries=2)
    for n in (0, 1, 0, 2):
        applied.remember(bytes([n]) * 16, n, KEY, 0.0)
    assert applied.seen(bytes(16), KEY, 0.0) == 0
    assert applied.seen(bytes([1]) * 16, KEY, 0.0) is None


def test_clearing_forgets_everything():
    applied = DuplicateFilter()
    applied.remember(UUID, 7, KEY, 0.0)
    applied.clear()
    assert applied.seen(UUID, KEY, 0.0) is None


# --- the order of one client's writes


def numbered(name=b"c"):
    """Makes the uuids of one client's writes."""
    return NumberedUuids(lambda: name * 16)


@pytest.fixture
def uuids():
    """The first, second and third write of a client."""
    make_uuid = numbered()
    return [make_uuid() for _ in range(3)]


def test_an_earlier_write_comes_too_late_for_its_key(uuids):
    applied = DuplicateFilter()
    applied.remember(uuids[1], 7, KEY, 0.0)
    assert applied.seen(uuids[0], KEY, 0.0) == SUPERSEDED
    assert applied.seen(uuids[1], KEY, 0.0) == 7
    assert applied.seen(uuids[2], KEY, 0.0) is None


def test_of_another_key_or_another_client_every_write_is_in_time(uuids):
    applied = DuplicateFilter()
    applied.remember(uuids[2], 7, KEY, 0.0)
    assert applied.seen(uuids[0], b"/b", 0.0) is None
    assert applied.seen(numbered(b"d")(), KEY, 0.0) is None


def test_one_that_was_refused_supersedes_nothing(uuids):
    applied = DuplicateFilter()
    applied.remember(uuids[1], "conflict", None, 0.0)
    assert applied.seen(uuids[0], KEY, 0.0) is None


def test_what_became_of_a_write_is_told_before_that_it_is_late(uuids):
    applied = DuplicateFilter()
    applied.remember(uuids[0], 6, KEY, 0.0)
    applied.remember(uuids[1], 7, KEY, 0.0)
    assert applied.seen(uuids[0], KEY, 0.0) == 6


def test_the_order_is_forgotten_with_the_uuids(uuids):
    applied = DuplicateFilter(max_age=10.0)
    applied.remember(uuids[1], 7, KEY, 0.0)
    assert applied.seen(uuids[0], KEY, 9.9) == SUPERSEDED
    assert applied.seen(uuids[0], KEY, 10.0) is None
    applied.remember(uuids[1], 7, KEY, 10.0)
    applied.clear()
    assert applied.seen(uuids[0], KEY, 10.0) is None


def test_the_order_makes_room_as_the_uuids_do(uuids):
    applied = DuplicateFilter(max_entries=2)
    applied.remember(uuids[1], 7, KEY, 0.0)
    applied.remember(UUID, 8, KEY, 0.0)
    assert applied.seen(uuids[0], KEY, 0.0) == SUPERSEDED
    applied.remember(bytes(16), 9, KEY, 0.0)
    assert applied.seen(uuids[0], KEY, 0.0) is None


def test_who_is_told_the_last_uuids_knows_the_order_as_well(uuids):
    applied, other = DuplicateFilter(), DuplicateFilter()
    applied.remember(uuids[0], 1, KEY, 0.0)
    applied.remember(uuids[1], 2, KEY, 0.0)
    applied.remember(UUID, "full", None, 0.0)
    told = applied.newest(10)
    assert told == [(uuids[0], 1, None), (uuids[1], 2, KEY), (UUID, "full", None)]
    for uuid, result, key in told[1:]:
        other.remember(uuid, result, key, 0.0)
    assert other.seen(uuids[0], KEY, 0.0) == SUPERSEDED


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2), st.booleans()), max_size=40))
def test_no_write_is_let_by_after_a_later_one_of_its_client_and_key(arrivals):
    """Whatever overtakes what: `late` ones are sent only after the next one of their client."""
    makers = [numbered(bytes([name])) for name in range(3)]
    applied, sequences = DuplicateFilter(), count(1)
    held, order = {}, {}
    for client, key, late in arrivals:
        uuid, name = makers[client](), b"/%d" % key
        if late:
            held.setdefault((client, key), []).append(uuid)
            continue
        for candidate in [uuid, *held.pop((client, key), [])]:
            if applied.seen(candidate, name, 0.0) is None:
                applied.remember(candidate, next(sequences), name, 0.0)
                order.setdefault((client, key), []).append(candidate)
    assert all(uuids == sorted(uuids) for uuids in order.values())


# --- uuids with a number


def test_numbered_uuids_are_of_version_8_and_grow():
    make_uuid = NumberedUuids(lambda: b"\xff" * 16)
    first, second = make_uuid(), make_uuid()
    assert first == b"\xff" * 6 + b"\x8f\xff\xbf" + bytes(6) + b"\x01"
    assert second > first
    assert len(first) == 16


@given(st.uuids(version=4))
def test_a_random_uuid_has_no_number(uuid):
    assert not is_numbered(uuid.bytes)
    assert is_numbered(NumberedUuids(lambda: uuid.bytes)())


def test_a_forked_process_names_its_writes_anew():
    """Or the server would take them for those of its parent, and answer them as these."""
    process, names = [1], iter((b"a" * 16, b"b" * 16))
    make_uuid = NumberedUuids(lambda: next(names), lambda: process[0])
    first = make_uuid()
    process[0] = 2
    child = [make_uuid(), make_uuid()]
    assert first[:CLIENT_SIZE] != child[0][:CLIENT_SIZE] == child[1][:CLIENT_SIZE]
    assert is_numbered(child[0]) and child[0] < child[1]
