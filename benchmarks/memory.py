"""Memory: what the process grows by between message 1,000,000 and message 10,000,000.

All go through one StreamHandler. Queues have libzmq's default limit of 1,000 messages here, so
the sender waits for the receiver and whatever grows is the receiver's own doing.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import zmq

from benchmarks.ends import LOOPBACK, SMALL, send_all
from benchmarks.processes import Pipe, Role
from benchmarks.receive import Counter
from benchmarks.samples import REACTOR, Sample, Settings, Target
from reactor import Reactor, Stream

TARGETS = (Target("memory", at_most=1024),)
WARM_UP = 1_000_000
MESSAGES = 10_000_000


class Witness(Counter):
    """Counts, and notes the process's memory at two counts."""

    def __init__(self, stream: Stream, messages: int) -> None:
        super().__init__(stream)
        self.messages = messages
        self.before = self.after = 0

    def on_message(self, frames: list[bytes]) -> None:
        """Count one message."""
        self.received += 1
        if self.received == WARM_UP:
            self.before = resident_kib()
        elif self.received == self.messages:
            self.after = resident_kib()
            self.reactor.stop()


def resident_kib() -> int:
    """Return the process's resident memory in KiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") // 1024


def receive(pipe: Pipe, messages: int) -> None:
    """Role: a StreamHandler that tells by how much the process grew."""

    async def main() -> None:
        async with Reactor() as reactor:
            witness = Witness(reactor.open_stream(zmq.PULL, f"@{LOOPBACK}"), messages)
            reactor.register(witness)
            pipe.send(witness.stream.endpoint)
            await reactor.stopped()
            pipe.send(witness.after - witness.before)

    asyncio.run(main())


def send(pipe: Pipe, endpoint: str, messages: int) -> None:
    """Role: a PUSH that sends as fast as the receiver takes."""
    socket = zmq.Socket(zmq.Context(), zmq.PUSH)
    socket.connect(endpoint)
    send_all(socket, SMALL, messages)
    pipe.poll(None)


def measure(settings: Settings, round_: int) -> Iterator[Sample]:
    """Yield the growth in KiB, in the first round only: it takes long and does not vary."""
    if round_ > 1:
        return
    messages = 2 * WARM_UP if settings.quick else MESSAGES
    with Role(receive, messages) as receiving, Role(send, receiving.get(), messages):
        yield Sample("memory", REACTOR, round_, SMALL, receiving.get(timeout=300), "KiB grown")
