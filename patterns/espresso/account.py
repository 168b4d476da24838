"""What has passed and what was seen of it, by the proxy's own figures: no socket, no clock."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple


class Totals(NamedTuple):
    """Frames and bytes that passed since the start, as libzmq counts them."""

    frames_down: int = 0
    bytes_down: int = 0
    frames_up: int = 0
    bytes_up: int = 0

    def plus(self, other: Totals) -> Totals:
        """Return the sums."""
        return Totals(*(a + b for a, b in zip(self, other, strict=True)))


class Account:
    """What has passed and what was captured of it; the proxy's figures begin anew with each run.

    `lost` is exact whenever the traffic rests: when two answers of the proxy in a row are equal,
    nothing was captured in between and nothing waits. In between it is what it was at the last
    rest. What passes while a run is being ended, some microseconds, is in no figure of the proxy.
    """

    def __init__(self) -> None:
        self.captured = 0
        self.lost = 0
        self._settled = Totals()
        self._current = Totals()
        self._lost_before = 0  # in earlier captures
        self._captured_before = 0
        self._to_capture = 0  # frames that passed in earlier runs of this capture
        self._capture = 0
        self._expected: deque[tuple[int, bool]] = deque()
        self._seen: tuple[int, int] | None = None

    @property
    def totals(self) -> Totals:
        """Everything that has passed, up to the last answer."""
        return self._settled.plus(self._current)

    def begin_capture(self) -> None:
        """Begin to capture: what was not taken of an earlier capture is wanted by nobody."""
        self._capture += 1
        self._lost_before, self._captured_before = self.lost, self.captured
        self._to_capture = 0

    def receive_mark(self) -> None:
        """Count from here on: what was captured before this was of an earlier run."""
        self._captured_before = self.captured
        self._seen = None

    def expect(self, capturing: bool, last: bool) -> None:
        """Note that the proxy was asked, and whether this is the last answer of its run."""
        self._expected.append((self._capture if capturing else 0, last))

    def receive(self, current: Totals, waiting: bool) -> None:
        """Enter an answer; `waiting` says whether captured messages wait to be taken."""
        capture, last = self._expected.popleft()
        if capture == self._capture != 0:
            self._receive_captured(current.frames_down + current.frames_up, waiting, last)
        self._current = current
        if last:
            self._settled, self._current = self._settled.plus(current), Totals()

    def _receive_captured(self, frames: int, waiting: bool, last: bool) -> None:
        passed, captured = self._to_capture + frames, self.captured - self._captured_before
        if (passed, captured) == self._seen and not waiting:
            self.lost = self._lost_before + max(0, passed - captured)
        self._seen = (passed, captured)
        if last:
            self._to_capture = passed

    def add_by_hand(self, moved: Totals, capturing: bool) -> None:
        """Enter what was moved without the proxy."""
        self._settled = self._settled.plus(moved)
        if capturing:
            self._to_capture += moved.frames_down
