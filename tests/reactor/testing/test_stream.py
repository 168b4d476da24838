"""FakeStream: what a test of one handler sees and feeds."""

import pytest
import zmq

from reactor import QueueFull, Stream, StreamClosed, StreamHandler, WrongThread
from reactor.testing import FakeStream


@pytest.fixture
def loop(fake_reactor):
    return fake_reactor.loop


@pytest.fixture
def open_stream(fake_reactor):
    return fake_reactor.open_stream


def test_it_is_a_stream(open_stream):
    stream = open_stream(zmq.PUSH)
    assert type(stream) is FakeStream
    assert isinstance(stream, Stream)


def test_a_handler_is_tested_with_one_stream(fake_reactor):
    class Doubler(StreamHandler):
        def on_message(self, frames):
            identity, number = frames
            self.send(identity, b"%d" % (2 * int(number)))

    stream = fake_reactor.open_stream(zmq.ROUTER)
    fake_reactor.register(Doubler(stream))
    stream.deliver(b"client", b"21")
    assert stream.sent == ()
    fake_reactor.loop.run_pending()
    assert stream.sent == ((b"client", b"42"),)


# deliver


def test_messages_are_delivered_in_order_on_a_later_turn(open_stream, loop):
    stream = open_stream(zmq.PULL)
    inbox = []
    stream.on_message(inbox.append)
    stream.deliver(b"1", b"")
    stream.deliver(bytearray(b"2"))
    assert inbox == []
    assert not stream.get_option(zmq.EVENTS) & zmq.POLLIN
    loop.run_pending()
    assert inbox == [[b"1", b""], [b"2"]]


def test_messages_wait_for_a_paused_stream(open_stream, loop):
    stream = open_stream(zmq.PULL)
    inbox = []
    stream.on_message(inbox.append)
    stream.pause()
    stream.deliver(b"1")
    loop.run_pending()
    assert inbox == []
    stream.resume()
    loop.run_pending()
    assert inbox == [[b"1"]]


def test_delivered_messages_mix_with_those_of_peers(open_stream, loop):
    stream = open_stream(zmq.PULL, "@inproc://x")
    inbox = []
    stream.on_message(inbox.append)
    open_stream(zmq.PUSH, ">inproc://x").send(b"peer")
    stream.deliver(b"test")
    loop.run_pending()
    assert sorted(inbox) == [[b"peer"], [b"test"]]


def test_an_xpub_can_be_told_of_a_subscription(open_stream, loop):
    stream = open_stream(zmq.XPUB)
    inbox = []
    stream.on_message(inbox.append)
    stream.deliver(b"\x01A")
    loop.run_pending()
    assert inbox == [[b"\x01A"]]


def test_a_sub_gets_only_what_it_has_subscribed_to(open_stream, loop):
    """A real one would never see anything else, so a test that delivers it is wrong."""
    stream = open_stream(zmq.SUB, name="updates", subscribe=(b"A",))
    inbox = []
    stream.on_message(inbox.append)
    with pytest.raises(ValueError, match=r"updates: .*b'B'"):
        stream.deliver(b"B")
    stream.deliver(b"A1")
    loop.run_pending()
    assert inbox == [[b"A1"]]


@pytest.mark.parametrize("socket_type", [zmq.PUB, zmq.PUSH])
def test_who_never_receives_takes_no_delivery(open_stream, socket_type):
    with pytest.raises(ValueError, match="receives"):
        open_stream(socket_type).deliver(b"x")


def test_no_frames_are_no_message(open_stream):
    with pytest.raises(ValueError, match="at least one frame"):
        open_stream(zmq.PULL).deliver()
    with pytest.raises(TypeError):
        open_stream(zmq.PULL).deliver("text")


def test_nothing_is_delivered_to_a_closed_stream(open_stream, loop):
    stream = open_stream(zmq.PULL)
    stream.on_message(pytest.fail)
    stream.deliver(b"x")
    stream.close()
    loop.run_pending()
    with pytest.raises(StreamClosed):
        stream.deliver(b"x")


# sent


@pytest.mark.parametrize(
    "socket_type", [zmq.PUB, zmq.XPUB, zmq.XSUB, zmq.ROUTER, zmq.DEALER, zmq.PUSH, zmq.PAIR]
)
def test_without_an_endpoint_everything_is_accepted(open_stream, socket_type):
    stream = open_stream(socket_type, queue_limit=1)
    for number in range(2000):
        assert stream.send(b"id", b"%d" % number) is True
    assert stream.queue_length == 0
    assert len(stream.sent) == 2000


def test_without_an_endpoint_a_mandatory_router_reaches_everybody(open_stream):
    stream = open_stream(zmq.ROUTER, options={zmq.ROUTER_MANDATORY: 1})
    stream.send(b"anybody", b"x")
    assert stream.sent == ((b"anybody", b"x"),)


def test_what_was_sent_is_seen_once_it_is_taken(open_stream):
    stream = open_stream(zmq.PUSH)
    stream.send(b"1", b"a")
    stream.send(bytearray(b"2"))
    assert stream.sent == stream.sent == ((b"1", b"a"), (b"2",))
    assert stream.take_sent() == [(b"1", b"a"), (b"2",)]
    assert stream.take_sent() == []
    stream.send(b"3")
    assert stream.sent == ((b"3",),)


def test_what_is_queued_counts_as_sent_and_what_is_refused_does_not(open_stream):
    stream = open_stream(zmq.PUSH, "@inproc://x", queue_limit=1)
    assert stream.send(b"1") is True
    with pytest.raises(QueueFull):
        stream.send(b"2")
    assert stream.try_send(b"3") is False
    assert stream.sent == ((b"1",),)
    assert stream.queue_length == 1


def test_try_send_is_remembered_too(open_stream):
    stream = open_stream(zmq.PUSH)
    assert stream.try_send(b"1", memoryview(b"2")) is True
    assert stream.sent == ((b"1", b"2"),)


def test_a_publisher_without_subscribers_has_sent(open_stream):
    stream = open_stream(zmq.PUB, "@tcp://127.0.0.1:*")
    stream.send(b"A")
    assert stream.sent == ((b"A",),)


def test_only_so_much_is_remembered(open_stream):
    stream = open_stream(zmq.PUSH)
    for number in range(100_010):
        stream.send(b"%d" % number)
    assert len(stream.sent) == 100_000
    assert stream.sent[0] == (b"10",)


def test_what_was_sent_can_be_seen_after_the_end(open_stream):
    stream = open_stream(zmq.PUSH)
    stream.send(b"goodbye")
    stream.close()
    assert stream.take_sent() == [(b"goodbye",)]


def test_another_thread_is_refused(open_stream, loop):
    import threading

    stream = open_stream(zmq.PULL)
    caught = []

    def deliver():
        try:
            stream.deliver(b"x")
        except WrongThread as error:
            caught.append(error)

    thread = threading.Thread(target=deliver)
    thread.start()
    thread.join()
    assert len(caught) == 1
