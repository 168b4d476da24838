"""What a publisher counts, and for whom."""

import pytest

from patterns.suicidal_snail.messages import (
    MalformedMessage,
    decode_beat,
    decode_stamp,
    encode_interest,
    interest_of,
)
from patterns.suicidal_snail.publication import Publication


def publication(**options):
    return Publication(b"feed", 7, **options)


def interest(*prefixes):
    return encode_interest(interest_of(prefixes))


def publish(source, *topics):
    for topic in topics:
        source.stamp(topic, 0.0)


def counts(source):
    return {topic: decode_beat(frame).count for topic, frame in source.beats(0.0)}


def test_a_stamp_says_who_when_and_which():
    source = publication()
    source.stamp(b"a", 1.0)
    stamp = decode_stamp(source.stamp(b"b", 1_700_000_000.25))
    assert stamp.publisher == b"feed\0\0\0\0"
    assert (stamp.incarnation, stamp.sequence, stamp.sent_at) == (7, 2, 1_700_000_000.25)


def test_a_beat_counts_what_an_interest_matches_since_it_was_there():
    source = publication()
    publish(source, b"ab", b"c")
    source.receive_subscription(interest(b"a", b"b"))
    publish(source, b"ab", b"b", b"c", b"abc", b"")
    ((_, frame),) = source.beats(5.0)
    beat = decode_beat(frame)
    assert (beat.since, beat.count, beat.stamp.sequence, beat.stamp.sent_at) == (2, 3, 7, 5.0)


def test_interests_are_counted_each_for_itself():
    source = publication()
    for prefixes in ([b""], [b"a"], [b"b", b"c"]):
        source.receive_subscription(interest(*prefixes))
    publish(source, b"a", b"b", b"a", b"c", b"d")
    assert counts(source) == {interest(b""): 5, interest(b"a"): 2, interest(b"b", b"c"): 2}


def test_an_interest_that_comes_later_counts_topics_that_are_known():
    source = publication()
    publish(source, b"a")
    source.receive_subscription(interest(b"a"))
    publish(source, b"a")
    assert counts(source) == {interest(b"a"): 1}


def test_topics_beyond_the_limit_are_counted_all_the_same():
    source = publication(max_topics=1)
    source.receive_subscription(interest(b"b"))
    publish(source, b"a", b"b1", b"b2", b"b1")
    assert counts(source) == {interest(b"b"): 3}


def test_who_comes_back_soon_learns_what_was_sent_meanwhile():
    source = publication(keep=60.0)
    source.receive_subscription(interest(b"a"))
    source.receive_unsubscription(interest(b"a"), 10.0)
    publish(source, b"a")
    assert source.beats(0.0) == []
    source.tick(70.0)
    assert source.receive_subscription(interest(b"a"))
    assert counts(source) == {interest(b"a"): 1}


def test_who_does_not_come_back_is_forgotten():
    source = publication(keep=60.0)
    source.receive_subscription(interest(b"a"))
    source.receive_unsubscription(interest(b"a"), 10.0)
    source.tick(70.1)
    assert len(source) == 0


def test_interests_beyond_the_limit_are_refused_unless_one_was_left():
    source = publication(max_interests=2)
    assert source.receive_subscription(interest(b"a"))
    assert source.receive_subscription(interest(b"b"))
    assert not source.receive_subscription(interest(b"c"))
    assert source.interests_refused == 1
    source.receive_unsubscription(interest(b"a"), 0.0)
    assert source.receive_subscription(interest(b"c"))
    assert set(counts(source)) == {interest(b"b"), interest(b"c")}


@pytest.mark.parametrize("name", [b"", b"123456789"])
def test_a_name_that_does_not_fit_is_refused(name):
    with pytest.raises(ValueError, match="name"):
        Publication(name, 1)


def test_a_subscription_that_asks_for_nothing_we_know_is_malformed():
    with pytest.raises(MalformedMessage):
        publication().receive_subscription(b"\x00snail\x00what?")
