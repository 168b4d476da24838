"""What moves the messages: libzmq's proxy in a thread, or handlers on the loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

import zmq

from patterns.espresso.account import Totals
from patterns.espresso.protocol import Kind, Record, kind_upstream
from patterns.espresso.tables import SubscriptionTable
from reactor import Handler, HandlerSet, Policy, Stream, StreamHandler
from reactor.endpoints import Side, parse_endpoints


@dataclass(frozen=True, slots=True)
class PumpSettings:
    """Between which endpoints a pump moves messages, and its limits."""

    frontend: str
    backend: str
    high_water_mark: int
    capture_limit: int
    count_subscribers: bool

    def frontend_options(self) -> dict[int, int | bytes]:
        """Return the options of the XSUB; subscriptions are never dropped for a full queue."""
        return {zmq.RCVHWM: self.high_water_mark, zmq.SNDHWM: 0}

    def backend_options(self) -> dict[int, int | bytes]:
        """Return the options of the XPUB."""
        return {
            zmq.SNDHWM: self.high_water_mark,
            zmq.RCVHWM: 0,
            zmq.XPUB_VERBOSER: int(self.count_subscribers),
        }


class Pump(Protocol):
    """A handler that moves messages between two endpoints and tells what passed."""

    name: str

    @property
    def totals(self) -> Totals:
        """What has passed, as known."""

    @property
    def captured_frames(self) -> int:
        """Frames of the records that were made."""

    @property
    def bound_endpoints(self) -> tuple[str, ...]:
        """What others can connect to: frontend, then backend."""

    @property
    def lost_frames(self) -> int:
        """Frames that passed while records were wanted, and of which there is no record."""

    def set_capture(self, wanted: bool) -> None:
        """Tell `take` what passes, or not."""

    def pause(self) -> None:
        """Leave messages where they are."""

    def resume(self) -> None:
        """Go on."""

    def request_totals(self) -> None:
        """Bring `totals` up to date, at once or soon."""

    async def finish(self, seconds: float) -> None:
        """Move what has come so far, then move nothing more; within about `seconds`."""


# At the end: so long without a message, and none is in the socket.
_SETTLE_SECONDS = 0.005

Take = Callable[[Record], None]


def bound(stream: Stream, endpoints: str, unmarked: Side) -> tuple[str, ...]:
    """Return those endpoints of a stream that were bound."""
    sides = parse_endpoints([endpoints], unmarked)
    return tuple(
        real for real, (side, _) in zip(stream.endpoints, sides, strict=False) if side == "bind"
    )


def note_subscription(table: SubscriptionTable, kind: Kind, topic: bytes) -> None:
    """Enter a subscription or its end in the table."""
    if kind is Kind.SUBSCRIBE:
        table.receive_subscribe(topic)
    elif kind is Kind.UNSUBSCRIBE:
        table.receive_unsubscribe(topic)


class LoopPump(HandlerSet):
    """Moves every message on the loop: a few hundred thousand a second at most.

    Records are complete, in order, and say for certain which way a message went.
    """

    name = "Espresso.loop"

    def __init__(self, settings: PumpSettings, table: SubscriptionTable, take: Take) -> None:
        super().__init__()
        self.settings = settings
        self.table = table
        self.take = take
        self.totals = Totals()
        self.captured_frames = 0
        self.lost_frames = 0
        self.capturing = False
        self._down: _Down | None = None
        self._up: _Up | None = None

    def build(self) -> Iterable[Handler]:
        """Open both sides; the frontend last, so that nothing comes before there is a way out."""
        settings = self.settings
        backend = self.open_stream(
            zmq.XPUB,
            settings.backend,
            name="backend",
            unmarked="bind",
            options=settings.backend_options(),
            queue_limit=0,
            policy=Policy.DROP_NEWEST,
        )
        frontend = self.open_stream(
            zmq.XSUB,
            settings.frontend,
            name="frontend",
            unmarked="connect",
            options=settings.frontend_options(),
        )
        self._down, self._up = _Down(frontend, backend, self), _Up(backend, frontend, self)
        return [self._up, self._down]

    @property
    def bound_endpoints(self) -> tuple[str, ...]:
        """What others can connect to: frontend, then backend."""
        if self._down is None or self._up is None:
            return ()
        return bound(self._down.stream, self.settings.frontend, "connect") + bound(
            self._up.stream, self.settings.backend, "bind"
        )

    def set_capture(self, wanted: bool) -> None:
        """Make records from the next message on, or none."""
        self.capturing = wanted

    def pause(self) -> None:
        """Receive nothing, on either side."""
        for handler in (self._down, self._up):
            if handler is not None:
                handler.stream.pause()

    def resume(self) -> None:
        """Receive again."""
        for handler in (self._down, self._up):
            if handler is not None:
                handler.stream.resume()

    def request_totals(self) -> None:
        """They are up to date."""

    async def finish(self, seconds: float) -> None:
        """Receive what has come, though the reactor has ended that, and then nothing more."""
        deadline = self.reactor.now() + seconds
        handlers = [handler for handler in (self._up, self._down) if handler is not None]
        for handler in handlers:
            handler.stream.resume()
            handler.stream.on_message(handler.on_message)
        before: Totals | None = None
        while before != self.totals and self.reactor.now() < deadline:
            before = self.totals
            await asyncio.sleep(_SETTLE_SECONDS)
        for handler in handlers:
            handler.stream.on_message(None)

    def passed(self, kind: Kind, frames: list[bytes]) -> None:
        """Count a message, and make its record if one is wanted."""
        size = sum(map(len, frames))
        down, bytes_down, up, bytes_up = self.totals
        if kind is Kind.MESSAGE:
            self.totals = Totals(down + len(frames), bytes_down + size, up, bytes_up)
        else:
            self.totals = Totals(down, bytes_down, up + len(frames), bytes_up + size)
        if self.capturing:
            self.captured_frames += len(frames)
            self.take(Record(self.reactor.now(), kind, tuple(frames)))


class _Down(StreamHandler):
    """Messages, from the publishers to the subscribers."""

    def __init__(self, stream: Stream, backend: Stream, pump: LoopPump) -> None:
        super().__init__(stream)
        self.pump = pump
        self.forward = backend.send

    def on_message(self, frames: list[bytes]) -> None:
        self.forward(*frames)
        self.pump.passed(Kind.MESSAGE, frames)


class _Up(StreamHandler):
    """Subscriptions, from the subscribers to the publishers."""

    def __init__(self, stream: Stream, frontend: Stream, pump: LoopPump) -> None:
        super().__init__(stream)
        self.pump = pump
        self.forward = frontend.send

    def on_message(self, frames: list[bytes]) -> None:
        kind = kind_upstream(frames)
        note_subscription(self.pump.table, kind, frames[0][1:])
        self.forward(*frames)
        self.pump.passed(kind, frames)
