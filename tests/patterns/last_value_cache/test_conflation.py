"""What subscribers by credit are owed: no socket, and numbers for time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from patterns.last_value_cache.messages import Join
from patterns.last_value_cache.protocol import Conflation, LastValues, LimitPolicy

PATIENCE = 60.0
A, B = b"subscriber a", b"subscriber b"


class Cache:
    """Values and the conflation on them, wired as the handlers wire them."""

    def __init__(self, *topics, max_subscribers=10, **options):
        self.values = LastValues(**options)
        self.conflation = Conflation(self.values, max_subscribers, PATIENCE)
        self.values.watch(self.conflation.receive_update, self.conflation.receive_forgotten)
        for topic in topics:
            self.publish(topic, b"1")

    def publish(self, topic, body, now=0.0):
        self.values.update([topic, body], now)

    def join(self, identity=A, credit=100, prefixes=(b"",)):
        return self.conflation.receive_join(identity, Join(credit, prefixes), now=0.0)

    def grant(self, credit, identity=A):
        return self.conflation.receive_credit(identity, credit, now=0.0)

    def sent(self, limit=100, room=1000):
        """All that goes out now: to whom, and what, as short as possible."""
        out = []
        while (delivery := self.conflation.take(limit)) is not None:
            taken = delivery.messages[:room]
            room -= len(taken)
            self.conflation.receive_sent(delivery, len(taken))
            out += [(delivery.identity, *message) for message in taken]
        return out


def to(identity, *messages):
    return [
        (identity, b"SYNCED") if message is None else (identity, b"UPDATE", *message)
        for message in messages
    ]


def test_who_joins_gets_the_values_under_its_prefixes_then_the_mark_then_changes():
    cache = Cache(b"b", b"a", b"c")
    cache.join(prefixes=(b"a", b"b"))
    assert cache.sent() == to(A, (b"a", b"1"), (b"b", b"1"), None)
    cache.publish(b"b", b"2")
    cache.publish(b"c", b"2")
    assert cache.sent() == to(A, (b"b", b"2"))


def test_a_value_that_is_not_taken_is_replaced_by_the_newest():
    cache = Cache(b"a", b"b")
    cache.join(credit=3)
    cache.sent()
    for version in (b"2", b"3", b"4"):
        cache.publish(b"a", version)
        cache.publish(b"b", version)
    assert cache.sent() == to(A, (b"a", b"4"))
    assert cache.grant(100) is True
    assert cache.sent() == to(A, (b"b", b"4"))
    assert cache.conflation.conflated == 4


def test_nothing_is_sent_without_credit_and_the_mark_costs_none():
    cache = Cache(b"a", b"b", b"c")
    cache.join(credit=2)
    assert cache.sent() == to(A, (b"a", b"1"), (b"b", b"1"))
    cache.grant(1)
    assert cache.sent() == to(A, (b"c", b"1"), None)
    cache.publish(b"a", b"2")
    assert cache.sent() == []


def test_credit_that_is_left_does_not_add_up():
    cache = Cache()
    cache.join(credit=5)
    cache.grant(2)
    for topic in (b"a", b"b", b"c"):
        cache.publish(topic, b"1")
    assert cache.sent() == to(A, None, (b"a", b"1"), (b"b", b"1"))


def test_an_empty_cache_is_complete_at_once():
    cache = Cache()
    cache.join()
    assert cache.sent() == to(A, None)


def test_topics_take_turns():
    """A topic that never rests keeps nobody waiting."""
    cache = Cache()
    cache.join(credit=1)
    seen = []
    for version in range(6):
        for topic in (b"a", b"a", b"b", b"a"):
            cache.publish(topic, b"%d" % (version + 1))
        seen += [message[2] for message in cache.sent() if message[1] == b"UPDATE"]
        cache.grant(1)
    assert seen == [b"a", b"b"] * 3


def test_a_deletion_is_told_to_who_knows_the_topic_only():
    cache = Cache(b"a")
    cache.join(A)
    cache.sent()
    cache.join(B, credit=1)
    cache.publish(b"b", b"1")
    cache.sent()
    cache.publish(b"a", b"")
    cache.publish(b"b", b"")
    assert cache.sent() == to(A, (b"a", b""), (b"b", b""))
    cache.grant(100, B)
    assert cache.sent() == to(B, (b"a", b""))


def test_what_expires_or_is_evicted_or_refused_is_told_as_a_deletion():
    cache = Cache(max_topics=2, max_bytes=10, policy=LimitPolicy.EVICT, ttl=5)
    cache.publish(b"a", b"1")
    cache.publish(b"b", b"1", now=1.0)
    cache.join()
    cache.sent()
    cache.values.expire(5.0)
    assert cache.sent() == to(A, (b"a", b""))
    cache.publish(b"b", bytes(20), now=5.0)
    assert cache.sent() == to(A, (b"b", b""))
    for topic in (b"c", b"d", b"e"):
        cache.publish(topic, b"1", now=5.0)
    assert cache.sent() == to(A, (b"d", b"1"), (b"e", b"1")), "c came and went unseen"


def test_a_deletion_of_a_topic_that_ends_with_the_separator_has_its_form():
    cache = Cache(separator=b" ")
    cache.values.update([b"a 1"])
    cache.join()
    assert cache.sent() == to(A, (b"a 1",), None)
    cache.values.update([b"a "])
    assert cache.sent() == to(A, (b"a ",))


def test_memory_is_bounded_by_topics_whatever_happens_to_who_takes_nothing():
    cache = Cache(max_topics=10)
    cache.join(credit=5)
    cache.sent()
    for number in range(1000):
        cache.publish(b"%d" % (number % 20), b"%d" % number)
        if number % 3 == 0:
            cache.publish(b"%d" % (number % 7), b"")
    assert cache.conflation.pending <= 10 + 5 + 1


def test_who_is_full_is_sent_nothing_until_it_says_something():
    cache = Cache(b"a", b"b", b"c")
    cache.join(A)
    assert cache.sent(room=1) == to(A, (b"a", b"1"))
    cache.publish(b"a", b"2")
    assert cache.sent() == []
    assert cache.conflation.receive_beat(A, now=1.0) is True
    assert cache.sent() == to(A, (b"b", b"1"), (b"c", b"1"), None, (b"a", b"2"))


def test_subscribers_take_turns():
    cache = Cache(b"a", b"b", b"c")
    cache.join(A)
    cache.join(B)
    order = [message[0] for message in cache.sent(limit=2)]
    assert order == [A, A, B, B, A, A, B, B]


def test_who_is_unknown_is_told_so():
    cache = Cache(b"a")
    assert cache.grant(10) is False
    assert cache.conflation.receive_beat(A, now=0.0) is False
    assert cache.conflation.remove(A) == ()


def test_one_too_many_is_refused_and_one_that_leaves_makes_room():
    cache = Cache(b"a", max_subscribers=1)
    assert cache.join(A, prefixes=(b"a", b"b")) is True
    assert cache.join(B) is False
    assert cache.conflation.remove(A) == (b"a", b"b")
    assert cache.join(B) is True


def test_who_is_silent_for_too_long_is_known_by_name():
    cache = Cache()
    cache.join(A)
    cache.join(B)
    cache.conflation.receive_beat(B, now=30.0)
    assert cache.conflation.silent(now=PATIENCE - 0.1) == []
    assert cache.conflation.silent(now=PATIENCE) == [A]


@pytest.mark.parametrize("wrong", [{"max_subscribers": 0}, {"patience": 0}])
def test_a_limit_that_makes_no_sense_is_an_error(wrong):
    with pytest.raises(ValueError, match="at least one subscriber"):
        Conflation(LastValues(), **wrong)


TOPICS = st.sampled_from([b"a", b"ab", b"b", b"c"])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("publish"), TOPICS),
        st.tuples(st.just("delete"), TOPICS),
        st.tuples(st.just("grant"), st.integers(1, 3)),
        st.tuples(st.just("send"), st.integers(0, 4)),
    ),
    max_size=60,
)


@given(STEPS, st.integers(1, 5))
def test_what_a_subscriber_has_is_what_the_cache_has_once_it_has_taken_all(steps, max_topics):
    """And on the way nothing is older than the grant that it came with, or out of its order."""
    cache = Cache(b"a", b"b", max_topics=max_topics, policy=LimitPolicy.EVICT)
    cache.join(credit=1, prefixes=(b"a", b"c"))
    have = {}
    for number, (step, argument) in enumerate([*steps, ("grant", 1000), ("send", 1000)]):
        if step == "publish":
            cache.publish(argument, b"%d" % (number + 2))
        elif step == "delete":
            cache.publish(argument, b"")
        elif step == "grant":
            cache.grant(argument)
        else:
            for _, kind, *frames in cache.sent(room=argument):
                if kind == b"UPDATE":
                    topic, body = frames
                    current = cache.values.lookup(topic)
                    assert (current or (topic, b"")) == (topic, body)
                    have[topic] = body
    cached = [*cache.values.matching(b"a"), *cache.values.matching(b"c")]
    assert {topic: body for topic, body in have.items() if body} == dict(cached)
    assert cache.conflation.pending == 0
