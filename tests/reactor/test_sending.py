"""Sending: straight to the socket, then a bounded queue with a policy, a counter and a hook."""

import asyncio

import pytest
import structlog
import zmq

from reactor import Policy, QueueFull, Reactor, StreamClosed, StreamHandler

from .recorders import Recorder

ONE = {zmq.SNDHWM: 1, zmq.RCVHWM: 1}


@pytest.fixture
async def reactor():
    async with Reactor() as reactor:
        yield reactor


def _blocked(reactor, policy, queue_limit=3):
    """A PUSH stream whose peer reads nothing and whose socket takes nothing more."""
    inbox = reactor.open_stream(zmq.PULL, "@inproc://full", options=ONE)
    stream = reactor.open_stream(
        zmq.PUSH, ">inproc://full", options=ONE, policy=policy, queue_limit=queue_limit
    )
    while stream.try_send(b"filler"):
        pass
    return stream, inbox


async def _received(reactor, inbox, count):
    recorder = Recorder(inbox)
    reactor.register(recorder)
    messages = await recorder.received(count)
    return [frames[0] for frames in messages if frames[0] != b"filler"]


async def test_a_send_goes_straight_to_the_socket(reactor):
    reactor.open_stream(zmq.PULL, "@inproc://direct")
    stream = reactor.open_stream(zmq.PUSH, ">inproc://direct")
    assert stream.send(b"a", b"b") is True
    assert (stream.statistics().messages_sent, stream.queue_length) == (1, 0)


async def test_a_full_queue_is_an_error_unless_told_otherwise(reactor):
    stream, inbox = _blocked(reactor, Policy.ERROR)
    filler = stream.statistics().messages_sent
    for body in (b"1", b"2", b"3"):
        assert stream.send(body) is True
    with pytest.raises(QueueFull, match="3 messages wait"):
        stream.send(b"4")
    assert await _received(reactor, inbox, filler + 3) == [b"1", b"2", b"3"]
    assert stream.statistics().messages_dropped == 0


async def test_a_full_queue_that_drops_the_newest_keeps_the_first(reactor):
    stream, inbox = _blocked(reactor, Policy.DROP_NEWEST)
    filler = stream.statistics().messages_sent
    assert [stream.send(b"%d" % n) for n in range(1, 6)] == [True, True, True, False, False]
    assert await _received(reactor, inbox, filler + 3) == [b"1", b"2", b"3"]
    assert stream.statistics().messages_dropped == 2


async def test_a_full_queue_that_drops_the_oldest_keeps_the_last(reactor):
    stream, inbox = _blocked(reactor, Policy.DROP_OLDEST)
    filler = stream.statistics().messages_sent
    assert [stream.send(b"%d" % n) for n in range(1, 6)] == [True] * 5
    assert await _received(reactor, inbox, filler + 3) == [b"3", b"4", b"5"]
    assert stream.statistics().messages_dropped == 2


@pytest.mark.parametrize("policy", [Policy.DROP_NEWEST, Policy.DROP_OLDEST])
async def test_a_queue_of_no_length_drops(reactor, policy):
    stream, _ = _blocked(reactor, policy, queue_limit=0)
    assert stream.send(b"1") is False
    assert stream.statistics().messages_dropped == 1


async def test_what_waits_is_sent_in_order_before_anything_new(reactor):
    stream, inbox = _blocked(reactor, Policy.ERROR, queue_limit=100)
    filler = stream.statistics().messages_sent
    recorder = Recorder(inbox)
    for number in range(50):
        stream.send(b"%d" % number)
    reactor.register(recorder)
    await recorder.received(filler + 1)  # there is room now, and a queue
    for number in range(50, 100):
        stream.send(b"%d" % number)
    messages = await recorder.received(filler + 100)
    assert messages[filler:] == [[b"%d" % number] for number in range(100)]


async def test_on_writable_comes_when_the_queue_has_emptied(reactor):
    class Sender(StreamHandler):
        def on_writable(self):
            emptied.set_result(self.stream.queue_length)

    emptied = asyncio.get_running_loop().create_future()
    stream, inbox = _blocked(reactor, Policy.ERROR)
    reactor.register(Sender(stream))
    stream.send(b"waits")
    reactor.register(Recorder(inbox))
    assert await asyncio.wait_for(emptied, 5) == 0


async def test_try_send_queues_nothing(reactor):
    stream, _ = _blocked(reactor, Policy.ERROR)
    assert stream.try_send(b"no") is False
    assert stream.queue_length == 0


async def test_a_peer_that_takes_nothing_costs_no_cpu(reactor):
    """A mandatory ROUTER always claims to be writable: what it refuses is retried at leisure."""
    router = reactor.open_stream(
        zmq.ROUTER, "@inproc://stuck", options={zmq.ROUTER_MANDATORY: 1, **ONE}
    )
    dealer = reactor.open_stream(zmq.DEALER, ">inproc://stuck", options={zmq.IDENTITY: b"d", **ONE})
    hello = asyncio.get_running_loop().create_future()
    router.on_message(lambda frames: hello.set_result(frames))
    dealer.send(b"hello")
    assert await hello == [b"d", b"hello"]
    while router.try_send(b"d", b"filler"):
        pass
    attempts = []
    send = router._channel_send
    router._channel_send = lambda frames: attempts.append(1) or send(frames)
    router.send(b"d", b"waits")
    quiet = asyncio.Event()
    reactor.call_later(0.2, quiet.set)
    await quiet.wait()
    assert router.queue_length == 1
    assert len(attempts) < 40


async def test_a_message_that_libzmq_refuses_later_is_counted_and_reported(reactor):
    router = reactor.open_stream(
        zmq.ROUTER, "@inproc://leaving", options={zmq.ROUTER_MANDATORY: 1, **ONE}
    )
    dealer = reactor.open_stream(
        zmq.DEALER, ">inproc://leaving", options={zmq.IDENTITY: b"d", **ONE}
    )
    hello = asyncio.get_running_loop().create_future()
    router.on_message(lambda frames: hello.set_result(frames))
    dealer.send(b"hello")
    await hello
    while router.try_send(b"d", b"filler"):
        pass
    router.send(b"d", b"waits")
    dealer.close()
    with structlog.testing.capture_logs() as logs:
        await asyncio.wait_for(router.flushed(), 5)
    assert router.statistics().send_errors == 1
    assert isinstance(logs[0]["exc_info"], zmq.ZMQError)


async def test_frames_are_bytes_and_a_message_has_one_at_least(reactor):
    inbox = Recorder(reactor.open_stream(zmq.PULL, "@inproc://types"))
    reactor.register(inbox)
    stream = reactor.open_stream(zmq.PUSH, ">inproc://types")
    with pytest.raises(TypeError, match="a frame must be bytes, not str"):
        stream.send(b"half", "a message")
    with pytest.raises(ValueError, match="at least one frame"):
        stream.send()
    stream.send(bytearray(b"array"), memoryview(b"view"), b"")
    assert await inbox.received(1) == [[b"array", b"view", b""]]


async def test_a_closed_stream_says_so(reactor):
    stream = reactor.open_stream(zmq.PUB, "@inproc://gone")
    stream.close()
    stream.close()
    for use in (stream.send, stream.try_send, stream.bind, stream.subscribe):
        with pytest.raises(StreamClosed):
            use(b"x")


async def test_closing_counts_and_logs_what_was_unsent(reactor):
    stream, _ = _blocked(reactor, Policy.ERROR)
    stream.send(b"1")
    stream.send(b"2")
    with structlog.testing.capture_logs() as logs:
        stream.close()
    assert stream.statistics().messages_dropped == 2
    assert logs[0]["dropped"] == 2
