"""`reactor del`: delete one key."""

from __future__ import annotations

import click

from patterns.clone.client import CloneClient
from patterns.commands.clone_session import EXIT_CODES, key_name, run_session, session_options


@click.command("del", epilog=EXIT_CODES)
@click.argument("key")
@session_options
def delete(key: str, servers: tuple[str, ...], timeout: float) -> None:
    """Delete KEY; it is gone for everybody when this ends, also if it was not there."""
    name = key_name(key)

    async def write(client: CloneClient) -> None:
        await client.delete(name)

    run_session(write, servers, timeout, name)
