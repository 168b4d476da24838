"""`reactor status`: what servers say of themselves at their control ports."""

from __future__ import annotations

import click

from patterns.commands import operating


@click.command(epilog=operating.EXIT_CODES)
@operating.endpoints
@operating.timeout
@operating.as_json
def status(endpoints: tuple[str, ...], timeout: float, as_json: bool) -> None:
    """Show role, state, epoch, sequence and peer of servers, by their control ports.

    CONTROL is what a server was given as --control: an endpoint, or the number of a port of this
    machine. A sequence is shown as EPOCH:COUNT.
    """
    operating.show(operating.run(operating.ask_all, endpoints, timeout), as_json)
