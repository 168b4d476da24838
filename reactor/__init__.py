"""A small reactor for ZeroMQ on the Tornado and asyncio loop.

import zmq
from reactor import Reactor, StreamHandler

class Echo(StreamHandler):
    def on_message(self, frames):
        self.send(*frames)

async with Reactor() as reactor:
    reactor.register(Echo(reactor.open_stream(zmq.ROUTER, "@tcp://127.0.0.1:5555")))
    await reactor.stopped()
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reactor.errors import (
        EndpointError,
        OptionError,
        PeerError,
        QueueFull,
        ReactorError,
        StreamClosed,
        WrongThread,
    )
    from reactor.handlers import Handler, HandlerSet, PeriodicHandler, StreamHandler
    from reactor.reactor import Completion, Reactor
    from reactor.running import run
    from reactor.statistics import HandlerStatistics, ReactorStatistics, StreamStatistics
    from reactor.streams import Policy, Stream
    from reactor.timers import OneShotTimer, PeriodicTimer

_HOMES = {
    "EndpointError": "errors",
    "OptionError": "errors",
    "PeerError": "errors",
    "QueueFull": "errors",
    "ReactorError": "errors",
    "StreamClosed": "errors",
    "WrongThread": "errors",
    "Handler": "handlers",
    "HandlerSet": "handlers",
    "PeriodicHandler": "handlers",
    "StreamHandler": "handlers",
    "Completion": "reactor",
    "Reactor": "reactor",
    "run": "running",
    "HandlerStatistics": "statistics",
    "ReactorStatistics": "statistics",
    "StreamStatistics": "statistics",
    "Policy": "streams",
    "Stream": "streams",
    "OneShotTimer": "timers",
    "PeriodicTimer": "timers",
}

__all__ = [
    "Completion",
    "EndpointError",
    "Handler",
    "HandlerSet",
    "HandlerStatistics",
    "OneShotTimer",
    "OptionError",
    "PeerError",
    "PeriodicHandler",
    "PeriodicTimer",
    "Policy",
    "QueueFull",
    "Reactor",
    "ReactorError",
    "ReactorStatistics",
    "Stream",
    "StreamClosed",
    "StreamHandler",
    "StreamStatistics",
    "WrongThread",
    "run",
]


def __getattr__(name: str) -> object:
    """Import a public name at its first use, so that loading the pytest plugin stays cheap."""
    if name not in _HOMES:
        raise AttributeError(f"module 'reactor' has no attribute {name!r}")
    return getattr(import_module(f"reactor.{_HOMES[name]}"), name)
