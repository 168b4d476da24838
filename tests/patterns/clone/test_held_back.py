"""What the hammer found of updates that wait for the passive server, each as short as it gets."""

from itertools import count

import pytest

from patterns.clone import ordering
from patterns.clone.duplicates import DuplicateFilter
from patterns.clone.levels import decode_level, with_level
from patterns.clone.messages import (
    NO_SEQUENCE,
    decode_refusal,
    encode_sequence,
    epoch_of,
    make_sequence,
    sequence_of,
)
from patterns.clone.peer_link import encode_held, encode_hello
from patterns.clone.replication import Replication, ReplicationPolicy
from patterns.clone.server_protocol import Publish, ServerProtocol, ServerState

from .linked import answer_hello, deliver, send_snapshot

UUID = b"u" * 16


def server(level="applied", **policy):
    numbers = count(1)
    return ServerProtocol(
        make_uuid=lambda: b"%016d" % next(numbers),
        replication=Replication(ReplicationPolicy(level, **policy)),
    )


def pair(level="applied", **policy):
    """An active server and a passive one that keeps up, over a link, at 1 s."""
    active, passive = server(level, **policy), server(level, **policy)
    active.become_active(0.0)
    passive.become_passive(0.5)
    answer_hello(active, passive, 0, 0.5)
    confirm(active, passive, 0.5)
    assert active.replication.in_sync
    return active, passive


def confirm(active, passive, now):
    """What the passive server holds, told."""
    deliver(active, passive, now)
    held = encode_held(passive.sequence, passive.question)
    return active.receive_from_passive(b"peer", held, now)


def kvset(key=b"k", body=b"1", uuid=UUID, properties=b"", level=None):
    properties = properties if level is None else with_level(properties, level)
    return (key, NO_SEQUENCE, uuid, properties, body)


def published(effects):
    """The numbered updates among the effects."""
    frames = [each.frames for each in effects if isinstance(each, Publish)]
    return [each for each in frames if sequence_of(each)]


def test_where_all_is_held_back_an_expiry_is_held_back_as_well():
    active, passive = pair("replicated")
    active.receive_update(kvset(properties=b"ttl=1\n"), 1.0)
    assert len(published(confirm(active, passive, 1.0))) == 1
    assert published(active.tick(2.5)) == []
    (expiry,) = published(confirm(active, passive, 2.5))
    assert (expiry[0], expiry[4]) == (b"k", b"")


def test_an_update_that_was_given_up_is_no_answer_to_its_writer():
    """A server that lost a conflict knows the uuids of what it gave up: they are not applied."""
    loser = server()
    loser.become_active(0.0)
    fork = loser.sequence
    loser.receive_update(kvset(), 1.0)
    loser.become_passive(2.0, fork)
    send_snapshot(loser, [], make_sequence(epoch_of(fork) + 1, 0), 2.0)
    assert loser.state is ServerState.PASSIVE
    loser.become_active(3.0)
    (answer,) = published(loser.receive_update(kvset(), 3.0))
    assert epoch_of(sequence_of(answer)) == epoch_of(loser.sequence)
    assert loser.store.get(b"k") is not None


def test_who_has_to_lead_without_a_copy_knows_what_is_in_its_map():
    """An operator's word: copies of its own updates must not be applied again (held-conflict)."""
    loser = server()
    loser.become_active(0.0)
    loser.receive_update(kvset(), 1.0)
    held = loser.sequence
    loser.become_passive(2.0, held - 1)
    loser.receive_update(kvset(), 2.5)
    loser.become_active(3.0, force=True)
    assert sequence_of(loser.store.get(b"k")) == held
    (answer,) = published(loser.receive_update(kvset(), 4.0))
    assert sequence_of(answer) == held


def test_what_was_answered_lately_is_known_behind_a_map_of_any_size():
    """The uuids of the map came last, and pushed out those of what is no more in it."""
    numbers = count(1)
    passive = ServerProtocol(
        make_uuid=lambda: b"%016d" % next(numbers), duplicates=DuplicateFilter(max_entries=8)
    )
    passive.become_passive(0.0)
    last = make_sequence(1, 99)
    told = (b"-", encode_sequence(last), UUID, b"", b"")
    entries = [
        (b"%d" % number, encode_sequence(make_sequence(1, number)), b"%016d" % number, b"", b"1")
        for number in range(1, 41)
    ]
    send_snapshot(passive, [told, *entries], last, 0.0)
    passive.receive_update(kvset(), 1.0)
    passive.become_active(2.0)
    assert passive.store.get(b"k") is None


def test_who_follows_knows_the_uuids_of_the_map_in_the_order_of_all_others(monkeypatch):
    """They came first, and so were the first that the next one was not told (chaos, seed 2030)."""
    monkeypatch.setattr(ordering, "_TOLD_LIMIT", 2)
    first, second, third = server(), server(), server()
    first.become_active(0.0)
    first.receive_update(kvset(uuid=b"a" * 16), 1.0)
    first.receive_update(kvset(), 1.0)
    second.become_passive(2.0)
    answer_hello(first, second, 0, 2.0)
    second.become_active(3.0)
    second.receive_update(kvset(uuid=b"z" * 16), 3.0)
    third.become_passive(4.0)
    answer_hello(second, third, 0, 4.0)
    third.receive_update(kvset(), 4.0)
    third.become_active(5.0)
    assert third.store.get(b"k")[2] == b"z" * 16


def test_what_was_refused_is_told_to_who_follows_from_then_on():
    """The late copy of a write that was refused is not applied at a failover."""
    active, passive = server(), server()
    active.become_active(0.0)
    active.receive_update(kvset(uuid=b"f" * 16), 0.5)
    active.receive_update(kvset(body=b"2", properties=b"if-sequence=0\n"), 1.0)
    passive.become_passive(2.0)
    for uuid in (b"n" * 16, UUID):  # what had come before for the key is not older for that
        passive.receive_update(kvset(uuid=uuid), 2.0)
    answer_hello(active, passive, 0, 2.0)
    passive.become_active(3.0)
    assert passive.store.get(b"k")[2] == b"n" * 16


def test_what_was_refused_while_there_was_no_link_is_told_when_there_is_one_again():
    """It misses no update, so no copy tells it (held, 30274)."""
    active, passive = pair(refuses=True)
    active.receive_link_lost(1.0)
    write = kvset(level="replicated")
    passive.receive_update(write, 1.0)
    (answer,) = [each.frames for each in active.receive_update(write, 1.0)]
    assert decode_refusal(answer) == "unreplicated"
    answer_hello(active, passive, passive.sequence, 2.0)
    passive.become_active(3.0)
    assert passive.store.get(b"k") is None


@pytest.mark.parametrize("noticed", [True, False], ids=["its link is lost", "it is silent"])
def test_what_a_passive_server_held_that_is_gone_is_on_one_server(noticed):
    """Its machine may lose its power without a word (mixed, 10017257)."""
    active, passive = pair()
    active.receive_update(kvset(level="replicated"), 1.0)
    (answer,) = published(confirm(active, passive, 1.0))
    assert decode_level(answer[3]) == "replicated"
    if noticed:
        active.receive_link_lost(2.0)
    else:
        active.tick(2.0)
        active.tick(3.1)
    (answer,) = published(active.receive_update(kvset(level="replicated"), 4.0))
    assert decode_level(answer[3]) == "applied"


@pytest.mark.parametrize("complete", [True, False])
def test_f9_who_began_with_nothing_sends_no_copy_to_who_holds_what_was_before(complete):
    """It would take the place of all there is; the two find out that the other one has to lead."""
    empty = server()
    empty.become_active(0.0, epoch=5)
    held = make_sequence(4, 9)
    hello = encode_hello(held if complete else 0, held)
    assert empty.receive_from_passive(b"peer", hello, 1.0) == []
    assert not empty.replication.peer
    assert empty.progress().fork_epoch == 5
    empty.receive_from_passive(b"peer", encode_hello(0, 0), 1.0)
    assert empty.replication.peer == b"peer"


def test_an_operator_may_have_a_server_lead_with_nothing():
    empty = server()
    empty.become_active(0.0, epoch=5, force=True)
    assert empty.progress().fork_epoch == 0
    empty.receive_from_passive(b"peer", encode_hello(make_sequence(4, 9), make_sequence(4, 9)), 1.0)
    assert empty.replication.peer == b"peer"
