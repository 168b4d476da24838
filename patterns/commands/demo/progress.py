"""How far the demo is, on standard error: a bar on a terminal, a few plain lines elsewhere."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Protocol


class Display(Protocol):
    """Where progress goes."""

    def stage(self, text: str) -> None:
        """Something else happens from now on."""

    def advance(self, done: float, updates: int) -> None:
        """This part of the replay is done, 0 to 1, and so many updates are written."""

    def __enter__(self) -> Display:
        """Begin to show."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Leave the terminal as it was."""


class Lines:
    """One line for each stage."""

    def stage(self, text: str) -> None:
        """Print the line."""
        print(f"demo: {text}", file=sys.stderr, flush=True)

    def advance(self, done: float, updates: int) -> None:
        """Print nothing: a log has no use for it."""

    def __enter__(self) -> Lines:
        return self

    def __exit__(self, *_: object) -> None:
        pass


class Bar:
    """A progress bar, and the stage beside it."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        self._progress = Progress(
            TextColumn("{task.description:<40}"),
            BarColumn(),
            TextColumn("{task.fields[updates]:,} updates"),
            TimeElapsedColumn(),
            console=Console(stderr=True),
            # Drawn when it is told to: the rates have better use for a thread's time.
            auto_refresh=False,
            transient=True,
        )
        self._task = self._progress.add_task("", total=1.0, updates=0)

    def stage(self, text: str) -> None:
        """Draw the bar with this beside it."""
        self._progress.update(self._task, description=text, refresh=True)

    def advance(self, done: float, updates: int) -> None:
        """Draw the bar so long, with the number behind it."""
        self._progress.update(self._task, completed=done, updates=updates, refresh=True)

    def __enter__(self) -> Bar:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()


def display() -> Display:
    """A bar when standard error is a terminal, else lines."""
    return Bar() if sys.stderr.isatty() else Lines()
