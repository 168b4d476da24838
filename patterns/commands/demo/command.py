"""`reactor demo`: the demonstration as a command."""

from __future__ import annotations

import asyncio
import shutil
import signal
import tempfile
from collections.abc import Sequence
from pathlib import Path

import click

from patterns.commands.children import ChildFailed, until_told
from patterns.commands.demo.progress import display
from patterns.commands.demo.rates import RatesMissing, Update, load_updates
from patterns.commands.demo.replay import FEWEST_UPDATES
from patterns.commands.demo.report import Report
from patterns.commands.demo.run import play
from patterns.commands.finite import Seconds
from patterns.commands.logs import log_to_stderr


@click.command()
@click.option(
    "--seconds",
    type=Seconds(),
    default=22.0,
    metavar="SECONDS",
    help="About how long it may take, start and end included; it replays as much as fits.",
)
@click.option(
    "--updates",
    type=click.IntRange(min=FEWEST_UPDATES),
    metavar="NUMBER",
    help="Replay so many at most.  [default: all]",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, not a table.")
def demo(seconds: float, updates: int | None, as_json: bool) -> None:
    """Kill a server, and compare what every client holds with the truth.

    Replays the European Central Bank's daily rates since 1999 as fast as they are accepted: into
    a Clone pair of two server processes and through a last value cache, both with several client
    processes. Half way it kills the primary with SIGKILL, and goes on. At the end every key of
    every client is compared with the true last rates.

    Everything stays on 127.0.0.1, on ports the kernel chooses. Progress goes to standard error.
    Exit codes: 0 all as it must be, 1 a difference, a lost update or another failure, 2 wrong
    usage or no rates.
    """
    log_to_stderr("error")
    try:
        rates = load_updates()[:updates]
    except RatesMissing as error:
        raise click.UsageError(str(error)) from None
    logs = Path(tempfile.mkdtemp(prefix="reactor-demo-"))
    try:
        report = _play(rates, seconds, logs)
    except ChildFailed as failure:
        raise click.ClickException(f"{failure}\nThe logs are in {logs}") from None
    except (KeyboardInterrupt, SystemExit):
        shutil.rmtree(logs)  # nobody will look for them
        raise
    click.echo(report.as_json() if as_json else report.table())
    if not report.passed:
        raise click.ClickException(f"not as it must be. The logs are in {logs}")
    shutil.rmtree(logs)


def _play(rates: Sequence[Update], seconds: float, logs: Path) -> Report:
    with display() as show:
        try:
            return asyncio.run(until_told(play(rates, seconds, logs, show)))
        except asyncio.CancelledError:
            raise SystemExit(128 + signal.SIGTERM) from None
