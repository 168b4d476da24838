"""`reactor bench blackbox`: what a black box gains on this machine."""

from __future__ import annotations

import asyncio
import shutil
import signal
import tempfile
from pathlib import Path

import click

from patterns.commands.bench.report import Report, Settings
from patterns.commands.bench.roles import BOXES, PREFIXES
from patterns.commands.bench.rounds import measure
from patterns.commands.children import ChildFailed, until_told
from patterns.commands.finite import Finite, Seconds
from patterns.commands.logs import log_to_stderr


@click.command("blackbox")
@click.option(
    "--box",
    "boxes",
    multiple=True,
    type=click.Choice(list(BOXES)),
    default=["keyed"],
    help="keyed: order kept per key. pump: libzmq deals out, no order. prefix: each worker "
    "subscribes to its own part. May be repeated.",
)
@click.option(
    "--workers",
    type=click.IntRange(1, len(PREFIXES)),
    default=2,
    metavar="N",
    help="Processes that work.",
)
@click.option(
    "--work-us",
    type=Finite(0, 1_000_000),
    default=20.0,
    metavar="US",
    help="Microseconds of Python that each message costs; 0: none.",
)
@click.option(
    "--size",
    type=click.IntRange(0, 16 * 1024 * 1024),
    default=32,
    metavar="BYTES",
    help="Of a message's body; its topic has 10.",
)
@click.option("--rounds", type=click.IntRange(1, 1000), default=3, metavar="N", help="How often.")
@click.option(
    "--seconds",
    type=Seconds(),
    default=2.0,
    metavar="SECONDS",
    help="How long each is measured in each round.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, not a table.")
def blackbox(boxes: tuple[str, ...], as_json: bool, **options: float) -> None:
    """Compare a black box with one plain subscriber that does the same work.

    A publisher sends to 1,000 topics, as fast as it is let; the two take turns, each with processes
    of its own, on 127.0.0.1. The table has medians, the lowest and highest round in brackets. One
    round takes about 2 x SECONDS + 2; the whole, by default, less than 20 s.

    Use a quiet machine with a core for each worker: two workers on one core gain nothing.

    Progress goes to standard error. Exit codes: 0 measured, 1 a process failed, 2 wrong usage.

    \b
    How fast can keys be dealt out, if the work is nothing?
      reactor bench blackbox --work-us 0 --box keyed --box pump --box prefix
    """
    log_to_stderr("warning")
    settings = Settings(tuple(dict.fromkeys(boxes)), **options)  # type: ignore[arg-type]
    logs = Path(tempfile.mkdtemp(prefix="reactor-bench-"))
    try:
        report = _measure(settings, logs)
    except ChildFailed as failure:
        raise click.ClickException(str(failure)) from None
    finally:
        shutil.rmtree(logs)
    click.echo(report.as_json() if as_json else report.table())


def _measure(settings: Settings, logs: Path) -> Report:
    def show(text: str) -> None:
        click.echo(f"bench: {text}", err=True)

    try:
        return asyncio.run(until_told(measure(settings, logs, show)))
    except asyncio.CancelledError:
        raise SystemExit(128 + signal.SIGTERM) from None
