"""A plain RFC 12 client: pyzmq alone, nothing of this library but the two words of its journal.

It asks one server after the other for its snapshot, follows who answers, and asks again when a
number is missing or nothing comes for some seconds. Now and then it writes, and forgets.
"""

from __future__ import annotations

import argparse
import json
import os
import struct
import time
from collections.abc import Sequence
from pathlib import Path

import zmq

from patterns.commands.chaos.journal import Journal

_SILENCE_SECONDS = 5.0
_ANSWER_SECONDS = 2.0
_WRITE_SECONDS = 1.0

Entry = tuple[int, bytes, bytes]
"""Number, uuid and body."""


class PlainClient:
    """The map, and the sockets to the server that it follows."""

    def __init__(self, servers: Sequence[str], journal: Journal, life: int) -> None:
        self.map: dict[bytes, Entry] = {}
        self.live = self.quiet = False
        self._journal = journal
        self._context = zmq.Context()
        self._poller = zmq.Poller()
        # Without a buffer, in which a line would wait unseen by the poller.
        self._orders = open(0, "rb", buffering=0, closefd=False)
        self._poller.register(0, zmq.POLLIN)
        self._rows = [(host, int(port)) for host, _, port in (s.rpartition(":") for s in servers)]
        self._publisher = self._context.socket(zmq.PUB)
        for host, port in self._rows:
            self._publisher.connect(f"{host}:{port + 2}")
        self._turn = -1
        self._sequence = 0
        self._queued: list[list[bytes]] = []
        self._life, self._number = life, 0
        self._write_at = time.monotonic() + _WRITE_SECONDS
        self._sockets: list[zmq.Socket[bytes]] = []
        self._join()

    def _join(self) -> None:
        """Ask the next server."""
        for socket in self._sockets:
            self._poller.unregister(socket)
            socket.close(linger=0)
        self._turn = (self._turn + 1) % len(self._rows)
        host, port = self._rows[self._turn]
        self._subscriber = self._context.socket(zmq.SUB)
        self._subscriber.subscribe(b"")
        self._subscriber.connect(f"{host}:{port + 1}")
        self._dealer = self._context.socket(zmq.DEALER)
        self._dealer.connect(f"{host}:{port}")
        self._sockets = [self._subscriber, self._dealer]
        for socket in self._sockets:
            self._poller.register(socket, zmq.POLLIN)
        self.live = False
        self._collecting: dict[bytes, Entry] = {}
        self._queued = []
        self._asked_at: float | None = None
        self._give_up_at = time.monotonic() + _ANSWER_SECONDS

    def turn(self) -> bool:
        """Wait for something, and do it; False if the standard input has ended."""
        ready = dict(self._poller.poll(100))
        if 0 in ready and not self._hear_order():
            return False
        now = time.monotonic()
        if self._subscriber in ready:
            self._give_up_at = max(self._give_up_at, now + _SILENCE_SECONDS * self.live)
            self._drain(now)
        if self._dealer in ready:
            self._receive_snapshot()
        if now >= self._give_up_at:
            self._join()
        if now >= self._write_at and not self.quiet:
            self._write_at = now + _WRITE_SECONDS
            self._write()
        return True

    def _drain(self, now: float) -> None:
        subscriber = self._subscriber
        while subscriber is self._subscriber and subscriber.poll(0):
            frames = subscriber.recv_multipart()
            if self._asked_at is None:  # the subscription is there: nothing is missed from now on
                self._asked_at = now
                self._dealer.send_multipart([b"ICANHAZ?", b""])
                self._give_up_at = now + _SILENCE_SECONDS
            if self.live:
                self._apply(frames)
            else:
                self._queued.append(frames)

    def _receive_snapshot(self) -> None:
        while not self.live and self._dealer.poll(0):
            key, number, uuid, _, body = self._dealer.recv_multipart()
            sequence = struct.unpack("!q", number)[0]
            if key != b"KTHXBAI":
                self._collecting[key] = (sequence, uuid, body)
                continue
            self.map, self._sequence, self.live = self._collecting, sequence, True
            queued, self._queued = self._queued, []
            for frames in queued:
                if self.live:
                    self._apply(frames)

    def _apply(self, frames: list[bytes]) -> None:
        key, number, uuid, _, body = frames
        sequence = struct.unpack("!q", number)[0]
        if sequence <= self._sequence:
            return  # a heartbeat, a refusal, an old number
        if sequence != self._sequence + 1:
            self._join()  # something is missing; or another activity has begun
            return
        self._sequence = sequence
        self.map.pop(key, None)
        if body:
            self.map[key] = (sequence, uuid, body)

    def _write(self) -> None:
        self._number += 1
        key, uuid = f"/p/{self._number % 10}", os.urandom(16)
        body = f"plain {self._life}.{self._number}"
        # All have one number: what is sent once and forgotten is promised no order.
        self._journal.write(
            "invoked",
            uuid=uuid.hex(),
            number=0,
            key=key,
            body=body,
            ttl=0.0,
            level="applied",
            seen=None,
        )
        self._publisher.send_multipart([key.encode(), bytes(8), uuid, b"", body.encode()])

    def _hear_order(self) -> bool:
        line = self._orders.readline().decode()
        if not line:
            return False
        number, _, word = line.strip().partition(" ")
        self.quiet = {"go": False, "quiet": True}.get(word, self.quiet)
        state = {"state": "live" if self.live else "syncing", "unanswered": 0}
        entries = sorted(
            (key.decode("latin-1"), sequence, uuid.hex(), body.decode("latin-1"))
            for key, (sequence, uuid, body) in self.map.items()
        )
        print(json.dumps({"answer": int(number), **state, "entries": entries}), flush=True)
        return True


def main(argv: Sequence[str] | None = None) -> None:
    """Run one plain client with the arguments of the command line."""
    parser = argparse.ArgumentParser(description="A plain client of the chaos.")
    parser.add_argument("--name", required=True)
    parser.add_argument("--life", type=int, default=0)
    parser.add_argument("--journal", type=Path, required=True)
    parser.add_argument("--server", action="append", required=True)
    options = parser.parse_args(argv)
    client = PlainClient(options.server, Journal(options.journal), options.life)
    print(json.dumps({"answer": 0, "ready": os.getpid()}), flush=True)
    while client.turn():
        pass


if __name__ == "__main__":
    main()
