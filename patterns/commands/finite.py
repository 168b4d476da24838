"""Numbers on the command line: none is nan or infinite, which no range excludes."""

from __future__ import annotations

import math
from typing import Any

import click


class Finite(click.FloatRange):
    """An option's type: a number in a range, and finite."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the number; raises click.BadParameter, for nan and inf too."""
        try:
            finite = math.isfinite(float(value))
        except ValueError:
            finite = False
        if not finite:
            self.fail(f"{value} is not a number{self._of()}.", param, ctx)
        return float(super().convert(value, param, ctx))

    def _of(self) -> str:
        return ""


class Seconds(Finite):
    """An option's type: a finite number of seconds above 0."""

    name = "seconds"

    def __init__(self) -> None:
        super().__init__(min=0, min_open=True)

    def _of(self) -> str:
        return " of seconds"
