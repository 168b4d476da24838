"""FastSocket: any number of frames, with libzmq's own option look-up and with the fall-back."""

import gc

import pytest
import zmq
from zmq.eventloop.zmqstream import ZMQStream

from reactor import sockets
from reactor.endpoints import parse_endpoints
from reactor.sockets import FastSocket


@pytest.fixture(params=["ctypes", "portable"])
def pair(request, monkeypatch):
    if request.param == "portable":
        monkeypatch.setattr(sockets, "_getsockopt", None)
    else:
        assert sockets._getsockopt is not None, "zmq_getsockopt was not found in pyzmq's libzmq"
    with zmq.Context() as context:
        left, right = FastSocket(context, zmq.PAIR), FastSocket(context, zmq.PAIR)
        left.bind("inproc://pair")
        right.connect("inproc://pair")
        yield left, right
        left.close(0)
        right.close(0)


@pytest.mark.parametrize("count", range(1, 10))
def test_a_message_of_any_arity_keeps_its_boundaries(pair, count):
    left, right = pair
    message = [b"%d" % n * n for n in range(count)]
    left.try_send(message)
    left.try_send([b"next"])
    assert right.receive() == message
    assert right.receive() == [b"next"]
    assert right.receive() is None


def test_messages_of_changing_arity_never_shift(pair):
    left, right = pair
    messages = [[b"x"] * (1 + n * 7 % 5) for n in range(50)]
    for message in messages:
        assert left.try_send(message)
    assert [right.receive() for _ in messages] == messages


def test_large_and_empty_frames_pass(pair):
    left, right = pair
    message = [b"", b"x" * 5_000_000, b""]
    left.try_send(message)
    assert right.receive() == message


def test_a_send_that_would_block_returns_false():
    with zmq.Context() as context, FastSocket(context, zmq.PUSH) as socket:
        assert socket.try_send([b"nobody", b"there"]) is False


def test_events_tell_what_zmq_tells(pair):
    left, right = pair
    assert right.events == right.EVENTS == zmq.POLLOUT
    left.try_send([b"x"])
    assert right.events == zmq.POLLIN | zmq.POLLOUT


def test_a_closed_socket_is_an_error_and_no_crash(pair):
    left, _ = pair
    left.close()
    gc.collect()
    for use in (left.receive, lambda: left.try_send([b"x"]), lambda: left.events):
        with pytest.raises(zmq.ZMQError):
            use()


def test_pyzmq_calls_work_as_they_do_elsewhere(pair):
    left, right = pair
    left.send_multipart([b"a", b"b"])
    assert right.recv_multipart() == [b"a", b"b"]
    with pytest.raises(zmq.Again):
        right.recv_multipart()


async def test_a_zmqstream_reports_writability_for_an_empty_message():
    with zmq.Context() as context:
        left, right = FastSocket(context, zmq.PAIR), FastSocket(context, zmq.PAIR)
        left.bind("inproc://writable")
        right.connect("inproc://writable")
        stream = ZMQStream(left)
        writable = __import__("asyncio").Event()
        stream.send_multipart([], callback=lambda *_: writable.set())
        await writable.wait()
        assert right.receive() is None
        stream.close(0)
        right.close(0)


@pytest.mark.parametrize(
    ("text", "unmarked", "expected"),
    [
        ("@tcp://1.2.3.4:5", None, [("bind", "tcp://1.2.3.4:5")]),
        (">tcp://1.2.3.4:5", "bind", [("connect", "tcp://1.2.3.4:5")]),
        ("inproc://x", "bind", [("bind", "inproc://x")]),
        ("@inproc://a, >inproc://b", None, [("bind", "inproc://a"), ("connect", "inproc://b")]),
    ],
)
def test_marks_say_bind_or_connect(text, unmarked, expected):
    assert parse_endpoints([text], unmarked) == expected


@pytest.mark.parametrize("text", ["", "@", ">", "tcp", "tcp://x:1", "@tcp://x:1,,"])
def test_an_endpoint_that_says_too_little_is_refused(text):
    with pytest.raises(ValueError, match="tcp://"):
        parse_endpoints([text])
