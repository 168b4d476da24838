"""Peers as the Guide's programs are, byte for byte: what was seen on the wire of each.

C: models 5 and 6 in C. Python: the same in Python, and the client class of model 6.
"""

import pytest
import zmq

from patterns.clone import model5, model6
from patterns.clone.messages import sequence_of

from .services import contents

UUID = bytes(range(16))
ANOTHER_UUID = bytes(range(16, 32))
ZERO = bytes(8)

# What each server sends: the end of a snapshot, a heartbeat, and the ttl of a key that it holds.
# In place of the seconds that were sent stands the instant of its end, since 1970.
SERVERS = {
    "C": {
        "end": lambda number: (b"KTHXBAI", number, b"", b"", b""),
        "heartbeat": lambda number: (b"HUGZ", number, b"", b"", b""),
        "ttl": b"ttl=1795614577217\n",
    },
    "Python": {
        "end": lambda number: (b"KTHXBAI", number, ANOTHER_UUID, b"", b"/client/"),
        "heartbeat": lambda number: (b"HUGZ", number, ANOTHER_UUID, b"", b""),
        "ttl": b"ttl=1795614593.252654\n",
    },
}


class GuideServer:
    """Its three sockets, without a mind: a test says what is sent."""

    def __init__(self, service, model, sends):
        self.sends = sends
        self._service = service
        address = "@tcp://127.0.0.1"
        reactor = service.reactor()
        self.router = reactor.open_stream(zmq.ROUTER, f"{address}:5556")
        self.publisher = reactor.open_stream(zmq.PUB, f"{address}:5557")
        self.collector = reactor.open_stream(
            model.DIALECT.collector,
            f"{address}:5558",
            **({"subscribe": (b"",)} if model is model6 else {}),
        )
        self.requests, self.updates = [], []
        self.router.on_message(self.requests.append)
        self.collector.on_message(self.updates.append)

    def publish(self, key, number, uuid, properties, body):
        self.publisher.send(key, number.to_bytes(8), uuid, properties, body)
        self._service.loop.run_pending()

    def beat(self, number):
        self.publisher.send(*self.sends["heartbeat"](number.to_bytes(8)))
        self._service.loop.run_pending()

    def answer(self, number, *entries):
        """A snapshot; what the client has asked for is in `requests`."""
        identity = self.requests[-1][0]
        for entry in entries:
            self.router.send(identity, *entry)
        self.router.send(identity, *self.sends["end"](number.to_bytes(8)))
        self._service.loop.run_pending()


@pytest.fixture(params=SERVERS)
def sends(request):
    return SERVERS[request.param]


@pytest.fixture(params=[model5, model6], ids=["model 5", "model 6"])
def joined(request, service, sends):
    """A server, and a client of /client/ that has got two entries, one of which is ephemeral."""
    model = request.param
    server = GuideServer(service, model, sends)
    client = model.Client(
        "tcp://127.0.0.1:5556", b"/client/", jitter=lambda: 0.5, make_uuid=service.make_uuid
    )
    service.run(client, "client")
    service.loop.run_pending()
    if model is model6:
        server.beat(2)
    service.loop.run_until(lambda: server.requests)
    server.answer(
        2,
        (b"/client/kept", (1).to_bytes(8), UUID, b"", b"1"),
        (b"/client/ephemeral", (2).to_bytes(8), ANOTHER_UUID, sends["ttl"], b"2"),
    )
    service.live(client)
    return server, client


def test_r12_1_r12_3_r12_4_a_client_joins_with_filled_frames_and_without_a_subtree(joined):
    server, client = joined
    assert server.requests[0][1:] == [b"ICANHAZ?", b"/client/"]
    assert contents(client) == {b"/client/kept": b"1", b"/client/ephemeral": b"2"}


def test_kv_8_r12_10_a_key_that_expires_at_the_server_is_deleted_at_the_client(joined, sends):
    """The deletion carries the instant of its end as well, no ttl that anybody could use."""
    server, client = joined
    server.publish(b"/client/ephemeral", 3, ANOTHER_UUID, sends["ttl"], b"")
    assert contents(client) == {b"/client/kept": b"1"}
    assert client.refused == 0


def test_kv_8_the_instant_of_an_end_is_not_taken_for_a_time_to_live(joined, service):
    server, client = joined
    for number in range(3, 63):
        server.publish(b"/client/kept", number, UUID, b"", b"%d" % number)
        service.loop.advance(1.0)
    assert contents(client)[b"/client/ephemeral"] == b"2"


@pytest.mark.parametrize("joined", [model6], indirect=True)
def test_r12_4_a_heartbeat_with_a_number_and_a_uuid_changes_nothing(joined):
    server, client = joined
    server.beat(2)
    assert contents(client) == {b"/client/kept": b"1", b"/client/ephemeral": b"2"}
    assert client.protocol.live


@pytest.mark.parametrize("properties", [b"ttl=abc\n", b"ttl=-1\n", b"ttl=\n"])
def test_kv_7_an_update_that_its_server_has_taken_is_taken(joined, properties):
    """Its servers forward any ttl; a client that refused it would differ from all others."""
    server, client = joined
    server.publish(b"/client/odd", 3, UUID, properties, b"3")
    assert contents(client)[b"/client/odd"] == b"3"


def test_m_18_r12_7_a_write_reaches_the_collector_and_is_acknowledged(joined, service):
    server, client = joined
    written = client.set(b"/client/own", b"value", ttl=30)
    service.loop.run_until(lambda: server.updates)
    (update,) = server.updates
    assert (update[0], update[1], update[3:]) == (b"/client/own", ZERO, [b"ttl=30\n", b"value"])
    server.publish(b"/client/own", 3, update[2], update[3], b"value")
    assert service.wait(written) == 3


# Clients of the Guide at our servers

CLIENTS = {
    "C, model 5": (model5, b"", b"ttl=12\n"),
    "Python, model 5": (model5, UUID, b"ttl=12\n"),
    "C, model 6": (model6, UUID, b"ttl=12\n"),
    "C, model 6, for ever": (model6, UUID, b"ttl=0\n"),
    "Python, model 6, for ever": (model6, UUID, b""),
}


@pytest.mark.parametrize(("model", "uuid", "properties"), CLIENTS.values(), ids=CLIENTS)
def test_r12_7_what_a_client_sends_is_published_as_it_is(service, model, uuid, properties):
    server = service.run(model.Server(make_uuid=service.make_uuid), "server")
    reactor = service.reactor()
    subscriber = service.subscriber(b"/client/")
    if model is model5:
        writer = reactor.open_stream(zmq.PUSH, ">tcp://127.0.0.1:5558")
    else:
        writer = service.writer()
    service.loop.advance(0.1)
    writer.send(b"/client/1234", ZERO, uuid, properties, b"567")
    service.loop.run_pending()
    (frames,) = (f for f in subscriber.arrived if f[0] == b"/client/1234")
    assert frames[2:] == [uuid, properties, b"567"]
    assert sequence_of(frames) == server.protocol.sequence
    service.loop.advance(20.0)
    assert contents(server) == ({} if b"12" in properties else {b"/client/1234": b"567"})


def test_r12_6_a_subtree_need_not_end_in_a_slash_and_may_be_empty(service):
    server = service.run(model6.Server(make_uuid=service.make_uuid), "server")
    writer = service.writer()
    for key in (b"/client/1", b"/clients", b"other"):
        writer.send(key, ZERO, UUID[:-1] + key[-1:], b"", b"x")
    service.loop.run_until(lambda: len(contents(server)) == 3)
    for subtree, keys in {b"": 3, b"/client": 2, b"/client/": 1, b"o": 1, b"none": 0}.items():
        assert len(service.snapshot(subtree)) == keys + 1


def test_r12_8_model_5_answers_who_wants_everything(service):
    service.run(model5.Server(make_uuid=service.make_uuid), "server")
    assert len(service.snapshot(b"")) == 1


def test_r12_5_heartbeats_also_come_while_there_are_updates(service):
    """RFC 12 wants them in the absence of others; but only they show that the last was lost."""
    service.run(model6.Server(make_uuid=service.make_uuid), "server")
    subscriber, writer = service.subscriber(), service.writer()
    for number in range(100):
        writer.send(b"key", ZERO, b"", b"", b"%d" % number)
        service.loop.advance(0.1)
    assert sum(frames[0] == b"HUGZ" for frames in subscriber.arrived) >= 10


def test_r12_12_what_is_added_travels_in_properties_alone(service):
    """A Guide program dies of a sixth frame, and of a uuid that is none."""
    server = service.server()
    server.protocol.store.max_keys = 1
    subscriber, writer = service.subscriber(), service.writer()
    service.loop.advance(0.1)
    for key in (b"key", b"another"):
        writer.send(key, ZERO, UUID[:-1] + key[-1:], b"ttl=2.5\n", b"1")
    service.loop.run_until(lambda: len(contents(server)) == 1)
    snapshot = service.snapshot()
    service.loop.advance(10.0)
    arrived = [*subscriber.arrived, *snapshot]
    words = {b"refused", b"seq", b"chpx", b"ttl", b"o"}
    assert words <= {line.partition(b"=")[0] for f in arrived for line in f[3].split(b"\n")}
    for frames in arrived:
        assert len(frames) == 5 and len(frames[1]) == 8 and len(frames[2]) in (0, 16)
        assert all(line.count(b"=") == 1 for line in frames[3].splitlines())
        assert not frames[3] or frames[3].endswith(b"\n")
