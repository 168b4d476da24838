"""Model One: a server publishes updates, and whoever is there receives them (Guide, chapter 5).

    server                   client
    publisher P: PUB --- update ---> SUB

An update has three frames: key, sequence, body. A client that comes late has missed what came
before; one that loses something can see a hole in the numbers. The next model has snapshots.
"""

from __future__ import annotations

from collections.abc import Iterable

import zmq

from patterns.clone.dialects import Dialect
from patterns.clone.forms import SIMPLE
from patterns.clone.messages import Frames, MalformedMessage, check_update, sequence_of
from patterns.clone.model_server import ModelServer
from patterns.clone.ports import neighbour
from patterns.clone.store import KeyValueStore
from reactor import Handler, HandlerSet, Stream, StreamHandler

DIALECT = Dialect(SIMPLE, subtrees=False, collector=None, heartbeats=False)


class Server(ModelServer):
    """Publishes what the application gives to `set` and `delete`, at `port`."""

    dialect = DIALECT

    def build(self) -> Iterable[Handler]:
        """Bind the publisher."""
        (publisher,) = self.bind(zmq.PUB)
        return [StreamHandler(publisher)]


class Client(HandlerSet):
    """Keeps what `server` has published since this client came; `lost` updates left a hole.

    A server that begins again with smaller numbers has restarted: that is no loss, and no reason
    to ignore it. Override `on_update` to hear of each update.
    """

    def __init__(self, server: str = "tcp://127.0.0.1:5556", *, dialect: Dialect = DIALECT) -> None:
        super().__init__()
        neighbour(server, 0)  # a wrong endpoint is told here
        self.server = server
        self.store = KeyValueStore()
        self.updates = 0
        self.lost = 0
        self._dialect = dialect

    def build(self) -> Iterable[Handler]:
        """Subscribe to everything."""
        stream = self.open_stream(
            zmq.SUB, self.server, name="subscriber", unmarked="connect", subscribe=(b"",)
        )
        return [_Subscriber(stream, self, self._dialect)]

    def on_update(self, key: bytes, body: bytes) -> None:
        """A key has a new value; an empty one if it was deleted."""

    def get(self, key: bytes) -> bytes | None:
        """The value of `key`, None if none was published since this client came."""
        entry = self.store.get(key)
        return entry[4] if entry else None

    def items(self) -> list[tuple[bytes, bytes]]:
        """Every key and value, sorted by key."""
        return sorted((entry[0], entry[4]) for entry in self.store.snapshot())

    def receive_update(self, frames: Frames) -> None:
        """An update, in the full form. Raises MalformedMessage, and StoreFull."""
        check_update(frames)
        sequence, newest = sequence_of(frames), self.store.sequence
        if newest and sequence > newest + 1:
            self.lost += sequence - newest - 1
        self.store.apply(frames, sequence)
        self.store.sequence = sequence
        self.updates += 1
        self.on_update(frames[0], frames[4])


class _Subscriber(StreamHandler):
    peer_errors = (MalformedMessage,)

    def __init__(self, stream: Stream, client: Client, dialect: Dialect) -> None:
        super().__init__(stream)
        self.name = stream.name
        self._receive = dialect.form.client().snapshot(
            lambda frames: client.receive_update(tuple(frames))
        )

    def on_message(self, frames: list[bytes]) -> None:
        self._receive(frames)
