"""What subscribers have asked for, and when that is over: numbers for time."""

import pytest

from patterns.last_value_cache.protocol import Interest


def test_a_prefix_is_asked_for_once_whatever_the_number_of_its_subscribers():
    interest = Interest(linger=5)
    assert [interest.receive_subscription(b"a") for _ in range(3)] == [True, False, False]
    assert interest.receive_subscription(b"ab") is True
    assert len(interest) == 2


def test_the_last_one_to_leave_ends_it_after_a_while():
    interest = Interest(linger=5)
    interest.receive_subscription(b"a")
    interest.receive_subscription(b"a")
    assert interest.receive_unsubscription(b"a", now=0.0) is False
    assert interest.withdraw(100.0) == []
    assert interest.receive_unsubscription(b"a", now=100.0) is True
    assert interest.withdraw(104.9) == []
    assert interest.withdraw(105.0) == [b"a"]
    assert interest.withdraw(105.0) == []


def test_who_comes_back_in_time_is_asked_for_still():
    interest = Interest(linger=5)
    interest.receive_subscription(b"a")
    interest.receive_unsubscription(b"a", now=0.0)
    assert interest.receive_subscription(b"a") is False
    assert interest.withdraw(100.0) == []


def test_the_end_of_what_never_began_is_nothing():
    interest = Interest(linger=0)
    assert interest.receive_unsubscription(b"a", now=0.0) is False
    assert interest.withdraw(0.0) == []


def test_a_topic_is_covered_by_any_of_its_prefixes():
    interest = Interest(linger=5)
    interest.receive_subscription(b"ab")
    assert [interest.covers(topic) for topic in (b"a", b"ab", b"abc", b"b")] == [0, 1, 1, 0]
    interest.receive_unsubscription(b"ab", now=0.0)
    assert interest.covers(b"abc"), "somebody may come back"
    interest.withdraw(5.0)
    assert not interest.covers(b"abc")


def test_everything_covers_everything():
    interest = Interest()
    interest.receive_subscription(b"")
    assert interest.covers(b"") and interest.covers(b"a")


def test_it_says_when_it_is_full_and_remembers_no_more_of_the_past_than_that():
    interest = Interest(linger=5, max_prefixes=2)
    for number in range(10):
        assert not interest.full
        interest.receive_subscription(b"%d" % number)
        interest.receive_unsubscription(b"%d" % number, now=0.0)
        interest.withdraw(1.0)
    interest.receive_subscription(b"a")
    interest.receive_subscription(b"b")
    assert interest.full and b"a" in interest
    assert sorted(interest.withdraw(5.0)) == [b"8", b"9"]


def test_a_linger_that_makes_no_sense_is_an_error():
    with pytest.raises(ValueError, match="linger"):
        Interest(linger=-1)
