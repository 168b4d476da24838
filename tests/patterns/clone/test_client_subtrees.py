"""A client of several subtrees: one consistent map, losses noticed in each, nothing outside."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from patterns.clone.client_protocol import (
    ClientProtocol,
    ClientState,
    Connect,
    Disconnect,
    Live,
    Put,
    RequestSnapshot,
    Stale,
)
from patterns.clone.interest import MAX_SUBTREES, Interest
from patterns.clone.messages import HUGZ, KVMessage, heartbeat, make_sequence, snapshot_end
from patterns.clone.store import KeyValueStore


def seq(counter, epoch=1):
    return make_sequence(epoch, counter)


def kvpub(sequence, key, body=b"x"):
    return KVMessage(key, sequence, b"", b"", body).encode()


def hugz(sequence):
    return heartbeat(b"seq=%d\n" % sequence)


def count(subtree, sequence, updates):
    return heartbeat(b"seq=%d\nn=%d\n" % (sequence, updates), subtree)


class Joining:
    """A client of /a/ and /b/ that has asked for both snapshots."""

    def __init__(self, **arguments):
        self.protocol = ClientProtocol(1, [b"/a/", b"/b/"], jitter=lambda: 1.0, **arguments)
        self.protocol.start(0.0)
        self.a, self.b = self.hear(hugz(seq(9)))
        assert (self.a.frames[1], self.b.frames[1]) == (b"/a/", b"/b/")

    def hear(self, frames, now=0.1):
        return self.protocol.receive_published(frames, 1, now)

    def answer(self, request, sequence, *entries, now=0.1):
        for entry in entries:
            self.protocol.receive_snapshot(entry, request.request, now)
        end = snapshot_end(sequence, request.frames[1], b"n=%d\n" % len(entries))
        return self.protocol.receive_snapshot(end, request.request, now)

    @property
    def contents(self):
        return {entry[0]: entry[4] for entry in self.protocol.store.snapshot()}


# The interest


def test_a_subtree_inside_another_adds_nothing():
    assert Interest([b"/b", b"/a/x/", b"/a/", b"/a/"]).subtrees == (b"/a/", b"/b")
    assert Interest([b"/a/", b""]).everything


@pytest.mark.parametrize(
    "subtrees", [[], [b"HUGZ"], [b"k" * 256], [b"%03d" % n for n in range(MAX_SUBTREES + 1)]]
)
def test_what_cannot_be_an_interest_is_refused(subtrees):
    with pytest.raises(ValueError):
        Interest(subtrees)


keys = st.text("ab", max_size=5).map(str.encode)


@given(st.lists(keys, min_size=1, max_size=6), keys)
def test_a_key_belongs_to_the_subtree_that_begins_it(subtrees, key):
    interest = Interest(subtrees)
    holding = [each for each in interest.subtrees if key.startswith(each)]
    assert (key in interest) == bool(holding) == any(key.startswith(each) for each in subtrees)
    if holding:
        assert holding == [interest.subtree_of(key)]


@given(st.lists(keys, min_size=1, max_size=6), keys)
def test_a_subtree_overlaps_if_some_key_is_in_both(subtrees, subtree):
    interest = Interest(subtrees)
    # Whatever two prefixes have in common, the longer of the two has.
    common = [each for each in (*interest.subtrees, subtree) if each.startswith(subtree)]
    assert interest.overlaps(subtree) == any(each in interest for each in common)


# Joining


def test_it_is_live_when_every_snapshot_is_there():
    joining = Joining()
    assert joining.answer(joining.b, seq(9), kvpub(seq(3), b"/b/x")) == []
    assert joining.answer(joining.a, seq(9), kvpub(seq(2), b"/a/x")) == [
        Put(b"/b/x", b"x", added=True),
        Put(b"/a/x", b"x", added=True),
        Live(0),
    ]


def test_snapshots_of_different_instants_make_one_map_with_what_was_published():
    joining = Joining()
    joining.answer(joining.a, seq(9), kvpub(seq(1), b"/a/x", b"old"))
    joining.hear(kvpub(seq(10), b"/a/x", b"new"))
    joining.hear(kvpub(seq(11), b"/b/x", b"older than its snapshot"))
    joining.answer(joining.b, seq(12), kvpub(seq(12), b"/b/x", b"snapshot"))
    assert not joining.protocol.live  # what is /a/ as of number 12?
    assert Live(0) in joining.hear(hugz(seq(12)), 0.2)
    assert joining.contents == {b"/a/x": b"new", b"/b/x": b"snapshot"}
    assert joining.protocol.store.sequence == seq(12)
    assert joining.hear(kvpub(seq(13), b"/a/y"), 0.3) == [Put(b"/a/y", b"x", added=True)]


def test_an_update_proves_that_the_subscription_has_reached_the_newer_snapshot():
    joining = Joining()
    joining.answer(joining.a, seq(9))
    joining.answer(joining.b, seq(12))
    assert joining.hear(kvpub(seq(11), b"/a/x"), 0.2) == []
    assert Live(0) in joining.hear(kvpub(seq(13), b"/a/y"), 0.2)
    assert set(joining.contents) == {b"/a/x", b"/a/y"}


def test_a_server_that_tells_no_numbers_is_believed_at_its_next_heartbeat():
    protocol = ClientProtocol(1, [b"/a/", b"/b/"], jitter=lambda: 0.0)
    protocol.start(0.0)
    first, second = protocol.receive_published(heartbeat(), 1, 0.1)
    protocol.receive_snapshot(snapshot_end(3, b"/a/"), first.request, 0.2)
    assert protocol.receive_snapshot(snapshot_end(4, b"/b/"), second.request, 0.2) == []
    assert Live(0) in protocol.receive_published(heartbeat(), 1, 0.3)


def test_snapshots_of_two_epochs_are_no_map():
    joining = Joining()
    joining.answer(joining.a, seq(9))
    assert Disconnect(0) in joining.answer(joining.b, seq(1, epoch=2))
    assert joining.protocol.state is ClientState.STALE


def test_f18_one_incomplete_snapshot_is_no_map():
    joining = Joining()
    joining.answer(joining.a, seq(9))
    end = snapshot_end(seq(9), b"/b/", b"n=1\n")
    assert Disconnect(0) in joining.protocol.receive_snapshot(end, joining.b.request, 0.2)


def test_the_answer_to_one_request_is_no_answer_to_another():
    joining = Joining()
    joining.answer(joining.a, seq(9), kvpub(seq(1), b"/b/x"))
    assert joining.answer(joining.a, seq(9)) == []
    joining.answer(joining.b, seq(9))
    assert joining.contents == {}


def test_cl_4_answers_to_an_earlier_attempt_are_discarded():
    joining = Joining(server_ttl=3.0)
    effects = [effect for n in range(1, 20) for effect in joining.protocol.tick(n / 4)]
    subscription = [each for each in effects if isinstance(each, Connect)][0].subscription
    a, b = joining.protocol.receive_published(hugz(seq(9)), subscription, 5.0)
    assert isinstance(a, RequestSnapshot)
    assert joining.answer(joining.a, seq(9), kvpub(seq(1), b"/a/old"), now=5.1) == []
    joining.answer(a, seq(9), kvpub(seq(1), b"/a/new"), now=5.1)
    assert Live(0) in joining.answer(b, seq(9), now=5.1)
    assert set(joining.contents) == {b"/a/new"}


def test_a_snapshot_that_never_becomes_consistent_is_given_up():
    joining = Joining(server_ttl=3.0)
    joining.answer(joining.a, seq(9))
    joining.answer(joining.b, seq(12))
    for n in range(1, 12):
        assert joining.hear(hugz(seq(11)), n / 4) == []
        assert joining.protocol.tick(n / 4) == []
    assert Disconnect(0) in joining.protocol.tick(3.2)


def test_a_store_without_room_for_one_of_them_is_no_reason_to_be_live():
    joining = Joining(make_store=lambda: KeyValueStore(max_keys=1))
    joining.answer(joining.a, seq(9), kvpub(seq(1), b"/a/x"))
    effects = joining.protocol.receive_snapshot(kvpub(seq(2), b"/b/x"), joining.b.request, 0.2)
    assert effects == [Disconnect(0)]


# Losses


@pytest.fixture
def live():
    joining = Joining()
    joining.answer(joining.a, seq(9))
    joining.answer(joining.b, seq(9))
    for subtree in (b"/a/", b"/b/"):
        joining.hear(count(subtree, seq(9), 4))
    return joining


def test_f21_a_loss_in_either_subtree_is_noticed(live):
    live.hear(kvpub(seq(10), b"/a/x"))
    live.hear(kvpub(seq(12), b"/b/x"))
    assert live.hear(count(b"/a/", seq(10), 5)) == []
    assert live.hear(count(b"/b/", seq(12), 6)) == [Stale("lost updates"), Disconnect(0)]


def test_f21_each_subtree_has_a_count_of_its_own(live):
    for number in range(10, 20):
        live.hear(kvpub(seq(number), b"/a/x" if number % 3 else b"/b/x"))
    assert live.hear(count(b"/a/", seq(19), 11)) == []
    assert live.hear(count(b"/b/", seq(18), 7)) == []
    assert live.hear(hugz(seq(19))) == []


def test_the_heartbeat_of_a_part_of_a_subtree_is_not_ours(live):
    assert live.hear(count(b"/a/part/", seq(9), 1)) == []
    assert live.hear(count(b"/a/part/", seq(9), 7)) == []
    assert live.protocol.live


# What is outside


def test_cl_15_a_key_outside_is_refused_by_every_call(live):
    for call in (
        lambda: live.protocol.get(b"/c/x"),
        lambda: live.protocol.set(b"/c/x", b"1", uuid=bytes(16), now=1.0),
        lambda: live.protocol.delete(b"/c/x", uuid=bytes(16), now=1.0),
    ):
        with pytest.raises(ValueError, match=r"b'/c/x' is outside the subtrees b'/a/', b'/b/'"):
            call()


def test_a_key_that_only_matches_the_heartbeats_prefix_is_ignored(live):
    assert live.hear(kvpub(seq(10), HUGZ + b"!")) == []
    assert live.contents == {}


# On the network


def test_one_client_holds_several_subtrees_of_a_service(service):
    service.server()
    writer = service.live(service.client(name="writer"))
    for key in ("/a/1", "/b/1", "/c/1"):
        service.wait(writer.set(key, "1"))
    client = service.live(service.client(subtree=["/b/", "/a/", "/a/1"]), timeout=0.1)
    assert [key for key, _ in client.items()] == [b"/a/1", b"/b/1"]
    assert client.items("/b/") == [(b"/b/1", b"1")]
    service.wait(client.set("/b/2", "2"))
    service.wait(client.delete("/a/1"))
    service.wait(writer.set("/c/2", "2"))
    service.loop.advance(5.0)
    assert [key for key, _ in client.items()] == [b"/b/1", b"/b/2"]
    assert client.live and client.statistics_of_client().losses == 0


def test_a_loss_in_one_subtree_is_noticed_within_a_heartbeat_and_fetched(service):
    service.server()
    client = service.live(service.client(subtree=["/a/", "/b/"]))
    service.loop.advance(1.5)
    service.network.drop(lambda frames: frames[:1] == [b"/b/x"], "server.publisher")
    other = service.live(service.client(subtree="/a/", name="other"))
    service.writer().send(*KVMessage(b"/b/x", 0, bytes(16), b"", b"1").encode())
    service.loop.run_until(lambda: not client.live, timeout=1.1)
    service.live(client)
    assert client.get("/b/x") == b"1"
    assert other.live and other.statistics_of_client().losses == 0


def test_several_subtrees_survive_a_failover(service):
    primary, _ = service.pair()
    client = service.live(
        service.client("tcp://127.0.0.1:5556", "tcp://127.0.0.1:5566", subtree=["/a/", "/b/"])
    )
    service.wait(client.set("/a/x", "1"))
    service.kill(primary)
    service.wait(client.set("/b/x", "1"))
    service.live(client)
    assert client.items() == [(b"/a/x", b"1"), (b"/b/x", b"1")]


def test_no_socket_of_an_attempt_is_left(service):
    service.server()
    client = service.live(service.client(subtree=["/a/", "/b/", "/c/"]))
    service.loop.run_pending()
    names = {stream.name for stream in client.reactor.statistics().streams}
    assert names == {"client.updates-0", "client.subscriber"}


def test_a_watch_of_what_the_client_does_not_hold_is_an_error(service):
    client = service.client(subtree=["/a/", "/b/"])
    with pytest.raises(ValueError, match="outside"):
        service.wait(anext(client.watch("/c/")))
