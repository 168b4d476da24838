"""The alarm rings at the earliest instant that was asked for, once."""

import pytest

from patterns.clone.alarm import Alarm


@pytest.fixture
def rung(fake_reactor):
    """The instants at which the alarm has rung."""
    return []


@pytest.fixture
def errors():
    return []


@pytest.fixture
def alarm(fake_reactor, rung, errors):
    return Alarm(fake_reactor, lambda: rung.append(fake_reactor.now()), errors.append)


@pytest.mark.parametrize("instants", [(5.0, 3.0, 4.0), (3.0, 5.0), (3.0, 3.0)])
def test_it_rings_once_at_the_earliest_instant(fake_reactor, alarm, rung, instants):
    for instant in instants:
        alarm.at(instant)
    assert len(fake_reactor.loop.deadlines) == 1
    fake_reactor.loop.advance(10.0)
    assert rung == [3.0]


def test_it_rings_again_when_it_is_asked_again(fake_reactor, alarm, rung):
    alarm.at(1.0)
    fake_reactor.loop.advance(2.0)
    alarm.at(0.0)
    fake_reactor.loop.run_pending()
    assert rung == [1.0, 2.0]


def test_it_may_be_cancelled(fake_reactor, alarm, rung):
    alarm.cancel()
    alarm.at(1.0)
    alarm.cancel()
    fake_reactor.loop.advance(2.0)
    assert rung == []


def test_what_its_callback_raises_goes_to_its_owner(fake_reactor, errors):
    alarm = Alarm(fake_reactor, lambda: 1 / 0, errors.append)
    alarm.at(1.0)
    fake_reactor.loop.advance(2.0)
    assert [type(error) for error in errors] == [ZeroDivisionError]
