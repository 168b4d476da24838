"""`reactor ls`: print what a Clone service holds."""

from __future__ import annotations

import click

from patterns.clone.client import CloneClient
from patterns.commands.clone_session import run_session, session_options, subtree_names
from patterns.commands.exit_codes import EXIT_CODES
from patterns.commands.output import printable


@click.command(epilog=EXIT_CODES)
@click.argument("subtrees", nargs=-1, metavar="[SUBTREE]...")
@session_options
def ls(subtrees: tuple[str, ...], servers: tuple[str, ...], timeout: float) -> None:
    """Print KEY VALUE of every key that begins with a SUBTREE, a line each, sorted by key.

    What is not printable is escaped; `reactor get` prints a value as it is.
    """

    async def read(client: CloneClient) -> list[tuple[bytes, bytes]]:
        return client.items()

    items = run_session(read, servers, timeout, subtree_names(subtrees))
    lines = [f"{printable(key)} {printable(value)}\n" for key, value in items]
    click.echo("".join(lines), nl=False)
