"""The checker sees: of every invariant a violation is planted, and it is found, alone."""

import pytest

from patterns.clone.messages import KVMessage, make_sequence
from patterns.clone.simulation.checker import check
from patterns.clone.simulation.history import EVERYTHING, Entry, History, Write

LOST_SLOWLY = 5.0


class Story:
    """A history that a test tells; without a mistake in it, nothing is violated."""

    def __init__(self):
        self.history = History((EVERYTHING,))
        self.uuids = 0
        self.now = 0.0

    def lead(self, node, epoch, fork=0, base=()):
        activity = self.history.begin(node, self.now, fork, base)
        activity.epoch = epoch
        self.history.by_epoch.setdefault(epoch, activity)
        return activity

    def put(self, activity, key=b"k", body=b"1", *, counter=None, uuid=None, ttl=0.0, expiry=False):
        self.uuids += 1
        counter = len(activity.entries) + 1 if counter is None else counter
        uuid = b"%d" % self.uuids if uuid is None else uuid
        sequence = make_sequence(activity.epoch, counter)
        entry = Entry(sequence, self.now, key, uuid, body, ttl, expiry)
        activity.add(entry)
        if not expiry:  # somebody wrote it
            self.history.writes[uuid] = Write("nobody", self.uuids, key, body, self.now)
        return entry

    def write(self, entry, client="client-0", number=None, acknowledged=True):
        number = self.uuids if number is None else number
        write = Write(client, number, entry.key, entry.body, self.now)
        if acknowledged:
            write.answered, write.sequence = self.now, entry.sequence
        self.history.writes[entry.uuid] = write

    def fault(self, kind, begin, end, *nodes):
        self.history.faults.append((begin, end, kind, nodes))

    def verdict(self, last, healed_at=0.0):
        self.lost = check(self.history, last, healed_at, self.now)
        return [each.invariant for each in self.history.violations]


@pytest.fixture
def story():
    return Story()


def base_of(activity):
    return [
        KVMessage(entry.key, entry.sequence, b"", b"", entry.body).encode()
        for entry in activity.entries
    ]


def test_a_history_without_mistakes_passes(story):
    first = story.lead("primary", 1)
    for key, body in ((b"a", b"1"), (b"b", b"2"), (b"a", b"")):
        story.write(story.put(first, key, body))
    story.now, first.ended = 10.0, 10.0
    second = story.lead("backup", 2, first.sequence, [base_of(first)[1]])
    story.write(story.put(second, b"c", b"3"))
    assert story.verdict(second) == []
    assert story.lost == 0


def test_i1_numbers_grow(story):
    activity = story.lead("primary", 1)
    story.put(activity, b"a", counter=2)
    story.put(activity, b"b", counter=2)
    assert story.verdict(activity) == ["I1"]


def test_i2_two_actives_without_a_reason(story):
    story.lead("primary", 1)
    last = story.lead("backup", 2)
    story.now = 3.0
    assert story.verdict(last) == ["I2'"]


def test_i2_two_actives_for_longer_than_the_reason(story):
    story.fault("cut", 0.0, 2.0, "primary", "backup")
    story.lead("primary", 1)
    last = story.lead("backup", 2)
    story.now = 7.0
    assert story.verdict(last) == []
    story.now = 9.0
    assert story.verdict(last) == ["I2'"]


def test_i4_the_map_is_not_what_the_updates_make(story):
    activity = story.lead("primary", 1)
    story.put(activity)
    activity.map[b"phantom"] = b"1"
    assert story.verdict(activity) == ["I4"]


def test_i4_nobody_wrote_it(story):
    activity = story.lead("primary", 1)
    del story.history.writes[story.put(activity).uuid]
    assert story.verdict(activity) == ["I4"]


def test_i11_a_write_is_given_up_with_nothing_wrong(story):
    activity = story.lead("primary", 1)
    write = Write("client-0", 9, b"k", b"1", 1.0, answered=13.0, reason="timeout")
    story.history.writes[b"lost"] = write
    story.fault("cut", 14.0, 15.0, "primary", "backup")
    assert story.verdict(activity) == ["I11"]
    story.history.violations.clear()
    story.fault("cut", 12.0, 15.0, "primary", "client-0")
    assert story.verdict(activity) == []


def test_i5_an_acknowledged_deletion_is_gone(story):
    first = story.lead("primary", 1)
    story.put(first)
    story.write(story.put(first, body=b""))
    story.now = LOST_SLOWLY
    first.ended = first.died = story.now
    last = story.lead("backup", 2, first.entries[0].sequence, base_of(first)[:1])
    assert story.verdict(last) == ["I5"]


def lose_a_write(story, after, *faults):
    first = story.lead("primary", 1)
    story.write(story.put(first))
    story.now = after
    first.ended = first.died = story.now
    for fault in faults:
        story.fault(*fault)
    return story.verdict(story.lead("backup", 2))


def test_i6_an_acknowledged_write_is_gone(story):
    assert lose_a_write(story, LOST_SLOWLY, ("crash", LOST_SLOWLY, 9.0, "primary")) == ["I6a"]


def test_i6_a_write_that_was_not_replicated_yet_is_counted(story):
    assert lose_a_write(story, 0.1) == []
    assert story.lost == 1


def test_i6_two_faults_at_a_time_may_lose_a_write(story):
    crash = ("crash", LOST_SLOWLY, 9.0, "primary")
    assert lose_a_write(story, LOST_SLOWLY, crash, ("pause", 1.0, 6.0, "backup")) == []
    assert story.lost == 1


def test_i7_an_update_is_applied_twice(story):
    activity = story.lead("primary", 1)
    story.put(activity, uuid=b"same")
    story.put(activity, uuid=b"same")
    assert story.verdict(activity) == ["I7"]


def test_i8_the_order_of_a_writer(story):
    activity = story.lead("primary", 1)
    story.write(story.put(activity), number=2)
    story.write(story.put(activity), number=1)
    assert story.verdict(activity) == ["I8"]


def test_i12_a_value_expires_early(story):
    activity = story.lead("primary", 1)
    story.put(activity, ttl=5.0)
    story.now = 4.9
    story.put(activity, body=b"", expiry=True)
    assert story.verdict(activity) == ["I12"]


def test_i12_a_value_without_a_ttl_expires(story):
    activity = story.lead("primary", 1)
    story.put(activity)
    story.now = 100.0
    story.put(activity, body=b"", expiry=True)
    assert story.verdict(activity) == ["I12"]


def test_i12_a_value_stays_after_its_time(story):
    activity = story.lead("primary", 1)
    story.put(activity, ttl=5.0)
    story.now = 19.0
    assert story.verdict(activity) == []
    story.now = 21.0
    assert story.verdict(activity) == ["I12"]


def give_up(story, *, reported):
    story.fault("cut", 0.0, 5.0, "primary", "backup")
    loser = story.lead("primary", 1)
    winner = story.lead("backup", 2)
    entry = story.put(loser, body=b"")
    story.write(entry)
    story.now = 1.0
    loser.ended = loser.yielded = story.now
    if reported:
        loser.reported.add(entry.uuid)
    return story.verdict(winner)


def test_i15_what_is_given_up_without_a_word(story):
    assert give_up(story, reported=False) == ["I15", "I5"]


def test_i15_what_is_given_up_and_reported(story):
    assert give_up(story, reported=True) == []
    assert story.lost == 1
