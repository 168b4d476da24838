"""When a client has waited long enough: for a word, for its snapshot, and before it votes."""

import pytest

from patterns.clone.patience import Patience


def patient(now=0.0, *, beats=True, hasty=False, **arguments):
    """A client that tries a server."""
    times = {"server_ttl": 3.0, "join_after": None, "vote_after": 0.5, "vote_interval": 1.0}
    patience = Patience(**({"learns": False} | times | arguments))
    patience.start(now)
    patience.begin(now, beats=beats, hasty=hasty)
    return patience


def votes(patience, count):
    """The instants of so many votes, each when it is due."""
    instants = []
    for _ in range(count):
        instants.append(patience.vote_at)
        patience.vote(patience.vote_at)
    return instants


class TestSilence:
    def test_a_server_may_be_silent_for_its_time_from_the_last_word_on(self):
        patience = patient()
        assert patience.silent_at == 3.0
        patience.heard_at = 2.0
        assert patience.silent_at == 5.0

    def test_cl_8_a_loop_that_stood_still_gives_the_server_time_to_be_heard(self):
        patience = patient()
        patience.observe(1.5)
        assert patience.silent_at == 3.0
        patience.observe(10.0)
        assert patience.silent_at == 11.5

    def test_a_loop_that_begins_again_has_not_stood_still(self):
        patience = patient()
        patience.start(100.0)
        patience.begin(100.0, beats=True, hasty=False)
        patience.observe(101.0)
        assert patience.silent_at == 103.0

    def test_f28_a_way_longer_than_two_heartbeats_is_waited_for_in_the_end(self):
        """Until a word comes, each attempt waits twice as long, up to the time of the first."""
        patience = patient(learns=True)
        patience.ask(0.5)
        patience.learn(0.1)
        waits = []
        for _ in range(6):
            patience.begin(10.0, beats=True, hasty=False)
            waits.append(round(patience.silent_at - 10.0, 6))
        assert waits == [0.21, 0.42, 0.84, 1.68, 3.0, 3.0]
        patience.begin(10.0, beats=True, hasty=True)
        assert round(patience.silent_at - 10.0, 6) == 0.035
        patience.ask(10.0)
        patience.begin(20.0, beats=True, hasty=False)
        assert round(patience.silent_at - 20.0, 6) == 0.21

    def test_it_looks_four_times_in_the_time_of_a_server(self):
        patience = patient()
        patience.ask(0.0)
        patience.observe(0.25)
        assert patience.deadline == 1.0

    @pytest.mark.parametrize(
        ("interval", "server_ttl"), [(1.0, 2.1), (0.001, 0.1), (1000.0, 252.0)]
    )
    def test_a_server_says_itself_how_long_it_may_be_silent_within_limits(
        self, interval, server_ttl
    ):
        patience = patient(learns=True)
        patience.learn(interval)
        assert patience.server_ttl == pytest.approx(server_ttl)
        patience.begin(0.0, beats=True, hasty=False)
        assert votes(patience, 2) == pytest.approx([server_ttl / 6, server_ttl / 2])

    def test_who_does_not_learn_keeps_to_what_it_was_told(self):
        patience = patient()
        patience.learn(0.1)
        assert patience.server_ttl == 3.0


class TestBeginning:
    def test_votes_come_after_a_while_and_then_at_each_interval(self):
        assert votes(patient(), 3) == [0.5, 1.5, 2.5]

    def test_in_haste_they_come_at_once_ever_slower_and_the_server_has_little_time(self):
        patience = patient(hasty=True)
        assert patience.silent_at == 0.5
        assert votes(patience, 6) == [0.0, 0.125, 0.375, 0.875, 1.875, 2.875]

    def test_haste_ends_with_the_first_word(self):
        patience = patient(hasty=True)
        patience.heard_at = 0.25
        patience.ask(0.25)
        assert patience.silent_at == 3.25

    def test_a_service_without_heartbeats_is_asked_after_its_time_and_never_voted_for(self):
        patience = patient(beats=False, join_after=0.25)
        assert (patience.join_at, patience.vote_at) == (0.25, float("inf"))
        assert patience.deadline == 0.25

    def test_one_that_has_proved_to_beat_is_waited_for(self):
        assert patient(beats=True, join_after=0.25).join_at == float("inf")

    @pytest.mark.parametrize("over", [Patience.end, lambda patience: patience.ask(0.0)])
    def test_when_it_is_over_or_has_asked_nothing_is_due(self, over):
        for patience in (patient(), patient(beats=False, join_after=0.25)):
            over(patience)
            assert (patience.join_at, patience.vote_at) == (float("inf"), float("inf"))


class TestSnapshot:
    def test_a_server_that_beats_may_let_it_wait_for_its_turn_up_to_a_limit(self):
        patience = patient()
        patience.ask(0.0)
        assert patience.without_snapshot_at == 3.0
        for second in range(60):
            patience.receive_heartbeat(float(second))
        assert patience.without_snapshot_at == 29.0 + 3.0

    def test_once_its_turn_has_come_only_the_snapshot_itself_counts(self):
        patience = patient()
        patience.ask(0.0)
        patience.receive_snapshot(2.0)
        patience.receive_heartbeat(4.0)
        assert patience.without_snapshot_at == 5.0

    def test_after_a_snapshot_that_stopped_the_next_one_has_more_time_until_one_is_there(self):
        """A value of a megabyte takes long over a slow link, and each attempt would be in vain."""
        patience = patient()
        patience.receive_snapshot(0.0)
        waits = [patience.without_snapshot_at]
        for _ in range(5):
            patience.give_up_snapshot()
            patience.receive_snapshot(0.0)
            waits.append(patience.without_snapshot_at)
        assert waits == [3.0, 6.0, 12.0, 24.0, 30.0, 30.0]
        patience.receive_live()
        patience.receive_snapshot(0.0)
        assert patience.without_snapshot_at == 3.0

    def test_a_loop_that_stood_still_has_not_been_kept_waiting(self):
        patience = patient()
        patience.ask(0.0)
        patience.observe(10.0)
        assert patience.without_snapshot_at == 11.5
