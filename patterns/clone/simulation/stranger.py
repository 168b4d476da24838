"""A stranger that talks nonsense to a server, some of it nearly right."""

from __future__ import annotations

import random
from collections.abc import Iterable

import zmq

from patterns.clone.messages import HUGZ, ICANHAZ, KTHXBAI
from reactor import Handler, HandlerSet, Stream, StreamHandler

_OFFSETS = {"snapshots": 0, "publisher": 1, "collector": 2}
_TYPES = {"snapshots": zmq.DEALER, "publisher": zmq.XSUB, "collector": zmq.XPUB}
_PORT = 5556


class Stranger(HandlerSet):
    """Connects to a port of the server on a node and sends twenty malformed messages."""

    def __init__(self, server: str, port: str, chance: random.Random) -> None:
        super().__init__()
        self._endpoint = f">tcp://{server}:{_PORT + _OFFSETS[port]}"
        self._port = port
        self._chance = chance

    def build(self) -> Iterable[Handler]:
        """Open the socket that fits the port."""
        return [_Talker(self.open_stream(_TYPES[self._port], self._endpoint), self)]

    def talk(self, stream: Stream) -> None:
        """Say all there is to say."""
        for _ in range(20):
            stream.send(*self._nonsense())

    def on_start(self) -> None:
        """Begin at once, but at the collector: nobody listens there until it has subscribed."""
        if self._port != "collector":
            self.talk(self._opened[0])

    def _nonsense(self) -> tuple[bytes, ...]:
        chance = self._chance
        if self._port == "publisher":
            return (bytes([chance.choice((0, 1, 2))]) + chance.randbytes(chance.randrange(40)),)
        if self._port == "snapshots":
            return chance.choice(
                ((b"",), (ICANHAZ,), (ICANHAZ, b"/a/", b""), (KTHXBAI, b""), _noise(chance))
            )
        return _spoilt_update(chance)


class _Talker(StreamHandler):
    def __init__(self, stream: Stream, stranger: Stranger) -> None:
        super().__init__(stream)
        self._stranger = stranger

    def on_message(self, frames: list[bytes]) -> None:
        if frames[0] == b"\1":
            self._stranger.talk(self.stream)


def _noise(chance: random.Random) -> tuple[bytes, ...]:
    return tuple(
        chance.randbytes(chance.randrange(300)) for _ in range(chance.choice((1, 3, 6, 9)))
    )


def _spoilt_update(chance: random.Random) -> tuple[bytes, ...]:
    """An update with one thing wrong."""
    frames = [b"/a/0", bytes(8), chance.randbytes(16), b"ttl=5\n", b"nonsense"]
    place, wrong = chance.choice(
        (
            (0, b""),
            (0, HUGZ),
            (0, KTHXBAI),
            (0, b"k" * 256),
            (1, bytes(7)),
            (2, bytes(15)),
            (3, b"ttl=nan\n"),
            (3, b"ttl=-1\n"),
            (3, b"ttl"),
            (3, b"\xff=1\n"),
        )
    )
    frames[place] = wrong
    return chance.choice((tuple(frames), tuple(frames[:4]), (*frames, b""), _noise(chance)))
