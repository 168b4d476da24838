"""`reactor del`: delete one key."""

from __future__ import annotations

import click

from patterns.clone.client import CloneClient, ConditionsUnsupported
from patterns.commands.clone_session import (
    ack_option,
    key_name,
    run_session,
    sequence_option,
    session_options,
)
from patterns.commands.exit_codes import EXIT_CODES


@click.command("del", epilog=EXIT_CODES)
@click.argument("key")
@sequence_option
@ack_option
@session_options
def delete(
    key: str, if_sequence: int | None, ack: str, servers: tuple[str, ...], timeout: float
) -> None:
    """Delete KEY; it is gone for everybody when this ends, also if it was not there."""
    name = key_name(key)

    async def write(client: CloneClient) -> None:
        try:
            done = client.delete(name, if_sequence=if_sequence, ack=ack)
        except ConditionsUnsupported as error:
            raise click.ClickException(str(error)) from None
        await done

    run_session(write, servers, timeout, name)
