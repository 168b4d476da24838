"""`reactor status`: what servers say of themselves at their control ports."""

from __future__ import annotations

import click

from patterns.commands import operating
from patterns.commands.exit_codes import no_answer
from reactor import Reactor

# The answers of others are still shown when one server has not answered in time.
_GRACE_SECONDS = 1.0


@click.command(epilog=operating.EXIT_CODES)
@operating.endpoints
@operating.timeout
@operating.as_json
def status(endpoints: tuple[str, ...], timeout: float, as_json: bool) -> None:
    """Show role, state, epoch, sequence and peer of servers, by their control ports.

    CONTROL is what a server was given as --control: an endpoint, or the number of a port of this
    machine. A sequence is shown as EPOCH:COUNT. Who does not answer is named at the end, and the
    exit code is 3 then.
    """

    async def ask(
        reactor: Reactor, controls: list[str]
    ) -> tuple[list[operating.Status], list[str]]:
        return await operating.ask_those_there(reactor, controls, timeout)

    statuses, silent = operating.run(ask, endpoints, timeout + _GRACE_SECONDS)
    if statuses:
        operating.show(statuses, as_json)
    if silent:
        raise no_answer(silent, timeout)
