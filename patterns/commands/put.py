"""`reactor put`: set one key."""

from __future__ import annotations

import os
import sys

import click

from patterns.clone.client import CloneClient
from patterns.commands.clone_session import (
    EXIT_CODES,
    key_name,
    run_session,
    session_options,
)
from patterns.commands.finite import Seconds


@click.command(epilog=EXIT_CODES, context_settings={"ignore_unknown_options": True})
@click.argument("key")
@click.argument("value")
@click.option("--ttl", type=Seconds(), metavar="SECONDS", help="Delete it after this time.")
@session_options
def put(key: str, value: str, ttl: float | None, servers: tuple[str, ...], timeout: float) -> None:
    """Set KEY to VALUE; it is there for everybody when this ends.

    With `-` as VALUE it is read from standard input, without the newline at its end.
    """
    name, body = key_name(key), _body(value)

    async def write(client: CloneClient) -> None:
        try:
            done = client.set(name, body, ttl)
        except ValueError as error:
            raise click.UsageError(str(error)) from None
        await done

    run_session(write, servers, timeout, name)


def _body(value: str) -> bytes:
    # `get` adds the newline that is taken off here: one piped into the other changes nothing.
    body = sys.stdin.buffer.read().removesuffix(b"\n") if value == "-" else os.fsencode(value)
    if not body:
        raise click.UsageError("an empty VALUE is no value: `reactor del` deletes a key")
    return body
