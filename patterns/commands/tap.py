"""`reactor tap`: print what goes through an Espresso."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime

import click

from patterns.commands.exit_codes import DATA_EXIT_CODES
from patterns.commands.finite import Finite
from patterns.commands.output import output_failed
from patterns.commands.tap_options import FilterOptions, filter_options, monitor_option, run_reader
from patterns.espresso import Kind, TappedRecord, TapReader
from patterns.espresso.messages import printable

_MARKS = {Kind.MESSAGE: ">", Kind.SUBSCRIBE: "+", Kind.UNSUBSCRIBE: "-", Kind.UPSTREAM: "<"}


@click.command(epilog=DATA_EXIT_CODES)
@monitor_option("Of the Espresso; or the endpoint of one of its taps.")
@filter_options
@click.option(
    "--format",
    "style",
    type=click.Choice(["text", "json"]),
    default="text",
    help="A line for people, or one JSON object a line.",
)
@click.option("--count", type=click.IntRange(min=1), metavar="N", help="End after N records.")
@click.option("--seconds", type=Finite(min=0), metavar="S", help="End after S seconds.")
def tap(
    monitor: str, filter: FilterOptions, style: str, count: int | None, seconds: float | None
) -> None:
    """Print what passes through an Espresso.

    A line has the time (UTC), what it is, and the frames with " | " between them:

    \b
        > a message, with its topic first      + a subscription
        < what an XSUB sent up                 - the end of one

    Reading slows nothing down. What this reader was too slow for is counted on standard error, as
    far as it asked for everything.
    """
    printer = _Printer(as_json if style == "json" else as_text, count)
    printer.reader = reader = TapReader(monitor, printer, filter.filter())
    run_reader(reader, seconds)
    if printer.error is not None:
        raise output_failed(printer.error)
    if reader.missed:
        click.echo(f"missed {reader.missed} records", err=True)


def as_text(tapped: TappedRecord) -> str:
    """Return a record as one line for people."""
    at = datetime.fromtimestamp(tapped.wall, UTC).strftime("%H:%M:%S.%f")
    record = tapped.record
    frames = (record.topic, *record.frames[1:])
    shown = " | ".join(printable(frame) for frame in frames)
    return f"{at} {_MARKS[tapped.kind]} {shown}"


def as_json(tapped: TappedRecord) -> str:
    """Return a record as one JSON object; a frame that is no UTF-8 is {"hex": "..."}."""
    record = tapped.record
    return json.dumps(
        {
            "sequence": tapped.sequence,
            "when": tapped.wall,
            "kind": tapped.kind.name.lower(),
            "direction": record.direction.value,
            "bytes": record.size,
            "topic": _text(record.topic),
            "frames": [_text(frame) for frame in record.frames],
        }
    )


def _text(frame: bytes) -> str | dict[str, str]:
    try:
        return frame.decode()
    except UnicodeDecodeError:
        return {"hex": frame.hex()}


class _Printer:
    """Prints `count` records (None: all), or as many as it can, and then stops the reader."""

    reader: TapReader
    error: OSError | None = None

    def __init__(self, line: Callable[[TappedRecord], str], count: int | None) -> None:
        self.line = line
        self.left = count

    def __call__(self, tapped: TappedRecord) -> None:
        if self.left == 0:
            return
        try:
            click.echo(self.line(tapped))
        except OSError as error:
            self.error, self.left = error, 0
        else:
            self.left = None if self.left is None else self.left - 1
        if self.left == 0:
            self.reader.reactor.stop()
