"""`reactor get`: print the value of one key."""

from __future__ import annotations

import click

from patterns.clone.client import CloneClient
from patterns.commands.clone_session import EXIT_CODES, key_name, run_session, session_options


@click.command(epilog=EXIT_CODES)
@click.argument("key")
@session_options
def get(key: str, servers: tuple[str, ...], timeout: float) -> None:
    """Print the value of KEY, byte for byte, and a newline."""
    name = key_name(key)

    async def read(client: CloneClient) -> bytes | None:
        return client.get(name)

    value = run_session(read, servers, timeout, name)
    if value is None:
        raise click.ClickException(f"no such key: {key}")
    click.echo(value)
