"""Sharding, credit, queues, deaths and lateness: the rules on numbers."""

import subprocess
import sys
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from patterns.black_box.protocol import (
    BlackBoxProtocol,
    NoSuchShard,
    ReportLate,
    ReportOnTime,
    ResumeReading,
    SendWork,
    imbalance,
    shard_of,
)
from patterns.black_box.shards import Delivery, QueuePolicy

AT_LEAST_ONCE = Delivery.AT_LEAST_ONCE


def box(shards=1, ready=True, **options):
    """A box whose shard n takes the messages that begin with the number n."""
    rules = BlackBoxProtocol(shards, shard=lambda frames: int(frames[0]), **options)
    for number in range(shards if ready else 0):
        rules.receive_ready(number, 0.0)
    return rules


def put(rules, *bodies, shard=0):
    return [rules.receive_message([b"%d" % shard, body.encode()]) for body in bodies]


def sent(effects):
    """The bodies of what is sent, with its shard and first number."""
    return [
        (effect.shard, effect.first, "".join(frames[1].decode() for frames in effect.messages))
        for effect in effects
        if isinstance(effect, SendWork)
    ]


def figures(rules, shard=0, now=0.0):
    return rules.statistics(now, lambda _: 0)[shard]


# Sharding


def test_a_key_has_the_same_shard_in_every_process():
    keys = [b"", b"USD", b"topic00042", b"\xff\x00"]
    code = (
        "from patterns.black_box.protocol import shard_of;"
        f"print([shard_of(key, 7) for key in {keys!r}])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == str([shard_of(key, 7) for key in keys])


@pytest.mark.parametrize("shards", [2, 3, 4, 8])
def test_many_keys_spread_evenly(shards):
    counts = [0] * shards
    for number in range(1000):
        counts[shard_of(b"topic%05d" % number, shards)] += 1
    assert max(counts) < 1.1 * 1000 / shards


@given(st.binary(), st.integers(1, 50))
def test_the_first_frame_is_the_key(key, shards):
    rules = BlackBoxProtocol(shards)
    rules.receive_message([key, b"body"])
    assert figures(rules, shard_of(key, shards)).waiting == 1


def test_a_key_can_be_taken_from_elsewhere():
    rules = BlackBoxProtocol(7, key=lambda frames: frames[1][:3])
    rules.receive_message([b"rates", b"USD 1.1"])
    assert figures(rules, shard_of(b"USD", 7)).waiting == 1


def test_a_rule_can_name_the_shard_itself():
    rules = box(3)
    put(rules, "a", shard=2)
    assert [figures(rules, number).received for number in range(3)] == [0, 0, 1]


@pytest.mark.parametrize("number", [-1, 3])
def test_a_rule_that_names_no_shard_is_an_error_and_nothing_is_counted(number):
    rules = BlackBoxProtocol(3, shard=lambda frames: number)
    with pytest.raises(NoSuchShard):
        rules.receive_message([b"x"])
    assert sum(figures(rules, n).received for n in range(3)) == 0


# Credit


def test_what_came_together_is_sent_together():
    rules = box()
    put(rules, "a", "b", "c")
    assert sent(rules.dispatch(1)) == [(0, 0, "abc")]
    assert sent(rules.dispatch(2)) == []
    put(rules, "d")
    assert sent(rules.dispatch(3)) == [(0, 3, "d")]


def test_a_worker_holds_no_more_than_its_window():
    rules = box(window=3)
    put(rules, *"abcdef")
    assert sent(rules.dispatch(0)) == [(0, 0, "abc")]
    assert sent(rules.receive_done(0, 1, 0, 1)) == [(0, 3, "d")]
    assert sent(rules.receive_done(0, 4, 0, 2)) == [(0, 4, "ef")]


def test_a_batch_is_no_longer_than_its_limit():
    rules = box(batch_limit=2)
    put(rules, *"abcde")
    assert sent(rules.dispatch(0)) == [(0, 0, "ab"), (0, 2, "cd"), (0, 4, "e")]


def test_a_slow_worker_holds_up_nobody_elses_keys():
    rules = box(2, window=1)
    put(rules, *"abc", shard=0)
    put(rules, *"xyz", shard=1)
    assert sent(rules.dispatch(0)) == [(0, 0, "a"), (1, 0, "x")]
    assert sent(rules.receive_done(1, 1, 0, 0)) == [(1, 1, "y")]
    assert sent(rules.receive_done(1, 2, 0, 0)) == [(1, 2, "z")]
    assert figures(rules, 0).waiting == 2


def test_nothing_is_sent_before_a_worker_is_ready():
    rules = box(ready=False)
    put(rules, "a")
    assert rules.dispatch(0) == []
    assert sent(rules.receive_ready(0, 1)) == [(0, 0, "a")]


@pytest.mark.parametrize(("done", "failed"), [(3, 0), (0, 0), (1, 2), (2, 0)])
def test_a_report_that_cannot_be_changes_nothing(done, failed):
    rules = box()
    put(rules, "a", "b")
    rules.dispatch(0)
    rules.receive_done(0, 1, 1, 0)
    before = figures(rules)
    assert rules.receive_done(0, done, failed, 0) is None
    assert figures(rules) == before


def test_a_report_that_goes_back_changes_nothing():
    rules = box()
    put(rules, "a", "b")
    rules.dispatch(0)
    rules.receive_done(0, 2, 0, 0)
    assert rules.receive_done(0, 1, 0, 0) is None
    assert figures(rules).handled == 2


def test_failures_are_counted():
    rules = box()
    put(rules, *"abc")
    rules.dispatch(0)
    rules.receive_done(0, 2, 1, 0)
    rules.receive_done(0, 3, 2, 0)
    assert (figures(rules).handled, figures(rules).failed) == (3, 2)


# Queues


def test_a_full_queue_drops_the_oldest():
    rules = box(ready=False, queue_limit=3)
    assert put(rules, *"abcde") == [True] * 5
    assert figures(rules).dropped == 2
    assert sent(rules.receive_ready(0, 0)) == [(0, 0, "cde")]


def test_a_full_queue_drops_the_newest():
    rules = box(ready=False, queue_limit=3, policy=QueuePolicy.DROP_NEWEST)
    assert put(rules, *"abcde") == [True] * 5
    assert (figures(rules).dropped, figures(rules).received) == (2, 5)
    assert sent(rules.receive_ready(0, 0)) == [(0, 0, "abc")]


def test_a_full_queue_stops_the_reading_until_half_of_it_is_gone():
    rules = box(queue_limit=4, window=1, policy=QueuePolicy.STOP_READING)
    assert put(rules, *"abcd") == [True, True, True, False]
    assert not rules.reading
    assert ResumeReading() not in rules.dispatch(0)  # three wait
    assert ResumeReading() in rules.receive_done(0, 1, 0, 0)
    assert rules.reading
    assert figures(rules).dropped == 0


def test_what_comes_in_spite_of_the_stop_is_kept():
    rules = box(ready=False, queue_limit=1, policy=QueuePolicy.STOP_READING)
    assert put(rules, "a", "b") == [False, False]
    assert figures(rules).waiting == 2


def test_what_waits_at_the_end_is_counted_as_dropped():
    rules = box(2, window=1)
    put(rules, *"abc")
    rules.dispatch(0)
    assert rules.discard() == 2
    assert figures(rules).dropped == 2
    rules.receive_done(0, 1, 0, 0)
    assert rules.idle


# Deaths


def test_at_most_once_what_a_dead_worker_held_is_lost_and_counted():
    rules = box(window=3)
    put(rules, *"abcde")
    rules.dispatch(0)
    rules.receive_done(0, 1, 0, 0)
    assert rules.receive_death(0) == 3
    assert figures(rules).lost == 3
    assert sent(rules.receive_ready(0, 1)) == [(0, 0, "e")]


def test_at_least_once_what_a_dead_worker_held_comes_again_and_first():
    rules = box(window=3, delivery=AT_LEAST_ONCE)
    put(rules, *"abcde")
    rules.dispatch(0)
    rules.receive_done(0, 1, 0, 0)  # and "d" was sent for it
    assert rules.receive_death(0) == 3
    order = []
    effects = rules.receive_ready(0, 1)
    for done in range(1, 5):
        order += sent(effects)
        effects = rules.receive_done(0, done, 0, 1)
    assert "".join(bodies for _, _, bodies in order) == "bcde"
    assert (figures(rules).lost, figures(rules).redelivered) == (0, 3)
    assert rules.idle


def test_suspects_go_to_the_next_worker_one_at_a_time():
    rules = box(delivery=AT_LEAST_ONCE)
    put(rules, *"abc")
    rules.dispatch(0)
    rules.receive_death(0)
    put(rules, *"xyz")
    assert sent(rules.receive_ready(0, 0)) == [(0, 0, "a")]
    assert sent(rules.receive_done(0, 1, 0, 0)) == [(0, 1, "b")]
    assert sent(rules.receive_done(0, 2, 0, 0)) == [(0, 2, "c")]
    assert sent(rules.receive_done(0, 3, 0, 0)) == [(0, 3, "xyz")]


def test_a_message_that_kills_every_worker_is_given_up_and_no_other_is():
    rules = box(delivery=AT_LEAST_ONCE, max_deliveries=3)
    put(rules, *"ab!cd")
    effects, handled, deaths = rules.dispatch(0), "", 0
    while effects:
        for _, _, bodies in sent(effects):
            before, poison, _ = bodies.partition("!")
            handled += before
            if poison:
                deaths += 1
                rules.receive_death(0)  # without a report: all of it comes again
                effects = rules.receive_ready(0, 0)
            else:
                in_all = figures(rules).in_hand
                effects = rules.receive_done(0, rules.shards[0]._done + in_all, 0, 0)
    assert deaths == 3
    assert figures(rules).given_up == 1
    assert handled.endswith("abcd")
    assert rules.idle


def test_each_suspect_has_as_many_deliveries_as_the_others():
    rules = box(delivery=AT_LEAST_ONCE, max_deliveries=3)
    put(rules, *"ab")
    rules.dispatch(0)
    for _ in range(2):  # both at once, then "a" alone
        rules.receive_death(0)
        rules.receive_ready(0, 0)
    rules.receive_done(0, 1, 0, 0)  # "a" is through, "b" is sent
    rules.receive_death(0)
    assert figures(rules).given_up == 0
    assert sent(rules.receive_ready(0, 0)) == [(0, 0, "b")]
    rules.receive_death(0)
    assert figures(rules).given_up == 1


def test_a_suspect_that_a_full_queue_drops_is_none_any_more():
    rules = box(delivery=AT_LEAST_ONCE, queue_limit=2)
    put(rules, *"ab")
    rules.dispatch(0)
    rules.receive_death(0)
    put(rules, *"xyz")  # drops a, b and x
    assert figures(rules).dropped == 3
    assert sent(rules.receive_ready(0, 0)) == [(0, 0, "yz")]


def test_a_worker_that_dies_with_empty_hands_loses_nothing():
    rules = box(delivery=AT_LEAST_ONCE)
    assert rules.receive_death(0) == 0
    assert (figures(rules).lost, figures(rules).redelivered) == (0, 0)


# Lateness


def test_the_lag_is_the_age_of_the_oldest_message_that_is_not_handled():
    rules = box(window=1)
    put(rules, "a")
    rules.dispatch(1.0)
    put(rules, "b")
    rules.dispatch(3.0)
    assert figures(rules, now=5.0).lag == 4.0
    rules.receive_done(0, 1, 0, 5.0)
    assert figures(rules, now=5.0).lag == 2.0
    rules.receive_done(0, 2, 0, 6.0)
    assert figures(rules, now=9.0).lag == 0.0


def test_a_message_that_comes_again_is_as_old_as_it_was():
    rules = box(delivery=AT_LEAST_ONCE)
    put(rules, "a")
    rules.dispatch(1.0)
    put(rules, "b")
    rules.dispatch(2.0)
    rules.receive_death(0)
    assert figures(rules, now=5.0).lag == 4.0


def test_the_box_is_late_when_one_shard_is_and_on_time_when_none_is():
    rules = box(2, late=1.0, window=1)
    put(rules, "a", "b", shard=1)
    rules.dispatch(0.0)
    assert rules.tick(0.9) == []
    assert rules.tick(1.5) == [ReportLate({1: 1.5})]
    assert rules.tick(2.0) == []  # it is known
    rules.receive_done(1, 2, 0, 2.0)
    rules.receive_done(1, 1, 0, 2.0)
    assert rules.is_late
    rules.receive_done(1, 2, 0, 2.1)
    assert rules.tick(2.2) == [ReportOnTime()]
    assert not rules.is_late


def test_a_box_that_was_late_is_on_time_only_well_below_the_limit():
    rules = box(late=1.0)
    put(rules, "a")
    rules.dispatch(0.0)
    rules.tick(1.0)
    put(rules, "b")
    rules.dispatch(1.0)
    rules.receive_done(0, 1, 0, 1.0)
    assert rules.tick(1.6) == []  # 0.6 seconds: less than the limit, more than half of it
    assert rules.is_late


def test_rates_and_imbalance_are_figured():
    rules = box(2)
    rules.tick(0)
    put(rules, *"abc", shard=0)
    put(rules, *"x", shard=1)
    rules.dispatch(0)
    rules.receive_done(0, 3, 0, 1)
    rules.tick(2)
    assert figures(rules, 0).rate == 1.5
    assert imbalance(rules.statistics(2, lambda _: 0)) == 1.5


def test_nothing_received_is_in_balance():
    assert imbalance(box(2).statistics(0, lambda _: 0)) == 1.0


@pytest.mark.parametrize(
    "options",
    [
        {"shards": 0},
        {"queue_limit": 0},
        {"window": 0},
        {"batch_limit": 0},
        {"max_deliveries": 1},
        {"late": 0},
    ],
)
def test_limits_that_make_no_sense_are_refused(options):
    with pytest.raises(ValueError):
        BlackBoxProtocol(**{"shards": 1, **options})


# The order of each key, whatever happens

steps = st.one_of(
    st.tuples(st.just("put"), st.integers(0, 5)),
    st.tuples(st.just("dispatch"), st.just(0)),
    st.tuples(st.just("work"), st.integers(0, 1), st.integers(1, 4)),
    st.tuples(st.just("report"), st.integers(0, 1)),
    st.tuples(st.just("die"), st.integers(0, 1)),
    st.tuples(st.just("ready"), st.integers(0, 1)),
)


class Simulation:
    """Two shards, six keys, and workers that handle, report and die when they are told to."""

    def __init__(self, delivery, **options):
        self.rules = BlackBoxProtocol(2, delivery=delivery, max_deliveries=10**6, **options)
        self.numbers = [0] * 6
        self.alive = [False, False]
        self.hands = [[], []]
        self.done = [0, 0]
        self.seen = {key: [] for key in range(6)}

    def step(self, action, which, count=0):
        getattr(self, action)(which, *([count] if count else []))

    def put(self, key):
        self.rules.receive_message([b"key%d" % key, b"%d" % self.numbers[key]])
        self.numbers[key] += 1

    def dispatch(self, _=0):
        self.take(self.rules.dispatch(0))

    def take(self, effects):
        for effect in effects:
            if isinstance(effect, SendWork):
                assert self.alive[effect.shard]
                assert effect.first == self.done[effect.shard] + len(self.hands[effect.shard])
                self.hands[effect.shard] += effect.messages

    def work(self, shard, count):
        for frames in self.hands[shard][:count]:
            self.seen[int(frames[0][3:])].append(int(frames[1]))
        self.done[shard] += len(self.hands[shard][:count])
        del self.hands[shard][:count]

    def report(self, shard):
        if self.alive[shard]:
            self.take(self.rules.receive_done(shard, self.done[shard], 0, 0))

    def die(self, shard):
        if self.alive[shard]:
            self.alive[shard] = False
            self.rules.receive_death(shard)
            self.hands[shard], self.done[shard] = [], 0

    def ready(self, shard):
        if not self.alive[shard]:
            self.alive[shard] = True
            self.take(self.rules.receive_ready(shard, 0))

    def finish(self):
        for shard in (0, 1):
            self.ready(shard)
        self.dispatch()
        for _ in range(10_000):
            for shard in (0, 1):
                self.work(shard, 10**6)
                self.report(shard)
            if self.rules.idle:
                return
        raise AssertionError("the box does not get done")

    def books_balance(self):
        for shard in self.rules.statistics(0, lambda _: 0):
            ended = shard.handled + shard.dropped + shard.lost + shard.given_up
            assert shard.received == ended + shard.waiting + shard.in_hand


@settings(max_examples=200, deadline=None)
@given(st.lists(steps, max_size=80), st.sampled_from(QueuePolicy))
def test_at_most_once_no_key_ever_goes_back_and_the_books_balance(script, policy):
    simulation = Simulation(Delivery.AT_MOST_ONCE, window=5, queue_limit=8, policy=policy)
    for step in script:
        simulation.step(*step)
        simulation.books_balance()
    simulation.finish()
    assert simulation.rules.idle
    for seen in simulation.seen.values():
        assert seen == sorted(set(seen)), "a key went back, or came twice"


@settings(max_examples=200, deadline=None)
@given(st.lists(steps, max_size=80), st.integers(1, 7))
def test_at_least_once_every_message_is_handled_and_first_seen_in_order(script, window):
    simulation = Simulation(AT_LEAST_ONCE, window=window)
    for step in script:
        simulation.step(*step)
        simulation.books_balance()
    simulation.finish()
    for key, seen in simulation.seen.items():
        assert list(dict.fromkeys(seen)) == list(range(simulation.numbers[key]))


@given(st.lists(steps, max_size=60))
def test_the_statistics_of_a_shard_never_go_negative(script):
    simulation = Simulation(AT_LEAST_ONCE, window=3, queue_limit=4)
    for step in script:
        simulation.step(*step)
    for shard in simulation.rules.statistics(0, lambda _: 0):
        counts = replace(shard, rate=0.0, lag=0.0)
        assert all(getattr(counts, name) >= 0 for name in counts.__slots__)
