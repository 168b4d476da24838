"""Subscribers by credit on a fake network, and what the cache does with those that misbehave."""

import asyncio

import pytest
import structlog.testing
import zmq

from patterns.last_value_cache import ConflatingSubscriber, LastValueCache
from reactor import ReactorError

FRONTEND = "tcp://127.0.0.1:5557"
BACKEND = "tcp://127.0.0.1:5558"
CONFLATED = "tcp://127.0.0.1:5559"


@pytest.fixture
def feed(reactor):
    return reactor.open_stream(zmq.PUB, f"@{FRONTEND}")


@pytest.fixture
def cache(reactor, feed):
    return started(reactor)


def started(reactor, **options):
    cache = LastValueCache(frontend=FRONTEND, backend=BACKEND, conflated=CONFLATED, **options)
    reactor.register(cache)
    reactor.loop.advance(0.01)
    return cache


class Keeper(ConflatingSubscriber):
    """Keeps what it receives, in order; waits for `gate` with each when there is one."""

    gate = None

    def __init__(self, *args, **options):
        super().__init__(CONFLATED, *args, **options)
        self.messages = []
        self.marks = []

    def on_message(self, frames):
        self.messages.append(tuple(frames))
        return self.gate.wait() if self.gate else None

    def on_synchronised(self):
        self.marks.append(len(self.messages))


def follow(reactor, *prefixes, **options):
    keeper = Keeper(*([prefixes] if prefixes else []), **options)
    reactor.register(keeper)
    reactor.loop.advance(0.1)
    return keeper


def publish(feed, reactor, *messages):
    for message in messages:
        feed.send(*message)
    reactor.loop.advance(0.1)


def test_it_gets_the_values_there_are_then_a_mark_then_changes(reactor, feed, cache):
    publish(feed, reactor, (b"b", b"1"), (b"a", b"1", b"more"), (b"c", b"1"))
    keeper = follow(reactor, b"a", b"b")
    assert keeper.messages == [(b"a", b"1", b"more"), (b"b", b"1")]
    assert keeper.marks == [2] and keeper.synchronised
    publish(feed, reactor, (b"c", b"2"), (b"b", b"2"), (b"a", b""))
    assert keeper.messages[2:] == [(b"b", b"2"), (b"a", b"")]


def test_a_slow_one_gets_the_newest_value_of_each_topic(reactor, feed, cache):
    keeper = Keeper(credit=1)
    keeper.gate = asyncio.Event()
    reactor.register(keeper)
    publish(feed, reactor, (b"a", b"0"))
    for version in range(1, 50):
        publish(feed, reactor, *((topic, b"%d" % version) for topic in (b"a", b"b", b"c")))
    assert keeper.messages == [(b"a", b"0")]
    keeper.gate.set()
    reactor.loop.advance(0.1)
    assert keeper.messages[1:] == [(topic, b"49") for topic in (b"a", b"b", b"c")]
    assert cache.statistics().conflated_skipped == 3 * 48


def test_what_it_reads_is_never_older_than_its_last_credit(reactor, feed, cache):
    """Credit is granted when everything is handled: what comes then was the newest since."""
    keeper = Keeper(credit=4)
    granted = []  # the newest version at each grant
    newest = [0]
    carry_out = keeper.carry_out

    def watched(effects):
        if effects and "Credit" in type(effects[0]).__name__:
            granted.append(newest[0])
        return carry_out(effects)

    keeper.carry_out = watched
    keeper.on_message = lambda frames: (
        keeper.messages.append(int(frames[1]) >= (granted[-1] if granted else 0)),
        None,
    )[1]
    reactor.register(keeper)
    for version in range(1, 200):
        newest[0] = version
        for topic in (b"a", b"b", b"c", b"d", b"e"):
            feed.send(topic, b"%d" % version)
        reactor.loop.advance(0.0)
    reactor.loop.advance(0.1)
    assert len(granted) > 10 and len(keeper.messages) > 50
    assert all(keeper.messages)


def test_plain_subscribers_are_unaffected(reactor, feed, cache):
    plain = reactor.open_stream(zmq.SUB, f">{BACKEND}", subscribe=(b"",))
    got = []
    plain.on_message(got.append)
    keeper = Keeper(credit=1)
    keeper.gate = asyncio.Event()  # never opens
    reactor.register(keeper)
    reactor.loop.advance(0.1)
    publish(feed, reactor, *((b"a", b"%d" % number) for number in range(100)))
    assert [int(frames[1]) for frames in got] == list(range(100))
    assert len(keeper.messages) == 1


@pytest.mark.parametrize("error", [ValueError, asyncio.CancelledError])
@pytest.mark.parametrize("coroutine", [False, True])
def test_a_hook_that_raises_costs_no_credit(feed, cache, reactor, coroutine, error):
    reactor.strict = False
    keeper = follow(reactor, credit=2)

    def fail(frames):
        keeper.messages.append(tuple(frames))
        raise error("a fault of the user's")

    async def fail_later(frames):
        fail(frames)

    keeper.on_message = fail_later if coroutine else fail
    with structlog.testing.capture_logs():
        publish(feed, reactor, *((b"%d" % number, b"1") for number in range(10)))
    assert len(keeper.messages) == 10


def test_a_cache_that_was_restarted_is_joined_anew_and_what_has_gone_is_told(reactor, feed, cache):
    publish(feed, reactor, (b"a", b"1"), (b"b", b"1"))
    keeper = follow(reactor)
    reactor.unregister(cache)
    reactor.loop.advance(2.0)
    again = LastValueCache(frontend=FRONTEND, backend=BACKEND, conflated=CONFLATED)
    reactor.register(again)
    again.values.update([b"b", b"2"])
    reactor.loop.advance(10.0)
    assert keeper.messages == [(b"a", b"1"), (b"b", b"1"), (b"b", b"2"), (b"a", b"")]
    assert (keeper.marks, keeper.statistics().joined) == ([2, 4], 2)


@pytest.mark.parametrize("error", [ValueError, asyncio.CancelledError])
@pytest.mark.parametrize("slow", [False, True])
def test_what_has_gone_is_told_in_full_though_a_hook_raises(reactor, feed, cache, slow, error):
    """Also when each deletion is a coroutine: one after the other, then the mark."""
    reactor.strict = False
    publish(feed, reactor, *((topic, b"1") for topic in (b"a", b"b", b"c")))
    keeper = follow(reactor)

    async def on_message(frames):
        await asyncio.sleep(0.01)
        return fail_at_a(frames)

    def fail_at_a(frames):
        keeper.messages.append(tuple(frames))
        if frames[0] == b"a":
            raise error("a fault of the user's")

    keeper.on_message = on_message if slow else fail_at_a
    for topic in (b"a", b"b", b"c"):
        cache.values.watch(None, None)  # the subscriber is not told, as if it were away
        cache.values.update([topic, b""])
    cache.handlers[1].on_start()
    cache.handlers[1].conflation.clear()
    with structlog.testing.capture_logs():
        reactor.loop.advance(2.0)
    assert keeper.messages[3:] == [(b"a", b""), (b"b", b""), (b"c", b"")]
    assert keeper.marks == [3, 6]
    assert keeper.errors == 1


def test_a_cache_that_cannot_be_heard_is_joined_anew_until_it_answers(reactor, feed, cache):
    keeper = follow(reactor, patience=3.0)
    reactor.network.partition(CONFLATED, keeper.stream.name)
    publish(feed, reactor, (b"a", b"1"))
    reactor.loop.advance(20.0)
    assert not keeper.synchronised
    reactor.network.heal()
    reactor.loop.advance(4.0)
    assert keeper.synchronised
    assert keeper.messages == [(b"a", b"1")]
    reactor.loop.advance(120.0)
    assert cache.statistics().conflated_subscribers == 1, "its old connections are forgotten"


def test_who_leaves_is_forgotten_at_once(reactor, feed, cache):
    keeper = follow(reactor)
    assert cache.statistics().conflated_subscribers == 1
    reactor.unregister(keeper)
    reactor.loop.advance(0.1)
    assert cache.statistics().conflated_subscribers == 0


def test_who_cannot_be_reached_is_forgotten_with_the_next_update(reactor, feed, cache):
    dealer = reactor.open_stream(zmq.DEALER, f">{CONFLATED}")
    dealer.send(b"JOIN", (10).to_bytes(4), b"")
    reactor.loop.advance(0.1)
    dealer.close()
    publish(feed, reactor, (b"a", b"1"))
    assert cache.statistics().conflated_subscribers == 0


def test_who_says_nothing_is_forgotten_and_told_to_join_again_when_it_speaks(reactor, feed):
    cache = started(reactor, conflated_patience=10.0)
    dealer = reactor.open_stream(zmq.DEALER, f">{CONFLATED}")
    got = []
    dealer.on_message(got.append)
    dealer.send(b"JOIN", (10).to_bytes(4), b"")
    reactor.loop.advance(9.0)
    dealer.send(b"HUGZ")
    reactor.loop.advance(9.0)
    assert cache.statistics().conflated_subscribers == 1
    reactor.loop.advance(2.0)
    assert cache.statistics().conflated_subscribers == 0
    for word in ((b"HUGZ",), (b"CREDIT", (5).to_bytes(4))):
        dealer.send(*word)
    reactor.loop.advance(0.1)
    assert got == [[b"SYNCED"], [b"HUGZ"], [b"REJOIN"], [b"REJOIN"]]


def test_one_too_many_is_refused_and_comes_in_when_there_is_room(reactor, feed):
    cache = started(reactor, max_conflated=1)
    first = follow(reactor)
    with structlog.testing.capture_logs():
        second = follow(reactor)
    assert (first.synchronised, second.synchronised) == (True, False)
    reactor.unregister(first)
    reactor.loop.advance(10.0)
    assert second.synchronised
    assert cache.handlers[1].refused == 1


@pytest.mark.parametrize(
    "frames",
    [
        (b"",),
        (b"HELLO",),
        (b"JOIN",),
        (b"JOIN", b"", b""),
        (b"JOIN", bytes(4), b""),
        (b"CREDIT",),
        (b"CREDIT", b"many"),
        (b"HUGZ", b"more"),
        (b"BYE", b"more"),
    ],
)
def test_what_is_no_command_is_refused_and_survived(reactor, feed, cache, frames):
    keeper = follow(reactor)
    rude = reactor.open_stream(zmq.DEALER, f">{CONFLATED}")
    with structlog.testing.capture_logs():
        rude.send(*frames)
        publish(feed, reactor, (b"a", b"1"))
    assert cache.handlers[1].refused == 1
    assert keeper.messages == [(b"a", b"1")]


def test_who_grants_again_and_again_without_reading_fills_its_own_pipe_only(
    reactor, feed, monkeypatch
):
    monkeypatch.setattr("patterns.last_value_cache.handlers.MAX_CREDIT", 10)
    cache = started(reactor)
    greedy = reactor.open_stream(zmq.DEALER, f">{CONFLATED}", options={zmq.RCVHWM: 10})
    greedy.send(b"JOIN", (1000).to_bytes(4), b"")
    keeper = follow(reactor)
    for number in range(100):
        publish(feed, reactor, (b"%d" % (number % 50), b"%d" % number))
        greedy.send(b"CREDIT", (1000).to_bytes(4))
        reactor.loop.advance(0.1)
    assert len(keeper.messages) == 100
    assert cache.statistics().conflated_pending == 50
    got = []
    greedy.on_message(got.append)
    for _ in range(10):  # every word of its tells that it may have room again
        greedy.send(b"HUGZ")
        reactor.loop.advance(0.1)
    last = {frames[1]: frames[2] for frames in got if frames[0] == b"UPDATE"}
    assert last == {b"%d" % topic: b"%d" % (topic + 50) for topic in range(50)}


def test_a_subscriber_that_hears_nonsense_refuses_it(reactor):
    router = reactor.open_stream(zmq.ROUTER, f"@{CONFLATED}")
    identities = []
    router.on_message(lambda frames: identities.append(frames[0]))
    keeper = follow(reactor)
    with structlog.testing.capture_logs():
        for frames in ((b"HELLO",), (b"UPDATE",), (b"",)):
            router.send(identities[0], *frames)
        reactor.loop.advance(0.1)
    assert keeper.handlers[0].refused == 3


@pytest.mark.parametrize("prefixes", [[], [bytes(256)], [b"%d" % n for n in range(1001)]])
def test_prefixes_that_no_cache_takes_are_an_error(prefixes):
    with pytest.raises(ValueError, match="prefix"):
        ConflatingSubscriber(CONFLATED, prefixes)


def test_an_endpoint_that_is_taken_is_an_error(reactor, feed):
    reactor.open_stream(zmq.PUB, f"@{CONFLATED}")
    with pytest.raises(ReactorError, match="LastValueCache.conflated: cannot bind"):
        started(reactor)


# On demand


def heard_by(feed):
    heard = []
    feed.on_message(lambda frames: heard.append(frames[0]))
    return heard


@pytest.fixture
def asked(reactor):
    return reactor.open_stream(zmq.XPUB, f"@{FRONTEND}")


def test_on_demand_publishers_are_asked_for_what_subscribers_ask_for(reactor, asked):
    cache = started(reactor, on_demand=True, linger=10.0)
    heard = heard_by(asked)
    plain = [reactor.open_stream(zmq.SUB, f">{BACKEND}", subscribe=(b"a",)) for _ in range(2)]
    keeper = follow(reactor, b"c", b"a")
    assert heard == [b"\x01a", b"\x01c"]
    publish(asked, reactor, (b"a1", b"1"), (b"b1", b"1"), (b"c1", b"1"))
    assert cache.values.topics_under(b"") == [b"a1", b"c1"]
    for stream in plain:
        stream.close()
    reactor.loop.advance(20.0)
    assert heard == [b"\x01a", b"\x01c"], "one is left who asks for both"
    reactor.unregister(keeper)
    reactor.loop.advance(9.0)
    assert len(cache.values) == 2, "somebody may come back"
    reactor.loop.advance(3.0)
    assert sorted(heard[2:]) == [b"\x00a", b"\x00c"]
    assert len(cache.values) == 0, "nobody would tell when these change"


def test_on_demand_what_others_still_want_is_kept(reactor, asked):
    cache = started(reactor, on_demand=True, linger=1.0)
    heard_by(asked)
    wide = reactor.open_stream(zmq.SUB, f">{BACKEND}", subscribe=(b"a",))
    follow(reactor, b"ab")
    publish(asked, reactor, (b"ab", b"1"), (b"ac", b"1"))
    wide.close()
    reactor.loop.advance(5.0)
    assert cache.values.topics_under(b"") == [b"ab"]


def test_a_late_subscriber_gets_what_an_early_one_has_asked_for(reactor, asked):
    started(reactor, on_demand=True)
    heard_by(asked)
    early = reactor.open_stream(zmq.SUB, f">{BACKEND}", subscribe=(b"a",))
    reactor.loop.advance(0.1)
    publish(asked, reactor, (b"a", b"1"))
    early.close()
    reactor.loop.advance(1.0)
    late = reactor.open_stream(zmq.SUB, f">{BACKEND}", subscribe=(b"a",))
    got = []
    late.on_message(got.append)
    reactor.loop.advance(0.1)
    assert got == [[b"a", b"1"]]


# Time


def test_a_value_that_has_expired_is_served_to_nobody(reactor, feed):
    started(reactor, ttl={b"a": 10.25})
    publish(feed, reactor, (b"a", b"1"), (b"b", b"1"))
    reactor.loop.advance(10.2)  # between two ticks of the cache
    late = reactor.open_stream(zmq.SUB, f">{BACKEND}", subscribe=(b"",))
    got = []
    late.on_message(got.append)
    keeper = follow(reactor)
    assert got == [[b"b", b"1"]]
    assert keeper.messages == [(b"b", b"1")]
