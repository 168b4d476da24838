"""When a subscriber by credit joins, grants and despairs: numbers for time."""

import pytest

from patterns.last_value_cache.intake import (
    Intake,
    IntakeState,
    ReportSynchronised,
    SendBeat,
    SendCredit,
    SendJoin,
)


def started(credit=2, now=0.0):
    intake = Intake(credit, beat=1.0, patience=5.0)
    intake.start(now)
    return intake


def synchronised(*topics):
    intake = started(credit=100)
    for topic in topics:
        receive(intake, topic)
    intake.receive_synced(0.0)
    return intake


def receive(intake, topic, body=b"1", now=0.0):
    intake.receive_update([topic, body], now)
    return intake.receive_handled()


def test_the_next_credit_is_granted_when_all_of_the_last_is_handled_not_before():
    intake = started(credit=2)
    assert receive(intake, b"a") == []
    intake.receive_update([b"b", b"1"], 0.0)
    assert intake.receive_handled() == [SendCredit(2)]
    assert receive(intake, b"a") == []
    assert receive(intake, b"a") == [SendCredit(2)]


def test_it_says_how_much_it_has():
    intake = started()
    assert intake.state is IntakeState.JOINING
    receive(intake, b"a")
    assert intake.state is IntakeState.LOADING
    assert intake.receive_synced(0.0) == [ReportSynchronised(())]
    assert intake.state is IntakeState.SYNCHRONISED
    assert (intake.topics, intake.received, intake.joined) == (1, 1, 1)


def test_it_beats_with_every_tick():
    intake = started()
    for now in range(1, 4):
        intake.receive_beat(float(now))
        assert intake.tick(float(now)) == [SendBeat()]


@pytest.mark.parametrize("word", ["update", "synced", "beat"])
def test_a_cache_that_is_silent_is_joined_anew_and_any_word_breaks_the_silence(word):
    intake = started()
    ticks = [intake.tick(now) for now in (1.0, 2.0, 3.0, 4.0)]
    assert ticks == [[SendBeat()]] * 4
    if word == "update":
        receive(intake, b"a", now=4.5)
    elif word == "synced":
        intake.receive_synced(4.5)
    else:
        intake.receive_beat(4.5)
    assert [intake.tick(now) for now in (5.0, 6.0, 7.0, 8.0, 9.0)] == [[SendBeat()]] * 5
    assert intake.tick(10.0) == [SendJoin()]
    assert intake.state is IntakeState.JOINING


def test_who_was_stopped_does_not_blame_the_cache():
    intake = synchronised(b"a")
    intake.tick(1.0)
    assert intake.tick(60.0) == [SendBeat()]
    assert intake.tick(61.0) == [SendBeat()]
    assert [intake.tick(now) for now in (62.0, 63.0, 64.0, 65.0)][-1] == [SendJoin()]


def test_who_is_busy_does_not_blame_the_cache():
    intake = synchronised(b"a")
    for now in range(1, 20):
        assert intake.tick(float(now), busy=True) == [SendBeat()]


def test_a_new_beginning_starts_with_a_full_credit():
    intake = started(credit=2)
    receive(intake, b"a")
    assert intake.receive_rejoin(1.0) == [SendJoin()]
    assert receive(intake, b"a") == []
    assert receive(intake, b"b") == [SendCredit(2)]


def test_what_has_gone_while_it_was_away_is_told_when_all_the_rest_has_come():
    intake = synchronised(b"a", b"b", b"c", b"d")
    receive(intake, b"d", b"")
    intake.receive_rejoin(1.0)
    receive(intake, b"b")
    assert intake.receive_synced(1.0) == [ReportSynchronised(((b"a", b""), (b"c", b"")))]
    assert intake.topics == 1
    assert intake.receive_synced(1.0) == [ReportSynchronised(())]


def test_two_new_beginnings_in_a_row_forget_nothing():
    intake = synchronised(b"a", b"b")
    intake.receive_rejoin(1.0)
    receive(intake, b"b")
    intake.receive_rejoin(2.0)
    receive(intake, b"c")
    assert intake.receive_synced(2.0) == [ReportSynchronised(((b"a", b""), (b"b", b"")))]


def test_a_full_cache_is_tried_again_when_patience_has_ended():
    intake = started()
    intake.receive_full(0.5)
    assert [intake.tick(now) for now in (1.0, 2.0, 3.0, 4.0, 5.0)] == [[]] * 5
    assert intake.tick(5.5) == [SendJoin()]


@pytest.mark.parametrize(
    "wrong",
    [{"credit": 0}, {"credit": 10_001}, {"beat": 0}, {"patience": 1.0}, {"beat": float("nan")}],
)
def test_settings_that_make_no_sense_are_an_error(wrong):
    with pytest.raises(ValueError, match="credit|beats"):
        Intake(**{"credit": 1, "beat": 1.0, "patience": 5.0} | wrong)
