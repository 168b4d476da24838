"""Which server a client tries next, and how long it pauses before."""

import pytest

from patterns.clone.rounds import ServerRound


def servers(count, jitter=1.0, **arguments):
    pauses = {"haste": 0.02, "pause": 0.25, "max_pause": 30.0} | arguments
    return ServerRound(count, jitter=lambda: jitter, **pauses)


def test_a_client_needs_a_server():
    with pytest.raises(ValueError):
        servers(0)


def test_those_that_never_served_are_tried_in_turn():
    tried = servers(3)
    order = []
    for _ in range(7):
        order.append(tried.server)
        tried.go_on()
    assert order == [0, 1, 2, 0, 1, 2, 0]


def test_after_one_that_was_followed_the_most_preferred_of_the_others_comes_first():
    tried = servers(3)
    tried.go_on()
    tried.receive_live(1.0)
    tried.go_on()
    assert tried.server == 0


def test_a_pause_doubles_with_each_failure_up_to_a_limit():
    tried = servers(1, max_pause=1.0)
    assert [tried.take_pause(3.0, 0.0) for _ in range(4)] == [0.25, 0.5, 1.0, 1.0]


def fail(tried, now=0.0):
    """The pause after a server that will not do."""
    tried.go_on()
    return tried.take_pause(3.0, now) - now


def test_all_servers_are_tried_before_a_pause_grows():
    """A client back from a long pause may meet the passive server first (mixed, 11009747)."""
    tried = servers(2, max_pause=1.0)
    assert [fail(tried) for _ in range(7)] == [
        *(0.25, 0.25),  # the other one, then the first again
        *(0.25, 0.5),
        *(0.25, 1.0),
        0.25,
    ]


def test_after_a_server_that_was_followed_the_others_are_tried_soon():
    tried = servers(2, max_pause=1.0)
    for _ in range(5):
        fail(tried)
    tried.receive_live(10.0)
    assert [fail(tried, 10.5), fail(tried, 11.0)] == [0.25, 1.0]


def test_who_loses_updates_of_one_server_again_and_again_pauses_ever_longer():
    tried = servers(2, max_pause=1.0)
    assert [tried.take_pause(3.0, 0.0) for _ in range(4)] == [0.25, 0.5, 1.0, 1.0]


def test_who_cannot_join_a_server_that_is_there_pauses_ever_longer():
    """Its queue is too short for what comes meanwhile, say; an earlier server would not do."""
    tried = servers(2, max_pause=1.0)
    fail(tried)
    assert [tried.take_pause(3.0, 0.0) for _ in range(4)] == [0.25, 0.5, 1.0, 1.0]


def test_a_short_life_does_not_make_the_pauses_short_again():
    tried = servers(1)
    assert tried.take_pause(3.0, 0.0) == 0.25
    tried.receive_live(1.0)
    assert tried.take_pause(3.0, 31.0) == 31.5
    tried.receive_live(40.0)
    assert tried.take_pause(3.0, 71.0) == 71.25


def test_who_hurries_asks_all_twice_with_next_to_no_pause():
    tried = servers(2)
    tried.receive_live(0.0)
    assert not tried.has_followed(3.0, 2.9) and tried.has_followed(3.0, 3.0)
    tried.hurry()
    attempts = []
    for _ in range(5):
        pause = tried.take_pause(3.0, 10.0) - 10.0
        attempts.append((round(pause, 3), tried.begin()))
    assert attempts == [(0.02, True)] * 4 + [(0.25, False)]
