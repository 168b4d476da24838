"""The sockets of the proxy: opened on the loop, used by its thread, closed there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import zmq
from zmq.backend import proxy_steerable

from patterns.espresso.pumping import PumpSettings
from reactor import EndpointError
from reactor.endpoints import Side, parse_endpoints

CAPTURE = "inproc://espresso-capture"
CONTROL = "inproc://espresso-control"


def steerable() -> bool:
    """Return whether this libzmq has zmq_proxy_steerable; some builds of 4.3.5 have not."""
    context: zmq.Context[Any] = zmq.Context()
    try:
        ends = [context.socket(kind) for kind in (zmq.PULL, zmq.PUSH, zmq.PAIR, zmq.PAIR)]
        ends[2].bind(CONTROL)
        ends[3].connect(CONTROL)
        ends[3].send(b"TERMINATE")
        proxy_steerable(ends[0], ends[1], None, ends[2])
        return True
    except zmq.ZMQError:
        return False
    finally:
        context.destroy(linger=0)


class ProxySockets:
    """Frontend, backend, capture and control, open and bound; raises EndpointError as streams do.

    Which thread uses them changes hands once: whoever has made them starts the thread and lets go.
    """

    def __init__(self, context: zmq.Context[Any], settings: PumpSettings, name: str) -> None:
        self._context = context
        self._name = name
        self._all: list[zmq.Socket[bytes]] = []
        self.frontend = self._open(zmq.XSUB, settings.frontend_options())
        self.backend = self._open(zmq.XPUB, settings.backend_options())
        # Half of the limit on each end: libzmq adds them up.
        self.capture = self._open(zmq.XPUB, {zmq.SNDHWM: (settings.capture_limit + 1) // 2})
        self.control = self._open(zmq.PAIR, {})
        self.capture.bind(CAPTURE)
        self.control.bind(CONTROL)
        # The frontend last, so that nothing comes before there is a way out.
        behind = tuple(self._attach(self.backend, settings.backend, "bind"))
        before = tuple(self._attach(self.frontend, settings.frontend, "connect"))
        self.bound_endpoints = before + behind

    def run(self) -> None:
        """Forward until TERMINATE comes; what the sockets hold, they keep for the next run."""
        proxy_steerable(self.frontend, self.backend, self.capture, self.control)

    def close(self, linger_ms: int) -> None:
        """Close all; what subscribers are still to get is sent for up to `linger_ms`."""
        for socket in self._all:
            socket.close(linger=linger_ms)

    def _open(self, kind: int, options: dict[int, int | bytes]) -> zmq.Socket[bytes]:
        socket: zmq.Socket[bytes] = self._context.socket(kind)
        self._all.append(socket)
        for option, value in ({zmq.LINGER: 0} | options).items():
            socket.set(option, value)
        return socket

    def _attach(self, socket: zmq.Socket[bytes], endpoints: str, unmarked: Side) -> Iterator[str]:
        """Bind and connect; yield what was bound."""
        try:
            for side, endpoint in parse_endpoints([endpoints], unmarked):
                if side == "bind":
                    socket.bind(endpoint)
                    yield bytes(socket.get(zmq.LAST_ENDPOINT)).rstrip(b"\0").decode()
                else:
                    socket.connect(endpoint)
        except (ValueError, zmq.ZMQError) as error:
            raise EndpointError(f"{self._name}: cannot open {endpoints}: {error}") from error
