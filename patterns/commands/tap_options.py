"""What the commands around the Espresso have in common: which records, and how to read one."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

import click

from patterns.commands.endpoints import Endpoint
from patterns.commands.finite import Finite
from patterns.commands.logs import log_to_stderr
from patterns.commands.output import file_failed, start_failed
from patterns.espresso import Direction, Filter
from patterns.espresso.handlers import MONITOR
from reactor import HandlerSet, Reactor, ReactorError, run

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class FilterOptions:
    """Which records, as the command line says."""

    topic: str
    direction: str | None
    one_in: int
    rate: float | None

    def filter(self) -> Filter:
        """Return the filter they make."""
        return Filter(
            os.fsencode(self.topic),
            Direction(self.direction) if self.direction else None,
            self.one_in,
            self.rate,
        )


def monitor_option(help: str) -> Callable[[F], F]:
    """Return what gives a command --monitor."""
    return click.option("--monitor", default=MONITOR, type=Endpoint(), help=help)


def filter_options(command: F) -> F:
    """Give a command --topic, --direction, --one-in and --rate, as one argument `filter`."""

    def gather(
        *args: Any,
        topic: str,
        direction: str | None,
        one_in: int,
        rate: float | None,
        **others: Any,
    ) -> Any:
        return command(*args, filter=FilterOptions(topic, direction, one_in, rate), **others)

    gather.__name__, gather.__doc__ = command.__name__, command.__doc__
    if hasattr(command, "__click_params__"):
        gather.__click_params__ = command.__click_params__  # type: ignore[attr-defined]
    decorated: Any = gather
    for option in (
        click.option(
            "--rate",
            type=Finite(min=0, min_open=True),
            metavar="N",
            help="At most N records a second.",
        ),
        click.option(
            "--one-in", type=click.IntRange(min=1), default=1, metavar="N", help="One record of N."
        ),
        click.option(
            "--direction",
            type=click.Choice([direction.value for direction in Direction]),
            help="down: messages. up: subscriptions.",
        ),
        click.option(
            "--topic", default="", metavar="PREFIX", help="Topics that begin so; all by default."
        ),
    ):
        decorated = option(decorated)
    result: F = decorated
    return result


def run_reader(
    reader: HandlerSet,
    seconds: float | None = None,
    on_ready: Callable[[Reactor], None] = lambda reactor: None,
) -> None:
    """Run until Ctrl-C, or for `seconds`; raises click.ClickException if it cannot start."""
    log_to_stderr("warning")

    def ready(reactor: Reactor) -> None:
        if seconds is not None:
            reactor.call_later(seconds, reactor.stop)
        on_ready(reactor)

    try:
        run(reader, on_ready=ready)
    except OSError as error:
        raise file_failed(error) from error
    except ReactorError as error:
        raise start_failed(error) from error


def wall_clock() -> float:
    """Return the time of day (Unix, seconds), for what is written into files."""
    return datetime.now(UTC).timestamp()
