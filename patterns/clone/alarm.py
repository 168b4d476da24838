"""One timer that is always set to the earliest instant that was asked for."""

from __future__ import annotations

from collections.abc import Callable

from reactor import OneShotTimer, Reactor


class Alarm:
    """Calls `callback()` at the earliest of the instants given to `at`, then forgets the others.

    What the callback raises goes to `on_error`.
    """

    def __init__(
        self,
        reactor: Reactor,
        callback: Callable[[], None],
        on_error: Callable[[Exception], None],
    ) -> None:
        self._reactor = reactor
        self._callback = callback
        self._on_error = on_error
        self._timer: OneShotTimer | None = None

    def at(self, when: float) -> None:
        """Ring at `when` at the latest, in seconds of the reactor's `now()`."""
        if self._timer is not None and self._timer.active:
            if self._timer.when <= when:
                return
            self._timer.cancel()
        self._timer = self._reactor.call_at(when, self._callback)
        self._timer.on_error = self._on_error

    def cancel(self) -> None:
        """Do not ring."""
        if self._timer is not None:
            self._timer.cancel()
