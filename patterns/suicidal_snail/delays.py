"""Ages without a common clock: how much longer a message took than the quickest one lately.

The clock of the publisher and ours differ by some unknown amount. So what we can measure is delay
plus that amount; its least value in a window stands for "as quick as it gets", and the age of a
message is what it took beyond. What this can tell, and what it cannot:

- It tells every delay that has grown since we joined, by any offset of the clocks.
- It does not tell a delay that was there from the start and never went away.
- It does not tell a delay that grows by less than the limit in a window. With the defaults, 1 s in
  10 minutes, that is a subscriber that is 0.17 % too slow; its queue overflows some time, and then
  it is lossy. The drift of two clocks is far below that: 100 ppm are 60 ms in 10 minutes.
"""

from __future__ import annotations

from collections import deque

_PARTS = 10


class LeastDelay:
    """The least delay of the last `window` seconds, to a tenth of the window, in constant memory.

    Only tenths in which something came count, so the delays before a silence are not forgotten.
    """

    def __init__(self, window: float) -> None:
        self._part = window / _PARTS
        self._ends_at = 0.0
        self._current = float("inf")
        self._past: deque[float] = deque(maxlen=_PARTS)
        self._least_past = float("inf")

    def update(self, delay: float, now: float) -> float:
        """Take note of a delay, and return the least one of the window, this one included."""
        if now >= self._ends_at:
            self._turn(now)
        if delay < self._current:
            self._current = delay
        return min(self._current, self._least_past)

    def _turn(self, now: float) -> None:
        """Begin another part."""
        if self._current != float("inf"):
            self._past.append(self._current)
        self._least_past = min(self._past, default=float("inf"))
        self._current = float("inf")
        self._ends_at = now + self._part
