"""The keys, the values, and the raw ends that our server and the Guide's are measured with.

The raw ends use libzmq's calls with plain integer flags and check nothing, so that the server in
the middle is what limits.
"""

from __future__ import annotations

import itertools
from time import perf_counter
from typing import Any

import zmq

from benchmarks.ends import open_socket
from benchmarks.processes import Pipe
from benchmarks.samples import Meter
from patterns.clone.messages import KTHXBAI, snapshot_request
from patterns.clone.ports import collector_of, publisher_of

VALUE = b"v" * 100
KEYS_IN_USE = 10_000
"""Updates go round these keys, so that a map holds them all and each is replaced in its turn."""
MANY_UPDATES = 5_000_000

_MORE = int(zmq.SNDMORE)
_NO_SEQUENCE = bytes(8)


def key_of(number: int) -> bytes:
    """Return the key of that number, 12 bytes."""
    return b"key%09d" % number


def keys_in_use() -> list[bytes]:
    """Return the keys that updates go round."""
    return [key_of(number) for number in range(KEYS_IN_USE)]


def open_writer(endpoint: str, socket_type: int) -> Any:
    """Return a socket on the collector whose updates wait for room, not dropped; XPUB or PUSH."""
    socket = zmq.Socket(zmq.Context(), socket_type)
    socket.set(zmq.LINGER, 0)
    if socket_type == zmq.XPUB:
        socket.set(zmq.XPUB_NODROP, 1)
    socket.connect(collector_of(endpoint))
    if socket_type == zmq.XPUB:
        socket.recv()  # the collector has subscribed
    return socket


def write(pipe: Pipe, endpoint: str, socket_type: int) -> None:
    """Role: once told to, sends updates as fast as the server takes them."""
    send = super(zmq.Socket, open_writer(endpoint, socket_type)).send
    keys = keys_in_use()
    pipe.recv()
    for number in range(MANY_UPDATES):
        send(keys[number % KEYS_IN_USE], _MORE)
        send(_NO_SEQUENCE, _MORE)
        send(number.to_bytes(16, "big"), _MORE)
        send(b"", _MORE)
        send(VALUE, 0)
    pipe.poll(None)


def follow(pipe: Pipe, endpoint: str, seconds: float) -> None:
    """Role: a subscriber that tells "ready", the rate of what comes, and how much is missing."""
    socket = open_socket(zmq.SUB, connect=publisher_of(endpoint))
    receive = super(zmq.Socket, socket).recv
    pipe.send("ready")
    meter = Meter(MANY_UPDATES, seconds)
    received = 0
    first = last = 0
    while not meter.note(received):
        for _ in range(100):
            receive(0)
            sequence = receive(0)
            receive(0)
            receive(0)
            receive(0)
            if sequence != _NO_SEQUENCE:
                received += 1
                last = sequence
        first = first or last
    pipe.send((meter.rate(), _number(last) - _number(first) - received + 100))


def _number(sequence: Any) -> int:
    return int.from_bytes(sequence or b"", "big")


def acknowledge(pipe: Pipe, endpoint: str, socket_type: int, in_flight: int, sec: float) -> None:
    """Role: keeps so many updates under way until each comes back; tells the rate."""
    subscriber = open_socket(zmq.SUB, connect=publisher_of(endpoint))
    socket = open_writer(endpoint, socket_type)
    send, receive = super(zmq.Socket, socket).send, super(zmq.Socket, subscriber).recv
    keys = itertools.cycle(keys_in_use())
    uuids = itertools.count(1)

    def send_one() -> None:
        send(next(keys), _MORE)
        send(_NO_SEQUENCE, _MORE)
        send(next(uuids).to_bytes(16, "big"), _MORE)
        send(b"", _MORE)
        send(VALUE, 0)

    while not subscriber.poll(10):  # the subscription has arrived when an update comes back
        send_one()
    while subscriber.poll(200):
        receive(0)
    for _ in range(in_flight):
        send_one()
    meter = Meter(MANY_UPDATES, sec)
    acknowledged = 0
    while not meter.note(acknowledged):
        for _ in range(min(in_flight, 100)):
            receive(0)
            sequence = receive(0)
            for _ in range(3):
                receive(0)
            if sequence != _NO_SEQUENCE:
                acknowledged += 1
                send_one()
    pipe.send(meter.rate())


def join(pipe: Pipe, endpoint: str, keys: int) -> None:
    """Role: fetches a snapshot as CHP has it into a dict, and tells the seconds it took."""
    pipe.send("ready")
    pipe.recv()
    began = perf_counter()
    socket = zmq.Socket(zmq.Context(), zmq.DEALER)  # with the high-water marks that it comes with
    socket.connect(endpoint)
    socket.send_multipart(snapshot_request())
    receive = super(zmq.Socket, socket).recv
    entries: dict[bytes, tuple[bytes, ...]] = {}
    while (key := receive(0)) != KTHXBAI:
        entries[key] = (key, receive(0), receive(0), receive(0), receive(0))
    pipe.send(perf_counter() - began)
    if len(entries) != keys:
        raise RuntimeError(f"{len(entries)} keys came, not {keys}")
