"""In which order updates, answers and snapshots leave an active server."""

from patterns.clone.departures import Departures
from patterns.clone.levels import APPLIED, REPLICATED
from patterns.clone.messages import (
    KVMessage,
    decode_heartbeat,
    make_sequence,
    parse_properties,
    refusal,
    sequence_of,
    snapshot_end,
)
from patterns.clone.replication import Replication
from patterns.clone.server_effects import Publish, ReportReplication, SendSnapshot
from patterns.clone.subtrees import SubtreeCounts

PEER = b"the passive server"


def seq(counter):
    return make_sequence(1, counter)


def update(counter, key=b"/a/1"):
    return KVMessage(key, seq(counter), counter.to_bytes(16, "big"), b"", b"x").encode()


def alone():
    counts = SubtreeCounts()
    counts.subscribe(b"/a/", 0)
    return Departures(Replication(), counts)


def in_sync():
    """With a passive server that holds all there is."""
    departures = alone()
    departures.replication.attach(PEER, 0, 0, 0.0)
    departures.replication.receive_held(PEER, 0, 1, 0, 0.0)
    assert departures.settle(0.0) == [ReportReplication(True)]
    return departures


def counted(departures):
    return decode_heartbeat(departures.subtrees.heartbeats()[0]).updates


def confirm(departures, counter):
    link = departures.replication
    link.receive_held(PEER, seq(counter), link.asked, seq(counter), 0.0)
    return departures.settle(0.0)


def test_what_waits_for_nobody_leaves_at_once_and_is_counted():
    departures = alone()
    assert departures.leave(update(1), seq(1), 0.0) == update(1)
    assert counted(departures) == 1
    assert departures.settle(0.0) == []


def test_what_cannot_be_replicated_leaves_with_the_level_that_it_has_if_somebody_asked():
    departures = alone()
    assert departures.leave(update(1), seq(1), 0.0, True) == update(1)
    leaving = departures.leave(update(2), seq(2), 0.0, True, asked=True)
    assert parse_properties(leaving[3]) == {"ack": APPLIED}
    assert departures.leave(update(3), seq(3), 0.0, True, own=True) == update(3)
    assert departures.replication.degraded == 2


def test_i20_whatever_comes_after_an_update_that_waits_leaves_after_it():
    departures = in_sync()
    snapshot = SendSnapshot(b"client", b"", seq(2), (update(1),), snapshot_end(seq(2), b""))
    refused = refusal(update(3), "full")
    assert departures.leave(update(1), seq(1), 0.0, True, asked=True) is None
    assert departures.leave(update(2), seq(2), 0.0) is None
    assert departures.keep_place(snapshot, 0.0) is None
    assert departures.keep_place(refused, 0.0) is None
    assert departures.leave_again(update(2), seq(2), seq(2), 0.0, asked=False) is None
    assert departures.settle(0.0) == []
    assert counted(departures) == 0
    first, *others = confirm(departures, 1)
    assert parse_properties(first.frames[3]) == {"ack": REPLICATED}
    assert others == [Publish(update(2)), snapshot, Publish(refused), Publish(update(2))]
    assert counted(departures) == 2


def test_an_answer_with_nothing_before_it_leaves_at_once():
    departures = in_sync()
    assert departures.keep_place(refusal(update(1), "full"), 0.0) is not None


def test_who_asks_again_for_what_is_not_confirmed_waits_for_it():
    departures = in_sync()
    assert departures.leave(update(1), seq(1), 0.0) == update(1)
    assert departures.leave_again(update(1), seq(1), seq(1), 0.0, asked=True) is None
    assert departures.replication.published(seq(1)) == seq(1)  # it has left before
    (answer,) = confirm(departures, 1)
    assert parse_properties(answer.frames[3]) == {"ack": REPLICATED}
    again = departures.leave_again(update(1), seq(1), seq(1), 0.0, asked=True)
    assert parse_properties(again[3]) == {"ack": REPLICATED}
    assert counted(departures) == 1


def test_a_passive_server_that_is_late_holds_nothing_back_any_more_and_is_reported_once():
    departures = in_sync()
    departures.leave(update(1), seq(1), 0.0, True, own=True)
    departures.leave(update(2), seq(2), 0.0, True)
    late = departures.replication.deadline
    assert departures.settle(late) == [
        Publish(update(1)),
        Publish(update(2)),
        ReportReplication(False),
    ]
    assert departures.settle(late + 1.0) == []
    assert departures.replication.degraded == 1  # what the server says itself is promised to nobody


def test_what_waits_when_the_activity_ends_never_leaves():
    departures = in_sync()
    departures.leave(update(1), seq(1), 0.0, True)
    departures.end()
    assert departures.settle(9.0) == []


def test_i6b_an_answer_that_waits_tells_the_level_of_the_instant_at_which_it_leaves():
    """What it waited behind was given up, with the passive server that had confirmed it."""
    departures = in_sync()
    assert departures.leave(update(1), seq(1), 0.0) == update(1)
    confirm(departures, 1)
    assert departures.leave(update(2), seq(2), 0.1, True, asked=True) is None
    assert departures.leave_again(update(1), seq(1), seq(2), 0.1, asked=True) is None
    departures.replication.lose()
    left = [each.frames for each in departures.settle(0.2) if isinstance(each, Publish)]
    assert [(sequence_of(each), parse_properties(each[3])["ack"]) for each in left] == [
        (seq(2), APPLIED),
        (seq(1), APPLIED),
    ]
