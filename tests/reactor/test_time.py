"""Time: monotonic everywhere; a wall clock that is set moves no timer."""

import asyncio
import time

import pytest
import zmq

from reactor import PeriodicHandler, Reactor
from reactor.timers import next_due


@pytest.mark.parametrize("step", [3600.0, -3600.0])
async def test_a_wall_clock_set_an_hour_off_moves_no_timer(monkeypatch, step):
    class Clock(PeriodicHandler):
        interval = 0.01

        def on_tick(self):
            ticks.append(self.reactor.now())
            if len(ticks) == 3:
                wall = time.time  # noqa: TID251 - it is what this test turns
                monkeypatch.setattr(time, "time", lambda: wall() + step)
            if len(ticks) == 6:
                self.reactor.stop()

    ticks = []
    async with asyncio.timeout(5):
        async with Reactor() as reactor:
            reactor.register(Clock())
            reactor.call_later(0.045, ticks.append, reactor.now())
            await reactor.stopped()
    assert len(ticks) >= 6


def test_a_late_tick_does_not_shift_the_others(fake_reactor):
    ticks = []

    def tick():
        ticks.append(fake_reactor.now())

    fake_reactor.periodic(1.0, tick)
    fake_reactor.loop.advance(10)
    assert ticks == [float(n) for n in range(1, 11)]


@pytest.mark.parametrize(
    ("due", "now", "expected"),
    [(1.0, 1.0, 2.0), (1.0, 1.9, 2.0), (1.0, 2.0, 3.0), (1.0, 7.5, 8.0), (1.0, 0.5, 2.0)],
)
def test_ticks_that_were_missed_are_skipped_not_made_up_for(due, now, expected):
    assert next_due(due, 1.0, now) == expected


def test_an_interval_is_above_zero(fake_reactor):
    for interval in (0, -1, float("nan")):
        with pytest.raises(ValueError, match="above 0"):
            fake_reactor.periodic(interval, lambda: None)


def test_a_one_shot_timer_fires_once_at_its_instant(fake_reactor):
    fired = []
    fake_reactor.call_later(1.5, lambda: fired.append(fake_reactor.now()))
    fake_reactor.call_at(2.5, fired.append, "at")
    fake_reactor.loop.advance(5)
    assert fired == [1.5, "at"]


def test_a_cancelled_timer_never_fires(fake_reactor):
    fired = []
    once = fake_reactor.call_later(1, fired.append, "once")
    often = fake_reactor.periodic(1, lambda: fired.append("often"))
    once.cancel()
    often.cancel()
    often.cancel()
    fake_reactor.loop.advance(3)
    assert fired == []
    assert not once.active and not often.active


def test_a_timer_may_cancel_itself_from_its_callback(fake_reactor):
    ticks = []

    def tick():
        ticks.append(1)
        timer.cancel()

    timer = fake_reactor.periodic(1, tick)
    fake_reactor.loop.advance(5)
    assert ticks == [1]


def test_virtual_hours_cost_no_real_time(fake_reactor):
    ticks = []
    fake_reactor.periodic(60, lambda: ticks.append(1))
    fake_reactor.open_stream(zmq.PUB)
    fake_reactor.loop.advance(24 * 3600)
    assert len(ticks) == 24 * 60
