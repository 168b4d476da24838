"""The other end of a tap's endpoint: records and status, received and checked for holes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import zmq

from patterns.espresso.messages import (
    STATUS,
    NotARecord,
    TappedRecord,
    decode,
    decode_status,
    subscription,
)
from patterns.espresso.protocol import Filter, Gate, Kind
from patterns.espresso.record_file import FLUSH_SECONDS, RecordFile
from reactor import Handler, HandlerSet, PeriodicTimer, Stream, StreamHandler
from reactor.handlers import Hook

HIGH_WATER_MARK = 10_000
_MESSAGE = Kind.MESSAGE


class TapReader(HandlerSet):
    """Calls `callback(tapped)` for each record of a tap's endpoint (`Style.RECORD`).

    Prefix and direction of the `filter` are applied at the proxy, by subscription, and the rest
    here. `missed` counts the records that the tap has taken and dropped; it is known only for a
    reader of everything, since for another one the holes are also what it did not ask for.
    """

    def __init__(
        self,
        endpoint: str,
        callback: Callable[[TappedRecord], None],
        filter: Filter | None = None,
        *,
        high_water_mark: int = HIGH_WATER_MARK,
    ) -> None:
        super().__init__()
        self.endpoint = endpoint
        self.callback = callback
        self.filter = filter or Filter()
        self.high_water_mark = high_water_mark
        self.received = 0
        self.missed: int | None = None
        self._gate = Gate(self.filter)
        self._last = 0
        self._sees_all = not self.filter.prefix and self.filter.direction is None

    def build(self) -> Iterable[Handler]:
        """Connect, and subscribe to what the filter lets through."""
        stream = self.open_stream(
            zmq.SUB,
            self.endpoint,
            name="tap",
            unmarked="connect",
            subscribe=subscription(self.filter.prefix, self.filter.direction),
            options={zmq.RCVHWM: self.high_water_mark},
        )
        return [_Records(stream, self)]

    def receive(self, tapped: TappedRecord) -> None:
        """Count a record, look for a hole before it, and hand it on if the filter takes it."""
        self.received += 1
        if self._sees_all:
            # A lower number: the proxy was started anew.
            if 0 < self._last < tapped.sequence:
                self.missed = (self.missed or 0) + tapped.sequence - self._last - 1
            self._last = tapped.sequence
        if self._gate.admits(tapped.record):
            self.callback(tapped)


class _Records(StreamHandler):
    peer_errors = (NotARecord,)

    def __init__(self, stream: Stream, reader: TapReader) -> None:
        super().__init__(stream)
        self.reader = reader

    def on_message(self, frames: list[bytes]) -> None:
        self.reader.receive(decode(frames))


class StatusReader(HandlerSet):
    """Calls `callback(status)` for each status of a monitor."""

    def __init__(self, endpoint: str, callback: Callable[[dict[str, Any]], None]) -> None:
        super().__init__()
        self.endpoint = endpoint
        self.callback = callback

    def build(self) -> Iterable[Handler]:
        """Connect and subscribe."""
        stream = self.open_stream(
            zmq.SUB, self.endpoint, name="status", unmarked="connect", subscribe=(STATUS,)
        )
        return [_Status(stream, self.callback)]


class _Status(StreamHandler):
    peer_errors = (NotARecord,)

    def __init__(self, stream: Stream, callback: Callable[[dict[str, Any]], None]) -> None:
        super().__init__(stream)
        self.callback = callback

    def on_message(self, frames: list[bytes]) -> None:
        self.callback(decode_status(frames))


class Recorder(HandlerSet):
    """Records what publishers send, as a subscriber of theirs, into a file.

    `endpoint` connects to publishers unless it is marked `@`. Ends by itself, by stopping the
    reactor, after `count` records (0: never), when the file has `file.max_bytes`, or when it cannot
    be written any more.
    """

    failure: OSError | None = None
    """Why the file could not be written any more."""

    def __init__(
        self,
        file: RecordFile,
        endpoint: str,
        topics: Sequence[bytes] = (b"",),
        *,
        wall_clock: Callable[[], float],
        count: int = 0,
        high_water_mark: int = HIGH_WATER_MARK,
    ) -> None:
        super().__init__()
        self.file = file
        self.endpoint = endpoint
        self.topics = tuple(topics)
        self.wall_clock = wall_clock
        self.high_water_mark = high_water_mark
        self.count = count
        self._left = count or -1  # never 0
        self._append = file.append
        self._timer: PeriodicTimer | None = None

    def build(self) -> Iterable[Handler]:
        """Create the file, then connect; raises OSError."""
        self.file.open(self.reactor.now(), self.wall_clock())
        stream = self.open_stream(
            zmq.SUB,
            self.endpoint,
            name="recorder",
            unmarked="connect",
            subscribe=self.topics,
            options={zmq.RCVHWM: self.high_water_mark},
        )
        return [_Messages(stream, self)]

    def on_start(self) -> None:
        """Flush the file every second."""
        self._timer = self.reactor.periodic(FLUSH_SECONDS, self._flush)

    def on_stop(self) -> None:
        """Close the file."""
        if self._timer is not None:
            self._timer.cancel()
        try:
            self.file.close()
        except OSError as error:
            self.give_up(error)

    def give_up(self, error: OSError) -> None:
        """The file cannot be written: stop the reactor, and keep the first error."""
        if self.failure is None:
            self.failure = error
            self.log.error("the recording has failed", file=str(self.file.path), reason=str(error))
            self.reactor.stop()

    def record(self, when: float, kind: Kind, frames: Sequence[bytes]) -> None:
        """Write one record; stops the reactor when that was the last."""
        if self._left:
            self._left -= 1
            self._append(when, kind, frames)
            if not self._left:
                self.reactor.stop()

    def _flush(self) -> None:
        try:
            self.file.flush()
        except OSError as error:
            self.give_up(error)
        if self.file.full:
            self.reactor.stop()

    @property
    def recorded(self) -> int:
        """How many records are in the file."""
        return self.file.written


class _Messages(StreamHandler):
    def __init__(self, stream: Stream, recorder: Recorder) -> None:
        super().__init__(stream)
        self.recorder = recorder
        # The shorter way where nothing is counted: half the rate of a bare receive is the aim.
        self.record = recorder.record if recorder.count else recorder.file.append
        self.now = recorder.reactor.loop.time

    def on_message(self, frames: list[bytes]) -> None:
        self.record(self.now(), _MESSAGE, frames)

    def on_error(self, error: Exception) -> Hook:
        """A hook raised: that of a file that is full ends the recording."""
        if isinstance(error, OSError):
            self.recorder.give_up(error)
            return None
        return super().on_error(error)


class TapRecorder(Recorder):
    """Records what a tap's endpoint tells, subscriptions included, with the proxy's own times."""

    def __init__(
        self,
        file: RecordFile,
        endpoint: str,
        filter: Filter | None = None,
        *,
        wall_clock: Callable[[], float],
        count: int = 0,
        high_water_mark: int = HIGH_WATER_MARK,
    ) -> None:
        super().__init__(
            file, endpoint, wall_clock=wall_clock, count=count, high_water_mark=high_water_mark
        )
        self.reader = TapReader(endpoint, self._take, filter, high_water_mark=high_water_mark)

    def build(self) -> Iterable[Handler]:
        """Create the file, then connect; raises OSError."""
        wall = self.wall_clock()
        self.file.open(wall, wall)
        return [self.reader]

    def _take(self, tapped: TappedRecord) -> None:
        try:
            self.record(tapped.wall, tapped.kind, tapped.frames)
        except OSError as error:
            self.give_up(error)
