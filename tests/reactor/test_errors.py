"""Errors: hooks that raise, peers that are wrong, strict reactors, errors that say what to do."""

import asyncio

import pytest
import structlog
import zmq

from reactor import (
    EndpointError,
    HandlerSet,
    OptionError,
    PeerError,
    PeriodicHandler,
    Reactor,
    ReactorError,
    StreamHandler,
)

from .recorders import Recorder


class Picky(Recorder):
    """Raises at the message b"2"."""

    def on_message(self, frames):
        super().on_message(frames)
        if frames == [b"2"]:
            raise ValueError("no twos")


@pytest.mark.parametrize("endpoint", ["inproc://five", "tcp://127.0.0.1:*"])
async def test_a_hook_that_raises_at_message_2_of_5_gets_all_five(endpoint):
    async with Reactor() as reactor:
        handler = Picky(reactor.open_stream(zmq.PULL, f"@{endpoint}"))
        reactor.register(handler)
        sender = reactor.open_stream(zmq.PUSH, f">{handler.stream.endpoint}")
        for body in (b"1", b"2", b"3", b"4", b"5"):
            sender.send(body)
        with structlog.testing.capture_logs():
            assert await handler.received(5) == [[b"1"], [b"2"], [b"3"], [b"4"], [b"5"]]
        assert handler.statistics().errors == 1


def test_a_raising_coroutine_hook_goes_on_with_the_next_message(fake_reactor):
    class Slow(Recorder):
        async def on_message(self, frames):
            await asyncio.sleep(1)
            self.messages.append(frames)
            raise ValueError("always")

    handler = Slow(fake_reactor.open_stream(zmq.PULL))
    fake_reactor.register(handler)
    handler.stream.deliver(b"1")
    handler.stream.deliver(b"2")
    with structlog.testing.capture_logs():
        fake_reactor.loop.advance(3)
    assert handler.messages == [[b"1"], [b"2"]]
    assert handler.statistics().errors == 2


def test_an_error_is_logged_with_handler_endpoint_and_traceback(fake_reactor):
    handler = Picky(fake_reactor.open_stream(zmq.PULL, "@inproc://here"))
    fake_reactor.register(handler)
    handler.stream.deliver(b"2")
    with structlog.testing.capture_logs() as logs:
        fake_reactor.loop.run_pending()
    [entry] = logs
    assert entry["handler"] == "Picky"
    assert entry["endpoint"] == "inproc://here"
    assert isinstance(entry["exc_info"], ValueError)
    assert entry["exc_info"].__traceback__ is not None


def test_on_error_is_told_instead_when_it_is_overridden(fake_reactor):
    class Told(Picky):
        def on_error(self, error):
            told.append(str(error))

    told = []
    handler = Told(fake_reactor.open_stream(zmq.PULL))
    fake_reactor.register(handler)
    handler.stream.deliver(b"2")
    fake_reactor.loop.run_pending()
    assert told == ["no twos"]


def test_an_on_error_that_raises_stops_nothing(fake_reactor):
    class Hopeless(Picky):
        def on_error(self, error):
            raise RuntimeError("on_error too")

    handler = Hopeless(fake_reactor.open_stream(zmq.PULL))
    fake_reactor.register(handler)
    handler.stream.deliver(b"2")
    handler.stream.deliver(b"3")
    with structlog.testing.capture_logs() as logs:
        fake_reactor.loop.run_pending()
    assert handler.messages == [[b"2"], [b"3"]]
    assert [entry["event"] for entry in logs] == ["on_error failed"]


def test_a_tick_that_raises_ticks_on(fake_reactor):
    class Clock(PeriodicHandler):
        def on_tick(self):
            ticks.append(self.reactor.now())
            raise ValueError("tick")

    ticks = []
    clock = Clock()
    fake_reactor.register(clock)
    with structlog.testing.capture_logs():
        fake_reactor.loop.advance(3)
    assert ticks == [1.0, 2.0, 3.0]
    assert clock.statistics().errors == 3


def test_a_plain_timer_that_raises_is_logged_and_the_loop_goes_on(fake_reactor):
    def fail():
        raise ValueError("timer")

    fake_reactor.call_later(1, fail)
    fake_reactor.call_later(2, done := [].append, None)
    with structlog.testing.capture_logs() as logs:
        fake_reactor.loop.advance(3)
    assert [entry["event"] for entry in logs] == ["timer callback failed"]
    assert done.__self__ == [None]


async def test_a_strict_reactor_stops_at_the_first_error_and_raises_it():
    with pytest.raises(ValueError, match="no twos"), structlog.testing.capture_logs():
        async with Reactor(strict=True) as reactor:
            handler = Picky(reactor.open_stream(zmq.PULL, "@inproc://strict"))
            reactor.register(handler)
            reactor.open_stream(zmq.PUSH, ">inproc://strict").send(b"2")
            await reactor.stopped()


class Decoder(StreamHandler):
    """Takes numbers only, and says so of everything else."""

    peer_errors = (PeerError, ValueError)

    def on_message(self, frames):
        int(frames[0])


def test_malformed_input_is_counted_and_survived(fake_reactor):
    handler = Decoder(fake_reactor.open_stream(zmq.PULL))
    fake_reactor.register(handler)
    for body in (b"1", b"x", b"2", b"y"):
        handler.stream.deliver(body)
    with structlog.testing.capture_logs():
        fake_reactor.loop.run_pending()
    assert handler.statistics().refused == 2
    assert handler.statistics().errors == 0
    assert handler.stream.statistics().messages_received == 4


def test_malformed_input_is_logged_once_a_second_at_most(fake_reactor):
    handler = Decoder(fake_reactor.open_stream(zmq.PULL))
    fake_reactor.register(handler)
    with structlog.testing.capture_logs() as logs:
        for _ in range(3):
            for _ in range(100):
                handler.stream.deliver(b"junk")
            fake_reactor.loop.advance(1)
    assert [entry["unlogged"] for entry in logs] == [0, 99, 99]
    assert handler.statistics().refused == 300


def test_malformed_input_does_not_stop_a_strict_reactor(fake_reactor):
    fake_reactor.strict = True
    handler = Decoder(fake_reactor.open_stream(zmq.PULL))
    fake_reactor.register(handler)
    handler.stream.deliver(b"junk")
    with structlog.testing.capture_logs():
        fake_reactor.loop.run_pending()
    assert not fake_reactor.stopping


class Server(HandlerSet):
    """Opens one stream as told."""

    def __init__(self, endpoint, **options):
        super().__init__()
        self.endpoint = endpoint
        self.options = options

    def build(self):
        return [StreamHandler(self.open_stream(zmq.PUB, self.endpoint, name="out", **self.options))]


@pytest.mark.parametrize(
    ("endpoint", "reason"),
    [
        ("@tcp://127.0.0.1:notaport", "a port is a number"),
        ("@tcp://127.0.0.1:99999", "a port is a number from 0 to 65535"),
        ("@carrier-pigeon://coop", "cannot bind"),
        (">tcp://", "a port is a number"),
        ("tcp://127.0.0.1:5555", "neither bind nor connect"),
        ("@5555", "is no endpoint"),
        ("", "is no endpoint"),
    ],
)
async def test_a_wrong_endpoint_names_handler_stream_and_endpoint(endpoint, reason):
    async with Reactor() as reactor:
        with pytest.raises(EndpointError) as raised:
            reactor.register(Server(endpoint))
    assert "Server.out" in str(raised.value)
    assert reason in str(raised.value)
    assert endpoint.lstrip("@>") in str(raised.value)


async def test_an_address_in_use_names_handler_stream_and_endpoint():
    async with Reactor() as reactor:
        taken = reactor.open_stream(zmq.PUB, "@tcp://127.0.0.1:*").endpoint
        with pytest.raises(
            EndpointError, match=f"Server.out: cannot bind {taken}: Address already in use$"
        ):
            reactor.register(Server(f"@{taken}"))


@pytest.mark.parametrize(
    "options",
    [{"subscribe": (b"x",)}, {"options": {zmq.SNDHWM: b"many"}}, {"options": {987654: 1}}],
)
async def test_an_option_that_does_not_fit_names_handler_stream_and_option(options):
    async with Reactor() as reactor:
        with pytest.raises(OptionError, match=r"Server.out: cannot set \w+"):
            reactor.register(Server("@tcp://127.0.0.1:*", **options))
        assert reactor.statistics().streams == ()


def test_a_stream_is_opened_on_a_running_reactor_only():
    with pytest.raises(ReactorError, match="running reactor"):
        Reactor().open_stream(zmq.PUB)


# A hook that lets a CancelledError out: that of something it has asked, for nobody cancels a hook.


class Asking(Recorder):
    """Raises a CancelledError at the message b"2"."""

    def on_message(self, frames):
        super().on_message(frames)
        if frames == [b"2"]:
            raise asyncio.CancelledError


@pytest.mark.parametrize("endpoint", ["inproc://five", "tcp://127.0.0.1:*"])
async def test_a_hook_that_lets_a_cancelled_error_out_gets_all_five(endpoint):
    async with Reactor() as reactor:
        handler = Asking(reactor.open_stream(zmq.PULL, f"@{endpoint}"))
        reactor.register(handler)
        sender = reactor.open_stream(zmq.PUSH, f">{handler.stream.endpoint}")
        for body in (b"1", b"2", b"3", b"4", b"5"):
            sender.send(body)
        with structlog.testing.capture_logs():
            async with asyncio.timeout(5):
                assert len(await handler.received(5)) == 5
        assert handler.statistics().errors == 1


def test_a_tick_that_lets_a_cancelled_error_out_is_followed_by_others(fake_reactor):
    class Clock(PeriodicHandler):
        ticks = 0

        def on_tick(self):
            self.ticks += 1
            raise asyncio.CancelledError

    clock = Clock()
    fake_reactor.register(clock)
    with structlog.testing.capture_logs() as logs:
        fake_reactor.loop.advance(3.0)
    assert (clock.ticks, clock.errors) == (3, 3)
    assert all(isinstance(entry["exc_info"], ReactorError) for entry in logs)


def test_a_coroutine_hook_that_lets_a_cancelled_error_out_is_told_like_any_other(fake_reactor):
    """As when it awaits a task of its own that somebody has cancelled."""

    class Waiting(Recorder):
        async def on_message(self, frames):
            task = asyncio.get_running_loop().create_task(asyncio.sleep(9))
            task.cancel()
            await task

    class Clock(PeriodicHandler):
        async def on_tick(self):
            raise asyncio.CancelledError

    handler, clock = Waiting(fake_reactor.open_stream(zmq.PULL)), Clock()
    for each in (handler, clock):
        fake_reactor.register(each)
    handler.stream.deliver(b"1")
    handler.stream.deliver(b"2")
    with structlog.testing.capture_logs() as logs:
        fake_reactor.loop.advance(2.0)
    assert (handler.errors, clock.errors) == (2, 2)
    assert all(isinstance(entry["exc_info"], ReactorError) for entry in logs)


def test_an_on_stop_that_lets_a_cancelled_error_out_holds_nobody_up(fake_reactor):
    class Last(Recorder):
        def on_stop(self):
            raise asyncio.CancelledError

    handler = Last(fake_reactor.open_stream(zmq.PULL))
    fake_reactor.register(handler)
    with structlog.testing.capture_logs():
        fake_reactor.stop()
        fake_reactor.loop.run_until_complete(fake_reactor.stopped())
    assert handler.stream.closed and handler.errors == 1
