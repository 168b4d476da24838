"""`reactor serve espresso`: the tracing proxy as a process of its own."""

from __future__ import annotations

import os

import click

from patterns.commands.endpoints import Endpoint
from patterns.commands.exit_codes import SERVER_EXIT_CODES
from patterns.commands.output import file_failed
from patterns.commands.serving import serve
from patterns.commands.tap_options import FilterOptions, filter_options
from patterns.espresso import EndpointTap, Espresso, FileTap, Style, Tap
from patterns.espresso.handlers import (
    BACKEND,
    CAPTURE_LIMIT,
    FRONTEND,
    HIGH_WATER_MARK,
    LOOP,
    MONITOR,
    THREAD,
)


@click.command(epilog=SERVER_EXIT_CODES)
@click.option(
    "--frontend",
    default=FRONTEND,
    type=Endpoint(),
    help="A publisher to connect to, or with @ an endpoint to bind, for publishers that connect. "
    "Several with commas.",
)
@click.option(
    "--backend",
    default=BACKEND,
    type=Endpoint(),
    help="The endpoint to bind for subscribers. Several with commas.",
)
@click.option(
    "--monitor",
    default=MONITOR,
    type=Endpoint(may_be_empty=True),
    help='The endpoint to bind for "reactor tap" and "reactor top"; "" for none.',
)
@click.option("--tap", "tap_endpoint", type=Endpoint(), help="Bind one more tap, filtered.")
@click.option(
    "--tap-style",
    type=click.Choice([style.value for style in Style]),
    default=Style.RECORD.value,
    help="What the frames of --tap are: records, messages as the capture socket of zmq.proxy "
    "gives them, or those with a frame pub or sub before.",
)
@click.option(
    "--record", "path", type=click.Path(dir_okay=False), help="Write a recording, filtered."
)
@click.option("--force", is_flag=True, help="Overwrite the file of --record.")
@filter_options
@click.option(
    "--pump",
    type=click.Choice([THREAD, LOOP]),
    default=THREAD,
    help="thread: libzmq forwards at full speed. loop: slower, with a record of every message.",
)
@click.option(
    "--high-water-mark",
    type=click.IntRange(min=1),
    default=HIGH_WATER_MARK,
    help="Messages that may wait for one subscriber, before it loses some.",
)
@click.option(
    "--capture-limit",
    type=click.IntRange(min=2),
    default=CAPTURE_LIMIT,
    help="Messages that may wait for the taps, before they lose some.",
)
def espresso(
    frontend: str,
    backend: str,
    monitor: str,
    tap_endpoint: str | None,
    tap_style: str,
    path: str | None,
    force: bool,
    filter: FilterOptions,
    pump: str,
    high_water_mark: int,
    capture_limit: int,
) -> None:
    """Forward between publishers and subscribers, and show what passes.

    Messages and subscriptions pass between --frontend and --backend; the first frame of a message
    is its topic. While it runs, "reactor tap" prints what passes and "reactor top" sums it up.
    --topic, --direction, --one-in and --rate choose what --tap and --record see.

    Prints "ready" and the endpoints it has bound.
    """
    server = Espresso(
        frontend=frontend,
        backend=backend,
        monitor=monitor or None,
        taps=_taps(tap_endpoint, tap_style, path, force, filter),
        pump=pump,
        high_water_mark=high_water_mark,
        capture_limit=capture_limit,
    )

    def endpoints() -> list[str]:
        opened = [tap.endpoint for tap in server.taps if isinstance(tap, EndpointTap)]
        return [*server.bound_endpoints, *opened]

    try:
        serve(server, endpoints)
    except OSError as error:
        raise file_failed(error) from error


def _taps(
    endpoint: str | None, style: str, path: str | None, force: bool, filter: FilterOptions
) -> list[Tap]:
    taps: list[Tap] = []
    if endpoint:
        taps.append(EndpointTap(endpoint, filter.filter(), style=Style(style)))
    if path:
        if os.path.exists(path) and not force:
            raise click.BadParameter(f"{path} exists; --force overwrites it", param_hint="--record")
        taps.append(FileTap(path, filter.filter(), overwrite=force))
    return taps
