"""Stopping: in order, once, from anywhere, bounded in time, and nothing lost silently."""

import asyncio
import os
import signal
import subprocess
import sys
import textwrap

import pytest
import structlog
import zmq

from reactor import Handler, HandlerSet, PeriodicHandler, Reactor, ReactorError, StreamHandler, run

from .recorders import Diary, Recorder


def _stop(fake_reactor):
    fake_reactor.stop()
    fake_reactor.loop.run_until_complete(fake_reactor.stopped())


def test_on_stop_runs_in_reverse_order_of_registration(fake_reactor):
    diary = []
    fake_reactor.register(Diary("a", diary), Diary("b", diary))
    fake_reactor.register(Diary("c", diary))
    _stop(fake_reactor)
    assert diary[3:] == ["stop c", "stop b", "stop a"]


def test_stopping_is_idempotent(fake_reactor):
    diary = []
    fake_reactor.register(Diary("a", diary))
    fake_reactor.stop()
    _stop(fake_reactor)
    fake_reactor.stop()
    assert diary == ["start a", "stop a"]
    assert not fake_reactor.running


def test_no_message_and_no_tick_comes_after_stop(fake_reactor):
    class Clock(PeriodicHandler):
        def on_tick(self):
            ticks.append(1)

    ticks = []
    handler = Recorder(fake_reactor.open_stream(zmq.PULL))
    fake_reactor.register(handler, Clock())
    handler.stream.deliver(b"too late")
    _stop(fake_reactor)
    fake_reactor.loop.advance(10)
    assert (handler.messages, ticks) == ([], [])


@pytest.mark.parametrize("hook", ["on_start", "on_message", "on_tick", "on_stop", "on_error"])
def test_stop_is_legal_from_inside_any_hook(fake_reactor, hook):
    def stop(self, *args):
        called.append(hook)
        self.reactor.stop()

    called = []
    stream = fake_reactor.open_stream(zmq.PULL)

    class Messages(StreamHandler):
        def on_message(self, frames):
            if hook == "on_error":
                raise ValueError

    class Ticks(PeriodicHandler):
        pass

    owner = Ticks if hook == "on_tick" else Messages
    setattr(owner, hook, stop)
    fake_reactor.register(Messages(stream))
    if not fake_reactor.stopping:
        fake_reactor.register(Ticks())
        stream.deliver(b"x")
        fake_reactor.loop.advance(2)
    if hook == "on_stop":
        fake_reactor.stop()
    fake_reactor.loop.run_until_complete(fake_reactor.stopped())
    assert called == [hook]
    assert stream.closed


async def test_stop_from_inside_a_hook_sends_what_was_sent_before():
    """500 sends with room for one in the socket, then stop: the queue is flushed."""

    class Burst(StreamHandler):
        def on_message(self, frames):
            for number in range(500):
                self.send(b"%d" % number)
            self.reactor.stop()

    small = {zmq.SNDHWM: 1, zmq.RCVHWM: 1}
    async with Reactor() as receiving:
        sink = Recorder(receiving.open_stream(zmq.PULL, "@tcp://127.0.0.1:*", options=small))
        receiving.register(sink)
        async with Reactor() as reactor:
            feed = reactor.open_stream(zmq.PULL, "@inproc://go")
            burst = Burst(feed)
            out = reactor.open_stream(zmq.PUSH, f">{sink.stream.endpoint}", options=small)
            burst.send = out.send
            reactor.register(burst)
            reactor.open_stream(zmq.PUSH, ">inproc://go").send(b"go")
            await reactor.stopped()
        async with asyncio.timeout(5):
            assert await sink.received(500) == [[b"%d" % number] for number in range(500)]


def test_a_coroutine_on_stop_is_awaited(fake_reactor):
    class Polite(Handler):
        async def on_stop(self):
            await asyncio.sleep(0.5)
            said.append("goodbye")

    said = []
    fake_reactor.register(Polite())
    _stop(fake_reactor)
    assert said == ["goodbye"]
    assert fake_reactor.loop.time() == 0.5


def test_an_on_stop_that_never_ends_is_cancelled_at_the_deadline(fake_reactor):
    class Stubborn(Handler):
        async def on_stop(self):
            await asyncio.Event().wait()

    fake_reactor.register(Stubborn())
    with structlog.testing.capture_logs() as logs:
        _stop(fake_reactor)
    assert fake_reactor.loop.time() == fake_reactor.stop_timeout
    assert [entry["event"] for entry in logs] == ["not done in time: cancelled"]


def test_an_on_stop_that_raises_does_not_keep_the_others_from_stopping(fake_reactor):
    class Broken(Handler):
        def on_stop(self):
            raise ValueError("broken")

    class BrokenLater(Handler):
        async def on_stop(self):
            raise ValueError("broken later")

    diary = []
    fake_reactor.register(Diary("a", diary), Broken(), BrokenLater())
    with structlog.testing.capture_logs() as logs:
        _stop(fake_reactor)
    assert diary[-1] == "stop a"
    assert [entry["handler"] for entry in logs] == ["BrokenLater", "Broken"]


def test_a_coroutine_hook_that_runs_is_finished_before_on_stop(fake_reactor):
    class Slow(StreamHandler):
        async def on_message(self, frames):
            await asyncio.sleep(0.5)
            log.append("message done")

        def on_stop(self):
            log.append("stop")

    log = []
    stream = fake_reactor.open_stream(zmq.PULL)
    fake_reactor.register(Slow(stream))
    stream.deliver(b"x")
    fake_reactor.loop.run_pending()
    _stop(fake_reactor)
    assert log == ["message done", "stop"]


def test_a_hard_stop_waits_for_nobody(fake_reactor):
    class Slow(Handler):
        async def on_stop(self):
            await asyncio.sleep(0.9)

    fake_reactor.register(Slow())
    fake_reactor.stop()
    fake_reactor.loop.advance(0.1)
    fake_reactor.stop(hard=True)
    with structlog.testing.capture_logs():
        fake_reactor.loop.run_until_complete(fake_reactor.stopped())
    assert fake_reactor.loop.time() == pytest.approx(0.1)


async def test_stopping_is_bounded_when_a_peer_takes_nothing():
    async with asyncio.timeout(10):
        reactor = Reactor(stop_timeout=0.2)
        async with reactor:
            stream = reactor.open_stream(zmq.PUSH, ">tcp://127.0.0.1:1", options={zmq.SNDHWM: 1})
            stream.send(b"into libzmq")
            stream.send(b"into the queue")
            with structlog.testing.capture_logs() as logs:
                reactor.stop()
                await reactor.stopped()
    assert ("closed with messages unsent", 1) in [(e["event"], e.get("dropped")) for e in logs]
    assert stream.statistics().messages_dropped == 1


async def test_only_an_owned_context_is_terminated():
    context = zmq.Context()
    async with Reactor(context=context) as reactor:
        reactor.open_stream(zmq.PUB, "@inproc://shared")
    assert not context.closed
    context.term()
    async with Reactor() as reactor:
        own = reactor.open_stream(zmq.PUB, "@inproc://own")._channel._socket.context
    assert own.closed


async def test_nothing_is_registered_on_a_stopping_reactor():
    async with Reactor() as reactor:
        reactor.stop()
        with pytest.raises(ReactorError, match="stopping"):
            reactor.register(Handler())


async def test_a_reactor_is_started_once():
    async with Reactor() as reactor:
        pass
    with pytest.raises(ReactorError, match="started once"):
        await reactor.start()


async def test_an_error_in_the_body_is_not_masked_and_everything_is_closed():
    with pytest.raises(KeyError):
        async with Reactor() as reactor:
            stream = reactor.open_stream(zmq.PUB, "@inproc://body")
            raise KeyError
    assert stream.closed


async def test_a_tornado_loop_runs_a_reactor_as_it_is():
    from tornado.ioloop import IOLoop

    ticked = asyncio.Event()
    async with Reactor() as reactor:
        reactor.periodic(0.01, ticked.set)
        IOLoop.current().add_callback(reactor.open_stream, zmq.PUB)  # noqa: TID251
        await asyncio.wait_for(ticked.wait(), 5)


def test_run_owns_the_loop_and_returns_when_a_handler_stops_it():
    class Once(PeriodicHandler):
        interval = 0.01

        def on_tick(self):
            self.reactor.stop()

    ready = []
    run(Once(), on_ready=ready.append)
    assert len(ready) == 1 and not ready[0].running


def test_run_raises_what_a_start_raised():
    diary = []
    with pytest.raises(RuntimeError, match="b cannot start"):
        run(HandlerSet(Diary("a", diary), Diary("b", diary, fails=True)))
    assert diary == ["start a", "stop a"]


PROGRAM = """
    import asyncio, sys
    from reactor import Handler, run

    class Server(Handler):
        async def on_stop(self):
            print("stopping", flush=True)
            await asyncio.sleep({delay})
            print("said goodbye", flush=True)

    run(Server(), stop_timeout=30, on_ready=lambda reactor: print("ready", flush=True))
    print("ended", flush=True)
"""


def _program(delay):
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(PROGRAM.format(delay=delay))],
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_gracefully(number):
    with _program(delay=0.01) as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        out, _ = process.communicate(timeout=20)
    assert out == "stopping\nsaid goodbye\nended\n"
    assert process.returncode == 0


def test_a_second_signal_stops_at_once():
    with _program(delay=1000) as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        assert process.stdout.readline() == "stopping\n"
        process.send_signal(signal.SIGTERM)
        out, _ = process.communicate(timeout=20)
    assert out.endswith("ended\n") and "goodbye" not in out
    assert process.returncode == 0


@pytest.mark.parametrize("ending", ["pass", "sys.exit(3)", "raise KeyError", "os._exit(0)"])
def test_nothing_hangs_at_interpreter_exit(ending):
    """A process that ends with open streams and unsent messages ends at once."""
    program = f"""
        import asyncio, os, sys, zmq
        from reactor import Reactor

        async def main():
            reactor = Reactor()
            await reactor.start()
            reactor.open_stream(zmq.PUSH, ">tcp://127.0.0.1:1").send(b"never sent")
            {ending}

        asyncio.run(main())
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(program)], timeout=20, stderr=-3)


def test_the_tests_themselves_run_where_signals_exist():
    assert os.name == "posix"


async def test_a_subscriber_without_a_publisher_does_not_delay_the_stop():
    async with Reactor(stop_timeout=30) as reactor:
        reactor.open_stream(zmq.SUB, ">tcp://127.0.0.1:1", subscribe=(b"",))
        async with asyncio.timeout(5):
            reactor.stop()
            await reactor.stopped()


def test_a_message_on_its_way_is_not_delivered_once_stop_has_returned(fake_reactor):
    handler = Recorder(fake_reactor.open_stream(zmq.PULL))
    fake_reactor.register(handler)
    fake_reactor.loop.call_soon(fake_reactor.stop)
    handler.stream.deliver(b"x")
    fake_reactor.loop.run_until(lambda: not fake_reactor.running)
    assert handler.messages == []


def test_a_coroutine_hook_that_closes_its_own_stream_goes_on_to_its_end(fake_reactor):
    class Last(StreamHandler):
        async def on_message(self, frames):
            self.stream.close()
            await asyncio.sleep(1)
            log.append("done")

    log = []
    stream = fake_reactor.open_stream(zmq.PULL)
    fake_reactor.register(Last(stream))
    stream.deliver(b"x")
    fake_reactor.loop.advance(2)
    assert log == ["done"]


async def test_a_stop_that_is_cancelled_itself_leaves_nobody_waiting_and_nothing_open():
    """As by a program that cancels all of its tasks."""

    class Slow(Recorder):
        async def on_stop(self):
            begun.set()
            await asyncio.sleep(60)

    begun = asyncio.Event()
    reactor = Reactor(stop_timeout=60)
    await reactor.start()
    handler = Slow(reactor.open_stream(zmq.PULL))
    await reactor.register(handler)
    reactor.stop()
    await begun.wait()
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()
    async with asyncio.timeout(5):
        await reactor.stopped()
    assert handler.stream.closed and not reactor.running
