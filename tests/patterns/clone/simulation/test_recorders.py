"""The recorders see while it happens what no history could show afterwards, each planted here."""

import pytest

from patterns.clone.client_effects import Expired, Stale, WriteAcknowledged
from patterns.clone.client_protocol import ClientProtocol, ClientState
from patterns.clone.levels import with_level
from patterns.clone.losses import LOST
from patterns.clone.messages import encode_sequence, heartbeat, make_sequence, refusal
from patterns.clone.replication import Replication, ReplicationPolicy
from patterns.clone.server_effects import ReportReplication
from patterns.clone.simulation.client_recorder import ClientRecorder
from patterns.clone.simulation.history import EVERYTHING, Entry, History, Write
from patterns.clone.simulation.server_recorder import ServerRecorder
from patterns.clone.store import KeyValueStore

EPOCH = 5


def seq(counter):
    return make_sequence(EPOCH, counter)


def update(counter, properties=b"", key=b"/a/k", body=b"1"):
    return (key, encode_sequence(seq(counter)), b"%016d" % counter, properties, body)


class Pair:
    """The active server's recorder and store, and the map of its peer."""

    def __init__(self):
        self.history = History((EVERYTHING,))
        self.active = ServerRecorder(self.history, "primary", lambda: 1.0)
        self.peer = KeyValueStore()
        ServerRecorder(self.history, "backup", lambda: 1.0).hold(self.peer)
        self.store = KeyValueStore()
        self.active.hold(self.store)
        self.active.begin((), 0)
        self.active.number(seq(0))

    def store_update(self, counter, replicated=False):
        frames = update(counter)
        self.store.apply(frames, seq(counter))
        if replicated:
            self.peer.apply(frames, seq(counter))
        return frames

    @property
    def found(self):
        return [each.invariant for each in self.history.violations]


@pytest.fixture
def pair():
    return Pair()


def test_what_is_published_in_order_and_held_by_both_is_well(pair):
    for counter in (1, 2):
        pair.active.published(pair.store_update(counter, replicated=True), seq(counter))
    pair.active.published(heartbeat(b"seq=%d\n" % seq(2)))
    pair.active.published(update(1, b"ack=replicated\n"))
    assert pair.found == []
    assert list(pair.history.promised) == [seq(1), seq(2)]


def test_i6b_a_server_promises_what_its_peer_does_not_hold(pair):
    pair.active.published(pair.store_update(1), seq(1))
    assert pair.found == ["I6b"]


def test_i6b_a_server_answers_replicated_and_its_peer_does_not_hold_it(pair):
    frames = pair.store_update(1)
    pair.active.published((*frames[:3], with_level(b"", "replicated"), frames[4]))
    assert pair.found == ["I6b"]


def test_i20_a_later_update_overtakes_one_that_is_held_back(pair):
    pair.store_update(1)
    pair.active.published(pair.store_update(2))
    assert pair.found == ["I20"]


def test_i20_a_heartbeat_tells_a_number_that_is_held_back(pair):
    pair.store_update(1)
    pair.active.published(heartbeat(b"seq=%d\n" % seq(1)))
    assert pair.found == ["I20"]


def test_i20_who_is_not_active_publishes(pair):
    pair.active.yields()
    pair.active.published(update(7))
    assert pair.found == ["I20"]


def want(pair, frames, **details):
    """A client has written this."""
    write = Write("client-0", 1, frames[0], frames[4], 0.0, **details)
    pair.history.writes[frames[2]] = write
    return write


@pytest.mark.parametrize(("in_sync", "found"), [(True, ["I20"]), (False, [])])
def test_i20_a_write_that_is_to_be_replicated_is_published_unconfirmed(pair, in_sync, found):
    pair.active.link = link_of(pair, in_sync=in_sync)
    frames = pair.store_update(1)
    want(pair, frames, level="replicated")
    pair.active.published(frames)
    assert pair.found == found


def link_of(pair, *, in_sync, refuses=False):
    link = Replication(ReplicationPolicy(refuses=refuses))
    link.in_sync = in_sync
    return link


def be_replaced(pair):
    """The other server leads in a later epoch, and this one has an update that is held back."""
    frames = pair.store_update(1)
    other = ServerRecorder(pair.history, "backup", lambda: 2.0)
    other.begin((), 0)
    other.number(make_sequence(EPOCH + 1, 0))
    pair.history.activities[-1].began = -3.0
    return frames


def test_i20_who_has_been_replaced_publishes(pair):
    pair.active.published(be_replaced(pair))
    assert pair.found == ["I20"]


def test_i20_who_was_replaced_a_moment_ago_cannot_know_yet(pair):
    """It began with nothing, and the other one leads with its old copy (mixed, 10076301)."""
    frames = be_replaced(pair)
    pair.history.activities[-1].began = -1.0
    pair.active.published(frames)
    assert pair.found == []


@pytest.mark.parametrize(
    ("fault", "found"),
    [
        ((0.0, 0.5, "cut", ("backup", "primary")), []),
        ((0.0, 0.5, "trickle", ("backup", "primary")), []),
        ((0.0, 0.5, "slow", ("backup", "primary")), ["I20"]),
        ((0.0, 0.5, "pause", ("backup",)), []),
        ((0.0, 0.5, "pause", ("primary",)), ["I20"]),
        ((0.0, 0.5, "cut", ("client-0", "primary")), ["I20"]),
        ((-9.0, -8.0, "cut", ("backup", "primary")), ["I20"]),
    ],
)
def test_i20_who_could_not_hear_that_it_was_replaced_may_publish(pair, fault, found):
    """Who stood still itself asks before it lets anything go."""
    frames = be_replaced(pair)
    pair.history.faults.append(fault)
    pair.active.published(frames)
    assert pair.found == found


@pytest.mark.parametrize(
    ("began", "fork", "found"), [(-3.0, 0, []), (-3.0, 1, ["I20"]), (-4.0, 0, ["I20"])]
)
def test_i20_who_began_with_nothing_under_a_slow_link_is_no_news(pair, began, fork, found):
    """Who leads with data publishes until its question is answered (mixed, 11935068)."""
    frames = be_replaced(pair)
    rival = pair.history.activities[-1]
    rival.began, rival.fork = began, fork
    pair.history.faults.append((-3.5, 0.5, "slow", ("primary", "backup")))
    pair.active.published(frames)
    assert pair.found == found


def test_i6b_a_server_promises_what_its_peer_has_given_up(pair):
    """It lives, and holds another map since."""
    pair.active.published(pair.store_update(1, replicated=True))
    pair.history.copies[0].ended = 1.0
    other = ServerRecorder(pair.history, "backup", lambda: 1.0)
    other.hold(KeyValueStore())
    pair.active.published(update(1, b"ack=replicated\n"))
    assert pair.found == ["I6b"]


def test_i21_a_number_is_given_to_what_has_to_be_refused(pair):
    pair.active.link = link_of(pair, in_sync=False, refuses=True)
    want(pair, update(1))
    pair.store_update(1)
    assert pair.found == []
    want(pair, update(2), level="replicated")
    pair.store_update(2)
    assert pair.found == ["I21"]


@pytest.mark.parametrize(
    ("reason", "details", "found"),
    [
        ("conflict", {"compares": True}, []),  # what it met may be gone by now
        ("conflict", {}, ["I22"]),
        ("unreplicated", {}, ["I21"]),
        ("superseded", {}, ["I8"]),
        ("superseded", {"number": 0}, []),
        ("full", {}, ["I11"]),
    ],
)
def test_a_write_is_refused_without_a_cause(pair, reason, details, found):
    pair.active.link = link_of(pair, in_sync=True)
    want(pair, pair.store_update(1))
    refused = update(2)
    write = want(pair, refused)
    write.number = 2
    for name, value in details.items():
        setattr(write, name, value)
    pair.active.published(refusal(refused, reason))
    pair.active.published(refusal(refused, reason))  # sent again, it is the same one
    assert pair.found[:1] == found


def test_i16_an_order_to_lead_comes_from_an_operator_or_as_the_peer_has_lost_all(pair):
    pair.store_update(1)
    other = ServerRecorder(pair.history, "backup", lambda: 2.0)
    assert not other.may_be_forced(0)
    assert not other.may_be_forced(seq(1))
    assert other.may_be_forced(make_sequence(EPOCH - 1, 7))  # what the primary has lost
    pair.history.outages.append((0.0, 2.0))
    assert other.may_be_forced(0)


def test_i6a_a_server_answers_what_it_has_given_up(pair):
    given_up = pair.store_update(1)
    pair.active.published(given_up)
    pair.active.yields()
    pair.active.begin((), 0)
    pair.active.number(make_sequence(EPOCH + 1, 0))
    pair.active.published(given_up)
    assert pair.found == ["I6a"]


def test_i6b_what_a_peer_confirmed_that_is_long_gone_is_no_promise(pair):
    frames = pair.store_update(1, replicated=True)
    copy = pair.history.copies[0]
    copy.died, copy.ended = True, -1.0
    pair.active.published(frames, seq(1))
    assert pair.found == []
    copy.ended = -3.0
    pair.active.published(frames, seq(1))  # sent again to one who has asked for no level
    assert pair.found == []
    pair.active.published(update(1, b"ack=replicated\n"), seq(1))
    assert pair.found == ["I6b"]


def test_i1_a_number_is_given_twice(pair):
    pair.store_update(1)
    pair.store_update(1)
    assert pair.found == ["I1"]


def test_i1_an_epoch_is_used_twice(pair):
    pair.active.dies()
    pair.active.begin((), 0)
    pair.active.number(seq(0))
    assert pair.found == ["I1"] and not pair.history.void


@pytest.mark.parametrize(("died", "found"), [(True, []), (False, ["I1"])])
def test_i1_an_epoch_that_death_and_a_clock_have_undone_is_used_twice(pair, died, found):
    pair.history.set_back.add("primary")
    if died:
        pair.active.dies()
    pair.active.begin((), 0)
    pair.active.number(seq(0))
    assert pair.found == found
    assert pair.history.void == died


@pytest.mark.parametrize(("fork", "epoch", "found"), [(0, 3, []), (7, 3, ["I1"]), (0, 0, ["I1"])])
def test_i1_who_forgot_all_and_whose_clock_is_behind_may_use_an_epoch_of_its_peer(
    pair, fork, epoch, found
):
    """It began in an epoch of the past, and a client told it of a newer one (mixed, 11013585)."""
    pair.history.set_back.add("backup")
    other = ServerRecorder(pair.history, "backup", lambda: 2.0)
    if epoch:
        other.begin((), fork)
        other.number(make_sequence(epoch, 0))
    other.begin((), make_sequence(3, 5))
    other.number(seq(0))
    assert [text for text in pair.found if text == "I1"] == found
    assert pair.history.void is not bool(found)


@pytest.mark.parametrize(("at", "found"), [(0.0, []), (-1.0, ["I21"])])
def test_a_server_that_is_in_step_again_may_just_have_refused(pair, at, found):
    """It found out and heard its peer within one instant (mixed, 11737565)."""
    pair.active.link = link_of(pair, in_sync=True, refuses=True)
    refused = want(pair, pair.store_update(1)) and update(2)
    want(pair, refused)
    pair.active.see([ReportReplication(False)])
    pair.active._late_at += at
    pair.active.published(refusal(refused, "unreplicated"))
    assert pair.found == found


def test_the_first_refusal_is_noted(pair):
    frames = update(1)
    pair.active.published(refusal(frames, "conflict"))
    assert pair.history.refused == {frames[2]: (pair.active.activity, 1.0)}


def recorder_of(pair, counter):
    """The recorder of a live client that holds one update."""
    protocol = ClientProtocol(jitter=lambda: 0.5)
    protocol.state = ClientState.LIVE
    protocol.store.apply(update(counter), seq(counter))
    recorder = ClientRecorder(pair.history, "client-0", lambda: 1.0)
    recorder.watch(protocol)
    return recorder


def test_i4_a_client_holds_another_map_than_it_was_told_of(pair):
    recorder = recorder_of(pair, 1)
    recorder.view = {b"/a/k": b"1"}
    recorder.check_map()
    assert pair.found == []
    recorder.view = {}
    recorder.check_map()
    assert pair.found == ["I4"]


@pytest.mark.parametrize(
    ("ttl", "state", "found"),
    [
        (2.0, ClientState.CONNECTING, ["I12"]),
        (0.0, ClientState.CONNECTING, ["I12"]),
        (0.9, ClientState.CONNECTING, []),
        (2.0, ClientState.LIVE, []),
    ],
)
def test_i12_a_client_lets_a_value_expire_early(pair, ttl, state, found):
    """By its own clock, without a server that would say so."""
    pair.active.activity.add(Entry(seq(1), 0.0, b"/a/k", b"uuid", b"1", ttl))
    recorder = recorder_of(pair, 1)
    recorder.view = {b"/a/k": b"1"}
    recorder._protocol.state = state
    recorder.see([Expired(b"/a/k")])
    assert [each for each in pair.found if each == "I12"] == found


def test_i20_a_client_shows_what_is_held_back(pair):
    pair.store_update(1)
    recorder_of(pair, 1).see([])
    assert "I20" in pair.found


def test_i6b_a_client_believes_what_no_server_has_promised(pair):
    frames = pair.store_update(1)
    pair.active.published(frames)
    write = Write("client-0", 1, frames[0], frames[4], 0.0, level="replicated")
    pair.history.writes[frames[2]] = write
    recorder_of(pair, 1).see([WriteAcknowledged(frames[2], seq(1))])
    assert "I6b" in pair.found


@pytest.mark.parametrize(
    ("squeezed", "reason", "noted"),
    [(True, LOST, ["loss"]), (False, LOST, []), (True, "server silent", [])],
)
def test_a_loss_is_a_fault_of_a_client_whose_queues_are_short(pair, squeezed, reason, noted):
    """There it is nobody's mistake, and keeps the client away for ever longer (mixed, 11532151)."""
    recorder = recorder_of(pair, 1)
    recorder.squeezed = squeezed
    recorder.see([Stale(reason)])
    assert [kind for _, _, kind, nodes in pair.history.faults if nodes == ("client-0",)] == noted
