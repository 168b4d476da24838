"""Doubles to test handlers with: virtual time, streams in memory, networks with faults.

def test_it_doubles(fake_reactor):  # a fixture of the pytest plugin that comes with this
    stream = fake_reactor.open_stream(zmq.DEALER)
    fake_reactor.register(Doubler(stream))
    stream.deliver(b"21")
    fake_reactor.loop.run_pending()
    assert stream.take_sent() == [(b"42",)]
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reactor.testing.fixtures import FakeReactor, fake_reactor
    from reactor.testing.loop import FakeLoop
    from reactor.testing.network import FakeNetwork
    from reactor.testing.node import Node
    from reactor.testing.simulation import Simulation
    from reactor.testing.stream import FakeStream

_HOMES = {
    "FakeLoop": "loop",
    "FakeNetwork": "network",
    "FakeReactor": "fixtures",
    "FakeStream": "stream",
    "Node": "node",
    "Simulation": "simulation",
    "fake_reactor": "fixtures",
}

__all__ = [
    "FakeLoop",
    "FakeNetwork",
    "FakeReactor",
    "FakeStream",
    "Node",
    "Simulation",
    "fake_reactor",
]


def __getattr__(name: str) -> object:
    """Import a public name at its first use, so that loading the pytest plugin stays cheap."""
    if name not in _HOMES:
        raise AttributeError(f"module 'reactor.testing' has no attribute {name!r}")
    return getattr(import_module(f"reactor.testing.{_HOMES[name]}"), name)
