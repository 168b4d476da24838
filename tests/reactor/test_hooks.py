"""Hooks: what a handler may override, in what order they are called, coroutines among them."""

import asyncio

import pytest
import zmq

from reactor import (
    EndpointError,
    Handler,
    HandlerSet,
    PeriodicHandler,
    Reactor,
    ReactorError,
    StreamHandler,
)

from .recorders import Diary, Recorder


def test_every_hook_is_a_no_op_unless_overridden(fake_reactor):
    fake_reactor.register(
        Handler(),
        StreamHandler(fake_reactor.open_stream(zmq.PULL)),
        PeriodicHandler(),
        HandlerSet(),
    )
    fake_reactor.loop.advance(3)
    fake_reactor.stop()
    fake_reactor.loop.run_until_complete(fake_reactor.stopped())


def test_a_stream_handler_needs_one_method_of_one_subclass(fake_reactor):
    class Echo(StreamHandler):
        def on_message(self, frames):
            self.send(*frames)

    stream = fake_reactor.open_stream(zmq.ROUTER)
    fake_reactor.register(Echo(stream))
    stream.deliver(b"client", b"hello")
    fake_reactor.loop.run_pending()
    assert stream.take_sent() == [(b"client", b"hello")]


def test_a_periodic_handler_ticks_at_each_interval(fake_reactor):
    class Clock(PeriodicHandler):
        interval = 1.0

        def on_tick(self):
            ticks.append(self.reactor.now())

    ticks = []
    fake_reactor.register(Clock(), Clock(interval=2.0))
    fake_reactor.loop.advance(3.5)
    assert sorted(ticks) == [1.0, 2.0, 2.0, 3.0]


def test_no_message_comes_before_on_start_is_done(fake_reactor):
    class Careful(Recorder):
        async def on_start(self):
            await asyncio.sleep(1)
            self.ready = True

        def on_message(self, frames):
            assert self.ready
            super().on_message(frames)

    handler = Careful(fake_reactor.open_stream(zmq.PULL))
    handler.stream.deliver(b"early")
    fake_reactor.register(handler)
    fake_reactor.loop.advance(0.5)
    assert handler.messages == []
    fake_reactor.loop.advance(1)
    assert handler.messages == [[b"early"]]


def test_a_coroutine_hook_holds_its_stream_and_keeps_order(fake_reactor):
    class Slow(StreamHandler):
        async def on_message(self, frames):
            log.append(("begin", frames[0]))
            await asyncio.sleep(1)
            log.append(("end", frames[0]))

    log = []
    stream = fake_reactor.open_stream(zmq.PULL)
    fake_reactor.register(Slow(stream))
    for body in (b"1", b"2", b"3"):
        stream.deliver(body)
    fake_reactor.loop.advance(1.5)
    assert log == [("begin", b"1"), ("end", b"1"), ("begin", b"2")]
    fake_reactor.loop.advance(2)
    assert log == [(step, body) for body in (b"1", b"2", b"3") for step in ("begin", "end")]


def test_a_coroutine_hook_holds_no_other_stream(fake_reactor):
    class Stuck(StreamHandler):
        async def on_message(self, frames):
            await asyncio.sleep(1000)

    stuck = fake_reactor.open_stream(zmq.PULL)
    other = Recorder(fake_reactor.open_stream(zmq.PULL))
    fake_reactor.register(Stuck(stuck), other)
    stuck.deliver(b"x")
    other.stream.deliver(b"y")
    fake_reactor.loop.run_pending()
    assert other.messages == [[b"y"]]


def test_a_coroutine_tick_never_overlaps_the_next(fake_reactor):
    class Slow(PeriodicHandler):
        interval = 1.0

        async def on_tick(self):
            log.append(("begin", self.reactor.now()))
            await asyncio.sleep(1.5)
            log.append(("end", self.reactor.now()))

    log = []
    fake_reactor.register(Slow())
    fake_reactor.loop.advance(5)
    assert log == [("begin", 1.0), ("end", 2.5), ("begin", 3.0), ("end", 4.5), ("begin", 5.0)]


def test_handlers_come_and_go_while_the_reactor_runs(fake_reactor):
    first = Recorder(fake_reactor.open_stream(zmq.PULL))
    fake_reactor.register(first)
    second = Recorder(fake_reactor.open_stream(zmq.PULL))
    fake_reactor.register(second)
    fake_reactor.loop.run_until_complete(asyncio.wait_for(_unregister(fake_reactor, first), 5))
    second.stream.deliver(b"still here")
    fake_reactor.loop.run_pending()
    assert first.stream.closed
    assert second.messages == [[b"still here"]]


async def _unregister(reactor, handler):
    await reactor.unregister(handler)


def test_unregister_delivers_nothing_more_from_that_moment(fake_reactor):
    handler = Recorder(fake_reactor.open_stream(zmq.PULL))
    fake_reactor.register(handler)
    handler.stream.deliver(b"too late")
    fake_reactor.unregister(handler)
    fake_reactor.loop.run_pending()
    assert handler.messages == []


def test_a_handler_is_registered_once_at_a_time(fake_reactor):
    handler = Handler()
    fake_reactor.register(handler)
    with pytest.raises(ReactorError, match="registered already"):
        fake_reactor.register(handler)
    with pytest.raises(ReactorError, match="not registered"):
        fake_reactor.unregister(Handler())


def test_a_set_starts_in_order_and_stops_in_reverse(fake_reactor):
    class Whole(HandlerSet):
        name = "set"
        on_start = Diary.on_start
        on_stop = Diary.on_stop
        fails = False

    diary = []
    whole = Whole(Diary("a", diary), HandlerSet(Diary("b", diary)), Diary("c", diary))
    whole.diary = diary
    fake_reactor.register(whole)
    fake_reactor.stop()
    fake_reactor.loop.run_until_complete(fake_reactor.stopped())
    assert diary == [
        *("start a", "start b", "start c", "start set"),
        *("stop set", "stop c", "stop b", "stop a"),
    ]


def test_a_set_is_undone_when_one_of_its_handlers_fails_to_start(fake_reactor):
    class Whole(HandlerSet):
        def build(self):
            self.stream = self.open_stream(zmq.PUB, "@tcp://127.0.0.1:*", name="out")
            return Diary("a", diary), Diary("b", diary, fails=True), Diary("c", diary)

    diary = []
    whole = Whole()
    with pytest.raises(RuntimeError, match="b cannot start"):
        fake_reactor.register(whole)
    assert diary == ["start a", "stop a"]
    assert whole.stream.closed
    assert fake_reactor.statistics().streams == ()
    assert fake_reactor.statistics().handlers == ()


def test_a_set_is_undone_when_a_coroutine_start_fails(fake_reactor):
    class Late(Handler):
        async def on_start(self):
            await asyncio.sleep(1)
            raise RuntimeError("no")

    async def register():
        await fake_reactor.register(HandlerSet(Diary("a", diary), Late(), Diary("b", diary)))

    diary = []
    with pytest.raises(RuntimeError, match="no"):
        fake_reactor.loop.run_until_complete(register())
    assert diary == ["start a", "stop a"]


def test_what_has_started_may_take_its_time_to_stop_when_a_later_start_fails(fake_reactor):
    class Patient(HandlerSet):
        def build(self):
            self.stream = self.open_stream(zmq.PUB, "@inproc://patient", name="out")
            return []

        async def on_start(self):
            pass

        async def on_stop(self):
            await asyncio.sleep(0.5)
            diary.append(f"stop patient, {self.reactor.now():g}, closed: {self.stream.closed}")

    async def register():
        await fake_reactor.register(HandlerSet(patient, Diary("b", diary, fails=True)))

    diary = []
    patient = Patient()
    with pytest.raises(RuntimeError, match="b cannot start"):
        fake_reactor.loop.run_until_complete(register())
    assert diary == [f"stop patient, {fake_reactor.now():g}, closed: False"]
    assert patient.stream.closed


class Farewell(StreamHandler):
    """Takes some time to stop, and then says so."""

    async def on_stop(self):
        await asyncio.sleep(0.4)
        self.send(b"%g" % self.reactor.now())


def farewells(reactor):
    return [Farewell(reactor.open_stream(zmq.PUB, f"@inproc://{name}")) for name in "ab"]


def test_a_coroutine_on_stop_has_its_time_and_its_stream_when_a_plain_start_fails(fake_reactor):
    first, second = farewells(fake_reactor)
    with pytest.raises(RuntimeError, match="c cannot start"):
        fake_reactor.register(first, second, Diary("c", [], fails=True))
    assert fake_reactor.statistics().handlers == ()
    fake_reactor.loop.advance(1.0)
    assert second.stream.take_sent() == [(b"0.4",)]
    assert first.stream.take_sent() == [(b"0.8",)]
    assert first.stream.closed and second.stream.closed


@pytest.mark.parametrize("undo", ["unregister", "fail to start"])
def test_a_stop_waits_for_what_was_ending_already(fake_reactor, undo):
    handler, _ = farewells(fake_reactor)
    if undo == "unregister":
        fake_reactor.register(handler)
        fake_reactor.unregister(handler)
    else:
        with pytest.raises(RuntimeError):
            fake_reactor.register(handler, Diary("b", [], fails=True))
    fake_reactor.stop()
    fake_reactor.loop.run_until_complete(fake_reactor.stopped())
    assert handler.stream.take_sent() == [(b"0.4",)]


def test_a_set_that_could_not_start_can_be_registered_again(fake_reactor):
    class Whole(HandlerSet):
        def build(self):
            return [StreamHandler(self.open_stream(zmq.PUB, f"@inproc://{place}", name="out"))]

    place = "taken"
    holder = fake_reactor.open_stream(zmq.PUB, "@inproc://taken")
    whole = Whole()
    with pytest.raises(EndpointError):
        fake_reactor.register(whole)
    holder.close()
    place = "free"
    fake_reactor.register(whole)
    assert fake_reactor.statistics().streams[-1].endpoints == ("inproc://free",)


async def test_what_is_registered_before_the_start_starts_with_the_reactor():
    diary = []
    reactor = Reactor()
    reactor.register(Diary("early", diary))
    assert diary == []
    async with reactor:
        assert diary == ["start early"]


async def test_a_thousand_registrations_leak_no_descriptor():
    import os

    class Pair(HandlerSet):
        def build(self):
            inbox = self.open_stream(zmq.PULL, "@tcp://127.0.0.1:*", name="inbox")
            yield Recorder(inbox)
            yield StreamHandler(self.open_stream(zmq.PUSH, f">{inbox.endpoint}", name="outbox"))

    def open_descriptors():
        return len(os.listdir("/proc/self/fd"))

    async with Reactor() as reactor:
        pair = Pair()
        reactor.register(pair)
        await reactor.unregister(pair)
        before = open_descriptors()
        for _ in range(1000):
            reactor.register(pair)
            await reactor.unregister(pair)
        # libzmq's reaper thread closes the descriptors of a socket after close() has returned, on a
        # busy machine up to half a second after, and at times hundreds behind; but all of them.
        async with asyncio.timeout(10.0):
            while open_descriptors() > before:
                await asyncio.sleep(0.001)
        assert reactor.statistics().streams == ()


async def test_a_handler_may_take_messages_in_lists():
    class Lists(StreamHandler):
        def __init__(self, stream):
            super().__init__(stream)
            self.batches = []

        def on_batch(self, messages):
            self.batches.append(messages)

        def on_message(self, frames):
            raise AssertionError("on_batch replaces it")

    async with Reactor(strict=True) as reactor:
        inbox = reactor.open_stream(zmq.PULL, "@inproc://lists")
        outbox = reactor.open_stream(zmq.PUSH, ">inproc://lists")
        for number in range(250):
            outbox.send(b"%d" % number)
        handler = Lists(inbox)
        reactor.register(handler)
        while sum(map(len, handler.batches)) < 250:
            await asyncio.sleep(0)
        assert len(handler.batches) < 10
        assert [int(frames[0]) for batch in handler.batches for frames in batch] == [*range(250)]
        await reactor.unregister(handler)
