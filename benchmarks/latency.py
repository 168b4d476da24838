"""Latency: one message at a time, 2,000 a second; from the sender's stamp to the user's code.

The sender stamps each message with the machine's monotonic clock, which both processes share.
CPU is that of the whole receiving process, libzmq's threads included, for each message.
"""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Callable, Iterator
from time import perf_counter_ns, process_time, sleep  # noqa: TID251 - the sender has no loop

import zmq
import zmq.asyncio
from zmq.eventloop.zmqstream import ZMQStream

from benchmarks.ends import LOOPBACK, SMALL, TOPICS, endpoint_of, open_socket
from benchmarks.processes import Pipe, Role
from benchmarks.samples import REACTOR, Sample, Settings, Target
from reactor import Reactor, StreamHandler

TARGETS = (
    Target("latency p50", "raw loop", at_most=1.2),
    Target("latency CPU", "ZMQStream", at_most=1),
)
A_SECOND = 2000
WARM_UP = 200


class Record:
    """Latencies of `count` messages after the warm-up, and the CPU time they took."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._nanoseconds: list[int] = []
        self._cpu = 0.0
        self.complete = False

    def take(self, frames: list[bytes]) -> None:
        """Take the age of one message."""
        self._nanoseconds.append(perf_counter_ns() - int.from_bytes(frames[1][:8]))
        if len(self._nanoseconds) == WARM_UP:
            self._cpu = process_time()
        elif len(self._nanoseconds) == WARM_UP + self._count:
            self._cpu = process_time() - self._cpu
            self.complete = True

    def summary(self) -> tuple[float, float, float]:
        """Return the median, the 99th percentile and the CPU for a message, in microseconds."""
        percentiles = statistics.quantiles(self._nanoseconds[WARM_UP:], n=100)
        return percentiles[49] / 1e3, percentiles[98] / 1e3, self._cpu / self._count * 1e6


def send_paced(pipe: Pipe, endpoint: str, count: int) -> None:
    """Role: a PUSH that sends a stamped message every 500 microseconds."""
    socket = open_socket(zmq.PUSH, connect=endpoint)
    interval = 10**9 // A_SECOND
    due = perf_counter_ns() + 10**8  # the connection is up by then
    for _ in range(WARM_UP + count):
        sleep(max(0, due - perf_counter_ns()) / 1e9)
        stamp = perf_counter_ns().to_bytes(8)
        socket.send_multipart([TOPICS[0], stamp + bytes(SMALL - len(stamp))])
        due += interval
    pipe.poll(None)


class Recorder(StreamHandler):
    """Takes the age of every message, and stops at the last."""

    record: Record

    def on_message(self, frames: list[bytes]) -> None:
        """Take one."""
        self.record.take(frames)
        if self.record.complete:
            self.reactor.stop()


def by_reactor(pipe: Pipe, record: Record) -> None:
    """Role: a StreamHandler."""

    async def main() -> None:
        async with Reactor() as reactor:
            recorder = Recorder(reactor.open_stream(zmq.PULL, f"@{LOOPBACK}"))
            recorder.record = record
            reactor.register(recorder)
            pipe.send(recorder.stream.endpoint)
            await reactor.stopped()

    asyncio.run(main())


def by_zmqstream(pipe: Pipe, record: Record) -> None:
    """Role: a bare ZMQStream."""

    async def main() -> None:
        done = asyncio.Event()

        def on_recv(frames: list[bytes]) -> None:
            record.take(frames)
            if record.complete:
                done.set()

        stream = ZMQStream(open_socket(zmq.PULL, bind=LOOPBACK))
        stream.on_recv(on_recv)
        pipe.send(endpoint_of(stream.socket))
        await done.wait()

    asyncio.run(main())


def by_raw_loop(pipe: Pipe, record: Record) -> None:
    """Role: `poll()` and `recv_multipart()`."""
    socket = open_socket(zmq.PULL, bind=LOOPBACK)
    poller = zmq.Poller()
    poller.register(socket, zmq.POLLIN)
    pipe.send(endpoint_of(socket))
    while not record.complete:
        poller.poll()
        record.take(socket.recv_multipart())


def by_zmq_asyncio(pipe: Pipe, record: Record) -> None:
    """Role: a coroutine that awaits `recv_multipart()`."""

    async def main() -> None:
        socket = open_socket(zmq.PULL, bind=LOOPBACK, kind=zmq.asyncio.Socket)
        pipe.send(endpoint_of(socket))
        while not record.complete:
            record.take(await socket.recv_multipart())

    asyncio.run(main())


RECEIVERS: dict[str, Callable[[Pipe, Record], None]] = {
    REACTOR: by_reactor,
    "ZMQStream": by_zmqstream,
    "raw loop": by_raw_loop,
    "zmq.asyncio": by_zmq_asyncio,
}


def receive(pipe: Pipe, peer: str, count: int) -> None:
    """Role: the receiver of that name; tells its endpoint, then its summary."""
    record = Record(count)
    RECEIVERS[peer](pipe, record)
    pipe.send(record.summary())


def measure(settings: Settings, round_: int) -> Iterator[Sample]:
    """Yield median, 99th percentile and CPU of every receiver."""
    count = int(settings.seconds * A_SECOND)
    for peer in RECEIVERS:
        with (
            Role(receive, peer, count) as receiving,
            Role(send_paced, receiving.get(), count),
        ):
            for figure, value in zip(("p50", "p99", "CPU"), receiving.get(), strict=True):
                yield Sample(f"latency {figure}", peer, round_, SMALL, value, "us")
