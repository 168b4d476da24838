"""Boxes without a Python reader: what they tell their workers, and what they count."""

import asyncio
import tempfile

import pytest
import zmq

from patterns.black_box import BlackBox, PrefixBox, PumpingBox
from patterns.black_box.feeds import Feed, as_feeds
from patterns.black_box.handlers import make_spawner
from patterns.black_box.pump import Pump
from reactor import EndpointError, Reactor
from tests.patterns.black_box.workers import ScriptedSpawner

FEED = "tcp://publisher:5557"


def test_each_worker_gets_its_part_and_its_reports_are_counted(fake_reactor):
    spawner = ScriptedSpawner(fake_reactor)
    box = PrefixBox(
        FEED, "a:b", parts=[[b"A", b"B"], [b"C"]], spawner=spawner, endpoint="inproc://box"
    )
    fake_reactor.register(box)
    fake_reactor.loop.advance(0.1)
    assert [worker.post.prefixes for worker in spawner.workers] == [(b"A", b"B"), (b"C",)]
    assert {worker.post.source for worker in spawner.workers} == {FEED}
    spawner.of(1).report(5, failed=2)
    spawner.of(0).report(1)
    fake_reactor.loop.run_pending()
    assert [(s.handled, s.failed) for s in box.statistics().shards] == [(1, 0), (5, 2)]
    spawner.of(1).end()
    fake_reactor.loop.advance(1)
    assert spawner.of(1).post.prefixes == (b"C",)
    assert box.statistics().shards[1].restarts == 1
    spawner.of(1).report(1)
    spawner.of(1).report(0)
    fake_reactor.loop.run_pending()
    assert box.statistics().refused == 1
    assert box.statistics().shards[1].handled == 6


def test_a_part_has_at_least_one_prefix():
    with pytest.raises(ValueError, match="prefix"):
        PrefixBox(FEED, "a:b", parts=[[b"A"], []])


def test_feeds_come_in_several_shapes():
    assert as_feeds("a") == as_feeds(["a"]) == as_feeds(Feed("a")) == (Feed("a"),)
    assert as_feeds(["a", Feed("b", (b"x",))]) == (Feed("a"), Feed("b", (b"x",)))
    with pytest.raises(ValueError):
        as_feeds([])


def test_only_processes_have_cores():
    with pytest.raises(ValueError, match="processes"):
        make_spawner("threads", "a:b", cores=(0,))
    with pytest.raises(ValueError, match="processes or threads"):
        make_spawner("greenlets", "a:b")  # type: ignore[arg-type]


async def test_a_pump_that_never_began_leaves_nothing_open():
    async with Reactor() as reactor:
        pump = Pump([Feed(FEED)], feed_high_water_mark=10, high_water_mark=10)
        await reactor.register(pump)
        assert pump.endpoint
    assert pump._context is None


@pytest.fixture
def long_temporary_path(tmp_path, monkeypatch):
    """A folder for temporary files whose path is too long for an ipc endpoint; it has to be 107."""
    folder = tmp_path / (120 * "x")
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.mark.skipif(not zmq.has("ipc"), reason="no ipc here")
@pytest.mark.parametrize("box", [BlackBox, PumpingBox])
async def test_a_box_that_cannot_bind_for_its_workers_says_so_and_leaves_nothing(
    box, long_temporary_path
):
    async with Reactor() as reactor:
        with pytest.raises(EndpointError, match="longer than"):
            await reactor.register(box(FEED, len, kind="threads"))
    assert list(long_temporary_path.iterdir()) == []


@pytest.mark.parametrize("feed", ["nonsense", "@tcp://256.0.0.1:1"])
async def test_a_pump_refuses_a_feed_that_cannot_be(feed):
    async with Reactor() as reactor:
        with pytest.raises(EndpointError):
            await reactor.register(PumpingBox(feed, len, kind="threads"))


async def test_a_pump_moves_messages_from_feeds_to_workers_until_it_is_ended():
    async with Reactor() as reactor:
        feed = reactor.open_stream(zmq.XPUB, "@tcp://127.0.0.1:*")
        subscribed, arrived = asyncio.Event(), asyncio.Event()
        feed.on_message(lambda frames: subscribed.set())
        pump = Pump(
            [Feed(feed.endpoint, (b"a",))], feed_high_water_mark=10, high_water_mark=10, cores=(0,)
        )
        await reactor.register(pump)
        received = []

        def keep(frames):
            received.append(frames)
            arrived.set()

        reactor.open_stream(zmq.PULL, f">{pump.endpoint}").on_message(keep)
        pump.begin()
        await subscribed.wait()
        feed.send(b"b", b"1")
        feed.send(b"a", b"2", b"3")
        await arrived.wait()
        assert received == [[b"a", b"2", b"3"]]
        await pump.end()
