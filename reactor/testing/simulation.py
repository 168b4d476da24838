"""Simulation: nodes on one network, with everything that goes wrong decided by one seed."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from types import TracebackType

from reactor.testing.chance import seeded
from reactor.testing.loop import FakeLoop
from reactor.testing.network import FakeNetwork
from reactor.testing.node import Build, Node
from reactor.testing.pipes import Message, Pipe

LATENCY = 0.0005
JITTER = 0.002
RECONNECT = 0.1

# Messages are digested together: one by one costs PyPy a twentieth of a simulation.
_UNDIGESTED_LIMIT = 1000


class Simulation:
    """Runs real handlers on simulated machines; the same seed and code give the same trace.

        with Simulation(seed=7) as simulation:
            server = simulation.node("server", lambda node: EchoServer())
            client = simulation.node("client", lambda node: EchoClient())
            simulation.advance(1.0)
            simulation.network.partition("server", "client", reset=True)
            simulation.advance(30.0)
            simulation.network.heal()
            server.restart()
            simulation.advance(10.0)
            assert client.handler.answers

    Each node has a reactor of its own, as a process would, and its name is a place for the faults
    of `network`, a FakeNetwork. A message takes `latency` and up to `jitter` seconds more; `jitter`
    may be a function of a `random.Random` instead, for other distributions. A connection that has
    ended is sought again after `reconnect` to twice `reconnect` seconds, as libzmq does. What a
    callback raises leaves `advance()`. `on_event` is told each line of the trace.
    """

    def __init__(
        self,
        seed: int = 0,
        *,
        latency: float = LATENCY,
        jitter: float | Callable[[random.Random], float] = JITTER,
        reconnect: float = RECONNECT,
        on_event: Callable[[str], object] | None = None,
    ) -> None:
        self.seed = seed
        self.loop = FakeLoop()
        self.network = FakeNetwork(
            self.loop, seed, latency=latency, jitter=jitter, reconnect=reconnect
        )
        self.nodes: dict[str, Node] = {}
        self.on_event = on_event
        self._digest = hashlib.blake2b(digest_size=16)
        self._undigested: list[bytes] = []
        self.network.on_arrival(self._arrived)

    def node(self, name: str, build: Build, *, drift: float = 0.0, start: bool = True) -> Node:
        """Add a machine and start what `build(node)` makes on it, unless told not to."""
        if name in self.nodes:
            raise ValueError(f"there is a node called {name!r} already")
        node = self.nodes[name] = Node(self, name, build, drift)
        if start:
            node.start()
        return node

    def advance(self, seconds: float) -> None:
        """Let `seconds` of virtual time pass, everywhere."""
        self.loop.advance(seconds)

    def run_until(self, condition: Callable[[], bool], timeout: float = 60.0) -> None:
        """Let time pass until `condition()` holds; raises TimeoutError after `timeout` seconds."""
        self.loop.run_until(condition, timeout)

    def at(self, when: float, callback: Callable[[], object]) -> None:
        """Call `callback()` at the instant `when`, in seconds since the beginning."""
        self.loop.call_at(when, callback)

    def chance(self, purpose: str) -> random.Random:
        """Return a new source of chance for one purpose: what others draw does not shift it."""
        return seeded(f"{self.seed} {purpose}")

    # The trace

    @property
    def trace(self) -> str:
        """A digest of every message that has arrived and every event, with its time and order."""
        self._digest_all()
        return self._digest.hexdigest()

    def note(self, event: str) -> None:
        """Add a line to the trace."""
        now = self.loop.time()
        self._add(b"%f %s\n" % (now, event.encode()))
        if self.on_event is not None:
            self.on_event(f"{now:12.6f} {event}")

    def _arrived(self, pipe: Pipe, message: Message) -> None:
        now = self.loop.time()
        self._add(b"%f %s" % (now, pipe.label), b"|".join(message))
        if self.on_event is not None:
            self.on_event(f"{now:12.6f} {pipe.label.decode()} {message!r}")

    def _add(self, *pieces: bytes) -> None:
        self._undigested += pieces
        if len(self._undigested) > _UNDIGESTED_LIMIT:
            self._digest_all()

    def _digest_all(self) -> None:
        self._digest.update(b"".join(self._undigested))
        self._undigested.clear()

    # The end

    def close(self) -> None:
        """End every node at once, and the loop."""
        for node in self.nodes.values():
            node.crash()
        self.loop.close()

    def __enter__(self) -> Simulation:
        """Be closed at the end of the with block."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
