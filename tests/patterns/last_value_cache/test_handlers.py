"""The handler set on a fake network: who gets what, in what order, and what is refused.

A test that names LVC-n shows that a fault of the Guide's example is absent here.
"""

import dataclasses
from collections import defaultdict

import pytest
import structlog.testing
import zmq

from patterns.last_value_cache import LastValueCache, publisher
from reactor import OptionError, ReactorError, StreamHandler
from reactor.testing import FakeStream

FRONTEND = "tcp://127.0.0.1:5557"
BACKEND = "tcp://127.0.0.1:5558"


@pytest.fixture
def missing_option(monkeypatch):
    """A libzmq that has no XPUB_MANUAL_LAST_VALUE, and what is logged about that."""
    real = FakeStream.set_option

    def set_option(stream, option, value):
        if option == zmq.XPUB_MANUAL_LAST_VALUE:
            raise OptionError("not in this libzmq")
        real(stream, option, value)

    monkeypatch.setattr(FakeStream, "set_option", set_option)
    with structlog.testing.capture_logs() as lines:
        yield lines


@pytest.fixture
def feed(reactor):
    return reactor.open_stream(zmq.PUB, f"@{FRONTEND}")


@pytest.fixture
def cache(reactor, feed):
    return started(reactor)


class Subscriber(StreamHandler):
    """Keeps what it receives, in order."""

    def __init__(self, stream):
        super().__init__(stream)
        self.messages = []

    def on_message(self, frames):
        self.messages.append(tuple(frames))

    @property
    def topics(self):
        return [message[0] for message in self.messages]


def started(reactor, **options):
    cache = LastValueCache(frontend=f">{FRONTEND}", backend=f"@{BACKEND}", **options)
    reactor.register(cache)
    reactor.loop.run_pending()
    return cache


def publish(feed, reactor, *messages):
    for message in messages:
        feed.send(*message)
    reactor.loop.run_pending()


def publish_topics(feed, cache, reactor, count):
    """Fill the cache without a limit of the feed's queue in the way."""
    for start in range(0, count, 500):
        end = min(count, start + 500)
        publish(feed, reactor, *((b"t%06d" % number, b"old") for number in range(start, end)))
    assert len(cache.values) == count


def subscribe(reactor, *prefixes):
    """A subscriber that has joined and got what there was for it."""
    subscriber = join(reactor, *prefixes)
    reactor.loop.advance(1.0)
    return subscriber


def join(reactor, *prefixes):
    """A subscriber whose subscription is on its way."""
    subscriber = Subscriber(reactor.open_stream(zmq.SUB, f">{BACKEND}", subscribe=prefixes))
    reactor.register(subscriber)
    return subscriber


# The faults of the Guide's example


def test_lvc_1_it_starts_with_its_default_endpoints(reactor):
    cache = LastValueCache()
    reactor.register(cache)
    feed = reactor.open_stream(zmq.PUB, f"@{FRONTEND}")
    reactor.loop.advance(1.0)
    publish(feed, reactor, (b"a", b"1"))
    assert subscribe(reactor, b"a").messages == [(b"a", b"1")]
    assert cache.bound_endpoints == (BACKEND,)


def test_lvc_2_every_subscriber_of_a_topic_gets_its_value(reactor, feed, cache):
    publish(feed, reactor, (b"a", b"1"))
    first, second = subscribe(reactor, b"a"), subscribe(reactor, b"a")
    assert first.messages[0] == (b"a", b"1")
    assert second.messages == [(b"a", b"1")]


def test_lvc_3_a_late_subscriber_gets_the_value_at_once(reactor, feed, cache):
    publish(feed, reactor, (b"a", b"1"), (b"a", b"2"), (b"b", b"1"))
    late = join(reactor, b"a")
    reactor.loop.run_pending()
    assert late.messages == [(b"a", b"2")]
    assert reactor.now() == 0.0


@pytest.mark.parametrize(
    ("prefix", "expected"), [(b"a", [b"a", b"ab"]), (b"", [b"a", b"ab", b"b"]), (b"c", [])]
)
def test_lvc_4_a_prefix_gets_all_topics_under_it(reactor, feed, cache, prefix, expected):
    publish(feed, reactor, (b"b", b"1"), (b"ab", b"1"), (b"a", b"1"))
    assert subscribe(reactor, prefix).topics == expected


@pytest.mark.parametrize("joined", [b"a1", b"a", b"a11"])
def test_lvc_5_one_cached_topic_goes_to_the_joiner_alone(reactor, feed, cache, joined):
    publish(feed, reactor, (b"a11", b"1"), (b"b", b"1"))
    others = [subscribe(reactor, prefix) for prefix in (b"a11", b"a1", b"a", b"b", b"")]
    for other in others:
        other.messages.clear()
    joiner = subscribe(reactor, joined)
    assert joiner.messages == [(b"a11", b"1")]
    assert [other.messages for other in others] == [[]] * 5
    assert cache.statistics().served_alone == 5, "all but the one who asked for everything"
    publish(feed, reactor, (b"a11", b"2"))
    assert joiner.messages[-1] == (b"a11", b"2")
    assert [other.topics for other in others] == [[b"a11"]] * 3 + [[], [b"a11"]]


def test_lvc_5_of_several_topics_others_see_their_own_again_and_nothing_else(reactor, feed, cache):
    publish(feed, reactor, (b"a1", b"1"), (b"a2", b"1"), (b"b", b"1"))
    same, other = subscribe(reactor, b"a1"), subscribe(reactor, b"b")
    joiner = subscribe(reactor, b"a")
    assert joiner.topics == [b"a1", b"a2"], "the joiner itself gets no value twice"
    assert same.messages == [(b"a1", b"1")] * 2, "documented: its newest value once more"
    assert other.messages == [(b"b", b"1")]


@pytest.mark.parametrize("prefix", [b"nothing", b"", b"a"])
def test_lvc_5_a_subscription_never_narrows_the_next_live_message(reactor, feed, cache, prefix):
    """The trap of XPUB_MANUAL_LAST_VALUE: an event for which nothing cached is sent."""
    early, also = subscribe(reactor, b""), subscribe(reactor, b"a")
    subscribe(reactor, prefix)
    publish(feed, reactor, (b"a", b"1"))
    leaving = subscribe(reactor, b"a")
    reactor.unregister(leaving)
    reactor.loop.advance(1.0)
    publish(feed, reactor, (b"a", b"2"))
    assert early.messages == also.messages == [(b"a", b"1"), (b"a", b"2")]


def test_lvc_5_without_the_option_a_joiner_is_served_with_the_others(reactor, feed, missing_option):
    cache = started(reactor)
    publish(feed, reactor, (b"a", b"1"))
    same, joiner = subscribe(reactor, b"a"), subscribe(reactor, b"a")
    assert (len(same.messages), len(joiner.messages)) == (2, 1)
    assert cache.statistics().served_alone == 0
    (warning,) = [line for line in missing_option if line["log_level"] == "warning"]
    assert warning["event"] == "new subscribers are not served alone"


@pytest.mark.parametrize("message", [(b"a",), (b"a", b"1", b"2"), (b"a", b"", b"2"), (b"", b"1")])
def test_lvc_6_a_message_may_have_any_number_of_frames(reactor, feed, cache, message):
    early = subscribe(reactor, b"")
    publish(feed, reactor, message)
    assert early.messages == [message]
    assert subscribe(reactor, b"").messages == [message]


def test_lvc_7_a_full_cache_refuses_and_forwards(reactor, feed):
    cache = started(reactor, max_topics=1)
    early = subscribe(reactor, b"")
    publish(feed, reactor, (b"a", b"1"), (b"b", b"1"))
    assert early.topics == [b"a", b"b"]
    assert subscribe(reactor, b"").topics == [b"a"]
    assert cache.statistics().values_refused == 1


def test_lvc_7_an_empty_body_deletes_a_topic(reactor, feed, cache):
    early = subscribe(reactor, b"a")
    publish(feed, reactor, (b"a", b"1"), (b"a", b""))
    assert early.messages == [(b"a", b"1"), (b"a", b"")], "who is there learns of it"
    assert subscribe(reactor, b"a").messages == []
    assert cache.statistics().deleted == 1


@pytest.mark.parametrize(
    "frames", [(b"",), (b"hello",), (b"\x02a",), (b"\x01a", b"more"), (b"", b"")]
)
def test_lvc_8_what_is_no_subscription_is_refused_and_survived(reactor, feed, cache, frames):
    publish(feed, reactor, (b"a", b"1"))
    backend, *_ = cache.handlers
    backend.stream.deliver(*frames)
    reactor.loop.run_pending()
    assert backend.refused == 1
    assert subscribe(reactor, b"a").messages == [(b"a", b"1")]


def test_lvc_8_after_a_message_from_behind_everybody_subscribes_again(reactor, feed, cache):
    """libzmq cannot tell any more who has asked for what: here, that B is not the rude one's."""
    publish(feed, reactor, (b"A", b"1"), (b"B", b"1"))
    rude = reactor.open_stream(zmq.XSUB, f">{BACKEND}")
    reactor.loop.advance(1.0)
    rude.send(b"hello")
    rude.send(b"\x01A")
    asking = join(reactor, b"B")
    reactor.loop.advance(1.0)
    assert asking.messages == [(b"B", b"1")]
    publish(feed, reactor, (b"B", b"2"))
    assert asking.messages[-1] == (b"B", b"2")
    assert cache.bound_endpoints == (BACKEND,)


# Replay and live


def test_a_live_message_is_never_followed_by_an_older_one(reactor, feed, cache):
    """While 5,000 values are replayed, updates come in: of topics already sent and of others."""
    publish_topics(feed, cache, reactor, 5000)
    joiner = join(reactor, b"")
    for version in range(20):
        for number in (0, 700, 2500, 4999):
            feed.send(b"t%06d" % number, b"new %02d" % version)
        reactor.loop.advance(0.0)
    reactor.loop.advance(1.0)
    received = defaultdict(list)
    for topic, body in joiner.messages:
        received[topic].append(body)
    assert len(received) == 5000
    for number in (0, 700, 2500, 4999):
        bodies = received[b"t%06d" % number]
        assert bodies == sorted(bodies, key=lambda body: (body != b"old", body))
        assert bodies[-1] == b"new 19"


def test_a_burst_of_the_feed_is_taken(reactor):
    cache = started(reactor)
    bursting = reactor.open_stream(zmq.PUB, f"@{FRONTEND}", options={zmq.SNDHWM: 1})
    reactor.loop.advance(1.0)
    publish(bursting, reactor, *((b"%d" % number, b"1") for number in range(5000)))
    assert len(cache.values) == 5000


def test_a_new_topic_that_comes_during_a_replay_is_not_missed(reactor, feed, cache):
    publish_topics(feed, cache, reactor, 3000)
    joiner = join(reactor, b"")
    feed.send(b"a new one", b"1")
    reactor.loop.advance(1.0)
    assert b"a new one" in joiner.topics
    assert len(set(joiner.topics)) == 3001


def test_twenty_thousand_topics_reach_a_joiner_complete(reactor, feed):
    """Past the high-water marks of both sides: the replay waits for the joiner to read."""
    cache = started(reactor, high_water_mark=1000)
    publish_topics(feed, cache, reactor, 20_000)
    joiner = join(reactor, b"")
    reactor.loop.advance(10.0)
    assert joiner.topics == [b"t%06d" % number for number in range(20_000)]
    assert reactor.network.overflowed == 0
    statistics = cache.statistics()
    assert (statistics.replayed, statistics.replays_pending) == (20_000, 0)
    assert (statistics.overflows, statistics.given_up) == (0, 0)


def test_a_large_replay_lets_live_messages_and_small_ones_through(reactor, feed, cache):
    publish_topics(feed, cache, reactor, 20_000)
    publish(feed, reactor, (b"small", b"1"))
    large, small = join(reactor, b"t"), join(reactor, b"small", b"live")
    reactor.loop.run_until(lambda: bool(large.messages))
    feed.send(b"live", b"1")
    reactor.loop.run_until(lambda: small.topics == [b"small", b"live"])
    assert len(large.messages) < 20_000


def test_subscribers_that_join_together_share_a_replay(reactor, feed, cache):
    publish_topics(feed, cache, reactor, 100)
    joiners = [join(reactor, b"t") for _ in range(20)]
    reactor.loop.advance(1.0)
    assert [len(joiner.messages) for joiner in joiners] == [100] * 20
    assert cache.statistics().replayed == 100


def test_a_replay_whose_subscribers_have_gone_ends(reactor, feed, cache):
    publish_topics(feed, cache, reactor, 20_000)
    joiner = join(reactor, b"")
    reactor.loop.run_until(lambda: bool(joiner.messages))
    reactor.unregister(joiner)
    reactor.loop.advance(1.0)
    statistics = cache.statistics()
    assert statistics.replays_pending == 0
    assert statistics.replayed < 20_000


def test_with_too_many_replays_further_subscriptions_wait(reactor, feed, cache, monkeypatch):
    monkeypatch.setattr(publisher, "_MAX_REPLAYS", 4)
    publish_topics(feed, cache, reactor, 100)
    joiner = join(reactor, *(b"t%05d" % number for number in range(10)))
    pending = [0]

    def complete():
        pending.append(cache.statistics().replays_pending)
        return len(joiner.messages) == 100

    reactor.loop.run_until(complete)
    assert sorted(joiner.topics) == [b"t%06d" % number for number in range(100)]
    assert 0 < max(pending) <= 4


def test_a_turn_tries_more_than_one_of_the_replays_that_wait(reactor, feed):
    started(reactor, high_water_mark=1)
    publish(feed, reactor, *((b"a%d" % number, b"1") for number in range(8)), (b"b", b"1"))
    prefixes = [b"a%d" % number for number in range(8)]
    narrow = {zmq.RCVHWM: 1}
    reactor.open_stream(zmq.SUB, f">{BACKEND}", subscribe=prefixes, options=narrow)  # never reads
    reactor.loop.advance(1.0)
    other = join(reactor, b"b")
    reactor.loop.advance(publisher._RETRY_SECONDS)
    assert other.messages == [(b"b", b"1")]


def test_more_prefixes_than_it_can_count_are_not_served(reactor, feed, cache):
    cache._interest.max_prefixes = 2
    publish(feed, reactor, (b"a", b"1"), (b"b", b"1"), (b"c", b"1"))
    with structlog.testing.capture_logs():
        joiners = [subscribe(reactor, prefix) for prefix in (b"a", b"b", b"c", b"a")]
    publish(feed, reactor, (b"c", b"2"))
    assert [joiner.messages for joiner in joiners] == [
        [(b"a", b"1")],
        [(b"b", b"1")],
        [],
        [(b"a", b"1")],
    ]
    assert cache.handlers[0].refused == 1


# Life


def test_statistics_are_a_frozen_snapshot(reactor, feed, cache):
    publish(feed, reactor, (b"a", b"123"))
    before = cache.statistics()
    with pytest.raises(dataclasses.FrozenInstanceError):
        before.topics = 2
    subscribe(reactor, b"a")
    after = cache.statistics()
    assert (before.topics, before.byte_count, before.subscriptions) == (1, 4, 0)
    assert (after.subscriptions, after.served_alone, after.replayed) == (1, 1, 0)
    assert after in reactor.statistics().handlers


def test_it_can_be_asked_without_a_subscription(reactor, feed, cache):
    publish(feed, reactor, (b"a", b"1"), (b"b", b"2"))
    assert cache.values.lookup(b"a") == (b"a", b"1")
    assert cache.values.matching(b"") == [(b"a", b"1"), (b"b", b"2")]


def test_it_names_only_what_others_can_connect_to(reactor):
    cache = LastValueCache(
        frontend=f"@tcp://127.0.0.1:*, >{FRONTEND}", backend=f"{BACKEND},@inproc://b"
    )
    assert cache.bound_endpoints == ()
    reactor.register(cache)
    front, *behind = cache.bound_endpoints
    assert front.startswith("tcp://127.0.0.1:") and not front.endswith("*")
    assert behind == [BACKEND, "inproc://b"]


def test_a_stop_in_the_middle_of_a_replay_ends_it(reactor, feed, cache):
    publish_topics(feed, cache, reactor, 20_000)
    joiner = join(reactor, b"")
    reactor.loop.run_until(lambda: bool(joiner.messages))
    reactor.unregister(cache)
    reactor.loop.advance(2.0)
    assert len(joiner.messages) < 20_000


def test_a_cache_that_is_started_again_does_not_serve_old_values(reactor, feed, cache):
    publish(feed, reactor, (b"a", b"1"))
    reactor.loop.run_until_complete(_awaited(reactor.unregister(cache)))
    reactor.register(cache)
    assert subscribe(reactor, b"").messages == []


def test_a_backend_that_cannot_be_bound_leaves_nothing_open(reactor, feed):
    taken = reactor.open_stream(zmq.PUB, f"@{BACKEND}")
    with pytest.raises(ReactorError, match="LastValueCache.backend: cannot bind"):
        started(reactor)
    assert [stream.name for stream in reactor.statistics().streams] == [feed.name, taken.name]


@pytest.mark.parametrize(
    "options",
    [
        *({"high_water_mark": 0}, {"max_topics": 0}, {"max_bytes": 0}),
        *({"patience": -1}, {"patience": float("nan")}, {"linger": float("nan")}),
    ],
)
def test_a_limit_that_makes_no_sense_is_an_error(options):
    with pytest.raises(ValueError, match="at least"):
        LastValueCache(**options)


async def _awaited(completion):
    await completion
