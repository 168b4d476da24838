"""What only real sockets can show of connections that end: nothing leaks, and nobody is harmed."""

import asyncio
import os

import pytest
import zmq

from reactor import Reactor

SECONDS = 10.0


async def until(condition):
    async with asyncio.timeout(SECONDS):
        while not condition():
            await asyncio.sleep(0.001)


def descriptors():
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts descriptors in /proc")
async def test_watching_connections_leaks_no_descriptor():
    async with Reactor() as reactor:

        def watch_and_close():
            stream = reactor.open_stream(zmq.SUB, ">tcp://127.0.0.1:9")
            stream.on_disconnected(lambda: None)
            stream.on_disconnected(None)
            stream.on_disconnected(lambda: None)
            stream.close()

        watch_and_close()
        await asyncio.sleep(0)
        before = descriptors()
        for _ in range(50):
            watch_and_close()
        await until(lambda: descriptors() <= before)


async def test_a_server_that_is_asked_whether_it_listens_goes_on():
    async with Reactor() as reactor:
        publisher = reactor.open_stream(zmq.XPUB, "@tcp://127.0.0.1:*")
        subscriber = reactor.open_stream(zmq.SUB, f">{publisher.endpoint}", subscribe=(b"",))
        inbox = []
        subscriber.on_message(inbox.append)
        for _ in range(20):
            assert not await subscriber.is_refused()
        joined = []
        publisher.on_message(joined.append)
        await until(lambda: joined)
        publisher.send(b"hello")
        await until(lambda: inbox)


@pytest.mark.parametrize(
    "endpoint", ["tcp://127.0.0.1:1", "tcp://[::1]:1", "ipc:///nowhere/at/all"]
)
async def test_an_endpoint_without_a_listener_is_refused(endpoint):
    async with Reactor() as reactor:
        stream = reactor.open_stream(zmq.DEALER)
        assert await stream.is_refused(endpoint)


@pytest.mark.parametrize("endpoint", ["inproc://x", "tcp://nowhere.invalid:1", "tcp://127.0.0.1:x"])
async def test_an_endpoint_that_cannot_be_asked_is_not_refused(endpoint):
    async with Reactor() as reactor:
        stream = reactor.open_stream(zmq.DEALER)
        assert not await stream.is_refused(endpoint)


async def test_a_listener_that_says_nothing_is_not_refused(tmp_path):
    """Its process may be stopped; only its kernel answers, or nobody does."""
    async with Reactor() as reactor:
        listener = reactor.open_stream(zmq.PUB, f"@ipc://{tmp_path}/state")
        stream = reactor.open_stream(zmq.SUB, f">{listener.endpoint}")
        assert not await stream.is_refused()
