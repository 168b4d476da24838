"""The framework's logger: what cannot be logged is lost, and nothing else is lost with it.

It writes as structlog was configured. Where nobody has done so, it writes to standard error: the
standard output is the program's.

A disk runs full, and who reads a pipe may die before who writes to it. structlog raises then, in
the middle of whatever was told of; `logging` does not, and neither does this.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import structlog


class Logger:
    """A structlog logger of which no method raises."""

    def __init__(self, logger: Any) -> None:
        self._logger = logger

    def bind(self, **fields: Any) -> Logger:
        """The same logger, which says these fields too."""
        return Logger(self._logger.bind(**fields))

    def __getattr__(self, level: str) -> Callable[..., Any]:
        write = getattr(self._logger, level)

        def log(*args: Any, **fields: Any) -> Any:
            try:
                return write(*args, **fields)
            except Exception:
                return None  # there is nowhere left to tell of it

        return log


def get_logger(**fields: Any) -> Logger:
    """The logger of the name `reactor`, with these fields."""
    if structlog.is_configured():
        logger = structlog.get_logger("reactor")
    else:
        logger = structlog.wrap_logger(structlog.PrintLogger(sys.stderr))
    return Logger(logger.bind(**fields))
