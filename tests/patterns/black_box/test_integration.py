"""Boxes with real sockets, real threads and real processes, one of which is killed."""

import os
import select
import signal
import subprocess
import sys
import threading
from collections import defaultdict
from pathlib import Path

import pytest
import zmq

from patterns.black_box import BlackBox, Delivery, PrefixBox, PumpingBox, QueuePolicy, WorkerFailed
from reactor import EndpointError, Reactor

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
RECORD = f"{HERE / 'recording.py'}:Record"
IGNORE = f"{HERE / 'recording.py'}:ignore"
LOOPBACK = "@tcp://127.0.0.1:*"
SECONDS = 30.0
KEYS = 20


class Publisher:
    """An XPUB that knows when it has been subscribed to, and numbers the messages of each key."""

    def __init__(self, reactor):
        self.stream = reactor.open_stream(zmq.XPUB, LOOPBACK, options={zmq.SNDHWM: 0})
        self.subscriptions = 0
        self.published = 0
        self.stream.on_message(self._count)
        self._reactor = reactor
        self._changed = None

    def _count(self, frames):
        self.subscriptions += 1
        if self._changed is not None:
            self._changed.set_result(None)
            self._changed = None

    async def subscribed(self, count=1):
        while self.subscriptions < count:
            self._changed = self._reactor.loop.create_future()
            await self._changed

    def publish(self, count):
        for _ in range(count):
            number, key = divmod(self.published, KEYS)
            self.stream.send(b"key%d" % key, b"%d" % number)
            self.published += 1


def recorded(path):
    """The numbers of each key, in the order of their lines."""
    seen = defaultdict(list)
    for line in path.read_bytes().splitlines():
        key, number = line.split()
        seen[key].append(int(number))
    return seen


def handled(box):
    return sum(shard.handled for shard in box.statistics().shards)


@pytest.fixture
def record(tmp_path, monkeypatch):
    path = tmp_path / "record"
    monkeypatch.setenv("RECORD", str(path))
    return path


async def run_with_a_kill(delivery):
    """5,000 messages through two processes, one of which is killed on the way; the statistics."""
    async with Reactor(stop_timeout=5) as reactor:
        publisher = Publisher(reactor)
        box = BlackBox(
            publisher.stream.endpoint,
            RECORD,
            delivery=delivery,
            policy=QueuePolicy.STOP_READING,
            high_water_mark=0,
        )
        await reactor.register(box)
        await publisher.subscribed()
        publisher.publish(5000)
        assert await box.foreman.wait_for(lambda: handled(box) > 500, SECONDS)
        os.kill(box.foreman.pids[0], signal.SIGKILL)
        publisher.publish(5000)
        assert await box.foreman.wait_for(lambda: arrived(box) == 10_000 and box.idle, SECONDS)
        return box.statistics().shards


def arrived(box):
    return sum(shard.received for shard in box.statistics().shards)


async def test_bb_1_a_box_runs_and_keeps_the_order_of_each_key_although_a_process_is_killed(record):
    shards = await run_with_a_kill(Delivery.AT_MOST_ONCE)
    seen = recorded(record)
    assert len(seen) == KEYS
    for numbers in seen.values():
        assert numbers == sorted(set(numbers)), "a key went back, or came twice"
    assert [shard.restarts for shard in shards] == [1, 0]
    assert shards[1].lost == 0
    done, lost = sum(shard.handled for shard in shards), shards[0].lost
    assert done + lost == 10_000
    assert done <= sum(map(len, seen.values())) <= 10_000  # done, but not reported, counts as lost


async def test_at_least_once_nothing_is_missing_although_a_process_is_killed(record):
    shards = await run_with_a_kill(Delivery.AT_LEAST_ONCE)
    seen = recorded(record)
    for numbers in seen.values():
        assert list(dict.fromkeys(numbers)) == list(range(10_000 // KEYS))
    assert shards[0].restarts == 1
    assert sum(shard.lost for shard in shards) == 0
    assert sum(map(len, seen.values())) <= 10_000 + shards[0].redelivered


async def test_work_that_is_not_there_fails_the_start():
    async with Reactor() as reactor:
        publisher = Publisher(reactor)
        with pytest.raises(WorkerFailed, match="exit status 78"):
            await reactor.register(BlackBox(publisher.stream.endpoint, "no_such_module:x"))


async def test_so_does_work_of_a_thread_that_is_not_there():
    async with Reactor() as reactor:
        with pytest.raises(WorkerFailed, match="no_such_module"):
            await reactor.register(BlackBox("tcp://x:1", "no_such_module:x", kind="threads"))


async def test_workers_end_when_the_box_cannot_start_after_all():
    async with Reactor() as reactor:
        box = BlackBox("no endpoint", IGNORE)
        with pytest.raises(EndpointError):
            await reactor.register(box)
        for pid in box.foreman.pids.values():
            with pytest.raises(ProcessLookupError):
                os.kill(pid, 0)


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="no affinity here")
@pytest.mark.parametrize("cores", [(), (0,)])
async def test_to_pin_the_reader_pins_no_worker_along_with_it(cores):
    before = os.sched_getaffinity(0)
    try:
        async with Reactor() as reactor:
            publisher = Publisher(reactor)
            box = BlackBox(publisher.stream.endpoint, IGNORE, reader_core=min(before), cores=cores)
            await reactor.register(box)
            assert os.sched_getaffinity(0) == {min(before)}
            for pid in box.foreman.pids.values():
                assert os.sched_getaffinity(pid) == (set(cores) or before)
    finally:
        os.sched_setaffinity(0, before)


PROGRAM = """
import sys
from patterns.black_box import BlackBox
from reactor import run

box = BlackBox("tcp://127.0.0.1:9", sys.argv[1])
run(box, on_ready=lambda reactor: print(*box.foreman.pids.values(), flush=True))
"""


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="only Linux can wait for a stranger")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_no_worker_outlives_its_box(number):
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, IGNORE],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    ) as program:
        pids = [int(pid) for pid in program.stdout.readline().split()]
        ends = [os.pidfd_open(pid) for pid in pids]
        program.send_signal(number)
        try:
            assert len(pids) == 2
            for end in ends:
                assert select.select([end], [], [], SECONDS)[0], "an orphan"
        finally:
            for end in ends:
                os.close(end)


class Threads:
    """Work for threads: closes over the test."""

    def __init__(self):
        self.seen = defaultdict(list)
        self.threads = set()

    def __call__(self, frames):
        self.seen[frames[0]].append(int(frames[1]))
        self.threads.add(threading.current_thread().name)


async def test_threads_work_too():
    work = Threads()
    async with Reactor(stop_timeout=5) as reactor:
        publisher = Publisher(reactor)
        box = BlackBox(publisher.stream.endpoint, work, kind="threads", high_water_mark=0)
        await reactor.register(box)
        await publisher.subscribed()
        publisher.publish(2000)
        assert await box.foreman.wait_for(lambda: handled(box) == 2000, SECONDS)
    assert len(work.threads) == 2
    assert all(numbers == list(range(100)) for numbers in work.seen.values())


async def test_a_pump_spreads_everything_over_all_workers():
    work = Threads()
    async with Reactor(stop_timeout=5) as reactor:
        publisher = Publisher(reactor)
        box = PumpingBox(publisher.stream.endpoint, work, kind="threads", feed_high_water_mark=0)
        await reactor.register(box)
        await publisher.subscribed()
        publisher.publish(2000)
        assert await box.foreman.wait_for(lambda: handled(box) == 2000, SECONDS)
    assert len(work.threads) == 2
    assert sum(map(len, work.seen.values())) == 2000


async def test_workers_that_subscribe_by_themselves_keep_the_order_of_their_topics():
    work = Threads()
    async with Reactor(stop_timeout=5) as reactor:
        publisher = Publisher(reactor)
        box = PrefixBox(
            publisher.stream.endpoint,
            work,
            parts=[[b"key1"], [b"key0", b"key2"]],
            kind="threads",
            high_water_mark=0,
        )
        await reactor.register(box)
        await publisher.subscribed(3)
        publisher.publish(2000)
        assert await box.foreman.wait_for(lambda: handled(box) == 1300, SECONDS)
    assert len(work.seen) == 13  # key1, key10 to key19; key0; key2
    assert all(numbers == list(range(100)) for numbers in work.seen.values())
