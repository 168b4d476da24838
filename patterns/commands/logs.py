"""Where the commands' logs go: standard error, for people or as JSON lines."""

from __future__ import annotations

import logging
import os
import sys
from dataclasses import dataclass
from typing import Any

import click

FORMATS = ("auto", "console", "json")


@dataclass(frozen=True, slots=True)
class LogOptions:
    """What the command line says about logs; without a level each command logs from its own on."""

    level: str | None = None
    form: str = "auto"


def log_to_stderr(level: str) -> None:
    """Log from `level` on ("debug", "info", "warning", "error"), unless the command line says else.

    Only a program may decide this: each command calls it, a library module never does. It is for
    all logs of the process, those of asyncio and Tornado as well.
    """
    context = click.get_current_context(silent=True)
    options = (context and context.find_object(LogOptions)) or LogOptions()
    _configure(logging.getLevelNamesMapping()[(options.level or level).upper()], options.form)


def _configure(level: int, form: str) -> None:
    import structlog  # takes 50 ms, which --help has no use for

    common: list[Any] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    render = _console() if _for_people(form) else _json()
    structlog.configure(
        processors=[*common, *render],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *_: structlog.WriteLogger(sys.stderr),
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*common, structlog.stdlib.add_logger_name],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *render],
        )
    )
    logging.basicConfig(level=level, handlers=[handler], force=True)


def _for_people(form: str) -> bool:
    return form == "console" or (form == "auto" and sys.stderr.isatty())


def _console() -> list[Any]:
    import structlog

    colors = sys.stderr.isatty() and not os.environ.get("NO_COLOR")
    # Plain: the other formatters show the values of local variables, and so what peers send.
    plain = structlog.dev.plain_traceback
    return [structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=plain)]


def _json() -> list[Any]:
    import structlog

    return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
