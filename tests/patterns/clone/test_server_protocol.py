"""A Clone server's rules: ordering, expiry, snapshots, the passive side and its promotion."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from patterns.clone.duplicates import SUPERSEDED, DuplicateFilter
from patterns.clone.figures import OwnFigures
from patterns.clone.messages import (
    HUGZ,
    KTHXBAI,
    MAX_COUNTER,
    KVMessage,
    MalformedMessage,
    decode_heartbeat,
    decode_refusal,
    decode_snapshot_end,
    encode_sequence,
    epoch_of,
    heartbeat,
    make_sequence,
    parse_properties,
    refusal,
    sequence_of,
)
from patterns.clone.numbered import NumberedUuids
from patterns.clone.peer_link import OtherVersion, encode_append
from patterns.clone.pending import PendingList
from patterns.clone.server_protocol import (
    Confirm,
    NotSynchronised,
    OutOfSync,
    Publish,
    ReportDiverged,
    SayHello,
    SendSnapshot,
    ServerProtocol,
    ServerState,
    Synchronised,
)
from patterns.clone.store import KeyValueStore
from patterns.clone.subtrees import SubtreeCounts

from .linked import (
    answer_hello,
    append,
    attempt_of,
    deliver,
    hear,
    kthxbai,
    position,
    send_entries,
    send_snapshot,
)

_uuids = itertools.count(1)


def uuid():
    return next(_uuids).to_bytes(16, "big")


def kvset(key, body=b"x", properties=b"", its_uuid=None):
    its_uuid = uuid() if its_uuid is None else its_uuid
    return KVMessage(key, 0, its_uuid, properties, body).encode()


def kvpub(sequence, key, body=b"x", properties=b"", its_uuid=None):
    frames = kvset(key, body, properties, its_uuid)
    return (frames[0], encode_sequence(sequence), *frames[2:])


def seq(counter, epoch=1):
    return make_sequence(epoch, counter)


def server(**arguments):
    return ServerProtocol(make_uuid=uuid, **arguments)


def active(now=0.0, **arguments):
    protocol = server(**arguments)
    protocol.become_active(now)
    return protocol


def passive(now=0.0, entries=(), sequence=None, **arguments):
    """A passive server that has fetched `entries` from an active in epoch 1."""
    protocol = server(**arguments)
    protocol.become_passive(now)
    sequence = seq(len(entries)) if sequence is None else sequence
    assert send_snapshot(protocol, entries, sequence, now) == [Synchronised(), Confirm()]
    return protocol


def published(effects):
    """The published updates, heartbeats left out."""
    frames = [effect.frames for effect in effects if isinstance(effect, Publish)]
    return [each for each in frames if sequence_of(each)]


def beats(effects):
    frames = [effect.frames for effect in effects if isinstance(effect, Publish)]
    return [each[0] for each in frames if not sequence_of(each)]


def contents(protocol):
    return {key: protocol.store.get(key)[4] for key in protocol.store}


class TestUpdate:
    def test_an_update_is_numbered_stored_and_published(self):
        protocol = active()
        frames = kvset(b"/a", b"1", b"n=1\n")
        (effect,) = protocol.receive_update(frames, 1.0)
        assert effect == Publish((b"/a", encode_sequence(seq(1)), *frames[2:]))
        assert protocol.store.get(b"/a") == effect.frames
        (effect,) = protocol.receive_update(kvset(b"/b"), 1.0)
        assert sequence_of(effect.frames) == seq(2)

    def test_a_last_line_without_an_end_gets_one_so_that_copies_are_as_long(self):
        protocol = active()
        (effect,) = protocol.receive_update(kvset(b"/a", b"1", b"n=1\nttl=5"), 1.0)
        assert effect.frames[3] == protocol.store.get(b"/a")[3] == b"n=1\nttl=5\n"
        (entry,) = protocol.store.snapshot(b"", 2.0)
        assert len(entry[3]) == len(effect.frames[3])

    def test_the_frames_that_do_not_change_are_not_copied(self):
        protocol = active()
        frames = kvset(b"/a", b"1", b"ttl=5\n")
        (effect,) = protocol.receive_update(frames, 1.0)
        assert all(effect.frames[n] is frames[n] for n in (0, 2, 3, 4))

    def test_kv_9_an_empty_body_deletes(self):
        protocol = active()
        protocol.receive_update(kvset(b"/a"), 1.0)
        assert published(protocol.receive_update(kvset(b"/a", b""), 1.0))[0][4] == b""
        assert contents(protocol) == {}

    @pytest.mark.parametrize(
        "frames",
        [
            [],
            [b"/a"],
            [b"/a", b"", b"", b"", b"x"],
            kvset(HUGZ),
            kvset(KTHXBAI),
            kvset(b""),
            kvset(b"/a", properties=b"ttl=abc\n"),
            kvset(b"/a", properties=b"ttl=nan\n"),
            kvset(b"/a", b"12345"),
        ],
    )
    def test_kv_7_kv_11_f33_s6_14_a_malformed_update_changes_nothing(self, frames):
        protocol = active(max_body=4)
        before = protocol.statistics()
        with pytest.raises(MalformedMessage):
            protocol.receive_update(frames, 1.0)
        assert protocol.statistics() == before
        assert sequence_of(published(protocol.receive_update(kvset(b"/a"), 1.0))[0]) == seq(1)

    def test_a_full_store_answers_the_writer_and_uses_no_number(self):
        protocol = active(make_store=lambda: KeyValueStore(max_keys=1))
        protocol.receive_update(kvset(b"/a"), 1.0)
        frames = kvset(b"/b")
        (effect,) = protocol.receive_update(frames, 1.0)
        assert sequence_of(effect.frames) == 0
        assert effect.frames[2] == frames[2]
        assert parse_properties(effect.frames[3]) == {"refused": "full"}
        assert protocol.sequence == seq(1)
        assert protocol.statistics().refused == 1

    def test_f23_an_update_sent_again_is_applied_once_and_answered_again(self):
        protocol = active()
        frames = kvset(b"/a", b"1", b"ttl=5\n")
        (first,) = protocol.receive_update(frames, 1.0)
        protocol.receive_update(kvset(b"/a", b"2"), 2.0)
        assert protocol.receive_update(frames, 3.0) == [first]
        assert contents(protocol) == {b"/a": b"2"}
        assert protocol.sequence == seq(2)
        assert protocol.statistics().duplicates == 1

    def test_s6_12_updates_without_a_uuid_are_all_applied(self):
        protocol = active()
        for body in (b"1", b"2"):
            protocol.receive_update(kvset(b"/a", body, its_uuid=b""), 1.0)
        assert protocol.sequence == seq(2)

    def test_m_11_a_restarted_server_begins_above_its_last_life(self):
        protocol = active(epoch=7)
        assert published(protocol.receive_update(kvset(b"/a"), 1.0))[0][1] == encode_sequence(
            seq(1, epoch=8)
        )


class TestExpiry:
    def test_the_active_deletes_by_an_update_of_its_own(self):
        protocol = active()
        (put,) = published(protocol.receive_update(kvset(b"/a", b"1", b"ttl=5\n"), 1.0))
        assert published(protocol.tick(5.99)) == []
        (gone,) = published(protocol.tick(6.0))
        assert (gone[0], sequence_of(gone), gone[3], gone[4]) == (b"/a", seq(2), b"o=ttl\n", b"")
        assert len(gone[2]) == 16
        assert gone[2] != put[2]
        assert contents(protocol) == {}
        assert published(protocol.tick(99.0)) == []

    def test_m_17_writing_again_renews_the_ttl(self):
        protocol = active()
        protocol.receive_update(kvset(b"/a", b"1", b"ttl=5\n"), 1.0)
        protocol.receive_update(kvset(b"/a", b"1", b"ttl=5\n"), 4.0)
        assert published(protocol.tick(8.9)) == []
        assert len(published(protocol.tick(9.0))) == 1

    def test_a_decimal_ttl_expires_in_time_and_is_published_as_a_whole_number(self):
        protocol = active()
        (frames,) = published(protocol.receive_update(kvset(b"/a", b"1", b"ttl=0.5\n"), 1.0))
        assert frames[3] == b"ttl=1\n"
        assert len(published(protocol.tick(1.5))) == 1

    def test_s6_5_f15_a_passive_never_expires(self):
        entries = [kvpub(seq(1), b"/a", b"1", b"ttl=5\n")]
        protocol = passive(0.0, entries)
        assert published(protocol.tick(99.0)) == []
        assert contents(protocol) == {b"/a": b"1"}
        assert protocol.sequence == seq(1)

    def test_a_promoted_server_expires_what_is_over(self):
        protocol = passive(0.0, [kvpub(seq(1), b"/a", b"1", b"ttl=5\n")])
        protocol.become_active(99.0)
        (gone,) = published(protocol.tick(99.0))
        assert (gone[0], gone[4]) == (b"/a", b"")

    def test_many_expiries_are_spread_over_ticks(self):
        protocol = active(expire_limit=10)
        for n in range(25):
            protocol.receive_update(kvset(b"/%d" % n, b"1", b"ttl=5\n"), 1.0)
        sizes = []
        while protocol.deadline <= 6.0:
            sizes.append(len(published(protocol.tick(6.0))))
        assert [size for size in sizes if size] == [10, 10, 5]


class TestHeartbeat:
    def test_r12_4_the_heartbeat_names_the_last_sequence_in_a_property(self):
        protocol = active()
        protocol.receive_update(kvset(b"/a"), 0.5)
        (effect,) = protocol.tick(1.0)
        assert effect.frames[:3] == (HUGZ, bytes(8), b"")
        assert decode_heartbeat(effect.frames).sequence == seq(1)
        assert parse_properties(effect.frames[3])["role"] == "active"

    def test_r12_5_it_comes_each_interval_whatever_else_is_published(self):
        protocol = active()
        times = [n / 4 for n in range(12)]
        assert [now for now in times if beats(protocol.tick(now))] == [1.0, 2.0]

    def test_s6_6_f31_only_the_active_beats(self):
        follower = passive()
        assert [beats(follower.tick(now)) for now in (1.0, 2.0, 3.0)] == [[], [], []]
        starting = server()
        assert starting.tick(1.0) == []
        assert starting.receive_subscription(HUGZ, True, 1.0) == []

    def test_a_new_listener_gets_a_heartbeat_at_once(self):
        protocol = active()
        assert beats(protocol.receive_subscription(HUGZ, True, 0.5)) == [HUGZ]
        assert beats(protocol.receive_subscription(b"", True, 0.6)) == [HUGZ]
        assert protocol.receive_subscription(b"/a/", True, 0.7) == []

    def test_listeners_that_come_together_share_one(self):
        protocol = active()
        effects = [protocol.receive_subscription(HUGZ, True, 0.5 + n / 1e6) for n in range(100)]
        assert sum(map(len, effects)) == 1
        assert protocol.deadline == pytest.approx(0.51)
        assert beats(protocol.tick(0.51)) == [HUGZ]
        assert protocol.tick(0.6) == []

    def test_listeners_that_keep_coming_do_not_starve_the_regular_beat(self):
        protocol = active()
        protocol.receive_subscription(b"/a/", True, 0.0)
        seen = []
        for n in range(1, 41):
            protocol.receive_subscription(HUGZ, True, n / 20)
            seen += beats(protocol.tick(n / 20))
        assert seen.count(b"/a/") == 2

    def test_the_heartbeat_of_a_subtree_counts_its_updates_and_comes_before_hugz(self):
        protocol = active()
        protocol.receive_subscription(b"/a/", True, 0.0)
        for key in (b"/a/1", b"/b/1", b"/a/2", b"/a", b"/c"):
            protocol.receive_update(kvset(key), 0.1)
        effects = protocol.tick(1.0)
        assert beats(effects) == [b"/a/", HUGZ]
        beat = decode_heartbeat(effects[0].frames)
        assert (beat.subtree, beat.updates, beat.sequence) == (b"/a/", 2, seq(3))

    def test_an_expiry_counts_as_an_update_of_its_subtree(self):
        protocol = active()
        protocol.receive_subscription(b"/a/", True, 0.0)
        protocol.receive_update(kvset(b"/a/1", b"1", b"ttl=1\n"), 0.0)
        effects = protocol.tick(1.0)
        counts = [effect.frames for effect in effects if effect.frames[0] == b"/a/"]
        assert decode_heartbeat(counts[0]).updates == 2

    def test_a_duplicate_is_not_counted_again(self):
        protocol = active()
        protocol.receive_subscription(b"/a/", True, 0.0)
        frames = kvset(b"/a/1")
        protocol.receive_update(frames, 0.1)
        protocol.receive_update(frames, 0.2)
        assert decode_heartbeat(protocol.tick(1.0)[0].frames).updates == 1

    def test_who_has_just_subscribed_gets_the_count_of_its_subtree_with_the_heartbeat(self):
        protocol = active()
        protocol.receive_subscription(b"/old/", True, 0.0)
        protocol.tick(1.0)
        protocol.receive_subscription(b"/new/", True, 1.5)
        assert beats(protocol.receive_subscription(HUGZ, True, 1.5)) == [b"/new/", HUGZ]

    def test_a_subtree_that_nobody_listens_to_has_no_heartbeat(self):
        protocol = active()
        protocol.receive_subscription(b"/a/", True, 0.0)
        protocol.receive_subscription(b"/a/", False, 0.5)
        assert beats(protocol.receive_subscription(HUGZ, True, 0.6)) == [HUGZ]
        assert beats(protocol.tick(1.0)) == [HUGZ]

    def test_i19_those_who_have_just_subscribed_are_told_in_their_order(self):
        """The simulation's seed 9 had two traces, by the hash seed of its process."""
        counts = SubtreeCounts()
        subtrees = [b"/%d/" % number for number in range(50)]
        for subtree in subtrees:
            counts.subscribe(subtree, 0)
        assert [frames[0] for frames in counts.heartbeats(only_fresh=True)] == subtrees

    def test_subtrees_have_a_limit(self):
        counts = SubtreeCounts(max_subtrees=2)
        for topic in (b"/1/", b"/2/", b"/3/", HUGZ, KTHXBAI, b"", b"x" * 256):
            counts.subscribe(topic, 0)
        assert len(counts) == 2
        assert counts.refused == 1


class TestSnapshot:
    def test_the_active_sends_the_subtree_and_says_how_much_it_is(self):
        protocol = active()
        for key in (b"/a/1", b"/b/1", b"/a/2"):
            protocol.receive_update(kvset(key), 1.0)
        (effect,) = protocol.receive_snapshot_request(b"id", b"/a/", 1.0)
        assert isinstance(effect, SendSnapshot)
        assert (effect.identity, effect.subtree, effect.sequence) == (b"id", b"/a/", seq(3))
        assert [sequence_of(entry) for entry in effect.entries] == [seq(1), seq(3)]
        end = decode_snapshot_end(effect.end)
        assert (end.sequence, end.subtree, end.entries, end.extended) == (seq(3), b"/a/", 2, True)

    def test_m_5_an_empty_subtree_is_everything(self):
        protocol = active()
        protocol.receive_update(kvset(b"/a"), 1.0)
        assert len(protocol.receive_snapshot_request(b"id", b"", 1.0)[0].entries) == 1

    def test_a_vote_asks_for_a_subtree_that_is_always_empty(self):
        protocol = active()
        protocol.receive_update(kvset(b"HUGZ"[:3] + b"/x"), 1.0)
        assert protocol.receive_snapshot_request(b"id", HUGZ, 1.0)[0].entries == ()

    def test_r12_2_the_end_has_the_current_sequence_deletions_included(self):
        protocol = active()
        protocol.receive_update(kvset(b"/a"), 1.0)
        protocol.receive_update(kvset(b"/a", b""), 1.0)
        assert protocol.receive_snapshot_request(b"id", b"", 1.0)[0].sequence == seq(2)

    def test_f17_kv_8_an_ephemeral_entry_carries_the_time_that_remains(self):
        protocol = active()
        protocol.receive_update(kvset(b"/a", b"1", b"ttl=30\n"), 1.0)
        (entry,) = protocol.receive_snapshot_request(b"id", b"", 11.5)[0].entries
        assert entry[3] == b"ttl=20\n"

    @pytest.mark.parametrize("protocol", [server(), passive()])
    def test_another_server_is_silent_and_counts(self, protocol):
        assert protocol.receive_snapshot_request(b"id", b"", 1.0) == []
        assert protocol.statistics().snapshots_refused == 1


class TestPassive:
    def test_it_follows_what_the_active_publishes(self):
        protocol = passive(0.0, [kvpub(seq(1), b"/a", b"1")])
        two, three = kvpub(seq(2), b"/a", b"2"), kvpub(seq(3), b"/b", b"3")
        assert append(protocol, two, three, now=1.0) == []
        assert position(protocol, seq(3), 1.0) == [Confirm()]
        assert contents(protocol) == {b"/a": b"2", b"/b": b"3"}
        assert protocol.sequence == seq(3)

    def test_a_number_it_knows_is_discarded(self):
        protocol = passive(0.0, [kvpub(seq(1), b"/a", b"1")], sequence=seq(5))
        assert append(protocol, kvpub(seq(5), b"/a", b"old"), now=1.0) == []
        assert contents(protocol) == {b"/a": b"1"}

    def test_f30_s6_17_a_hole_is_noticed_and_everything_fetched_again(self):
        protocol = passive()
        effects = append(protocol, kvpub(seq(2), b"/b"), now=1.0)
        assert effects == [OutOfSync(), SayHello(attempt_of(protocol), 0, seq(0))]
        assert protocol.state is ServerState.SYNCING
        entries = [kvpub(seq(1), b"/a"), kvpub(seq(2), b"/b")]
        assert send_snapshot(protocol, entries, seq(2), 1.1) == [Synchronised(), Confirm()]
        assert contents(protocol) == {b"/a": b"x", b"/b": b"x"}

    def test_f30_s6_17_a_lost_tail_is_noticed_by_the_position(self):
        protocol = passive()
        assert position(protocol, seq(0), 1.0) == [Confirm()]
        assert OutOfSync() in position(protocol, seq(1), 2.0)

    def test_an_update_of_a_new_epoch_is_a_hole(self):
        protocol = passive()
        assert OutOfSync() in append(protocol, kvpub(seq(1, epoch=2), b"/a"), now=1.0)

    def test_a_refusal_changes_nothing(self):
        protocol = passive()
        before = protocol.statistics()
        assert append(protocol, kvpub(0, b"/a", b"", b"refused=full\n"), now=1.0) == []
        assert protocol.statistics() == before

    def test_f29_what_waits_for_the_end_of_a_snapshot_is_bounded_in_bytes(self):
        protocol = server()
        protocol.become_passive(0.0)
        body, effects, count = bytes(1 << 20), [], 0
        while not effects:
            count += 1
            effects = append(protocol, kvpub(seq(count), b"/a", body), now=0.1)
        assert (count, effects) == (65, [SayHello(2, 0, 0)])

    def test_refusals_that_are_heard_while_a_snapshot_is_under_way_are_bounded(self):
        protocol = server(duplicates=DuplicateFilter(max_entries=10))
        protocol.become_passive(0.0)
        uuids = [uuid() for _ in range(30)]
        for each in uuids:
            append(protocol, kvpub(0, b"/a", b"", b"refused=full\n", its_uuid=each), now=0.1)
        assert list(protocol._follower._told) == uuids[-10:]

    def test_s6_16_the_active_does_not_listen_to_its_peer(self):
        protocol = active()
        append(protocol, kvpub(seq(9), b"/a"), now=1.0)
        assert contents(protocol) == {}
        assert protocol.sequence == seq(0)

    @pytest.mark.parametrize(
        "frames",
        [
            [],
            [b"x"],
            kvpub(seq(1), b"/a"),
            encode_append([kvpub(seq(1), b"/a"), kvpub(seq(2), KTHXBAI)]),
            (b"APPEND", b"", b""),
            (b"POSITION", bytes(8)),
            (b"POSITION", bytes(8), b"1"),
            (b"LINK", b"9"),
        ],
    )
    def test_a_malformed_message_over_the_link_changes_nothing(self, frames):
        protocol = passive()
        before = protocol.statistics()
        with pytest.raises(MalformedMessage):
            hear(protocol, frames, 1.0)
        assert protocol.statistics() == before

    def test_a_store_without_room_is_out_of_sync_and_does_not_hurry(self):
        protocol = passive(make_store=lambda: KeyValueStore(max_keys=0))
        assert append(protocol, kvpub(seq(1), b"/a"), now=1.0) == [OutOfSync()]
        assert protocol.tick(1.5) == []
        assert protocol.tick(2.0) == [SayHello(attempt_of(protocol), 0, seq(0))]


class TestLinkThatBreaks:
    """A dead active server looks no different, so the copy stays complete: it may have to lead."""

    def test_silence_is_no_hole_and_hello_is_said_again_with_the_own_number(self):
        protocol = passive(0.0, [kvpub(seq(1), b"/a")], heartbeat=1.0)
        assert protocol.deadline == 2.0
        assert protocol.tick(1.9) == []
        assert protocol.tick(2.0) == [SayHello(2, seq(1), seq(1))]
        assert protocol.tick(4.0) == [SayHello(3, seq(1), seq(1))]
        assert protocol.state is ServerState.PASSIVE

    def test_whatever_comes_over_the_link_ends_the_silence(self):
        protocol = passive(0.0, heartbeat=1.0)
        append(protocol, kvpub(seq(1), b"/a"), now=1.5)
        assert protocol.tick(3.4) == []
        position(protocol, seq(1), 3.4)
        assert protocol.tick(5.3) == []

    def test_after_a_broken_connection_hello_is_said_soon(self):
        protocol = passive(0.0, [kvpub(seq(1), b"/a")])
        protocol.receive_link_broken(attempt_of(protocol), 0.5)
        assert protocol.tick(0.59) == []
        assert protocol.tick(0.6) == [SayHello(2, seq(1), seq(1))]
        assert protocol.state is ServerState.PASSIVE

    def test_the_end_of_an_earlier_connection_says_nothing(self):
        protocol = passive(0.0)
        protocol.tick(2.0)
        protocol.receive_link_broken(1, 2.1)
        assert protocol.deadline == 4.0

    def test_f28_once_answered_it_waits_no_longer_than_at_first(self):
        protocol = passive(0.0, heartbeat=1.0)
        protocol.tick(2.0)
        protocol.tick(4.0)
        assert protocol.deadline == 8.0
        position(protocol, seq(0), 7.0)
        assert protocol.tick(8.9) == []
        assert protocol.tick(9.0) == [SayHello(4, seq(0), seq(0))]
        assert protocol.tick(10.9) == []
        assert protocol.tick(11.0) == [SayHello(5, seq(0), seq(0))]

    def test_an_answer_with_the_same_number_changes_nothing(self):
        protocol = passive(0.0, [kvpub(seq(1), b"/a")])
        protocol.tick(2.0)
        assert position(protocol, seq(1), 2.1) == [Confirm()]
        assert append(protocol, kvpub(seq(2), b"/b"), now=2.2) == []
        assert contents(protocol) == {b"/a": b"x", b"/b": b"x"}
        assert protocol.statistics().resyncs == 0

    def test_an_answer_with_a_higher_number_is_followed_by_everything(self):
        protocol = passive(0.0, [kvpub(seq(1), b"/a")])
        protocol.tick(2.0)
        assert position(protocol, seq(2), 2.1) == [OutOfSync()]
        assert protocol.state is ServerState.SYNCING
        append(protocol, kvpub(seq(3), b"/c"), now=2.2)
        send_entries(protocol, [kvpub(seq(2), b"/b")], 2.2)
        assert hear(protocol, kthxbai(1, seq(2)), 2.3) == [Synchronised(), Confirm()]
        assert contents(protocol) == {b"/b": b"x", b"/c": b"x"}
        assert protocol.statistics().resyncs == 1

    def test_an_answer_with_a_lower_number_is_left_to_binary_star(self):
        protocol = passive(0.0, [kvpub(seq(1, epoch=2), b"/a")], sequence=seq(1, epoch=2))
        protocol.tick(2.0)
        assert position(protocol, seq(9), 2.1) == []
        send_entries(protocol, [kvpub(seq(9), b"/b")], 2.2)
        assert hear(protocol, kthxbai(1, seq(9)), 2.3) == []
        assert contents(protocol) == {b"/a": b"x"}
        assert protocol.state is ServerState.PASSIVE

    def test_a_server_that_leads_says_no_hello_and_hears_nothing(self):
        protocol = passive(0.0)
        attempt = attempt_of(protocol)
        protocol.become_active(1.0)
        assert not any(isinstance(each, SayHello) for each in protocol.tick(9.0))
        assert position(protocol, seq(9), 9.1, attempt) == []

    def test_another_version_is_named(self):
        protocol = passive(0.0)
        with pytest.raises(OtherVersion, match="version b'1'.*same release"):
            hear(protocol, (b"LINK", b"1"), 1.0)
        with pytest.raises(OtherVersion, match="version b'1'"):
            active().receive_from_passive(b"peer", (b"LINK", b"1", bytes(8)), 1.0)


class TestSyncing:
    def test_it_begins_with_a_hello_that_asks_for_everything(self):
        assert server().become_passive(0.0) == [SayHello(1, 0, 0)]
        assert passive(0.0, [kvpub(seq(1), b"/a")]).become_passive(1.0) == [SayHello(2, 0, seq(1))]

    def test_the_snapshot_is_collected_aside_and_swapped_in_at_its_end(self):
        protocol = passive(0.0, [kvpub(seq(1), b"/old")])
        protocol.become_passive(1.0)
        position(protocol, seq(3), 1.0)
        send_entries(protocol, [kvpub(seq(2), b"/new")], 1.0)
        assert contents(protocol) == {b"/old": b"x"}
        hear(protocol, kthxbai(1, seq(3)), 1.0)
        assert contents(protocol) == {b"/new": b"x"}
        assert protocol.sequence == seq(3)

    def test_what_is_appended_meanwhile_is_applied_afterwards(self):
        protocol = server()
        protocol.become_passive(0.0)
        position(protocol, seq(2), 0.1)
        send_entries(protocol, [kvpub(seq(2), b"/a", b"2")], 0.2)
        assert append(protocol, kvpub(seq(3), b"/a", b"3"), now=0.2) == []
        hear(protocol, kthxbai(1, seq(2)), 0.2)
        assert contents(protocol) == {b"/a": b"3"}
        assert protocol.state is ServerState.PASSIVE

    def test_a_hole_among_them_is_noticed(self):
        protocol = server()
        protocol.become_passive(0.0)
        position(protocol, seq(2), 0.1)
        append(protocol, *[kvpub(seq(number), b"/%d" % number) for number in (3, 5)], now=0.1)
        effects = hear(protocol, kthxbai(0, seq(2)), 0.2)
        assert effects == [OutOfSync(), SayHello(attempt_of(protocol), 0, seq(3))]
        assert protocol.state is ServerState.SYNCING

    @pytest.mark.parametrize("end", [kthxbai(2, seq(9)), kthxbai(1, seq(9, epoch=0))])
    def test_an_incomplete_or_outdated_snapshot_is_thrown_away(self, end):
        protocol = passive(0.0, [kvpub(seq(1), b"/old")])
        protocol.become_passive(1.0)
        position(protocol, seq(9), 1.0)
        send_entries(protocol, [kvpub(seq(2), b"/new")], 1.0)
        assert hear(protocol, end, 1.0) == []
        assert protocol.state is ServerState.SYNCING
        assert contents(protocol) == {b"/old": b"x"}
        assert protocol.tick(1.9) == []
        assert protocol.tick(2.0) == [SayHello(attempt_of(protocol), 0, seq(1))]

    def test_f10_s6_9_a_snapshot_that_stops_is_asked_for_again(self):
        protocol = server(sync_timeout=5.0)
        protocol.become_passive(0.0)
        position(protocol, seq(1), 0.1)
        send_entries(protocol, [kvpub(seq(1), b"/a")], 3.0)
        position(protocol, seq(1), 4.0)
        assert protocol.deadline == 8.0
        assert protocol.tick(7.9) == []
        assert protocol.tick(8.0) == [SayHello(2, 0, 0)]

    def test_f28_a_hello_that_nobody_answers_is_said_again(self):
        protocol = server(heartbeat=1.0)
        protocol.become_passive(0.0)
        assert protocol.tick(1.9) == []
        assert protocol.tick(2.0) == [SayHello(2, 0, 0)]
        # To answer may take an active server with many leases longer than its heartbeats.
        assert protocol.tick(5.9) == []
        assert protocol.tick(6.0) == [SayHello(3, 0, 0)]
        assert protocol.tick(10.9) == []
        assert protocol.tick(11.0) == [SayHello(4, 0, 0)]  # the time that a snapshot has

    def test_f28_an_answer_that_takes_longer_than_two_heartbeats_is_heard_in_the_end(self):
        """Each hello discards the answers to the one before."""
        leader, follower = active(), server(heartbeat=1.0)
        leader.receive_update(kvset(b"/a"), 0.0)
        hellos = [(0.0, effect) for effect in follower.become_passive(0.0)]
        for second in range(1, 20):
            hellos += [(second, effect) for effect in follower.tick(second)]
            for said_at, hello in hellos:
                if said_at + 3.0 == second:
                    entries = leader.store.snapshot()
                    send_snapshot(follower, entries, leader.sequence, second, hello.attempt)
        assert follower.state is ServerState.PASSIVE
        assert contents(follower) == {b"/a": b"x"}

    def test_f28_who_follows_anew_waits_no_longer_than_at_first(self):
        protocol = server(heartbeat=1.0)
        protocol.become_passive(0.0)
        protocol.tick(2.0)
        protocol.become_passive(3.0)
        assert protocol.deadline == 5.0

    def test_f28_it_never_waits_less_than_the_link_may_be_silent(self):
        protocol = server(heartbeat=10.0, sync_timeout=5.0)
        protocol.become_passive(0.0)
        protocol.tick(20.0)
        assert protocol.deadline == 40.0

    def test_f26_answers_to_an_earlier_hello_are_discarded(self):
        protocol = server()
        (first,) = protocol.become_passive(0.0)
        (second,) = protocol.tick(9.0)
        entries = [kvpub(seq(1), b"/a")]
        assert send_snapshot(protocol, entries, seq(1), 9.1, first.attempt) == []
        assert protocol.state is ServerState.SYNCING
        assert send_snapshot(protocol, [], seq(2), 9.2, second.attempt)[0] == Synchronised()
        assert contents(protocol) == {}

    def test_the_queue_has_a_limit(self):
        protocol = server(max_queued=2)
        protocol.become_passive(0.0)
        position(protocol, seq(0), 0.1)
        effects = append(protocol, *[kvpub(seq(n), b"/a") for n in (1, 2, 3)], now=0.1)
        assert effects == [SayHello(2, 0, 0)]

    def test_s6_8_f9_it_does_not_become_active_unless_forced(self):
        protocol = server()
        protocol.become_passive(0.0)
        with pytest.raises(NotSynchronised):
            protocol.become_active(1.0)
        assert protocol.state is ServerState.SYNCING
        protocol.become_active(1.0, force=True)
        assert published(protocol.receive_update(kvset(b"/a"), 1.0))

    def test_a_forced_server_does_not_take_unused_entries_for_applied(self):
        protocol = server()
        protocol.become_passive(0.0)
        frames = kvset(b"/a")
        position(protocol, seq(1), 0.4)
        send_entries(protocol, [(frames[0], encode_sequence(seq(1)), *frames[2:])], 0.5)
        protocol.become_active(1.0, force=True)
        protocol.receive_update(frames, 1.0)
        assert contents(protocol) == {b"/a": b"x"}

    def test_f1_what_diverged_is_reported_before_it_is_given_up(self):
        protocol = active()
        protocol.receive_update(kvset(b"/a"), 1.0)
        fork = protocol.sequence
        protocol.receive_update(kvset(b"/b"), 1.0)
        effects = protocol.become_passive(2.0, fork)
        farewell, *rest = effects
        assert farewell == Publish(heartbeat(b"role=passive\n"))
        assert [type(effect) for effect in rest] == [ReportDiverged, SayHello]
        assert [entry[0] for entry in rest[0].entries] == [b"/b"]
        nothing = active()
        assert nothing.become_passive(2.0, nothing.sequence)[1:] == [SayHello(2, 0, seq(0))]


def test_f1_what_was_given_up_is_new_when_it_is_sent_again():
    protocol = active()
    kept, given_up = kvset(b"/a"), kvset(b"/b")
    protocol.receive_update(kept, 1.0)
    fork = protocol.sequence
    protocol.receive_update(given_up, 1.0)
    theirs = protocol.store.snapshot()[:1]
    protocol.become_passive(2.0, fork)
    send_snapshot(protocol, theirs, make_sequence(epoch_of(fork) + 1, 0), 2.0)
    protocol.become_active(3.0)
    for frames in (kept, given_up):
        protocol.receive_update(frames, 4.0)
    assert set(contents(protocol)) == {b"/a", b"/b"}
    assert protocol.statistics().duplicates == 1


@pytest.mark.parametrize("heartbeat", [0.0, -1.0, float("nan"), 121.0])
def test_a_heartbeat_that_clients_would_not_wait_for_is_refused(heartbeat):
    with pytest.raises(ValueError, match="heartbeat"):
        server(heartbeat=heartbeat)


def test_subtrees_beyond_the_limit_are_counted():
    protocol = active(subtrees=SubtreeCounts(max_subtrees=2))
    for subtree in (b"/a/", b"/b/", b"/c/"):
        protocol.receive_subscription(subtree, True, 1.0)
    statistics = protocol.statistics()
    assert (statistics.subtrees, statistics.subtrees_refused) == (2, 1)


class TestFigures:
    def told(self, effects):
        return {e.frames[0]: e.frames[4] for e in effects if e.frames[0].startswith(b"$SYS/")}

    def test_an_active_server_publishes_its_own_figures_below_sys(self):
        protocol = active(figures=OwnFigures(5.0))
        protocol.order_update(kvset(b"/a"), 0.1)
        told = self.told(protocol.tick(0.2))
        assert (told[b"$SYS/keys"], told[b"$SYS/updates"]) == (b"1", b"1")
        assert contents(protocol)[b"$SYS/updates"] == b"1"

    def test_what_has_not_changed_is_not_told_again_and_nothing_before_its_time(self):
        protocol = active(figures=OwnFigures(5.0))
        protocol.tick(0.1)
        protocol.order_update(kvset(b"/a"), 1.0)
        assert self.told(protocol.tick(2.0)) == {}
        assert set(self.told(protocol.tick(5.2))) == {b"$SYS/keys", b"$SYS/updates"}
        protocol.tick(10.3)  # the number of keys has grown by these keys themselves
        before = protocol.sequence
        for second in range(11, 60):
            assert self.told(protocol.tick(float(second))) == {}
        assert protocol.sequence == before

    def test_no_client_may_write_there(self):
        protocol = active(figures=OwnFigures())
        for frames in (kvset(b"$SYS/keys"), kvset(b"$SYS/mine"), kvset(b"$SYS/keys", b"")):
            answer = protocol.order_update(frames, 1.0)
            assert answer == refusal(frames, "reserved")
        assert contents(protocol) == {}
        assert protocol.progress().writes == 0

    def test_it_is_a_key_like_any_other_without_them(self):
        protocol = active()
        assert protocol.order_update(kvset(b"$SYS/mine"), 1.0)[4] == b"x"

    def test_a_passive_server_tells_nothing_and_a_new_active_everything(self):
        protocol = passive(0.0, figures=OwnFigures())
        assert published(protocol.tick(20.0)) == []
        told = self.told(protocol.become_active(21.0) + protocol.tick(21.0))
        assert told[b"$SYS/epoch"] == b"%d" % epoch_of(protocol.sequence)

    def test_its_own_figures_do_not_count_as_writes_of_clients(self):
        protocol = active(figures=OwnFigures())
        protocol.tick(0.1)
        assert (protocol.progress().writes, protocol.statistics().updates) == (0, 0)

    def test_a_full_store_goes_on_without_them(self):
        full = active(figures=OwnFigures(), make_store=lambda: KeyValueStore(max_keys=1))
        full.order_update(kvset(b"/a"), 0.1)
        assert self.told(full.tick(0.2)) == {}
        assert full.order_update(kvset(b"/a", b"y"), 0.3)[4] == b"y"

    def test_figures_that_found_room_are_published_though_others_did_not(self):
        """A number without its update would be a loss to every client."""
        crowded = active(figures=OwnFigures(), make_store=lambda: KeyValueStore(max_keys=2))
        before = crowded.sequence
        told = self.told(crowded.tick(0.2))
        assert len(told) == crowded.sequence - before == 2


class TestPromotion:
    def test_s6_1_what_is_pending_is_published_and_stored_in_its_order(self):
        protocol = passive(0.0, [kvpub(seq(1), b"/a")])
        writes = [kvset(b"/b", b"1"), kvset(b"/c", b"2"), kvset(b"/b", b"3")]
        for write in writes:
            assert protocol.receive_update(write, 1.0) == []
        effects = protocol.become_active(2.0)
        assert [frames[2] for frames in published(effects)] == [write[2] for write in writes]
        assert [sequence_of(frames) for frames in published(effects)] == [
            seq(1, 2),
            seq(2, 2),
            seq(3, 2),
        ]
        assert contents(protocol) == {b"/a": b"x", b"/c": b"2", b"/b": b"3"}
        assert beats(effects) == [HUGZ]
        assert effects[-1].frames[0] == HUGZ

    def test_an_update_without_a_uuid_is_not_applied_again_once_it_was_published(self):
        """RFC 12 allows it, and a value that has expired since must not come back."""
        protocol = passive()
        for body in (b"1", b"2", b"2"):
            protocol.receive_update((b"/a", bytes(8), b"", b"", body), 1.0)
        for number, body in enumerate((b"1", b"2"), 1):
            append(protocol, (b"/a", encode_sequence(seq(number)), b"", b"", body), now=1.1)
        assert protocol.statistics().pending == 1  # the second copy of the same is another write
        append(protocol, kvpub(seq(3), b"/a", b""), now=1.2)
        effects = protocol.become_active(2.0)
        assert [frames[4] for frames in published(effects)] == [b"2"]

    def test_s6_7_the_first_snapshot_after_a_failover_contains_the_pending_updates(self):
        protocol = passive()
        protocol.receive_update(kvset(b"/b", b"1"), 1.0)
        protocol.become_active(2.0)
        (snapshot,) = protocol.receive_snapshot_request(b"id", b"", 2.0)
        assert [entry[4] for entry in snapshot.entries] == [b"1"]

    def test_s6_2_f16_pending_ttl_is_a_duration_until_promotion(self):
        protocol = passive()
        protocol.receive_update(kvset(b"/b", b"1", b"ttl=30\n"), 1000.0)
        protocol.become_active(1005.0)
        assert published(protocol.tick(1034.9)) == []
        assert [frames[0] for frames in published(protocol.tick(1035.0))] == [b"/b"]

    def test_s6_3_f12_f14_what_the_active_published_never_is_pending(self):
        protocol = passive()
        append(protocol, kvpub(seq(1), b"/a", b"1"), now=1.0)
        append(protocol, kvpub(seq(2), b"/a", b"", b"o=ttl\n"), now=1.0)
        append(protocol, kvpub(seq(3), b"/a", b"3"), now=1.0)
        assert published(protocol.become_active(2.0)) == []
        assert contents(protocol) == {b"/a": b"3"}

    def test_s6_4_nothing_stays_pending_for_ever(self):
        protocol = passive()
        for number in range(1, 101):
            append(protocol, kvpub(seq(number), b"/a", b"", b"o=ttl\n"), now=1.0)
            protocol.receive_update(kvset(b"/b"), 1.0)
        protocol.tick(12.0)
        assert protocol.statistics().pending == 0
        assert protocol.statistics().pending_dropped == 100

    def test_a_published_uuid_is_not_pending_any_more(self):
        protocol = passive()
        write = kvset(b"/a", b"1")
        protocol.receive_update(write, 1.0)
        append(protocol, (write[0], encode_sequence(seq(1)), *write[2:]), now=1.1)
        assert protocol.statistics().pending == 0
        assert published(protocol.become_active(2.0)) == []

    def test_a_copy_that_arrives_after_the_publication_is_not_pending_either(self):
        protocol = passive()
        write = kvset(b"/a", b"1")
        append(protocol, (write[0], encode_sequence(seq(1)), *write[2:]), now=1.0)
        protocol.receive_update(write, 1.1)
        assert published(protocol.become_active(2.0)) == []

    @pytest.mark.parametrize("copy_first", [True, False])
    def test_f12_what_came_before_a_published_update_of_its_key_is_dropped(self, copy_first):
        protocol = passive()
        older, newer = kvset(b"/a", b"old"), kvset(b"/a", b"new")
        publication = (newer[0], encode_sequence(seq(1)), *newer[2:])
        protocol.receive_update(older, 1.0)
        if copy_first:
            protocol.receive_update(newer, 1.1)
        append(protocol, publication, now=1.2)
        if not copy_first:
            protocol.receive_update(newer, 1.3)
        protocol.become_active(2.0)
        assert contents(protocol) == {b"/a": b"new"}

    def test_what_came_after_a_published_update_of_its_key_is_kept(self):
        protocol = passive()
        older, newer = kvset(b"/a", b"old"), kvset(b"/a", b"new")
        protocol.receive_update(older, 1.0)
        protocol.receive_update(newer, 1.1)
        append(protocol, (older[0], encode_sequence(seq(1)), *older[2:]), now=1.2)
        protocol.receive_update(older, 3.0)  # its writer has not heard the answer
        protocol.become_active(4.0)
        assert contents(protocol) == {b"/a": b"new"}

    def test_f13_a_ghost_does_not_outlive_the_pending_time(self):
        protocol = passive()
        protocol.receive_update(kvset(b"/a", b"ghost"), 1.0)
        assert published(protocol.become_active(12.0)) == []
        assert contents(protocol) == {}

    def test_an_update_that_is_sent_again_keeps_its_place_and_stays(self):
        protocol = passive()
        first, second = kvset(b"/a", b"1"), kvset(b"/a", b"2")
        for write, now in ((first, 1.0), (second, 8.0), (first, 9.0)):
            protocol.receive_update(write, now)
        effects = protocol.become_active(12.0)
        assert [frames[4] for frames in published(effects)] == [b"1", b"2"]

    def test_s6_11_what_is_older_than_the_snapshot_is_not_applied_again(self):
        protocol = server()
        protocol.receive_update(kvset(b"/a", b"overwritten long since"), 1.0)
        protocol.become_passive(2.0)
        late = kvset(b"/b", b"late")
        protocol.receive_update(late, 2.5)
        known = kvset(b"/c", b"known")
        protocol.receive_update(known, 2.5)
        entries = [
            kvpub(seq(7), b"/a", b"new"),
            (known[0], encode_sequence(seq(8)), *known[2:]),
        ]
        send_snapshot(protocol, entries, seq(8), 3.0)
        effects = protocol.become_active(4.0)
        assert [frames[2] for frames in published(effects)] == [late[2]]
        assert contents(protocol)[b"/a"] == b"new"

    def test_s6_12_pending_updates_without_a_uuid_do_not_cancel_each_other(self):
        protocol = passive()
        for key in (b"/a", b"/b"):
            protocol.receive_update(kvset(key, its_uuid=b""), 1.0)
        append(protocol, kvpub(seq(1), b"/c", its_uuid=b""), now=1.0)
        protocol.become_active(2.0)
        assert set(contents(protocol)) == {b"/a", b"/b", b"/c"}

    def test_a_malformed_update_does_not_become_pending(self):
        protocol = passive()
        with pytest.raises(MalformedMessage):
            protocol.receive_update(kvset(b"/a", properties=b"ttl=abc\n"), 1.0)
        assert protocol.statistics().pending == 0

    def test_f23_a_promoted_server_knows_what_the_old_one_applied(self):
        write, earlier = kvset(b"/a", b"1"), kvset(b"/b", b"2")
        in_snapshot = (earlier[0], encode_sequence(seq(1)), *earlier[2:])
        protocol = passive(0.0, [in_snapshot])
        publication = (write[0], encode_sequence(seq(2)), *write[2:])
        append(protocol, publication, now=1.0)
        protocol.become_active(2.0)
        assert published(protocol.receive_update(write, 3.0)) == [publication]
        assert published(protocol.receive_update(earlier, 3.0)) == [in_snapshot]
        assert protocol.sequence == seq(0, epoch=2)

    def test_f23_updates_of_the_servers_own_push_no_clients_out_of_its_memory(self):
        """Nobody sends those again; a client may send what it wrote before all of them."""
        leader = active(figures=OwnFigures())
        follower = server(duplicates=DuplicateFilter(max_entries=4))
        follower.become_passive(0.0)
        answer_hello(leader, follower, 0, 0.0)
        for number in range(9):
            leader.receive_update(kvset(b"/%d" % number, properties=b"ttl=5\n"), 0.0)
        write, later = kvset(b"/a", b"1"), kvset(b"/a", b"2")
        for frames in (write, later):
            leader.receive_update(frames, 1.0)
        own = [frames[3] for frames in published(leader.tick(5.0))]
        assert own.count(b"o=ttl\n") == 9 and own.count(b"o=sys\n") > 4
        deliver(leader, follower, 5.0)
        follower.become_active(6.0)
        (answer,) = published(follower.receive_update(write, 7.0))
        assert sequence_of(answer) == seq(10)
        assert contents(follower)[b"/a"] == b"2"

    @pytest.mark.parametrize("mark", [b"o=ttl\n", b"o=sys\n", b"ttl=5\n"])
    def test_an_update_of_a_client_is_never_taken_for_one_of_the_servers_own(self, mark):
        """Not even if it gives back the properties that it was told."""
        leader, follower = active(1.0), server()
        follower.become_passive(1.0)
        answer_hello(leader, follower, 0, 1.0)
        write, later = kvset(b"/a", b"1", mark), kvset(b"/a", b"2")
        (publication,) = published(leader.receive_update(write, 1.0))
        assert publication[3] == (mark if mark.startswith(b"ttl") else b"")
        leader.receive_update(later, 1.0)
        deliver(leader, follower, 1.0)
        follower.become_active(6.0)
        follower.receive_update(write, 7.0)
        assert contents(follower)[b"/a"] == b"2"

    def test_f5_s6_18_the_first_number_of_a_new_epoch_exceeds_all_that_was_published(self):
        protocol = passive(0.0, [kvpub(seq(100), b"/a")], sequence=seq(100))
        protocol.become_active(1.0)
        (frames,) = published(protocol.receive_update(kvset(b"/a"), 1.0))
        assert sequence_of(frames) > seq(105)

    def test_an_epoch_that_is_ordered_is_used_if_it_is_higher(self):
        protocol = passive()
        protocol.become_active(1.0, epoch=9)
        assert epoch_of(protocol.sequence) == 9
        protocol.become_active(2.0, epoch=3)
        assert epoch_of(protocol.sequence) == 10

    def test_an_active_server_that_is_ordered_again_begins_an_epoch_and_says_so(self):
        protocol = active()
        protocol.receive_update(kvset(b"/a"), 0.1)
        effects = protocol.become_active(0.2, epoch=5)
        assert [decode_heartbeat(effect.frames).sequence for effect in effects] == [seq(1, 5)]
        # Its peer may still not have heard of what it did before.
        assert protocol.progress().writes == 1
        assert protocol.progress().fork_sequence == seq(0)

    def test_f1_a_counter_never_runs_over_into_the_epoch_that_a_peer_may_begin(self):
        protocol = active()
        protocol.store.sequence = seq(MAX_COUNTER // 2)
        protocol.tick(1.0)
        assert epoch_of(protocol.sequence) == 1
        protocol.receive_update(kvset(b"/a"), 1.5)
        (beat,) = [each for each in protocol.tick(2.0) if each.frames[0] == HUGZ][:1]
        assert protocol.sequence == decode_heartbeat(beat.frames).sequence == seq(0, 3)

    def test_progress_tells_binary_star_where_it_stands(self):
        protocol = passive(0.0, [kvpub(seq(5), b"/a")], sequence=seq(5))
        protocol.become_active(1.0)
        protocol.receive_update(kvset(b"/a", b"1", b"ttl=1\n"), 1.0)
        protocol.receive_update(kvset(b"/b"), 1.0)
        protocol.tick(2.0)
        progress = protocol.progress()
        assert (progress.epoch, progress.sequence) == (2, seq(3, 2))
        assert (progress.fork_epoch, progress.fork_sequence) == (1, seq(5))
        assert progress.writes == 2


class TestSuspended:
    def test_f6_bs_11_a_suspended_server_serves_nobody(self):
        protocol = active()
        protocol.receive_update(kvset(b"/a", b"1", b"ttl=1\n"), 0.0)
        protocol.suspend(0.0)
        assert protocol.receive_update(kvset(b"/b"), 5.0) == []
        assert protocol.receive_snapshot_request(b"id", b"", 5.0) == []
        assert protocol.receive_subscription(HUGZ, True, 5.0) == []
        assert protocol.tick(5.0) == []
        assert protocol.deadline is None

    def test_what_was_held_is_published_when_it_resumes(self):
        protocol = active()
        protocol.suspend(0.0)
        protocol.receive_update(kvset(b"/b"), 5.0)
        effects = protocol.resume(6.0)
        assert [frames[0] for frames in published(effects)] == [b"/b"]
        assert beats(effects) == [HUGZ]
        assert len(published(protocol.receive_update(kvset(b"/c"), 6.0))) == 1

    def test_what_was_held_stays_pending_when_it_yields(self):
        protocol = active()
        protocol.suspend(0.0)
        protocol.receive_update(kvset(b"/b"), 5.0)
        protocol.become_passive(6.0)
        assert protocol.resume(6.0) == []
        assert protocol.statistics().pending == 1
        assert not protocol.suspended


class TestPendingList:
    def test_nothing_is_held_longer_than_its_time(self):
        pending = PendingList(max_age=10.0)
        pending.add(kvset(b"/a"), 1.0)
        pending.expire(11.0)
        assert len(pending) == 1
        pending.expire(11.1)
        assert len(pending) == 0

    def test_the_oldest_make_room(self):
        pending = PendingList(max_entries=2)
        writes = [kvset(b"/%d" % n) for n in range(3)]
        for write in writes:
            pending.add(write, 0.0)
        assert list(pending) == writes[1:]
        assert pending.dropped == 1

    def test_bytes_have_a_limit_too(self):
        pending = PendingList(max_bytes=200)
        for n in range(3):
            pending.add(kvset(b"/%d" % n, bytes(60)), 0.0)
        assert len(pending) == 2

    def test_clearing_an_unknown_uuid_does_nothing(self):
        pending = PendingList()
        pending.add(kvset(b"/a", its_uuid=b""), 0.0)
        pending.clear_published(b"", 1.0)
        pending.clear_published(uuid(), 1.0)
        assert len(pending) == 1

    def test_taking_empties_it(self):
        pending = PendingList(max_bytes=100)
        pending.add(kvset(b"/a", bytes(50)), 0.0)
        assert len(pending.take_all()) == 1
        pending.add(kvset(b"/a", bytes(50)), 0.0)
        assert len(pending) == 1
        assert pending.dropped == 0


writes = st.lists(
    st.tuples(st.sampled_from([b"/a", b"/b", b"/c"]), st.sampled_from([b"", b"1", b"2"])),
    max_size=30,
)


@given(writes, st.integers(0, 30), st.integers(0, 30))
@settings(deadline=None)
def test_a_passive_that_took_over_holds_what_the_active_held(steps, joined, lost_from):
    """Whatever the instant of joining and of the active's death, with the clients' copies."""
    first, second = active(), server()
    for number, (key, body) in enumerate(steps):
        now = number / 10
        if number == joined:
            second.become_passive(now)
            answer_hello(first, second, 0, now)
        write = kvset(key, body)
        first.receive_update(write, now)
        second.receive_update(write, now)
        if number < lost_from:
            deliver(first, second, now)
    if second.state is not ServerState.PASSIVE:
        return
    second.become_active(len(steps) / 10)
    assert contents(second) == contents(first)


class TestWhatSimulationFound:
    """Each test names the scenario and seed of `reactor simulate` that showed the defect first."""

    def joined(self, protocol, now=0.0):
        """A passive server with the snapshot that `protocol` gives to its peer."""
        follower = server()
        follower.become_passive(now)
        assert answer_hello(protocol, follower, 0, now) == [Synchronised(), Confirm()]
        return follower

    def test_a_copy_that_comes_after_the_snapshot_is_not_applied_again(self):
        """F23: of a key, the snapshot has the newest update only (double, seed 8)."""
        protocol = active()
        older, newer = kvset(b"/a", b"1"), kvset(b"/a", b"2")
        gone = kvset(b"/b", b""), kvset(b"/c", b"3")
        for frames in (older, newer, *gone):
            protocol.receive_update(frames, 0.0)
        follower = self.joined(protocol)
        assert contents(follower) == {b"/a": b"2", b"/c": b"3"}
        for frames in (older, newer, *gone):
            follower.receive_update(frames, 1.0)
        assert follower.statistics().pending == 0
        assert published(follower.become_active(2.0)) == []
        assert contents(follower) == {b"/a": b"2", b"/c": b"3"}

    def test_a_client_is_not_told_what_was_applied(self):
        protocol = active()
        protocol.receive_update(kvset(b"/a", b"1"), 0.0)
        protocol.receive_update(kvset(b"/a", b"2"), 0.0)
        (snapshot,) = protocol.receive_snapshot_request(b"client", b"", 0.0)
        assert len(snapshot.entries) == 1

    def test_deletions_that_are_given_up_are_reported(self):
        """F1: they leave nothing in the map that could be (swizzle, seed 36)."""
        protocol = active()
        kept, deleted, set_again = kvset(b"/a"), kvset(b"/b", b""), kvset(b"/c", b"")
        protocol.receive_update(kvset(b"/b", b"before"), 0.0)
        fork = protocol.sequence
        for frames in (kept, deleted, set_again, kvset(b"/c", b"1")):
            protocol.receive_update(frames, 0.0)
        effects = protocol.become_passive(1.0, fork)
        (report,) = [each for each in effects if isinstance(each, ReportDiverged)]
        assert [(each[0], each[4]) for each in report.entries] == [
            (b"/a", b"x"),
            (b"/c", b"1"),
            (b"/b", b""),
        ]

    def test_a_deletion_before_the_fork_is_not_reported(self):
        protocol = active()
        protocol.receive_update(kvset(b"/b", b""), 0.0)
        effects = protocol.become_passive(1.0, protocol.sequence)
        assert not any(isinstance(each, ReportDiverged) for each in effects)

    def test_an_active_server_goes_on_above_an_epoch_that_a_client_has_seen(self):
        """Else clients refuse it for ever, if who led there died unheard (mixed, seed 1154)."""
        protocol = active()
        protocol.receive_update(kvset(b"/a", b"1"), 0.0)
        assert beats(protocol.receive_epoch(7, 1.0)) == [HUGZ]
        assert protocol.sequence == seq(1, epoch=8)
        assert contents(protocol) == {b"/a": b"1"}
        assert protocol.receive_epoch(7, 2.0) == []

    def test_a_passive_server_begins_above_an_epoch_that_a_client_has_seen(self):
        protocol = passive()
        assert protocol.receive_epoch(7, 1.0) == []
        protocol.become_active(2.0)
        assert epoch_of(protocol.sequence) == 8

    def test_to_go_on_in_a_higher_epoch_forgets_nothing_that_may_have_to_be_reported(self):
        protocol = active()
        fork = protocol.sequence
        protocol.receive_update(kvset(b"/a", b"1"), 0.0)
        protocol.receive_update(kvset(b"/b", b""), 0.0)
        progress = protocol.progress()
        protocol.receive_epoch(7, 1.0)
        assert (protocol.progress().writes, protocol.progress().fork_sequence) == (
            progress.writes,
            progress.fork_sequence,
        )
        effects = protocol.become_passive(2.0, fork)
        (report,) = [each for each in effects if isinstance(each, ReportDiverged)]
        assert [each[0] for each in report.entries] == [b"/a", b"/b"]

    def test_a_write_that_comes_after_a_later_one_of_its_client_is_not_applied(self):
        """It was unread on a connection that had ended (held-conflict, 10020946)."""
        make_uuid = NumberedUuids(lambda: b"c" * 16)
        first, second = (kvset(b"/a", body, its_uuid=make_uuid()) for body in (b"1", b"2"))
        protocol = active()
        protocol.receive_update(second, 0.0)
        (answer,) = protocol.receive_update(first, 1.0)
        assert decode_refusal(answer.frames) == SUPERSEDED
        assert contents(protocol) == {b"/a": b"2"}

    @pytest.mark.parametrize("after", [kvset(b"/a", b""), kvset(b"/a", b"of another")])
    def test_nor_when_the_later_one_is_gone(self, after):
        make_uuid = NumberedUuids(lambda: b"c" * 16)
        first, second = (kvset(b"/a", body, its_uuid=make_uuid()) for body in (b"1", b"2"))
        protocol = active()
        for frames in (second, after):
            protocol.receive_update(frames, 0.0)
        expected = contents(protocol)
        protocol.receive_update(first, 1.0)
        assert contents(protocol) == expected

    @pytest.mark.parametrize("joins_after", [0, 1, 2])
    def test_nor_by_the_server_that_takes_over(self, joins_after):
        """Whether it has heard of the later one over the link, or is told with its snapshot."""
        make_uuid = NumberedUuids(lambda: b"c" * 16)
        first, second = (kvset(b"/a", body, its_uuid=make_uuid()) for body in (b"1", b"2"))
        protocol, updates = active(), [second, kvset(b"/a", b"")]
        for frames in updates[:joins_after]:
            protocol.receive_update(frames, 0.0)
        follower = self.joined(protocol)
        for frames in updates[joins_after:]:
            protocol.receive_update(frames, 0.0)
        deliver(protocol, follower, 0.0)
        follower.receive_update(first, 1.0)
        follower.become_active(2.0)
        assert contents(follower) == {}
