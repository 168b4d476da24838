"""FakeNetwork: sockets that live in memory, on a loop in virtual time."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

import zmq

from reactor.streams import Stream
from reactor.testing.channels import FakeChannel
from reactor.testing.exchange import Exchange
from reactor.testing.faults import Delay, Fault, Loss, Partition, Place
from reactor.testing.node_loop import NodeLoop
from reactor.testing.pipes import Message, Pipe
from reactor.testing.socket_types import CHANNELS
from reactor.testing.stream import FakeStream


class FakeNetwork:
    """Joins fake streams by endpoint as libzmq joins sockets; any number of reactors may share it.

    A message takes a turn of the loop and `latency` seconds, plus up to `jitter` more at random,
    and never overtakes another one of the same connection; `jitter` may be a function of a
    `random.Random` that returns seconds. Chance (jitter, the names that a ROUTER makes up) comes
    from `seed` alone: the same test does the same each time.

    As in libzmq: subscriptions travel to the publisher like messages do; high-water marks count
    per connection, the sender's plus the receiver's; who connects first waits for who binds; over
    tcp and ipc a connection that has ended is sought again, over inproc not: at once, or after
    `reconnect` to twice `reconnect` seconds. With HEARTBEAT_IVL set, a connection that is cut ends
    when its heartbeats stay out. Types: PUB, SUB, XPUB, XSUB, ROUTER, DEALER, PUSH, PULL, PAIR.
    Hosts are names and nothing else, but "localhost" and "*" mean what they should.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        seed: int = 0,
        *,
        latency: float = 0.0,
        jitter: float | Callable[[random.Random], float] = 0.0,
        reconnect: float = 0.0,
    ) -> None:
        self.loop = loop
        self.seed = seed
        self.stream_class: type[Stream] = FakeStream
        self._exchange = Exchange(loop, seed, latency, jitter, reconnect)

    # As reactor.channels.Network has it

    def open_channel(self, socket_type: int, loop: asyncio.AbstractEventLoop) -> FakeChannel:
        """Open a fake socket of a libzmq type; raises NotImplementedError for one not listed."""
        if (loop.world if isinstance(loop, NodeLoop) else loop) is not self.loop:
            raise ValueError("a FakeNetwork and its reactors share one loop")
        if socket_type not in CHANNELS:
            raise NotImplementedError(f"FakeNetwork has no {zmq.SocketType(socket_type).name}")
        channel = CHANNELS[socket_type](self._exchange, socket_type, loop)
        if isinstance(loop, NodeLoop):
            channel.node = loop.node
            loop.channels = [other for other in loop.channels if not other.closed]
            loop.channels.append(channel)
        return channel

    async def close(self) -> None:
        """Do nothing: the network outlives the reactor that stops."""

    # For tests only

    @property
    def dropped(self) -> int:
        """How many messages `drop()` has lost."""
        return self._exchange.dropped

    @property
    def overflowed(self) -> int:
        """How many messages PUB, XPUB and ROUTER have dropped at a high-water mark."""
        return self._exchange.overflowed

    def on_arrival(self, callback: Callable[[Pipe, Message], None] | None) -> None:
        """Call `callback(pipe, frames)` with each message that arrives, subscriptions too."""
        self._exchange.on_arrival = callback

    def partition(
        self, a: Place, b: Place = None, *, reset: bool = False, one_way: bool = False
    ) -> Partition:
        """Cut `a` off from `b` (None: from everybody), until `heal()` or `cancel()` of the result.

        A place is a stream, the name of a stream or of the handler set that opened it or of a
        simulation's node, the endpoint that a stream is bound to, or several of these. Messages
        wait as in TCP's buffers, up to the high-water marks, and a peer that closes is not noticed.
        With `one_way` only what `a` sends waits. With `reset` the connections break: messages under
        way are lost, a ROUTER's peers are gone, subscriptions end; `heal()` connects anew, under
        new routing ids. Nobody connects through a partition of any kind.
        """
        partition = Partition(self._exchange, a, b, reset, one_way)
        self._exchange.add_fault(partition)
        return partition

    def heal(self, a: Place = None, b: Place = None) -> None:
        """Take back `partition(a, b)`, or all partitions; ValueError if there is no such one."""
        wanted = Fault(self._exchange, a, b)
        everything = a is None and b is None
        healed = [p for p in self._exchange.partitions() if everything or p.is_between(wanted)]
        if not healed and not everything:
            raise ValueError(f"there is no partition between {a!r} and {b!r}")
        for partition in healed:
            partition.cancel()

    def drop(
        self, which: Callable[[list[bytes]], bool] | int, a: Place = None, b: Place = None
    ) -> Loss:
        """Lose messages between `a` and `b`: those that `which(frames)` picks, or the next so many.

        They are lost on arrival; subscriptions are never lost. The result counts them in `dropped`
        and ends the fault with `cancel()`.
        """
        loss = Loss(self._exchange, a, b, which)
        self._exchange.add_fault(loss)
        return loss

    def delay(self, seconds: float, a: Place = None, b: Place = None) -> Delay:
        """Make messages between `a` and `b` take `seconds` longer, until `cancel()` of the result.

        Those under way keep their time. Several delays add up.
        """
        if not seconds >= 0:
            raise ValueError(f"a delay is a number of seconds from 0 on, not {seconds!r}")
        delay = Delay(self._exchange, a, b, seconds)
        self._exchange.add_fault(delay)
        return delay
