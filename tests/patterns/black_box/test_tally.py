"""The reports of workers that take their messages elsewhere add up over all their lives."""

import pytest

from patterns.black_box.crew import WorkerId
from patterns.black_box.tally import Tally


def test_the_lives_of_a_worker_add_up():
    tally = Tally(2)
    assert tally.receive_done(WorkerId(1, 1), 5, 1)
    assert tally.receive_done(WorkerId(1, 1), 7, 1)
    assert tally.receive_done(WorkerId(1, 2), 3, 1)
    statistics = tally.statistics(1, restarts=1)
    assert (statistics.handled, statistics.failed, statistics.restarts) == (10, 2, 1)
    assert tally.statistics(0, 0).handled == 0


@pytest.mark.parametrize(("done", "failed"), [(4, 1), (5, 0), (6, 7)])
def test_a_report_that_cannot_be_is_refused(done, failed):
    tally = Tally(1)
    tally.receive_done(WorkerId(0, 1), 5, 1)
    assert not tally.receive_done(WorkerId(0, 1), done, failed)
    assert tally.statistics(0, 0).handled == 5


def test_the_rate_is_that_of_the_last_interval():
    tally = Tally(1)
    tally.tick(100.0)
    tally.receive_done(WorkerId(0, 1), 50, 0)
    tally.tick(102.0)
    assert tally.statistics(0, 0).rate == 25.0
    tally.tick(103.0)
    assert tally.statistics(0, 0).rate == 0.0
