"""What the operators' commands have in common: asking a server's control port."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any, TypeVar

import click
import zmq

from patterns.binary_star.control import STATUS, decode_answer
from patterns.clone.messages import counter_of, epoch_of
from patterns.commands.endpoints import Control
from patterns.commands.exit_codes import EXIT_CODES, no_answer
from patterns.commands.finite import Seconds
from patterns.commands.logs import log_to_stderr
from reactor import EndpointError, Reactor

T = TypeVar("T")
Status = dict[str, Any]

HEADINGS = ("server", "role", "state", "for", "epoch", "sequence", "peer", "heard", "remarks")
POLL_SECONDS = 0.05

endpoints = click.argument(
    "endpoints", type=Control(), metavar="CONTROL...", nargs=-1, required=True
)
timeout = click.option(
    "--timeout",
    type=Seconds(),
    default=5.0,
    metavar="SECONDS",
    help="How long to wait for an answer.",
)
as_json = click.option("--json", "as_json", is_flag=True, help="One JSON object a server.")

__all__ = ["EXIT_CODES", "as_json", "endpoints", "run", "show", "timeout"]


async def ask(reactor: Reactor, endpoint: str, *order: bytes) -> tuple[str, Status]:
    """Why a server refuses an order (empty: it does not), and its status."""
    answer: asyncio.Future[list[bytes]] = reactor.loop.create_future()
    stream = reactor.open_stream(zmq.DEALER, endpoint, name="control", unmarked="connect")
    try:
        stream.on_message(lambda frames: None if answer.done() else answer.set_result(frames))
        stream.send(*order)
        return decode_answer(await answer)
    except ValueError as error:
        raise click.ClickException(f"{endpoint}: {error}") from None
    finally:
        stream.close()


async def ask_those_there(
    reactor: Reactor, names: Sequence[str], wait: float
) -> tuple[list[Status], list[str]]:
    """The status of every server that answers within `wait` seconds, and who does not."""
    asked = {name: asyncio.create_task(ask(reactor, name, STATUS)) for name in names}
    await asyncio.wait(asked.values(), timeout=wait)
    silent = [name for name, answer in asked.items() if answer.cancel()]
    return [answer.result()[1] for answer in asked.values() if answer.done()], silent


async def ask_all(reactor: Reactor, names: Sequence[str]) -> list[Status]:
    """The status of every server."""
    answers = await asyncio.gather(*(ask(reactor, each, STATUS) for each in names))
    return [status for _, status in answers]


def run(
    work: Callable[[Reactor, list[str]], Awaitable[T]], controls: Sequence[str], wait: float
) -> T:
    """Return what `work(reactor, endpoints)` returns within `wait` seconds."""
    log_to_stderr("warning")

    async def session() -> T:
        async with Reactor() as reactor, asyncio.timeout(wait):
            return await work(reactor, list(controls))

    try:
        return asyncio.run(session())
    except EndpointError as error:
        raise click.UsageError(str(error)) from None
    except TimeoutError:
        raise no_answer(controls, wait) from None


def show(statuses: Sequence[Status], as_json: bool) -> None:
    """Print what the servers say of themselves: a table, or a JSON object each."""
    if as_json:
        for status in statuses:
            click.echo(json.dumps(status))
        return
    rows = [HEADINGS, *(_row(status) for status in statuses)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        click.echo("  ".join(cells).rstrip())


def _row(status: Status) -> tuple[str, ...]:
    age, heard = status.get("state_age"), status.get("peer_age")
    return (
        str(status.get("endpoint", "")),
        str(status["role"]),
        str(status["state"]),
        _seconds(age),
        str(status["epoch"]),
        _sequence(status["sequence"]),
        str(status.get("peer_state") or "-"),
        _seconds(heard),
        ", ".join(_remarks(status)),
    )


def _remarks(status: Status) -> Iterator[str]:
    if status.get("mismatch"):
        yield str(status["mismatch"])
    if status.get("peer_gone"):
        yield "the peer's process has ended"
    if status["state"] == "active" and status.get("in_sync") is False and status.get("peer_state"):
        yield "the passive server does not confirm"
    if status.get("degraded"):
        yield f"{status['degraded']} updates not replicated"
    if status.get("unreplicated"):
        yield f"{status['unreplicated']} writes refused for want of the peer"
    if status.get("conflicts"):
        yield f"{status['conflicts']} conflicts"
    if status.get("diverged"):
        yield f"{status['diverged']} updates given up"


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} s"


def _sequence(number: int) -> str:
    """The sequence as epoch and count: `3:41` is the 41st update of epoch 3."""
    return f"{epoch_of(number)}:{counter_of(number)}"
