"""`reactor get`: print the value of one key."""

from __future__ import annotations

import click

from patterns.clone.client import CloneClient, Entry
from patterns.commands.clone_session import key_name, run_session, session_options
from patterns.commands.exit_codes import EXIT_CODES


@click.command(epilog=EXIT_CODES)
@click.argument("key")
@click.option("--sequence", is_flag=True, help="Print its number, for --if-sequence, instead.")
@session_options
def get(key: str, sequence: bool, servers: tuple[str, ...], timeout: float) -> None:
    """Print the value of KEY, byte for byte, and a newline.

    
    To change a value that others change as well, read its number first, then its value:
        n=$(reactor get counter --sequence)
        reactor put counter $(($(reactor get counter) + 1)) --if-sequence $n
    """
    name = key_name(key)

    async def read(client: CloneClient) -> Entry:
        return client.entry(name)

    entry = run_session(read, servers, timeout, name)
    if entry.value is None:
        raise click.ClickException(f"no such key: {key}")
    click.echo(entry.sequence if sequence else entry.value)
