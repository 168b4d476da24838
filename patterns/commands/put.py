"""`reactor put`: set one key."""

from __future__ import annotations

import asyncio
import os
import signal
import sys

import click

from patterns.clone.client import CloneClient, ConditionsUnsupported, Kept
from patterns.clone.levels import APPLIED
from patterns.commands.clone_session import (
    ack_option,
    key_name,
    run_client,
    run_session,
    sequence_option,
    session_options,
)
from patterns.commands.exit_codes import EXIT_CODES
from patterns.commands.finite import Seconds
from patterns.commands.output import printable

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@click.command(epilog=EXIT_CODES, context_settings={"ignore_unknown_options": True})
@click.argument("key")
@click.argument("value")
@click.option("--ttl", type=Seconds(), metavar="SECONDS", help="Delete it after this time.")
@click.option("--if-absent", is_flag=True, help="Only if the key is not there; else fail.")
@sequence_option
@ack_option
@click.option("--keep", is_flag=True, help="Renew it until Ctrl-C, then delete it. Needs --ttl.")
@session_options
def put(
    key: str,
    value: str,
    ttl: float | None,
    if_absent: bool,
    if_sequence: int | None,
    ack: str,
    keep: bool,
    servers: tuple[str, ...],
    timeout: float,
) -> None:
    """Set KEY to VALUE; it is there for everybody when this ends.

    With `-` as VALUE it is read from standard input, without the newline at its end.

    With --ack replicated it survives the death of either server of a pair. This fails if the other
    server does not confirm it in time; the error says whether VALUE is there all the same.

    \b
    With --keep it is there as long as this runs; "kept KEY" is printed when it is. An election:
        reactor put /leader me --ttl 5 --keep --if-absent
    Whoever runs this too fails as long as you lead; it fails for you when you lead no more.
    """
    name, body = key_name(key), _body(value)
    if if_absent and if_sequence is not None:
        raise click.UsageError("--if-absent and --if-sequence exclude each other")
    if keep:
        if ttl is None or if_sequence is not None or ack != APPLIED:
            raise click.UsageError("--keep needs --ttl, and knows no --if-sequence and no --ack")
        return _keep(name, body, ttl, if_absent, servers, timeout)

    async def write(client: CloneClient) -> None:
        try:
            seen = 0 if if_absent else if_sequence
            done = client.set(name, body, ttl, if_sequence=seen, ack=ack)
        except ConditionsUnsupported as error:
            raise click.ClickException(str(error)) from None
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


def _keep(
    name: bytes, body: bytes, ttl: float, exclusive: bool, servers: tuple[str, ...], timeout: float
) -> None:
    async def hold(client: CloneClient) -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            loop.add_signal_handler(number, stop.set)
        try:
            kept = client.keep(name, body, ttl, exclusive=exclusive)
            async with asyncio.timeout(timeout):
                await client.wait_live()
                await kept.start()
            click.echo(f"kept {printable(name)}")
            await _until_lost(kept, stop)
        except ConditionsUnsupported as error:
            raise click.ClickException(str(error)) from None
        except ValueError as error:
            raise click.UsageError(str(error)) from None
        finally:
            for number in _SIGNALS:
                loop.remove_signal_handler(number)

    run_client(hold, servers, timeout, name)


async def _until_lost(kept: Kept, stop: asyncio.Event) -> None:
    """Wait for a signal, and release it; raises click.ClickException if it is lost before."""
    stopped, lost = asyncio.create_task(stop.wait()), asyncio.create_task(kept.lost())
    await asyncio.wait({stopped, lost}, return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if not stop.is_set():
        raise click.ClickException(f"lost: {lost.result()}")
    await kept.release()
    await lost
