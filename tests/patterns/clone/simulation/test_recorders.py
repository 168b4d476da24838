"""The recorders see while it happens what no history could show afterwards, each planted here."""

import pytest

from patterns.clone.client_effects import WriteAcknowledged
from patterns.clone.client_protocol import ClientProtocol, ClientState
from patterns.clone.levels import with_level
from patterns.clone.messages import encode_sequence, heartbeat, make_sequence, refusal
from patterns.clone.simulation.history import EVERYTHING, History, Write
from patterns.clone.simulation.recorders import ClientRecorder, ServerRecorder
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
