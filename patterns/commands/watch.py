"""`reactor watch`: print what changes in a Clone service, as it does."""

from __future__ import annotations

import signal

import click

from patterns.clone.client import (
    ClientClosed,
    CloneClient,
    Deleted,
    Event,
    Expired,
    Live,
    Put,
    Stale,
)
from patterns.commands.clone_session import (
    run_client,
    session_options,
    subtree_names,
)
from patterns.commands.exit_codes import EXIT_CODES
from patterns.commands.output import printable

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@click.command(epilog=EXIT_CODES)
@click.argument("subtrees", nargs=-1, metavar="[SUBTREE]...")
@click.option(
    "--count", type=click.IntRange(min=1), metavar="N", help="End after N lines; else at Ctrl-C."
)
@session_options
def watch(
    subtrees: tuple[str, ...], count: int | None, servers: tuple[str, ...], timeout: float
) -> None:
    """Print a line for every change of a key that begins with a SUBTREE.

    First `put KEY VALUE` for what is there, then `live`; from then on `put KEY VALUE` and
    `delete KEY`, also for a value whose time to live is over. When the server is lost, `stale`
    comes on standard error, and after the next `live` nothing has been missed.
    """

    async def follow(client: CloneClient) -> None:
        loop = client.reactor.loop
        for number in _SIGNALS:
            loop.add_signal_handler(number, client.reactor.stop)
        try:
            await _print_events(client, count, timeout)
        except ClientClosed:
            pass  # a signal came before any server was there
        finally:
            for number in _SIGNALS:
                loop.remove_signal_handler(number)

    run_client(follow, servers, timeout, subtree_names(subtrees))


async def _print_events(client: CloneClient, count: int | None, timeout: float) -> None:
    await client.wait_live(timeout)
    printed = 0
    async for event in client.watch():
        line = _line(event)
        if isinstance(event, Stale):
            click.echo(f"stale: {event.reason}", err=True)
        else:
            click.echo(line)
            printed += 1
        if printed == count:
            return


def _line(event: Event) -> str:
    match event:
        case Put(key, body):
            return f"put {printable(key)} {printable(body)}"
        case Deleted(key) | Expired(key):
            return f"delete {printable(key)}"
        case Live():
            return "live"
        case Stale(reason):
            return f"stale: {reason}"
