"""Large: 1,000,000 keys for one client, and what becomes of the heartbeats meanwhile.

Seconds until a raw client, with the high-water marks that libzmq comes with, has them all: from
our server, and from a bare loop that does nothing but send the same frames. The CloneClient takes
them packed. "heartbeat gap" is the longest time between two heartbeats at a subscriber while that
goes on, in intervals.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from time import perf_counter

import zmq

from benchmarks.clone import ends, ours
from benchmarks.clone.ends import VALUE, key_of
from benchmarks.clone.peers import Peer, ask_when_ready
from benchmarks.ends import LOOPBACK, endpoint_of, open_socket
from benchmarks.processes import Pipe, Role
from benchmarks.samples import REACTOR, Sample, Settings, Target
from benchmarks.services import start_role
from patterns.clone.messages import HUGZ, encode_sequence, snapshot_end
from patterns.clone.ports import publisher_of

KEYS = 1_000_000
INTERVAL = 1.0
BARE = "bare loop, raw client"
RAW = "our server, raw client"
TARGETS = (
    Target("1,000,000 keys, CHP", BARE, at_most=2.5),
    Target("heartbeat gap", at_most=1.2),
    Target("heartbeat gap, packed", at_most=1.2),
)
_MORE = int(zmq.SNDMORE)


def run_bare_loop(pipe: Pipe, keys: int) -> None:
    """Role: a ROUTER that sends so many entries to whoever asks, as fast as they are taken."""
    socket = zmq.Socket(zmq.Context(), zmq.ROUTER)
    socket.set(zmq.ROUTER_MANDATORY, 1)  # wait for room, rather than drop
    socket.bind(LOOPBACK)
    entries = [
        (key_of(number), encode_sequence(number), number.to_bytes(16, "big"), b"", VALUE)
        for number in range(1, keys + 1)
    ]
    pipe.send((endpoint_of(socket), os.getpid()))
    send = super(zmq.Socket, socket).send
    while True:
        identity = socket.recv_multipart()[0]
        for entry in [*entries, snapshot_end(keys)]:
            key, sequence, uuid, properties, body = entry
            send(identity, _MORE)
            send(key, _MORE)
            send(sequence, _MORE)
            send(uuid, _MORE)
            send(properties, _MORE)
            send(body, 0)


def listen(pipe: Pipe, endpoint: str) -> None:
    """Role: a subscriber to heartbeats that tells the longest gap between two when it is asked."""
    socket = open_socket(zmq.SUB, connect=publisher_of(endpoint))
    socket.recv_multipart()
    pipe.send("ready")
    last, longest = perf_counter(), 0.0
    while True:
        if socket.poll(10):
            frames = socket.recv_multipart()
            now = perf_counter()
            if frames[0] == HUGZ:
                longest, last = max(longest, now - last), now
        if pipe.poll():
            pipe.send(max(longest, perf_counter() - last))
            return


def measure(peers: Sequence[Peer], settings: Settings, round_: int) -> Iterator[Sample]:
    """Yield the seconds, and the gaps of our server."""
    keys = KEYS // 10 if settings.quick else KEYS
    with ExitStack() as stack:
        service = ours.serve(stack, keys, INTERVAL)
        for peer, role, name in (
            (RAW, ends.join, "heartbeat gap"),
            ("CloneClient, packed", ours.join, "heartbeat gap, packed"),
        ):
            with Role(listen, service.address) as listener:
                listener.get()
                seconds = ask_when_ready(role, service.address, keys)
                listener.put("how long?")
                gap = float(listener.get()) / INTERVAL
            measured = REACTOR if peer == RAW else peer
            yield Sample("1,000,000 keys, CHP", measured, round_, 100, seconds, "s")
            yield Sample(name, REACTOR, round_, 100, gap, "intervals")
    with ExitStack() as stack:
        service = start_role(stack, run_bare_loop, keys)
        seconds = ask_when_ready(ends.join, service.address, keys)
        yield Sample("1,000,000 keys, CHP", BARE, round_, 100, seconds, "s")
