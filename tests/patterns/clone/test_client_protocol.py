"""A Clone client's rules: joining, following, losing, changing the server, writing."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from patterns.clone.client_protocol import (
    ClientProtocol,
    ClientState,
    Connect,
    Deleted,
    Disconnect,
    Expired,
    Live,
    OutboxFull,
    Put,
    RequestSnapshot,
    SendUpdate,
    Stale,
    Vote,
    WriteAcknowledged,
    WriteFailed,
)
from patterns.clone.messages import (
    HUGZ,
    ICANHAZ,
    KTHXBAI,
    KVMessage,
    MalformedMessage,
    encode_sequence,
    epoch_notice,
    heartbeat,
    make_sequence,
    refusal,
)
from patterns.clone.outbox import Outbox
from patterns.clone.server_protocol import Publish, SayHello, SendSnapshot, ServerProtocol
from patterns.clone.store import KeyValueStore

from .linked import answer_hello, deliver

_uuids = itertools.count(1)


def uuid():
    return next(_uuids).to_bytes(16, "big")


def seq(counter, epoch=1):
    return make_sequence(epoch, counter)


def kvpub(sequence, key, body=b"x", properties=b"", its_uuid=b""):
    return KVMessage(key, sequence, its_uuid, properties, body).encode()


def kthxbai(sequence, entries=None):
    properties = b"" if entries is None else b"chpx=1\nn=%d\n" % entries
    return (KTHXBAI, encode_sequence(sequence), b"", properties, b"")


def hugz(sequence):
    return heartbeat(b"seq=%d\n" % sequence)


def client(servers=1, subtree=b"", jitter=0.0, **arguments):
    return ClientProtocol(servers, subtree, jitter=lambda: jitter, **arguments)


def only(effects, kind):
    return [effect for effect in effects if isinstance(effect, kind)]


class Joined:
    """A client that is live on one server, with what it needs to be told things."""

    def __init__(self, entries=(), sequence=None, now=0.0, servers=1, subtree=b"", **arguments):
        self.protocol = client(servers, subtree, **arguments)
        sequence = seq(len(entries)) if sequence is None else sequence
        (connect,) = self.protocol.start(now)
        self.subscription = connect.subscription
        self.join(entries, sequence, now)

    def join(self, entries, sequence, now):
        (request,) = self.hear(hugz(sequence), now)
        for entry in entries:
            self.protocol.receive_snapshot(entry, request.request, now)
        end = kthxbai(sequence, len(entries))
        return self.protocol.receive_snapshot(end, request.request, now)

    def hear(self, frames, now):
        effects = self.protocol.receive_published(frames, self.subscription, now)
        return self.follow(effects)

    def tick(self, now):
        return self.follow(self.protocol.tick(now))

    def follow(self, effects):
        for effect in only(effects, Connect):
            self.subscription = effect.subscription
        return effects

    @property
    def contents(self):
        return {key: self.protocol.get(key) for key in self.protocol.store}


def test_the_slowest_server_there_may_be_is_not_taken_for_dead_between_two_heartbeats():
    joined = Joined(learns=True)
    beat = heartbeat(b"seq=%d\nhb=120000\nrole=active\n" % seq(0))
    joined.hear(beat, 0.1)
    assert not [effect for n in range(1, 240) for effect in joined.tick(float(n))]
    assert joined.protocol.live


class TestJoin:
    def test_f19_m_9_it_asks_only_after_a_heartbeat_on_its_subscription(self):
        protocol = client(subtree=b"/a/")
        assert protocol.start(0.0) == [Connect(0, 1)]
        assert protocol.receive_published(kvpub(seq(3), b"/a/1"), 1, 0.1) == []
        assert protocol.state is ClientState.CONNECTING
        assert protocol.receive_published(hugz(seq(3)), 1, 0.2) == [
            RequestSnapshot(0, (ICANHAZ, b"/a/"), 1)
        ]
        assert protocol.state is ClientState.SYNCING

    def test_the_snapshot_is_collected_aside_and_reported_with_the_end(self):
        protocol = client()
        protocol.start(0.0)
        protocol.receive_published(hugz(seq(2)), 1, 0.1)
        assert protocol.receive_snapshot(kvpub(seq(1), b"/a", b"1"), 1, 0.2) == []
        assert protocol.receive_snapshot(kvpub(seq(2), b"/b", b"2"), 1, 0.2) == []
        assert protocol.get(b"/a") is None
        assert protocol.receive_snapshot(kthxbai(seq(2), 2), 1, 0.3) == [
            Put(b"/a", b"1", added=True),
            Put(b"/b", b"2", added=True),
            Live(0),
        ]
        assert (protocol.get(b"/a"), protocol.live) == (b"1", True)

    def test_what_was_published_meanwhile_is_applied_before_it_is_live(self):
        protocol = client()
        protocol.start(0.0)
        protocol.receive_published(hugz(seq(1)), 1, 0.1)
        for number in (2, 3):
            protocol.receive_published(kvpub(seq(number), b"/a", b"%d" % number), 1, 0.2)
        protocol.receive_snapshot(kvpub(seq(2), b"/a", b"2"), 1, 0.3)
        assert protocol.receive_snapshot(kthxbai(seq(2), 1), 1, 0.3) == [
            Put(b"/a", b"2", added=True),
            Put(b"/a", b"3", added=False),
            Live(0),
        ]

    def test_f28_cl_6_s6_6_without_a_heartbeat_it_votes_and_asks_for_ever(self):
        # A passive server is silent until a client asks it.
        protocol = client(servers=2, vote_after=0.5, vote_interval=1.0)
        effects = protocol.start(0.0)
        for step in range(1, 4 * 60):
            effects += protocol.tick(step / 4)
        votes = only(effects, Vote)
        assert {vote.frames for vote in votes} == {(ICANHAZ, HUGZ)}
        assert len(votes) > 20
        assert {vote.server for vote in votes} == {0, 1}
        assert only(effects, RequestSnapshot) == []

    def test_f18_m_7_an_incomplete_snapshot_is_not_used(self):
        joined = Joined([kvpub(seq(1), b"/a")])
        joined.tick(0.7)
        joined.hear(hugz(seq(9)), 0.8)  # a loss: it begins again
        effects = joined.join([kvpub(seq(1), b"/b")], seq(9), 0.9)
        assert only(effects, Live)
        joined.hear(hugz(seq(10)), 1.0)
        (request,) = joined.hear(hugz(seq(10)), 1.0)
        effects = joined.protocol.receive_snapshot(kthxbai(seq(10), 3), request.request, 1.1)
        assert Disconnect(0) in effects
        assert joined.contents == {b"/b": b"x"}

    def test_a_guide_server_that_does_not_say_how_many_is_believed(self):
        protocol = client()
        protocol.start(0.0)
        protocol.receive_published((HUGZ, encode_sequence(7), uuid(), b"", b""), 1, 0.1)
        protocol.receive_snapshot(kvpub(6, b"/a"), 1, 0.2)
        assert Live(0) in protocol.receive_snapshot(kthxbai(7), 1, 0.2)

    def test_f32_a_heartbeat_is_never_an_entry(self):
        joined = Joined()
        joined.hear((HUGZ, encode_sequence(seq(0)), uuid(), b"", b""), 0.5)
        assert joined.contents == {}
        assert joined.protocol.store.sequence == seq(0)

    def test_f26_cl_4_an_answer_to_an_earlier_request_is_discarded(self):
        protocol = client(server_ttl=3.0)
        protocol.start(0.0)
        (first,) = protocol.receive_published(hugz(seq(5)), 1, 0.1)
        effects = [effect for n in range(1, 20) for effect in protocol.tick(n / 4)]
        connect = only(effects, Connect)[0]
        (second,) = protocol.receive_published(hugz(seq(5)), connect.subscription, 5.0)
        protocol.receive_snapshot(kvpub(seq(1), b"/old"), first.request, 5.1)
        assert protocol.receive_snapshot(kthxbai(seq(5), 1), first.request, 5.1) == []
        protocol.receive_snapshot(kvpub(seq(4), b"/new"), second.request, 5.2)
        assert Live(0) in protocol.receive_snapshot(kthxbai(seq(5), 1), second.request, 5.2)
        assert list(protocol.store) == [b"/new"]

    def test_cl_4_a_snapshot_older_than_the_heartbeat_before_it_is_not_used(self):
        protocol = client()
        protocol.start(0.0)
        protocol.receive_published(hugz(seq(5)), 1, 0.1)
        assert Disconnect(0) in protocol.receive_snapshot(kthxbai(seq(4), 0), 1, 0.2)

    def test_f27_cl_5_what_an_earlier_subscription_held_back_is_discarded(self):
        joined = Joined()
        old = joined.subscription
        joined.hear(hugz(seq(1)), 0.5)
        assert joined.subscription != old
        assert joined.protocol.receive_published(kvpub(seq(1), b"/a"), old, 0.6) == []
        assert joined.protocol.statistics().discarded == 1

    def test_a_snapshot_that_stops_is_given_up(self):
        protocol = client(servers=2)
        protocol.start(0.0)
        protocol.receive_published(hugz(seq(5)), 1, 0.1)
        protocol.receive_snapshot(kvpub(seq(1), b"/a"), 1, 1.0)
        effects = []
        for n in range(4, 17):
            protocol.receive_published(hugz(seq(5)), 1, n / 4)
            effects += protocol.tick(n / 4)
        assert effects[:2] == [Disconnect(0), Connect(1, 2)]

    def test_a_long_snapshot_is_waited_for_as_long_as_it_goes_on(self):
        # A Guide server sends it in one go, without a heartbeat meanwhile.
        protocol = client()
        protocol.start(0.0)
        protocol.receive_published(hugz(seq(20)), 1, 0.0)
        for number in range(1, 21):
            protocol.receive_snapshot(kvpub(seq(number), b"/%d" % number), 1, number / 2)
            assert protocol.tick(number / 2) == []
        assert Live(0) in protocol.receive_snapshot(kthxbai(seq(20), 20), 1, 10.5)

    def test_entries_outside_the_subtree_are_left_out(self):
        protocol = client(subtree=b"/a/")
        protocol.start(0.0)
        protocol.receive_published(hugz(seq(2)), 1, 0.1)
        for number, key in ((1, b"/a/1"), (2, b"/b/1")):
            protocol.receive_snapshot(kvpub(seq(number), key), 1, 0.2)
        assert Live(0) in protocol.receive_snapshot(kthxbai(seq(2), 2), 1, 0.2)
        assert list(protocol.store) == [b"/a/1"]

    def test_a_store_without_room_is_no_reason_to_be_live(self):
        protocol = client(make_store=lambda: KeyValueStore(max_keys=1))
        protocol.start(0.0)
        protocol.receive_published(hugz(seq(5)), 1, 0.1)
        protocol.receive_snapshot(kvpub(seq(1), b"/a"), 1, 0.2)
        assert Disconnect(0) in protocol.receive_snapshot(kvpub(seq(2), b"/b"), 1, 0.2)

    def test_the_queue_has_a_limit(self):
        protocol = client(max_queued=1)
        protocol.start(0.0)
        protocol.receive_published(hugz(seq(0)), 1, 0.1)
        protocol.receive_published(kvpub(seq(1), b"/a"), 1, 0.1)
        assert Disconnect(0) in protocol.receive_published(kvpub(seq(2), b"/a"), 1, 0.1)

    @pytest.mark.parametrize("subtree", [HUGZ, KTHXBAI, b"x" * 256])
    def test_what_cannot_be_a_subtree_is_refused(self, subtree):
        with pytest.raises(ValueError, match="subtree"):
            client(subtree=subtree)

    def test_without_a_server_there_is_no_client(self):
        with pytest.raises(ValueError, match="needs a server"):
            client(servers=0)


class TestFollow:
    def test_updates_change_the_map_and_are_reported(self):
        joined = Joined([kvpub(seq(1), b"/a", b"1")])
        assert joined.hear(kvpub(seq(2), b"/a", b"2"), 1.0) == [Put(b"/a", b"2", added=False)]
        assert joined.hear(kvpub(seq(3), b"/b", b"3"), 1.0) == [Put(b"/b", b"3", added=True)]
        assert joined.hear(kvpub(seq(4), b"/a", b""), 1.0) == [Deleted(b"/a")]
        assert joined.hear(kvpub(seq(5), b"/a", b""), 1.0) == []
        assert joined.contents == {b"/b": b"3"}

    def test_an_expiry_is_an_event_of_its_own(self):
        joined = Joined([kvpub(seq(1), b"/a")])
        assert joined.hear(kvpub(seq(2), b"/a", b"", b"o=ttl\n"), 1.0) == [Expired(b"/a")]

    def test_f5_r12_11_what_is_not_newer_is_discarded(self):
        joined = Joined([kvpub(seq(5), b"/a", b"new")], seq(5))
        assert joined.hear(kvpub(seq(5), b"/a", b"old"), 1.0) == []
        assert joined.hear(kvpub(seq(900, epoch=0), b"/a", b"older"), 1.0) == []
        assert joined.contents == {b"/a": b"new"}

    def test_cl_3_f25_what_was_deleted_while_it_was_away_is_reported(self):
        joined = Joined([kvpub(seq(n), b"/%d" % n) for n in (1, 2, 3)])
        joined.hear(hugz(seq(9)), 0.5)
        entries = [kvpub(seq(1), b"/1"), kvpub(seq(8), b"/2", b"new"), kvpub(seq(9), b"/9")]
        effects = joined.join(entries, seq(9), 1.0)
        assert effects == [
            Deleted(b"/3"),
            Put(b"/2", b"new", added=False),
            Put(b"/9", b"x", added=True),
            Live(0),
        ]

    def test_a_key_that_only_matches_the_heartbeats_prefix_is_ignored(self):
        joined = Joined(subtree=b"/a/")
        assert joined.hear(kvpub(seq(1), b"HUGZ/x"), 0.5) == []
        assert joined.contents == {}

    @pytest.mark.parametrize(
        "frames", [[], [b"/a"], kvpub(seq(1), KTHXBAI), kvpub(seq(1), b"/a", b"1", b"ttl\n")]
    )
    def test_kv_4_malformed_publications_change_nothing(self, frames):
        joined = Joined()
        with pytest.raises(MalformedMessage):
            joined.hear(frames, 0.5)
        assert joined.protocol.live
        assert joined.hear(kvpub(seq(1), b"/a"), 0.6) == [Put(b"/a", b"x", added=True)]

    def test_kv_4_malformed_snapshots_change_nothing(self):
        protocol = client()
        protocol.start(0.0)
        protocol.receive_published(hugz(seq(0)), 1, 0.1)
        for frames in ([], [KTHXBAI], [b"/a", b"x"], kvpub(seq(1), HUGZ)):
            with pytest.raises(MalformedMessage):
                protocol.receive_snapshot(frames, 1, 0.2)
        assert Live(0) in protocol.receive_snapshot(kthxbai(seq(0), 0), 1, 0.3)


class TestLoss:
    def test_m_10_f20_a_hole_in_the_numbers_is_noticed_at_once(self):
        joined = Joined()
        effects = joined.hear(kvpub(seq(2), b"/a"), 0.5)
        assert effects == [Stale("lost updates"), Disconnect(0), Connect(0, 2)]
        assert joined.protocol.statistics().losses == 1

    def test_f20_a_lost_tail_is_noticed_at_the_next_heartbeat(self):
        joined = Joined()
        assert Stale("lost updates") in joined.hear(hugz(seq(1)), 0.5)

    def test_a_hole_while_syncing_is_noticed(self):
        protocol = client()
        protocol.start(0.0)
        protocol.receive_published(hugz(seq(0)), 1, 0.1)
        assert Disconnect(0) in protocol.receive_published(kvpub(seq(2), b"/a"), 1, 0.2)

    def test_f21_a_subtree_notices_by_the_count_of_its_updates(self):
        joined = Joined(subtree=b"/a/")
        joined.hear(heartbeat(b"seq=%d\nn=4\n" % seq(0), b"/a/"), 0.2)
        joined.hear(kvpub(seq(3), b"/a/1"), 0.3)
        joined.hear(kvpub(seq(8), b"/a/2"), 0.4)
        assert joined.hear(heartbeat(b"seq=%d\nn=6\n" % seq(8), b"/a/"), 0.5) == []
        joined.hear(kvpub(seq(9), b"/a/2"), 0.6)
        effects = joined.hear(heartbeat(b"seq=%d\nn=8\n" % seq(10), b"/a/"), 0.7)
        assert effects[0] == Stale("lost updates")

    def test_f21_numbers_of_other_subtrees_are_no_loss(self):
        joined = Joined(subtree=b"/a/")
        assert joined.hear(hugz(seq(9)), 0.2) == []
        assert joined.hear(kvpub(seq(20), b"/a/1"), 0.3) == [Put(b"/a/1", b"x", added=True)]

    def test_cl_7_a_subtree_notices_a_restart_too(self):
        joined = Joined(subtree=b"/a/")
        joined.hear(hugz(seq(9)), 0.2)
        assert Stale("server restarted") in joined.hear(hugz(seq(5)), 0.3)

    def test_an_answer_given_again_is_no_update(self):
        joined = Joined(subtree=b"/a/")
        joined.hear(kvpub(seq(1), b"/a/1"), 0.1)
        joined.hear(heartbeat(b"seq=%d\nn=1\n" % seq(1), b"/a/"), 0.2)
        joined.hear(kvpub(seq(1), b"/a/1"), 0.3)
        assert joined.hear(heartbeat(b"seq=%d\nn=1\n" % seq(1), b"/a/"), 0.4) == []

    def test_the_heartbeat_of_another_subtree_is_not_ours(self):
        joined = Joined(subtree=b"/a/")
        joined.hear(heartbeat(b"seq=1\nn=4\n", b"/a/"), 0.2)
        assert joined.hear(heartbeat(b"seq=1\nn=9\n", b"/a/b/"), 0.3) == []

    def test_f20_who_hears_heartbeats_of_others_only_takes_the_server_for_silent(self):
        """Its own may be what a full queue has dropped, each time (mixed, 10093997)."""
        joined = Joined(subtree=b"/a/")
        joined.hear(heartbeat(b"seq=1\nn=4\n", b"/a/"), 0.2)
        for now in (1.0, 2.0, 3.0):
            joined.hear(heartbeat(b"seq=1\nn=9\n", b"/a/b/"), now)
        assert Stale("server silent") in joined.protocol.tick(3.3)

    def test_cl_7_m_11_a_server_that_restarted_is_noticed(self):
        joined = Joined([kvpub(seq(5), b"/a")], seq(5))
        assert Stale("server restarted") in joined.hear(hugz(seq(0)), 0.5)
        effects = joined.join([], seq(0), 1.0)
        assert effects == [Deleted(b"/a"), Live(0)]

    @pytest.mark.parametrize("subtree", [b"", b"/a/"])
    def test_a_new_epoch_is_a_reason_to_join_again(self, subtree):
        joined = Joined(subtree=subtree)
        assert Stale("new epoch") in joined.hear(kvpub(seq(1, epoch=2), b"/a/1"), 0.5)
        joined = Joined(subtree=subtree)
        assert Stale("new epoch") in joined.hear(hugz(seq(0, epoch=2)), 0.5)

    def test_f36_a_broken_connection_is_a_loss(self):
        joined = Joined()
        effects = joined.protocol.receive_disconnected(joined.subscription, 0.5)
        assert effects[0] == Stale("disconnected")
        assert joined.protocol.receive_disconnected(1, 0.6) == []

    def test_a_server_that_tells_no_numbers_is_not_checked(self):
        protocol = client()
        protocol.start(0.0)
        protocol.receive_published(heartbeat(), 1, 0.1)
        protocol.receive_snapshot(kthxbai(3), 1, 0.2)
        assert protocol.receive_published(kvpub(9, b"/a"), 1, 0.3) == [Put(b"/a", b"x", added=True)]

    def test_f29_the_pause_before_the_next_attempt_is_random_and_grows(self):
        joined = Joined(jitter=0.5, pause=1.0, max_pause=30.0)
        pauses, now = [], 1.0
        for _ in range(8):
            joined.protocol.receive_disconnected(joined.subscription, now)
            begun = now
            while joined.protocol.state is ClientState.STALE:
                now = round(now + 0.25, 2)
                joined.tick(now)
            pauses.append(now - begun)
        assert pauses == [0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 15.0, 15.0]

    def test_the_pause_is_short_again_after_a_long_time_of_following(self):
        joined = Joined(jitter=1.0, pause=1.0, max_pause=10.0)
        joined.protocol._failures = 7
        for second in range(1, 13):
            joined.hear(hugz(seq(0)), float(second))
        joined.hear(hugz(seq(5)), 12.0)
        joined.tick(12.9)
        assert joined.protocol.state is ClientState.STALE
        joined.tick(13.0)
        assert joined.protocol.state is ClientState.CONNECTING


class TestTurn:
    def test_f29_a_client_waits_for_its_turn_as_long_as_the_server_beats(self):
        protocol = client(servers=2)
        protocol.start(0.0)
        now = 0.1
        while now < 29.0:
            effects = protocol.receive_published(hugz(seq(0)), 1, now) + protocol.tick(now)
            assert Disconnect(0) not in effects
            now += 1.0
        protocol.receive_snapshot(kthxbai(seq(0), 0), 1, now)
        assert protocol.live

    def test_f29_but_not_for_ever(self):
        protocol = client(servers=2)
        protocol.start(0.0)
        for second in range(33):
            protocol.receive_published(hugz(seq(0)), 1, second + 0.1)
            effects = protocol.tick(second + 0.1)
        assert Disconnect(0) in effects


class TestHaste:
    """What a client does when the server that it followed for a while is gone."""

    def lost(self, servers=2, lose=None, **arguments):
        joined = Joined(servers=servers, **arguments)
        joined.protocol.haste = 0.02
        for second in range(1, 5):
            joined.hear(hugz(seq(0)), float(second))
        lose = lose or (lambda: joined.protocol.receive_disconnected(joined.subscription, 5.0))
        return joined, joined.follow(lose())

    def test_it_asks_the_next_server_at_once(self):
        joined, effects = self.lost(jitter=0.5)
        assert effects == [Stale("disconnected"), Disconnect(0)]
        assert only(joined.tick(5.01), Connect) == [Connect(1, 2)]
        assert only(joined.tick(5.01), Vote) == [Vote(1, (b"ICANHAZ?", b"HUGZ"))]

    def test_f29_the_clients_do_not_all_ask_at_the_same_instant(self):
        for jitter in (0.25, 1.0):
            joined, _ = self.lost(jitter=jitter)
            assert joined.protocol.deadline == 5.0 + 0.02 * jitter

    def test_a_server_that_says_it_steps_down_is_left_at_once(self):
        joined = Joined(servers=2, jitter=0.0)
        for second in range(1, 5):
            joined.hear(hugz(seq(0)), float(second))
        effects = joined.hear(heartbeat(b"role=passive\n"), 5.0)
        assert effects == [Stale("server steps down"), Disconnect(0), Connect(1, 2)]

    def test_it_votes_more_and_more_slowly(self):
        joined, effects = self.lost(jitter=0.0)
        votes = [n / 100 for n in range(500, 540) if only(joined.tick(n / 100), Vote)]
        assert votes == [5.0, 5.13, 5.38]

    def test_it_tries_everybody_twice_and_then_takes_its_time(self):
        joined, effects = self.lost(jitter=0.0)
        tried, now = only(effects, Connect), 5.0
        times = [now]
        while len(tried) < 6:
            now += 0.05
            found = only(joined.tick(now), Connect)
            tried += found
            times += [now] * len(found)
        assert [connect.server for connect in tried] == [1, 0, 1, 0, 1, 0]
        waits = [later - earlier for earlier, later in itertools.pairwise(times)]
        assert all(wait < 0.6 for wait in waits[:4]) and waits[4] >= 3.0

    def test_f28_a_connection_that_breaks_again_and_again_is_no_reason_to_hurry(self):
        joined = Joined(servers=2, jitter=1.0, pause=1.0)
        joined.protocol.receive_disconnected(joined.subscription, 0.5)
        assert joined.tick(1.4) == []
        assert only(joined.tick(1.5), Connect) == [Connect(1, 2)]

    def test_a_break_of_an_earlier_subscription_is_nothing(self):
        joined, _ = self.lost(jitter=0.0)
        assert joined.protocol.receive_disconnected(1, 5.1) == []

    def test_a_server_tells_how_long_it_may_be_silent(self):
        joined = Joined(servers=2, learns=True)
        joined.hear(heartbeat(b"seq=%d\nhb=100\n" % seq(0)), 0.1)
        for n in range(2, 31):
            assert joined.tick(n / 100 + 0.001) == []
        assert Stale("server silent") in joined.tick(0.32)

    @pytest.mark.parametrize("interval", [b"0", b"1", b"99999999999"])
    def test_f34_but_within_limits(self, interval):
        joined = Joined(servers=2, learns=True)
        joined.hear(heartbeat(b"seq=%d\nhb=%s\n" % (seq(0), interval)), 0.1)
        assert 0.1 <= joined.protocol.server_ttl <= 252.0


class TestFailover:
    def test_a_silent_server_is_left_for_the_next(self):
        joined = Joined(servers=2)
        for n in range(1, 12):
            assert joined.tick(n / 4) == []
        assert joined.tick(3.0) == [Stale("server silent"), Disconnect(0), Connect(1, 2)]

    def test_f28_it_goes_round_for_ever(self):
        protocol = client(servers=3)
        effects = protocol.start(0.0)
        for n in range(1, 400):
            effects += protocol.tick(n / 4)
        assert [effect.server for effect in only(effects, Connect)][:7] == [0, 1, 2, 0, 1, 2, 0]

    def test_every_message_is_a_sign_of_life(self):
        joined = Joined(servers=2)
        for second in range(1, 10):
            joined.hear(kvpub(seq(second), b"/a"), float(second))
            joined.tick(second + 0.5)
        assert joined.protocol.live

    def test_cl_8_a_loop_that_stood_still_does_not_blame_the_server(self):
        joined = Joined(servers=2)
        assert joined.tick(60.0) == []
        joined.hear(hugz(seq(0)), 60.1)
        joined.tick(61.0)
        assert joined.protocol.live

    def test_f5_a_server_of_an_older_epoch_is_not_even_asked(self):
        joined = Joined([], seq(0, epoch=5), servers=2)
        for n in range(1, 13):
            joined.tick(n / 4)
        effects = joined.hear(hugz(seq(900, epoch=4)), 3.1)
        assert effects == [Disconnect(1), Connect(0, 3)]

    def test_f1_the_second_refusal_tells_the_server_which_epoch_was_seen(self):
        """Who led in it may be gone for good, and this server never have heard of it."""
        joined = Joined([], seq(0, epoch=5), servers=1)
        for n in range(1, 13):
            joined.tick(n / 4)
        assert not any(isinstance(each, Vote) for each in joined.hear(hugz(seq(9, 4)), 3.1))
        effects = joined.hear(hugz(seq(9, 4)), 3.2)
        (vote,) = [each for each in effects if isinstance(each, Vote)]
        assert vote.frames == epoch_notice(5)

    def test_f28_after_a_long_outage_a_refused_server_is_tried_again_soon(self):
        """It answers, and goes on in a newer epoch as soon as it is told of that."""
        joined = Joined([], seq(0, epoch=5), servers=1, jitter=1.0)
        now = 0.0
        for _ in range(400):  # nobody answers, and the pauses grow
            now += 0.25
            joined.tick(now)
        refused_at = []
        while len(refused_at) < 3:
            now += 0.25
            joined.tick(now)
            if joined.protocol.state is ClientState.CONNECTING:
                joined.hear(hugz(seq(9, epoch=4)), now)
                refused_at.append(now)
        assert refused_at[2] - refused_at[0] <= 1.0

    def test_f5_a_snapshot_of_an_older_epoch_is_never_used(self):
        joined = Joined([kvpub(seq(1, 5), b"/a")], seq(1, epoch=5), servers=2)
        for n in range(1, 13):
            joined.tick(n / 4)
        (request,) = joined.hear(heartbeat(), 3.1)
        end = kthxbai(seq(900, epoch=4), 0)
        assert Disconnect(1) in joined.protocol.receive_snapshot(end, request.request, 3.2)
        assert joined.contents == {b"/a": b"x"}

    def test_the_deadline_is_that_of_the_next_thing_to_do(self):
        protocol = client(vote_after=0.5, server_ttl=3.0)
        protocol.start(10.0)
        assert protocol.deadline == 10.5
        protocol.tick(10.5)
        assert protocol.deadline == 11.25

    def test_closing_leaves_the_server_and_gives_up_the_writes(self):
        joined = Joined()
        its_uuid = uuid()
        joined.protocol.set(b"/a", b"1", uuid=its_uuid, now=0.5)
        assert joined.protocol.close(1.0) == [
            WriteFailed(its_uuid, "closed"),
            Stale("closed"),
            Disconnect(0),
        ]
        assert joined.protocol.tick(99.0) == []

    def test_a_client_that_is_closed_while_it_pauses_does_not_try_again(self):
        joined = Joined(jitter=1.0)
        joined.protocol.receive_disconnected(joined.subscription, 1.0)
        assert joined.protocol.close(1.1) == []
        assert joined.protocol.tick(99.0) == []


class Writer(Joined):
    """A client that is live and whose server listens."""

    def __init__(self, **arguments):
        super().__init__(**arguments)
        self.protocol.receive_writable(0, 0.0)

    def set(self, key, body, now, **options):
        its_uuid = uuid()
        return its_uuid, self.protocol.set(key, body, uuid=its_uuid, now=now, **options)


def sent(effects):
    return [(effect.frames[0], effect.frames[4]) for effect in only(effects, SendUpdate)]


class TestWrite:
    def test_a_write_is_sent_to_all_servers_and_acknowledged_by_its_publication(self):
        writer = Writer()
        its_uuid, effects = writer.set(b"/a", b"1", 1.0)
        assert effects == [SendUpdate(None, (b"/a", bytes(8), its_uuid, b"", b"1"))]
        assert writer.hear(kvpub(seq(1), b"/a", b"1", b"", its_uuid), 1.1) == [
            Put(b"/a", b"1", added=True),
            WriteAcknowledged(its_uuid, seq(1)),
        ]
        assert writer.protocol.statistics().unacknowledged == 0

    def test_m_14_the_own_map_waits_for_the_server(self):
        writer = Writer()
        writer.set(b"/a", b"1", 1.0)
        assert writer.protocol.get(b"/a") is None

    def test_cl_11_f22_nothing_is_sent_before_a_server_listens(self):
        writer = Joined(servers=2)
        first, second = uuid(), uuid()
        assert writer.protocol.set(b"/a", b"1", uuid=first, now=1.0) == []
        assert writer.protocol.set(b"/b", b"2", uuid=second, now=1.0) == []
        effects = writer.protocol.receive_writable(1, 1.5)
        assert [(effect.server, effect.frames[2]) for effect in effects] == [
            (1, first),
            (1, second),
        ]
        assert len(writer.protocol.set(b"/c", b"3", uuid=uuid(), now=2.0)) == 1
        writer.protocol.receive_unwritable(1, 2.5)
        assert writer.protocol.set(b"/d", b"4", uuid=uuid(), now=3.0) == []

    def test_f11_it_is_sent_again_with_the_same_uuid_until_it_comes_back(self):
        writer = Writer(outbox=Outbox(retry=2.0))
        _, effects = writer.set(b"/a", b"1", 1.0)
        assert writer.tick(2.9) == []
        assert writer.tick(3.0) == effects
        assert writer.protocol.statistics().sent_again == 1

    def test_f23_an_answer_given_again_acknowledges_without_changing_the_map(self):
        writer = Writer(entries=[kvpub(seq(2), b"/a", b"2")], sequence=seq(2))
        its_uuid, _ = writer.set(b"/a", b"1", 1.0)  # applied before the client joined, say
        effects = writer.hear(kvpub(seq(1), b"/a", b"1", b"", its_uuid), 2.0)
        assert effects == [WriteAcknowledged(its_uuid, seq(1))]
        assert writer.contents == {b"/a": b"2"}

    def test_i9_an_answer_to_a_write_whose_publication_was_missed_proves_a_loss(self):
        """A count would tell of it too, but perhaps later than the write is sent again."""
        writer = Writer(subtree=b"/")
        its_uuid, _ = writer.set(b"/a", b"1", 1.0)
        writer.hear(kvpub(seq(2), b"/b", b"2"), 1.5)  # and number 1 is lost
        effects = writer.hear(kvpub(seq(1), b"/a", b"1", b"", its_uuid), 3.0)
        assert [each.reason for each in only(effects, Stale)] == ["lost updates"]
        assert only(effects, WriteAcknowledged) == []
        writer.tick(3.5)
        entries = [kvpub(seq(1), b"/a", b"1", b"", its_uuid), kvpub(seq(2), b"/b", b"2")]
        effects = writer.join(entries, seq(2), 3.6)
        assert only(effects, WriteAcknowledged) == [WriteAcknowledged(its_uuid, seq(1))]
        assert writer.contents == {b"/a": b"1", b"/b": b"2"}

    def test_the_level_of_an_answer_is_no_part_of_the_entry(self):
        writer = Writer()
        writer.hear(kvpub(seq(1), b"/a", b"1", b"ttl=5\nack=replicated\n"), 1.0)
        assert writer.protocol.store.get(b"/a")[3] == b"ttl=5\n"

    def test_a_write_is_sent_again_in_time_however_long_the_heartbeats_are(self):
        writer = Writer(server_ttl=240.0)
        writer.set(b"/a", b"1", 1.0)
        assert writer.protocol.deadline == 3.0

    def test_f24_one_update_of_a_key_is_under_way_at_a_time(self):
        writer = Writer()
        first, _ = writer.set(b"/a", b"1", 1.0)
        second, effects = writer.set(b"/a", b"2", 1.0)
        assert effects == []
        _, effects = writer.set(b"/b", b"3", 1.0)
        assert sent(effects) == [(b"/b", b"3")]
        effects = writer.hear(kvpub(seq(1), b"/a", b"1", b"", first), 1.1)
        assert effects[1:] == [
            WriteAcknowledged(first, seq(1)),
            SendUpdate(None, (b"/a", bytes(8), second, b"", b"2")),
        ]

    def test_f24_a_newer_update_takes_the_place_of_the_one_that_waits(self):
        writer = Writer()
        first, _ = writer.set(b"/a", b"1", 1.0)
        second, _ = writer.set(b"/a", b"2", 1.0)
        third, _ = writer.set(b"/a", b"3", 1.0)
        effects = writer.hear(kvpub(seq(1), b"/a", b"1", b"", first), 1.1)
        assert sent(effects) == [(b"/a", b"3")]
        effects = writer.hear(kvpub(seq(2), b"/a", b"3", b"", third), 1.2)
        assert only(effects, WriteAcknowledged) == [
            WriteAcknowledged(second, seq(2)),
            WriteAcknowledged(third, seq(2)),
        ]
        assert writer.protocol.statistics().unacknowledged == 0
        assert writer.protocol.statistics().acknowledged == 3

    def test_what_is_replaced_makes_room(self):
        outbox = Outbox(max_bytes=120)
        outbox.add(KVMessage(b"k", 0, uuid(), b"", b"x").encode(), 1.0)
        for _ in range(20):
            outbox.add(KVMessage(b"k", 0, uuid(), b"", b"x").encode(), 1.0)
        assert len(outbox) == 21

    def test_a_write_that_never_comes_back_fails_and_lets_the_next_one_go(self):
        writer = Writer(outbox=Outbox(retry=2.0, timeout=5.0))
        first, _ = writer.set(b"/a", b"1", 1.0)
        second, _ = writer.set(b"/a", b"2", 3.0)
        effects = writer.tick(6.0)
        assert effects[0] == WriteFailed(first, "timeout")
        assert sent(effects) == [(b"/a", b"2")]
        assert WriteFailed(second, "timeout") in writer.tick(8.0)
        assert writer.protocol.statistics().failed == 2

    def test_one_that_was_replaced_keeps_its_own_time(self):
        writer = Writer(outbox=Outbox(timeout=5.0))
        writer.set(b"/a", b"1", 1.0)
        replaced, _ = writer.set(b"/a", b"2", 1.0)
        kept, _ = writer.set(b"/a", b"3", 4.0)
        failed = only(writer.tick(6.0), WriteFailed)
        assert WriteFailed(replaced, "timeout") in failed
        assert WriteFailed(kept, "timeout") not in failed

    def test_one_with_less_time_takes_the_place_of_none_that_waits_longer(self):
        writer = Writer(outbox=Outbox(timeout=30.0))
        first, _ = writer.set(b"/a", b"1", 1.0)
        patient, _ = writer.set(b"/a", b"2", 1.0)
        hasty, _ = writer.set(b"/a", b"3", 1.0, timeout=0.5)
        assert only(writer.tick(1.5), WriteFailed) == [WriteFailed(hasty, "timeout")]
        effects = writer.hear(kvpub(seq(1), b"/a", b"1", b"", first), 1.6)
        assert sent(effects) == [(b"/a", b"2")]
        effects = writer.hear(kvpub(seq(2), b"/a", b"2", b"", patient), 1.7)
        assert WriteAcknowledged(patient, seq(2)) in effects

    def test_a_newer_one_takes_the_place_of_all_that_wait_no_longer(self):
        writer = Writer(outbox=Outbox(timeout=30.0))
        first, _ = writer.set(b"/a", b"1", 1.0)
        timeouts = (30.0, 0.5, 40.0)
        patient, hasty, newest = (
            writer.set(b"/a", b"x", 1.0, timeout=each)[0] for each in timeouts
        )
        effects = writer.hear(kvpub(seq(1), b"/a", b"1", b"", first), 1.1)
        assert [each.frames[2] for each in only(effects, SendUpdate)] == [newest]
        effects = writer.hear(kvpub(seq(2), b"/a", b"x", b"", newest), 1.2)
        answered = [each.uuid for each in only(effects, WriteAcknowledged)]
        assert answered == [patient, hasty, newest]

    def test_a_refusal_fails_the_write_at_once(self):
        writer = Writer()
        its_uuid, effects = writer.set(b"/a", b"1", 1.0)
        answer = refusal(effects[0].frames, "full")
        assert writer.hear(answer, 1.1) == [WriteFailed(its_uuid, "full")]
        assert writer.hear(answer, 1.2) == []
        assert writer.contents == {}

    def test_a_refusal_waits_for_the_map_that_shows_why(self):
        """A conflict is answered by another attempt: on the old map that would fail for ever."""
        writer = Writer()
        its_uuid, effects = writer.set(b"/a", b"1", 1.0)
        answer = refusal(effects[0].frames, "conflict")
        (request,) = only(
            [*writer.hear(hugz(seq(5)), 1.1), *writer.hear(hugz(seq(5)), 1.2)], RequestSnapshot
        )
        assert writer.hear(answer, 1.3) == []
        entry = kvpub(seq(5), b"/a", b"other")
        writer.protocol.receive_snapshot(entry, request.request, 1.4)
        effects = writer.protocol.receive_snapshot(kthxbai(seq(5), 1), request.request, 1.5)
        assert [key for key, _ in sent(effects)] == [b"/a"]
        assert writer.hear(answer, 1.6) == [WriteFailed(its_uuid, "conflict")]
        assert writer.contents == {b"/a": b"other"}

    def test_f11_after_a_failover_all_writes_are_sent_again_in_order(self):
        writer = Writer(servers=2, outbox=Outbox(retry=60.0, timeout=600.0))
        for number in range(5):
            writer.set(b"/%d" % number, b"x", 1.0)
        for n in range(1, 13):
            writer.tick(n / 4)
        effects = writer.join([], seq(0, epoch=2), 3.5)
        assert effects[0] == Live(1)
        assert [key for key, _ in sent(effects)] == [b"/%d" % number for number in range(5)]
        assert {effect.server for effect in only(effects, SendUpdate)} == {None}

    def test_a_write_found_in_the_snapshot_is_acknowledged(self):
        writer = Writer(servers=2)
        its_uuid, _ = writer.set(b"/a", b"1", 1.0)
        for n in range(1, 13):
            writer.tick(n / 4)
        effects = writer.join([kvpub(seq(7), b"/a", b"1", b"", its_uuid)], seq(9, 2), 3.5)
        assert WriteAcknowledged(its_uuid, seq(7)) in effects
        assert only(effects, SendUpdate) == []

    def test_a_write_published_while_syncing_is_acknowledged(self):
        writer = Writer()
        its_uuid, _ = writer.set(b"/a", b"1", 1.0)
        writer.hear(hugz(seq(4)), 1.1)
        (request,) = writer.hear(hugz(seq(4)), 1.2)
        writer.hear(kvpub(seq(5), b"/a", b"1", b"", its_uuid), 1.3)
        effects = writer.protocol.receive_snapshot(kthxbai(seq(5), 0), request.request, 1.4)
        assert WriteAcknowledged(its_uuid, seq(5)) in effects

    def test_a_deletion_is_a_write(self):
        writer = Writer()
        its_uuid = uuid()
        (effect,) = writer.protocol.delete(b"/a", uuid=its_uuid, now=1.0)
        assert effect.frames == (b"/a", bytes(8), its_uuid, b"", b"")
        effects = writer.hear(kvpub(seq(1), b"/a", b"", b"", its_uuid), 1.1)
        assert effects == [WriteAcknowledged(its_uuid, seq(1))]

    @pytest.mark.parametrize(("ttl", "text"), [(30, b"30"), (0.2, b"1"), (1.5, b"2")])
    def test_r12_10_a_ttl_is_sent_as_a_whole_number(self, ttl, text):
        _, (effect,) = Writer().set(b"/a", b"1", 1.0, ttl=ttl)
        assert effect.frames[3] == b"ttl=" + text + b"\n"

    @pytest.mark.parametrize("ttl", [0, -1, float("nan"), float("inf"), 1e9])
    def test_kv_7_an_impossible_ttl_is_refused(self, ttl):
        with pytest.raises(ValueError, match="ttl"):
            Writer().set(b"/a", b"1", 1.0, ttl=ttl)

    def test_kv_9_an_empty_value_is_not_a_deletion_by_accident(self):
        with pytest.raises(ValueError, match="delete"):
            Writer().set(b"/a", b"", 1.0)

    @pytest.mark.parametrize("key", [b"", HUGZ, KTHXBAI, ICANHAZ, b"k" * 256])
    def test_kv_11_a_key_that_no_server_takes_is_refused(self, key):
        with pytest.raises(ValueError, match="key"):
            Writer().set(key, b"1", 1.0)

    def test_cl_14_a_key_outside_the_own_subtree_is_refused(self):
        with pytest.raises(ValueError, match="outside the subtree"):
            Writer(subtree=b"/a/").set(b"/b/1", b"1", 1.0)

    def test_a_body_over_the_limit_is_refused(self):
        with pytest.raises(ValueError, match="body"):
            Writer(max_body=3).set(b"/a", b"1234", 1.0)

    def test_a_uuid_is_16_bytes_and_new(self):
        writer = Writer()
        with pytest.raises(ValueError, match="16 bytes"):
            writer.protocol.set(b"/a", b"1", uuid=b"short", now=1.0)
        its_uuid, _ = writer.set(b"/a", b"1", 1.0)
        with pytest.raises(ValueError, match="in use"):
            writer.protocol.set(b"/b", b"1", uuid=its_uuid, now=1.0)

    @pytest.mark.parametrize("outbox", [Outbox(max_writes=2), Outbox(max_bytes=90)])
    def test_a_full_outbox_refuses_and_is_usable_again(self, outbox):
        writer = Writer(outbox=outbox)
        first, _ = writer.set(b"/a", b"1", 1.0)
        writer.set(b"/b", b"1" * 20, 1.0)
        with pytest.raises(OutboxFull):
            writer.set(b"/c", b"1" * 10, 1.0)
        writer.hear(kvpub(seq(1), b"/a", b"1", b"", first), 1.1)
        assert sent(writer.set(b"/c", b"1" * 10, 1.2)[1]) == [(b"/c", b"1" * 10)]


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("set"), st.tuples(st.sampled_from("abc"), st.integers(1, 8))),
            st.tuples(st.just("answer"), st.integers(0, 5)),
            st.tuples(st.just("wait"), st.integers(1, 4)),
        ),
        max_size=60,
    )
)
@settings(deadline=None)
def test_every_write_ends_once_and_a_key_never_has_two_under_way(steps):
    outbox = Outbox(retry=2.0, timeout=5.0, max_writes=8)
    made, ended, now = {}, [], 0.0
    for step, argument in steps:
        if step == "set":
            (key, timeout), its_uuid = argument, uuid()
            frames = KVMessage(key.encode(), 0, its_uuid).encode()
            try:
                outbox.add(frames, now, timeout=timeout)
            except OutboxFull:
                continue
            made[its_uuid] = now + timeout
        elif step == "answer":
            under_way = outbox.under_way()
            if argument < len(under_way):
                answered, _ = outbox.finish(under_way[argument][2], now)
                ended += answered
        else:
            now += argument
            failed, _ = outbox.expire(now)
            assert all(made[each] <= now for each in failed)
            ended += failed
            outbox.send_again(now)
        keys = [frames[0] for frames in outbox.under_way()]
        assert len(keys) == len(set(keys))
        assert len(outbox) == len(made) - len(ended) <= 8
    ended += outbox.take_all()
    assert sorted(ended) == sorted(made)
    assert (len(outbox), outbox._bytes) == (0, 0)


class Service:
    """A client and two servers joined by lists; every step is a call."""

    def __init__(self):
        self.servers = [ServerProtocol(make_uuid=uuid) for _ in range(2)]
        self.client = client(servers=2, outbox=Outbox(retry=1.0, timeout=60.0))
        self.alive = [True, True]
        self.linked = True  # the primary's publications reach the backup
        self.deaf = False  # the primary's publications do not reach the client
        self.bound: tuple[int, int] | None = None
        self.acknowledged: list[bytes] = []
        self.failed: list[bytes] = []
        self.carry_out(0, self.servers[0].become_active(0.0), 0.0)
        self.carry_out(1, self.servers[1].become_passive(0.0), 0.0)
        self.do(self.client.receive_writable(0, 0.0) + self.client.receive_writable(1, 0.0), 0.0)
        self.do(self.client.start(0.0), 0.0)

    def carry_out(self, number, effects, now):
        for effect in effects:
            match effect:
                case Publish(frames):
                    self.publish(number, frames, now)
                case SendSnapshot(identity, _, _, entries, end):
                    for frames in (*entries, end):
                        self.do(self.client.receive_snapshot(frames, int(identity), now), now)
                case SayHello(_, sequence, _) if self.alive[0]:
                    answer = answer_hello(self.servers[0], self.servers[1], sequence, now)
                    self.carry_out(1, answer, now)

    def publish(self, number, frames, now):
        if number == 0 and self.linked:
            self.carry_out(1, deliver(self.servers[0], self.servers[1], now), now)
        if self.bound and self.bound[0] == number and not (self.deaf and number == 0):
            self.do(self.client.receive_published(frames, self.bound[1], now), now)

    def do(self, effects, now):
        for effect in effects:
            match effect:
                case Connect(server, subscription):
                    self.bound = (server, subscription)
                    self.to_server(server, "receive_subscription", now, HUGZ, True)
                case RequestSnapshot(server, frames, request):
                    identity = b"%d" % request
                    self.to_server(server, "receive_snapshot_request", now, identity, frames[1])
                case Vote(server, _) if self.alive[server] and not self.alive[0]:
                    self.carry_out(server, self.servers[server].become_active(now), now)
                case SendUpdate(None, frames):
                    for server in (0, 1):
                        self.to_server(server, "receive_update", now, frames)
                case WriteAcknowledged(its_uuid, _):
                    self.acknowledged.append(its_uuid)
                case WriteFailed(its_uuid, _):
                    self.failed.append(its_uuid)

    def to_server(self, server, method, now, *arguments):
        if self.alive[server]:
            self.carry_out(server, getattr(self.servers[server], method)(*arguments, now), now)

    def run(self, until, start):
        now = start
        while now < until:
            now += 0.25
            for number, server in enumerate(self.servers):
                if self.alive[number]:
                    self.carry_out(number, server.tick(now), now)
            self.do(self.client.tick(now), now)
        return now

    def set(self, key, body, now):
        its_uuid = uuid()
        self.do(self.client.set(key, body, uuid=its_uuid, now=now), now)
        return its_uuid


@pytest.mark.parametrize("linked", [True, False])
@pytest.mark.parametrize("deaf", [True, False])
def test_f11_s6_1_the_primary_is_lost_mid_write_and_nothing_acknowledged_is_lost(linked, deaf):
    service = Service()
    now = service.run(2.0, 0.0)
    assert service.client.live
    first = [service.set(b"/%d" % n, b"1", now) for n in range(5)]
    assert service.acknowledged == first
    # From here the primary's publications may miss the backup, or the client, and then it dies.
    service.linked, service.deaf = linked, deaf
    last = [service.set(b"/%d" % n, b"2", now) for n in range(3, 8)]
    service.alive[0] = False
    lost = service.set(b"/8", b"3", now)
    service.run(now + 10.0, now)
    assert service.client.live
    assert service.client.server == 1
    assert sorted(service.acknowledged) == sorted([*first, *last, lost])
    assert service.failed == []
    expected = {b"/%d" % n: b"1" for n in range(3)}
    expected |= {b"/%d" % n: b"2" for n in range(3, 8)} | {b"/8": b"3"}
    backup = service.servers[1].store
    assert {key: backup.get(key)[4] for key in backup} == expected
    assert {key: service.client.get(key) for key in service.client.store} == expected


def test_the_client_and_the_server_agree_about_losses_in_a_subtree():
    """Both count the same things: republished answers, expiries and other subtrees included."""
    server = ServerProtocol(make_uuid=uuid)
    server.become_active(0.0)
    protocol = client(subtree=b"/a/")
    protocol.start(0.0)

    def hear(effects, now):
        return [
            answer
            for effect in only(effects, Publish)
            if effect.frames[0].startswith((b"/a/", HUGZ))
            for answer in protocol.receive_published(effect.frames, 1, now)
        ]

    hear(server.receive_subscription(b"/a/", True, 0.1), 0.1)
    (request,) = hear(server.receive_subscription(HUGZ, True, 0.1), 0.1)
    (snapshot,) = server.receive_snapshot_request(b"id", b"/a/", 0.1)
    protocol.receive_snapshot(snapshot.end, request.request, 0.1)
    for n in range(1, 40):
        now = n / 4
        frames = KVMessage(b"/%s/%d" % ((b"a", b"b")[n % 2], n), 0, uuid(), b"ttl=1\n").encode()
        frames = (*frames[:4], b"x")
        hear(server.receive_update(frames, now), now)
        hear(server.receive_update(frames, now), now)
        hear(server.tick(now), now)
    assert protocol.live
    assert protocol.statistics().losses == 0
    server.receive_update(KVMessage(b"/a/lost", 0, uuid(), b"", b"x").encode(), 10.0)
    assert Stale("lost updates") in hear(server.tick(11.0), 11.0)
