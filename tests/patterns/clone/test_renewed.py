"""A new epoch in the middle of an activity: who follows has missed nothing, and is told so."""

import itertools

import pytest

from patterns.binary_star.messages import State
from patterns.clone.messages import (
    MAX_COUNTER,
    NO_SEQUENCE,
    MalformedMessage,
    counter_of,
    encode_sequence,
    epoch_of,
    make_sequence,
)
from patterns.clone.peer_link import (
    Renewed,
    decode_renewed,
    encode_held,
    encode_hello,
    encode_renewed,
)
from patterns.clone.replication import Replication, ReplicationPolicy
from patterns.clone.server_protocol import OutOfSync, ServerProtocol, ServerState

from .linked import answer_hello, deliver, hear, send_entries
from .services import contents, states

OR_REFUSE = ReplicationPolicy("replicated", refuses=True)


def server(policy=OR_REFUSE):
    uuids = (b"%016d" % number for number in itertools.count(1))
    return ServerProtocol(make_uuid=lambda: next(uuids), replication=Replication(policy))


def pair():
    """An active server and a passive one that keeps up, at 0.5 s."""
    active, passive = server(), server()
    active.become_active(0.0)
    passive.become_passive(0.5)
    answer_hello(active, passive, 0, 0.5)
    follow(active, passive, 0.5)
    assert active.replication.in_sync
    return active, passive


def follow(active, passive, now):
    """Let the passive server hear all, and answer; what both make of it."""
    effects = deliver(active, passive, now)
    held = encode_held(passive.sequence, passive.question)
    return effects + active.receive_from_passive(b"peer", held, now)


def write(active, key, now):
    return active.order_update((key, NO_SEQUENCE, key * 16, b"", b"1"), now)


def renew(protocol, now):
    """It has counted half of what an epoch holds."""
    protocol.store.sequence = make_sequence(epoch_of(protocol.sequence), MAX_COUNTER // 2 + 1)
    return protocol.tick(now)


def test_i11_a_counter_that_is_renewed_leaves_the_passive_server_fit_to_take_over():
    active, passive = pair()
    passive.store.sequence = make_sequence(1, MAX_COUNTER // 2 + 1)
    renew(active, 1.0)
    assert write(active, b"a", 1.0) is None
    effects = follow(active, passive, 1.1)
    assert not [each for each in effects if isinstance(each, OutOfSync)]
    assert passive.state is ServerState.PASSIVE and active.replication.in_sync
    assert (counter_of(passive.sequence), passive.sequence) == (1, active.sequence)
    passive.become_active(2.0)
    assert contents_of(passive) == [b"a"]


def test_i11_what_a_client_has_seen_elsewhere_leaves_it_so_too():
    active, passive = pair()
    active.receive_epoch(7, 1.0)
    follow(active, passive, 1.1)
    assert passive.state is ServerState.PASSIVE and active.replication.in_sync
    assert passive.sequence == active.sequence == make_sequence(8, 0)


def test_an_active_server_that_is_ordered_to_lead_takes_its_passive_one_along():
    active, passive = pair()
    active.become_active(1.0, epoch=5)
    follow(active, passive, 1.1)
    assert passive.state is ServerState.PASSIVE
    assert passive.sequence == active.sequence == make_sequence(5, 0)


def test_f30_who_misses_an_update_before_it_has_a_hole():
    active, passive = pair()
    write(active, b"a", 1.0)
    active.replication.next_message()
    active.replication.message_sent()  # and lost
    active.receive_epoch(7, 1.0)
    assert OutOfSync() in deliver(active, passive, 1.1)
    assert passive.state is ServerState.SYNCING


def test_who_holds_something_else_takes_no_number_for_its_own():
    _, passive = pair()
    passive.store.sequence = make_sequence(1, 3)
    hear(passive, encode_renewed(Renewed(make_sequence(1, 2), make_sequence(4, 0))), 1.0)
    assert passive.sequence == make_sequence(1, 3)
    assert passive.statistics().replicas_discarded == 1


def test_it_keeps_its_place_among_what_is_appended_to_a_snapshot():
    active, passive = server(ReplicationPolicy()), server()
    active.become_active(0.0)
    write(active, b"a", 0.1)
    passive.become_passive(0.5)
    (snapshot,) = active.receive_from_passive(b"peer", encode_hello(0, 0), 0.5)
    write(active, b"b", 0.6)
    active.receive_epoch(7, 0.6)
    write(active, b"c", 0.6)
    deliver(active, passive, 0.7)  # overtakes the snapshot
    assert passive.state is ServerState.SYNCING
    send_entries(passive, snapshot.entries, 0.8)
    hear(passive, snapshot.end, 0.8)
    assert passive.state is ServerState.PASSIVE
    assert passive.sequence == active.sequence == make_sequence(8, 3)
    assert contents_of(passive) == [b"a", b"b", b"c"]


@pytest.mark.parametrize(
    "frames",
    [
        (b"RENEWED",),
        (b"RENEWED", bytes(8)),
        (b"RENEWED", bytes(8), bytes(8)),
        (b"RENEWED", encode_sequence(2), encode_sequence(1)),
        (b"RENEWED", encode_sequence(1), encode_sequence(-1)),
        (b"RENEWED", encode_sequence(1), encode_sequence(2), b""),
    ],
)
def test_f33_what_is_malformed_is_refused(frames):
    with pytest.raises(MalformedMessage):
        decode_renewed(frames)


def test_no_write_that_is_to_be_replicated_fails_when_the_counter_is_renewed(service):
    policy = ReplicationPolicy(refuses=True)
    primary, backup = service.pair(replication=policy)
    client = service.live(service.client("tcp://127.0.0.1:5556", "tcp://127.0.0.1:5566"))
    service.loop.run_until(lambda: primary.protocol.replication.in_sync)
    near = make_sequence(epoch_of(primary.protocol.sequence), MAX_COUNTER // 2 - 10)
    primary.protocol.store.sequence = backup.protocol.store.sequence = near
    epoch = epoch_of(near)
    for number in range(30):
        service.wait(client.set(f"key-{number}", "1", ack="replicated"))
        service.loop.advance(0.1)
    assert epoch_of(primary.protocol.sequence) == epoch + 2
    assert states(primary, backup) == [State.ACTIVE, State.PASSIVE]
    assert contents(primary) == contents(backup) and len(contents(backup)) == 30
    assert backup.protocol.statistics().resyncs == 0
    assert primary.protocol.statistics().unreplicated == 0


def contents_of(protocol):
    return sorted(protocol.store)
