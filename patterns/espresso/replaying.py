"""Replay: the messages of a recording, published again with their timing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import BinaryIO

import zmq

from patterns.espresso.protocol import Kind
from patterns.espresso.recording import PlainEntry, Reader
from reactor import Handler, HandlerSet, OneShotTimer, Policy, Stream, StreamHandler

HIGH_WATER_MARK = 10_000

_MESSAGE = int(Kind.MESSAGE)
_TURN_SECONDS = 0.005
_TURN_MESSAGES = 50
# An XPUB with XPUB_NODROP always claims to be writable.
_RETRY_SECONDS = 0.002


class Timetable:
    """When the messages of a recording are due, at `speed` times the pace they came with.

    Speed 0 is as fast as possible. The first message is due at once.
    """

    def __init__(self, speed: float) -> None:
        if not 0 <= speed < float("inf"):
            raise ValueError("speed is a number, 0 or above")
        self.speed = speed
        self._zero: float | None = None

    def due_at(self, offset: float, now: float) -> float:
        """Return the instant at which what came at `offset` is due, given that it is `now`."""
        if not self.speed:
            return now
        if self._zero is None:
            self._zero = now - offset / self.speed
        return self._zero + offset / self.speed


class Replay(HandlerSet):
    """Publishes the messages in `file` on `endpoint` (bound unless marked `>`), and then stops.

    Begins when `wait_for` subscriptions have come. Messages are sent whose offset is from `begin`
    to before `end` seconds and whose topic begins with one of `topics`; subscriptions in the
    recording are passed over. Nothing is dropped: a subscriber that does not keep up slows all.
    `on_done` is called at the end; the default stops the reactor.

    Raises RecordingError for a file that is no recording, ValueError for a speed below 0.
    """

    def __init__(
        self,
        file: BinaryIO,
        endpoint: str,
        *,
        speed: float = 1.0,
        begin: float = 0.0,
        end: float = float("inf"),
        topics: tuple[bytes, ...] = (b"",),
        wait_for: int = 1,
        high_water_mark: int = HIGH_WATER_MARK,
        on_done: Callable[[], None] | None = None,
    ) -> None:
        super().__init__()
        self.reader = Reader(file.read)
        self.endpoint = endpoint
        self.timetable = Timetable(speed)
        self.sent = 0
        self.latest = 0.0
        """The largest delay of a message behind its due time, in seconds."""
        self._span = (begin, end)
        self._topics = topics
        self._wait_for = wait_for
        self._high_water_mark = high_water_mark
        self._on_done = on_done
        self._entries: Iterator[PlainEntry] = iter(())
        self._held: tuple[PlainEntry, ...] = ()
        self._stream: Stream | None = None
        self._timer: OneShotTimer | None = None

    @property
    def bound_endpoint(self) -> str:
        """Where subscribers connect to, the port filled in."""
        return self._stream.endpoint if self._stream is not None else ""

    def build(self) -> Iterable[Handler]:
        """Open the endpoint."""
        self._stream = self.open_stream(
            zmq.XPUB,
            self.endpoint,
            name="replay",
            unmarked="bind",
            options={
                zmq.SNDHWM: self._high_water_mark,
                zmq.XPUB_VERBOSE: 1,
                zmq.XPUB_NODROP: 1,
            },
            queue_limit=0,
            policy=Policy.DROP_NEWEST,
        )
        return [_Subscribers(self._stream, self)]

    def on_start(self) -> None:
        """Begin, unless subscribers are to be waited for."""
        if not self._wait_for:
            self.begin()

    def on_stop(self) -> None:
        """Send nothing more."""
        if self._timer is not None:
            self._timer.cancel()

    def receive_subscription(self) -> None:
        """Begin, if this is the last subscription that was waited for."""
        self._wait_for -= 1
        if self._wait_for == 0:
            self.begin()

    def begin(self) -> None:
        """Send the first message on the next turn of the loop."""
        self._entries = chain.from_iterable(map(self._chosen, self.reader.blocks()))
        self._timer = self.reactor.call_later(0.0, self._turn)

    def _chosen(self, entries: list[PlainEntry]) -> list[PlainEntry]:
        messages = [entry for entry in entries if entry[1] == _MESSAGE]
        begin, end = self._span
        if b"" in self._topics and begin <= 0 and end == float("inf"):
            return messages
        return [
            entry
            for entry in messages
            if begin <= entry[0] < end and entry[2][0].startswith(self._topics)
        ]

    def _turn(self) -> None:
        """Send what is due, for a few milliseconds; then let the loop serve others."""
        self._held, delay = self._send_due()
        if delay is not None:
            self._timer = self.reactor.call_later(delay, self._turn)
        else:
            (self._on_done or self.reactor.stop)()

    def _send_due(self) -> tuple[tuple[PlainEntry, ...], float | None]:
        """Return what was taken out and could not be sent, and when to go on; None at the end."""
        assert self._stream is not None
        send, due_at, timed = self._stream.send, self.timetable.due_at, self.timetable.speed > 0
        now = self.reactor.now()
        deadline = now + _TURN_SECONDS
        sent, look = self.sent, self.sent + _TURN_MESSAGES
        try:
            for entry in chain(self._held, self._entries):
                if timed:
                    due = due_at(entry[0], now)
                    if due > now:
                        return (entry,), due - now
                    self.latest = max(self.latest, now - due)
                if not send(*entry[2]):
                    return (entry,), _RETRY_SECONDS
                sent += 1
                if sent == look:
                    now, look = self.reactor.now(), sent + _TURN_MESSAGES
                    if now > deadline:
                        return (), 0.0
        finally:
            self.sent = sent
        return (), None


class _Subscribers(StreamHandler):
    def __init__(self, stream: Stream, replay: Replay) -> None:
        super().__init__(stream)
        self.replay = replay

    def on_message(self, frames: list[bytes]) -> None:
        if frames[0][:1] == b"\x01":
            self.replay.receive_subscription()
