"""Raw sockets send what nobody should to each port of a real server: it counts and serves on."""

import os
import random
import socket
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest
import zmq

from patterns.binary_star.control import PROMOTE, STATUS, SWITCHOVER, decode_answer
from patterns.binary_star.messages import PeerState, Progress, Role, State
from patterns.clone.forms import FULL, SIMPLE
from patterns.clone.messages import (
    HUGZ,
    MAX_BODY,
    KVMessage,
    check_update,
    decode_snapshot_end,
    decode_snapshot_request,
    is_snapshot_end,
    make_sequence,
    snapshot_end,
    snapshot_request,
)
from patterns.clone.packs import decode_pack
from patterns.clone.peer_link import (
    LINK,
    VERSION,
    decode_append,
    decode_held,
    decode_hello,
    decode_position,
    decode_renewed,
    encode_append,
    encode_position,
)

from . import hostile
from .conftest import SECONDS, free_ports

# REACTOR_HOSTILE_LISTS=100000 for a long run: so many random lists for each port.
LISTS = int(os.environ.get("REACTOR_HOSTILE_LISTS", 1500))
MORE_MEMORY = 100 << 20
PORTS = [(0, zmq.DEALER), (1, zmq.SUB), (2, zmq.PUB)]  # and what is at home there


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
NO_REQUEST = [
    (b"ICANHAZ?", b"", b""),
    (b"ICANHAZ?", b"s" * 256),
    (b"ICANHAZ?", b"HUGZ 34359738367"),  # an epoch that nobody can have seen
    (b"icanhaz?", b""),
    (b"KTHXBAI",),
    (b"LINK",),
    (b"LINK", VERSION),
    (b"LINK", VERSION, bytes(7), bytes(8)),
    (b"LINK", b"3", bytes(8)),  # a version that is yet to come
    (b"LINK", VERSION, b"\xff" * 8, bytes(8)),
    (b"HELD",),
    (b"HELD", bytes(8), bytes(8)),  # by nobody who follows
]


class Peer:
    """A plain client of one server: blocking sockets, no reactor."""

    def __init__(self, context, endpoint):
        self._context = context
        self._address, _, port = endpoint.rpartition(":")
        self._port = int(port)
        self.times_served = 0

    def endpoint(self, offset):
        return f"{self._address}:{self._port + offset}"

    def socket(self, socket_type, offset, **options):
        socket = self._context.socket(socket_type)
        socket.linger, socket.rcvtimeo = 0, int(1000 * SECONDS)
        for name, value in options.items():
            setattr(socket, name, value)
        socket.connect(self.endpoint(offset))
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
        self.times_served += 1
        key = b"key-%d" % self.times_served
        with ExitStack() as opened:
            updates = opened.enter_context(self.socket(zmq.SUB, 1))
            updates.subscribe(b"")
            while updates.recv_multipart()[0] != HUGZ:
                pass
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
    assert last["server"]["state"] == "active"
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


# Random lists, and bytes that are no ZMTP

is_update = hostile.decodes(check_update)
is_request = hostile.decodes(decode_snapshot_request, decode_hello, decode_held)
is_from_active = hostile.decodes(
    decode_position,
    decode_renewed,
    decode_append,
    partial(decode_pack, min_body=0),
    decode_snapshot_end,
)
is_state = hostile.decodes(hostile.state_of)


def is_order(frames):
    """An order of an operator; or too long for one, which would end the connection."""
    return frames[0] in (STATUS, SWITCHOVER, PROMOTE) or max(map(len, frames)) > 1024


@pytest.fixture
def seed():
    """Another one each time, that of pytest-randomly, which prints how to repeat it."""
    return random.randrange(1 << 32)


def memory_of(server, name):
    """A line of /proc/.../status, in bytes."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    (kilobytes,) = (line.split()[1] for line in status.splitlines() if line.startswith(name + ":"))
    return 1024 * int(kilobytes)


KEPT = b"kept/"


def hold(peer):
    """Have the server hold something, and return its entries, as they must stay."""
    with peer.writer() as writer:
        for number in range(20):
            writer.send_multipart(update(KEPT + b"%d" % number, b"value"))
        assert peer.is_served(writer)
    return held_by(peer)


def held_by(peer):
    with peer.socket(zmq.DEALER, 0) as dealer:
        dealer.send_multipart(snapshot_request(KEPT))
        frames = [dealer.recv_multipart()]
        while not is_snapshot_end(frames[-1]):
            frames.append(dealer.recv_multipart())
    return frames[:-1]


def wait_for_snapshot_end(dealer):
    """Hear the end of a snapshot; what was of another version of the peer link is answered too."""
    while not is_snapshot_end(frames := dealer.recv_multipart()):
        assert frames[0] == LINK


def attack_with_lists(peer, seed):
    """So many random lists to each of the three ports; the count of those that must be refused."""
    with peer.writer() as writer:
        for frames in hostile.frame_lists(seed, LISTS, is_update):
            writer.send_multipart(frames)
        assert peer.is_served(writer), "what came before has been read by then"
    with peer.socket(zmq.DEALER, 0) as dealer:
        for frames in hostile.frame_lists(seed + 1, LISTS, is_request):
            dealer.send_multipart(frames)
        dealer.send_multipart(snapshot_request(b"nothing/"))
        wait_for_snapshot_end(dealer)
    with peer.socket(zmq.XSUB, 1, sndhwm=0) as subscriber:
        for frames in hostile.frame_lists(seed + 2, LISTS, lambda frames: False):
            subscriber.send_multipart(frames)
        subscriber.send(b"\1HUGZ")
        while subscriber.recv_multipart()[0] != HUGZ:
            pass
    return 2 * LISTS


def attack_control(context, endpoint, seed):
    """So many random lists to an operator's port, and the state that it then tells."""
    with context.socket(zmq.DEALER) as dealer:
        dealer.linger, dealer.rcvtimeo = 0, int(1000 * SECONDS)
        dealer.connect(endpoint)
        for frames in hostile.frame_lists(seed, LISTS, is_order):
            dealer.send_multipart(frames)
        dealer.send(STATUS)
        reason, status = decode_answer(dealer.recv_multipart())
    assert not reason
    return status["state"]


def attack_with_bytes(endpoint, seed, good_type):
    for at_once, after_ready in hostile.streams(seed, good_type).values():
        hostile.send_bytes(endpoint, at_once, after_ready)


@pytest.mark.timeout(600)
def test_random_lists_at_every_port_change_nothing(server, peer, seed):
    held, memory = hold(peer), memory_of(server, "VmRSS")
    expected = attack_with_lists(peer, seed)
    assert held_by(peer) == held
    assert peer.is_served()
    assert memory_of(server, "VmHWM") < memory + MORE_MEMORY
    assert server.terminate() == 0
    (last,) = server.log("stopped")
    assert last["errors"] == 0 and last["messages_refused"] >= expected
    assert last["server"]["updates"] == len(held) + peer.times_served
    assert last["server"]["subtrees"] <= 1000
    assert len(server.log("message refused")) < 3 * SECONDS, "logged once a second and port"


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("model", "form"), [(3, SIMPLE), (4, SIMPLE), (5, FULL)])
def test_random_lists_change_nothing_at_a_server_of_a_model(
    start_server, context, seed, model, form
):
    server = start_server("clone", "--model", str(model), "--port", "0")
    peer = Peer(context, server.ready())
    is_good = hostile.decodes(form.updates(check_update))
    with peer.socket(zmq.PUSH, 2) as pusher, peer.socket(zmq.DEALER, 0) as dealer:
        for frames in hostile.frame_lists(seed, LISTS, is_good):
            pusher.send_multipart(frames)
        pusher.send_multipart(form.client().encode_update(update(b"last", b"1")))
        for frames in hostile.frame_lists(seed + 1, LISTS, is_request):
            dealer.send_multipart(frames)
        keys = []
        while not keys:  # until the collector has read what is before the last
            dealer.send_multipart(snapshot_request())
            while (frames := dealer.recv_multipart())[0] != b"KTHXBAI":
                keys.append(frames[0])
    assert keys == [b"last"]
    assert server.terminate() == 0
    (last,) = server.log("stopped")
    assert (last["messages_refused"], last["errors"]) == (2 * LISTS, 0)
    assert last["server"]["updates"] == 1


def test_bytes_that_are_no_zeromq_change_nothing(server, peer, seed):
    held, memory = hold(peer), memory_of(server, "VmRSS")
    for offset, good_type in PORTS:
        for number in range(3):
            attack_with_bytes(peer.endpoint(offset), seed + number, good_type)
    assert held_by(peer) == held
    assert peer.is_served()
    assert memory_of(server, "VmHWM") < memory + MORE_MEMORY
    assert server.terminate() == 0
    (last,) = server.log("stopped")
    assert last["errors"] == 0
    assert last["server"]["updates"] == len(held) + peer.times_served


@pytest.mark.parametrize(("offset", "good_type"), PORTS)
def test_a_frame_that_is_far_too_long_ends_its_connection(server, peer, offset, good_type):
    """Its bytes are never taken into memory: not even announced may it be."""
    host, _, port = peer.endpoint(offset).removeprefix("tcp://").rpartition(":")
    with socket.create_connection((host, int(port)), SECONDS) as connection:
        connection.sendall(hostile.GREETING + hostile.ready(good_type))
        hostile.wait_for_ready(connection)
        connection.sendall(hostile.long_frame(64 * MAX_BODY))
        with pytest.raises(ConnectionError):
            while connection.recv(1000):
                pass
            raise ConnectionResetError("it has hung up")
    assert peer.is_served()


def test_connections_that_say_nothing_keep_nobody_out(server, peer):
    with ExitStack() as opened:
        for offset in range(3):
            host, _, port = peer.endpoint(offset).removeprefix("tcp://").rpartition(":")
            for _ in range(100):
                connection = socket.create_connection((host, int(port)), SECONDS)
                opened.enter_context(connection).sendall(hostile.GREETING[:11])
        assert peer.is_served()


class Pair:
    """A primary and its backup, real ones; the primary is active, the backup follows it."""

    def __init__(self, start_server, context):
        primary, backup, *others = free_ports(3, 3, 1, 1, 1, 1)
        *self.states, first, second = (f"tcp://127.0.0.1:{port}" for port in others)
        self.controls = [first, second]
        self.servers = [
            start_server("clone", *options(role, own, peer, *state), "--control", control)
            for role, own, peer, state, control in (
                ("primary", primary, backup, self.states, first),
                ("backup", backup, primary, self.states[::-1], second),
            )
        ]
        self.peers = [Peer(context, server.ready()) for server in self.servers]
        with context.socket(zmq.SUB) as heard:
            heard.rcvtimeo = int(1000 * SECONDS)
            heard.subscribe(b"")
            heard.connect(self.states[1])
            while PeerState.decode(heard.recv()).state is not State.PASSIVE:
                pass


def options(role, port, peer, state_bind, state_connect):
    given = {
        "--role": role,
        "--port": port,
        "--peer": f"tcp://127.0.0.1:{peer}",
        "--state-bind": state_bind,
        "--state-connect": state_connect,
        "--heartbeat": 0.5,
        "--timeout": 5,
    }
    return [str(word) for pair in given.items() for word in pair]


def changes_of(server):
    return [(entry["old"], entry["new"]) for entry in server.log("state changed")]


@pytest.mark.timeout(600)
def test_random_lists_change_nothing_at_either_server_of_a_pair(start_server, context, seed):
    pair = Pair(start_server, context)
    active, passive = pair.peers
    held, memories = hold(active), [memory_of(server, "VmRSS") for server in pair.servers]
    before = [changes_of(server) for server in pair.servers]
    expected = attack_with_lists(active, seed)
    states = [attack_control(context, control, seed + 5) for control in pair.controls]
    assert states == ["active", "passive"]
    for state, control in zip(pair.states, pair.controls, strict=True):
        attack_with_bytes(state, seed, zmq.SUB)
        attack_with_bytes(control, seed, zmq.DEALER)
    with passive.writer() as writer, passive.socket(zmq.DEALER, 0) as dealer:
        for frames in hostile.frame_lists(seed + 3, LISTS, is_update):
            writer.send_multipart(frames)
        for frames in hostile.frame_lists(seed + 4, LISTS, is_request):
            dealer.send_multipart(frames)
        assert held_by(active) == held
        assert [changes_of(server) for server in pair.servers] == before
        assert pair.servers[0].terminate() == 0
        # The passive one has read all of it when it answers on this connection: as the active.
        while not dealer.poll(200) or not is_snapshot_end(dealer.recv_multipart()):
            dealer.send_multipart(snapshot_request(KEPT))
        assert passive.is_served(writer)
    assert held_by(passive) == held
    assert memory_of(pair.servers[1], "VmHWM") < memories[1] + MORE_MEMORY
    assert pair.servers[1].terminate() == 0
    for server in pair.servers:
        (last,) = server.log("stopped")
        assert last["errors"] == 0
        assert last["messages_refused"] >= expected + LISTS


class HostilePrimary:
    """The active peer of a backup: a proper one, which in between says what nobody should."""

    def __init__(self, context, start_server):
        own, backup, own_state, backup_state = free_ports(3, 3, 1, 1)
        self.sequence = make_sequence(5, 0)
        self.snapshots = _bind(context, zmq.ROUTER, own)
        self.states = _bind(context, zmq.PUB, own_state)
        self.sockets = [self.snapshots, self.states]
        self.identity = b""  # of who follows
        addresses = [f"tcp://127.0.0.1:{port}" for port in (backup_state, own_state)]
        self.server = start_server("clone", *options("backup", backup, own, *addresses))
        self.server.ready()
        self.heard = context.socket(zmq.SUB)
        self.heard.subscribe(b"")
        self.heard.connect(addresses[0])
        self.sockets.append(self.heard)

    def beat(self):
        progress = Progress(epoch=5, sequence=self.sequence)
        self.states.send(PeerState(Role.PRIMARY, State.ACTIVE, progress).encode())

    def say(self, *frames):
        """A message over the link."""
        self.snapshots.send_multipart((self.identity, *frames))

    def append(self):
        """One more proper update."""
        self.sequence += 1
        self.say(*encode_append([KVMessage(b"key", self.sequence, b"", b"", b"1").encode()]))

    def wait_for_hello(self):
        """Beat until the backup says hello, and wants everything."""
        while not self.snapshots.poll(100):
            self.beat()
        self.identity, *hello = self.snapshots.recv_multipart()
        assert decode_hello(hello)[0] == 0

    def wait_until_followed(self):
        """Beat until the backup says that it holds what was published."""
        while True:
            self.beat()
            heard = PeerState.decode(self.heard.recv())
            if (heard.state, heard.progress.sequence) == (State.PASSIVE, self.sequence):
                return

    def close(self):
        for each in self.sockets:
            each.close()


def _bind(context, socket_type, port):
    socket = context.socket(socket_type)
    socket.linger, socket.sndhwm, socket.rcvtimeo = 0, 0, int(1000 * SECONDS)
    socket.bind(f"tcp://127.0.0.1:{port}")
    return socket


@pytest.fixture
def hostile_primary(context, start_server):
    primary = HostilePrimary(context, start_server)
    yield primary
    primary.close()


@pytest.mark.timeout(600)
def test_a_passive_server_is_not_led_astray_by_what_its_peer_says(hostile_primary, seed):
    peer = hostile_primary
    peer.wait_for_hello()
    peer.say(*encode_position(peer.sequence, 1))
    for frames in hostile.frame_lists(seed, 1000, is_from_active):
        peer.say(*frames)
    peer.say(*snapshot_end(peer.sequence))
    messages = hostile.frame_lists(seed + 1, LISTS, is_from_active)
    states = hostile.frame_lists(seed + 2, LISTS, is_state)
    for number, (message, state) in enumerate(zip(messages, states, strict=True)):
        peer.say(*message)
        peer.states.send_multipart(state)
        if number % 100 == 0:
            peer.append()
            peer.beat()
    peer.wait_until_followed()
    assert changes_of(peer.server) == [("starting-backup", "syncing"), ("syncing", "passive")]
    assert peer.server.terminate() == 0
    (last,) = peer.server.log("stopped")
    assert last["errors"] == 0
    assert last["messages_refused"] == 1000 + 2 * LISTS
    figures = last["server"]
    assert figures["replicated"] == -(-LISTS // 100)
    assert (figures["keys"], figures["resyncs"], figures["updates"]) == (1, 0, 0)
