"""No hidden globals, one door for other threads, safe defaults, counters that are frozen."""

import asyncio
import dataclasses
import subprocess
import sys
import threading

import pytest
import zmq

import reactor as package
from reactor import PeriodicHandler, Reactor, WrongThread

from .recorders import Recorder


def test_importing_configures_nothing_and_creates_no_context():
    program = (
        "import logging, structlog, zmq, asyncio\n"
        "import reactor, reactor.reactor, reactor.running, reactor.streams\n"
        "assert not structlog.is_configured()\n"
        "assert not logging.getLogger().handlers\n"
        "assert zmq.Context._instance is None\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True, timeout=30)


async def test_two_reactors_share_nothing():
    async with Reactor() as one, Reactor() as two:
        a = one.open_stream(zmq.PUB, "@inproc://same-name")
        b = two.open_stream(zmq.PUB, "@inproc://same-name")
        assert a.endpoint == b.endpoint


async def test_another_thread_comes_in_by_one_door():
    async with Reactor() as reactor:
        came = asyncio.get_running_loop().create_future()
        inside = threading.get_ident()
        thread = threading.Thread(
            target=reactor.call_soon_threadsafe,
            args=(lambda: came.set_result(threading.get_ident()),),
        )
        thread.start()
        assert await came == inside
        thread.join()


async def test_touching_a_stream_from_another_thread_is_a_clear_error():
    async with Reactor() as reactor:
        stream = reactor.open_stream(zmq.PUB, "@inproc://mine")
        uses = [
            lambda: stream.send(b"x"),
            lambda: stream.try_send(b"x"),
            lambda: stream.set_option(zmq.SNDHWM, 1),
            lambda: stream.connect("inproc://other"),
            stream.pause,
            stream.close,
        ]
        errors = []

        def touch():
            for use in uses:
                try:
                    use()
                except WrongThread as error:
                    errors.append(str(error))

        thread = threading.Thread(target=touch)
        thread.start()
        thread.join()
        assert len(errors) == len(uses)
        assert all("call_soon_threadsafe" in text for text in errors)


async def test_linger_is_zero_unless_asked():
    async with Reactor() as reactor:
        assert reactor.open_stream(zmq.PUSH).get_option(zmq.LINGER) == 0
        assert reactor.open_stream(zmq.PUSH, linger_ms=500).linger_ms == 500


async def test_a_kernel_chosen_port_can_be_read_back():
    async with Reactor() as reactor:
        stream = reactor.open_stream(zmq.PUB, "tcp://127.0.0.1:*", unmarked="bind")
        host, port = stream.endpoint.rsplit(":", 1)
        assert host == "tcp://127.0.0.1"
        assert int(port) > 0


def test_statistics_are_frozen_snapshots_of_plain_counters(fake_reactor):
    handler = Recorder(fake_reactor.open_stream(zmq.PULL, "@inproc://counted", name="in"))
    fake_reactor.register(handler)
    before = fake_reactor.statistics()
    handler.stream.deliver(b"1")
    fake_reactor.loop.run_pending()
    after = fake_reactor.statistics()
    assert (before.streams[0].messages_received, after.streams[0].messages_received) == (0, 1)
    assert after.streams[0].name == "in"
    assert after.streams[0].endpoints == ("inproc://counted",)
    assert after.handlers[0].name == "Recorder"
    for snapshot in (after, after.streams[0], after.handlers[0]):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(snapshot, dataclasses.fields(snapshot)[0].name, "changed")


async def test_loop_lag_and_the_longest_hook_are_measured():
    class Busy(PeriodicHandler):
        interval = 0.02

        def on_tick(self):
            until = self.reactor.now() + 0.05
            while self.reactor.now() < until:
                pass
            self.reactor.call_later(0.03, self.reactor.stop)

    async with Reactor(lag_interval=0.01) as reactor:
        reactor.register(Busy())
        await reactor.stopped()
    statistics = reactor.statistics()
    assert statistics.longest_hook >= 0.05
    assert statistics.longest_loop_lag >= 0.03


async def test_the_longest_message_hook_is_measured_per_stream():
    class Busy(Recorder):
        def on_message(self, frames):
            until = self.reactor.now() + 0.02
            while self.reactor.now() < until:
                pass
            super().on_message(frames)

    async with Reactor() as reactor:
        handler = Busy(reactor.open_stream(zmq.PULL, "@inproc://busy"))
        reactor.register(handler)
        reactor.open_stream(zmq.PUSH, ">inproc://busy").send(b"x")
        await handler.received(1)
        tick = asyncio.Event()
        reactor.loop.call_soon(tick.set)
        await tick.wait()
        assert handler.stream.statistics().longest_hook >= 0.02
    assert reactor.statistics().longest_hook >= 0.02


def test_every_public_name_can_be_imported():
    assert sorted(package.__all__) == sorted(package._HOMES)
    for name in package.__all__:
        assert getattr(package, name).__doc__, name
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        package.nothing  # noqa: B018


async def test_an_address_in_brackets_switches_ipv6_on():
    async with Reactor() as reactor:
        stream = reactor.open_stream(zmq.PULL, ">tcp://[::1]:9")
        assert stream.get_option(zmq.IPV6) == 1
        assert reactor.open_stream(zmq.PULL, ">tcp://127.0.0.1:9").get_option(zmq.IPV6) == 0
