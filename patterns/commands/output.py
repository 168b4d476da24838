"""Standard output that cannot be written to: the command ends, and says so unless nobody reads."""

from __future__ import annotations

import click


def output_failed(error: OSError) -> Exception:
    """Return what a command raises then; click ends quietly, with status 1, for a broken pipe."""
    if isinstance(error, BrokenPipeError):
        return error
    return click.ClickException(f"cannot write to standard output: {error.strerror}")
