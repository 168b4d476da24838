"""A thread that calls back: the watches of the blocking face."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue

from patterns.clone.client_errors import WatcherTooSlow
from patterns.clone.watching import Event
from reactor.logs import get_logger

_JOIN_SECONDS = 1.0


class CallbackThread:
    """A watch of the blocking face: calls back on a thread of its own, until `cancel`."""

    def __init__(
        self,
        callback: Callable[[Event], object],
        limit: int,
        on_end: Callable[[CallbackThread], None],
    ) -> None:
        self.error: Exception | None = None
        self._callback = callback
        self._limit = limit
        self._on_end = on_end
        self._events: SimpleQueue[Event | None] = SimpleQueue()
        self._ended = False
        self._thread = threading.Thread(target=self._run, name="clone-watch", daemon=True)
        self._thread.start()

    @property
    def active(self) -> bool:
        """True as long as new events are taken."""
        return not self._ended and self.error is None

    def cancel(self) -> None:
        """Be told nothing more; idempotent, and legal from inside the callback."""
        self.end()
        self._on_end(self)

    def add(self, event: Event) -> None:
        """Keep an event until the callback's turn."""
        if not self.active:
            self._on_end(self)
            return
        if self._events.qsize() < self._limit:
            self._events.put(event)
            return
        self.error = WatcherTooSlow(f"more than {self._limit} events waited")
        get_logger().error("watch ended", reason=str(self.error))
        self._events.put(None)  # behind those that found room
        self._on_end(self)

    def end(self) -> None:
        """Stop calling back; a callback that runs at the moment is waited for, but not long."""
        self._ended = True
        self._events.put(None)
        if threading.current_thread() is not self._thread:
            self._thread.join(_JOIN_SECONDS)

    def _run(self) -> None:
        try:
            while (event := self._events.get()) is not None and not self._ended:
                try:
                    self._callback(event)
                except Exception as error:
                    get_logger().error("watch callback failed", exc_info=error)
        finally:
            self._ended = True  # also at a SystemExit: nobody takes events any more
