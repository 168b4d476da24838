"""libzmq's own proxy in a thread of its own, steered from the loop.

    publishers -- XSUB frontend [ zmq_proxy_steerable ] XPUB backend -- subscribers
                                  |            ^
                     XPUB capture |            | PAIR control: STATISTICS, TERMINATE
                                  v            |
                     SUB events (subscriptions), SUB traffic (everything), on the loop

The thread holds no GIL while the proxy runs, so Python costs the traffic nothing. The capture
socket is an XPUB: it drops where a SUB on the loop has fallen behind, and never blocks.
Subscriptions have a SUB and a queue of their own, so that a flood of messages does not push them
out. libzmq's PAUSE is not used: here it lets messages through, elsewhere it spins. The proxy is
ended instead and started again, on the same sockets, which keep what they hold.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterable
from queue import SimpleQueue
from typing import Any

import zmq

from patterns.espresso.account import Account, Totals
from patterns.espresso.capture import MARK, Control, Events, Traffic
from patterns.espresso.proxy_sockets import CAPTURE, CONTROL, ProxySockets
from patterns.espresso.pumping import PumpSettings, Take
from patterns.espresso.tables import SubscriptionTable
from reactor import Handler, HandlerSet, Stream, StreamHandler
from reactor.channels import ZmqNetwork

# Subscriptions that may wait for the loop; 100 bytes each, about 10 MB.
_EVENTS_LIMIT = 100_000
# A SUB of the same process and context subscribes in microseconds.
_HANDSHAKE_MS = 1000
# How long to look for one more message when the last has been moved on.
_LAST_LOOK_MS = 2
# At the end: so long without a record, and none will come.
_SETTLE_SECONDS = 0.005

_RUN = b"run"
_END = b"end"


class ThreadPump(HandlerSet):
    """Moves messages at the speed of `zmq.proxy`, and makes records of what the loop can take."""

    name = "Espresso.thread"

    def __init__(self, settings: PumpSettings, table: SubscriptionTable, take: Take) -> None:
        super().__init__()
        self.settings = settings
        self.table = table
        self.take = take
        self.account = Account()
        self.forwarding = False
        """True while the proxy runs in the thread: a pause, and the end of one, take a moment."""
        self._capturing = False
        self._paused = False
        self._jobs: SimpleQueue[bytes] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._ended: asyncio.Event | None = None
        self._finishing = False
        self._drain_until = 0.0
        self._linger_ms = 0
        self._moved = Totals()
        self._sockets: ProxySockets | None = None

    @property
    def bound_endpoints(self) -> tuple[str, ...]:
        """What others can connect to: frontend, then backend."""
        return self._sockets.bound_endpoints if self._sockets is not None else ()

    @property
    def totals(self) -> Totals:
        """What had passed at the last answer of the proxy."""
        return self.account.totals

    @property
    def captured_frames(self) -> int:
        """Frames of the records that the loop has taken."""
        return self.account.captured

    @property
    def lost_frames(self) -> int:
        """Frames that the capture socket has dropped, as far as known; see `Account`."""
        return self.account.lost

    # Life

    def build(self) -> Iterable[Handler]:
        """Open the proxy's sockets and the loop's; raises EndpointError."""
        self._loop = self.reactor.loop
        self._context: zmq.Context[Any] = zmq.Context()
        network = ZmqNetwork(self._context, 1.0)
        try:
            self._sockets = ProxySockets(self._context, self.settings, self.name)
            limit = self.settings.capture_limit
            self._steering = self._inner(network, zmq.PAIR, CONTROL, "control")
            events = self._inner(network, zmq.SUB, CAPTURE, "events", _EVENTS_LIMIT)
            self._traffic = self._inner(network, zmq.SUB, CAPTURE, "traffic", limit)
            for first in (b"\x00", b"\x01"):
                events.subscribe(first)
        except BaseException:
            self._context.destroy(linger=0)
            raise
        traffic = Traffic(self._traffic, self.account, self.take)
        control = Control(self._steering, self.account, traffic)
        return [control, Events(events, self.table), traffic]

    def on_start(self) -> None:
        """Start the thread."""
        self._ended = asyncio.Event()
        for topic in (b"\x00", b"\x01"):
            self._jobs.put(b"\x01" + topic)
        self._jobs.put(_RUN)
        self._thread = threading.Thread(
            target=self._work, args=(self._sockets,), name="espresso", daemon=True
        )
        self._thread.start()

    async def on_stop(self) -> None:
        """End the thread if `finish` did not, and close everything."""
        try:
            await self.finish(0.0)
        finally:
            for stream in self._inner_streams():
                stream.close(0)
            # All sockets are closed, so this waits for what lingers, and for no longer.
            await self._loop.run_in_executor(None, self._context.term)

    async def finish(self, seconds: float) -> None:
        """Move what the frontend holds, for at most `seconds`, then end the thread."""
        assert self._ended is not None
        if self._finishing:
            await self._ended.wait()
            return
        deadline = self._loop.time() + seconds
        self._interrupt()
        self._finishing = True
        self._drain_until, self._linger_ms = deadline, int(seconds * 1000)
        self._jobs.put(_END)
        # The reactor has ended all receiving; what the proxy captured and counted is still to come.
        for handler in self.handlers:
            if isinstance(handler, StreamHandler):
                handler.stream.on_message(handler.on_message)
        await self._ended.wait()
        self.account.add_by_hand(self._moved, self._capturing)
        before = -1
        while before != self.account.captured and self._loop.time() < deadline:
            before = self.account.captured
            await asyncio.sleep(_SETTLE_SECONDS)

    # Steering, on the loop

    def set_capture(self, wanted: bool) -> None:
        """Have everything captured from here on, or subscriptions only."""
        if wanted == self._capturing or self._finishing:
            return
        self._interrupt()
        self._capturing = wanted
        if wanted:
            self.account.begin_capture()
            self._traffic.subscribe(b"")
        else:
            self._traffic.unsubscribe(b"")
        self._jobs.put(b"\x01" if wanted else b"\x00")
        if not self._paused:
            self._run()

    def pause(self) -> None:
        """Leave messages where they are; libzmq keeps them up to the high-water marks."""
        if not self._paused and not self._finishing:
            self._interrupt()
            self._paused = True

    def resume(self) -> None:
        """Go on, with what has waited."""
        if self._paused and not self._finishing:
            self._paused = False
            self._run()

    def request_totals(self) -> None:
        """Ask the proxy; its answer comes within a few turns of the loop."""
        if not self._paused and not self._finishing:
            self.account.expect(self._capturing, last=False)
            self._steering.send(b"STATISTICS")

    def _interrupt(self) -> None:
        """End this run of the proxy, if there is one; its figures start at 0 with the next."""
        if not self._paused:
            self.account.expect(self._capturing, last=True)
            self._steering.send(b"STATISTICS")
            self._steering.send(b"TERMINATE")

    def _run(self) -> None:
        self._jobs.put(_RUN)

    # In the thread

    def _work(self, sockets: ProxySockets) -> None:
        try:
            while (job := self._jobs.get()) != _END:
                if job == _RUN:
                    self.forwarding = True
                    sockets.run()
                    self.forwarding = False
                else:
                    _await_subscription(sockets.capture, job)
                    # What an earlier run captured comes before this, and is in its figures.
                    sockets.capture.send(MARK)
            self._move_the_rest(sockets)
        except zmq.ContextTerminated:
            pass  # a start that failed later, and was undone: that is the end, too
        except Exception as error:
            self._tell_loop(self._hook_failed, error)
        finally:
            sockets.close(self._linger_ms)
            assert self._ended is not None
            self._tell_loop(self._ended.set)

    def _move_the_rest(self, sockets: ProxySockets) -> None:
        """Move what publishers had sent when the end came, as long as there is time."""
        clock = self._loop.time
        while clock() < self._drain_until and sockets.frontend.poll(_LAST_LOOK_MS):
            frames = sockets.frontend.recv_multipart()
            sockets.capture.send_multipart(frames)
            sockets.backend.send_multipart(frames)
            self._moved = self._moved.plus(Totals(len(frames), sum(map(len, frames))))

    def _tell_loop(self, callback: Any, *arguments: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(callback, *arguments)
        except RuntimeError:
            pass  # the loop was closed under us: there is nobody to tell

    def _inner(
        self, network: ZmqNetwork, kind: int, endpoint: str, name: str, limit: int = 0
    ) -> Stream:
        """Open one of the loop's ends, in the context of the proxy."""
        loop = self.reactor.loop
        channel = network.open_channel(kind, loop)
        stream = network.stream_class(channel, loop, socket_type=kind, name=f"{self.name}.{name}")
        stream.set_option(zmq.RCVHWM, limit // 2 + 1 if limit else 0)
        stream.connect(endpoint)
        return stream

    def _inner_streams(self) -> list[Stream]:
        return [handler.stream for handler in self.handlers if isinstance(handler, StreamHandler)]


def _await_subscription(capture: zmq.Socket[bytes], event: bytes) -> None:
    """Wait until the capture socket knows what the loop has (un)subscribed."""
    while capture.poll(_HANDSHAKE_MS):
        if capture.recv() == event:
            return
    raise RuntimeError("the capture socket heard of no subscription")
