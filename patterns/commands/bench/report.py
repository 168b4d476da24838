"""What a benchmark has found: a table for people, or one JSON object."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from statistics import median

import zmq


@dataclass(frozen=True)
class Settings:
    """What is measured, and for how long."""

    boxes: tuple[str, ...] = ("keyed",)
    workers: int = 2
    work_us: float = 20.0
    size: int = 32
    rounds: int = 3
    seconds: float = 2.0


class Report:
    """Messages a second, round by round."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.plain: list[float] = []
        self.boxes: dict[str, list[float]] = {kind: [] for kind in settings.boxes}

    def ratios(self, kind: str) -> list[float]:
        """Return what a kind of box did, as a multiple of the plain subscriber of its round."""
        return [box / plain for box, plain in zip(self.boxes[kind], self.plain, strict=True)]

    def as_json(self) -> str:
        """Return everything as one JSON object."""
        boxes = {
            kind: {
                "rounds": [round(rate) for rate in rates],
                "median": round(median(rates)),
                "times_plain": round(median(self.ratios(kind)), 3),
            }
            for kind, rates in self.boxes.items()
        }
        plain = {
            "rounds": [round(rate) for rate in self.plain],
            "median": round(median(self.plain)),
        }
        found = {"unit": "messages/s", "plain": plain, "boxes": boxes}
        return json.dumps({**asdict(self.settings), **_machine(), **found})

    def table(self) -> str:
        """Return the medians of all rounds, and their ranges, as lines."""
        settings, machine = self.settings, _machine()
        head = (
            f"{settings.work_us:g} us of work a message, bodies of {settings.size} bytes, "
            f"rounds: {settings.rounds} of {settings.seconds:g} s\n"
            f"{machine['cores']} cores, load {machine['load']}, Python {machine['python']}, "
            f"pyzmq {machine['pyzmq']}, libzmq {machine['libzmq']}\n"
        )
        return "\n".join([head, *map(_line, self._rows())])

    def _rows(self) -> Iterator[tuple[str, str, str]]:
        yield "", "messages/s", "x one plain subscriber"
        yield "one plain subscriber", _spread(self.plain, "{:,.0f}"), ""
        for kind, rates in self.boxes.items():
            name = f"{kind} box, {self.settings.workers} workers"
            yield name, _spread(rates, "{:,.0f}"), _spread(self.ratios(kind), "{:.2f}")


def _figures(rates: Sequence[float]) -> dict[str, object]:
    return {"rounds": [round(rate) for rate in rates], "median": round(median(rates))}


def _line(row: tuple[str, str, str]) -> str:
    return f"{row[0]:<24}{row[1]:>28}{row[2]:>26}".rstrip()


def _spread(values: Sequence[float], form: str) -> str:
    low, middle, high = (form.format(f(values)) for f in (min, median, max))
    return f"{middle} [{low}-{high}]"


def _machine() -> dict[str, object]:
    return {
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        "pyzmq": zmq.pyzmq_version(),
        "libzmq": zmq.zmq_version(),
    }
