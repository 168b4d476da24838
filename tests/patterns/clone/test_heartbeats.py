"""When an active server beats, how newcomers are greeted, and what a heartbeat says."""

import pytest

from patterns.clone.heartbeats import Heartbeats
from patterns.clone.messages import HUGZ, decode_heartbeat, parse_properties
from patterns.clone.subtrees import SubtreeCounts


def beating(*subtrees, interval=1.0, packs=True):
    """The heartbeats of a server that became active and beat at 0."""
    counts = SubtreeCounts()
    for subtree in subtrees:
        counts.subscribe(subtree, 0)
    heartbeats = Heartbeats(counts, interval=interval, packs=packs)
    heartbeats.begin(0.0)
    heartbeats.tick(0, 0.0)
    return heartbeats


def topics(effects):
    return [effect.frames[0] for effect in effects]


def greeted_at(heartbeats, now):
    """When one who comes now hears a heartbeat."""
    if heartbeats.greet(0, now):
        return now
    greeted = heartbeats.deadline
    assert topics(heartbeats.tick(0, greeted)) == [HUGZ]
    return greeted


def test_a_server_that_becomes_active_beats_at_once_and_then_each_interval():
    heartbeats = Heartbeats(SubtreeCounts(), interval=1.0, packs=True)
    heartbeats.begin(5.0)
    assert [now for now in (5.0, 5.5, 6.0, 6.5, 7.0) if heartbeats.tick(0, now)] == [5.0, 6.0, 7.0]


def test_it_says_what_is_published_and_how_often_it_comes():
    (effect,) = beating(interval=2.5).tick(7, 2.5)
    assert decode_heartbeat(effect.frames).sequence == 7
    assert parse_properties(effect.frames[3]) == {
        "seq": "7",
        "hb": "2500",
        "role": "active",
        "chpx": "1",
        "feat": "pack",
    }


def test_a_server_of_the_simple_form_offers_nothing():
    (effect,) = beating(packs=False).tick(7, 1.0)
    assert set(parse_properties(effect.frames[3])) == {"seq", "hb", "role"}


def test_a_late_tick_is_not_made_up_for():
    heartbeats = beating()
    assert topics(heartbeats.tick(0, 3.5)) == [HUGZ]
    assert heartbeats.deadline == 4.5


def test_the_greeting_leaves_out_the_subtrees_that_had_theirs():
    heartbeats = beating(b"/a/")
    assert topics(heartbeats.greet(0, 0.5)) == [HUGZ]
    assert topics(heartbeats.tick(0, 1.0)) == [b"/a/", HUGZ]


def test_a_greeting_does_not_delay_the_regular_beat():
    heartbeats = beating()
    assert heartbeats.greet(0, 0.9)
    assert heartbeats.deadline == 1.0


def test_a_beat_greets_all_who_wait():
    heartbeats = beating()
    heartbeats.greet(0, 0.005)
    assert heartbeats.deadline == 0.01
    heartbeats.beat(0, 0.007)
    assert heartbeats.deadline == 1.0


def test_while_newcomers_keep_coming_they_wait_longer_up_to_a_limit():
    heartbeats = beating(interval=100.0)
    now, waits = 0.0, []
    for _ in range(8):
        greeted = greeted_at(heartbeats, now + 0.001)
        waits.append(round(greeted - now, 6))
        now = greeted
    assert waits == pytest.approx([0.01, 0.02, 0.04, 0.08, 0.16, 0.25, 0.25, 0.25])


def test_when_one_has_been_greeted_at_once_the_wait_is_short_again():
    heartbeats = beating(interval=100.0)
    now = 0.0
    for _ in range(5):
        now = greeted_at(heartbeats, now)
    assert greeted_at(heartbeats, 50.0) == 50.0
    assert greeted_at(heartbeats, 50.0) == pytest.approx(50.01)


def test_a_regular_beat_that_nobody_waited_for_makes_the_wait_short_again():
    heartbeats = beating()
    now = 0.0
    for _ in range(5):
        now = greeted_at(heartbeats, now)
    heartbeats.tick(0, 1.0)
    assert greeted_at(heartbeats, 1.0) == pytest.approx(1.01)
