"""`reactor replay`: publish a recording again."""

from __future__ import annotations

import os
from typing import BinaryIO

import click

from patterns.commands.endpoints import Endpoint
from patterns.commands.exit_codes import DATA_EXIT_CODES
from patterns.commands.finite import Finite
from patterns.commands.logs import log_to_stderr
from patterns.commands.output import start_failed
from patterns.espresso import RecordingError, Replay
from reactor import Reactor, ReactorError, run

ENDPOINT = "tcp://127.0.0.1:6000"
_LINGER_SECONDS = 10.0


@click.command(epilog=DATA_EXIT_CODES)
@click.argument("file", type=click.File("rb"))
@click.option(
    "--publish",
    "endpoint",
    default=ENDPOINT,
    type=Endpoint(),
    help="The endpoint to bind for subscribers, or with > to connect to.",
)
@click.option(
    "--speed",
    type=Finite(min=0),
    default=1.0,
    metavar="X",
    help="So many times the recorded pace; 0: as fast as possible.",
)
@click.option(
    "--from", "begin", type=Finite(min=0), default=0.0, metavar="S", help="Begin S seconds in."
)
@click.option("--until", "end", type=Finite(min=0), metavar="S", help="End S seconds in.")
@click.option(
    "--topic", "topics", multiple=True, metavar="PREFIX", help="Only topics that begin so."
)
@click.option(
    "--wait-for",
    type=click.IntRange(min=0),
    default=1,
    metavar="N",
    help="Begin when N subscriptions have come.",
)
def replay(
    file: BinaryIO,
    endpoint: str,
    speed: float,
    begin: float,
    end: float | None,
    topics: tuple[str, ...],
    wait_for: int,
) -> None:
    """Publish the messages of a recording, with the pace they came with.

    Nothing is dropped: a subscriber that does not keep up slows the replay for all. Prints "ready"
    and the endpoint, waits for --wait-for subscriptions, and ends when everything is sent.
    """
    if end is not None and end <= begin:
        raise click.UsageError(f"--until {end:g} is not after --from {begin:g}")
    log_to_stderr("warning")
    try:
        player = Replay(
            file,
            endpoint,
            speed=speed,
            begin=begin,
            end=float("inf") if end is None else end,
            topics=tuple(os.fsencode(topic) for topic in topics) or (b"",),
            wait_for=wait_for,
        )
    except RecordingError as error:
        raise click.ClickException(f"{file.name}: {error}") from error

    def ready(reactor: Reactor) -> None:
        click.echo(f"ready {player.bound_endpoint}")

    try:
        run(player, on_ready=ready, stop_timeout=_LINGER_SECONDS)
    except ReactorError as error:
        raise start_failed(error) from error
    click.echo(f"{player.sent} messages, at most {player.latest:.3f} s late", err=True)
    if player.reader.torn_bytes:
        click.echo(f"the recording is cut off after {player.reader.good_bytes} bytes", err=True)
