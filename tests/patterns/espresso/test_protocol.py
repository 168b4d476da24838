"""Which records a tap takes."""

import pytest

from patterns.espresso.protocol import (
    Direction,
    Filter,
    Gate,
    Kind,
    RateLimit,
    Record,
    kind_captured,
    kind_upstream,
)


def message(topic: bytes, when: float = 0.0) -> Record:
    return Record(when, Kind.MESSAGE, (topic, b"body"))


def subscribe(topic: bytes, when: float = 0.0) -> Record:
    return Record(when, Kind.SUBSCRIBE, (b"\x01" + topic,))


def test_a_record_tells_way_topic_and_size():
    record = Record(1.0, Kind.MESSAGE, (b"A", b"", b"body"))
    assert (record.direction, record.topic, record.size) == (Direction.DOWN, b"A", 5)
    record = Record(1.0, Kind.UNSUBSCRIBE, (b"\x00A",))
    assert (record.direction, record.topic, record.size) == (Direction.UP, b"A", 2)
    record = Record(1.0, Kind.UPSTREAM, (b"hello",))
    assert (record.direction, record.topic) == (Direction.UP, b"hello")


@pytest.mark.parametrize(
    ("frames", "captured", "upstream"),
    [
        ([b"\x01A"], Kind.SUBSCRIBE, Kind.SUBSCRIBE),
        ([b"\x00A"], Kind.UNSUBSCRIBE, Kind.UNSUBSCRIBE),
        ([b"\x01"], Kind.SUBSCRIBE, Kind.SUBSCRIBE),
        ([b"\x01A", b"body"], Kind.MESSAGE, Kind.UPSTREAM),
        ([b"A"], Kind.MESSAGE, Kind.UPSTREAM),
        ([b""], Kind.MESSAGE, Kind.UPSTREAM),
        ([b"\x02A"], Kind.MESSAGE, Kind.UPSTREAM),
    ],
)
def test_the_kind_of_what_passed(frames, captured, upstream):
    assert kind_captured(frames) is captured
    assert kind_upstream(frames) is upstream


@pytest.mark.parametrize(
    ("filter", "taken"),
    [
        (Filter(), [True, True, True]),
        (Filter(prefix=b"A"), [True, False, True]),
        (Filter(prefix=b"AB"), [False, False, False]),
        (Filter(direction=Direction.DOWN), [True, True, False]),
        (Filter(direction=Direction.UP), [False, False, True]),
        (Filter(prefix=b"A", direction=Direction.DOWN), [True, False, False]),
    ],
)
def test_prefix_and_direction_choose(filter, taken):
    gate = Gate(filter)
    records = [message(b"A"), message(b"B"), subscribe(b"A")]
    assert [gate.admits(record) for record in records] == taken
    assert gate.matched == sum(taken)


def test_one_in_n_takes_the_first_of_each_n_that_match():
    gate = Gate(Filter(prefix=b"A", one_in=3))
    topics = [b"A0", b"B", b"A1", b"A2", b"B", b"A3", b"A4"]
    taken = [topic for topic in topics if gate.admits(message(topic))]
    assert taken == [b"A0", b"A3"]
    assert (gate.matched, gate.sampled_out, gate.rate_limited) == (5, 3, 0)


def test_the_rate_limit_counts_after_the_sample():
    gate = Gate(Filter(one_in=2, per_second=2))
    taken = [gate.admits(message(b"A", when=1.0)) for _ in range(8)]
    assert taken == [True, False, True, False, False, False, False, False]
    assert (gate.matched, gate.sampled_out, gate.rate_limited) == (8, 4, 2)


def test_a_rate_limit_admits_a_burst_and_then_its_rate():
    limit = RateLimit(10)
    assert [limit.admits(5.0) for _ in range(12)].count(True) == 10
    assert not limit.admits(5.05)
    assert limit.admits(5.1)
    assert not limit.admits(5.1)
    assert [limit.admits(60.0) for _ in range(12)].count(True) == 10


def test_a_rate_below_one_a_second_still_admits_one():
    limit = RateLimit(0.5)
    assert limit.admits(0.0)
    assert not limit.admits(1.9)
    assert limit.admits(2.0)


def test_time_that_goes_back_gives_no_tokens():
    limit = RateLimit(1)
    assert limit.admits(10.0)
    assert not limit.admits(3.0)
    assert not limit.admits(10.5)
    assert limit.admits(11.0)


@pytest.mark.parametrize(
    "wrong", [{"one_in": 0}, {"per_second": 0}, {"per_second": -1}, {"per_second": float("inf")}]
)
def test_a_filter_that_makes_no_sense_is_refused(wrong):
    with pytest.raises(ValueError):
        Filter(**wrong)
