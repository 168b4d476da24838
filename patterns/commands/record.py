"""`reactor record`: write what passes, or what publishers send, into a file."""

from __future__ import annotations

import os

import click

from patterns.commands.endpoints import Endpoint
from patterns.commands.exit_codes import DATA_EXIT_CODES
from patterns.commands.finite import Finite
from patterns.commands.tap_options import (
    FilterOptions,
    filter_options,
    monitor_option,
    run_reader,
    wall_clock,
)
from patterns.espresso import Direction, Recorder, RecordFile, TapRecorder
from patterns.espresso.record_file import MAX_FILE_BYTES


@click.command(epilog=DATA_EXIT_CODES)
@click.argument("file", type=click.Path(dir_okay=False))
@monitor_option("Record what passes through the Espresso with this monitor.")
@click.option(
    "--publisher",
    type=Endpoint(),
    help="Record what this publisher sends instead, as a subscriber of its own; with @, bind for "
    "publishers that connect. Several with commas.",
)
@filter_options
@click.option("--count", type=click.IntRange(min=1), metavar="N", help="End after N records.")
@click.option("--seconds", type=Finite(min=0), metavar="S", help="End after S seconds.")
@click.option(
    "--max-bytes",
    type=click.IntRange(min=1),
    default=MAX_FILE_BYTES,
    help="End when the file is that long.",
)
@click.option("--force", is_flag=True, help="Overwrite FILE.")
def record(
    file: str,
    monitor: str,
    publisher: str | None,
    filter: FilterOptions,
    count: int | None,
    seconds: float | None,
    max_bytes: int,
    force: bool,
) -> None:
    """Record to FILE, for "reactor replay", until Ctrl-C.

    From an Espresso, subscriptions are recorded as well, and the times are the proxy's. From
    publishers it is what a subscriber gets, and only --topic chooses.

    Prints "ready" when it listens. A recording that was cut off is good up to its last whole
    record.
    """
    if os.path.exists(file) and not force:
        raise click.BadParameter(f"{file} exists; --force overwrites it", param_hint="FILE")
    if publisher is not None and _is_given("monitor"):
        raise click.UsageError("--monitor and --publisher: record from one of them")
    recording = RecordFile(file, max_bytes=max_bytes, overwrite=force)
    wanted = filter.filter()
    if publisher is None:
        recorder: Recorder = TapRecorder(
            recording, monitor, wanted, wall_clock=wall_clock, count=count or 0
        )
    elif filter.one_in > 1 or filter.rate is not None or wanted.direction is Direction.UP:
        raise click.UsageError("--one-in, --rate and --direction up need an Espresso")
    else:
        recorder = Recorder(
            recording,
            publisher,
            (os.fsencode(filter.topic),),
            wall_clock=wall_clock,
            count=count or 0,
        )
    run_reader(recorder, seconds, on_ready=lambda reactor: click.echo("ready"))
    if recorder.failure is not None:
        raise click.ClickException(f"{file}: {recorder.failure.strerror}")
    click.echo(f"{recorder.recorded} records, {recording.bytes_written} bytes", err=True)
    if recording.full:
        raise click.ClickException(f"{file} is full")


def _is_given(option: str) -> bool:
    source = click.get_current_context().get_parameter_source(option)
    return source is not click.core.ParameterSource.DEFAULT
