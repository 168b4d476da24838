"""What is kept: no socket, no clock."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from patterns.last_value_cache.protocol import LastValues, LimitPolicy


def cache_of(*messages, **limits):
    values = LastValues(**limits)
    for message in messages:
        values.update(message)
    return values


def test_the_last_message_of_a_topic_is_kept():
    values = cache_of([b"a", b"1"], [b"b", b"1"], [b"a", b"2"])
    assert values.lookup(b"a") == (b"a", b"2")
    assert values.lookup(b"c") is None
    assert len(values) == 2


def test_a_prefix_matches_all_its_topics_in_byte_order():
    values = cache_of([b"ab", b"1"], [b"b", b"2"], [b"a", b"3"], [b"", b"4"])
    assert values.matching(b"a") == [(b"a", b"3"), (b"ab", b"1")]
    assert [message[0] for message in values.matching(b"")] == [b"", b"a", b"ab", b"b"]
    assert values.matching(b"c") == []


@pytest.mark.parametrize("message", [(b"a",), (b"a", b"1"), (b"a", b"", b"2"), (b"a", b"1", b"2")])
def test_a_message_may_have_any_number_of_frames(message):
    for first in ((b"a",), (b"a", b"0"), (b"a", b"0", b"0")):
        values = cache_of(first, list(message))
        assert values.matching(b"") == [message]
        assert values.byte_count == sum(map(len, message))


@pytest.mark.parametrize("message", [(b"a", b""), (b"a", b"", b"")])
def test_an_empty_body_deletes_the_topic(message):
    values = cache_of([b"a", b"1"], [b"b", b"2"])
    assert values.update(message) is True
    assert values.matching(b"") == [(b"b", b"2")]
    assert (values.deleted, values.byte_count) == (1, 2)


def test_deleting_what_is_not_there_is_no_deletion():
    values = cache_of([b"a", b""])
    assert (len(values), values.deleted, values.refused) == (0, 0, 0)


def test_one_topic_too_many_is_refused_and_the_others_stay():
    values = cache_of([b"a", b"1"], [b"b", b"1"], max_topics=2)
    assert values.update([b"c", b"1"]) is False
    assert values.update([b"b", b"2"]) is True
    assert values.matching(b"") == [(b"a", b"1"), (b"b", b"2")]
    assert values.refused == 1


@pytest.mark.parametrize("message", [[b"a", b"12345"], [b"a", b"1", b"2345"]])
def test_a_value_that_does_not_fit_is_refused_and_its_topic_forgotten(message):
    values = cache_of([b"a", b"1"], [b"b", b"2"], max_bytes=7)
    assert values.update(message) is False
    assert values.lookup(b"a") is None, "an old value would be taken for the last one"
    assert (values.refused, values.byte_count) == (1, 2)
    assert values.update([b"c", b"3"]) is True


def test_deleting_makes_room():
    values = cache_of([b"a", b"1"], [b"a", b""], max_topics=1)
    assert values.update([b"b", b"1"]) is True


@pytest.mark.parametrize("limits", [{"max_topics": 0}, {"max_bytes": 0}])
def test_a_limit_that_makes_no_sense_is_an_error(limits):
    with pytest.raises(ValueError, match="at least one"):
        LastValues(**limits)


def test_a_cleared_cache_is_empty():
    values = cache_of([b"a", b"1"])
    values.clear()
    assert (len(values), values.byte_count, values.matching(b"")) == (0, 0, [])


# At the limits: evict


def evicting(*messages, **limits):
    return cache_of(*messages, policy=LimitPolicy.EVICT, **limits)


def test_lvc_7_one_topic_too_many_takes_the_place_of_the_one_updated_least_recently():
    values = evicting([b"a", b"1"], [b"b", b"1"], [b"a", b"2"], max_topics=2)
    assert values.update([b"c", b"1"]) is True
    assert values.matching(b"") == [(b"a", b"2"), (b"c", b"1")]
    assert (values.evicted, values.refused) == (1, 0)


def test_lvc_7_a_value_that_is_large_takes_the_place_of_as_many_as_it_needs():
    values = evicting([b"a", b"1"], [b"b", b"1"], [b"c", b"1"], max_bytes=6)
    assert values.update([b"d", b"123"]) is True
    assert values.matching(b"") == [(b"c", b"1"), (b"d", b"123")]
    assert values.update([b"c", b"12"]) is True, "an update makes room as well"
    assert values.matching(b"") == [(b"c", b"12")]
    assert values.evicted == 3


@pytest.mark.parametrize("message", [[b"a", b"12345"], [b"c", b"12345"], [b"a", b"1", b"2345"]])
def test_a_value_that_could_never_fit_evicts_nobody_else(message):
    values = evicting([b"a", b"1"], [b"b", b"1"], max_bytes=5)
    assert values.update(message) is False
    assert values.lookup(b"b") == (b"b", b"1")
    assert values.lookup(message[0]) is None
    assert (values.evicted, values.refused) == (0, 1)


# How long a value is good


def test_a_value_that_was_not_updated_for_its_ttl_is_forgotten():
    values = LastValues(ttl=10)
    values.update([b"a", b"1"], now=100.0)
    values.update([b"b", b"1"], now=101.0)
    values.update([b"a", b"2"], now=105.0)
    values.expire(110.9)
    assert len(values) == 2
    values.expire(111.0)
    assert values.matching(b"") == [(b"a", b"2")]
    values.expire(115.0)
    assert (len(values), values.expired, values.byte_count) == (0, 2, 0)


def test_the_longest_prefix_says_how_long_a_topic_lives():
    values = LastValues(ttl={b"a": 10, b"ab": 1, b"": 100})
    for topic in (b"a", b"abc", b"b"):
        values.update([topic, b"1"], now=0.0)
    assert _after(values, 1.0) == [b"a", b"b"]
    assert _after(values, 10.0) == [b"b"]
    assert _after(values, 100.0) == []


def test_topics_without_a_ttl_stay():
    values = LastValues(ttl={b"a": 10})
    values.update([b"a", b"1"], now=0.0)
    values.update([b"b", b"1"], now=0.0)
    assert _after(values, 1e9) == [b"b"]


def test_a_deleted_topic_does_not_expire_and_a_new_one_of_its_name_lives_anew():
    values = LastValues(ttl=10)
    values.update([b"a", b"1"], now=0.0)
    values.update([b"a", b""], now=1.0)
    values.update([b"a", b"2"], now=5.0)
    assert _after(values, 10.0) == [b"a"]
    assert _after(values, 15.0) == []
    assert (values.deleted, values.expired) == (1, 1)


def _after(values, now):
    values.expire(now)
    return values.topics_under(b"")


@pytest.mark.parametrize("ttl", [0, -1, float("nan"), {b"a": 0}])
def test_a_ttl_that_makes_no_sense_is_an_error(ttl):
    with pytest.raises(ValueError, match="ttl"):
        LastValues(ttl=ttl)


# Messages of one frame


def test_lvc_6_with_a_separator_one_frame_is_a_topic_and_its_body():
    values = cache_of([b"a 1"], [b"b 1"], [b"a 2 3"], separator=b" ")
    assert values.matching(b"") == [(b"a 2 3",), (b"b 1",)]
    assert values.matching(b"a") == values.matching(b"a ") == [(b"a 2 3",)]


def test_with_a_separator_an_empty_body_deletes():
    values = cache_of([b"a 1"], [b"b 1"], separator=b" ")
    assert values.update([b"a "]) is True
    assert values.matching(b"") == [(b"b 1",)]
    assert values.deleted == 1


@pytest.mark.parametrize(
    ("prefix", "found"), [(b"a 1", [b"a 12"]), (b"a 2", []), (b"a 12", [b"a 12"]), (b"c 1", [])]
)
def test_a_prefix_that_reaches_into_the_body_finds_what_begins_with_it(prefix, found):
    values = cache_of([b"a 12"], [b"b 1"], separator=b" ")
    assert values.matching(prefix) == [(message,) for message in found]


def test_a_separator_in_the_topic_of_several_frames_means_nothing():
    values = cache_of([b"a b", b"1"], [b"a c", b"1"], [b"a ", b""], separator=b" ")
    assert values.matching(b"a ") == [(b"a b", b"1"), (b"a c", b"1")]
    assert values.matching(b"a b") == [(b"a b", b"1")]


def test_a_frame_without_the_separator_is_a_topic_without_a_body():
    assert cache_of([b"a"], separator=b" ").matching(b"") == [(b"a",)]


# Who wants to know


def test_every_change_is_told():
    values = LastValues(max_topics=2, policy=LimitPolicy.EVICT, ttl=10)
    told = []
    values.watch(
        lambda topic: told.append(("updated", topic)),
        lambda topic: told.append(("forgotten", topic)),
    )
    for topic, body in ((b"a", b"1"), (b"a", b"2"), (b"b", b"1"), (b"c", b"1"), (b"c", b"")):
        values.update([topic, body], now=0.0)
    values.expire(10.0)
    assert told == [
        ("updated", b"a"),
        ("updated", b"a"),
        ("updated", b"b"),
        ("forgotten", b"a"),
        ("updated", b"c"),
        ("forgotten", b"c"),
        ("forgotten", b"b"),
    ]


FRAMES = st.lists(st.sampled_from([b"", b"1", b"22", b"333"]), max_size=3)
MESSAGES = st.tuples(st.sampled_from([b"", b"a", b"ab", b"b"]), FRAMES)


@given(
    st.lists(MESSAGES, max_size=40),
    st.integers(1, 4),
    st.integers(1, 20),
    st.sampled_from(LimitPolicy),
)
def test_the_books_are_right_after_any_messages(messages, max_topics, max_bytes, policy):
    values = LastValues(max_topics, max_bytes, policy=policy, ttl=5)
    for now, (topic, body) in enumerate(messages):
        values.expire(now)
        deletes = bool(body) and not any(body)
        taken = values.update([topic, *body], now)
        expected = None if deletes or not taken else (topic, *body)
        assert values.lookup(topic) == expected
    cached = values.matching(b"")
    assert values.byte_count == sum(len(frame) for message in cached for frame in message)
    assert len(values) == len(cached) <= max_topics
    assert values.byte_count <= max_bytes
    assert values.topics_under(b"") == [message[0] for message in cached]
    values.expire(1000)
    assert (len(values), values.byte_count) == (0, 0)
