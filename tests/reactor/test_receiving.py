"""Receiving: bounded batches, timers that live under load, and no edge that is ever lost."""

import asyncio

import zmq

from reactor import Reactor, StreamHandler

from .recorders import Recorder

UNLIMITED = {zmq.SNDHWM: 0, zmq.RCVHWM: 0}


async def _loaded(reactor, handler_class, count, **options):
    """A handler whose socket holds `count` messages already when it is registered."""
    inbox = reactor.open_stream(zmq.PULL, "@inproc://load", options=UNLIMITED, **options)
    outbox = reactor.open_stream(zmq.PUSH, ">inproc://load", options=UNLIMITED)
    for number in range(count):
        outbox.send(b"%d" % number)
    return handler_class(inbox)


async def test_a_batch_is_bounded_by_count():
    class Counting(Recorder):
        def on_message(self, frames):
            super().on_message(frames)
            if turns[-1] == 0:
                self.reactor.loop.call_soon(turns.append, 0)
            turns[-1] += 1

    turns = [0]
    async with Reactor() as reactor:
        handler = await _loaded(reactor, Counting, 1000, batch_limit=100)
        reactor.register(handler)
        await handler.received(1000)
    assert max(turns) <= 100
    assert sum(turns) == 1000


async def test_a_batch_is_bounded_by_time():
    now = [0.0]

    class Slow(Recorder):
        def on_message(self, frames):
            super().on_message(frames)
            now[0] += 0.002
            if len(self.messages) == 1:
                self.reactor.loop.call_soon(lambda: seen.append(len(self.messages)))

    seen = []
    async with Reactor() as reactor:
        handler = await _loaded(reactor, Slow, 10, batch_limit=1000, batch_seconds=0.005)
        handler.stream._clock = lambda: now[0]
        reactor.register(handler)
        await handler.received(10)
    assert seen == [3]  # 2, 4 and 6 ms: the third message passes the bound of 5 ms


async def test_a_limit_that_was_reached_re_arms_without_a_new_arrival():
    async with Reactor() as reactor:
        handler = await _loaded(reactor, Recorder, 1001, batch_limit=10)
        reactor.register(handler)
        messages = await handler.received(1001)
    assert messages == [[b"%d" % number] for number in range(1001)]


async def test_timers_live_while_a_stream_is_flooded():
    """Between two ticks at most a few batches are delivered, however many messages wait."""
    delivered_at_tick = []
    async with Reactor() as reactor:
        handler = await _loaded(reactor, Recorder, 50_000, batch_limit=100)
        reactor.periodic(0.001, lambda: delivered_at_tick.append(len(handler.messages)))
        reactor.register(handler)
        await handler.received(50_000)
    assert len(delivered_at_tick) > 3


class Relay(StreamHandler):
    """Sends what it gets to another stream, from inside the hook, and more of its own."""

    def __init__(self, stream, count):
        super().__init__(stream)
        self.got = 0
        self.left = count
        self.done = asyncio.get_running_loop().create_future()

    def on_message(self, frames):
        self.got += 1
        for _ in range(2):
            self.send_one()
        if frames[0] == b"last":
            self.done.set_result(None)

    def send_one(self):
        if self.left:
            self.left -= 1
            self.send(b"more" if self.left else b"last")


async def _hundred_thousand_each_way(kind, endpoint):
    count = 100_000
    async with Reactor() as reactor:
        near = Relay(reactor.open_stream(kind, f"@{endpoint}", queue_limit=count), count)
        far = Relay(reactor.open_stream(kind, f">{near.stream.endpoint}", queue_limit=count), count)
        reactor.register(near, far)
        near.send_one()
        far.send_one()
        async with asyncio.timeout(50):
            await near.done
            await far.done
        assert (near.got, far.got) == (count, count)
        assert near.stream.statistics().messages_dropped == 0


async def test_a_hundred_thousand_messages_each_way_from_inside_hooks_over_tcp():
    """Each send may swallow the sign of an arrival: one that is lost stalls this for ever."""
    await _hundred_thousand_each_way(zmq.PAIR, "tcp://127.0.0.1:*")


async def test_a_hundred_thousand_messages_each_way_from_inside_hooks_inproc():
    await _hundred_thousand_each_way(zmq.DEALER, "inproc://both-ways")


async def test_an_arrival_between_sends_outside_hooks_is_not_missed():
    """A timer sends on a stream that also receives; each answer must arrive without a new event."""
    async with Reactor() as reactor:
        server = reactor.open_stream(zmq.ROUTER, "@tcp://127.0.0.1:*")
        server.on_message(lambda frames: server.send(*frames) and None)
        client = Recorder(reactor.open_stream(zmq.DEALER, f">{server.endpoint}"))
        reactor.register(client)
        for number in range(1, 501):
            client.send(b"ask")
            async with asyncio.timeout(5):
                await client.received(number)


async def test_a_paused_stream_delivers_nothing_and_loses_nothing():
    async with Reactor() as reactor:
        handler = await _loaded(reactor, Recorder, 10)
        handler.stream.pause()
        reactor.register(handler)
        turns = asyncio.Event()
        reactor.call_later(0.05, turns.set)
        await turns.wait()
        assert handler.messages == []
        handler.stream.resume()
        assert len(await handler.received(10)) == 10


async def test_a_hook_may_pause_its_own_stream_in_the_middle_of_a_batch(fake_reactor=None):
    class Once(Recorder):
        def on_message(self, frames):
            super().on_message(frames)
            self.stream.pause()

    async with Reactor() as reactor:
        handler = await _loaded(reactor, Once, 3)
        reactor.register(handler)
        for number in (1, 2, 3):
            assert len(await handler.received(number)) == number
            handler.stream.resume()


async def test_a_hook_may_close_its_own_stream_in_the_middle_of_a_batch():
    class Last(Recorder):
        def on_message(self, frames):
            super().on_message(frames)
            self.stream.close()

    async with Reactor() as reactor:
        handler = await _loaded(reactor, Last, 3)
        reactor.register(handler)
        assert await handler.received(1) == [[b"0"]]


async def test_an_arrival_during_a_send_that_is_refused_is_not_missed():
    """A send that libzmq refuses may swallow the sign of an arrival as well as one it takes."""
    full = {zmq.SNDHWM: 1, zmq.RCVHWM: 1}
    async with Reactor() as reactor:
        publisher = reactor.open_stream(
            zmq.XPUB, "@inproc://refused", options={zmq.XPUB_NODROP: 1, **full}
        )
        subscriptions = Recorder(publisher)
        reactor.register(subscriptions)
        reactor.open_stream(zmq.SUB, ">inproc://refused", subscribe=(b"a",), options=full)
        await subscriptions.received(1)
        while publisher.try_send(b"a"):
            pass
        reactor.open_stream(zmq.SUB, ">inproc://refused", subscribe=(b"b",))
        assert not publisher.try_send(b"a")
        async with asyncio.timeout(5):
            assert await subscriptions.received(2) == [[b"\1a"], [b"\1b"]]


async def test_closing_with_messages_waiting_is_silent(caplog):
    """ZMQStream has a look at the socket scheduled by then, which must not complain."""
    async with Reactor() as reactor:
        handler = await _loaded(reactor, Recorder, 1000, batch_limit=1)
        reactor.register(handler)
        await handler.received(2)
        handler.stream.close()
        turn = asyncio.Event()
        reactor.loop.call_soon(reactor.loop.call_soon, turn.set)
        await turn.wait()
    assert caplog.records == []
