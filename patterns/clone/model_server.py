"""ModelServer: what the servers of models 1 to 5 have in common, which is all but their list."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import zmq

from patterns.clone.alarm import Alarm
from patterns.clone.dialects import Dialect
from patterns.clone.interfaces import check_epoch
from patterns.clone.messages import (
    MAX_TTL,
    Frames,
    MalformedMessage,
    encode_properties,
    epoch_at,
    sequence_of,
    whole_seconds,
)
from patterns.clone.ports import bind_in_a_row
from patterns.clone.server_protocol import (
    Effect,
    Publish,
    SendSnapshot,
    ServerProtocol,
    ServerStatistics,
)
from patterns.clone.snapshots import SnapshotSender
from patterns.clone.store import StoreFull
from reactor import HandlerSet, HandlerStatistics, Stream

_ZERO = bytes(8)


@dataclass(frozen=True, slots=True)
class ModelServerStatistics(HandlerStatistics):
    """What a server holds and has done; `messages_refused` is of all its ports together."""

    messages_refused: int
    snapshots_sent: int
    snapshots_waiting: int
    snapshots_given_up: int
    server: ServerStatistics


class ModelServer(HandlerSet):
    """A Clone server without a peer; a model is a subclass whose `build` lists its handlers.

    It binds ports in a row from `port` of `host`; with `port=0` the kernel chooses, and `endpoint`
    tells. `heartbeat` is seconds. A `dialect` other than the model's own changes its wire: another
    socket type of the collector, say, or 5 frames in place of 3.
    """

    peer_errors = (MalformedMessage,)
    dialect = Dialect()

    def __init__(
        self,
        port: int = 5556,
        host: str = "127.0.0.1",
        *,
        dialect: Dialect | None = None,
        heartbeat: float = 1.0,
        make_uuid: Callable[[], bytes] = lambda: uuid.uuid4().bytes,
        wall_clock: Callable[[], float] = time.time,  # noqa: TID251 - orders epochs of restarts only
    ) -> None:
        super().__init__()
        self.port = port
        self.host = host
        self.dialect = dialect or self.dialect
        self.endpoint = ""
        self.protocol = ServerProtocol(
            make_uuid=make_uuid,
            epoch=epoch_at(wall_clock()),
            heartbeat=heartbeat,
            packs=self.dialect.form.full,
        )
        self._make_uuid = make_uuid
        self._wall_clock = wall_clock
        self._publisher: Stream | None = None
        self._sender: SnapshotSender | None = None

    # What a model's `build` uses

    @property
    def collector(self) -> int:
        """The type of the socket that takes clients' updates; raises ValueError without one."""
        if self.dialect.collector is None:
            raise ValueError(f"{type(self).__name__} takes updates from clients: name a collector")
        return self.dialect.collector

    def bind(self, *socket_types: int) -> list[Stream]:
        """Bind a port in a row for each type; raises EndpointError if one of them is taken.

        What is published goes out at the XPUB or PUB among them.
        """
        streams = bind_in_a_row(self, self.host, self.port, *socket_types)
        self.endpoint = streams[0].endpoint
        self._alarm = Alarm(self.reactor, self.tick, self._hook_failed)
        (self._publisher,) = [s for s in streams if s.socket_type in (zmq.XPUB, zmq.PUB)]
        return streams

    def sender(self, snapshots: Stream) -> SnapshotSender:
        """The handler that sends snapshots through the ROUTER `snapshots`, in the model's form."""
        form = self.dialect.form
        encode = None if form.full else form.encode
        self._sender = SnapshotSender(snapshots, encode, self._answer)
        return self._sender

    # Life

    def on_start(self) -> None:
        """Serve at once: there is no peer to agree with."""
        self.carry_out(self.protocol.become_active(self.reactor.now()))
        self._arm()

    def on_stop(self) -> None:
        """Do nothing more by itself."""
        self._alarm.cancel()

    def statistics(self) -> ModelServerStatistics:
        """Return a frozen snapshot of every counter."""
        common = super().statistics()
        return ModelServerStatistics(
            name=common.name,
            errors=common.errors,
            refused=common.refused,
            messages_refused=sum(member.refused for member in self._members()),
            snapshots_sent=self._sender.sent if self._sender else 0,
            snapshots_waiting=self._sender.waiting if self._sender else 0,
            snapshots_given_up=self._sender.given_up if self._sender else 0,
            server=self.protocol.statistics(),
        )

    # The application's own updates: in models 1 and 2 there are no others

    def set(self, key: bytes, body: bytes, ttl: float | None = None) -> int:
        """Set a value, for `ttl` seconds or for ever, publish it, and return its sequence.

        Raises ValueError for a key, a body or a ttl that cannot be, and StoreFull.
        """
        if not body:
            raise ValueError("an empty body deletes: use delete()")
        if ttl is None:
            return self._update(key, b"", body)
        if not self.dialect.form.full:
            raise ValueError("this model has no ephemeral values")
        if not 0 < ttl <= MAX_TTL:
            raise ValueError(f"ttl {ttl} is not above 0 and up to {MAX_TTL}")
        return self._update(key, encode_properties({"ttl": whole_seconds(ttl)}), body)

    def delete(self, key: bytes) -> int:
        """Delete a key, publish that, and return its sequence."""
        return self._update(key, b"", b"")

    def _update(self, key: bytes, properties: bytes, body: bytes) -> int:
        name = self._make_uuid() if self.dialect.form.full else b""
        frames = (key, _ZERO, name, properties, body)
        publication = self.protocol.order_update(frames, self.reactor.now())
        assert publication is not None  # it serves from its start to its end
        sequence = sequence_of(publication)
        if not sequence:
            raise StoreFull(f"no room for {key!r}")
        self._publish(publication)
        if properties:
            self._arm()
        return sequence

    # What arrives

    def receive_update(self, frames: Sequence[bytes]) -> None:
        """A client's update, in the full form."""
        publication = self.protocol.order_update(frames, self.reactor.now())
        if publication is not None:
            self._publish(publication)
        if frames[3]:
            self._arm()  # a ttl may be the next thing that is due

    def receive_snapshot_request(self, identity: bytes, subtree: bytes, packed: bool) -> None:
        """A client joins; of many, so many at a time."""
        assert self._sender is not None
        self._sender.request(identity, subtree, packed)

    def _answer(self, identity: bytes, subtree: bytes, packed: bool) -> None:
        now = self.reactor.now()
        self.carry_out(
            self.protocol.receive_snapshot_request(identity, subtree, now, packed=packed)
        )

    def receive_epoch(self, epoch: int) -> None:
        """A client has seen this epoch. Raises MalformedMessage for one that cannot be yet."""
        check_epoch(epoch, self._wall_clock())
        self.carry_out(self.protocol.receive_epoch(epoch, self.reactor.now()))

    def receive_subscription(self, topic: bytes, subscribed: bool) -> None:
        """Somebody listens at the publisher from now on, or not any more."""
        self.carry_out(self.protocol.receive_subscription(topic, subscribed, self.reactor.now()))
        self._arm()

    def tick(self) -> None:
        """Time has passed."""
        self.carry_out(self.protocol.tick(self.reactor.now()))
        self._arm()

    # What the rules say

    def carry_out(self, effects: Sequence[Effect]) -> None:
        """Do what the rules say, in their order, at once."""
        for effect in effects:
            match effect:
                case Publish(frames):
                    self._publish(frames)
                case SendSnapshot():
                    assert self._sender is not None
                    self._sender.add(effect)

    def _publish(self, frames: Frames) -> None:
        assert self._publisher is not None
        if self._sender is None and frames[1] == _ZERO:
            return  # who asks for no snapshot compares no numbers: a heartbeat would be an update
        self._publisher.send(*self.dialect.form.encode(frames))

    def _arm(self) -> None:
        """Have `tick` called when the rules next have something to do."""
        deadline = self.protocol.deadline
        if deadline is not None:
            self._alarm.at(deadline)
