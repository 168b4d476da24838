"""`reactor switchover`: the active server hands over to its passive peer."""

from __future__ import annotations

import asyncio

import click

from patterns.binary_star.control import STATUS, SWITCHOVER
from patterns.commands import operating
from reactor import Reactor


@click.command(epilog=operating.EXIT_CODES)
@operating.endpoints
@operating.timeout
@operating.as_json
def switchover(endpoints: tuple[str, ...], timeout: float, as_json: bool) -> None:
    """Have the active server hand over to its passive peer, without a lost or failed write.

    CONTROL is the control port of the active server, or the ports of both. Its peer must be alive
    and hold a complete copy. Prints the status afterwards.
    """
    statuses, failure = operating.run(_switch_over, endpoints, timeout)
    operating.show(statuses, as_json)
    if failure:
        raise click.ClickException(failure)


async def _switch_over(reactor: Reactor, controls: list[str]) -> tuple[list[operating.Status], str]:
    statuses = await operating.ask_all(reactor, controls)
    active = [
        control
        for control, status in zip(controls, statuses, strict=True)
        if status["state"] == "active"
    ]
    if len(active) != 1:
        return statuses, f"{len(active)} of these servers are active: there must be one"
    failure, status = await operating.ask(reactor, active[0], SWITCHOVER)
    while not failure and status["state"] == "leaving":
        await asyncio.sleep(operating.POLL_SECONDS)
        _, status = await operating.ask(reactor, active[0], STATUS)
    if not failure and status["state"] == "active":
        failure = "the peer has not taken over: this server goes on"
    return await operating.ask_all(reactor, controls), failure
