"""The checker sees: of every invariant a violation is planted, and it is found, alone."""

from dataclasses import dataclass, replace

import pytest

from patterns.clone.messages import KVMessage, make_sequence
from patterns.clone.simulation.checker import (
    COMEBACK_SECONDS,
    RECOVERY_SECONDS,
    check,
    check_callers,
)
from patterns.clone.simulation.history import EVERYTHING, Copy, Entry, History, Write
from patterns.clone.simulation.promises import check_promises, check_promotion

LOST_SLOWLY = 5.0


@dataclass
class Held:
    sequence: int


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
        activity.releases.append(self.now)
        if not expiry:  # somebody wrote it
            self.history.writes[uuid] = Write("nobody", self.uuids, key, body, self.now)
        return entry

    def write(self, entry, client="client-0", number=None, **details):
        number = self.uuids if number is None else number
        write = Write(client, number, entry.key, entry.body, self.now, **details)
        if not write.reason:
            write.answered, write.sequence = self.now, entry.sequence
        self.history.writes[entry.uuid] = write

    def copy(self, node, position):
        """A server's process holds all up to this number."""
        copy = Copy(node, Held(position))
        self.history.copies.append(copy)
        return copy

    def copy_of_nothing(self, *nodes):
        """These are the servers."""
        for node in nodes:
            self.copy(node, 0)

    def end(self, copy, died=False):
        copy.ended, copy.died = self.now, died

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


@pytest.mark.parametrize(
    "fault",
    [("crash", 0.0, 0.1, "client-2"), ("slow", 0.0, 30.0, "client-2", "primary")],
)
def test_i2_what_happens_to_a_client_keeps_no_servers_apart(story, fault):
    story.copy_of_nothing("primary", "backup")
    story.fault(*fault)
    story.lead("primary", 1)
    last = story.lead("backup", 2)
    story.now = 6.0
    assert story.verdict(last) == ["I2'"]


def test_i2_a_server_that_hands_over_in_vain_serves_nobody_meanwhile(story):
    """Who took over died before anybody heard of it (mixed, 10572479)."""
    first = story.lead("primary", 1)
    story.now = 3.0
    story.lead("backup", 2).ended = 3.5
    story.now = 5.0
    first.absences.append((3.1, 4.0))
    assert story.verdict(first) == ["I2'"]
    story.history.violations.clear()
    first.absences.append((2.9, 4.0))
    assert story.verdict(first) == []


@pytest.mark.parametrize(("cut_at", "verdict"), [(3.2, []), (4.5, ["I2'"])])
def test_i2_who_goes_on_after_that_needs_a_reason_from_then_on(story, cut_at, verdict):
    """The link was cut just after it had handed over (mixed, 11145087)."""
    first = story.lead("primary", 1)
    story.now = 3.0
    story.lead("backup", 2)
    first.absences.append((2.9, 4.0))
    story.fault("cut", cut_at, 9.0, "primary", "backup")
    story.now = 9.0
    assert story.verdict(first) == verdict


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


@pytest.mark.parametrize(
    "fault",
    [
        ("junk", 9.0, 9.0, "primary"),
        ("clock", 12.0, 12.0, "client-0"),
        ("pause", 12.0, 13.0, "client-1"),
        ("cut", 5.0, 13.0 - RECOVERY_SECONDS - 0.1, "primary", "backup"),
        ("drop", 5.0, 13.0 - RECOVERY_SECONDS - 0.6, "primary", "backup"),
    ],
)
def test_i11_what_keeps_no_write_from_its_answer_excuses_nothing(story, fault):
    story.copy_of_nothing("primary", "backup")
    activity = story.lead("primary", 1)
    story.fault(*fault)
    write = Write("client-0", 9, b"k", b"1", 13.0, answered=25.0, reason="timeout")
    story.history.writes[b"given up"] = write
    assert story.verdict(activity) == ["I11"]


def test_i11_a_snapshot_that_was_lost_is_asked_for_again_after_six_seconds(story):
    """And a little more, until then the pair has one copy (squeeze, 11572522)."""
    story.copy_of_nothing("primary", "backup")
    activity = story.lead("primary", 1)
    story.fault("drop", 6.8, 13.0 - RECOVERY_SECONDS - 0.1, "primary", "backup")
    write = Write("client-0", 9, b"k", b"1", 13.0, answered=13.1, reason="applied")
    story.history.writes[b"only applied"] = write
    assert story.verdict(activity) == []


def test_i11_a_pair_that_has_just_switched_over_has_no_copy_for_a_moment(story):
    """It refuses what is to be replicated then, if that is its policy (mixed, 11189961)."""
    activity = story.lead("primary", 1)
    story.fault("switchover", 12.0, 12.0)
    write = Write("client-0", 9, b"k", b"1", 12.1, answered=12.1, reason="unreplicated")
    story.history.writes[b"given up"] = write
    assert story.verdict(activity) == []


def test_i11_a_map_is_full_with_nothing_wrong(story):
    activity = story.lead("primary", 1)
    write = Write("client-0", 9, b"k", b"1", 13.0, answered=13.1, reason="full")
    story.history.writes[b"refused"] = write
    assert story.verdict(activity) == ["I11"]


@pytest.mark.parametrize(("told", "found"), [(True, []), (False, ["I11"])])
def test_i11_a_caller_is_never_told(story, told, found):
    write = Write("client-0", 9, b"k", b"1", 13.0, answered=13.1, sequence=1, told=told)
    story.history.writes[b"acknowledged"] = write
    check_callers(story.history)
    assert [each.invariant for each in story.history.violations] == found


def test_i11_a_write_is_given_up_in_an_outage_that_an_operator_ends(story):
    """Or within the time after it in which clients come back; not later (mixed, 10408539)."""
    activity = story.lead("primary", 1)
    write = Write("client-0", 9, b"k", b"1", 41.0, answered=53.0, reason="timeout")
    story.history.writes[b"given up"] = write
    story.history.outages.append((20.0, 40.0 - COMEBACK_SECONDS))
    assert story.verdict(activity) == ["I11"]
    story.history.violations.clear()
    story.history.outages.append((30.0, 51.0))
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


def test_i6_an_acknowledged_write_is_gone_and_overwritten(story):
    """That its key has a later value says nothing of it: nearly all have in the end."""
    first = story.lead("primary", 1)
    story.write(story.put(first))
    story.now = LOST_SLOWLY
    first.ended = first.died = story.now
    story.fault("crash", LOST_SLOWLY, 9.0, "primary")
    last = story.lead("backup", 2)
    story.write(story.put(last))
    assert story.verdict(last) == ["I6a"]


@pytest.mark.parametrize(
    "fault",
    [("junk", 3.0, 3.0, "backup"), ("crash", 20.0, 21.0, "backup")],
)
def test_i6_what_has_nothing_to_do_with_a_death_excuses_nothing(story, fault):
    """Malformed messages, and who dies after it served for a while."""
    crash = ("crash", LOST_SLOWLY, 9.0, "primary")
    assert lose_a_write(story, LOST_SLOWLY, crash, fault) == ["I6a"]


def test_i6_what_expired_does_not_excuse_that_an_older_value_is_back(story):
    first = story.lead("primary", 1)
    story.put(first, body=b"old")
    story.now = 10.0
    story.write(story.put(first, body=b"new", ttl=2.0))
    story.now = 12.1
    story.put(first, body=b"", expiry=True)
    story.now = first.ended = first.died = 30.0
    story.fault("crash", 30.0, 32.0, "primary")
    last = story.lead("backup", 2, first.entries[0].sequence, base_of(first)[:1])
    assert story.verdict(last) == ["I6a"]


def test_i6_a_switchover_gives_nothing_up_and_says_so(story):
    first = story.lead("primary", 1)
    entry = story.put(first)
    story.write(entry)
    story.now = 1.0
    last = story.lead("backup", 2)
    first.ended = first.yielded = story.now
    first.reported.add(entry.uuid)
    assert story.verdict(last) == ["I6a"]


def test_i6_what_a_server_overwrote_in_a_later_epoch_is_given_up_and_reported_with_that(story):
    """It reports the newest of each key, over all that it yields with (held-conflict, 25000008)."""
    story.fault("cut", 0.0, 5.0, "primary", "backup")
    first, winner = story.lead("primary", 1), story.lead("backup", 2)
    story.write(story.put(first))
    story.put(winner, b"a")
    story.put(winner, b"b")
    story.now = first.ended = 1.0
    later = story.lead("primary", 3, fork=first.sequence, base=base_of(first))
    first.reported.add(story.put(later).uuid)
    later.reported = first.reported
    story.now = 6.0
    first.yielded = later.yielded = later.ended = story.now
    assert story.verdict(winner) == []
    assert story.lost == 1


def test_i6_two_faults_at_a_time_may_lose_a_write(story):
    crash = ("crash", LOST_SLOWLY, 9.0, "primary")
    assert lose_a_write(story, LOST_SLOWLY, crash, ("pause", 1.0, 6.0, "backup")) == []
    assert story.lost == 1


@pytest.mark.parametrize(("second", "verdict"), [(20.0, []), (0.0, ["I6a"])])
def test_i6_a_write_is_lost_with_the_second_server_that_dies(story, second, verdict):
    """The other one was there again long before, without a copy (mixed, 11186493)."""
    first = story.lead("primary", 1)
    story.write(story.put(first))
    held = [story.copy(node, first.sequence) for node in ("primary", "backup")]
    story.now = LOST_SLOWLY
    first.ended = first.died = story.now
    story.end(held[0], died=True)
    story.fault("crash", LOST_SLOWLY, 9.0, "primary")
    if second:
        story.now = second
        story.end(held[1], died=True)
    assert story.verdict(story.lead("primary", 2)) == verdict


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


def test_i8_the_order_of_two_processes_of_a_writer_is_open(story):
    activity = story.lead("primary", 1)
    story.write(story.put(activity), number=2, life=2)
    story.write(story.put(activity), number=1, life=1)
    assert story.verdict(activity) == []


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


@pytest.mark.parametrize(("body", "expiry"), [(b"", True), (b"2", False)])
def test_i12_a_value_was_there_long_after_its_time(story, body, expiry):
    """Until it expired after all, or something else came in its place."""
    activity = story.lead("primary", 1)
    story.put(activity, ttl=2.0)
    story.now = 40.0
    story.put(activity, body=body, expiry=expiry)
    assert story.verdict(activity) == ["I12"]


@pytest.mark.parametrize(("resumed", "found"), [(11.0, []), (6.0, ["I12"])])
def test_i12_an_update_may_have_waited_at_a_passive_server_that_stood_still(story, resumed, found):
    """Which counts its time from when it takes it (mixed, 11672457)."""
    first = story.lead("primary", 1)
    story.fault("pause", 0.0, resumed, "backup")
    story.put(first, ttl=20.0)
    story.now = 44.0
    story.put(first, body=b"", expiry=True)
    assert story.verdict(first) == found


def test_i12_nothing_expires_while_nobody_leads_or_who_does_stands_still(story):
    first = story.lead("primary", 1)
    story.put(first, ttl=2.0)
    story.now = first.ended = first.died = 5.0
    story.fault("crash", 5.0, 9.0, "primary")
    story.now = 20.0
    last = story.lead("backup", 2, first.sequence, base_of(first))
    story.fault("pause", 25.0, 40.0, "backup")
    story.now = 44.0
    story.put(last, body=b"", expiry=True)
    assert story.verdict(last) == []


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


@pytest.mark.parametrize(("key", "verdict"), [(b"k", []), (b"other", ["I15"])])
def test_i15_what_was_overwritten_in_a_later_epoch_is_given_up_with_that(story, key, verdict):
    """A client had told the server of a newer epoch, so it went on (mixed, 10636727)."""
    story.fault("cut", 0.0, 5.0, "primary", "backup")
    first, winner = story.lead("primary", 1), story.lead("backup", 2)
    story.history.writes[story.put(first).uuid] = Write("client-0", 1, b"k", b"1", 0.0)
    story.put(winner, b"more")
    story.now = first.ended = 1.0
    last = story.lead("primary", 3, fork=first.sequence)
    last.reported.add(story.put(last, key=key).uuid)
    story.now = 2.0
    first.yielded = last.yielded = last.ended = story.now
    assert story.verdict(winner) == verdict


def two_actives(story):
    """Who part with one update that both hold; the first one accepts fifty more, the other one."""
    before = story.lead("primary", 1)
    story.put(before, b"both")
    story.now = before.ended = 0.5
    fork, base = before.sequence, base_of(before)
    first, other = story.lead("primary", 2, fork, base), story.lead("backup", 3, fork, base)
    story.fault("cut", 0.5, 5.0, "primary", "backup")
    for number in range(50):
        story.put(first, b"k%d" % number)
    story.put(other, b"other")
    return first, other


def test_i15_the_one_that_has_accepted_more_goes_on(story):
    first, other = two_actives(story)
    story.now = other.ended = other.yielded = 5.0
    other.reported.add(other.entries[0].uuid)
    assert story.verdict(first) == []


@pytest.mark.parametrize(
    ("renewed_at", "slow", "found"),
    [
        (0.0, "", ["I15"]),
        (3.0, "", ["I15"]),
        (5.5, "", []),
        (0.0, "slow", []),
        (0.0, "trickle", []),
    ],
)
def test_i15_the_one_that_has_accepted_more_yields(story, renewed_at, slow, found):
    """As far as the two could know when that was settled."""
    first, other = two_actives(story)
    last = other
    if slow:
        story.fault(slow, 0.0, 9.0, "primary", "backup")
    if renewed_at:  # the winner goes on in another epoch: settled, if they heard each other then
        story.now = other.ended = renewed_at
        base = [*base_of(story.history.activities[0]), *base_of(other)]
        last = story.lead("backup", 4, other.sequence, base)
    story.now = 2.5 if slow else 7.0
    if renewed_at > 5.0:
        first.entries[:] = [replace(entry, at=6.0) for entry in first.entries]
    first.ended = first.yielded = story.now
    first.reported |= {entry.uuid for entry in first.entries}
    assert story.verdict(last) == found


def test_i15_who_goes_on_may_count_what_it_has_let_expire(story):
    """Heartbeats tell numbers, of which some are no client's update (swizzle, 11189844)."""
    first, other = two_actives(story)
    for number in range(60):
        story.put(other, b"k%d" % number, b"", expiry=True)
    story.now = 7.0
    first.ended = first.yielded = story.now
    first.reported |= {entry.uuid for entry in first.entries}
    assert "I15" not in story.verdict(other)


def test_i15_who_began_with_nothing_yields_whatever_it_has_accepted(story):
    before = story.lead("backup", 1)
    story.put(before, b"all")
    story.now = before.ended = 0.5
    other = story.lead("backup", 2, before.sequence, base_of(before))
    first = story.lead("primary", 3)
    story.fault("cut", 0.0, 5.0, "primary", "backup")
    for number in range(3):
        story.put(first, b"k%d" % number)
    story.now = first.ended = first.yielded = 6.0
    first.reported |= {entry.uuid for entry in first.entries}
    assert story.verdict(other) == []


@pytest.mark.parametrize(("set_back", "found"), [(True, []), (False, ["I15"])])
def test_i15_who_has_lost_its_memory_while_its_clock_was_behind_may_win(story, set_back, found):
    """A client told it of the other one's epoch before that could (mixed, 11657979)."""
    before = story.lead("primary", 1)
    kept = story.put(before, b"both")
    story.now = before.ended = before.died = 0.1
    first = story.lead("backup", 5, kept.sequence, base_of(before))
    story.fault("pause", 0.5, 7.9, "backup")
    for number in range(50):
        story.put(first, b"k%d" % number)
    story.now = 1.0
    anew = story.lead("primary", 2)
    story.put(anew, b"x")
    story.now = anew.ended = 2.0
    last = story.lead("primary", 6, anew.entries[-1].sequence, base_of(anew))
    if set_back:
        story.history.set_back.add("primary")
    story.now = first.ended = first.yielded = 8.0
    first.reported |= {entry.uuid for entry in first.entries}
    assert story.verdict(last) == found


def test_i15_what_is_given_up_without_a_word(story):
    assert give_up(story, reported=False) == ["I15", "I5"]


def test_i15_what_is_given_up_and_reported(story):
    assert give_up(story, reported=True) == []
    assert story.lost == 1


def test_i11_a_write_is_not_replicated_with_nothing_wrong(story):
    activity = story.lead("primary", 1)
    story.write(story.put(activity), level="replicated", answered=13.0, reason="applied")
    assert story.verdict(activity) == ["I11"]


def both_hold(story):
    """An update that both servers hold and that is promised; the primary leads."""
    first = story.lead("primary", 1)
    story.now += 1.0
    entry = story.put(first)
    story.write(entry, level="replicated")
    story.history.promised[entry.sequence] = story.now
    story.now += LOST_SLOWLY
    copies = [story.copy(node, entry.sequence) for node in ("primary", "backup")]
    return first, entry, copies


def lead_without(story, first):
    first.ended = first.died = story.now
    return story.lead("backup", 2)


def test_i6b_what_both_servers_held_is_there(story):
    first, entry, (one, _) = both_hold(story)
    story.end(one, died=True)
    first.ended = first.died = story.now
    last = story.lead("backup", 2, entry.sequence, base_of(first))
    assert story.verdict(last) == []


def test_i6b_what_both_servers_held_is_gone_and_one_has_died(story):
    first, _, (one, other) = both_hold(story)
    story.end(one, died=True)
    story.end(other)
    story.copy("backup", 0)
    assert story.verdict(lead_without(story, first)) == ["I6b", "I6a"]


def test_i6b_what_both_servers_held_is_overwritten_and_gone(story):
    """A newer value hides the loss from who looks at the map."""
    first, _, (one, _) = both_hold(story)
    story.end(one, died=True)
    last = lead_without(story, first)
    story.write(story.put(last))
    assert story.verdict(last) == ["I6b", "I6a"]


@pytest.mark.parametrize(
    ("set_back", "fork", "epoch", "verdict"),
    [
        ({"primary"}, 0, 2, []),
        (set(), 0, 2, ["I6b"]),
        ({"backup"}, 0, 2, ["I6b"]),
        ({"primary"}, make_sequence(1, 1), 2, ["I6b"]),
        ({"primary"}, 0, 6, ["I6b"]),
    ],
)
def test_i6b_it_is_given_up_to_who_began_with_nothing_in_the_past(
    story, set_back, fork, epoch, verdict
):
    """The primary died, and came back with its clock set back (mixed, 10533727)."""
    first, _, (one, other) = both_hold(story)
    first.epoch = 5
    first.entries[0] = replace(first.entries[0], sequence=make_sequence(5, 1))
    story.history.by_epoch = {5: first}
    story.history.promised = {make_sequence(5, 1): 1.0}
    one.store.sequence = other.store.sequence = make_sequence(5, 1)
    story.end(one, died=True)
    story.history.set_back |= set_back
    first.ended = first.died = story.now
    last = story.lead("primary", epoch, fork)
    story.now += 1.0
    story.end(other)
    story.copy("backup", make_sequence(epoch, 1))
    check_promises(story.history, last, story.now)
    assert [each.invariant for each in story.history.violations] == verdict


def test_i6b_both_servers_died_with_it(story):
    first, _, copies = both_hold(story)
    for copy in copies:
        story.end(copy, died=True)
    story.fault("crash", 4.0, 9.0, "primary")
    story.fault("crash", 4.5, 9.0, "backup")
    assert story.verdict(lead_without(story, first)) == []
    assert story.lost == 1


def test_i6b_both_servers_died_with_it_and_it_had_been_copied_before(story):
    first, entry, copies = both_hold(story)
    story.end(copies[0], died=True)
    story.end(story.copy("primary", entry.sequence))  # after its restart, from the backup
    story.copy("primary", 0)
    story.end(copies[1], died=True)
    story.fault("crash", 4.0, 9.0, "primary")
    story.fault("crash", 4.5, 9.0, "backup")
    assert story.verdict(lead_without(story, first)) == ["I6b"]


def test_i6b_what_both_held_is_given_up_for_another_history_even_if_reported(story):
    first, entry, (one, other) = both_hold(story)
    story.end(other, died=True)
    story.fault("crash", 1.0, 6.0, "backup")
    story.fault("cut", 1.0, 9.0, "primary", "backup")
    winner = story.lead("backup", 3)
    story.copy("backup", winner.sequence)
    story.now += 1.0
    first.ended = first.yielded = story.now
    first.reported.add(entry.uuid)
    story.end(one)
    story.copy("primary", winner.sequence)
    assert story.verdict(winner) == ["I15", "I6b"]


def test_i16_a_server_leads_with_less_than_was_promised(story):
    _, entry, (_, backup) = both_hold(story)
    check_promotion(story.history, "backup", entry.sequence, story.now)
    assert not story.history.violations
    backup.store.sequence -= 1
    check_promotion(story.history, "backup", entry.sequence - 1, story.now)
    assert [each.invariant for each in story.history.violations] == ["I16"]


def test_i16_a_server_that_hears_nobody_leads_with_nothing(story):
    both_hold(story)
    story.fault("crash", 4.0, 4.5, "backup")
    story.fault("cut", 4.0, 9.0, "primary", "backup")
    check_promotion(story.history, "backup", 0, story.now)
    assert not story.history.violations


@pytest.mark.parametrize(
    "fault",
    [
        ("crash", 4.0, 4.5, "backup"),
        ("junk", 4.0, 4.0, "primary"),
        ("cut", 4.0, 9.0, "client-1", "backup"),
    ],
)
def test_i16_a_server_leads_with_nothing_though_it_could_hear_its_peer(story, fault):
    both_hold(story)
    story.fault(*fault)
    check_promotion(story.history, "backup", 0, story.now)
    assert [each.invariant for each in story.history.violations] == ["I16"]


def apply_what_was_refused(story, *, yielded=False, died_after=0.0):
    first = story.lead("primary", 1)
    story.fault("cut", 0.0, 2.0, "primary", "backup")
    story.history.refused[b"refused"] = (first, story.now)
    last = first
    story.now += died_after
    if yielded:
        last = story.lead("backup", 2)
        story.now += 1.0
        first.ended = first.yielded = story.now
    elif died_after:
        first.ended = first.died = story.now
        last = story.lead("backup", 2)
    story.put(last, uuid=b"refused")
    return story.verdict(last)


@pytest.mark.parametrize("leads", [True, False])
def test_i15_who_yields_to_a_passive_server_has_no_rival_yet(story, leads):
    """That leads as soon as it hears of it, if it lives so long (mixed, 10163423)."""
    loser = story.lead("primary", 1)
    story.now = loser.ended = loser.yielded = 1.0
    story.now = 1.1
    last = story.lead("backup", 2) if leads else story.lead("primary", 2)
    assert story.verdict(last) == []


def test_i6_who_yields_to_a_server_that_has_just_died_may_lose_it_all_at_its_own_death(story):
    """What it yielded for was under way (mixed, 10262273)."""
    loser = story.lead("primary", 1)
    story.write(story.put(loser))
    story.now = 9.0
    winner = story.lead("backup", 2, fork=loser.entries[-1].sequence, base=base_of(loser))
    story.fault("pause", 7.0, 10.0, "primary")
    story.fault("crash", 10.0, 14.0, "backup")
    story.fault("power", 11.0, 14.0, "primary")
    story.now = winner.ended = winner.died = 10.0
    story.now = loser.ended = loser.yielded = 10.002
    story.now = 15.0
    assert story.verdict(story.lead("primary", 3)) == []
    assert story.lost == 1


def test_i21_what_was_refused_is_applied(story):
    assert apply_what_was_refused(story) == ["I21"]


def test_i21_what_was_refused_is_applied_by_who_had_time_to_hear_of_it(story):
    assert apply_what_was_refused(story, died_after=5.0) == ["I21"]


def test_i21_malformed_messages_excuse_no_refusal_that_is_forgotten(story):
    story.fault("junk", 6.0, 6.0, "primary")
    assert apply_what_was_refused(story, died_after=LOST_SLOWLY) == ["I21"]


def test_i21_who_refused_has_died_at_once_or_was_given_up(story):
    assert apply_what_was_refused(story, died_after=0.5) == []
    assert apply_what_was_refused(Story(), yielded=True) == []


def test_i21_who_refused_was_given_up_in_a_later_epoch_of_its_own(story):
    """And the one that won went on in another, after that (mixed, 20300691)."""
    first, rival = story.lead("primary", 1), story.lead("backup", 2)
    story.fault("cut", 0.0, 9.0, "primary", "backup")
    story.history.refused[b"refused"] = (first, story.now)
    story.put(rival, uuid=b"refused")
    story.now = first.ended = 5.0
    loser = story.lead("primary", 3)
    story.now = rival.ended = 9.0
    winner = story.lead("backup", 4, fork=rival.entries[-1].sequence, base=base_of(rival))
    first.yielded = loser.yielded = loser.ended = story.now
    assert story.verdict(winner) == []


@pytest.mark.parametrize(("anew", "found"), [(True, []), (False, ["I21"])])
def test_i21_who_refused_had_begun_with_nothing_and_yields_to_a_passive_server(story, anew, found):
    """Which leads with its older data as soon as it hears of it (mixed, 11329235)."""
    old = story.lead("primary", 1)
    kept = story.put(old)
    old.ended = old.died = story.now
    fork, base = (0, ()) if anew else (kept.sequence, base_of(old))
    loser = story.lead("primary", 2, fork=fork, base=base)
    story.history.refused[b"refused"] = (loser, story.now)
    story.now = loser.ended = loser.yielded = 9.0
    story.now = 9.1
    fork = kept.sequence if anew else make_sequence(2, 0)
    winner = story.lead("backup", 3, fork=fork, base=base_of(old))
    story.put(winner, uuid=b"refused")
    assert story.verdict(winner) == found


def test_i22_a_write_on_condition_meets_another_value(story):
    activity = story.lead("primary", 1)
    first = story.put(activity)
    story.write(story.put(activity), compares=True, seen=first.uuid)
    assert story.verdict(activity) == []
    story.write(story.put(activity), compares=True, seen=first.uuid)
    assert story.verdict(activity) == ["I22"]
