"""Taps: where records go. Each has a filter, a bound and counters; none can hold up the traffic."""

from __future__ import annotations

from asyncio import CancelledError
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from inspect import isawaitable
from pathlib import Path
from typing import TYPE_CHECKING

from patterns.espresso.protocol import Filter, Gate, Record
from patterns.espresso.record_file import FLUSH_SECONDS, MAX_FILE_BYTES, RecordFile
from reactor import PeriodicTimer
from reactor.errors import as_exception

if TYPE_CHECKING:
    from patterns.espresso.handlers import Espresso

QUEUE_LIMIT = 10_000
_TURN_SECONDS = 0.005


@dataclass(frozen=True, slots=True)
class TapStatistics:
    """Counters of one tap; matched = sampled_out + rate_limited + delivered + dropped + waiting."""

    name: str
    matched: int  # by prefix and direction
    sampled_out: int  # by one_in
    rate_limited: int
    delivered: int
    dropped: int
    waiting: int


class Tap:
    """One place that records go to. Subclasses say how in `deliver`; this one counts only.

    A tap works from `Espresso.add_tap` to `Espresso.remove_tap` (or the end), and once.
    """

    def __init__(self, filter: Filter | None = None, *, name: str = "") -> None:
        self.filter = filter or Filter()
        self.name = name or type(self).__name__
        self.taken = 0
        """How many records passed the filter: the sequence number of the last one."""
        self.delivered = 0
        self.dropped = 0
        self._gate = Gate(self.filter)

    @property
    def wants_records(self) -> bool:
        """False while nobody would see a record; without such taps nothing is captured."""
        return True

    @property
    def waiting(self) -> int:
        """Records that were taken and not yet delivered."""
        return 0

    def offer(self, record: Record) -> None:
        """Deliver a record if the filter takes it."""
        if self._gate.admits(record):
            self.taken += 1
            if self.deliver(record):
                self.delivered += 1

    def deliver(self, record: Record) -> bool:
        """Take a record at once: True when it is delivered, False when it waits or is dropped.

        Who returns False counts in `dropped`, or later in `delivered`. Must not block. When it
        raises, the record counts as dropped, and the other taps get it all the same.
        """
        return True

    def open(self, espresso: Espresso) -> None:
        """Begin, on the running reactor of `espresso`; raises what makes it impossible."""

    def close(self) -> None:
        """End; what waits is dropped and counted. Idempotent."""

    def statistics(self) -> TapStatistics:
        """Return a frozen snapshot of the counters."""
        gate = self._gate
        return TapStatistics(
            self.name,
            gate.matched,
            gate.sampled_out,
            gate.rate_limited,
            self.delivered,
            self.dropped,
            self.waiting,
        )


class HandlerTap(Tap):
    """Calls `callback(record)` on the loop, one at a time, out of a queue of `queue_limit` records.

    A coroutine callback is awaited before the next. When the queue is full the newest record is
    dropped and counted. A callback that raises is logged, and the next record comes all the same.
    Raises ValueError for a queue without room.
    """

    def __init__(
        self,
        callback: Callable[[Record], Awaitable[None] | None],
        filter: Filter | None = None,
        *,
        queue_limit: int = QUEUE_LIMIT,
        name: str = "",
    ) -> None:
        super().__init__(filter, name=name)
        if queue_limit < 1:
            raise ValueError("a queue holds at least one record")
        self.queue_limit = queue_limit
        self._callback = callback
        self._queue: deque[Record] = deque()
        self._espresso: Espresso | None = None
        self._draining = False

    @property
    def waiting(self) -> int:
        """Records in the queue."""
        return len(self._queue)

    def open(self, espresso: Espresso) -> None:
        """Call back on this espresso's loop."""
        self._espresso = espresso

    def deliver(self, record: Record) -> bool:
        """Queue the record, or drop it where the queue is full."""
        if len(self._queue) >= self.queue_limit or self._espresso is None:
            self.dropped += 1
            return False
        self._queue.append(record)
        if not self._draining:
            self._draining = True
            self._espresso.reactor.loop.call_soon(self._drain)
        return False

    def close(self) -> None:
        """Deliver nothing more."""
        self._espresso = None
        self.dropped += len(self._queue)
        self._queue.clear()

    def _drain(self) -> None:
        """Call back for what waits, a few milliseconds a turn."""
        if self._espresso is None:
            return
        loop = self._espresso.reactor.loop
        deadline = loop.time() + _TURN_SECONDS
        while self._queue and loop.time() < deadline:
            waiting = self._call(self._queue.popleft())
            if waiting is not None and isawaitable(waiting):
                self._espresso.reactor.spawn(self._wait(waiting))
                return
        if self._queue:
            loop.call_soon(self._drain)
        else:
            self._draining = False

    def _call(self, record: Record) -> Awaitable[None] | None:
        self.delivered += 1
        try:
            return self._callback(record)
        except (Exception, CancelledError) as error:
            self._failed(as_exception(error))
            return None

    async def _wait(self, waiting: Awaitable[None]) -> None:
        try:
            await waiting
        except (Exception, CancelledError) as error:
            self._failed(as_exception(error))  # nothing, and no more, once the tap is closed
        self._drain()

    def _failed(self, error: Exception) -> None:
        if self._espresso is not None:
            self._espresso.tap_failed(self, error)


class FileTap(Tap):
    """Writes records to a file, which `Reader` and `reactor replay` read.

    At most `max_bytes` are written; what would go beyond, and whatever comes after a failed write,
    is dropped and counted. What is written reaches the system's cache within a second. Opening
    raises OSError, FileExistsError unless `overwrite`.
    """

    def __init__(
        self,
        path: str | Path,
        filter: Filter | None = None,
        *,
        max_bytes: int = MAX_FILE_BYTES,
        overwrite: bool = False,
        name: str = "",
    ) -> None:
        super().__init__(filter, name=name)
        self.file = RecordFile(path, max_bytes=max_bytes, overwrite=overwrite)
        self._timer: PeriodicTimer | None = None
        self._failed: Callable[[Exception], None] = lambda error: None

    def open(self, espresso: Espresso) -> None:
        """Create the file and write its header."""
        began = espresso.reactor.now()
        self.file.open(began, espresso.wall_epoch + began)
        self._failed = lambda error: espresso.tap_failed(self, error)
        self._timer = espresso.reactor.periodic(FLUSH_SECONDS, self._flush)

    def deliver(self, record: Record) -> bool:
        """Append the record."""
        try:
            if self.file.write(record):
                return True
        except OSError as error:
            self._failed(error)
        self.dropped += 1
        return False

    def close(self) -> None:
        """Write what is buffered and close the file."""
        if self._timer is not None:
            self._timer.cancel()
        self._attempt(self.file.close)

    def _flush(self) -> None:
        self._attempt(self.file.flush)

    def _attempt(self, operation: Callable[[], None]) -> None:
        try:
            operation()
        except OSError as error:
            self._failed(error)
