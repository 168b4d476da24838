"""Black box: messages a second handled behind a publisher that floods, by two process workers.

- `black box, 20 us`: each message costs 20 us of Python; a keyed box.
- `black box, keyed`: no work; every message is sharded, queued, dealt out, in order for its key.
- `black box, prefix`: no work; each worker subscribes to half of the topics.
- `black box, pump`: no work; libzmq pumps to the two workers.

The peer is one plain subscriber that does the same work in its hook; of the pump it is `zmq.proxy`
to one subscriber that only receives. The processes are those of `reactor bench blackbox`: the
publisher waits where a queue is full, so that nothing is dropped. Over tcp or ipc, nothing pinned;
with two cores the publisher, the reader and both workers share them.

`python -m benchmarks.black_box` takes two and a half minutes, `--quick` half a minute.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import zmq

from benchmarks.ends import LOOPBACK, SMALL, endpoint_of, open_socket
from benchmarks.processes import Pipe, Role
from benchmarks.samples import REACTOR, Meter, Sample, Settings, Target
from benchmarks.table import render
from patterns.commands.bench import report, rounds
from patterns.commands.bench.work import turns_for
from patterns.commands.children import Children

PLAIN = "plain subscriber"
PROXY = "zmq.proxy"
TARGETS = (
    Target("black box, 20 us", PLAIN, at_least=1.7),
    Target("black box, keyed", PLAIN, at_least=0.4),
    Target("black box, pump", PROXY, at_least=0.5),
)

WORK_US = 20.0
_UNLIMITED = 10**12


def by_proxy(pipe: Pipe, upstream: str) -> None:
    """Role: zmq.proxy from the feed to whoever subscribes."""
    frontend = open_socket(zmq.XSUB, connect=upstream)
    backend = open_socket(zmq.XPUB, bind=LOOPBACK)
    pipe.send(endpoint_of(backend))
    zmq.proxy(frontend, backend)


def receive_all(pipe: Pipe, endpoint: str, seconds: float) -> None:
    """Role: one SUB that only receives, as fast as Python can."""
    socket = open_socket(zmq.SUB, connect=endpoint)
    receive = super(zmq.Socket, socket).recv
    meter, received = Meter(_UNLIMITED, seconds), 0
    while not meter.note(received):
        for _ in range(100):
            receive(0)
            receive(0)
        received += 100
    pipe.send(meter.rate())


async def behind_proxy(seconds: float, logs: Path) -> float:
    """Return the messages a second that one subscriber gets through `zmq.proxy`."""
    async with Children(logs) as children:
        upstream = await rounds.start_publisher(children, SMALL, 1)
        with (
            Role(by_proxy, upstream) as proxying,
            Role(receive_all, proxying.get(), seconds) as receiving,
        ):
            return float(receiving.get())


def measure(settings: Settings, round_: int) -> Iterator[Sample]:
    """Yield one rate of every box and of its peer."""
    turns = turns_for(WORK_US * 1e-6)
    plan = report.Settings(size=SMALL, seconds=settings.seconds)
    with tempfile.TemporaryDirectory() as folder:
        logs = Path(folder)

        def sample(name: str, kind: str, turns: int) -> Sample:
            rate = asyncio.run(rounds.rate_of(plan, kind, turns, logs))
            return Sample(name, REACTOR if kind else PLAIN, round_, SMALL, rate, "msg/s")

        yield sample("black box, 20 us", "keyed", turns)
        yield sample("black box, 20 us", "", turns)
        yield sample("black box, keyed", "keyed", 0)
        yield sample("black box, keyed", "", 0)
        yield sample("black box, prefix", "prefix", 0)
        yield sample("black box, prefix", "", 0)
        yield sample("black box, pump", "pump", 0)
        rate = asyncio.run(behind_proxy(settings.seconds, logs))
        yield Sample("black box, pump", PROXY, round_, SMALL, rate, "msg/s")


def main() -> None:
    """Run this measurement by itself."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.black_box", description=__doc__)
    parser.add_argument("--rounds", type=int, help="default 5")
    parser.add_argument("--seconds", type=float, help="for each sample; default 2")
    parser.add_argument("--quick", action="store_true", help="2 rounds of half a second")
    options = parser.parse_args()
    settings = Settings(
        options.rounds or (2 if options.quick else 5),
        options.seconds or (0.5 if options.quick else 2.0),
        options.quick,
    )
    samples = []
    for number in range(1, settings.rounds + 1):
        print(f"round {number} of {settings.rounds}", file=sys.stderr)
        samples += measure(settings, number)
    print(render(samples, TARGETS))


if __name__ == "__main__":
    main()
