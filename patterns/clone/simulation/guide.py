"""The Guide's Model Six, modelled from its description (chapters 4 and 5), faults and all.

It is the baseline: the same schedules as ours, on a design that is described and not improved. The
server aborts where the Guide's does, its passive side fetches the snapshot in one go and does
nothing else meanwhile, deadlines go by the wall clock, and a client asks each server twice at most.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import zmq

from patterns.clone.messages import (
    HUGZ,
    KVMessage,
    encode_properties,
    is_snapshot_end,
    snapshot_request,
)
from patterns.clone.messages import snapshot_end as end_of
from reactor import Handler, HandlerSet, PeriodicHandler, StreamHandler
from reactor.testing import Node

HEARTBEAT = 1.0
PEER_TTL = 2.0
SERVER_TTL = 5.0
REQUESTS = 2  # that a client sends to a server which does not answer
PORT, STATE_PORT = 5556, 5003
_HWM = {zmq.SNDHWM: 100_000, zmq.RCVHWM: 100_000}

# What a server does on what it hears, by its state (the Guide, chapter 4; missing: it stays).
_PEER_TABLE = {
    ("PRIMARY", "BACKUP"): "ACTIVE",
    ("PRIMARY", "ACTIVE"): "PASSIVE",
    ("BACKUP", "ACTIVE"): "PASSIVE",
    ("ACTIVE", "ACTIVE"): "FATAL",
    ("PASSIVE", "PRIMARY"): "ACTIVE",
    ("PASSIVE", "BACKUP"): "ACTIVE",
    ("PASSIVE", "PASSIVE"): "FATAL",
}


class GuideServer(HandlerSet):
    """One server of the Guide's pair; `aborted` when it has given up its process."""

    def __init__(self, node: Node, other: str, on_publish: Callable[[KVMessage], object]) -> None:
        super().__init__()
        self.state = "PRIMARY" if node.name == "primary" else "BACKUP"
        self.map: dict[bytes, KVMessage] | None = {} if self.state == "PRIMARY" else None
        self.sequence = 0
        self.pending: list[KVMessage] = []
        self.aborted = False
        self.fetching = False
        self._node = node
        self._other = other
        self._on_publish = on_publish
        self._deadlines: dict[bytes, float] = {}
        self._peer_expiry = node.wall_clock() + PEER_TTL
        self._collected: dict[bytes, KVMessage] = {}

    def build(self) -> Iterable[Handler]:
        """Open the six sockets."""
        host, other = self._node.name, self._other
        self._router = self.open_stream(
            zmq.ROUTER, f"@tcp://{host}:{PORT}", name="snapshots", options=_HWM
        )
        self._publisher = self.open_stream(
            zmq.PUB, f"@tcp://{host}:{PORT + 1}", name="publisher", options=_HWM
        )
        every = {"subscribe": (b"",), "options": _HWM}
        collector = self.open_stream(zmq.SUB, f"@tcp://{host}:{PORT + 2}", name="in", **every)
        follow = self.open_stream(zmq.SUB, f">tcp://{other}:{PORT + 1}", name="peer", **every)
        self._state_out = self.open_stream(zmq.PUB, f"@tcp://{host}:{STATE_PORT}", name="state")
        state_in = self.open_stream(
            zmq.SUB, f">tcp://{other}:{STATE_PORT}", name="state-in", subscribe=(b"",)
        )
        self._sources = (self._router, collector, state_in)
        self._follows = follow
        follow.pause()  # it is read by a passive server only; what comes meanwhile waits in it
        self._router.on_message(self._asked)
        collector.on_message(lambda frames: self._collect(KVMessage.decode(frames)))
        follow.on_message(lambda frames: self._follow(KVMessage.decode(frames)))
        state_in.on_message(lambda frames: self._hear_peer(frames[0].decode()))
        return [_Every(HEARTBEAT, self._beat)]

    # Binary Star

    def _hear_peer(self, state: str) -> None:
        self._peer_expiry = self._node.wall_clock() + PEER_TTL
        self._enter(_PEER_TABLE.get((self.state, state), self.state))

    def _vote(self) -> bool:
        """A client asks: True if it is to be served."""
        if self.state == "ACTIVE":
            return True
        if self.state != "BACKUP" and self._node.wall_clock() >= self._peer_expiry:
            self._enter("ACTIVE")
        return self.state == "ACTIVE"

    def _enter(self, state: str) -> None:
        if state == self.state:
            return
        self.state = state
        if state == "FATAL":
            self.aborted = True
        elif state == "ACTIVE":
            self.map = {} if self.map is None else self.map  # the C program would crash here
            pending, self.pending = self.pending, []
            for message in pending:
                self._accept(message)
        else:
            self.map = None
        self._listen()

    def _listen(self) -> None:
        """Read what is read in this state: nothing after an abort or while fetching."""
        deaf = self.aborted or self.fetching
        for stream in self._sources:
            stream.pause() if deaf else stream.resume()
        follows = self.state == "PASSIVE" and not deaf
        self._follows.resume() if follows else self._follows.pause()

    # Clients

    def _asked(self, frames: list[bytes]) -> None:
        identity, _, subtree = frames
        if not self._vote():
            return
        for message in list((self.map or {}).values()):
            if message.key.startswith(subtree):
                self._router.send(identity, *message.encode())
        self._router.send(identity, *end_of(self.sequence, subtree))

    def _collect(self, message: KVMessage) -> None:
        if self.state == "ACTIVE":
            self._accept(message)
        elif not self._was_pending(message):
            self.pending.append(message)

    def _accept(self, message: KVMessage) -> None:
        self.sequence += 1
        numbered = KVMessage(
            message.key, self.sequence, message.uuid, message.properties, message.body
        )
        self._publish(numbered)
        ttl = message.ttl or 0.0
        self._store(numbered, self._node.wall_clock() + ttl if ttl else None)

    def _publish(self, message: KVMessage) -> None:
        self._on_publish(message)
        self._publisher.send(*message.encode())

    def _store(self, message: KVMessage, deadline: float | None = None) -> None:
        held = self.map if self.map is not None else {}
        self._deadlines.pop(message.key, None)
        if message.body:
            held[message.key] = message
            if deadline is not None:
                self._deadlines[message.key] = deadline
        else:
            held.pop(message.key, None)

    def _was_pending(self, message: KVMessage) -> bool:
        for held in self.pending:
            if held.uuid == message.uuid:
                self.pending.remove(held)
                return True
        return False

    # The peer

    def _follow(self, message: KVMessage) -> None:
        if self.map is None:
            self._fetch()
            return
        if message.key == HUGZ:
            return
        if not self._was_pending(message):
            self.pending.append(message)
        if message.sequence > self.sequence:
            self.sequence = message.sequence
            ttl = message.ttl or 0.0
            self._store(message, self._node.wall_clock() + ttl if ttl else None)

    def _fetch(self) -> None:
        """Block until the peer has sent everything, for ever if it does not."""
        self.fetching = True
        self._listen()
        stream = self.open_stream(
            zmq.DEALER, f">tcp://{self._other}:{PORT}", name="fetch", options=_HWM
        )
        self._collected = {}
        stream.on_message(self._fetched)
        stream.send(*snapshot_request())

    def _fetched(self, frames: list[bytes]) -> None:
        message = KVMessage.decode(frames)
        if not is_snapshot_end(frames):
            self._collected[message.key] = message
            return
        self.map, self.sequence = self._collected, message.sequence
        self._opened[-1].close()
        self.fetching = False
        self._listen()

    # Time

    def _beat(self) -> None:
        if self.fetching or self.aborted:
            return
        self._state_out.send(self.state.encode())
        now = self._node.wall_clock()
        for key in [key for key, deadline in self._deadlines.items() if deadline <= now]:
            self.sequence += 1  # whatever its role, as in the Guide
            held = (self.map or {}).get(key)
            uuid = held.uuid if held else b""
            message = KVMessage(key, self.sequence, uuid)
            self._publish(message)
            self._store(message)
        self._publisher.send(*KVMessage(HUGZ, self.sequence).encode())


class GuideClient(HandlerSet):
    """The Guide's client: one map, two servers, five seconds of patience."""

    def __init__(self, node: Node, servers: list[str], subtree: bytes) -> None:
        super().__init__()
        self.map: dict[bytes, bytes] = {}
        self.state = "INITIAL"
        self.sequence = 0
        self.seen: set[bytes] = set()  # uuids that came back from the server
        self._node = node
        self._servers = servers
        self._subtree = subtree
        self._current = 0
        self._requests = [0 for _ in servers]
        self._expiry = 0.0

    def build(self) -> Iterable[Handler]:
        """Open a publisher to both servers, and two sockets to each of them."""
        self._publisher = self.open_stream(
            zmq.PUB, *(f">tcp://{server}:{PORT + 2}" for server in self._servers), name="out"
        )
        self._snapshots, self._subscribers = [], []
        for number, server in enumerate(self._servers):
            dealer = self.open_stream(zmq.DEALER, f">tcp://{server}:{PORT}", name=f"ask-{number}")
            subscriber = self.open_stream(
                zmq.SUB,
                f">tcp://{server}:{PORT + 1}",
                name=f"hear-{number}",
                subscribe=(self._subtree, HUGZ),
            )
            for stream in (dealer, subscriber):
                stream.on_message(lambda frames: self._receive(KVMessage.decode(frames)))
                stream.pause()
            self._snapshots.append(dealer)
            self._subscribers.append(subscriber)
        return [StreamHandler(self._publisher), _Every(0.1, self._tick)]

    def write(self, key: bytes, body: bytes, ttl: float) -> bytes:
        """Send an update, and keep it in the own map already; returns its uuid."""
        uuid = self._node.make_uuid()
        properties = encode_properties({"ttl": int(ttl)}) if ttl else b""
        self._publisher.send(*KVMessage(key, 0, uuid, properties, body).encode())
        self._keep(key, body)
        return uuid

    def _keep(self, key: bytes, body: bytes) -> None:
        self.map.pop(key, None)
        if body:
            self.map[key] = body

    @property
    def server(self) -> str:
        """The server that this client follows, or tries."""
        return self._servers[self._current]

    def _tick(self) -> None:
        now = self._node.wall_clock()
        if self.state == "INITIAL":
            if self._requests[self._current] < REQUESTS:
                self._requests[self._current] += 1
                self._snapshots[self._current].send(*snapshot_request(self._subtree))
            self._expiry = now + SERVER_TTL
            self.state = "SYNCING"
            self._snapshots[self._current].resume()
        if now >= self._expiry:
            for stream in (*self._snapshots, *self._subscribers):
                stream.pause()
            self._current = (self._current + 1) % len(self._servers)
            self.state = "INITIAL"

    def _receive(self, message: KVMessage) -> None:
        self._expiry = self._node.wall_clock() + SERVER_TTL
        if self.state == "SYNCING":
            self._requests[self._current] = 0
            if message.key == b"KTHXBAI":
                self.sequence = message.sequence
                self.state = "ACTIVE"
                self._snapshots[self._current].pause()
                self._subscribers[self._current].resume()
            else:
                self._take(message)
        elif self.state == "ACTIVE" and message.sequence > self.sequence:
            self.sequence = message.sequence
            self._take(message)

    def _take(self, message: KVMessage) -> None:
        self.seen.add(message.uuid)
        if message.key != HUGZ:
            self._keep(message.key, message.body)


class _Every(PeriodicHandler):
    def __init__(self, interval: float, callback: Callable[[], None]) -> None:
        super().__init__(interval)
        self._callback = callback

    def on_tick(self) -> None:
        self._callback()
