"""Exchange: who is bound where, who is connected to whom, and what keeps them apart."""

from __future__ import annotations

import asyncio
import errno
import itertools
import random
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, TypeVar

import zmq

from reactor.testing.chance import seeded
from reactor.testing.faults import Delay, Fault, Loss, Partition
from reactor.testing.pipes import Message, Pipe

if TYPE_CHECKING:
    from reactor.testing.channels import FakeChannel

F = TypeVar("F", bound=Fault)

_FIRST_PORT = 49152  # of those that "*" gives
_ANY = "0.0.0.0"

_PEERS: dict[int, tuple[int, ...]] = {
    zmq.PUB: (zmq.SUB, zmq.XSUB),
    zmq.XPUB: (zmq.SUB, zmq.XSUB),
    zmq.SUB: (zmq.PUB, zmq.XPUB),
    zmq.XSUB: (zmq.PUB, zmq.XPUB),
    zmq.ROUTER: (zmq.DEALER, zmq.ROUTER),
    zmq.DEALER: (zmq.DEALER, zmq.ROUTER),
    zmq.PUSH: (zmq.PULL,),
    zmq.PULL: (zmq.PUSH,),
    zmq.PAIR: (zmq.PAIR,),
}


class Exchange:
    """Joins the pipes of channels that connect with channels that are bound."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        seed: int,
        latency: float,
        jitter: float | Callable[[random.Random], float],
        reconnect: float = 0.0,
    ) -> None:
        self.loop = loop
        self.random = random.Random(seed)
        self.jitter = _spread(jitter)
        self.on_arrival: Callable[[Pipe, Message], None] | None = None
        self._seed = seed
        self._chances: dict[str, int] = {}
        self._reconnect = reconnect
        self.dropped = 0
        self.overflowed = 0
        self._latency = latency
        self._bound: dict[str, FakeChannel] = {}
        self._silent: set[str] = set()
        self._connecting: dict[Pipe, None] = {}  # the connecting ends, in order of connect()
        self._faults: list[Fault] = []
        self._ports = itertools.count(_FIRST_PORT)

    # Endpoints

    def bind(self, channel: FakeChannel, endpoint: str) -> str:
        """Bind and return the endpoint as libzmq would report it; raises zmq.ZMQError."""
        scheme, host, port = _parse(endpoint, binding=True)
        if port in ("*", "0"):
            ports = (str(number) for number in self._ports)
            port = next(port for port in ports if not self._is_bound(scheme, host, port))
        if self._is_bound(scheme, host, port):
            raise zmq.ZMQError(errno.EADDRINUSE)
        real = _join(scheme, host, port)
        self._bound[real] = channel
        self._silent.discard(real)
        channel.bound.append(real)
        self._seek_all()
        return real

    def connect(self, channel: FakeChannel, endpoint: str) -> None:
        """Give the channel a pipe, to be joined when the endpoint is bound; raises zmq.ZMQError."""
        pipe = Pipe(channel, self, connected_to=_join(*_parse(endpoint, binding=False)))
        self._connecting[pipe] = None
        channel.attach(pipe)
        self._seek(pipe)

    def release(self, endpoint: str) -> None:
        """Nobody is bound there any more."""
        del self._bound[endpoint]

    def silence(self, endpoint: str) -> None:
        """The machine there has no power, and answers nobody until something is bound there."""
        self.release(endpoint)
        self._silent.add(endpoint)

    def is_refused(self, channel: FakeChannel, endpoint: str) -> bool:
        """Whether nobody is bound there, as far as the partitions let the channel know."""
        cuts = self._active(Partition)
        if canonical(endpoint) in self._silent:
            return False
        return not self._find(canonical(endpoint)) and not any(
            cut.hides(channel, endpoint) for cut in cuts
        )

    def _is_bound(self, scheme: str, host: str, port: str) -> bool:
        if scheme != "tcp":
            return _join(scheme, host, port) in self._bound
        taken = [_parse(other, binding=True) for other in self._bound]
        hosts = [other for other_scheme, other, p in taken if (other_scheme, p) == (scheme, port)]
        return host in hosts or _ANY in hosts or (host == _ANY and bool(hosts))

    def _find(self, endpoint: str) -> str:
        """Return where somebody is bound for those who connect to `endpoint`, or ""."""
        port = _parse(endpoint, binding=False)[2]
        candidates = [endpoint, f"tcp://{_ANY}:{port}"] if port else [endpoint]
        return next((found for found in candidates if found in self._bound), "")

    # Connections

    def _seek_all(self) -> None:
        for pipe in list(self._connecting):
            self._seek(pipe, again=True)

    def _seek(self, pipe: Pipe, again: bool = False) -> None:
        """Connect: over inproc at once, as libzmq does, otherwise on a later turn."""
        if pipe.connected_to.startswith("inproc:"):
            self._join(pipe)
        elif pipe.peer is None and again and self._reconnect:
            wait = self.random.uniform(self._reconnect, 2 * self._reconnect)
            self.loop.call_later(wait, self._join, pipe)
        elif pipe.peer is None:
            self.loop.call_soon(self._join, pipe)

    def _join(self, pipe: Pipe) -> None:
        """Connect, unless something is in the way; then the next bind or heal tries again."""
        endpoint = self._find(pipe.connected_to)
        if pipe.peer is not None or pipe not in self._connecting or not endpoint:
            return
        bound = self._bound[endpoint]
        fits = bound.socket_type in _PEERS[pipe.channel.socket_type]
        if not fits or not bound.accepts_peer() or self._is_cut(pipe.channel, bound):
            return
        other = Pipe(bound, self, bound_at=endpoint)
        pipe.peer, other.peer = other, pipe
        self._apply_faults(pipe)
        bound.attach(other)
        for end in (other, pipe):
            end.channel.joined(end)
            end.channel.check_writable()
        pipe.depart()

    def ended(self, pipe: Pipe, reset: bool = False) -> None:
        """Break a connection at both ends; the connecting one seeks it again.

        Not over inproc, as in libzmq, except after a `reset`, which real inproc does not know.
        """
        ends = (pipe,) if pipe.peer is None else (pipe, pipe.peer)
        silent = not reset and any(end.endpoint.startswith("inproc:") for end in ends)
        for end in ends:
            if end.peer is not None and not end.hung_up and not silent:
                end.channel.disconnected()
            end.clear()
            again = reset or not end.connected_to.startswith("inproc:")
            if end.connected_to and again and not end.hung_up:
                end.channel.check_writable()
                self._seek(end, again=True)
            else:
                self._connecting.pop(end, None)
                end.channel.detach(end)

    # Faults

    def add_fault(self, fault: Fault) -> None:
        """Let a fault begin."""
        self._faults.append(fault)
        self._faults_changed()

    def remove_fault(self, fault: Fault) -> None:
        """Let a fault end; idempotent."""
        if fault in self._faults:
            self._faults.remove(fault)
            self._faults_changed()

    def partitions(self) -> list[Partition]:
        """The partitions that hold."""
        return list(self._active(Partition))

    def loses(self, pipe: Pipe, message: Message) -> bool:
        """Whether a fault loses this message at the end of its way; never a subscription."""
        if not self._faults or (pipe.channel.subscribes and message[0][:1] in (b"\x00", b"\x01")):
            return False
        assert pipe.peer is not None
        for loss in self._active(Loss):
            if loss.concerns(pipe.channel, pipe.peer.channel) and loss.takes(message):
                self.dropped += 1
                return True
        return False

    def chance(self, purpose: str) -> random.Random:
        """A new source of chance, out of the seed, the purpose and how often it was asked for."""
        count = self._chances[purpose] = self._chances.get(purpose, 0) + 1
        return seeded(f"{self._seed} {purpose} {count}")

    def _faults_changed(self) -> None:
        for pipe in list(self._connecting):
            self._apply_faults(pipe)
        self._seek_all()

    def _apply_faults(self, pipe: Pipe) -> None:
        peer = pipe.peer
        if peer is None:
            return
        ends = (pipe.channel, peer.channel)
        cuts = [fault for fault in self._active(Partition) if fault.concerns(*ends)]
        if any(fault.reset for fault in cuts):
            self.ended(pipe, reset=True)
            return
        delay = sum(fault.seconds for fault in self._active(Delay) if fault.concerns(*ends))
        for end, other in ((pipe, peer), (peer, pipe)):
            end.cut = end.dark or any(fault.blocks(end.channel, other.channel) for fault in cuts)
            end.latency = self._latency + delay
            end.flow()
        self._watch_heartbeats(pipe, bool(cuts))

    def _watch_heartbeats(self, pipe: Pipe, cut: bool) -> None:
        """End a connection that stays cut for longer than the heartbeats of an end allow."""
        if not cut:
            pipe.cut_at = None
        elif pipe.cut_at is None:
            pipe.cut_at = now = self.loop.time()
            assert pipe.peer is not None
            ends = (pipe.channel, pipe.peer.channel)
            if patience := min(filter(None, (end.heartbeat_patience() for end in ends)), default=0):
                self.loop.call_later(patience, self._miss_heartbeat, pipe, now)

    def _miss_heartbeat(self, pipe: Pipe, cut_at: float) -> None:
        if pipe.cut_at == cut_at:
            self.ended(pipe, reset=True)

    def _is_cut(self, one: FakeChannel, other: FakeChannel) -> bool:
        return any(fault.concerns(one, other) for fault in self._active(Partition))

    def _active(self, kind: type[F]) -> Iterator[F]:
        return (fault for fault in self._faults if isinstance(fault, kind))


def _spread(
    jitter: float | Callable[[random.Random], float],
) -> Callable[[random.Random], float] | None:
    """The function that draws a message's jitter, None for no jitter."""
    if callable(jitter):
        return jitter
    seconds = jitter
    return (lambda chance: chance.random() * seconds) if seconds else None


def _parse(endpoint: str, binding: bool) -> tuple[str, str, str]:
    """Return scheme, host and port (empty but for tcp); raises zmq.ZMQError as libzmq does."""
    scheme, separator, address = endpoint.partition("://")
    if not separator or not scheme or not address:
        raise zmq.ZMQError(errno.EINVAL)
    if scheme not in ("tcp", "inproc", "ipc"):
        raise zmq.ZMQError(errno.EPROTONOSUPPORT)
    if scheme != "tcp":
        return scheme, address, ""
    host, _, port = address.rpartition(":")
    wildcard = "*" in (host, port)
    number = port == "*" or (port.isascii() and port.isdigit() and int(port) < 65536)
    if not host or not number or (wildcard and not binding):
        raise zmq.ZMQError(errno.EINVAL)
    return scheme, {"localhost": "127.0.0.1", "*": _ANY}.get(host, host), port


def canonical(endpoint: str) -> str:
    """Return an endpoint as libzmq reports it; raises zmq.ZMQError for what is none."""
    return _join(*_parse(endpoint, binding=True))


def _join(scheme: str, host: str, port: str) -> str:
    return f"{scheme}://{host}:{port}" if port else f"{scheme}://{host}"
