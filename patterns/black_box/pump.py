"""A pump: libzmq moves messages from SUB to PUSH in a thread that needs no Python."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import zmq

from patterns.black_box.feeds import Feed
from patterns.black_box.private import PrivateEndpoint
from patterns.black_box.spawning import check_cores
from reactor import EndpointError, Handler
from reactor.endpoints import Side, parse_endpoints
from reactor.errors import reason_of
from reactor.logs import get_logger

# How long what was pumped already may take to reach the workers when the pump has stopped.
_LINGER_MS = 200


class Pump(Handler):
    """Binds a PUSH for workers at its start; `begin()` has libzmq pump the feeds to it.

    It has a context of its own, with as many I/O threads as it needs: to end that context is the
    one way to end `zmq.proxy`. All feeds share one SUB socket. With `cores`, the I/O threads stay
    on these. Raises ValueError for a core that is not there.
    """

    name = "BlackBox.pump"

    def __init__(
        self,
        feeds: Sequence[Feed],
        *,
        feed_high_water_mark: int,
        high_water_mark: int,
        io_threads: int = 1,
        cores: Sequence[int] = (),
    ) -> None:
        check_cores(cores)
        self.endpoint = ""
        self.bound_endpoints: tuple[str, ...] = ()
        self._feeds = feeds
        self._feed_high_water_mark = feed_high_water_mark
        self._high_water_mark = high_water_mark
        self._io_threads = io_threads
        self._cores = cores
        self._context: zmq.Context[zmq.Socket[bytes]] | None = None
        self._sockets: list[zmq.Socket[bytes]] = []
        self._private: PrivateEndpoint | None = None
        self._thread: threading.Thread | None = None

    def on_start(self) -> None:
        """Bind for the workers; raises EndpointError."""
        self._private = PrivateEndpoint()
        self._context = zmq.Context(self._io_threads)
        try:
            for core in self._cores:
                self._context.set(zmq.THREAD_AFFINITY_CPU_ADD, core)
            backend = self._open(zmq.PUSH, self._high_water_mark)
            self.endpoint = self._join(backend, "bind", str(self._private))
        except BaseException:
            self.on_stop()  # nobody else calls it for a handler that has not started
            raise

    def begin(self) -> None:
        """Connect to the feeds and pump; raises EndpointError."""
        frontend = self._open(zmq.SUB, self._feed_high_water_mark)
        for feed in self._feeds:
            frontend.set(zmq.AFFINITY, feed.io_threads)  # of the connections made from now on
            for prefix in feed.prefixes:
                frontend.subscribe(prefix)
            for side, endpoint in self._sides_of(feed):
                real = self._join(frontend, side, endpoint)
                if side == "bind":
                    self.bound_endpoints += (real,)
        self._thread = threading.Thread(target=self._pump, name="black-box-pump", daemon=True)
        self._thread.start()

    async def end(self) -> None:
        """Pump no more; what was pumped reaches the workers."""
        if self._thread is None or self._context is None:
            return
        loop, ended = self.reactor.loop, asyncio.Event()
        context, self._context, self._thread = self._context, None, None

        def terminate() -> None:
            context.term()  # wakes the pump, which closes its sockets
            loop.call_soon_threadsafe(ended.set)

        threading.Thread(target=terminate, name="black-box-term", daemon=True).start()
        await ended.wait()

    def on_stop(self) -> None:
        """Give up what was bound if it never came to pumping."""
        if self._context is not None:
            self._close(0)
            self._context.term()
            self._context = None
        if self._private is not None:
            self._private.remove()

    def _open(self, socket_type: int, high_water_mark: int) -> zmq.Socket[bytes]:
        assert self._context is not None
        socket = zmq.Socket(self._context, socket_type)
        self._sockets.append(socket)
        socket.set_hwm(high_water_mark)
        return socket

    def _sides_of(self, feed: Feed) -> list[tuple[Side, str]]:
        try:
            return parse_endpoints((feed.endpoints,), "connect")
        except ValueError as error:
            raise EndpointError(f"{self.name}: {error}") from None

    def _join(self, socket: zmq.Socket[bytes], side: Side, endpoint: str) -> str:
        """Bind or connect; return the real endpoint, the kernel's port filled in."""
        try:
            socket.bind(endpoint) if side == "bind" else socket.connect(endpoint)
        except zmq.ZMQError as error:
            text = f"{self.name}: cannot {side} {endpoint}: {reason_of(error)}"
            raise EndpointError(text) from error
        return str(socket.get_string(zmq.LAST_ENDPOINT))

    def _pump(self) -> None:
        backend, frontend = self._sockets
        try:
            zmq.proxy(frontend, backend)
        except zmq.ContextTerminated:
            pass  # the end, as it is meant
        except zmq.ZMQError as error:
            get_logger().error("the pump has broken", exc_info=error)
        finally:
            self._close(_LINGER_MS)

    def _close(self, linger_ms: int) -> None:
        for socket in self._sockets:
            socket.close(linger_ms)
        self._sockets.clear()


class PumpSwitch(Handler):
    """Begins to pump when the workers are ready, and ends before they are stopped."""

    name = "BlackBox.switch"

    def __init__(self, pump: Pump) -> None:
        self._pump = pump

    def on_start(self) -> None:
        """Begin; what was subscribed to comes from now on."""
        self._pump.begin()

    async def on_stop(self) -> None:
        """End; the workers then find no more than what is under way."""
        await self._pump.end()
