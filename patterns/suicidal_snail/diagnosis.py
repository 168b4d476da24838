"""What a subscriber is judged by, what is found, what is done: limits, diagnoses, reactions."""

from __future__ import annotations

import enum
from dataclasses import dataclass

SNAIL_EXIT_CODE = 70  # EX_SOFTWARE of sysexits.h


class Reason(enum.Enum):
    """Why a subscriber is a snail."""

    LATE = "late"
    LOSSY = "lossy"
    STALLED = "stalled"


@dataclass(frozen=True, slots=True)
class Limits:
    """What a subscriber must keep to; durations in seconds. Raises ValueError for nonsense.

    `late_share=(n, m)` judges n late messages of the last m instead of `late_for` seconds on end.
    `lost` messages within `loss_window` seconds make a subscriber lossy. None: not judged.
    """

    age: float | None = 1.0
    late_for: float = 1.0
    late_share: tuple[int, int] | None = None
    lost: int | None = 1
    loss_window: float = 10.0
    silence: float | None = 5.0
    grace: float = 2.0
    delay_window: float = 600.0

    def __post_init__(self) -> None:
        n, m = self.late_share or (1, 1)
        durations = (self.age, self.silence, self.loss_window, self.delay_window)
        if not (
            all(duration is None or duration > 0 for duration in durations)
            and self.late_for >= 0
            and self.grace >= 0
            and 0 < n <= m
            and (self.lost is None or self.lost > 0)
        ):
            raise ValueError(f"limits that nothing could keep, or everything: {self}")


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """One condition of a subscriber with regard to one publisher; times in seconds.

    `publisher` is empty when none was ever heard. `age` is of the latest message, `silence` since
    the publisher was heard, `received` and `lost` are totals since it was first heard.
    """

    reason: Reason
    publisher: str
    recovered: bool = False
    age: float = 0.0
    silence: float = 0.0
    received: int = 0
    lost: int = 0

    def __str__(self) -> str:
        state = f"no longer {self.reason.value}" if self.recovered else self.reason.value
        return (
            f"{state}: publisher {self.publisher or '(none heard)'}, age {self.age:.3f} s,"
            f" {self.lost} of {self.received + self.lost} messages lost,"
            f" silent for {self.silence:.3f} s"
        )


class Reaction(enum.Enum):
    """What a subscriber does when it is a snail; in this order if it does several things."""

    LOG = "log"
    """A warning, with figures."""

    SQUAWK = "squawk"
    """Tell the operator's endpoint, with figures; also that it has recovered."""

    RESUBSCRIBE = "resubscribe"
    """Throw away what waits, connect anew, go on with what is published from then on."""

    RAISE = "raise"
    """Raise SnailError: it goes to `on_error`, and a strict reactor stops with it."""

    STOP = "stop"
    """Stop the reactor, squawks first; `exit_code` is 70 then. Nobody calls `exit` but you."""


class SnailError(Exception):
    """A subscriber is a snail, and its user wants that raised; `diagnosis` says why."""

    def __init__(self, diagnosis: Diagnosis) -> None:
        super().__init__(str(diagnosis))
        self.diagnosis = diagnosis
