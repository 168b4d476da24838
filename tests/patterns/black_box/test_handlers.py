"""The wiring of a keyed box, on a fake network and in virtual time."""

import pytest
import zmq

from patterns.black_box import (
    BlackBox,
    Delivery,
    Feed,
    PumpingBox,
    QueuePolicy,
    Work,
    WorkerFailed,
)
from reactor.testing import FakeLoop, FakeNetwork
from reactor.testing import fake_reactor as make_fake_reactor
from tests.patterns.black_box.workers import FakeSpawner, ScriptedSpawner

FEED = "tcp://publisher:5557"


class Open:
    """A box with scripted workers behind a publisher, all on one fake network."""

    def __init__(self, reactor, **options):
        self.reactor = reactor
        self.spawner = ScriptedSpawner(reactor)
        self.publisher = reactor.open_stream(zmq.PUB, f"@{FEED}")
        options = {"shard": lambda frames: int(frames[0]), "late": 1.0, **options}
        self.box = make_box(self.spawner, **options)
        reactor.loop.run_until_complete(awaited(reactor.register(self.box)))
        reactor.loop.run_pending()

    def publish(self, bodies, shard=0):
        for body in bodies:
            self.publisher.send(b"%d" % shard, body.encode())
        self.reactor.loop.run_pending()

    def worker(self, shard=0):
        return self.spawner.of(shard)

    def shard(self, number=0):
        return self.box.statistics().shards[number]


def make_box(spawner, feeds=f">{FEED}", **options):
    return BlackBox(feeds, "nobody:nothing", spawner=spawner, endpoint="inproc://box", **options)


async def awaited(completion):
    await completion


@pytest.fixture
def opened(fake_reactor):
    return Open(fake_reactor)


def test_messages_reach_the_worker_of_their_shard_in_order(opened):
    opened.publish("abc", shard=0)
    opened.publish("xyz", shard=1)
    assert opened.worker(0).bodies == b"abc"
    assert opened.worker(1).bodies == b"xyz"


def test_a_burst_goes_out_as_one_batch(opened):
    opened.publish("abcdef")
    assert opened.box.foreman._listener.stream.messages_sent == 1


def test_a_report_gives_credit(fake_reactor):
    opened = Open(fake_reactor, window=2)
    opened.publish("abcde")
    assert opened.worker().bodies == b"ab"
    opened.worker().report(1)
    fake_reactor.loop.run_pending()
    assert opened.worker().bodies == b"abc"
    assert opened.shard().handled == 1


def test_the_filter_runs_before_anything_else(fake_reactor):
    opened = Open(fake_reactor, filter=lambda frames: frames[1] != b"-")
    opened.publish("a-b--c")
    assert opened.worker().bodies == b"abc"
    statistics = opened.box.statistics()
    assert (statistics.received, statistics.filtered) == (6, 3)


def test_the_feed_is_read_when_all_workers_are_ready_and_not_before(fake_reactor):
    spawner = ScriptedSpawner(fake_reactor, ready=False)
    publisher = fake_reactor.open_stream(zmq.XPUB, f"@{FEED}")
    subscriptions = []
    publisher.on_message(subscriptions.append)
    fake_reactor.register(make_box(spawner))
    fake_reactor.loop.advance(1)
    spawner.of(0).ready()
    fake_reactor.loop.advance(1)
    assert subscriptions == []
    spawner.of(1).ready()
    fake_reactor.loop.run_pending()
    assert subscriptions == [[b"\x01"]]


def test_a_worker_that_ends_before_it_is_ready_fails_the_start(fake_reactor):
    spawner = ScriptedSpawner(fake_reactor, ready=False)
    start = fake_reactor.register(make_box(spawner))
    fake_reactor.loop.run_pending()
    spawner.of(1).end("exit status 78")
    with pytest.raises(WorkerFailed, match="exit status 78"):
        fake_reactor.loop.run_until_complete(awaited(start))
    assert spawner.of(0).killed


def test_workers_that_never_get_ready_fail_the_start(fake_reactor):
    spawner = ScriptedSpawner(fake_reactor, ready=False)
    start = fake_reactor.register(make_box(spawner))
    with pytest.raises(WorkerFailed, match="not ready"):
        fake_reactor.loop.run_until_complete(awaited(start))
    assert spawner.of(0).killed and spawner.of(1).killed


def test_a_dead_worker_is_replaced_and_its_shard_resumed(opened):
    opened.publish("abc")
    opened.worker().report(1)
    opened.reactor.loop.run_pending()
    opened.worker().end()
    opened.reactor.loop.advance(1)
    opened.publish("de")
    assert opened.worker().post.worker.incarnation == 2
    assert opened.worker().bodies == b"de"
    assert (opened.shard().lost, opened.shard().handled, opened.shard().restarts) == (2, 1, 1)


def test_at_least_once_the_next_worker_gets_what_the_dead_one_held(fake_reactor):
    opened = Open(fake_reactor, delivery=Delivery.AT_LEAST_ONCE)
    opened.publish("abc")
    opened.worker().report(1)
    fake_reactor.loop.run_pending()
    opened.worker().end()
    fake_reactor.loop.advance(1)
    for done in (1, 2):
        opened.worker().report(done)
        fake_reactor.loop.run_pending()
    assert opened.worker().bodies == b"bc"
    assert opened.shard().lost == 0
    assert opened.box.protocol.idle


def test_the_last_words_of_a_dead_worker_count():
    with make_fake_reactor(FakeNetwork(FakeLoop(), latency=0.01)) as reactor:
        opened = Open(reactor)
        reactor.loop.advance(0.1)
        opened.publish("abc")
        reactor.loop.advance(0.1)
        opened.worker().report(3)
        opened.worker().end()  # which is known at once, and the report is still under way
        reactor.loop.advance(1)
        assert (opened.shard().handled, opened.shard().lost) == (3, 0)
    reactor.loop.close()


def test_what_a_buried_worker_says_is_not_counted(opened):
    opened.publish("abc")
    dead = opened.worker()
    dead._on_exit("signal 9")  # its stream stays open
    opened.reactor.loop.advance(1)
    opened.publish("def")
    dead.report(3)
    opened.reactor.loop.run_pending()
    assert (opened.shard().handled, opened.shard().lost, opened.shard().in_hand) == (0, 3, 3)


def test_a_silent_worker_is_killed_and_replaced(fake_reactor):
    opened = Open(fake_reactor, patience=2.0)
    silent = opened.worker(0)
    for _ in range(30):
        opened.worker(1).report(0)
        fake_reactor.loop.advance(0.1)
    assert silent.killed
    assert opened.worker(0).post.worker.incarnation == 2
    assert opened.worker(1).post.worker.incarnation == 1


def test_a_full_queue_stops_reading_and_goes_on(fake_reactor):
    opened = Open(fake_reactor, queue_limit=4, window=1, policy=QueuePolicy.STOP_READING)
    opened.publish("abcdefghij")
    assert not opened.box.statistics().reading
    assert opened.shard().received == 4
    for done in range(1, 11):
        opened.worker().report(done)
        fake_reactor.loop.run_pending()
    assert opened.box.statistics().reading
    assert opened.worker().bodies == b"abcdefghij"
    assert opened.shard().dropped == 0


def test_a_message_for_no_shard_is_refused_and_the_next_one_comes(opened):
    opened.publish("a", shard=7)
    opened.publish("b", shard=0)
    assert opened.box.statistics().refused == 1
    assert opened.worker().bodies == b"b"


@pytest.mark.parametrize("frames", [(b"READY",), (b"DONE",), (b"hello", b"world")])
def test_nonsense_from_a_worker_is_refused(opened, frames):
    opened.worker().send(*frames)
    opened.reactor.loop.run_pending()
    assert opened.box.foreman._listener.refused == 1


def test_a_report_of_more_than_was_sent_is_refused(opened):
    opened.publish("a")
    opened.worker().report(2)
    opened.reactor.loop.run_pending()
    assert opened.box.statistics().refused == 1
    assert opened.shard().in_hand == 1


def test_the_box_says_when_it_is_late_and_when_not_any_more(fake_reactor):
    said = []

    opened = Open(fake_reactor, patience=60)
    opened.box.on_late = lambda lags: said.append(("late", list(lags)))
    opened.box.on_time = lambda: said.append(("on time",))
    opened.publish("a", shard=1)
    fake_reactor.loop.advance(1.5)
    assert said == [("late", [1])]
    assert opened.box.statistics().late
    opened.worker(1).report(1)
    fake_reactor.loop.advance(1.5)
    assert said == [("late", [1]), ("on time",)]


def test_a_feed_can_be_two_streams(fake_reactor):
    first, second = Feed(f">{FEED}", (b"0",)), Feed(f">{FEED}", (b"1",))
    spawner = ScriptedSpawner(fake_reactor)
    publisher = fake_reactor.open_stream(zmq.PUB, f"@{FEED}")
    box = make_box(spawner, [first, second], shard=lambda frames: int(frames[0]))
    fake_reactor.register(box)
    fake_reactor.loop.run_pending()
    for number in (b"0", b"1", b"2"):
        publisher.send(number, b"body")
    fake_reactor.loop.run_pending()
    assert [shard.received for shard in box.statistics().shards] == [1, 1]


def test_a_stop_deals_out_what_waits_and_lets_the_workers_finish(fake_reactor):
    opened = Open(fake_reactor, window=2)
    opened.publish("abcd")
    worker = opened.worker(0)
    fake_reactor.stop()
    fake_reactor.loop.run_pending()
    assert not worker.stopping  # it has not done what was sent
    worker.report(2)
    fake_reactor.loop.run_pending()
    assert worker.bodies == b"abcd"
    worker.report(4)
    fake_reactor.loop.run_pending()
    assert worker.stopping
    worker.end("exit status 0")
    opened.worker(1).end("exit status 0")
    fake_reactor.loop.run_until_complete(fake_reactor.stopped())
    assert not worker.killed
    assert opened.box.protocol.shards[0].handled == 4


def test_a_stop_takes_its_time_and_no_longer(fake_reactor):
    opened = Open(fake_reactor, window=2)
    opened.publish("abcd")
    began = fake_reactor.loop.time()
    fake_reactor.stop()
    fake_reactor.loop.run_until_complete(fake_reactor.stopped())
    assert fake_reactor.loop.time() - began <= fake_reactor.stop_timeout + 0.1
    assert opened.worker(0).killed and opened.worker(1).killed
    shard = opened.box.protocol.shards[0].statistics(0, 0)
    assert (shard.dropped, shard.lost) == (2, 2)


def test_the_whole_way_with_real_workers_on_a_fake_network(fake_reactor):
    class Keep(Work):
        def __init__(self):
            self.bodies = b""

        def on_message(self, frames):
            if frames[1] == b"!":
                raise ValueError("this one fails")
            self.bodies += frames[1]

    spawner = FakeSpawner(fake_reactor, Keep)
    publisher = fake_reactor.open_stream(zmq.PUB, f"@{FEED}")
    box = make_box(spawner, shard=lambda frames: int(frames[0]))
    fake_reactor.register(box)
    fake_reactor.loop.advance(1)
    for number, body in enumerate("abc!defg"):
        publisher.send(b"%d" % (number % 2), body.encode())
    fake_reactor.loop.advance(1)
    assert [work.bodies for work in spawner.works] == [b"acdf", b"beg"]
    assert [shard.handled for shard in box.statistics().shards] == [4, 4]
    assert [shard.failed for shard in box.statistics().shards] == [0, 1]


def test_a_worker_that_the_system_does_not_start_is_tried_again(opened):
    start, refusals = opened.spawner.start, [OSError("no more processes")]

    def refuse_once(post, on_exit):
        if refusals:
            raise refusals.pop()
        return start(post, on_exit)

    opened.spawner.start = refuse_once
    opened.worker(0).end()
    opened.reactor.loop.advance(3)
    opened.publish("a")
    assert opened.worker(0).bodies == b"a"
    assert opened.worker(0).post.worker.incarnation == 3


def test_the_reader_is_pinned_with_processes_only():
    with pytest.raises(ValueError, match="processes"):
        BlackBox(FEED, print, kind="threads", reader_core=0)


@pytest.mark.parametrize("place", ["reader_core", "cores", "pump_cores"])
def test_a_core_that_is_not_there_is_refused_at_once(place):
    core = 1_000_000
    box = PumpingBox if place == "pump_cores" else BlackBox
    with pytest.raises(ValueError, match="no core 1000000"):
        box(FEED, print, **{place: core if place == "reader_core" else [core]})
