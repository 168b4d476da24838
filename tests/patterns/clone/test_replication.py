"""The active server's end of the peer link: what waits for the passive server, and for how long."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from patterns.clone.figures import OwnFigures
from patterns.clone.levels import APPLIED, REPLICATED
from patterns.clone.messages import (
    HUGZ,
    MAX_FRAME,
    MAX_KEY,
    MAX_PROPERTIES,
    KVMessage,
    MalformedMessage,
    decode_heartbeat,
    decode_refusal,
    decode_snapshot_end,
    encode_sequence,
    make_sequence,
    parse_properties,
    sequence_of,
)
from patterns.clone.peer_link import (
    APPEND,
    APPEND_BYTES,
    APPEND_ENTRIES,
    POSITION,
    RENEWED,
    VERSION,
    Renewed,
    decode_append,
    decode_position,
    decode_renewed,
    encode_held,
    encode_hello,
)
from patterns.clone.replication import Replication, ReplicationPolicy
from patterns.clone.server_protocol import (
    Publish,
    ReportReplication,
    SendSnapshot,
    ServerProtocol,
    ServerState,
)
from patterns.clone.subtrees import SubtreeCounts

from .linked import send_snapshot

ASK = b"ack=replicated\n"
PEER = b"the passive server"
_uuids = itertools.count(1)


def uuid():
    return next(_uuids).to_bytes(16, "big")


def seq(counter, epoch=1):
    return make_sequence(epoch, counter)


class Active:
    """An active server of a pair, on whose link a test plays the passive one."""

    def __init__(self, *, linked=True, level=APPLIED, refuses=False, limit=100_000, **options):
        policy = ReplicationPolicy(level, 1.0, refuses)
        self.link = Replication(policy, max_entries=limit)
        self.protocol = ServerProtocol(make_uuid=uuid, replication=self.link, **options)
        self.protocol.become_active(0.0)
        self.effects = []
        if linked:
            self.hello(self.protocol.sequence)
            self.held(self.protocol.sequence)
            self.take_sent()
            assert self.link.in_sync

    def write(self, key=b"/a", body=b"x", properties=ASK, now=1.0, its_uuid=None):
        """What is published at once for a client's update, None if nothing."""
        its_uuid = uuid() if its_uuid is None else its_uuid
        frames = KVMessage(key, 0, its_uuid, properties, body).encode()
        return self.protocol.order_update(frames, now)

    def hello(self, sequence, now=0.0, peer=PEER):
        return self.protocol.receive_from_passive(peer, encode_hello(sequence, sequence), now)

    def held(self, sequence, now=1.0, peer=PEER, question=None):
        """The answer to a question, by default to the newest."""
        question = self.link.asked if question is None else question
        return self.protocol.receive_from_passive(peer, encode_held(sequence, question), now)

    def take_sent(self):
        """What goes over the link: a position's number, an APPEND's entries, or two numbers."""
        sent = []
        while (message := self.link.next_message()) is not None:
            self.link.message_sent()
            if message[0] == POSITION:
                sent.append(decode_position(message)[0])
            elif message[0] == RENEWED:
                sent.append(decode_renewed(message))
            else:
                sent.append(decode_append(message))
        return sent


def published(effects):
    """Number and level of publications, the reasons of refusals, and where snapshots are sent."""
    found = []
    for effect in effects:
        if isinstance(effect, SendSnapshot):
            found.append("snapshot")
        elif isinstance(effect, Publish) and effect.frames[0] != HUGZ:
            properties = parse_properties(effect.frames[3])
            number = sequence_of(effect.frames)
            found.append(properties["refused"] if not number else (number, properties.get("ack")))
    return found


class TestHoldingBack:
    def test_i6b_an_update_that_asks_is_published_when_the_passive_server_has_confirmed_it(self):
        active = Active()
        assert active.write(b"/a", b"1") is None
        assert active.protocol.store.get(b"/a")[4] == b"1"
        (entry,), position = active.take_sent()
        assert position == seq(1)
        assert (entry[0], sequence_of(entry), entry[3]) == (b"/a", seq(1), b"")
        assert published(active.held(seq(1))) == [(seq(1), "replicated")]
        assert active.protocol.store.get(b"/a")[3] == b""

    def test_who_asks_for_nothing_waits_for_nobody(self):
        active = Active()
        assert sequence_of(active.write(properties=b"")) == seq(1)
        assert active.write(properties=b"ack=applied\n")[3] == b""
        assert [len(entries) for entries in active.take_sent()] == [2]

    def test_the_policy_decides_for_writers_that_ask_for_nothing_and_they_are_told_nothing(self):
        active = Active(level=REPLICATED)
        assert active.write(properties=b"ttl=5\n") is None
        assert active.write(properties=b"ack=applied\n") is None  # only keeps its place
        effects = active.held(seq(1))
        assert published(effects) == [(seq(1), None), (seq(2), None)]
        assert effects[0].frames[3] == b"ttl=5\n"

    def test_what_comes_after_it_leaves_after_it(self):
        active = Active()
        assert active.write(b"/a") is None
        assert active.write(b"/b", properties=b"") is None
        assert active.write(b"/c", properties=b"if-sequence=7\n") is None
        assert active.protocol.receive_snapshot_request(b"client", b"", 1.0) == []
        assert active.write(b"/d") is None
        assert active.write(b"/e", properties=b"") is None
        assert published(active.held(seq(1))) == [
            (seq(1), "replicated"),
            (seq(2), None),
            "conflict",
            "snapshot",
        ]
        assert published(active.held(seq(3))) == [(seq(3), "replicated"), (seq(4), None)]
        assert active.write(b"/f", properties=b"") is not None

    def test_a_confirmation_is_for_all_up_to_its_number_and_an_older_one_for_nothing(self):
        active = Active()
        for _ in range(3):
            active.write()
        assert published(active.held(seq(2))) == [(seq(1), "replicated"), (seq(2), "replicated")]
        assert active.held(seq(1)) == []
        assert published(active.held(seq(3))) == [(seq(3), "replicated")]

    def test_a_snapshot_has_the_map_of_the_instant_at_which_it_was_asked_for(self):
        active = Active()
        active.write(b"/a")
        active.protocol.receive_snapshot_request(b"client", b"", 1.0)
        active.write(b"/b")
        *_, snapshot = active.held(seq(1))
        assert [entry[0] for entry in snapshot.entries] == [b"/a"]
        assert decode_snapshot_end(snapshot.end).sequence == seq(1)

    def test_heartbeats_go_at_once_and_tell_what_is_published(self):
        active = Active(subtrees=SubtreeCounts())
        active.protocol.receive_subscription(b"/a/", True, 0.5)
        active.write(b"/a/1", properties=b"")
        active.write(b"/a/2")
        assert self.told(active.protocol.tick(1.5)) == {b"/a/": (seq(1), 1), HUGZ: (seq(1), None)}
        active.held(seq(2), 1.6)
        assert self.told(active.protocol.tick(2.6)) == {b"/a/": (seq(2), 2), HUGZ: (seq(2), None)}

    def test_who_subscribes_while_something_waits_counts_it(self):
        active = Active()
        active.write(b"/a/1")
        active.protocol.receive_subscription(b"/a/", True, 1.0)
        active.held(seq(1))
        assert self.told(active.protocol.tick(1.5))[b"/a/"] == (seq(1), 1)

    def told(self, effects):
        beats = [decode_heartbeat(e.frames) for e in effects if not sequence_of(e.frames)]
        return {beat.subtree or HUGZ: (beat.sequence, beat.updates) for beat in beats}

    def test_an_expiry_keeps_its_place(self):
        active = Active()
        active.write(b"/a", properties=b"ttl=1\n", now=0.5)
        active.write(b"/b", now=1.4)
        assert published(active.protocol.tick(1.5)) == []
        assert published(active.held(seq(2), 1.6)) == [(seq(2), "replicated"), (seq(3), None)]

    def test_what_is_to_be_replicated_says_so_to_clients_of_a_pair_only(self):
        active = Active()
        (snapshot,) = active.protocol.receive_snapshot_request(b"client", b"", 1.0)
        assert "rep" in decode_snapshot_end(snapshot.end).features
        alone = ServerProtocol(make_uuid=uuid)
        alone.become_active(0.0)
        (snapshot,) = alone.receive_snapshot_request(b"client", b"", 1.0)
        assert "rep" not in decode_snapshot_end(snapshot.end).features


class TestCopies:
    """F23: what is sent again is answered with its first number, and not before that may leave."""

    def test_a_copy_of_what_waits_is_not_answered_before_it_leaves(self):
        active = Active()
        its_uuid = uuid()
        active.write(its_uuid=its_uuid)
        assert active.write(its_uuid=its_uuid) is None
        assert published(active.held(seq(1))) == [(seq(1), "replicated")]

    def test_a_copy_of_what_is_confirmed_is_answered_as_replicated(self):
        active = Active()
        its_uuid = uuid()
        active.write(its_uuid=its_uuid)
        active.held(seq(1))
        answer = active.write(its_uuid=its_uuid)
        assert published([Publish(answer)]) == [(seq(1), "replicated")]

    def test_a_copy_that_asks_for_more_than_the_first_one_waits(self):
        active = Active()
        its_uuid = uuid()
        active.write(its_uuid=its_uuid, properties=b"")
        assert active.write(its_uuid=its_uuid) is None
        assert published(active.held(seq(1))) == [(seq(1), "replicated")]

    def test_a_copy_of_what_was_only_applied_is_answered_by_what_is_true_now(self):
        active = Active()
        its_uuid = uuid()
        active.write(its_uuid=its_uuid)
        assert published(active.protocol.tick(2.0))[0] == (seq(1), "applied")
        assert published([Publish(active.write(its_uuid=its_uuid))]) == [(seq(1), "applied")]
        active.held(seq(1), 2.1)
        assert published([Publish(active.write(its_uuid=its_uuid))]) == [(seq(1), "replicated")]

    def test_a_copy_of_what_was_refused_is_refused_again_in_its_turn(self):
        active = Active()
        refused = uuid()
        active.write(b"/c", properties=b"if-sequence=7\n", its_uuid=refused)
        active.write(b"/a")
        assert active.write(b"/c", properties=b"if-sequence=7\n", its_uuid=refused) is None
        assert published(active.held(seq(1))) == [(seq(1), "replicated"), "conflict"]


class TestDeadline:
    def test_what_is_not_confirmed_in_time_is_published_as_applied(self):
        active = Active()
        active.write(now=1.2)
        active.write(b"/b", properties=b"", now=1.3)
        assert active.protocol.deadline <= 2.2
        assert published(active.protocol.tick(2.1)) == []
        effects = active.protocol.tick(2.2)
        assert published(effects) == [(seq(1), "applied"), (seq(2), None)]
        assert ReportReplication(False) in effects
        assert active.protocol.statistics().degraded == 1

    def test_from_then_on_nobody_waits(self):
        active = Active()
        active.write(now=1.2)
        active.protocol.tick(2.2)
        assert published([Publish(active.write(now=2.3))]) == [(seq(2), "applied")]
        assert active.protocol.statistics().degraded == 2

    def test_the_policy_may_be_to_refuse_then(self):
        active = Active(refuses=True)
        active.write(now=1.2)
        assert published(active.protocol.tick(2.2))[0] == (seq(1), "applied")
        answer = active.write(b"/b", now=2.3)
        assert decode_refusal(answer) == "unreplicated"
        assert active.protocol.sequence == seq(1)
        assert active.write(properties=b"", now=2.4) is not None
        statistics = active.protocol.statistics()
        assert (statistics.unreplicated, statistics.degraded) == (1, 1)

    @pytest.mark.parametrize("level", [APPLIED, REPLICATED])
    def test_with_a_policy_to_refuse_a_lone_server_refuses_what_is_to_be_replicated(self, level):
        active = Active(linked=False, refuses=True, level=level)
        assert decode_refusal(active.write()) == "unreplicated"
        answer = active.write(properties=b"")
        assert decode_refusal(answer) == ("unreplicated" if level == REPLICATED else "")

    def test_all_that_waits_leaves_at_once_when_the_link_is_lost(self):
        active = Active()
        active.write()
        effects = active.protocol.receive_link_lost(1.1)
        assert published(effects) == [(seq(1), "applied")]
        assert effects[-1] == ReportReplication(False)
        assert active.protocol.receive_link_lost(1.2) == []
        assert active.protocol.statistics().links_lost == 1

    def test_it_counts_again_when_the_passive_server_has_caught_up(self):
        active = Active()
        active.protocol.tick(1.0)
        active.write(now=1.2)
        active.protocol.tick(2.2)
        active.take_sent()
        active.held(seq(0), 2.3)  # answers the position of 1.0
        assert active.take_sent() == [seq(1)]
        effects = active.held(seq(1), 2.4)
        assert effects == [ReportReplication(True)]
        assert active.write(now=2.5) is None

    def test_who_answers_later_than_the_timeout_does_not_keep_up(self):
        active = Active()
        active.write(now=1.2)
        active.protocol.tick(2.2)
        for answered_at in (3.5, 5.0, 6.5):
            active.held(seq(1), answered_at)
            assert not active.link.in_sync
        assert active.held(seq(1), 7.0) == [ReportReplication(True)]

    def test_a_passive_server_that_falls_silent_is_noticed_before_anybody_has_to_wait(self):
        active = Active()
        active.protocol.tick(1.0)  # a position, which nobody answers
        assert ReportReplication(False) in active.protocol.tick(2.0)
        assert active.write(now=2.1) is not None

    def test_a_full_queue_is_as_good_as_a_timeout(self):
        active = Active(limit=2)
        for _ in range(3):
            assert active.write(now=1.2) is None
        assert active.protocol.deadline <= 1.2
        assert [level for _, level in published(active.protocol.tick(1.2))] == ["applied"] * 3


class TestLink:
    def test_f30_the_answer_to_a_hello_is_the_position_and_then_a_snapshot_if_that_differs(self):
        active = Active(linked=False)
        active.write(properties=b"")
        assert active.hello(seq(1)) == []
        assert active.take_sent() == [seq(1)]
        (snapshot,) = active.hello(0)
        assert active.take_sent() == [seq(1)]
        assert (snapshot.identity, snapshot.sequence, snapshot.packed) == (PEER, seq(1), True)

    def test_what_is_accepted_after_the_hello_is_appended_in_order_refusals_too(self):
        active = Active(linked=False)
        active.hello(0)
        active.write(b"/a", properties=b"")
        active.write(b"/c", properties=b"if-sequence=7\n")
        active.write(b"/b", b"", properties=b"")
        position, entries = active.take_sent()
        assert position == seq(0)
        assert [(entry[0], sequence_of(entry)) for entry in entries] == [
            (b"/a", seq(1)),
            (b"/c", 0),
            (b"/b", seq(2)),
        ]
        assert decode_refusal(entries[1]) == "conflict"

    def test_each_heartbeat_brings_a_position(self):
        active = Active()
        active.write(properties=b"", now=0.5)
        active.protocol.tick(1.0)
        entries, position = active.take_sent()
        assert (len(entries), position) == (1, seq(1))
        active.protocol.tick(2.0)
        active.protocol.tick(3.0)
        assert active.take_sent() == [seq(1)]  # what could not be sent is not sent twice

    def test_what_is_held_back_is_asked_about_once_a_turn_and_nothing_else_is(self):
        active = Active()
        active.write(properties=b"")
        assert [len(entries) for entries in active.take_sent()] == [1]
        for properties in (ASK, b"", ASK, b"", b"if-sequence=7\n"):
            active.write(properties=properties)
        entries, position = active.take_sent()
        assert (len(entries), position) == (5, seq(5))
        assert not active.link.sending

    def test_a_copy_that_waits_asks_although_nothing_is_sent_for_it(self):
        active = Active()
        its_uuid = uuid()
        active.write(its_uuid=its_uuid, properties=b"")
        active.take_sent()
        active.write(its_uuid=its_uuid)
        assert active.link.sending
        assert active.take_sent() == [seq(1)]

    def test_a_change_of_epoch_is_told_at_once(self):
        active = Active()
        active.protocol.receive_epoch(7, 1.0)
        new = seq(0, epoch=8)
        assert active.take_sent() == [Renewed(seq(0), new), new]

    def test_many_updates_go_in_one_message_and_very_many_in_several(self):
        active = Active()
        for _ in range(1500):
            active.write(properties=b"")
        assert [len(entries) for entries in active.take_sent()] == [1000, 500]
        for _ in range(5):
            active.write(b"/a", bytes(30_000), properties=b"")
        assert [len(entries) for entries in active.take_sent()] == [2, 2, 1]

    @pytest.mark.parametrize("size", [0, APPEND_BYTES // APPEND_ENTRIES - 1, MAX_PROPERTIES])
    def test_no_message_is_longer_than_the_passive_server_takes(self, size):
        """It hangs up on a longer one: whatever the updates have, properties above all."""
        active = Active()
        properties = b"x=%s\n" % (b"p" * (size - 3)) if size else b""
        for _ in range(APPEND_ENTRIES):
            active.write(b"k" * MAX_KEY, b"1", properties)
        while (message := active.link.next_message()) is not None:
            active.link.message_sent()
            assert max(map(len, message)) < MAX_FRAME

    def test_what_was_not_taken_is_the_next_message_again(self):
        link = Active().link
        link.append((b"/a", encode_sequence(1), b"", b"", b"x"))
        first = link.next_message()
        link.append((b"/b", encode_sequence(2), b"", b"", b"x"))
        assert link.next_message() is first and first[0] == APPEND
        link.message_sent()
        assert [entry[0] for entry in decode_append(link.next_message())] == [b"/b"]

    def test_a_link_that_takes_nothing_is_given_up_at_its_limit(self):
        active = Active(limit=3)
        for _ in range(4):
            active.write(properties=b"")
        assert active.link.next_message() is None
        assert active.protocol.statistics().links_lost == 1
        assert published([Publish(active.write())]) == [(seq(5), "applied")]

    def test_hello_again_with_the_newest_number_is_confirmed_by_its_answer(self):
        """The hello itself may be as old as its way was long."""
        active = Active()
        active.write(now=1.0)
        peer = b"another socket of it"
        assert published(active.hello(seq(1), 1.1, peer=peer)) == []
        assert active.link.in_sync
        assert active.take_sent() == [seq(1)]
        assert published(active.held(seq(1), 1.2, peer=peer)) == [(seq(1), "replicated")]

    def test_hello_with_another_number_makes_nobody_wait(self):
        active = Active()
        active.write(now=1.0)
        effects = active.hello(0, 1.1)
        assert published(effects) == [(seq(1), "applied"), "snapshot"]
        assert ReportReplication(False) in effects

    def test_hello_alone_is_no_proof_that_the_way_there_is_open(self):
        active = Active(linked=False)
        active.hello(seq(0))
        assert not active.link.in_sync

    def test_nobody_but_the_one_who_said_hello_can_confirm(self):
        active = Active()
        active.write()
        with pytest.raises(MalformedMessage):
            active.held(seq(1), peer=b"somebody else")
        active.hello(seq(1), 1.1, peer=b"another")
        with pytest.raises(MalformedMessage):
            active.held(seq(1))
        lone = Active(linked=False)
        with pytest.raises(MalformedMessage):
            lone.held(seq(0), peer=b"")

    def test_nobody_confirms_what_was_never_given_or_asked(self):
        active = Active()
        with pytest.raises(MalformedMessage):
            active.held(seq(1))
        with pytest.raises(MalformedMessage, match="question"):
            active.held(seq(0), question=active.link.asked + 1)

    @pytest.mark.parametrize(
        "frames",
        [
            (b"LINK",),
            (b"LINK", VERSION),
            (b"LINK", VERSION, b"short", bytes(8)),
            (b"LINK", VERSION, encode_sequence(-1), bytes(8)),
            (b"LINK", VERSION, bytes(8)),
            (b"LINK", b"9", bytes(8), bytes(8)),
            (b"HELD",),
            (b"HELD", bytes(8)),
            (b"HELD", b"", bytes(8)),
            (b"HELD", bytes(8), b""),
            (b"HELD", bytes(8), encode_sequence(-1)),
            (b"HELD", bytes(8), bytes(8), b""),
        ],
    )
    def test_f33_what_is_malformed_changes_nothing(self, frames):
        active = Active()
        before = active.protocol.statistics()
        with pytest.raises(MalformedMessage):
            active.protocol.receive_from_passive(PEER, frames, 1.0)
        assert active.protocol.statistics() == before

    def test_who_is_not_active_answers_no_hello(self):
        passive = ServerProtocol(make_uuid=uuid, replication=Replication())
        passive.become_passive(0.0)
        assert passive.receive_from_passive(PEER, encode_hello(0, 0), 1.0) == []
        assert passive.replication.next_message() is None


class TestFigures:
    def test_a_quiet_server_publishes_no_figures_of_its_own_figures(self):
        """With all held back, each figure waits itself, and none is told to be replicated."""
        for linked in (True, False):
            active = Active(linked=linked, level=REPLICATED, figures=OwnFigures(5.0))
            active.write(now=0.1)
            for second in range(1, 60):
                active.protocol.tick(float(second))
                if linked:
                    active.held(active.protocol.sequence, second + 0.1)
                if second == 20:
                    before = active.protocol.sequence
            assert active.protocol.sequence == before
            assert active.protocol.statistics().degraded == (not linked)


class TestChangesOfState:
    def test_i21_what_was_held_is_refused_by_who_takes_over_and_has_nobody_who_follows(self):
        policy = ReplicationPolicy(REPLICATED, refuses=True)
        protocol = ServerProtocol(make_uuid=uuid, replication=Replication(policy))
        protocol.become_passive(0.0)
        send_snapshot(protocol, (), seq(0), 0.1)
        assert protocol.order_update(KVMessage(b"/a", 0, uuid(), b"", b"1").encode(), 0.2) is None
        assert published(protocol.become_active(0.3)) == ["unreplicated"]
        assert protocol.store.get(b"/a") is None

    def test_who_becomes_passive_forgets_what_waited(self):
        active = Active()
        active.write()
        effects = active.protocol.become_passive(1.1)
        assert published(effects) == []
        assert active.protocol.state is ServerState.SYNCING
        assert active.protocol.statistics().waiting == 0
        assert active.protocol.become_active(2.0, force=True)[-1].frames[0] == HUGZ

    def test_what_waited_and_is_given_up_is_reported(self):
        active = Active()
        fork = active.protocol.sequence
        active.write(b"/a")
        (report,) = [
            each for each in active.protocol.become_passive(1.1, fork) if hasattr(each, "entries")
        ]
        assert [entry[0] for entry in report.entries] == [b"/a"]

    def test_while_suspended_nothing_leaves_and_then_what_may(self):
        active = Active()
        active.write()
        active.write(b"/b", now=1.0)
        active.protocol.suspend(1.0)
        assert active.held(seq(1), 1.1) == []
        assert active.protocol.tick(9.0) == []
        effects = active.protocol.resume(9.1)
        assert published(effects) == [(seq(1), "applied"), (seq(2), "applied")]

    def test_a_link_lost_while_suspended_makes_nobody_wait_afterwards(self):
        active = Active()
        active.write()
        active.protocol.suspend(1.0)
        assert active.protocol.receive_link_lost(1.1) == []
        assert published(active.protocol.resume(1.2)) == [(seq(1), "applied")]

    def test_who_was_not_heard_while_suspended_holds_nothing_for_sure(self):
        """Its machine may have lost its power meanwhile (mixed, 10095918)."""
        active = Active()
        its_uuid = uuid()
        active.write(its_uuid=its_uuid)
        active.held(seq(1))
        active.protocol.suspend(10.0)
        active.protocol.resume(10.5)
        assert active.write(its_uuid=its_uuid, now=10.6) is None
        assert published(active.protocol.tick(11.0)) == [(seq(1), "applied")]

    def test_what_was_sent_before_it_was_suspended_does_not_tell_who_is_there(self):
        """It was long on its way, and who sent it has died since (held, 10913528)."""
        active = Active()
        its_uuid = uuid()
        active.write(its_uuid=its_uuid)
        active.held(seq(1))
        earlier = active.link.asked
        active.protocol.suspend(10.0)
        active.protocol.resume(10.1)
        assert active.write(its_uuid=its_uuid, now=10.2) is None
        assert published(active.held(seq(1), 10.3, question=earlier)) == []
        assert published(active.held(seq(1), 10.4)) == [(seq(1), "replicated")]

    def test_an_answer_that_comes_after_a_long_pause_keeps_nobody_in_step(self):
        active = Active()
        active.protocol.tick(1.0)  # a heartbeat asks
        earlier = active.link.asked
        active.protocol.suspend(6.0)
        active.held(seq(0), 6.0, question=earlier)
        active.protocol.resume(6.1)
        active.protocol.tick(7.0)
        assert not active.link.in_sync

    def test_of_questions_that_cannot_be_sent_only_the_newest_is_kept(self):
        active = Active()
        for second in range(1, 100):
            active.protocol.tick(float(second))
        assert active.take_sent() == [seq(0)]
        assert active.link.next_message() is None

    def test_a_question_that_is_being_sent_stays_before_the_next_one(self):
        active = Active()
        active.protocol.tick(1.0)
        first = active.link.next_message()  # and the link takes it only later
        active.protocol.tick(2.0)
        assert active.link.next_message() == first
        assert active.take_sent() == [seq(0), seq(0)]

    def test_a_question_that_could_not_be_sent_before_the_pause_is_asked_again(self):
        active = Active()
        active.protocol.tick(1.0)
        unsent = active.link.asked
        active.protocol.suspend(6.0)
        assert active.link.asked == unsent + 1
        assert active.take_sent() == [seq(0)]

    def test_a_promoted_server_has_nothing_confirmed_and_nobody_linked(self):
        active = Active()
        its_uuid = uuid()
        active.write(its_uuid=its_uuid)
        active.held(seq(1))
        active.protocol.become_passive(2.0)
        active.protocol.become_active(3.0, force=True)
        assert (active.link.peer, active.link.confirmed, active.link.in_sync) == (b"", 0, False)

    def test_one_that_leads_on_in_another_epoch_tells_its_link(self):
        active = Active()
        active.write()
        active.take_sent()
        active.protocol.become_active(1.1, epoch=5)
        new = seq(1, epoch=5)
        assert active.take_sent() == [Renewed(seq(1), new), new]
        assert published(active.held(new, 1.2)) == [(seq(1), "replicated")]

    def test_it_is_said_once_when_the_passive_server_falls_behind_or_is_back(self):
        active = Active(linked=False)
        active.hello(seq(0))
        assert active.held(seq(0), 0.1) == [ReportReplication(True)]
        assert active.held(seq(0), 0.2) == []


def test_a_policy_is_checked():
    with pytest.raises(ValueError, match="neither"):
        ReplicationPolicy("sometimes")
    with pytest.raises(ValueError, match="more than 0 s"):
        ReplicationPolicy(timeout=0.0)


steps = st.lists(
    st.tuples(
        st.sampled_from(["ask", "plain", "refused", "snapshot", "held", "tick", "hello", "lost"]),
        st.integers(0, 5),
    ),
    max_size=60,
)


@given(steps, st.booleans())
@settings(deadline=None)
def test_all_leaves_once_and_in_order_whatever_happens(steps, always):
    """And nothing is told as replicated that the passive server has not confirmed."""
    active = Active(level=REPLICATED if always else APPLIED)
    left, expected, now, confirmed = [], [], 1.0, seq(0)
    for step, argument in steps:
        effects = []
        now += argument / 10
        if step in ("ask", "plain", "refused"):
            properties = {"ask": ASK, "plain": b"", "refused": b"if-sequence=7\n"}[step]
            answer = active.write(properties=properties, now=now)
            expected.append("conflict" if step == "refused" else active.protocol.sequence)
            effects = [] if answer is None else [Publish(answer)]
        elif step == "snapshot":
            effects = active.protocol.receive_snapshot_request(b"client", b"", now)
            expected.append("snapshot")
        elif step == "held" and active.link.peer:
            confirmed = max(confirmed, active.protocol.sequence - argument, seq(0))
            effects = active.held(confirmed, now)
        elif step == "tick":
            effects = active.protocol.tick(now)
        elif step == "hello":
            confirmed = active.protocol.sequence
            effects = active.hello(confirmed, now)
        elif step == "lost":
            effects = active.protocol.receive_link_lost(now)
        found = published(effects)
        told = [each for each in found if isinstance(each, tuple) and each[1] == REPLICATED]
        assert all(number <= confirmed for number, _ in told)
        left += [each[0] if isinstance(each, tuple) else each for each in found]
    left += [
        each[0] if isinstance(each, tuple) else each
        for each in published(active.protocol.receive_link_lost(now))
    ]
    assert left == expected
    assert active.protocol.published == active.protocol.sequence
