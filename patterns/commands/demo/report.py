"""What the demo has found: a short table, or one JSON object."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from patterns.commands.demo.truth import Difference

_SHOWN_DIFFERENCES = 10


@dataclass(frozen=True, slots=True)
class Comparison:
    """One client's state beside the truth: how many values it was to hold, and what differs."""

    client: str
    values: int
    different: tuple[Difference, ...]


@dataclass(frozen=True, slots=True)
class LateJoiner:
    """How long a late subscriber waited for its first value, in seconds.

    `pair`: for all keys of the Clone pair. `without` is None when nothing came in `patience`.
    """

    pair: float
    keys: int
    cache: float | None
    without: float | None
    patience: float


@dataclass(frozen=True, slots=True)
class Report:
    """The demo's result: of `available` updates those of `days`, first and last, were replayed.

    `failovers` is by client; None for one that saw no new update.
    """

    updates: int
    available: int
    days: tuple[str, str]
    seconds: float
    lost: int
    killed: str
    killed_at: int
    failovers: Mapping[str, float | None]
    late: LateJoiner
    comparisons: tuple[Comparison, ...] = field(default=())

    @property
    def rate(self) -> float:
        """Acknowledged updates a second, the failover included."""
        return (self.updates - self.lost) / self.seconds

    @property
    def values(self) -> int:
        """How many values were compared."""
        return sum(each.values for each in self.comparisons)

    @property
    def different(self) -> int:
        """How many of them were not the true ones."""
        return sum(len(each.different) for each in self.comparisons)

    @property
    def passed(self) -> bool:
        """Nothing lost, nothing different, and every client went on after the kill."""
        return not self.lost and not self.different and None not in self.failovers.values()

    def table(self) -> str:
        """A line for each finding, then the first of the differences."""
        return "\n".join([*(f"{name:<16}{text}" for name, text in self._rows()), *self._planted()])

    def _rows(self) -> list[tuple[str, str]]:
        late = self.late
        return [
            ("updates", f"{self.updates:,} of {self.available:,} rates, {' to '.join(self.days)}"),
            ("rate", f"{self.rate:,.0f} a second, acknowledged, the failover included"),
            ("failover", self._failover()),
            ("late joiner", f"with the LVC {_wait(late.cache, late.patience)}"),
            ("", f"without {_wait(late.without, late.patience)}"),
            ("", f"pair {_seconds(late.pair)} for {late.keys:,} keys, the dead server tried first"),
            ("updates lost", f"{self.lost:,}"),
            (
                "keys different",
                f"{self.different:,} of {self.values:,} at {len(self.comparisons)} clients",
            ),
        ]

    def _failover(self) -> str:
        seen = [gap for gap in self.failovers.values() if gap is not None]
        unseen = len(self.failovers) - len(seen)
        text = f"{unseen} clients saw no update after it" if unseen else ""
        if seen:
            spread = f"{_seconds(median(seen))} median, {_seconds(max(seen))} longest"
            text = f"{spread}, seen by {len(seen)} clients" + (f"; {text}" if text else "")
        return f"{text} (kill -9 of the {self.killed} at update {self.killed_at:,})"

    def _planted(self) -> list[str]:
        return [
            f"  {each.client}: {difference.key} is {difference.found}, not {difference.expected}"
            for each in self.comparisons
            for difference in each.different
        ][:_SHOWN_DIFFERENCES]

    def as_json(self) -> str:
        """Everything as one JSON object, in seconds and numbers."""
        return json.dumps(self._as_dict())

    def _as_dict(self) -> dict[str, Any]:
        late = self.late
        return {
            "passed": self.passed,
            "updates": self.updates,
            "updates_available": self.available,
            "days": self.days,
            "replay_seconds": round(self.seconds, 3),
            "updates_per_second": round(self.rate),
            "killed": self.killed,
            "killed_at_update": self.killed_at,
            "failover_seconds": {
                name: None if gap is None else round(gap, 3) for name, gap in self.failovers.items()
            },
            "late_joiner_seconds": {
                "with_lvc": None if late.cache is None else round(late.cache, 4),
                "without_lvc": None if late.without is None else round(late.without, 4),
                "without_lvc_waited": late.patience,
                "pair": round(late.pair, 4),
                "pair_keys": late.keys,
            },
            "updates_lost": self.lost,
            "keys_compared": {each.client: each.values for each in self.comparisons},
            "keys_different": self.different,
            "differences": [
                [each.client, difference.key, difference.expected, difference.found]
                for each in self.comparisons
                for difference in each.different[:_SHOWN_DIFFERENCES]
            ],
        }


def _seconds(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.2f} s"


def _wait(seconds: float | None, patience: float) -> str:
    if seconds is None:
        return f"> {patience:.1f} s: nothing until the next update"
    return _seconds(seconds)
