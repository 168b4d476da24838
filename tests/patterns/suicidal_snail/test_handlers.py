"""Publisher and subscriber on a fake network, in virtual time.

A test that names SN-n shows that a fault of the Guide's example is absent here.
"""

import asyncio

import pytest
import structlog
import zmq

from patterns.suicidal_snail import (
    Limits,
    Reaction,
    Reason,
    SnailError,
    SnailPublisher,
    SnailSubscriber,
    Stamping,
)
from reactor import HandlerSet, ReactorError, StreamHandler
from reactor.testing import fake_reactor

FEED = "tcp://127.0.0.1:5557"
SQUAWKS = "tcp://127.0.0.1:5559"
LIMITS = Limits(age=1.0, late_for=1.0, silence=5.0, grace=1.0)
HOUR = 3600.0


class Reader(SnailSubscriber):
    """Keeps what it receives and what it is told about itself."""

    def __init__(self, *args, limits=LIMITS, **options):
        super().__init__(*args, limits=limits, **options)
        self.messages = []
        self.found = []

    def on_message(self, frames):
        self.messages.append(tuple(frames))

    def on_snail(self, diagnosis):
        self.found.append(diagnosis)

    def on_recovery(self, diagnosis):
        self.found.append(diagnosis)

    @property
    def reasons(self):
        return [(d.reason, d.recovered) for d in self.found]


class Clock:
    """A wall clock that runs with the loop, at an offset that can be changed."""

    def __init__(self, reactor, offset=1e9):
        self.reactor = reactor
        self.offset = offset

    def __call__(self):
        return self.offset + self.reactor.now()


@pytest.fixture
def reactor(fake_network):
    with fake_reactor(fake_network, strict=True) as reactor:
        yield reactor


@pytest.fixture
def publisher(reactor):
    return publisher_on(reactor)


def publisher_on(reactor, **options):
    options.setdefault("wall_clock", Clock(reactor))
    publisher = SnailPublisher(f"@{FEED}", b"feed", squawks=f"@{SQUAWKS}", **options)
    reactor.register(publisher)
    return publisher


def reader_on(reactor, *prefixes, **options):
    options.setdefault("wall_clock", Clock(reactor))
    options.setdefault("subscriber", "reader")
    reader = Reader(f">{FEED}", prefixes or (b"",), **options)
    reactor.register(reader)
    reactor.loop.run_pending()
    return reader


def publish(reactor, publisher, seconds, *topics, every=0.1):
    """Messages of these topics again and again, for so long."""
    for _ in range(round(seconds / every)):
        for topic in topics or (b"a",):
            publisher.publish(topic, b"body")
        reactor.loop.advance(every)


# What arrives


def test_a_subscriber_gets_what_was_published(reactor, publisher):
    reader = reader_on(reactor)
    publisher.publish(b"a", b"1", b"2")
    publisher.publish(b"b")
    publisher.publish(b"c", b"x" * 32)
    reactor.loop.run_pending()
    assert reader.messages == [(b"a", b"1", b"2"), (b"b",), (b"c", b"x" * 32)]
    assert reader.statistics().received == 3


def test_a_plain_subscriber_finds_its_frames_where_they_were(reactor, publisher):
    plain = reactor.open_stream(zmq.SUB, f">{FEED}", subscribe=(b"a",))
    received = []
    plain.on_message(received.append)
    reactor.loop.run_pending()
    publisher.publish(b"a", b"1", b"2")
    reactor.loop.advance(10.0)
    ((topic, first, second, stamp),) = received
    assert (topic, first, second, len(stamp)) == (b"a", b"1", b"2", 32)


def test_who_has_no_guard_among_others_gets_no_beats(reactor, publisher):
    plain = reactor.open_stream(zmq.SUB, f">{FEED}", subscribe=(b"",))
    received = []
    plain.on_message(received.append)
    reactor.loop.advance(10.0)
    assert received == []


def test_messages_without_a_stamp_are_delivered_as_they_are(reactor):
    plain = reactor.open_stream(zmq.PUB, f"@{FEED}")
    reader = reader_on(reactor)
    for body in (b"1", b"", b"x" * 32, b"\xa5SN"):
        plain.send(b"a", body)
    plain.send(b"\xa5SN1" + bytes(28))
    reactor.loop.run_pending()
    assert reader.messages == [
        (b"a", b"1"),
        (b"a", b""),
        (b"a", b"x" * 32),
        (b"a", b"\xa5SN"),
        (b"\xa5SN1" + bytes(28),),
    ]
    assert reader.statistics().unstamped == 5


def test_malformed_stamps_and_beats_are_refused_and_survived(reactor):
    plain = reactor.open_stream(zmq.PUB, f"@{FEED}")
    reader = reader_on(reactor, b"a", b"\x00snail\x00")
    plain.send(b"a", b"body", b"\xa5SN1")
    plain.send(reader._beat_topic, b"\xa5SB1 what?")
    plain.send(b"a", b"body")
    reactor.loop.run_pending()
    feed = next(h for h in reader.handlers if h.name == "Reader.feed")
    assert (reader.refused, feed.refused) == (1, 1)
    assert reader.messages == [(b"a", b"body"), (b"a", b"body")]


def test_topics_of_beats_cannot_be_published(reactor, publisher):
    with pytest.raises(ValueError, match="beats"):
        publisher.publish(b"\x00snail\x00")


def test_any_handler_stamps_with_the_mixin(reactor):
    class Ticker(Stamping):
        def on_start(self):
            super().on_start()
            self.ticker = self.reactor.periodic(0.5, lambda: self.publish(b"tick"))

        def on_stop(self):
            super().on_stop()
            self.ticker.cancel()

    reactor.register(Ticker(reactor.open_stream(zmq.XPUB, f"@{FEED}"), b"ticker"))
    reader = reader_on(reactor)
    reactor.loop.advance(10.0)
    assert len(reader.messages) == 20
    assert reader.found == []


# Messages that come together


def burst(publisher, count):
    for number in range(count):
        publisher.publish(b"a", b"%d" % number)


def bodies(reader):
    return [int(body) for _, body in reader.messages]


# A CancelledError is that of something a hook has asked: nobody cancels a hook.
each_error = pytest.mark.parametrize("error", [RuntimeError, asyncio.CancelledError])


@each_error
def test_a_hook_that_raises_costs_one_message_of_those_that_came_together(fake_network, error):
    class Picky(Reader):
        def on_message(self, frames):
            if frames[1] in (b"3", b"4"):
                raise error(frames[1])
            super().on_message(frames)

    with fake_reactor(fake_network) as reactor:
        publisher = publisher_on(reactor)
        reader = Picky(f">{FEED}", wall_clock=Clock(reactor))
        reactor.register(reader)
        reactor.loop.run_pending()
        burst(publisher, 8)
        reactor.loop.run_pending()
        assert bodies(reader) == [0, 1, 2, 5, 6, 7]
        assert (reader.statistics().received, reader.statistics().lost) == (8, 0)
        (feed,) = [h for h in reactor.statistics().handlers if h.name == "Picky.feed"]
        assert feed.errors == 2


def test_coroutine_hooks_get_messages_that_came_together_one_by_one(reactor, publisher):
    class Slow(Reader):
        running = 0

        async def on_message(self, frames):
            self.running += 1
            assert self.running == 1
            await asyncio.sleep(0.01)
            self.running -= 1
            super().on_message(frames)

    reader = Slow(f">{FEED}", wall_clock=Clock(reactor))
    reactor.register(reader)
    reactor.loop.run_pending()
    burst(publisher, 20)
    reactor.loop.advance(0.055)
    assert bodies(reader) == list(range(5))
    assert reader.statistics().received == 6, "each is judged when its hook begins to wait"
    reactor.loop.advance(0.2)
    assert bodies(reader) == list(range(20))


@pytest.mark.parametrize("seconds", [0.0, 60.0])
def test_a_pause_holds_what_came_together_too(reactor, publisher, seconds):
    """Whether a turn of the loop takes all of them or, with a slow hook, one."""

    class Pausing(Reader):
        def on_message(self, frames):
            super().on_message(frames)
            if len(self.messages) in (3, 6):
                self.stream.pause()

    reader = Pausing(f">{FEED}", wall_clock=Clock(reactor))
    reactor.register(reader)
    reader.stream.batch_seconds = seconds
    reactor.loop.run_pending()
    burst(publisher, 10)
    for expected in (3, 6, 10):
        reactor.loop.advance(0.1)
        assert bodies(reader) == list(range(expected))
        assert reader.statistics().received == expected
        reader.stream.resume()


def test_who_leaves_in_the_middle_of_what_came_together_gets_no_more(reactor, publisher):
    class Leaving(Reader):
        def on_message(self, frames):
            super().on_message(frames)
            if len(self.messages) == 3:
                self.reactor.unregister(self)

    reader = Leaving(f">{FEED}", wall_clock=Clock(reactor))
    reactor.register(reader)
    reactor.loop.run_pending()
    burst(publisher, 10)
    reactor.loop.advance(1.0)
    assert bodies(reader) == [0, 1, 2]


def test_timers_live_under_a_hook_that_takes_its_time(reactor, publisher):
    class Slow(Reader):
        def on_message(self, frames):
            super().on_message(frames)
            if len(self.messages) == 1:
                self.reactor.loop.call_soon(lambda: self.messages.append((b"other", b"-1")))

    reader = Slow(f">{FEED}", wall_clock=Clock(reactor))
    reactor.register(reader)
    reader.stream.batch_seconds = 0.0  # as if each message took longer than a turn may
    reactor.loop.run_pending()
    burst(publisher, 5)
    reactor.loop.run_pending()
    assert bodies(reader) == [0, -1, 1, 2, 3, 4]


# The faults of the Guide's example


@pytest.mark.parametrize("offset", [-HOUR, HOUR])
def test_sn_2_a_clock_offset_of_an_hour_is_no_death(reactor, publisher, offset):
    reader = reader_on(reactor, reactions=[Reaction.STOP], wall_clock=Clock(reactor, 1e9 + offset))
    publish(reactor, publisher, 30.0)
    assert len(reader.messages) == 300
    assert (reader.exit_code, reactor.stopping) == (0, False)


@pytest.mark.parametrize("side", ["publisher", "subscriber"])
def test_sn_2_a_clock_that_is_set_is_no_death(reactor, side):
    clocks = {"publisher": Clock(reactor), "subscriber": Clock(reactor)}
    publisher = publisher_on(reactor, wall_clock=clocks["publisher"])
    reader = reader_on(reactor, wall_clock=clocks["subscriber"])
    for step in (HOUR, -2 * HOUR):
        publish(reactor, publisher, 5.0)
        clocks[side].offset += step
    publish(reactor, publisher, 5.0)
    assert reader.found == []


@pytest.mark.parametrize("prefixes", [[b""], [b"a"], [b"a", b"bb"]])
def test_sn_3_a_high_water_mark_of_10_loses_most_and_is_noticed(reactor, prefixes):
    publisher = publisher_on(reactor, high_water_mark=5)
    reader = reader_on(reactor, *prefixes, high_water_mark=5)
    publish(reactor, publisher, 3.0, b"a", b"bb", b"c")
    assert reader.found == [], "as long as it gets all"
    before = reader.statistics().received
    for _ in range(100):
        publisher.publish(b"a", b"body")
    reactor.loop.advance(1.1)
    received = reader.statistics().received - before
    assert 0 < received <= 10
    assert reader.reasons == [(Reason.LOSSY, False)]
    assert reader.statistics().lost == reactor.network.overflowed == 100 - received


def test_sn_3_what_others_subscribe_to_is_no_loss(reactor, publisher):
    readers = [reader_on(reactor, prefix) for prefix in (b"", b"a", b"ab", b"b")]
    publish(reactor, publisher, 10.0, b"a", b"ab", b"abc", b"b", b"c")
    assert [reader.statistics().received for reader in readers] == [500, 300, 200, 100]
    assert [reader.found for reader in readers] == [[]] * 4


def test_sn_3_the_beats_for_others_are_not_taken_for_its_own(reactor, publisher):
    curious = reader_on(reactor, b"a", b"\x00snail")
    reader_on(reactor, b"b")
    publish(reactor, publisher, 10.0, b"a", b"b", b"b")
    assert curious.found == []
    assert curious.statistics().received == 100


def test_a_second_guard_with_the_same_prefixes_hears_a_beat_at_once(reactor, publisher):
    for _ in range(2):
        assert list(reader_on(reactor, b"a").protocol._tracks) == [b"feed\0\0\0\0"]
    assert reactor.now() == 0.0


def test_sn_3_what_a_broken_connection_loses_is_noticed(reactor, publisher):
    reader = reader_on(reactor, b"a")
    publish(reactor, publisher, 2.0, b"a", b"b")
    reactor.network.partition("Reader.feed", reset=True)
    publish(reactor, publisher, 2.0, b"a", b"b")
    reactor.network.heal()
    publish(reactor, publisher, 2.0, b"a", b"b")
    assert reader.reasons == [(Reason.LOSSY, False)]
    assert reader.statistics().received + reader.statistics().lost == 60


def test_sn_4_a_publisher_that_stopped_is_noticed(reactor, publisher):
    reader = reader_on(reactor)
    publish(reactor, publisher, 2.0)
    reactor.unregister(publisher)
    reactor.loop.advance(4.5)
    assert reader.found == []
    reactor.loop.advance(1.0)
    assert reader.reasons == [(Reason.STALLED, False)]
    assert reader.found[0].publisher == "feed"


def test_sn_4_a_publisher_that_has_nothing_to_say_beats(reactor, publisher):
    reader = reader_on(reactor, b"never")
    reactor.loop.advance(60.0)
    assert reader.found == []


def test_sn_5_one_spike_does_not_kill(reactor, publisher):
    reader = reader_on(reactor, reactions=[Reaction.STOP])
    publish(reactor, publisher, 2.0)
    delay = reactor.network.delay(2.0)
    publisher.publish(b"a", b"late")
    delay.cancel()
    publish(reactor, publisher, 10.0)
    assert (b"a", b"late") in reader.messages
    assert not reactor.stopping


def test_who_is_slow_for_longer_is_found_late(reactor, publisher):
    reader = reader_on(reactor)
    publish(reactor, publisher, 2.0)
    reactor.network.delay(1.5)
    publish(reactor, publisher, 5.0)
    assert reader.reasons == [(Reason.LATE, False)]
    assert reader.found[0].age == pytest.approx(1.5, abs=0.001)


def test_sn_6_it_squawks_with_figures_before_it_dies(reactor, publisher):
    sent_before_the_end = []

    class Watched(Reader):
        def on_stop(self):
            sent_before_the_end.extend(self._squawk.sent)

    reader = Watched(
        f">{FEED}",
        reactions=[Reaction.SQUAWK, Reaction.STOP],
        squawks=f">{SQUAWKS}",
        subscriber="reader",
        wall_clock=Clock(reactor),
    )
    with fake_reactor(reactor.network, strict=True) as process:
        process.register(reader)
        publish(reactor, publisher, 2.0)
        reactor.network.delay(1.5, "Watched.feed")
        publish_until_stopping(reactor, publisher, process)
    assert reader.exit_code == 70
    assert [frames[0] for frames in sent_before_the_end] == [b"SNAIL1"]
    (slow,) = publisher.slow_subscribers()
    squawk = slow.squawk
    assert (squawk.subscriber, squawk.publisher, squawk.reason) == ("reader", "feed", "late")
    assert squawk.age == pytest.approx(1.5, abs=0.001)
    assert squawk.received > 20


def publish_until_stopping(reactor, publisher, stopping=None):
    for _ in range(100):
        publisher.publish(b"a", b"body")
        reactor.loop.advance(0.1)
        if (stopping or reactor).stopping:
            return
    raise AssertionError("it lives on")


def test_sn_6_the_publisher_lists_its_slow_subscribers(reactor, publisher):
    slow = reader_on(reactor, reactions=[Reaction.SQUAWK], squawks=f">{SQUAWKS}", subscriber="slow")
    slow.name = "slow"
    reader_on(reactor, reactions=[Reaction.SQUAWK], squawks=f">{SQUAWKS}", subscriber="good")
    publish(reactor, publisher, 2.0)
    delay = reactor.network.delay(1.5, slow.stream)
    publish(reactor, publisher, 5.0)
    (entry,) = publisher.slow_subscribers()
    assert (entry.squawk.subscriber, entry.squawk.reason) == ("slow", "late")
    assert publisher.statistics().slow_subscribers == 1
    delay.cancel()
    publish(reactor, publisher, 5.0)
    assert publisher.slow_subscribers() == [], "it says so when it has recovered"


def test_a_squawk_that_is_none_is_refused(reactor, publisher):
    rude = reactor.open_stream(zmq.PUSH, f">{SQUAWKS}")
    rude.send(b"SNAIL1", b"{}")
    rude.send(b"hello")
    reactor.loop.run_pending()
    collector = publisher.handlers[0]
    assert (collector.refused, collector.errors) == (2, 0)


# Reactions


def make_late(reactor, publisher, **options):
    reader = reader_on(reactor, **options)
    publish(reactor, publisher, 2.0)
    reactor.network.delay(1.5)
    publish(reactor, publisher, 3.5)
    return reader


def test_it_logs_if_it_is_to(reactor, publisher):
    with structlog.testing.capture_logs() as logs:
        make_late(reactor, publisher, reactions=[Reaction.LOG])
    (entry,) = [entry for entry in logs if entry["event"] == "snail"]
    assert (entry["reason"], entry["handler"]) == ("late", "Reader")


def test_it_does_nothing_but_call_back_if_it_is_not_to(reactor, publisher):
    with structlog.testing.capture_logs() as logs:
        reader = make_late(reactor, publisher, reactions=[])
    assert [entry for entry in logs if entry["event"] == "snail"] == []
    assert reader.reasons == [(Reason.LATE, False)]
    assert not reactor.stopping


def test_it_raises_if_it_is_to(fake_network):
    reactor = fake_reactor(fake_network, strict=True)
    publisher = publisher_on(reactor)
    reader = reader_on(reactor, reactions=[Reaction.RAISE])
    publish(reactor, publisher, 2.0)
    reactor.network.delay(1.5)
    publish_until_stopping(reactor, publisher)
    with pytest.raises(SnailError, match="late: publisher feed") as caught:
        reactor.close()
    assert caught.value.diagnosis is reader.found[0]


@each_error
def test_a_hook_that_fails_keeps_no_snail_alive(fake_network, error):
    class Broken(Reader):
        def on_snail(self, diagnosis):
            raise error("broken")

        def on_error(self, error):
            self.messages.append(error)

    with fake_reactor(fake_network) as reactor:
        publisher = publisher_on(reactor)
        reader = Broken(f">{FEED}", reactions=[Reaction.STOP], wall_clock=Clock(reactor))
        reactor.register(reader)
        publish(reactor, publisher, 2.0)
        reactor.network.delay(1.5)
        publish_until_stopping(reactor, publisher)
        assert reader.exit_code == 70
        assert reader.errors == 1


def test_hooks_may_be_coroutines(reactor, publisher):
    class Slow(Reader):
        async def on_message(self, frames):
            self.messages.append(tuple(frames))

        async def on_snail(self, diagnosis):
            self.found.append(diagnosis)

    reader = Slow(f">{FEED}", wall_clock=Clock(reactor))
    reactor.register(reader)
    publish(reactor, publisher, 2.0)
    reactor.network.delay(1.5)
    publish(reactor, publisher, 3.5)
    assert reader.reasons == [(Reason.LATE, False)]
    assert len(reader.messages) == 40


def test_a_subscriber_that_is_too_slow_by_itself_is_late_and_says_so(reactor, publisher):
    """The snail proper: its own hook takes longer than the feed leaves it."""

    class Slow(Reader):
        async def on_message(self, frames):
            self.messages.append(tuple(frames))
            await asyncio.sleep(0.2)

    reader = Slow(f">{FEED}", reactions=[Reaction.STOP], wall_clock=Clock(reactor))
    reactor.register(reader)
    publish_until_stopping(reactor, publisher)
    assert reader.diagnosis.reason is Reason.LATE
    assert 2.0 < reactor.now() < 5.0, "half as fast: late by 1 s after 2 s, and for another 2 s"


def test_to_subscribe_anew_throws_the_backlog_away(reactor, publisher):
    class Slow(Reader):
        delay = 0.2

        async def on_message(self, frames):
            self.messages.append(tuple(frames))
            await asyncio.sleep(self.delay)

    reader = Slow(f">{FEED}", reactions=[Reaction.RESUBSCRIBE], wall_clock=Clock(reactor))
    reactor.register(reader)
    while not reader.resubscribed:
        publish(reactor, publisher, 0.1)
        assert reactor.now() < 10.0
    assert publisher.statistics().published - len(reader.messages) > 15, "that much behind"
    reader.delay = 0.01
    reactor.loop.advance(0.3)  # the hook that runs ends first
    reader.messages.clear()
    reader.found.clear()
    publisher.publish(b"new", b"body")
    reactor.loop.advance(0.5)
    assert reader.messages == [(b"new", b"body")]
    publish(reactor, publisher, 5.0)
    assert reader.found == [], "what was thrown away is no loss of the new subscription"


def test_who_binds_cannot_subscribe_anew():
    with pytest.raises(ValueError, match="connect"):
        SnailSubscriber(f"@{FEED}", reactions=[Reaction.RESUBSCRIBE])


def test_to_squawk_takes_an_endpoint():
    with pytest.raises(ValueError, match="squawks="):
        SnailSubscriber(FEED, reactions=[Reaction.SQUAWK])


# Subscriptions that change


def test_subscriptions_may_change_and_nothing_is_taken_for_a_loss(reactor, publisher):
    reader = reader_on(reactor, b"a")
    steps = [
        lambda: reader.subscribe(b"b"),
        lambda: reader.subscribe(b""),
        lambda: reader.unsubscribe(b"a"),
        lambda: reader.unsubscribe(b""),
        lambda: reader.unsubscribe(b"never"),
        lambda: reader.unsubscribe(b"b"),
        lambda: reader.subscribe(b"c"),
    ]
    for step in steps:
        publish(reactor, publisher, 2.5, b"a", b"b", b"c")
        step()
    publish(reactor, publisher, 2.5, b"a", b"b", b"c")
    assert reader.found == []
    assert publisher.statistics().interests <= len(steps)


def test_who_has_received_everything_may_go_on_with_less(reactor, publisher):
    reader = reader_on(reactor, b"", b"a")
    publish(reactor, publisher, 2.5, b"a", b"b")
    reader.unsubscribe(b"")
    publish(reactor, publisher, 2.5, b"a", b"b")
    assert reader.found == []
    assert reader.statistics().lost == 0


def test_and_a_loss_after_the_change_is_one(reactor):
    publisher = publisher_on(reactor, high_water_mark=5)
    reader = reader_on(reactor, b"a", high_water_mark=5)
    publish(reactor, publisher, 2.5, b"a", b"b")
    reader.subscribe(b"b")
    publish(reactor, publisher, 2.5, b"a", b"b")
    for _ in range(20):
        publisher.publish(b"b", b"body")
    reactor.loop.advance(1.1)
    assert reader.statistics().lost == reactor.network.overflowed > 0


# Life


def test_it_is_a_part_of_a_set(reactor, publisher):
    class Both(HandlerSet):
        def build(self):
            self.reader = Reader(f">{FEED}", wall_clock=Clock(self.reactor))
            return [self.reader, StreamHandler(self.open_stream(zmq.PUB, "@tcp://127.0.0.1:1"))]

    both = Both()
    reactor.register(both)
    reactor.loop.run_pending()
    publish(reactor, publisher, 1.0)
    assert len(both.reader.messages) == 10
    reactor.unregister(both)
    publish(reactor, publisher, 10.0)
    assert len(both.reader.messages) == 10
    assert both.reader.found == []


def test_a_publisher_publishes_once_it_is_started():
    with pytest.raises((AssertionError, ReactorError)):
        SnailPublisher(FEED).publish(b"a")


def test_zh_3_publishers_without_a_name_have_eight_random_bytes(reactor):
    stream = reactor.open_stream(zmq.XPUB)
    names = {Stamping(stream).publication.publisher for _ in range(1000)}
    assert {len(name) for name in names} == {8}
    assert len(names) == 1000
