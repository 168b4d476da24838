"""Clients that speak ZMTP 3.0 over plain TCP, thousands to a process.

A libzmq socket costs two descriptors and its share of an I/O thread. These cost one descriptor and
no more than the kernel takes to move the bytes. Source: ZMTP 3.0 (RFC 23), mechanism NULL.
"""

from __future__ import annotations

import resource
import selectors
import socket
from time import perf_counter

_GREETING = (b"\xff" + bytes(8) + b"\x7f" + b"\3\0" + b"NULL").ljust(64, b"\0")
READY = b"\x05READY"


def encode(*frames: bytes) -> bytes:
    """Return a message of short frames as it travels."""
    *first, last = frames
    return b"".join(b"\1%c%b" % (len(each), each) for each in first) + b"\0%c%b" % (len(last), last)


def hello(socket_type: bytes) -> bytes:
    """Return what a client begins with: the greeting, and READY."""
    body = READY + b"\x0bSocket-Type" + len(socket_type).to_bytes(4, "big") + socket_type
    return _GREETING + b"\4%c%b" % (len(body), body)


def address_of(endpoint: str) -> tuple[str, int]:
    """Return the host and port of a tcp endpoint."""
    host, _, port = endpoint.removeprefix("tcp://").rpartition(":")
    return host, int(port)


def ask_for_descriptors(count: int) -> int:
    """Raise this process's limit of descriptors if that is allowed; return how many there are."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(count, hard)), hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


class Crowd:
    """Many connections to one endpoint, each of which says the same and listens."""

    def __init__(self, endpoint: str, socket_type: bytes, *messages: bytes) -> None:
        self._address = address_of(endpoint)
        self._hello = hello(socket_type)
        self._words = b"".join(messages)
        self._selector = selectors.DefaultSelector()
        self._tails: dict[int, bytes] = {}

    def connect(self, count: int) -> None:
        """Begin so many connections; the handshake is answered by `listen_for`."""
        for _ in range(count):
            connection = socket.socket()
            connection.setblocking(False)
            connection.connect_ex(self._address)
            self._selector.register(connection, selectors.EVENT_WRITE)

    def listen_for(self, word: bytes, seconds: float) -> int:
        """Read until every connection has heard `word` anew; return how many have in time.

        `READY` is heard by a connection that stands; it then says what it has to say.
        """
        deaf = set(self._selector.get_map())
        count = len(deaf)
        deadline = perf_counter() + seconds
        while deaf and perf_counter() < deadline:
            for key, events in self._selector.select(0.2):
                if self._read(key, events, word):
                    deaf.discard(key.fd)
        return count - len(deaf)

    def _read(self, key: selectors.SelectorKey, events: int, word: bytes) -> bool:
        connection = key.fileobj
        assert isinstance(connection, socket.socket)
        if events & selectors.EVENT_WRITE:
            connection.send(self._hello)
            self._selector.modify(connection, selectors.EVENT_READ)
            return False
        data = self._tails.get(key.fd, b"") + connection.recv(1 << 16)
        self._tails[key.fd] = data[-len(word) :]
        if READY in data:  # libzmq takes no message before it has said that itself
            connection.send(self._words)
        return word in data

    def close(self) -> None:
        """End every connection."""
        for key in list(self._selector.get_map().values()):
            self._selector.unregister(key.fileobj)
            assert isinstance(key.fileobj, socket.socket)
            key.fileobj.close()
