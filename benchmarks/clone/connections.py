"""Connections: 10,000 clients of one server, beside 10,000 of a bare XPUB that does nothing else.

KiB that each costs the server once 100 updates have gone through its queue, measured with 2,000 (a
queue that libzmq has hardly touched makes it 23). Milliseconds from the sending of one update until
the last of them has it; at our server that is from a client's KVSET on. "storm" is 10,000 who
connect and ask for a snapshot of 100 keys at once: seconds until the last has it, and the longest
gap between heartbeats meanwhile, in intervals. The clients speak ZMTP over plain sockets, all of
them in one process; fewer take part where there are not so many descriptors.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from time import perf_counter

import zmq

from benchmarks.clone import ours
from benchmarks.clone.ends import VALUE, open_writer
from benchmarks.clone.large import listen
from benchmarks.clone.peers import Peer
from benchmarks.clone.zmtp import READY, Crowd, ask_for_descriptors, encode
from benchmarks.ends import LOOPBACK, endpoint_of
from benchmarks.processes import Pipe, Role
from benchmarks.samples import REACTOR, Sample, Settings, Target
from benchmarks.services import Service
from patterns.clone.messages import HUGZ, snapshot_request
from patterns.clone.ports import publisher_of

CLIENTS = 10_000
KEYS = 100
UPDATES = 5
CLIENTS_WEIGHED = 2_000
UPDATES_BEFORE_WEIGHING = 100
BARE = "bare XPUB"
TARGETS = (
    Target("memory per client", BARE, at_most=1.3),
    Target("update to all", BARE, at_most=1.5),
    Target("storm heartbeat gap", at_most=1.2),
)
_UPDATE = (b"the-update", bytes(8), bytes(16), b"", VALUE)
_PATIENCE_SECONDS = 60.0
_SPARE_DESCRIPTORS = 200


def run_bare_xpub(pipe: Pipe) -> None:
    """Role: an XPUB that publishes one update each time it is told to, and tells the instant."""
    ask_for_descriptors(CLIENTS + _SPARE_DESCRIPTORS)
    socket = zmq.Socket(zmq.Context(), zmq.XPUB)
    socket.set(zmq.BACKLOG, 4096)
    socket.bind(LOOPBACK)
    pipe.send((endpoint_of(socket), os.getpid()))
    while True:
        while socket.poll(20):
            socket.recv()
        if pipe.poll():
            pipe.recv()
            pipe.send(perf_counter())
            socket.send_multipart(_UPDATE)


def follow(pipe: Pipe, endpoint: str, count: int) -> None:
    """Role: subscribers; tells when all have subscribed, then when the last has each update."""
    ask_for_descriptors(count + _SPARE_DESCRIPTORS)
    crowd = Crowd(endpoint, b"SUB", encode(b"\1"), encode(b"\1" + HUGZ))
    crowd.connect(count)
    pipe.send(crowd.listen_for(READY, _PATIENCE_SECONDS))
    while True:
        pipe.send((crowd.listen_for(_UPDATE[0], _PATIENCE_SECONDS), perf_counter()))


def join(pipe: Pipe, endpoint: str, count: int) -> None:
    """Role: clients that connect and ask at once; tells how many have a snapshot, and the time."""
    ask_for_descriptors(count + _SPARE_DESCRIPTORS)
    crowd = Crowd(endpoint, b"DEALER", encode(*snapshot_request()))
    began = perf_counter()
    crowd.connect(count)
    pipe.send((crowd.listen_for(b"KTHXBAI", _PATIENCE_SECONDS), perf_counter() - began))


class _OurSender:
    """Sends one update to our collector, and says when."""

    def __init__(self, endpoint: str) -> None:
        self._socket = open_writer(endpoint, zmq.XPUB)
        self._updates = 0

    def send(self) -> float:
        """Send it; returns the instant."""
        self._updates += 1
        key, sequence, _, properties, body = _UPDATE
        uuid = self._updates.to_bytes(16, "big")
        began = perf_counter()
        self._socket.send_multipart([key, sequence, uuid, properties, body])
        return began


def measure(peers: Sequence[Peer], settings: Settings, round_: int) -> Iterator[Sample]:
    """Yield the memory, the updates and the storm."""
    wanted = CLIENTS // 10 if settings.quick else CLIENTS
    count = min(wanted, ask_for_descriptors(wanted + _SPARE_DESCRIPTORS) - _SPARE_DESCRIPTORS)
    with ExitStack() as stack:
        service = ours.serve(stack, KEYS)
        sender = _OurSender(service.address)
        yield from _measure_updates(
            stack, service, publisher_of(service.address), sender.send, REACTOR, round_, count
        )
    with ExitStack() as stack:
        role = stack.enter_context(Role(run_bare_xpub))
        service = Service(*role.get())

        def send() -> float:
            role.put("go")
            return float(role.get())

        yield from _measure_updates(stack, service, service.address, send, BARE, round_, count)
    with ExitStack() as stack:
        yield from _measure_storm(ours.serve(stack, KEYS), round_, count)


def _measure_updates(
    stack: ExitStack,
    service: Service,
    publisher: str,
    send: Callable[[], float],
    peer: str,
    round_: int,
    count: int,
) -> Iterator[Sample]:
    before = service.resident_kib()
    weighed = min(count, CLIENTS_WEIGHED)
    with Role(follow, publisher, weighed) as crowd:
        _update(crowd, weighed, send, UPDATES_BEFORE_WEIGHING)
        each = (service.resident_kib() - before) / weighed
    yield Sample("memory per client", peer, round_, 0, each, "KiB")
    crowd = stack.enter_context(Role(follow, publisher, count))
    times = _update(crowd, count, send, UPDATES)
    yield Sample("update to all", peer, round_, 100, sorted(times)[UPDATES // 2] * 1000, "ms")


def _update(crowd: Role, count: int, send: Callable[[], float], updates: int) -> list[float]:
    """Return the seconds from each sending until all of a crowd have heard of it."""
    _check(crowd.get(timeout=120), count, "have connected")
    time.sleep(1.0)  # noqa: TID251 - the subscriptions arrive; no loop here to stop
    times = []
    for _ in range(updates):
        began = send()
        heard, ended = crowd.get(timeout=120)
        _check(heard, count, "have the update")
        times.append(ended - began)
    return times


def _measure_storm(service: Service, round_: int, count: int) -> Iterator[Sample]:
    with Role(listen, service.address) as listener:
        listener.get()
        with Role(join, service.address, count) as joining:
            served, seconds = joining.get(timeout=120)
        listener.put("how long?")
        gap = listener.get()
    _check(served, count, "have a snapshot")
    yield Sample("storm", REACTOR, round_, 100, seconds, "s")
    yield Sample("storm heartbeat gap", REACTOR, round_, 0, gap, "intervals")


def _check(found: int, count: int, what: str) -> None:
    if found != count:
        raise RuntimeError(f"{found} of {count} clients {what}")
