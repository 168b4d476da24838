"""The Guide's model 5, written anew from its description in chapter 5, with logging off.

Everything goes as it does there: a message is an object with a dict of properties, each message is
a loop turn of a ZMQStream and is encoded again to be sent, and a sweep looks at every key once a
second. Two things are kinder: the high-water marks are off, so that no snapshot is cut short, and
the process has nothing to log.
"""

from __future__ import annotations

import os
import struct
import time
from contextlib import ExitStack
from time import perf_counter
from typing import Any
from uuid import uuid4

import zmq
from tornado.ioloop import IOLoop, PeriodicCallback
from zmq.eventloop.zmqstream import ZMQStream

from benchmarks.clone import ends
from benchmarks.clone.ends import VALUE, key_of
from benchmarks.clone.peers import Peer, ask, ask_when_ready
from benchmarks.ends import endpoint_of
from benchmarks.processes import Pipe, Role
from benchmarks.services import Service, start_role
from patterns.clone.ports import collector_of, publisher_of


class Message:
    """A key-value message as an object: key, sequence, uuid, properties, body."""

    def __init__(self, sequence: int, key: bytes, body: bytes, uuid: bytes | None = None) -> None:
        self.sequence = sequence
        self.key = key
        self.body = body
        self.uuid = uuid or uuid4().bytes
        self.properties: dict[bytes, bytes] = {}

    def store(self, entries: dict[bytes, Message]) -> None:
        """Put the message into a map, or take its key out if it has no body."""
        if self.body:
            entries[self.key] = self
        else:
            entries.pop(self.key, None)

    def send(self, socket: Any, *prefix: bytes) -> None:
        """Encode the message and send it."""
        properties = b"".join(b"%s=%s\n" % item for item in self.properties.items())
        sequence = struct.pack("!q", self.sequence)
        socket.send_multipart([*prefix, self.key, sequence, self.uuid, properties, self.body])

    @classmethod
    def decode(cls, frames: list[bytes]) -> Message:
        """Return the message in five frames."""
        key, sequence, uuid, properties, body = frames
        message = cls(struct.unpack("!q", sequence)[0], key, body, uuid)
        for line in properties.split(b"\n"):
            if line:
                name, value = line.split(b"=")
                message.properties[name] = value
        return message


class Server:
    """Snapshots on a ROUTER, updates from a PULL to a PUB, ephemeral values."""

    def __init__(self, keys: int) -> None:
        self.entries = {
            key_of(number): Message(number, key_of(number), VALUE) for number in range(1, keys + 1)
        }
        self.sequence = keys
        context = zmq.Context()
        router, publisher, collector = (
            zmq.Socket(context, kind) for kind in (zmq.ROUTER, zmq.PUB, zmq.PULL)
        )
        for socket in (router, publisher, collector):
            socket.set_hwm(0)
        self.endpoint = _bind_three(router, publisher, collector)
        self.router, self.publisher, self.collector = (
            ZMQStream(socket) for socket in (router, publisher, collector)
        )
        self.router.on_recv(self.receive_request)
        self.collector.on_recv(self.receive_update)
        self.sweep = PeriodicCallback(self.expire, 1000)

    def receive_request(self, frames: list[bytes]) -> None:
        """Send every entry of the subtree at once, then the end."""
        identity, _, subtree = frames
        for message in self.entries.values():
            if message.key.startswith(subtree):
                message.send(self.router, identity)
        Message(self.sequence, b"KTHXBAI", subtree).send(self.router, identity)

    def receive_update(self, frames: list[bytes]) -> None:
        """Number an update, publish it and store it."""
        message = Message.decode(frames)
        self.sequence += 1
        message.sequence = self.sequence
        message.send(self.publisher)
        ttl = float(message.properties.get(b"ttl", 0))
        if ttl:
            message.properties[b"ttl"] = b"%f" % (time.time() + ttl)  # noqa: TID251 - as there
        message.store(self.entries)

    def expire(self) -> None:
        """Look at every key, whether its time is over."""
        for message in list(self.entries.values()):
            ttl = float(message.properties.get(b"ttl", 0))
            if ttl and ttl <= time.time():  # noqa: TID251 - as there
                self.sequence += 1
                message.sequence = self.sequence
                message.body = b""
                message.send(self.publisher)
                message.store(self.entries)


def _bind_three(router: Any, publisher: Any, collector: Any) -> str:
    for _ in range(50):
        router.bind("tcp://127.0.0.1:*")
        endpoint = endpoint_of(router)
        try:
            publisher.bind(publisher_of(endpoint))
            collector.bind(collector_of(endpoint))
            return endpoint
        except zmq.ZMQError:
            router.unbind(endpoint)
    raise RuntimeError("no three neighbouring ports are free")


def run_server(pipe: Pipe, keys: int) -> None:
    """Role: the server; tells its endpoint and process."""
    server = Server(keys)
    server.sweep.start()
    pipe.send((server.endpoint, os.getpid()))
    IOLoop.current().start()  # noqa: TID251 - as there


def join(pipe: Pipe, endpoint: str, keys: int) -> None:
    """Role: the snapshot part of the Guide's client; tells the seconds it took."""
    pipe.send("ready")
    pipe.recv()
    began = perf_counter()
    socket = zmq.Socket(zmq.Context(), zmq.DEALER)
    socket.set_hwm(0)
    socket.connect(endpoint)
    socket.send_multipart([b"ICANHAZ?", b""])
    entries: dict[bytes, Message] = {}
    while (message := Message.decode(socket.recv_multipart())).key != b"KTHXBAI":
        message.store(entries)
    pipe.send(perf_counter() - began)
    if len(entries) != keys:
        raise RuntimeError(f"{len(entries)} keys came, not {keys}")


def updates(service: Service, seconds: float) -> float:
    """Return the updates a second from one writer to one subscriber."""
    with Role(ends.follow, service.address, seconds) as subscriber:
        subscriber.get()
        with Role(ends.write, service.address, zmq.PUSH) as writer:
            writer.put("go")
            return float(subscriber.get()[0])


def peers() -> list[Peer]:
    """Return the Guide's server with raw ends, which are quicker than its own."""

    def serve(stack: ExitStack, keys: int) -> Service:
        return start_role(stack, run_server, keys)

    def acknowledged(service: Service, in_flight: int, seconds: float) -> float:
        return ask(ends.acknowledge, service.address, zmq.PUSH, in_flight, seconds)

    def snapshot(service: Service, keys: int) -> float:
        return ask_when_ready(join, service.address, keys)

    return [Peer("Guide", "model 5", serve, updates, acknowledged, snapshot)]
