"""Raw sockets send what nobody should to each port of a real server: it counts and serves on."""

import itertools
from contextlib import ExitStack

import pytest
import zmq

from patterns.clone.messages import (
    HUGZ,
    KVMessage,
    decode_snapshot_end,
    is_snapshot_end,
    snapshot_request,
)

from .conftest import SECONDS


def update(key, body, uuid=b"", properties=b""):
    return KVMessage(key, 0, uuid, properties, body).encode()


NOT_FIVE = [(b"",), (b"x",), (b"x", b"y"), (b"x", b"y", b"z"), (b"x",) * 9, (b"",) * 9]
WRONG_FIVE = [
    update(b"", b"1"),
    update(b"k" * 256, b"1"),
    (b"key", bytes(7), b"", b"", b"1"),
    (b"key", bytes(9), b"", b"", b"1"),
    (b"key", b"\xff" * 8, b"", b"", b"1"),
    update(b"key", b"1", b"u" * 15),
    update(b"key", b"1", b"u" * 17),
    update(b"key", b"1", properties=b"no value\n"),
    update(b"key", b"1", properties=b"\xff=\xfe\n"),
    update(b"key", b"1", properties=b"a=1\na=2\n"),
    update(b"key", b"1", properties=b"a=b\n" * 5000),
    *(
        update(b"key", b"1", properties=b"ttl=" + ttl + b"\n")
        for ttl in (b"nan", b"inf", b"-1", b"1e3", b"", b"x", b"99999999999")
    ),
    *(update(word, b"1") for word in (b"HUGZ", b"KTHXBAI", b"ICANHAZ?")),
    update(b"key", b"1" * ((1 << 20) + 1)),
    (b"key" * 1000, b"", b"", b"", b""),
]
NO_REQUEST = [(b"ICANHAZ?", b"", b""), (b"ICANHAZ?", b"s" * 256), (b"icanhaz?", b""), (b"KTHXBAI",)]


class Peer:
    """A plain client of one server: blocking sockets, no reactor."""

    def __init__(self, context, endpoint):
        self._context = context
        self._address, _, port = endpoint.rpartition(":")
        self._port = int(port)
        self._keys = itertools.count()

    def socket(self, socket_type, offset, **options):
        socket = self._context.socket(socket_type)
        socket.linger, socket.rcvtimeo = 0, int(1000 * SECONDS)
        for name, value in options.items():
            setattr(socket, name, value)
        socket.connect(f"{self._address}:{self._port + offset}")
        return socket

    def writer(self):
        """A socket at the collector, which has subscribed; nothing sent to it is dropped."""
        socket = self.socket(zmq.XPUB, 2, sndhwm=0)
        assert socket.recv() == b"\x01"
        return socket

    def is_served(self, writer=None):
        """Hear a heartbeat, write, hear of it, and find it in a snapshot.

        What went through `writer` before has then been read by the server.
        """
        key = b"key-%d" % next(self._keys)
        with ExitStack() as opened:
            updates = opened.enter_context(self.socket(zmq.SUB, 1))
            updates.subscribe(b"")
            assert updates.recv_multipart()[0] == HUGZ
            (writer or opened.enter_context(self.writer())).send_multipart(update(key, b"value"))
            while (frames := updates.recv_multipart())[0] != key:
                assert not int.from_bytes(frames[1]), "a heartbeat"
        with self.socket(zmq.DEALER, 0) as dealer:
            dealer.send_multipart(snapshot_request(key))
            entry, end = dealer.recv_multipart(), dealer.recv_multipart()
        assert entry[4] == b"value"
        return is_snapshot_end(end) and decode_snapshot_end(end).entries == 1


@pytest.fixture
def server(start_server):
    return start_server("clone", "--port", "0")


@pytest.fixture
def peer(server, context):
    return Peer(context, server.ready())


def check_refusals(server, count, port):
    """It has logged them, counted each, and had no error of its own; and it ends well."""
    assert {entry["handler"] for entry in server.log("message refused")} == {f"CloneServer.{port}"}
    assert server.terminate() == 0
    (last,) = server.log("stopped")
    assert (last["messages_refused"], last["errors"]) == (count, 0)
    assert {entry["event"] for entry in server.log()} == {"serving", "message refused", "stopped"}


def test_the_collector_survives_what_is_no_update(server, peer):
    junk = NOT_FIVE + WRONG_FIVE
    with peer.writer() as socket:
        for frames in junk:
            socket.send_multipart(frames)
        assert peer.is_served(socket)
    check_refusals(server, len(junk), "collector")


def test_the_snapshot_port_survives_what_is_no_request(server, peer):
    junk = NOT_FIVE + NO_REQUEST + WRONG_FIVE
    with peer.socket(zmq.DEALER, 0) as socket:
        for frames in junk:
            socket.send_multipart(frames)
        # It answers in order: after this nothing of the junk is left.
        socket.send_multipart(snapshot_request())
        assert is_snapshot_end(socket.recv_multipart())
    assert peer.is_served()
    check_refusals(server, len(junk), "snapshots")


def test_the_publisher_survives_what_is_no_subscription(server, peer):
    junk = NOT_FIVE + [(b"\x01HUGZ", b"more"), (b"\x02", b"")] + WRONG_FIVE
    with peer.socket(zmq.XSUB, 1) as socket:
        for frames in junk:
            socket.send_multipart(frames)
        socket.send(b"\x01HUGZ")
        assert socket.recv_multipart()[0] == HUGZ
    assert peer.is_served()
    assert server.terminate() == 0
    (last,) = server.log("stopped")
    assert last["errors"] == 0
    assert last["messages_refused"] > len(junk) / 2, "libzmq itself takes some of it"


def test_a_flood_is_counted_in_full_and_logged_in_part(server, peer):
    with peer.writer() as socket:
        for _ in range(20_000):
            socket.send_multipart((b"junk", b"junk"))
        assert peer.is_served(), "others wait for their turn only"
        assert peer.is_served(socket)
    assert len(server.log("message refused")) < 20
    check_refusals(server, 20_000, "collector")


def test_ten_thousand_subscriptions_are_survived(server, peer):
    # A SUB drops the subscriptions for which its own send queue has no room.
    with peer.socket(zmq.SUB, 1, sndhwm=0, rcvhwm=0) as socket:
        for number in range(10_000):
            socket.subscribe(b"/topic/%d/" % number)
        socket.subscribe(HUGZ)
        while socket.recv_multipart()[0] != HUGZ:
            pass
        assert peer.is_served()
    assert server.terminate() == 0
    assert server.log("stopped")[0]["server"]["subtrees"] <= 1000
