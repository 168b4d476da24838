"""Who subscribes to what, and which topics are busy."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from patterns.espresso.tables import SubscriptionTable, TopTopics


def test_subscribers_are_counted_by_topic():
    table = SubscriptionTable()
    for topic in (b"A", b"B", b"A"):
        table.receive_subscribe(topic)
    assert table.items() == [(b"A", 2), (b"B", 1)]
    table.receive_unsubscribe(b"A")
    assert (table.lookup(b"A"), table.lookup(b"B"), len(table)) == (1, 1, 2)
    table.receive_unsubscribe(b"A")
    assert table.items() == [(b"B", 1)]


def test_an_unsubscription_from_nothing_changes_nothing():
    table = SubscriptionTable()
    table.receive_unsubscribe(b"A")
    assert (table.items(), table.unknown) == ([], 1)
    table.receive_subscribe(b"A")
    assert table.lookup(b"A") == 1


def test_topics_beyond_the_limit_are_refused_and_counted():
    table = SubscriptionTable(limit=2)
    for topic in (b"A", b"B", b"C", b"A"):
        table.receive_subscribe(topic)
    assert (table.items(), table.refused) == ([(b"A", 2), (b"B", 1)], 1)
    table.receive_unsubscribe(b"B")
    table.receive_subscribe(b"C")
    assert table.lookup(b"C") == 1


def test_the_first_items_are_those_with_most_subscribers_then_by_topic():
    table = SubscriptionTable()
    for topic in (b"C", b"B", b"A", b"B"):
        table.receive_subscribe(topic)
    assert table.items(2) == [(b"B", 2), (b"A", 1)]


def test_rates_of_a_period():
    top = TopTopics()
    for _ in range(30):
        top.add(b"A", 10)
    for _ in range(10):
        top.add(b"B", 100)
    rates = top.rates(seconds=2.0, limit=5)
    assert [(r.topic, r.rate, r.byte_rate, r.error) for r in rates] == [
        (b"A", 15.0, 150.0, 0.0),
        (b"B", 5.0, 500.0, 0.0),
    ]
    assert top.rates(seconds=0.0, limit=5) == []
    top.clear()
    assert (top.rates(1.0, 5), top.total, len(top)) == ([], 0, 0)


def test_a_newcomer_takes_the_place_of_the_least():
    top = TopTopics(capacity=2)
    for topic in (b"A", b"A", b"B", b"C"):
        top.add(topic, 1)
    found = {r.topic: (r.rate, r.error) for r in top.rates(1.0, 5)}
    assert found == {b"A": (2.0, 0.0), b"C": (2.0, 1.0)}


@given(st.lists(st.integers(0, 30).map(lambda n: bytes([min(n, 12)])), max_size=300))
def test_the_promise_of_the_heavy_hitters(topics):
    capacity = 5
    top = TopTopics(capacity)
    for topic in topics:
        top.add(topic, 1)
    truth = Counter(topics)
    found = {r.topic: r for r in top.rates(1.0, capacity)}
    assert len(top) <= capacity
    slack = len(topics) / capacity
    for topic, count in truth.items():
        if count > slack:
            assert topic in found
    for topic, entry in found.items():
        assert entry.rate - entry.error <= truth[topic] <= entry.rate
        assert entry.error <= slack


def test_memory_is_bounded_by_the_capacity():
    top = TopTopics(capacity=10)
    for number in range(10_000):
        top.add(b"%d" % number, 1)
    assert len(top) == 10
    assert len(top._heap) == 10
