"""A log that cannot be written (a full disk, a pipe nobody reads) stops nothing."""

import errno

import pytest
import structlog
import zmq

from reactor import PeriodicHandler
from reactor.logs import get_logger

from .recorders import Diary, Recorder


@pytest.fixture(autouse=True)
def full_disk(monkeypatch):
    def fail(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    configured = structlog.get_config() if structlog.is_configured() else None
    structlog.configure(processors=[fail])
    yield
    structlog.reset_defaults()
    if configured is not None:
        structlog.configure(**configured)


class Picky(Recorder):
    def on_message(self, frames):
        super().on_message(frames)
        if frames == [b"2"]:
            raise ValueError("no twos")


class Clock(PeriodicHandler):
    ticks = 0

    def on_tick(self):
        self.ticks += 1
        raise ValueError("always")


def test_where_nobody_has_configured_it_the_output_stays_the_programs(capsys):
    structlog.reset_defaults()
    get_logger(handler="Echo").warning("full")
    out, err = capsys.readouterr()
    assert out == "" and "full" in err and "handler" in err


def test_a_program_that_has_configured_structlog_decides(capsys):
    structlog.reset_defaults()
    structlog.configure(logger_factory=structlog.PrintLoggerFactory())
    get_logger().info("mine")
    out, err = capsys.readouterr()
    assert "mine" in out and err == ""


def test_no_level_raises():
    log = get_logger(stream="s").bind(more=1)
    for level in (log.debug, log.info, log.warning, log.error, log.exception):
        level("event", number=1)


def test_messages_and_ticks_come_after_hooks_that_raise(fake_reactor):
    handler, clock = Picky(fake_reactor.open_stream(zmq.PULL)), Clock()
    fake_reactor.register(handler, clock)
    for body in (b"1", b"2", b"3"):
        handler.stream.deliver(body)
    fake_reactor.loop.advance(3.0)
    assert handler.messages == [[b"1"], [b"2"], [b"3"]]
    assert (handler.errors, clock.ticks, clock.errors) == (1, 3, 3)


def test_a_refused_message_is_counted_and_the_next_one_comes(fake_reactor):
    class Strict(Recorder):
        peer_errors = (ValueError,)

        def on_message(self, frames):
            super().on_message(frames)
            raise ValueError("not a message")

    handler = Strict(fake_reactor.open_stream(zmq.PULL))
    fake_reactor.register(handler)
    handler.stream.deliver(b"1")
    handler.stream.deliver(b"2")
    fake_reactor.loop.run_pending()
    assert (len(handler.messages), handler.refused, handler.errors) == (2, 2, 0)


def test_a_stop_ends_and_every_on_stop_runs(fake_reactor):
    class Broken(Diary):
        def on_stop(self):
            super().on_stop()
            raise BrokenPipeError("print() to a pipe that nobody reads")

    diary = []
    fake_reactor.register(Diary("a", diary), Broken("b", diary), Diary("c", diary))
    fake_reactor.stop()
    fake_reactor.loop.run_until_complete(fake_reactor.stopped())
    assert diary[3:] == ["stop c", "stop b", "stop a"]
