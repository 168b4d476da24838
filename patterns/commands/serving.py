"""What all servers do as a command: say that they are ready, end with a signal, fail in a line."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict
from enum import Enum
from typing import Any

import click
import structlog

from patterns.commands.logs import log_to_stderr
from patterns.commands.output import start_failed
from reactor import Handler, HandlerSet, ReactorError, run


def serve(server: HandlerSet, endpoints: Callable[[], Iterable[str]], *others: Handler) -> None:
    """Run `server` until SIGINT or SIGTERM ends it; raises click.ClickException if it cannot start.

    `others` run beside it. Once all have started, one line goes to standard output: "ready", and
    what `endpoints()` returns, the endpoints as they were really bound.
    """
    log_to_stderr("info")
    log = structlog.get_logger("reactor")

    def announce(_: object) -> None:
        bound = list(endpoints())
        log.info("serving", handler=server.name, endpoints=bound)
        click.echo(" ".join(["ready", *bound]))

    try:
        run(server, *others, on_ready=announce)
    except ReactorError as error:
        raise start_failed(error) from error
    log.info("stopped", **asdict(server.statistics(), dict_factory=_as_words))


def _as_words(fields: list[tuple[str, Any]]) -> dict[str, Any]:
    """The values of an Enum by their names in the documentation."""
    return {name: each.value if isinstance(each, Enum) else each for name, each in fields}
