"""`reactor promote`: a server becomes active because an operator says so."""

from __future__ import annotations

import click

from patterns.binary_star.control import FORCE, PROMOTE
from patterns.commands import operating
from patterns.commands.endpoints import Control
from reactor import Reactor


@click.command(epilog=operating.EXIT_CODES)
@click.argument("control", type=Control(), metavar="CONTROL")
@click.option(
    "--force",
    is_flag=True,
    help="Also beside a peer that is active, and then steps down; that hands over, holds more, or"
    " had no time yet to be heard.",
)
@operating.timeout
@operating.as_json
def promote(control: str, force: bool, timeout: float, as_json: bool) -> None:
    """Make the server with this control port active: what it holds becomes the truth.

    For a lone backup, or when neither server has a complete copy. Of a healthy pair, use
    `reactor switchover`. Prints the status afterwards, and why if the server refuses.
    """

    async def order(reactor: Reactor, controls: list[str]) -> tuple[str, operating.Status]:
        words = (PROMOTE, FORCE) if force else (PROMOTE,)
        return await operating.ask(reactor, controls[0], *words)

    refusal, status = operating.run(order, [control], timeout)
    operating.show([status], as_json)
    if refusal:
        raise click.ClickException(refusal)
