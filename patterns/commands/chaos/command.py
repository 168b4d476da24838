"""`reactor chaos`: a Clone pair and its clients as processes, hurt by a seed."""

from __future__ import annotations

import asyncio
import shutil
import signal
import tempfile
from pathlib import Path

import click

from patterns.commands.chaos.cluster import WRITES, crowd
from patterns.commands.chaos.report import Report
from patterns.commands.chaos.run import Plan, play
from patterns.commands.children import ChildFailed, until_told
from patterns.commands.finite import Finite
from patterns.commands.logs import log_to_stderr
from patterns.commands.output import file_failed
from patterns.commands.replication_options import ack_option, policy_of, without_peer_option


@click.command()
@click.option(
    "--minutes",
    type=Finite(min=0, min_open=True),
    default=3.0,
    metavar="MINUTES",
    help="How long things go wrong; the last ones are healed and checked after that.",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    help="Decides what goes wrong and in which order. When it happens, the machine decides.",
)
@click.option(
    "--writes",
    type=Finite(min=0, min_open=True, max=10_000),
    default=WRITES,
    metavar="PER_SECOND",
    help="What the three writers write together. Fewer leave more of the machine to others.",
)
@click.option(
    "--keep-servers",
    is_flag=True,
    help="Kill no server. It takes more than 40 minutes of its life to see whether a server grows:"
    " for the first 20 it has to, by what it remembers.",
)
@ack_option
@without_peer_option
@click.option(
    "--namespaces/--no-namespaces",
    default=True,
    help="A network namespace for each process, where the machine allows it (root, `ip`); or else"
    " everything on loopback, where nobody can be unplugged.",
)
@click.option(
    "--output",
    type=click.Path(file_okay=False, writable=True, path_type=Path),
    metavar="FOLDER",
    help="Where the journals and logs are kept.  [default: a temporary folder, kept if something"
    " is found]",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, not a table.")
def chaos(
    minutes: float,
    seed: int,
    writes: float,
    keep_servers: bool,
    ack: str | None,
    without_peer: str | None,
    namespaces: bool,
    output: Path | None,
    as_json: bool,
) -> None:
    """Hurt a Clone pair and its clients, as processes, and check what they promise.

    Two servers, three writers, three readers, a client that comes late again and again, and a plain
    RFC 12 client run for so many minutes. Their connections go through proxies. One thing after
    the other goes wrong: SIGKILL, SIGSTOP for up to 30 s, an interface that is down, a link that
    is cut in one direction or both, reset, slow. At the servers nothing goes wrong before they are
    in step again: a pair promises nothing beyond one fault at a time.

    Half of the writes ask to be replicated; with --ack replicated both servers have every write
    wait for that.

    Everybody writes down what happens. Every five minutes all is healed, all have to hold the same,
    and the checker of `reactor simulate` goes through the whole history (docs/guarantees.md).
    Progress goes to standard error.

    Exit codes: 0 nothing found, 1 a violation, an exception or another failure, 2 wrong usage.

    \b
    Examples:
      reactor chaos
      reactor chaos --minutes 60 --seed 7 --json
      reactor chaos --minutes 60 --keep-servers
      reactor chaos --ack replicated --without-peer refuse
    """
    log_to_stderr("error")
    folder = output or Path(tempfile.mkdtemp(prefix="reactor-chaos-"))
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise file_failed(error) from error
    if any(folder.iterdir()):
        raise click.UsageError(f"--output: {folder} is not empty.")
    plan = Plan(
        minutes * 60,
        seed,
        namespaces,
        kills_servers=not keep_servers,
        policy=policy_of(ack, without_peer),
        clients=crowd(writes),
    )
    try:
        report = _play(plan, folder)
    except ChildFailed as failure:
        raise click.ClickException(f"{failure}\nThe journals and logs are in {folder}") from None
    except (KeyboardInterrupt, SystemExit):
        if output is None:
            shutil.rmtree(folder)  # nobody will look for them
        raise
    click.echo(report.as_json() if as_json else report.table())
    if not report.passed:
        raise click.ClickException(f"not as promised. The journals and logs are in {folder}")
    if output is None:
        shutil.rmtree(folder)


def _play(plan: Plan, folder: Path) -> Report:
    try:
        return asyncio.run(until_told(play(plan, folder, lambda text: click.echo(text, err=True))))
    except asyncio.CancelledError:
        raise SystemExit(128 + signal.SIGTERM) from None
