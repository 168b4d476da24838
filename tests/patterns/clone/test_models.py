"""Models one to six: what each can do, on the Guide's ports and in the Guide's frames."""

import dataclasses

import pytest
import zmq

from patterns.binary_star.messages import State
from patterns.clone import model1, model2, model3, model4, model5, model6
from patterns.clone.client import ReadOnly, WriteError
from patterns.clone.client_protocol import ClientState
from patterns.clone.forms import FULL, SIMPLE, SimpleForm
from patterns.clone.messages import encode_sequence, make_sequence, sequence_of
from patterns.clone.store import StoreFull
from reactor import EndpointError

from .services import contents, states

UUID = b"u" * 16
ZERO = bytes(8)
WITH_SNAPSHOT = [model2, model3, model4, model5]
WITH_COLLECTOR = [model3, model4, model5]


def name_of(model):
    return model.__name__.rpartition(".")[2]


def each(*models):
    return pytest.mark.parametrize("model", models, ids=name_of)


with_snapshot = each(*WITH_SNAPSHOT)
with_collector = each(*WITH_COLLECTOR)


def serve(service, model, name="server", **options):
    injected = {"make_uuid": service.make_uuid, "wall_clock": lambda: 1_800_000_000}
    return service.run(model.Server(**{**injected, **options}), name)


def join(service, model, *arguments, name="client", **options):
    options = {"jitter": lambda: 0.5, "make_uuid": service.make_uuid, **options}
    server = "tcp://127.0.0.1:5556"
    return service.live(service.run(model.Client(server, *arguments, **options), name))


def push(service):
    """A client's socket for updates, as the Guide has it in models three to five."""
    stream = service.reactor().open_stream(zmq.PUSH, ">tcp://127.0.0.1:5558")
    service.loop.run_pending()
    return stream


def framed(model, key, sequence, body, uuid=b"", properties=b""):
    """The frames of a message in the form of a model."""
    if model is model5:
        return (key, sequence, uuid, properties, body)
    return (key, sequence, body)


def numbered(arrived):
    """The messages that are updates: number zero is none to any client of the Guide."""
    return [tuple(frames) for frames in arrived if int.from_bytes(frames[1], "big")]


# Model one


def test_a_publisher_publishes_in_three_frames_and_nothing_else(service):
    server = serve(service, model1)
    subscriber = service.subscriber(port=5556)
    service.loop.advance(10.0)
    assert subscriber.arrived == []  # a heartbeat would be a key at a client of the Guide
    sequence = server.set(b"key", b"body")
    server.delete(b"key")
    service.loop.run_pending()
    first, second = subscriber.arrived
    assert first == [b"key", encode_sequence(sequence), b"body"]
    assert second == [b"key", encode_sequence(sequence + 1), b""]


def test_a_client_of_model_one_has_what_was_published_since_it_came(service):
    server = serve(service, model1)
    server.set(b"before", b"1")
    heard = []

    class Client(model1.Client):
        def on_update(self, key, body):
            heard.append((key, body))

    client = service.run(Client())
    service.loop.run_pending()
    server.set(b"a", b"1")
    server.set(b"b", b"2")
    server.delete(b"a")
    service.loop.run_pending()
    assert client.items() == [(b"b", b"2")]
    assert (client.get(b"a"), client.get(b"b"), client.lost) == (None, b"2", 0)
    assert heard == [(b"a", b"1"), (b"b", b"2"), (b"a", b"")]


def test_m_10_m_11_a_client_of_model_one_sees_holes_and_restarts(service):
    """M-10, M-11: a hole in the numbers is counted, and a restart is no hole."""
    client = service.run(model1.Client())
    publisher = service.reactor().open_stream(zmq.PUB, "@tcp://127.0.0.1:5556")
    service.loop.run_pending()
    for number, body in ((7, b"a"), (10, b"b"), (1, b"c"), (2, b"d")):
        publisher.send(b"key", encode_sequence(number), body)
    publisher.send(b"junk")
    publisher.send(b"HUGZ", encode_sequence(3), b"no key")
    service.loop.run_pending()
    assert (client.items(), client.updates, client.lost) == ([(b"key", b"d")], 4, 2)
    assert sum(member.refused for member in client._members()) == 2


# Models two to five: the snapshot


@each(model2, model3)
def test_m_3_a_snapshot_of_models_two_and_three_is_asked_for_in_one_frame(service, model):
    """M-3: all programs of a model speak the same form; entries and their end have three frames."""
    server = serve(service, model)
    number = encode_sequence(server.set(b"key", b"body"))
    dealer = service.dealer()
    dealer.send(b"ICANHAZ?")
    service.loop.run_pending()
    assert dealer.arrived == [[b"key", number, b"body"], [b"KTHXBAI", number, b""]]


@each(model4, model5)
def test_a_snapshot_of_models_four_and_five_is_of_a_subtree(service, model):
    server = serve(service, model)
    first = encode_sequence(server.set(b"/a/1", b"one"))
    last = encode_sequence(server.set(b"/b/1", b"two"))
    dealer = service.dealer()
    dealer.send(b"ICANHAZ?", b"/a/")
    service.loop.run_pending()
    entry, end = dealer.arrived
    assert entry[:2] + entry[-1:] == [b"/a/1", first, b"one"]
    assert end[:2] + end[-1:] == [b"KTHXBAI", last, b"/a/"]
    assert len(entry) == len(end) == (5 if model is model5 else 3)


@each(model4, model5)
@pytest.mark.parametrize("request_", [[b"ICANHAZ?"], [b"ICANHAZ?", b""]], ids=["none", "empty"])
def test_m_4_m_5_who_names_no_subtree_gets_everything(service, model, request_):
    """M-4, M-5, R12-6: a client of model three asks a server of model five, and is served."""
    server = serve(service, model)
    server.set(b"/a/1", b"one")
    server.set(b"b", b"two")
    dealer = service.dealer()
    dealer.send(*request_)
    service.loop.run_pending()
    assert [frames[0] for frames in dealer.arrived] == [b"/a/1", b"b", b"KTHXBAI"]


@with_snapshot
def test_m_4_a_thousand_bad_requests_stop_no_server(service, model):
    """M-4: in the Guide's programs the first one does."""
    server = serve(service, model)
    server.set(b"key", b"body")
    dealer = service.dealer()
    bad = [[b"ICANHAZ"], [b""], [b"", b"ICANHAZ?"], [b"ICANHAZ?", b"/a/", b"more"]]
    for number in range(1000):
        dealer.send(*bad[number % len(bad)])
    service.loop.run_pending()
    dealer.send(b"ICANHAZ?")
    service.loop.run_pending()
    assert [frames[0] for frames in dealer.arrived] == [b"key", b"KTHXBAI"]
    assert server.statistics().messages_refused == 1000


@with_snapshot
def test_a_client_has_the_snapshot_and_then_what_comes(service, model):
    server = serve(service, model)
    server.set(b"before", b"1")
    server.set(b"gone", b"1")
    server.delete(b"gone")
    client = join(service, model)
    assert client.items() == [(b"before", b"1")]
    server.set(b"after", b"2")
    server.delete(b"before")
    service.loop.run_pending()
    assert client.items() == [(b"after", b"2")]
    assert client.protocol.statistics().losses == 0


@each(model2, model3)
def test_models_two_and_three_have_no_subtrees(model):
    with pytest.raises(ValueError, match="no subtrees"):
        model.Client("tcp://127.0.0.1:5556", b"/a/")


@each(model4, model5)
def test_m_16_a_client_of_a_subtree_hears_of_nothing_else(service, model):
    """M-16: the Guide's in C subscribe to everything as well."""
    server = serve(service, model)
    server.set(b"/a/1", b"1")
    server.set(b"/b/1", b"1")
    client = join(service, model, b"/a/")
    server.set(b"/b/2", b"2")
    server.set(b"/a/2", b"2")
    service.loop.run_pending()
    assert client.items() == [(b"/a/1", b"1"), (b"/a/2", b"2")]
    subscriber = client._sockets._subscriber
    assert subscriber.messages_received == 3  # that update, and a heartbeat of each kind


@pytest.mark.parametrize(
    ("model", "subtree"),
    [*((model, b"") for model in WITH_SNAPSHOT), (model4, b"/a/"), (model5, b"/a/")],
    ids=["2", "3", "4", "5", "4-subtree", "5-subtree"],
)
def test_m_8_m_10_a_client_notices_what_it_has_lost(service, model, subtree):
    """M-8, M-10: also the last update of all, within a heartbeat, and fetches everything again."""
    server = serve(service, model)
    client = join(service, model, subtree)
    service.loop.advance(1.5)
    service.network.drop(1, "server.publisher", "client")
    server.set(b"/a/lost", b"1")
    service.loop.run_pending()
    service.loop.advance(3.0)
    assert client.items() == [(b"/a/lost", b"1")]
    assert client.protocol.statistics().losses == 1


@with_snapshot
def test_m_11_a_client_notices_that_its_server_has_restarted(service, model):
    """M-11: and does not wait until the numbers have passed the old ones."""
    server = serve(service, model)
    for number in range(5):
        server.set(b"%d" % number, b"1")
    client = join(service, model)
    service.kill(server)
    service.loop.advance(0.5)
    server = serve(service, model, wall_clock=lambda: 1_800_000_000 + 60)
    server.set(b"new", b"2")
    service.loop.advance(5.0)
    assert client.items() == [(b"new", b"2")]
    assert client.state is ClientState.LIVE


# Models three to five: the collector


@with_collector
def test_an_update_is_numbered_kept_and_published_to_all(service, model):
    server = serve(service, model)
    subscriber, publisher = service.subscriber(), push(service)
    publisher.send(*framed(model, b"key", ZERO, b"one", UUID))
    publisher.send(*framed(model, b"key", ZERO, b"two"))
    service.loop.run_pending()
    last = server.protocol.sequence
    assert numbered(subscriber.arrived) == [
        framed(model, b"key", encode_sequence(last - 1), b"one", UUID),
        framed(model, b"key", encode_sequence(last), b"two"),
    ]
    assert contents(server) == {b"key": b"two"}


@with_collector
def test_kv_4_what_is_no_update_is_refused_and_survived(service, model):
    """KV-4: frames of another number or size change nothing and stop nothing."""
    server = serve(service, model)
    publisher = push(service)
    good = framed(model, b"key", ZERO, b"body")
    other = good[:2] + good[-1:] if model is model5 else (*good, b"", b"")
    bad = [[b""], good[:2], (*good, b"more"), other, (good[0], bytes(7), *good[2:])]
    bad += [(key, *good[1:]) for key in (b"", b"HUGZ", b"KTHXBAI", b"k" * 256)]
    for frames in bad:
        publisher.send(*frames)
    publisher.send(*good)
    service.loop.run_pending()
    assert contents(server) == {b"key": b"body"}
    assert server.statistics().messages_refused == len(bad)


@with_collector
def test_m_14_a_write_is_acknowledged_when_it_comes_back(service, model):
    """M-14: and only then it is in the own map, as in everybody's."""
    server = serve(service, model)
    writer, reader = join(service, model), join(service, model, name="reader")
    waiting = writer.set(b"key", b"body")
    assert writer.items() == []
    assert service.wait(waiting) == server.protocol.sequence
    assert contents(writer) == contents(reader) == {b"key": b"body"}
    assert service.wait(writer.delete(b"key")) == server.protocol.sequence
    assert contents(writer) == contents(reader) == contents(server) == {}


@with_collector
def test_many_writes_to_a_key_are_all_acknowledged_and_the_last_one_wins(service, model):
    serve(service, model)
    client = join(service, model)
    writes = [client.set(b"key", b"%d" % number) for number in range(20)]
    for waiting in writes:
        service.wait(waiting)
    assert client.get(b"key") == b"19"


@with_collector
def test_a_write_before_the_server_is_there_is_done_when_it_is(service, model):
    options = {"jitter": lambda: 0.5, "make_uuid": service.make_uuid}
    client = service.run(model.Client("tcp://127.0.0.1:5556", **options), "client")
    waiting = client.set(b"key", b"body")
    service.loop.advance(5.0)
    server = serve(service, model)
    assert service.wait(waiting) == server.protocol.sequence
    assert contents(server) == {b"key": b"body"}


@with_collector
def test_a_refusal_reaches_its_writer(service, model):
    server = serve(service, model)
    server.protocol.store.max_keys = 1
    client = join(service, model)
    service.wait(client.set(b"first", b"1"))
    with pytest.raises(WriteError, match="full"):
        service.wait(client.set(b"second", b"1"))
    with pytest.raises(StoreFull):
        server.set(b"third", b"1")


@with_collector
@pytest.mark.parametrize("socket_type", [zmq.SUB, zmq.PULL], ids=["SUB", "PULL"])
def test_m_18_r12_7_the_type_of_the_collector_is_a_choice(service, model, socket_type):
    """M-18, R12-7: PULL as the Guide has it in models three to five, or SUB as RFC 12 has it."""
    dialect = dataclasses.replace(model.DIALECT, collector=socket_type)
    server = serve(service, model, dialect=dialect)
    client = join(service, model, dialect=dialect)
    service.wait(client.set(b"key", b"body"))
    assert contents(server) == {b"key": b"body"}


@with_collector
def test_the_guides_default_is_a_pull(model):
    """R12-7: before model six."""
    assert model.DIALECT.collector == zmq.PULL
    assert model6.DIALECT.collector == zmq.SUB


def test_clients_of_model_two_only_read(service):
    serve(service, model2)
    client = join(service, model2)
    with pytest.raises(ReadOnly):
        client.set(b"key", b"body")
    with pytest.raises(ReadOnly):
        client.delete(b"key")


# Model five: ephemeral values


def test_an_ephemeral_value_goes_away_at_all_clients(service):
    server = serve(service, model5)
    client = join(service, model5)
    service.wait(client.set(b"a", b"1", ttl=3))
    server.set(b"b", b"2", ttl=5)
    service.loop.advance(2.9)
    assert contents(client) == {b"a": b"1", b"b": b"2"}
    service.loop.advance(0.2)
    assert contents(client) == contents(server) == {b"b": b"2"}
    service.loop.advance(2.0)
    assert contents(client) == contents(server) == {}


@each(model2, model3, model4)
def test_three_frames_have_no_room_for_a_ttl(service, model):
    server = serve(service, model)
    with pytest.raises(ValueError, match="no ephemeral values"):
        server.set(b"key", b"body", ttl=1)
    if model is not model2:
        with pytest.raises(ValueError, match="no ephemeral values"):
            join(service, model).set(b"key", b"body", ttl=1)
        with pytest.raises(ValueError, match="no ephemeral values"):
            join(service, model).keep(b"key", b"body", ttl=1)


@pytest.mark.parametrize("ttl", [0, -1, float("nan"), float("inf"), 1e99])
def test_kv_7_a_server_sets_no_impossible_ttl(service, ttl):
    """KV-7: nan would never expire."""
    server = serve(service, model5)
    with pytest.raises(ValueError, match="ttl"):
        server.set(b"key", b"body", ttl=ttl)
    with pytest.raises(ValueError, match="empty body"):
        server.set(b"key", b"")


# Servers without heartbeats, as the Guide's are before model six


class GuideServer:
    """The sockets of a server of the Guide, whose messages a test sends by hand."""

    def __init__(self, service, model):
        reactor = service.reactor()
        self.loop = service.loop
        self.model = model
        self.router = reactor.open_stream(zmq.ROUTER, "@tcp://127.0.0.1:5556", name="guide")
        self.publisher = reactor.open_stream(zmq.PUB, "@tcp://127.0.0.1:5557", name="guide")
        self.collector = reactor.open_stream(zmq.PULL, "@tcp://127.0.0.1:5558", name="guide")
        self.requests, self.updates = [], []
        self.router.on_message(self.requests.append)
        self.collector.on_message(self.updates.append)

    def framed(self, key, number, body):
        return framed(self.model, key, encode_sequence(number), body)

    def publish(self, key, number, body):
        self.publisher.send(*self.framed(key, number, body))
        self.loop.run_pending()

    def answer(self, number, *entries):
        """Answer the newest request with a snapshot."""
        identity = self.requests[-1][0]
        for entry in (*entries, (b"KTHXBAI", number, b"")):
            self.router.send(identity, *self.framed(*entry))
        self.loop.run_pending()


@pytest.fixture(params=WITH_SNAPSHOT, ids=name_of)
def guide(request, service):
    return GuideServer(service, request.param)


@pytest.fixture
def client(service, guide):
    options = {"jitter": lambda: 0.5, "make_uuid": service.make_uuid}
    return service.run(guide.model.Client("tcp://127.0.0.1:5556", **options), "client")


def test_a_client_joins_a_server_that_sends_no_heartbeats(service, guide, client):
    service.loop.advance(0.6)
    asked = [b"ICANHAZ?", b""] if guide.model.DIALECT.subtrees else [b"ICANHAZ?"]
    assert [request[1:] for request in guide.requests] == [asked]
    guide.answer(2, (b"a", 1, b"1"), (b"b", 2, b"2"))
    assert client.state is ClientState.LIVE
    guide.publish(b"a", 3, b"3")
    assert client.items() == [(b"a", b"3"), (b"b", b"2")]
    service.loop.advance(60.0)
    assert client.state is ClientState.LIVE  # silence is no sign of death here
    assert len(guide.requests) == 1  # and no vote was sent, over which such a server may stumble


def test_an_update_proves_the_subscription_as_well(service, guide, client):
    service.loop.run_pending()
    guide.publish(b"a", 1, b"1")
    assert len(guide.requests) == 1
    guide.answer(1, (b"a", 1, b"1"))
    assert client.items() == [(b"a", b"1")]


def test_m_9_a_seam_between_snapshot_and_subscription_is_checked(service, guide, client):
    """M-9: an update lost between the two shows, and everything is asked for again."""
    service.loop.advance(0.6)
    guide.publish(b"c", 4, b"4")
    guide.answer(2, (b"a", 1, b"1"), (b"b", 2, b"2"))
    assert client.state is not ClientState.LIVE
    service.loop.advance(2.0)
    assert len(guide.requests) == 2
    guide.answer(4, (b"a", 1, b"1"), (b"b", 2, b"2"), (b"c", 4, b"4"), (b"d", 3, b"3"))
    assert client.state is ClientState.LIVE
    assert len(client.items()) == 4


def test_m_10_a_hole_in_a_guide_servers_numbers_is_noticed(service, guide, client):
    """M-10: in its numbers alone, without any heartbeat."""
    service.loop.advance(0.6)
    guide.answer(0)
    guide.publish(b"a", 1, b"1")
    guide.publish(b"b", 3, b"3")
    service.loop.advance(2.0)
    assert len(guide.requests) == 2


def test_m_11_a_guide_server_that_restarts_is_noticed(service, guide, client):
    """M-11: its numbers begin again, and its updates are not ignored for that."""
    service.loop.advance(0.6)
    guide.answer(7)
    guide.publish(b"a", 8, b"8")
    guide.publish(b"a", 1, b"1")
    service.loop.advance(2.0)
    guide.answer(1, (b"a", 1, b"1"))
    assert client.items() == [(b"a", b"1")]


def test_a_write_to_a_guide_server_is_acknowledged_by_its_publication(service, guide, client):
    service.loop.advance(0.6)
    guide.answer(0)
    if guide.model is model2:
        return
    waiting = client.set(b"key", b"body")
    service.loop.run_pending()
    (frames,) = guide.updates
    assert (frames[0], frames[1], frames[-1]) == (b"key", ZERO, b"body")
    guide.publisher.send(frames[0], encode_sequence(1), *frames[2:])
    assert service.wait(waiting) == 1
    assert client.items() == [(b"key", b"body")]


def test_a_late_first_heartbeat_is_a_reason_to_join_again(service):
    """M-9: the snapshot came, and only then a proof of the subscription."""
    guide = GuideServer(service, model5)
    client = service.run(model5.Client("tcp://127.0.0.1:5556", b"/a/", jitter=lambda: 0.5))
    service.loop.advance(0.6)
    guide.answer(0)
    assert client.state is ClientState.LIVE
    guide.publisher.send(b"HUGZ", ZERO, b"", b"seq=5\n", b"")
    service.loop.advance(0.3)
    guide.publisher.send(b"HUGZ", ZERO, b"", b"seq=5\n", b"")
    service.loop.run_pending()
    assert len(guide.requests) == 2


@with_snapshot
def test_m_11_a_server_without_epochs_in_place_of_ours_is_believed(service, model):
    """M-11: it is the only one there is, whatever the numbers were before."""
    server = serve(service, model)
    server.set(b"old", b"1")
    client = join(service, model)
    service.kill(server)
    guide = GuideServer(service, model)
    for _ in range(20):
        service.loop.advance(1.0)
        if client.state is ClientState.SYNCING:
            guide.answer(1, (b"new", 1, b"1"))
    assert client.state is ClientState.LIVE
    assert client.items() == [(b"new", b"1")]
    asked = 2 if model.DIALECT.subtrees else 1
    assert {len(request) - 1 for request in guide.requests} == {asked}


# Other forms


def test_m_3_model_three_in_five_frames(service):
    """M-3, R12-1: as the Guide's second pair of programs of model three has them."""
    dialect = dataclasses.replace(model3.DIALECT, form=FULL)
    server = serve(service, model3, dialect=dialect)
    dealer, publisher = service.dealer(), push(service)
    publisher.send(b"key", ZERO, UUID, b"", b"body")
    service.loop.run_pending()
    dealer.send(b"ICANHAZ?")
    service.loop.run_pending()
    number = encode_sequence(server.protocol.sequence)
    assert dealer.arrived[0] == [b"key", number, UUID, b"", b"body"]
    assert len(dealer.arrived[1]) == 5


@each(model2, model3, model4)
def test_kv_5_four_bytes_on_request(service, model):
    """KV-5: the sequences of the Guide's kvsimple in Python."""
    dialect = dataclasses.replace(model.DIALECT, form=SimpleForm(4))
    server = serve(service, model, dialect=dialect)
    server.set(b"first", b"1")
    client = join(service, model, dialect=dialect)
    subscriber = service.subscriber()
    service.loop.run_pending()
    server.set(b"second", b"2")
    service.loop.run_pending()
    assert numbered(subscriber.arrived) == [(b"second", bytes([0, 0, 0, 2]), b"2")]
    assert client.items() == [(b"first", b"1"), (b"second", b"2")]
    service.loop.advance(5.0)
    beats = [frames for frames in subscriber.arrived if frames[0] == b"HUGZ"]
    assert {tuple(beat) for beat in beats} == {(b"HUGZ", bytes(4), b"")}
    assert (client.state, client.protocol.statistics().losses) == (ClientState.LIVE, 0)


# Ports


@pytest.mark.parametrize(
    ("model", "ports"), [(model1, 1), (model2, 2), (model3, 3)], ids=["1", "2", "3"]
)
def test_m_20_a_server_binds_to_loopback_at_the_guides_ports(service, model, ports):
    """M-20: tcp://* is for who asks for it; and what is closed can be bound again at once."""
    server = serve(service, model)
    endpoints = sorted(
        {each.stream.endpoint for each in server.handlers if hasattr(each, "stream")}
    )
    assert endpoints == [f"tcp://127.0.0.1:{5556 + offset}" for offset in range(ports)]
    service.stop(server)
    assert serve(service, model).endpoint == "tcp://127.0.0.1:5556"


@pytest.mark.parametrize("taken", [5556, 5557, 5558])
def test_a_port_that_is_taken_is_an_error_and_leaves_nothing_open(service, taken):
    service.reactor().open_stream(zmq.PULL, f"@tcp://127.0.0.1:{taken}")
    with pytest.raises(EndpointError):
        serve(service, model3)


def test_m_20_port_0_finds_ports_in_a_row(service):
    """M-20: tests need no fixed ports."""
    servers = [serve(service, model3, name=f"server-{n}", port=0) for n in range(3)]
    ports = [int(server.endpoint.rpartition(":")[2]) for server in servers]
    assert len({port + offset for port in ports for offset in range(3)}) == 9


# Model six


def test_the_pair_of_model_six_is_at_the_guides_ports(service):
    injected = {"make_uuid": service.make_uuid, "wall_clock": lambda: 1_800_000_000}
    primary = service.run(model6.primary(**injected), "primary")
    backup = service.run(model6.backup(**injected), "backup")
    service.loop.run_until(lambda: states(primary, backup) == [State.ACTIVE, State.PASSIVE])
    for port in (*range(5556, 5559), *range(5566, 5569), 5003, 5004):
        with pytest.raises(EndpointError):
            service.reactor().open_stream(zmq.PUB, f"@tcp://127.0.0.1:{port}")
    servers = ["tcp://127.0.0.1:5556", "tcp://127.0.0.1:5566"]
    client = service.run(model6.Client(servers, jitter=lambda: 0.5), "client")
    service.live(client)
    sequence = service.wait(client.set(b"key", b"body"))
    service.kill(primary)
    assert service.wait(client.set(b"key", b"again")) > sequence
    assert contents(backup) == {b"key": b"again"}


def test_a_dialect_has_a_collector_that_can_be_one():
    with pytest.raises(ValueError, match="SUB or a PULL"):
        dataclasses.replace(model3.DIALECT, collector=zmq.REP)
    with pytest.raises(ValueError, match="4"):
        SimpleForm(5)


def test_a_model_with_a_collector_needs_the_type_of_one(service):
    with pytest.raises(ValueError, match="name a collector"):
        serve(service, model3, dialect=dataclasses.replace(model3.DIALECT, collector=None))


def test_in_four_bytes_travels_the_counter_alone():
    frames = (b"k", encode_sequence(make_sequence(7, 5)), b"", b"", b"x")
    assert SimpleForm(4).encode(frames) == (b"k", b"\0\0\0\5", b"x")
    assert sequence_of(SIMPLE.encode(frames)) == make_sequence(7, 5)
