"""A worker does what it is given, in order, reports it, and ends when it is told to."""

import asyncio

import pytest
import zmq

from patterns.black_box import Work
from patterns.black_box.crew import WorkerId
from patterns.black_box.messages import DONE, READY, STOP, decode_done, encode_work
from patterns.black_box.worker_handlers import BEAT_SECONDS, Post, Worker
from reactor.testing import fake_reactor as make_fake_reactor

BOX = "inproc://box"
SOURCE = "tcp://source:5557"
ID = WorkerId(3, 1)


# A CancelledError is that of something the work has asked: nobody cancels the work.
each_error = pytest.mark.parametrize("error", [ValueError, asyncio.CancelledError])


class Keep(Work):
    """Keeps the bodies; a body that begins with ! fails."""

    def __init__(self, error=ValueError):
        self.bodies = []
        self.error = error

    def on_message(self, frames):
        if frames[-1].startswith(b"!"):
            raise self.error(frames)
        self.bodies.append(frames[-1])


class Slow(Keep):
    """Takes a second a message."""

    async def on_message(self, frames):
        await asyncio.sleep(1)
        super().on_message(frames)


class Bench:
    """A box's end of the line, and a worker at the other."""

    def __init__(self, reactor, work, **post):
        self.reports = []
        self.box = reactor.open_stream(zmq.ROUTER, f"@{BOX}")
        self.box.on_message(lambda frames: self.reports.append(frames[1:]))
        self.inner = make_fake_reactor(reactor.network)
        self.worker = Worker(Post(ID, BOX, **post), work)
        self.inner.register(self.worker)
        reactor.loop.run_pending()
        self.loop = reactor.loop
        self.sent = 0

    def give(self, *bodies):
        self.box.send(ID.identity, *encode_work(self.sent, [[b"key", body] for body in bodies]))
        self.sent += len(bodies)
        self.loop.run_pending()

    def stop(self):
        self.box.send(ID.identity, STOP)
        self.loop.run_pending()

    @property
    def last(self):
        return tuple(decode_done([r for r in self.reports if r[0] == DONE][-1]))


def test_a_worker_asks_for_work(fake_reactor):
    assert Bench(fake_reactor, Keep()).reports == [[READY]]


def test_a_batch_is_done_in_order_and_reported(fake_reactor):
    work = Keep()
    bench = Bench(fake_reactor, work)
    bench.give(b"a", b"b")
    bench.give(b"c")
    assert work.bodies == [b"a", b"b", b"c"]
    assert bench.last == (3, 0)


def test_work_knows_its_shard(fake_reactor):
    work = Keep()
    Bench(fake_reactor, work)
    assert work.shard == 3


@each_error
def test_work_that_raises_is_counted_and_the_next_message_comes(fake_reactor, error):
    work = Keep(error)
    bench = Bench(fake_reactor, work)
    bench.give(b"a", b"!", b"b")
    assert work.bodies == [b"a", b"b"]
    assert bench.last == (3, 1)


@each_error
def test_coroutine_work_takes_one_message_at_a_time_and_reports_on_the_way(fake_reactor, error):
    work = Slow(error)
    bench = Bench(fake_reactor, work)
    bench.give(b"a", b"!", b"b")
    bench.loop.advance(1.5)
    assert work.bodies == [b"a"]
    assert bench.last == (1, 0)
    bench.loop.advance(2)
    assert work.bodies == [b"a", b"b"]
    assert bench.last == (3, 1)


def test_a_worker_beats_when_nothing_comes(fake_reactor):
    bench = Bench(fake_reactor, Keep())
    bench.loop.advance(10 * BEAT_SECONDS)
    assert [report[0] for report in bench.reports] == [READY] + [DONE] * 10
    assert bench.last == (0, 0)


def test_a_worker_that_hangs_in_one_message_gives_no_sign_of_life(fake_reactor):
    bench = Bench(fake_reactor, Slow())
    bench.give(b"a")
    before = len(bench.reports)
    bench.loop.advance(0.99)
    assert len(bench.reports) == before
    bench.loop.advance(0.1)
    assert bench.last == (1, 0)


def test_a_stop_ends_an_idle_worker(fake_reactor):
    bench = Bench(fake_reactor, Keep())
    bench.stop()
    bench.loop.run_until_complete(bench.inner.stopped())
    assert bench.last == (0, 0)


def test_a_stop_lets_a_worker_finish_what_it_holds(fake_reactor):
    work = Slow()
    bench = Bench(fake_reactor, work)
    bench.give(b"a", b"b")
    bench.stop()
    bench.stop()
    bench.loop.run_until_complete(bench.inner.stopped())
    bench.loop.run_pending()
    assert work.bodies == [b"a", b"b"]
    assert bench.last == (2, 0)


def test_an_abandoned_worker_begins_nothing_more(fake_reactor):
    work = Slow()
    bench = Bench(fake_reactor, work)
    bench.give(b"a", b"b")
    bench.worker.abandon()
    bench.loop.advance(5)
    assert work.bodies == [b"a"]


def test_a_hole_between_batches_ends_the_worker(fake_reactor):
    bench = Bench(fake_reactor, Keep())
    bench.sent = 5
    with pytest.raises(SystemExit, match="batch 5 came, and 0 was due"):
        bench.give(b"a")


def test_nonsense_from_the_box_is_refused(fake_reactor):
    bench = Bench(fake_reactor, Keep())
    bench.box.send(ID.identity, b"hello")
    bench.loop.run_pending()
    assert sum(handler.refused for handler in bench.worker.handlers) == 1


def test_a_worker_can_pull_from_a_pump_and_empties_it_before_it_ends(fake_reactor):
    work = Keep()
    pump = fake_reactor.open_stream(zmq.PUSH, f"@{SOURCE}")
    bench = Bench(fake_reactor, work, source=SOURCE)
    pump.send(b"a")
    bench.loop.run_pending()
    bench.stop()
    pump.send(b"b")
    bench.loop.run_until_complete(bench.inner.stopped())
    bench.loop.run_pending()
    assert work.bodies == [b"a", b"b"]
    assert bench.last == (2, 0)


def test_a_worker_can_subscribe_to_its_own_part(fake_reactor):
    work = Keep()
    publisher = fake_reactor.open_stream(zmq.PUB, f"@{SOURCE}")
    bench = Bench(fake_reactor, work, source=SOURCE, prefixes=(b"a", b"c"))
    for topic in (b"a1", b"b1", b"c1"):
        publisher.send(topic)
    bench.loop.run_pending()
    assert work.bodies == [b"a1", b"c1"]
    bench.stop()
    bench.loop.run_until_complete(bench.inner.stopped())
