"""Espresso: messages a second and latency through the tracing proxy, beside zmq.proxy in C.

XPUB -> proxy -> SUB, three processes over tcp, as in `forward`. "C" is `zmq.proxy`; "Guide" is what
the Guide's program does: pyzmq's `monitored_queue` with a PAIR of high-water mark 1, and a thread
that reads it. Latency is what a proxy adds to the median of a direct connection. Record and replay
are beside a subscriber on the reactor that throws everything away and a publisher on the reactor
that has everything in memory.
`python -m benchmarks.espresso --help` runs these alone.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from time import perf_counter_ns, sleep  # noqa: TID251 - the sender has no loop

import zmq

from benchmarks.ends import (
    LOOPBACK,
    SIZES,
    SMALL,
    TOPICS,
    collect,
    endpoint_of,
    limit,
    open_socket,
    publish,
)
from benchmarks.processes import Pipe, Role
from benchmarks.samples import REACTOR, Meter, Sample, Settings, Target
from benchmarks.table import render
from patterns.espresso import Espresso, HandlerTap, Kind, Record, Recorder, RecordFile, Replay
from patterns.espresso.recording import encode_header, encode_record
from reactor import Reactor, Stream, StreamHandler

TARGETS = (
    Target("espresso", "C", at_least=0.9),
    Target("espresso tapped", "C", at_least=0.5),
    Target("espresso latency", "C", at_most=1.2),
    Target("record", "receive", at_least=0.5),
    Target("replay", "send", at_least=0.5),
)
UNLIMITED = 10**9
A_SECOND = 2000


def by_c(pipe: Pipe, upstream: str) -> None:
    """Role: zmq.proxy."""
    frontend = open_socket(zmq.XSUB, connect=upstream)
    backend = open_socket(zmq.XPUB, bind=LOOPBACK)
    pipe.send(endpoint_of(backend))
    zmq.proxy(frontend, backend)


def by_guide(pipe: Pipe, upstream: str) -> None:
    """Role: monitored_queue, whose tracer holds up the traffic."""
    from zmq.devices import monitored_queue

    frontend = open_socket(zmq.XSUB, connect=upstream)
    backend = open_socket(zmq.XPUB, bind=LOOPBACK)
    pair, other = frontend.context.socket(zmq.PAIR), frontend.context.socket(zmq.PAIR)
    for socket in (pair, other):
        socket.set_hwm(1)
    pair.bind("inproc://tracer")
    other.connect("inproc://tracer")

    def listen() -> None:
        while True:
            other.recv_multipart()

    threading.Thread(target=listen, daemon=True).start()
    pipe.send(endpoint_of(backend))
    monitored_queue(frontend, backend, pair, b"pub", b"sub")


def by_espresso(pipe: Pipe, upstream: str, tapped: bool) -> None:
    """Role: an Espresso, with a tap that takes everything or with none."""
    taps = [HandlerTap(lambda record: None)] if tapped else []

    async def main() -> None:
        async with Reactor() as reactor:
            espresso = Espresso(
                frontend=f">{upstream}",
                backend=f"@{LOOPBACK}",
                high_water_mark=UNLIMITED,
                taps=taps,
            )
            await reactor.register(espresso)
            pipe.send(espresso.bound_endpoints[0])
            await reactor.stopped()

    asyncio.run(main())


def through(proxy: Role | None, upstream: str, stack: ExitStack) -> str:
    """Return the endpoint to connect to: of the proxy, or the sender's own without one."""
    return upstream if proxy is None else str(stack.enter_context(proxy).get())


def measure_rates(settings: Settings, round_: int) -> Iterator[Sample]:
    """Yield the rates through every proxy, and with a tap."""
    peers: list[tuple[str, str, Callable[..., None], tuple[object, ...]]] = [
        ("espresso", REACTOR, by_espresso, (False,)),
        ("espresso", "C", by_c, ()),
        ("espresso tapped", REACTOR, by_espresso, (True,)),
        ("espresso tapped", "C", by_c, ()),
        ("espresso tapped", "Guide", by_guide, ()),
    ]
    for size in SIZES:
        count = limit(size, settings.quick) * 4 // 5
        for name, peer, proxy, arguments in peers:
            with (
                Role(publish, size, count) as publishing,
                Role(proxy, publishing.get(), *arguments) as proxying,
                Role(collect, proxying.get(), count, settings.seconds) as collecting,
            ):
                yield Sample(name, peer, round_, size, collecting.get(), "msg/s")


def send_paced(pipe: Pipe, count: int) -> None:
    """Role: an XPUB that waits for a subscription and sends a stamp every 500 microseconds."""
    socket = open_socket(zmq.XPUB, bind=LOOPBACK)
    pipe.send(endpoint_of(socket))
    socket.recv()
    due = perf_counter_ns() + 10**8
    for _ in range(count):
        sleep(max(0, due - perf_counter_ns()) / 1e9)
        stamp = perf_counter_ns().to_bytes(8)
        socket.send_multipart([TOPICS[0], stamp + bytes(SMALL - len(stamp))])
        due += 10**9 // A_SECOND
    pipe.poll(None)


def take_ages(pipe: Pipe, endpoint: str, count: int) -> None:
    """Role: a SUB that tells the median age of what it gets, in microseconds."""
    socket = open_socket(zmq.SUB, connect=endpoint)
    ages = []
    for _ in range(count):
        frames = socket.recv_multipart()
        ages.append(perf_counter_ns() - int.from_bytes(frames[1][:8]))
    pipe.send(statistics.median(ages[count // 10 :]) / 1e3)


def measure_latency(settings: Settings, round_: int) -> Iterator[Sample]:
    """Yield what each proxy adds to the median latency of a direct connection."""
    count = int(settings.seconds * A_SECOND)
    medians = {}
    for peer in ("direct", REACTOR, "C"):
        with ExitStack() as stack:
            upstream = stack.enter_context(Role(send_paced, count)).get()
            proxy = {REACTOR: Role(by_espresso, upstream, False), "C": Role(by_c, upstream)}
            endpoint = through(proxy.get(peer), upstream, stack)
            medians[peer] = stack.enter_context(Role(take_ages, endpoint, count)).get()
    for peer in (REACTOR, "C"):
        added = medians[peer] - medians["direct"]
        yield Sample("espresso latency", peer, round_, SMALL, added, "us")


class Ignore(StreamHandler):
    """Counts and throws away."""

    def __init__(self, stream: Stream) -> None:
        super().__init__(stream)
        self.received = 0

    def on_message(self, frames: list[bytes]) -> None:
        """Count one."""
        self.received += 1


def record(pipe: Pipe, endpoint: str, path: str, count: int, seconds: float) -> None:
    """Role: a subscriber that tells its rate; with a path, it records there."""
    meter = Meter(count, seconds)

    async def main() -> None:
        async with Reactor() as reactor:
            if path:
                file = RecordFile(path, overwrite=True)
                recorder = Recorder(file, endpoint, wall_clock=float, high_water_mark=UNLIMITED)
                reactor.register(recorder)
                await meter.watch(lambda: recorder.recorded)
            else:
                options: dict[int, int | bytes] = {zmq.RCVHWM: 0}
                stream = reactor.open_stream(
                    zmq.SUB, f">{endpoint}", subscribe=(b"",), options=options
                )
                reactor.register(ignore := Ignore(stream))
                await meter.watch(lambda: ignore.received)

    asyncio.run(main())
    pipe.send(meter.result().a_second)


def replay(pipe: Pipe, path: str) -> None:
    """Role: a replay as fast as possible."""

    async def main() -> None:
        with open(path, "rb") as file:
            async with Reactor() as reactor:
                player = Replay(
                    file, f"@{LOOPBACK}", speed=0, high_water_mark=UNLIMITED, on_done=bool
                )
                reactor.register(player)
                pipe.send(player.bound_endpoint)
                await reactor.stopped()

    asyncio.run(main())


class Sender(StreamHandler):
    """An XPUB stream that sends everything it has in memory, once somebody has subscribed."""

    def __init__(self, stream: Stream, size: int, count: int) -> None:
        super().__init__(stream)
        self.messages = [(topic, bytes(size)) for topic in TOPICS]
        self.left = count // len(TOPICS)

    def on_message(self, frames: list[bytes]) -> None:
        """Begin."""
        self.reactor.call_later(0.0, self.send_some)

    def send_some(self) -> None:
        """Send 1,000, and go on in the next turn."""
        for topic, body in self.messages:
            self.stream.send(topic, body)
        self.left -= 1
        if self.left:
            self.reactor.call_later(0.0, self.send_some)


def send(pipe: Pipe, size: int, count: int) -> None:
    """Role: a publisher on the reactor."""

    async def main() -> None:
        async with Reactor() as reactor:
            options: dict[int, int | bytes] = {zmq.SNDHWM: 0}
            stream = reactor.open_stream(zmq.XPUB, f"@{LOOPBACK}", options=options)
            reactor.register(Sender(stream, size, count))
            pipe.send(stream.endpoint)
            await reactor.stopped()

    asyncio.run(main())


def write_recording(path: str, size: int, count: int) -> None:
    """Write the messages that `publish` sends."""
    body = bytes(size)
    with open(path, "wb") as file:
        file.write(encode_header(0.0))
        for _ in range(count // len(TOPICS)):
            for topic in TOPICS:
                file.write(encode_record(Record(0.0, Kind.MESSAGE, (topic, body)), 0.0))


def measure_files(settings: Settings, round_: int) -> Iterator[Sample]:
    """Yield the rates of recording and replaying, beside receiving and sending."""
    for size in SIZES:
        count = limit(size, settings.quick) // 4
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "a.esp")
            for peer, target in ((REACTOR, path), ("receive", "")):
                with (
                    Role(publish, size, count * 4) as publishing,
                    Role(record, publishing.get(), target, count * 4, settings.seconds) as role,
                ):
                    yield Sample("record", peer, round_, size, role.get(), "msg/s")
            write_recording(path, size, count)
            for peer, sender, arguments in (
                (REACTOR, replay, (path,)),
                ("send", send, (size, count)),
            ):
                with (
                    Role(sender, *arguments) as sending,
                    Role(collect, sending.get(), count - 1000, settings.seconds) as collecting,
                ):
                    yield Sample("replay", peer, round_, size, collecting.get(), "msg/s")


def measure(settings: Settings, round_: int) -> Iterator[Sample]:
    """Yield everything of one round."""
    yield from measure_rates(settings, round_)
    yield from measure_latency(settings, round_)
    yield from measure_files(settings, round_)


def main() -> None:
    """Run this measurement alone."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.espresso")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", choices=["rates", "latency", "files"])
    options = parser.parse_args()
    settings = Settings(options.rounds, options.seconds, options.quick)
    chosen = {"rates": measure_rates, "latency": measure_latency, "files": measure_files}
    parts = [chosen[options.only]] if options.only else list(chosen.values())
    samples = []
    for number in range(1, settings.rounds + 1):
        for part in parts:
            samples += part(settings, number)
    print(render(samples, TARGETS))


if __name__ == "__main__":
    main()
