"""LazyGroup: a click group that imports a command when it is called, not when it is listed."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import Any, NamedTuple

import click


class Lazy(NamedTuple):
    """Where a command is, as "module:attribute", and what `--help` of its group says about it."""

    target: str
    summary: str


class LazyGroup(click.Group):
    """A group whose commands are a table of names; `--help` shows it and imports none of them."""

    def __init__(self, *args: Any, table: Mapping[str, Lazy], **options: Any) -> None:
        super().__init__(*args, **options)
        self.table = table

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of the table."""
        return list(self.table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command; None when the table has no such name."""
        if cmd_name not in self.table:
            return None
        module, _, attribute = self.table[cmd_name].target.partition(":")
        with _without_rich(), _without_collector():
            command: click.Command = getattr(import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table into the group's help."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.summary) for name, entry in self.table.items()])


@contextmanager
def _without_rich() -> Iterator[None]:
    """Let what is imported meanwhile find no rich; a command imports it when it shows something.

    structlog would import all of it, for tracebacks in colour that the logs of the commands do not
    have: a quarter of what the start of a command costs.
    """
    if "rich" in sys.modules:
        yield
        return
    sys.modules["rich"] = None  # type: ignore[assignment]  # how Python spells "there is none"
    try:
        yield
    finally:
        del sys.modules["rich"]


@contextmanager
def _without_collector() -> Iterator[None]:
    """Let nobody look for garbage meanwhile: imports make none, and the looks are a twelfth."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
