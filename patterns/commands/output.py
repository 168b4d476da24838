"""What goes to standard output: text of others in printable form; and the end when it fails."""

from __future__ import annotations

import errno

import click

# What an operator can do about an endpoint that libzmq does not take.
_HINTS = {
    errno.EADDRINUSE: "end what listens there, or choose another port",
    errno.ENODEV: "bind an address or an interface of this machine, or * for all of them",
    errno.EADDRNOTAVAIL: "bind an address or an interface of this machine, or * for all of them",
    errno.EACCES: "choose a port above 1023, or a path that you may write",
}


def output_failed(error: OSError) -> Exception:
    """Return what a command raises then; click ends quietly, with status 1, for a broken pipe."""
    if isinstance(error, BrokenPipeError):
        return error
    return click.ClickException(f"cannot write to standard output: {error.strerror}")


def start_failed(error: Exception) -> click.ClickException:
    """Return what a command raises that cannot start: the reason, and what helps if it is known."""
    hint = _HINTS.get(getattr(error.__cause__, "errno", 0))
    return click.ClickException(f"{error}: {hint}" if hint else str(error))


def file_failed(error: OSError) -> click.ClickException:
    """Return what a command raises for a file that it cannot open, read or write."""
    return click.ClickException(f"{error.filename}: {error.strerror}")


def printable(text: bytes) -> str:
    """Text for one line of a terminal: what is not printable is escaped, as in `\\n` or `\\x1b`."""
    decoded = text.decode("utf-8", "backslashreplace")
    if decoded.isprintable():
        return decoded
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in decoded)
