"""Compare-and-set: negotiated, decided once, and still right after a failover."""

import asyncio
import itertools
import random

import pytest

from patterns.binary_star.messages import State
from patterns.clone.client import ConditionsUnsupported, WriteError
from patterns.clone.client_protocol import SendUpdate, WriteAcknowledged, WriteFailed
from patterns.clone.conditions import Condition, Deletions, decode_condition, without_condition
from patterns.clone.messages import (
    KVMessage,
    MalformedMessage,
    decode_refusal,
    decode_snapshot_end,
    encode_sequence,
    sequence_of,
    snapshot_end,
)
from patterns.clone.outbox import Outbox
from patterns.clone.server_protocol import ServerProtocol
from patterns.clone.store import KeyValueStore

from .linked import answer_hello, append
from .services import BACKUP, PRIMARY, contents, states, update
from .test_client_protocol import Joined, hugz, kvpub, seq

_uuids = itertools.count(1)


def uuid():
    return next(_uuids).to_bytes(16, "big")


def entry(sequence, its_uuid=b"", body=b"x"):
    return (b"/a", encode_sequence(sequence), its_uuid, b"", body)


# The condition


@pytest.mark.parametrize(
    ("condition", "there", "holds"),
    [
        (Condition(0), None, True),
        (Condition(0), entry(5), False),
        (Condition(5), entry(5), True),
        (Condition(5), entry(6), False),
        (Condition(5), None, False),
        (Condition(5, b"u" * 16), entry(7, b"u" * 16), True),
        (Condition(5, b"u" * 16), entry(7, b"v" * 16), False),
        (Condition(5, b"u" * 16), None, False),
        (Condition(5), entry(7), False),  # a write without uuid is nobody's
    ],
)
def test_a_condition_is_a_number_or_a_uuid(condition, there, holds):
    assert condition.holds(there) is holds


def test_a_condition_survives_the_wire_and_is_taken_off_the_value():
    condition = Condition(7, b"u" * 16)
    frame = b"ttl=5\n" + b"".join(
        f"{name}={value}\n".encode() for name, value in condition.properties().items()
    )
    assert decode_condition(frame) == condition
    assert without_condition(frame) == b"ttl=5\n"
    assert decode_condition(b"ttl=5\n") is None
    assert decode_condition(b"x-if-sequence=5\n") is None


@pytest.mark.parametrize(
    "frame",
    [b"if-sequence=\n", b"if-sequence=-1\n", b"if-sequence=x\n", b"if-sequence=1\nif-uuid=ab\n"]
    + [b"if-sequence=1\nif-uuid=" + b"g" * 32 + b"\n"],
)
def test_a_malformed_condition_changes_nothing(frame):
    with pytest.raises(MalformedMessage):
        decode_condition(frame)
    server = Server()
    with pytest.raises(MalformedMessage):
        server.set(b"1", frame)
    assert len(server.protocol.store) == 0


def test_a_client_that_holds_the_entry_names_its_uuid_too():
    held = entry(5, b"u" * 16)
    assert Condition.of(5, held) == Condition(5, b"u" * 16)
    assert Condition.of(4, held) == Condition(4)
    assert Condition.of(0, None) == Condition(0)


# The server


class Server:
    """An active server, told to set or delete /a."""

    def __init__(self, **arguments):
        self.protocol = ServerProtocol(make_uuid=uuid, **arguments)
        self.protocol.become_active(0.0)

    def set(self, body, properties=b"", its_uuid=None, now=1.0):
        """The sequence that a write got, or the reason of its refusal."""
        frames = KVMessage(b"/a", 0, its_uuid or uuid(), properties, body).encode()
        published = self.protocol.order_update(frames, now)
        assert published is not None
        return decode_refusal(published) or sequence_of(published)

    @property
    def value(self):
        there = self.protocol.store.get(b"/a")
        return there and there[4]


def given(sequence):
    return b"if-sequence=%d\n" % sequence


def test_compare_and_set():
    server = Server()
    first = server.set(b"1")
    second = server.set(b"2", given(first))
    assert server.set(b"3", given(first)) == "conflict"
    assert server.value == b"2"
    assert server.set(b"4", given(second)) > second
    assert server.protocol.statistics().conflicts == 1


def test_create_if_absent():
    server = Server()
    first = server.set(b"1", given(0))
    assert server.set(b"2", given(0)) == "conflict"
    server.set(b"", given(first))
    assert server.value is None
    assert server.set(b"3", given(0)) > first


def test_delete_if():
    server = Server()
    first = server.set(b"1")
    server.set(b"2")
    assert server.set(b"", given(first)) == "conflict"
    assert server.value == b"2"


def test_an_expired_key_is_absent():
    server = Server()
    server.set(b"1", b"ttl=1\n", now=1.0)
    server.protocol.tick(2.0)
    assert isinstance(server.set(b"2", given(0), now=2.0), int)


def test_the_condition_is_not_stored_or_published():
    """A client that joins later, or a Guide's, sees the value as anybody's."""
    server = Server()
    published = server.protocol.order_update(
        KVMessage(b"/a", 0, uuid(), b"ttl=5\nif-sequence=0\n", b"1").encode(), 1.0
    )
    assert published is not None and published[3] == b"ttl=5\n"
    assert server.protocol.store.get(b"/a")[3] == b"ttl=5\n"


def test_the_first_result_stands_whenever_a_copy_arrives():
    server = Server()
    refused, applied = uuid(), uuid()
    first = server.set(b"1")
    assert server.set(b"2", given(0), refused) == "conflict"
    server.set(b"", given(first))  # now the condition would hold
    assert server.set(b"2", given(0), refused) == "conflict"
    assert server.value is None
    second = server.set(b"3", given(0), applied)
    assert server.set(b"3", given(0), applied) == second  # and now it would not


def test_a_write_refused_for_want_of_room_is_not_applied_later():
    server = Server(make_store=lambda: KeyValueStore(max_keys=1))
    server.protocol.receive_update(KVMessage(b"/other", 0, uuid(), b"", b"1").encode(), 1.0)
    its_uuid = uuid()
    assert server.set(b"1", b"", its_uuid) == "full"
    server.protocol.receive_update(KVMessage(b"/other", 0, uuid()).encode(), 1.0)
    assert server.set(b"1", b"", its_uuid) == "full"


def test_it_says_that_it_knows_conditions():
    server = Server()
    (snapshot,) = server.protocol.receive_snapshot_request(b"id", b"", 1.0)
    end = decode_snapshot_end(snapshot.end)
    assert "cas" in end.features and end.extended


def test_features_count_only_from_a_server_that_says_chpx():
    assert decode_snapshot_end(snapshot_end(1, b"", b"feat=cas\n")).features == frozenset()
    end = decode_snapshot_end(snapshot_end(1, b"", b"chpx=1\nfeat=cas,,x\n"))
    assert end.features == {"cas", "x"}


# The pair


class Pair:
    """An active and a passive server; the client's copy reaches either when it is told to."""

    def __init__(self):
        self.active, self.passive = Server(), ServerProtocol(make_uuid=uuid)
        self.passive.become_passive(0.0)
        answer_hello(self.active.protocol, self.passive, 0, 0.0)

    def set(self, body, properties=b"", its_uuid=None, replicated=True):
        frames = KVMessage(b"/a", 0, its_uuid or uuid(), properties, body).encode()
        self.passive.receive_update(frames, 1.0)
        published = self.active.protocol.order_update(frames, 1.0)
        assert published is not None
        if replicated:
            append(self.passive, published, now=1.0)
        return decode_refusal(published) or sequence_of(published)

    def fail_over(self):
        """What the passive one publishes when it takes over, and its value of /a."""
        effects = self.passive.become_active(2.0)
        there = self.passive.store.get(b"/a")
        return [each.frames for each in effects if each.frames[2]], there and there[4]


def test_what_waits_is_compared_again_at_the_promotion():
    pair = Pair()
    first = pair.set(b"1")
    pair.passive.receive_update(  # only to the passive: its writer has no answer yet
        KVMessage(b"/a", 0, uuid(), given(first), b"mine").encode(), 1.0
    )
    pair.passive.receive_update(
        KVMessage(b"/a", 0, uuid(), given(first), b"too late").encode(), 1.0
    )
    published, value = pair.fail_over()
    assert value == b"mine"
    assert [decode_refusal(frames) for frames in published] == ["", "conflict"]


def test_f13_what_the_active_has_refused_is_not_applied_at_the_promotion():
    pair = Pair()
    first = pair.set(b"1")
    assert pair.set(b"2", given(0)) == "conflict"
    pair.set(b"", given(first))  # now the condition would hold
    assert pair.fail_over() == ([], None)


@pytest.mark.parametrize("copy_first", [True, False])
def test_a_refusal_and_the_copy_of_its_write_may_come_in_any_order(copy_first):
    pair = Pair()
    refused = uuid()
    pair.set(b"1")
    frames = KVMessage(b"/a", 0, refused, given(0), b"2").encode()
    published = pair.active.protocol.order_update(frames, 1.0)
    assert published is not None
    steps = [
        lambda: pair.passive.receive_update(frames, 1.0),
        lambda: append(pair.passive, published, now=1.0),
    ]
    for step in steps if copy_first else reversed(steps):
        step()
    assert pair.passive.statistics().pending == 0
    pair.passive.become_active(2.0)
    again = pair.passive.order_update(frames, 2.0)
    assert again is not None and decode_refusal(again) == "conflict"


def test_a_chain_of_acknowledged_writes_survives_though_its_numbers_change():
    """Neither was replicated: the new active gives both new numbers, the uuids are the same."""
    pair = Pair()
    one, two = uuid(), uuid()
    first = pair.set(b"1", given(0), one, replicated=False)
    condition = given(first) + b"if-uuid=" + one.hex().encode() + b"\n"
    assert isinstance(pair.set(b"2", condition, two, replicated=False), int)
    published, value = pair.fail_over()
    assert [frames[2] for frames in published] == [one, two]
    assert value == b"2"


def chained(first, condition):
    """A write of a client that had seen the entry `first` under this number."""
    return given(condition) + b"if-uuid=" + first.hex().encode() + b"\n"


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_a_chain_survives_in_whatever_order_its_copies_came(order):
    """Each is another client's; the active answered all of them, and the passive heard of none."""
    pair = Pair()
    one, two, three = uuid(), uuid(), uuid()
    number = pair.active.protocol.sequence
    properties = [given(0), chained(one, number + 1), chained(two, number + 2)]
    writes = [
        KVMessage(b"/a", 0, name, frame, body).encode()
        for name, frame, body in zip((one, two, three), properties, (b"1", b"2", b"3"), strict=True)
    ]
    for frames in writes:
        published = pair.active.protocol.order_update(frames, 1.0)
        assert published is not None and not decode_refusal(published)
    for position in order:
        pair.passive.receive_update(writes[position], 1.0)
    published, value = pair.fail_over()
    assert [frames[2] for frames in published] == [one, two, three]
    assert value == b"3"


def test_a_publication_drops_no_earlier_copy_that_has_a_condition():
    """It may be the answer to the one published: that one's copy came late."""
    pair = Pair()
    one, two = uuid(), uuid()
    number = pair.active.protocol.sequence
    first = KVMessage(b"/a", 0, one, given(0), b"1").encode()
    second = KVMessage(b"/a", 0, two, chained(one, number + 1), b"2").encode()
    published = pair.active.protocol.order_update(first, 1.0)
    pair.passive.receive_update(second, 1.0)
    pair.passive.receive_update(first, 1.0)
    append(pair.passive, published, now=1.0)  # and the second one's is lost
    assert pair.fail_over()[1] == b"2"
    pair = Pair()
    published = pair.active.protocol.order_update(first, 1.0)
    pair.passive.receive_update(second, 1.0)
    append(pair.passive, published, now=1.0)
    pair.passive.receive_update(first, 1.0)
    assert pair.fail_over()[1] == b"2"


def test_what_nothing_leads_to_is_refused_at_the_promotion():
    pair = Pair()
    for properties in (given(7), chained(uuid(), 8), given(9)):
        pair.passive.receive_update(KVMessage(b"/a", 0, uuid(), properties, b"1").encode(), 1.0)
    published, value = pair.fail_over()
    assert [decode_refusal(frames) for frames in published] == ["conflict"] * 3
    assert value is None


def test_a_create_waits_for_the_deletion_that_it_builds_on():
    pair = Pair()
    first = pair.set(b"1")
    deletion = uuid()
    create = KVMessage(b"/a", 0, uuid(), chained(deletion, 0), b"2")
    pair.passive.receive_update(create.encode(), 1.0)
    pair.passive.receive_update(KVMessage(b"/a", 0, deletion, given(first), b"").encode(), 1.0)
    assert pair.fail_over()[1] == b"2"


@pytest.mark.parametrize("seen", [b"", b"s" * 16])
def test_a_create_that_was_refused_does_not_wait_for_its_writers_next_deletion(seen):
    """I8: the link was cut, so the passive server had not heard of the refusal; seed 10000548."""
    pair = Pair()
    pair.set(b"1", replicated=False)
    condition = chained(seen, 0) if seen else given(0)
    assert pair.set(b"2", condition, replicated=False) == "conflict"
    pair.set(b"", replicated=False)
    published, value = pair.fail_over()
    assert [decode_refusal(frames) for frames in published] == ["", "conflict", ""]
    assert value is None


def test_a_write_does_not_wait_beyond_its_writers_next_one():
    """I8: the copies of three writers are read in turn after a pause; seed 10006369."""
    pair = Pair()
    one, two = uuid(), uuid()
    swap, last = uuid(), uuid()
    for frames in (
        KVMessage(b"/a", 0, swap, chained(two, 2), b"swapped"),
        KVMessage(b"/a", 0, one, b"", b"1"),
        KVMessage(b"/a", 0, last, b"", b""),  # sent when the swap had been answered
        KVMessage(b"/a", 0, two, b"", b"2"),
    ):
        pair.passive.receive_update(frames.encode(), 1.0)
    published, _ = pair.fail_over()
    assert [frames[2] for frames in published] == [swap, one, last, two]
    assert decode_refusal(published[0]) == "conflict"


# The client


class Client(Joined):
    """A client that is live on a server with these features, which listens."""

    def __init__(self, features=b"chpx=1\nfeat=cas\n", **arguments):
        self.features = features
        super().__init__(**arguments)
        self.protocol.receive_writable(0, 0.0)

    def join(self, entries, sequence, now):
        (request,) = self.hear(hugz(sequence), now)
        end = snapshot_end(sequence, b"", self.features)
        return self.protocol.receive_snapshot(end, request.request, now)

    def set(self, if_sequence, body=b"1", now=1.0, key=b"/a"):
        its_uuid = uuid()
        return its_uuid, self.protocol.set(
            key, body, uuid=its_uuid, now=now, if_sequence=if_sequence
        )


def conditions(effects):
    return [decode_condition(each.frames[3]) for each in effects if isinstance(each, SendUpdate)]


def test_a_condition_names_the_number_and_the_uuid_that_the_client_saw():
    client = Client()
    client.hear(kvpub(seq(1), b"/a", b"1", b"", b"u" * 16), 0.5)
    assert conditions(client.set(seq(1))[1]) == [Condition(seq(1), b"u" * 16)]


def test_a_create_names_the_deletion_that_the_client_saw():
    client = Client()
    client.hear(kvpub(seq(1), b"/a", b"1", b"", b"u" * 16), 0.5)
    assert conditions(client.set(0)[1]) == [Condition(0)]  # refused, whatever comes next
    client = Client()
    client.hear(kvpub(seq(1), b"/a", b"", b"", b"d" * 16), 0.5)
    assert conditions(client.set(0)[1]) == [Condition(0, b"d" * 16)]
    assert conditions(client.set(0, key=b"/b")[1]) == [Condition(0)]


def test_of_the_deletions_the_newest_are_known():
    deletions = Deletions(limit=2)
    for key, its_uuid in ((b"/a", b"1"), (b"/b", b"2"), (b"/a", b"3"), (b"/c", b"4")):
        deletions.remember(key, its_uuid)
    assert [deletions.get(key) for key in (b"/a", b"/b", b"/c")] == [b"3", b"", b"4"]


def test_a_server_without_it_is_an_error_at_once():
    client = Client(features=b"")
    with pytest.raises(ConditionsUnsupported):
        client.set(0)
    with pytest.raises(ConditionsUnsupported):
        client.protocol.delete(b"/a", uuid=uuid(), now=1.0, if_sequence=1)
    assert client.protocol.statistics().unacknowledged == 0


def test_before_any_server_has_told_its_features_nothing_with_a_condition_leaves():
    client = Client()
    joining = Client.__new__(Client)
    joining.protocol = type(client.protocol)(jitter=lambda: 0.0)
    joining.subscription = joining.protocol.start(0.0)[0].subscription
    joining.protocol.receive_writable(0, 0.0)
    joining.features = client.features
    its_uuid, effects = joining.set(0)
    assert effects == [] and joining.protocol.receive_writable(0, 1.1) == []
    assert conditions(joining.join([], seq(3), 1.2)) == [Condition(0)]
    assert its_uuid


def test_a_write_that_waited_for_a_server_without_it_fails():
    joining = Client.__new__(Client)
    joining.protocol = type(Client().protocol)(jitter=lambda: 0.0)
    joining.subscription = joining.protocol.start(0.0)[0].subscription
    joining.protocol.receive_writable(0, 0.0)
    joining.features = b""
    first, _ = joining.set(0)
    plain = uuid()
    assert joining.protocol.set(b"/a", b"2", uuid=plain, now=1.0) == []  # it waits for its turn
    second, _ = joining.set(0)
    effects = joining.join([], seq(3), 1.2)
    failed = [each for each in effects if isinstance(each, WriteFailed)]
    assert failed == [WriteFailed(first, "unsupported"), WriteFailed(second, "unsupported")]
    assert {each.frames[2] for each in effects if isinstance(each, SendUpdate)} == {plain}


def test_each_write_with_a_condition_has_an_answer_of_its_own():
    """Nobody's place is taken: the writer of the second must not hear the third's result."""
    client = Client()
    uuids = [client.set(None, b"1")[0], client.set(5)[0], client.set(6)[0]]
    plain = client.set(None, b"4")[0]
    newest = client.set(None, b"5")[0]
    results = []
    for number, its_uuid in enumerate([*uuids, newest], 1):
        frames = kvpub(seq(number), b"/a", b"x", b"", its_uuid)
        results.append([e for e in client.hear(frames, 2.0) if isinstance(e, WriteAcknowledged)])
    assert [[each.uuid for each in result] for result in results] == [
        *([each] for each in uuids),
        [plain, newest],
    ]


def test_a_time_of_its_own():
    outbox = Outbox(timeout=30.0)
    outbox.add(KVMessage(b"/a", 0, b"l" * 16).encode(), 0.0)
    outbox.add(KVMessage(b"/b", 0, b"s" * 16).encode(), 0.0, timeout=2.0)
    assert outbox.expire(1.9) == ([], [])
    assert outbox.expire(2.0) == ([b"s" * 16], [])
    assert outbox.expire(29.9) == ([], [])
    assert outbox.expire(30.0) == ([b"l" * 16], [])


def test_what_is_given_up_in_the_same_go_is_not_sent():
    outbox = Outbox(timeout=5.0)
    outbox.features = needs = frozenset({"cas"})
    for name in (b"a" * 16, b"b" * 16):
        outbox.add(KVMessage(b"/a", 0, name).encode(), 0.0, needs=needs, alone=True)
    assert outbox.expire(5.0) == ([b"a" * 16, b"b" * 16], [])


@pytest.mark.parametrize("if_sequence", [-1, -(1 << 70)])
def test_a_negative_number_is_an_error_of_the_caller(if_sequence):
    with pytest.raises(ValueError):
        Client().set(if_sequence)


# On the network


def test_a_conflict_reaches_the_caller_when_its_map_shows_why(service):
    service.server()
    client, other = (service.live(service.client(name=name)) for name in ("one", "two"))
    sequence = service.wait(client.set("key", "1"))
    assert client.entry("key") == (b"1", sequence)
    service.wait(other.set("key", "2"))
    with pytest.raises(WriteError) as failure:
        service.wait(client.set("key", "3", if_sequence=sequence))
    assert (failure.value.reason, failure.value.key) == ("conflict", b"key")
    value, sequence = client.entry("key")
    assert value == b"2"
    service.wait(client.set("key", "3", if_sequence=sequence))
    service.wait(client.delete("key", if_sequence=client.entry("key").sequence))
    assert client.entry("key") == (None, 0)


def test_one_of_many_creates(service):
    server = service.server()
    clients = [service.live(service.client(name=f"client-{n}")) for n in range(5)]
    futures = [client.create("leader", str(n)) for n, client in enumerate(clients)]

    async def gather():
        return await asyncio.gather(*futures, return_exceptions=True)

    results = service.wait(gather())
    winners = [n for n, result in enumerate(results) if isinstance(result, int)]
    assert len(winners) == 1
    assert [str(r) for r in results if not isinstance(r, int)] == [
        "write of b'leader' not done: conflict"
    ] * 4
    assert contents(server) == {b"leader": str(winners[0]).encode()}


def increment(value):
    return str(int(value or b"0") + 1)


def test_no_increment_is_lost_among_those_who_count(service):
    server = service.server()
    clients = [service.live(service.client(name=f"client-{n}")) for n in range(4)]

    async def count():
        await asyncio.gather(
            *(client.update("counter", increment) for client in clients for _ in range(25))
        )

    service.wait(count())
    assert contents(server) == {b"counter": b"100"}
    refused = server.protocol.statistics().conflicts
    assert refused > 0
    figures = server.describe()  # there, a conflict is that both of a pair were active
    assert (figures["conditions_refused"], figures.get("conflicts", 0)) == (refused, 0)
    assert service.wait(clients[0].update("counter", lambda _: None)) is None
    assert contents(server) == {}


def test_no_increment_is_lost_in_a_failover(service):
    primary, backup = service.pair()
    clients = [service.client(PRIMARY, BACKUP, name=f"client-{n}") for n in range(3)]
    for client in clients:
        service.live(client)
    done = []

    async def count(client):
        for _ in range(40):
            await client.update("counter", increment)
            done.append(client)
            await asyncio.sleep(0.01)

    tasks = [service.loop.create_task(count(client)) for client in clients]
    service.loop.run_until(lambda: len(done) > 30)
    service.kill(primary)
    for task in tasks:
        service.wait(task)
    # What the primary had answered and the backup had not heard of is counted by its own copy.
    assert int(contents(backup)[b"counter"]) == 120


@pytest.mark.parametrize("seed", range(6))
def test_no_increment_is_lost_or_done_twice_whatever_is_dropped(service, seed):
    """Updates, publications and refusals get lost in every direction, then the primary dies."""
    chance = random.Random(seed)
    primary, backup = service.pair()
    clients = [service.client(PRIMARY, BACKUP, name=f"client-{n}") for n in range(3)]
    for client in clients:
        service.live(client)

    def unlucky(frames):
        return frames[0] == b"counter" and chance.random() < 0.15

    losses = [
        service.network.drop(unlucky, *link)
        for link in (("primary.publisher",), ("client-0", "primary"), ("client-1", "backup"))
    ]

    async def count(client):
        for _ in range(30):
            await client.update("counter", increment, timeout=300.0)
            await asyncio.sleep(chance.random() / 10)

    tasks = [service.loop.create_task(count(client)) for client in clients]
    service.loop.advance(20.0)
    for loss in losses:
        loss.cancel()
    service.loop.run_until(lambda: states(primary, backup) == [State.ACTIVE, State.PASSIVE])
    service.loop.advance(2.0)
    service.kill(primary)
    for task in tasks:
        service.wait(task, timeout=300.0)
    assert contents(backup)[b"counter"] == b"90", f"seed {seed}"
    assert sum(loss.dropped for loss in losses) > 5


def test_a_refusal_that_is_lost_is_given_again(service):
    server = service.server()
    client = service.live(service.client())
    service.wait(client.set("key", "1"))
    loss = service.network.drop(
        lambda frames: frames[3].startswith(b"refused="), "server.publisher"
    )
    future = client.create("key", "2")
    service.loop.advance(1.0)
    assert not future.done()
    loss.cancel()
    with pytest.raises(WriteError, match="conflict"):
        service.wait(future)
    assert server.protocol.statistics().conflicts == 1


def test_a_guide_peer_hears_nothing_new(service):
    """A writer without conditions and a plain subscriber work as before beside those with them."""
    service.server()
    client = service.live(service.client())
    peer = service.subscriber(b"")
    service.writer().send(*update(b"key", b"1"))
    service.loop.run_pending()
    service.wait(client.set("key", "2", if_sequence=client.entry("key").sequence))
    with pytest.raises(WriteError):
        service.wait(client.create("key", "3"))
    service.loop.run_pending()
    numbers = [frames for frames in peer.arrived if frames[0] == b"key"]
    assert [(len(frames), frames[4]) for frames in numbers] == [(5, b"1"), (5, b"2"), (5, b"")]
    # The refusal has number zero, which no client of the Guide takes for news.
    assert numbers[2][1] == bytes(8) and all(frames[3] == b"" for frames in numbers[:2])


def test_a_write_with_a_time_of_its_own_is_given_up_at_that_instant(service):
    client = service.client()
    service.loop.advance(1.0)
    future = client.set("key", "1", timeout=0.125)
    service.loop.advance(0.125)
    with pytest.raises(WriteError, match="timeout"):
        future.result()
