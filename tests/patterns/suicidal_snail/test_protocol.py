"""The rules, on numbers: what makes a subscriber a snail and what does not."""

import pytest

from patterns.suicidal_snail.diagnosis import Limits, Reason
from patterns.suicidal_snail.hysteresis import LateShare
from patterns.suicidal_snail.protocol import SnailProtocol
from tests.patterns.suicidal_snail.feeds import Feed

LIMITS = Limits(age=1.0, late_for=1.0, lost=1, loss_window=10.0, silence=5.0, grace=0.0)
HOUR = 3600.0


def judge(limits=LIMITS, everything=True):
    return SnailProtocol(limits, 0.0, everything=everything, interval=0.25)


def conditions(found):
    return [(d.reason, d.recovered) for d in found]


def receive(protocol, stamps, now):
    """The clock that ages are measured with is as good as the one of `now`."""
    return conditions(protocol.receive_stamps(stamps, now, now))


def feed_late(protocol, feed, age, begin, end):
    """A message every 0.1 s that is `age` old; what was found, with its instant."""
    found = []
    for tenth in range(round(begin * 10), round(end * 10)):
        now = tenth / 10
        found += [(now, *c) for c in receive(protocol, feed.stamps(1, now - age), now)]
    return found


# Late


@pytest.mark.parametrize("offset", [-HOUR, 0.0, HOUR, 1e9])
def test_sn_2_clocks_that_differ_by_an_hour_are_no_death(offset):
    protocol, feed = judge(), Feed(offset=offset + 1e9)
    assert feed_late(protocol, feed, 0.01, 0, 30) == []


@pytest.mark.parametrize("offset", [-HOUR, 0.0, HOUR])
def test_sn_2_and_lateness_is_seen_all_the_same(offset):
    protocol, feed = judge(), Feed(offset=offset + 1e9)
    feed_late(protocol, feed, 0.01, 0, 5)
    assert feed_late(protocol, feed, 1.5, 5, 10) == [(6.0, Reason.LATE, False)]


def test_a_limit_is_kept_by_who_is_just_under_it():
    protocol, feed = judge(), Feed()
    feed_late(protocol, feed, 0.0, 0, 5)
    assert feed_late(protocol, feed, 0.99, 5, 30) == []


def test_sn_5_one_spike_does_not_kill():
    protocol, feed = judge(), Feed()
    feed_late(protocol, feed, 0.0, 0, 5)
    assert feed_late(protocol, feed, 30.0, 5, 5.9) == []
    assert feed_late(protocol, feed, 0.0, 5.9, 6.5) == []
    assert feed_late(protocol, feed, 30.0, 6.5, 7.4) == [], "the second spike begins anew"


def test_sn_5_a_pause_that_is_caught_up_with_does_not_kill():
    protocol, feed = judge(), Feed()
    feed_late(protocol, feed, 0.0, 0, 5)
    backlog = [stamp for tenth in range(50, 80) for stamp in feed.stamps(100, tenth / 10)]
    assert receive(protocol, backlog[:1500], 8.0) == []
    assert receive(protocol, backlog[1500:], 8.01) == []
    assert feed_late(protocol, feed, 0.0, 8.1, 12) == []


def test_sn_5_there_is_a_grace_after_joining():
    limits = Limits(age=1.0, late_for=0.0, grace=3.0)
    protocol, feed = judge(limits), Feed()
    receive(protocol, feed.stamps(1, 0.0), 0.0)
    assert feed_late(protocol, feed, 2.0, 0.1, 3.0) == []
    assert feed_late(protocol, feed, 2.0, 3.0, 4.0) == [(3.0, Reason.LATE, False)]


def test_who_catches_up_for_as_long_is_well_again():
    protocol, feed = judge(), Feed()
    feed_late(protocol, feed, 0.0, 0, 5)
    feed_late(protocol, feed, 2.0, 5, 7)
    assert feed_late(protocol, feed, 0.0, 7, 7.5) == []
    assert feed_late(protocol, feed, 2.0, 7.5, 8) == [], "well for a moment is not well"
    assert feed_late(protocol, feed, 0.0, 8, 10) == [(9.0, Reason.LATE, True)]


def test_n_of_m_counts_messages():
    protocol, feed = judge(Limits(late_share=(3, 5), grace=0.0)), Feed()
    receive(protocol, feed.stamps(1, 0.0), 0.0)
    late = feed.stamps(2, 1.0)
    assert receive(protocol, late + feed.stamps(2, 3.0), 3.0) == []
    assert receive(protocol, feed.stamps(1, 3.0), 5.0) == [(Reason.LATE, False)], "2 of 4, then 3"
    assert receive(protocol, feed.stamps(5, 5.0), 5.0) == [(Reason.LATE, True)]


def test_n_of_m_ends_at_half_of_n():
    lateness = LateShare(4, 10)
    assert lateness.receive(4, 4, True, 0.0)
    assert lateness.receive(0, 7, False, 0.0), "3 of the last 10"
    assert not lateness.receive(0, 1, False, 0.0), "2 of them"
    assert not lateness.receive(1, 1, True, 0.0)


def test_n_of_m_old_ones_are_forgotten():
    protocol, feed = judge(Limits(late_share=(3, 5), grace=0.0)), Feed()
    receive(protocol, feed.stamps(1, 0.0), 0.0)
    for now in range(10, 100, 10):
        stamps = feed.stamps(1, now - 5) + feed.stamps(3, now)
        assert receive(protocol, stamps, now) == [], "never more than 2 late ones of 5"


def test_a_slowly_growing_delay_is_seen_when_it_outgrows_the_window():
    protocol, feed = judge(Limits(delay_window=600.0, grace=0.0, silence=None)), Feed()
    found = []
    for now in range(0, 1200, 2):  # falls behind by 0.5 %
        found += receive(protocol, feed.stamps(1, now - now * 0.005), float(now))
    assert found == [(Reason.LATE, False)]


def test_the_drift_of_two_clocks_is_not_taken_for_delay():
    protocol, feed = judge(Limits(delay_window=600.0, grace=0.0)), Feed()
    for now in range(0, 86_400, 2):  # 100 ppm: 8.6 s in a day
        assert receive(protocol, feed.stamps(1, now - now * 1e-4), float(now)) == []


def test_a_clock_of_the_publisher_that_stood_still_with_its_machine_is_no_delay():
    protocol, feed = judge(), Feed()
    feed_late(protocol, feed, 0.0, 0, 5)
    assert conditions(tick_until(protocol, 5, 65)) == [(Reason.STALLED, False)]
    feed.offset -= 60.0
    assert feed_late(protocol, feed, 0.0, 65, 70) == [(65.0, Reason.STALLED, True)]


# Lossy


def test_sn_3_a_hole_is_seen_at_once_by_who_receives_everything():
    protocol, feed = judge(), Feed()
    receive(protocol, feed.stamps(10, 0.0), 0.0)
    feed.stamps(90, 0.0)
    (found,) = protocol.receive_stamps(feed.stamps(1, 0.1), 0.1, 0.1)
    assert (found.reason, found.lost, found.received) == (Reason.LOSSY, 90, 11)


def test_sn_3_a_hole_in_the_middle_of_a_batch_is_seen():
    protocol, feed = judge(), Feed()
    stamps = feed.stamps(10, 0.0)
    assert receive(protocol, stamps[:4] + stamps[6:], 0.0) == [(Reason.LOSSY, False)]
    assert protocol.lost == 2


def test_sn_3_a_lost_tail_is_seen_by_the_next_beat():
    protocol, feed = judge(), Feed()
    receive(protocol, feed.stamps(10, 0.0), 0.0)
    feed.stamps(5, 0.0)
    assert conditions(protocol.receive_beat(feed.beat(1.0), 1.0, 1.0)) == [(Reason.LOSSY, False)]
    assert protocol.lost == 5
    assert receive(protocol, feed.stamps(3, 1.1), 1.1) == []
    assert protocol.lost == 5, "counted once"


def test_who_joins_later_has_lost_nothing():
    for first_is_beat in (True, False):
        protocol, feed = judge(), Feed()
        feed.stamps(1000, 0.0)
        if first_is_beat:
            protocol.receive_beat(feed.beat(0.0), 0.0, 0.0)
        assert receive(protocol, feed.stamps(10, 0.0), 0.0) == []
        assert (protocol.received, protocol.lost) == (10, 0)


def test_holes_of_a_subscription_are_no_loss():
    protocol, feed = judge(everything=False), Feed()
    protocol.receive_beat(feed.beat(0.0, count=0), 0.0, 0.0)
    matching = 0
    for second in range(1, 20):
        stamps = feed.stamps(100, second)[::7]
        matching += len(stamps)
        assert receive(protocol, stamps, second) == []
        assert protocol.receive_beat(feed.beat(second, matching), second, second) == []
    assert (protocol.received, protocol.lost) == (matching, 0)


def test_a_loss_under_a_subscription_is_seen_by_the_next_beat():
    protocol, feed = judge(everything=False), Feed()
    protocol.receive_beat(feed.beat(0.0, count=70), 0.0, 0.0)
    assert receive(protocol, feed.stamps(100, 1.0)[::10], 1.0) == []
    assert protocol.receive_beat(feed.beat(1.0, count=80), 1.0, 1.0) == []
    assert receive(protocol, feed.stamps(100, 2.0)[::20], 2.0) == []
    found = protocol.receive_beat(feed.beat(2.0, count=90), 2.0, 2.0)
    assert conditions(found) == [(Reason.LOSSY, False)]
    assert protocol.lost == 5


def test_beats_that_were_lost_themselves_hide_no_loss():
    protocol, feed = judge(everything=False), Feed()
    protocol.receive_beat(feed.beat(0.0, count=0), 0.0, 0.0)
    receive(protocol, feed.stamps(10, 1.0), 1.0)
    protocol.receive_beat(feed.beat(9.0, count=1000), 9.0, 9.0)
    assert protocol.lost == 990


def test_more_than_was_counted_is_no_negative_loss():
    protocol, feed = judge(everything=False), Feed()
    protocol.receive_beat(feed.beat(0.0, count=0), 0.0, 0.0)
    receive(protocol, feed.stamps(5, 0.1), 0.1)
    protocol.receive_beat(feed.beat(1.0, count=3), 1.0, 1.0)
    protocol.receive_beat(feed.beat(2.0, count=5), 2.0, 2.0)
    assert protocol.lost == 2


def test_a_count_that_began_anew_is_not_compared_with_the_old_one():
    protocol, feed = judge(everything=False), Feed()
    protocol.receive_beat(feed.beat(0.0, count=10, since=0), 0.0, 0.0)
    assert protocol.receive_beat(feed.beat(1.0, count=99, since=500), 1.0, 1.0) == []
    assert conditions(protocol.receive_beat(feed.beat(2.0, count=100, since=500), 2.0, 2.0)) == [
        (Reason.LOSSY, False)
    ]


def test_subscriptions_that_change_are_no_loss():
    protocol, feed = judge(everything=False), Feed()
    protocol.receive_beat(feed.beat(0.0, count=0), 0.0, 0.0)
    receive(protocol, feed.stamps(10, 0.0)[:5], 0.0)
    protocol.change_interest(everything=True)
    assert receive(protocol, feed.stamps(10, 0.1)[::2], 0.1) == [], "some under the old one"
    assert protocol.receive_beat(feed.beat(1.0, count=3, since=10), 1.0, 1.0) == []
    receive(protocol, feed.stamps(10, 1.1)[:8], 1.1)
    protocol.receive_beat(feed.beat(2.0, count=13, since=10), 2.0, 2.0)
    assert protocol.lost == 2


def test_losses_within_the_grace_are_counted_and_not_declared():
    protocol, feed = judge(Limits(grace=2.0)), Feed()
    receive(protocol, feed.stamps(1, 0.0), 0.0)
    feed.stamps(7, 0.0)
    assert receive(protocol, feed.stamps(1, 1.9), 1.9) == []
    assert receive(protocol, feed.stamps(1, 2.0), 2.0) == []
    assert protocol.lost == 7


def test_fewer_losses_than_the_limit_in_its_window_do_not_kill():
    protocol, feed = judge(Limits(lost=10, loss_window=10.0, grace=0.0)), Feed()
    receive(protocol, feed.stamps(1, 0.0), 0.0)
    for now in (1.0, 12.0, 23.0):
        feed.stamps(9, now)
        assert receive(protocol, feed.stamps(1, now), now) == []
    feed.stamps(1, 24.0)
    assert receive(protocol, feed.stamps(1, 24.0), 24.0) == [(Reason.LOSSY, False)]


def test_who_loses_nothing_for_a_window_is_well_again():
    protocol, feed = judge(), Feed()
    receive(protocol, feed.stamps(1, 0.0), 0.0)
    feed.stamps(1, 0.0)
    receive(protocol, feed.stamps(1, 0.0), 0.0)
    found = [(now, *c) for now, c in feed_and_tick(protocol, feed, 1, 15)]
    assert found == [(11, Reason.LOSSY, True)]


def feed_and_tick(protocol, feed, begin, end):
    """A message and a tick each second; what was found."""
    for now in range(begin, end):
        for condition in receive(protocol, feed.stamps(1, now), now):
            yield now, condition
        for condition in conditions(protocol.tick(float(now))):
            yield now, condition


# What comes twice, and what comes from several


def test_a_value_that_a_cache_sends_again_is_neither_late_nor_counted():
    protocol, feed = judge(), Feed()
    old = feed.stamps(5, 0.0)
    receive(protocol, old, 0.0)
    found = []
    for now in range(10, 40):
        found += receive(protocol, [*old, *feed.stamps(1, now), *old], now)
    assert found == []
    assert (protocol.received, protocol.replayed) == (35, 300)


def test_a_message_that_comes_by_two_ways_counts_once():
    protocol, feed = judge(everything=False), Feed()
    protocol.receive_beat(feed.beat(0.0, count=0), 0.0, 0.0)
    stamps = feed.stamps(10, 0.1)
    receive(protocol, sorted(stamps * 2), 0.1)
    protocol.receive_beat(feed.beat(1.0, count=12), 1.0, 1.0)
    assert (protocol.received, protocol.replayed, protocol.lost) == (10, 10, 2)


def test_publishers_are_judged_one_by_one():
    good, bad = Feed(b"good".ljust(8)), Feed(b"bad".ljust(8), offset=5.0)
    protocol = judge()
    for number in range(20):
        now = number / 10
        bad.stamps(number == 15, now)
        pairs = zip(good.stamps(9, now), bad.stamps(9, now), strict=True)
        mixed = [stamp for pair in pairs for stamp in pair]
        found = protocol.receive_stamps(mixed, now, now)
        assert [(d.publisher.strip(), d.lost) for d in found] == [("bad", 1)] * (number == 15)
    assert protocol.received == 360


def test_publishers_beyond_the_limit_are_not_judged_and_counted():
    protocol = SnailProtocol(LIMITS, 0.0, everything=True, interval=0.25, max_publishers=2)
    for number in range(4):
        receive(protocol, Feed(b"%08d" % number).stamps(3, 0.0), 0.0)
    assert (protocol.received, protocol.untracked) == (6, 6)


def test_a_publisher_that_was_started_anew_is_no_loss():
    protocol, feed = judge(), Feed(incarnation=7)
    feed.stamps(1000, 0.0)
    receive(protocol, feed.stamps(5, 0.0), 0.0)
    again = Feed(incarnation=6, offset=0.0)  # its clock was set back in between
    assert receive(protocol, again.stamps(5, 1.0), 1.0) == []
    assert receive(protocol, again.stamps(5, 1.1), 1.1) == []
    assert protocol.lost == 0


def test_a_frame_that_only_begins_like_a_stamp_blinds_nobody():
    protocol, feed = judge(), Feed()
    stamps = feed.stamps(10, 0.0)
    del stamps[4]
    bad = [stamps[0][:-1], stamps[0][:4], stamps[0] + b"x", stamps[0][:16] + bytes(16)]
    assert receive(protocol, bad + stamps, 0.0) == [(Reason.LOSSY, False)]
    assert protocol.received + protocol.malformed == 13
    assert protocol.lost == 1


# Stalled


def tick_until(protocol, begin, end):
    found = []
    for quarter in range(round(begin * 4), round(end * 4) + 1):
        found += protocol.tick(quarter / 4)
    return found


def test_sn_4_a_publisher_that_stopped_is_noticed():
    protocol, feed = judge(), Feed()
    receive(protocol, feed.stamps(1, 0.0), 0.0)
    (found,) = tick_until(protocol, 0, 20)
    assert (found.reason, found.publisher, found.silence) == (Reason.STALLED, "feed", 5.25)


def test_sn_4_one_of_two_that_stopped_is_noticed():
    protocol, gone, here = judge(), Feed(b"gone".ljust(8, b"\0")), Feed(b"here".ljust(8, b"\0"))
    receive(protocol, gone.stamps(1, 0.0), 0.0)
    found = []
    for second in range(10):
        receive(protocol, here.stamps(1, second), second)
        found += tick_until(protocol, second, second + 1)
    assert [d.publisher for d in found] == ["gone"]


def test_sn_4_a_publisher_that_was_never_there_is_noticed_after_the_grace():
    protocol = judge(Limits(silence=1.0, grace=3.0))
    assert tick_until(protocol, 0, 2.75) == []
    (found,) = tick_until(protocol, 3, 10)
    assert (found.reason, found.publisher) == (Reason.STALLED, "")
    assert receive(protocol, Feed().stamps(1, 11.0), 11.0) == [(Reason.STALLED, True)]


def test_sn_4_beats_are_no_silence():
    protocol, feed = judge(), Feed()
    for second in range(60):
        assert protocol.receive_beat(feed.beat(second), second, second) == []
        assert tick_until(protocol, second, second + 0.75) == []


def test_a_publisher_that_is_back_is_no_longer_stalled():
    protocol, feed = judge(), Feed()
    receive(protocol, feed.stamps(1, 0.0), 0.0)
    tick_until(protocol, 0, 6)
    assert receive(protocol, feed.stamps(1, 6.0), 6.0) == [(Reason.STALLED, True)]


def test_so_is_one_that_was_started_anew():
    protocol = judge()
    receive(protocol, Feed(incarnation=1).stamps(1, 0.0), 0.0)
    tick_until(protocol, 0, 6)
    again = Feed(incarnation=2)
    assert receive(protocol, again.stamps(1, 6.0), 6.0) == [(Reason.STALLED, True)]


def test_a_pause_of_our_own_is_nobodys_silence():
    protocol, feed = judge(), Feed()
    receive(protocol, feed.stamps(1, 0.0), 0.0)
    assert tick_until(protocol, 0, 1) == []
    assert protocol.tick(61.0) == [], "we were stopped for a minute"
    assert tick_until(protocol, 61.25, 64.5) == []
    assert conditions(tick_until(protocol, 64.75, 70)) == [(Reason.STALLED, False)]


def test_a_publisher_that_is_gone_for_good_is_forgotten():
    protocol = judge()
    for number in range(1000):
        receive(protocol, Feed(b"%08d" % number).stamps(1, 0.0), 0.0)
    tick_until(protocol, 0, 60)
    receive(protocol, Feed(b"new".ljust(8)).stamps(1, 60.0), 60.0)
    assert protocol.untracked == 0


# Beginning anew, and limits


def test_who_subscribes_anew_has_a_grace_again():
    protocol, feed = judge(Limits(grace=2.0, silence=1.0)), Feed()
    receive(protocol, feed.stamps(1, 0.0), 0.0)
    feed.stamps(100, 0.0)
    protocol.rejoin(10.0)
    assert receive(protocol, feed.stamps(1, 5.0), 10.0) == []
    assert protocol.lost == 0


@pytest.mark.parametrize(
    "limits",
    [
        {"age": 0.0},
        {"age": -1.0},
        {"age": float("nan")},
        {"late_for": -1.0},
        {"late_share": (0, 5)},
        {"late_share": (6, 5)},
        {"lost": 0},
        {"silence": 0.0},
        {"loss_window": 0.0},
        {"delay_window": 0.0},
        {"grace": -1.0},
    ],
)
def test_limits_that_make_no_sense_are_refused(limits):
    with pytest.raises(ValueError, match="limits"):
        Limits(**limits)


def test_what_is_none_is_not_judged():
    protocol, feed = judge(Limits(age=None, lost=None, silence=None, grace=0.0)), Feed()
    receive(protocol, feed.stamps(1, 0.0), 0.0)
    feed.stamps(5, 0.0)
    assert feed_late(protocol, feed, 10.0, 1, 5) == []
    assert tick_until(protocol, 5, 60) == []
    assert protocol.lost == 5
