"""How commands that wait for an answer end, and the error of those that get none."""

from __future__ import annotations

from collections.abc import Sequence

import click

EXIT_CODES = "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 no answer in time."
SERVER_EXIT_CODES = "Exit codes: 0 ended by Ctrl-C or SIGTERM, 1 failed, 2 wrong usage."
DATA_EXIT_CODES = "Exit codes: 0 done, 1 failed, 2 wrong usage."


class NoAnswer(click.ClickException):
    """Nobody has answered in time; exit code 3."""

    exit_code = 3


def no_answer(endpoints: Sequence[str], timeout: float) -> NoAnswer:
    """Return the end of a command that none of these has answered within `timeout` seconds."""
    return NoAnswer(f"no answer from {', '.join(endpoints)} within {timeout:g} s")
