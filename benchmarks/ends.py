"""The two ends of a flood, as fast as Python goes: libzmq's own calls with plain integer flags.

A message is a 10-byte topic (one of 1,000) and a body of `size` bytes. A flood begins with the
topic BEGIN and ends with END, for peers that are timed from outside. Queues are unlimited
(HWM 0) and counts are bounded, so a slow receiver costs time and a known amount of memory.
"""

from __future__ import annotations

from typing import Any

import zmq
import zmq.backend

from benchmarks.processes import Pipe
from benchmarks.samples import Meter

BEGIN = b"begin00000"
END = b"end0000000"
TOPICS = tuple(b"topic%05d" % number for number in range(1000))
SIZES = (32, 1024)
SMALL = SIZES[0]
LOOPBACK = "tcp://127.0.0.1:*"

_MORE = int(zmq.SNDMORE)


def limit(size: int, quick: bool) -> int:
    """Return how many messages one flood has: about 2 seconds of the fastest Python receiver."""
    count = 2_500_000 if size <= SMALL else 800_000
    return count // 4 if quick else count


def open_socket(
    socket_type: int, bind: str = "", connect: str = "", kind: type[Any] | None = None
) -> Any:
    """Return a socket with unlimited queues in a context of its own; `kind` is its class."""
    socket = (kind or zmq.Socket)(zmq.Context(), socket_type)
    socket.set_hwm(0)
    socket.set(zmq.LINGER, 0)
    if socket_type == zmq.SUB:
        socket.subscribe(b"")
    if bind:
        socket.bind(bind)
    if connect:
        socket.connect(connect)
    return socket


def endpoint_of(socket: Any) -> str:
    """Return the endpoint a socket is bound to, with the port the kernel chose."""
    return str(socket.get_string(zmq.LAST_ENDPOINT))


def send_all(socket: Any, size: int, count: int) -> None:
    """Send BEGIN, `count` messages (rounded down to thousands) and END."""
    send = super(zmq.Socket, socket).send
    body = bytes(size)
    send(BEGIN, _MORE)
    send(body, 0)
    for _ in range(count // len(TOPICS)):
        for topic in TOPICS:
            send(topic, _MORE)
            send(body, 0)
    send(END, _MORE)
    send(body, 0)


def flood(pipe: Pipe, endpoint: str, size: int, count: int) -> None:
    """Role: a PUSH that sends everything at once, then waits to be killed."""
    socket = open_socket(zmq.PUSH, connect=endpoint)
    send_all(socket, size, count)
    pipe.poll(None)


def publish(pipe: Pipe, size: int, count: int) -> None:
    """Role: an XPUB that tells its endpoint, waits for one subscription, then floods."""
    socket = open_socket(zmq.XPUB, bind=LOOPBACK)
    pipe.send(endpoint_of(socket))
    socket.recv()
    send_all(socket, size, count)
    pipe.poll(None)


def drain(pipe: Pipe) -> None:
    """Role: a PULL that tells its endpoint and throws everything away."""
    socket = open_socket(zmq.PULL, bind=LOOPBACK)
    pipe.send(endpoint_of(socket))
    receive = super(zmq.Socket, socket).recv
    while True:
        receive(0)


def collect(pipe: Pipe, endpoint: str, count: int, seconds: float, in_detail: bool = False) -> None:
    """Role: a SUB that tells at which rate messages of 2 frames come.

    In detail, it says "begun" at the first ones, and tells how many came beside the rate.
    """
    socket = open_socket(zmq.SUB, connect=endpoint)
    receive = super(zmq.Socket, socket).recv
    meter = Meter(count, seconds)
    received = 0
    while not meter.note(received):
        for _ in range(100):
            receive(0)
            receive(0)
        if in_detail and not received:
            pipe.send("begun")
        received += 100
    pipe.send((received, meter.rate()) if in_detail else meter.rate())
