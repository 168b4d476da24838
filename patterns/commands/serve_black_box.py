"""`reactor serve black-box`: a feed that is too fast for one process, spread over workers."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from typing import Any

import click
from click.core import ParameterSource

from patterns.black_box import BlackBox, Delivery, Feed, PumpingBox, QueuePolicy
from patterns.black_box.direct import PUMP_HIGH_WATER_MARK
from patterns.black_box.handlers import HIGH_WATER_MARK, PATIENCE_SECONDS, WorkerKind
from patterns.black_box.protocol import LATE_SECONDS, QUEUE_LIMIT, WINDOW
from patterns.commands.endpoints import Endpoint
from patterns.commands.exit_codes import SERVER_EXIT_CODES
from patterns.commands.finite import Seconds
from patterns.commands.serving import serve

# What a pump cannot do.
_OF_KEYS = ("policy", "queue_limit", "delivery", "window", "late")


@click.command("black-box", epilog=SERVER_EXIT_CODES)
@click.option(
    "--feed",
    "feeds",
    multiple=True,
    required=True,
    type=Endpoint(),
    help="A publisher to connect to, or with @ an endpoint to bind. May be repeated.",
)
@click.option(
    "--work",
    required=True,
    metavar="MODULE:NAME",
    help="What each message is given to: a function of one argument, the list of frames, or a "
    "subclass of patterns.black_box.Work.",
)
@click.option("--workers", type=click.IntRange(min=1), default=2, help="How many.")
@click.option(
    "--processes/--threads",
    default=True,
    help="Threads are for work that waits, or that gives up the interpreter's lock.",
)
@click.option(
    "--prefix",
    "prefixes",
    multiple=True,
    default=[""],
    help="What to subscribe to. May be repeated.",
)
@click.option(
    "--pump",
    is_flag=True,
    help="Spread without keys, inside libzmq: quicker, without order, lag, and books.",
)
@click.option(
    "--policy",
    type=click.Choice([policy.value for policy in QueuePolicy]),
    default=QueuePolicy.DROP_OLDEST.value,
    help="What a full queue does.",
)
@click.option(
    "--queue-limit",
    type=click.IntRange(min=1),
    default=QUEUE_LIMIT,
    help="Messages that may wait for one worker.",
)
@click.option(
    "--delivery",
    type=click.Choice([delivery.value for delivery in Delivery]),
    default=Delivery.AT_MOST_ONCE.value,
    help="What becomes of what a dead worker held: counted as lost, or given to the next one.",
)
@click.option(
    "--window",
    type=click.IntRange(min=1),
    default=WINDOW,
    help="Messages that one worker may hold.",
)
@click.option(
    "--late",
    type=Seconds(),
    default=LATE_SECONDS,
    metavar="SECONDS",
    help="The box is late when a message is so old and not handled; that is logged.",
)
@click.option(
    "--patience",
    type=Seconds(),
    default=PATIENCE_SECONDS,
    metavar="SECONDS",
    help="A worker that says nothing for so long is replaced. Longer than any message takes.",
)
@click.option(
    "--high-water-mark",
    type=click.IntRange(min=1),
    default=HIGH_WATER_MARK,
    help="Messages that libzmq keeps while the box is busy; a publisher then drops.",
)
@click.option(
    "--core",
    "cores",
    multiple=True,
    type=click.IntRange(min=0),
    help="Pin workers (processes) to cores, in turns. May be repeated.",
)
@click.pass_context
def black_box(
    ctx: click.Context,
    /,
    feeds: tuple[str, ...],
    prefixes: tuple[str, ...],
    pump: bool,
    **options: Any,
) -> None:
    """Spread a feed over workers, and keep the order of each key.

    The first frame of a message is its key. Each key belongs to one worker; a slow worker holds up
    nobody else's keys, a dead one is replaced.

    Prints "ready" when all workers are, and the endpoints that publishers can connect to, if any.

    \b
    Two processes that call handle(frames) of prices.py:
      reactor serve black-box --feed tcp://127.0.0.1:5557 --work prices:handle
    """
    if pump and (said := [name for name in _OF_KEYS if _is_said(ctx, name)]):
        names = ", ".join(f"--{name.replace('_', '-')}" for name in said)
        raise click.UsageError(f"{names}: for a box with keys, which --pump has not")
    if (here := os.getcwd()) not in sys.path:
        sys.path.insert(0, here)  # as for a process worker, and for `python -m`
    wanted = tuple(os.fsencode(prefix) for prefix in prefixes)
    sources = [Feed(feed, wanted) for feed in feeds]
    kind: WorkerKind = "processes" if options.pop("processes") else "threads"
    box: BlackBox | PumpingBox
    try:
        box = (_pumping_box if pump else _keyed_box)(sources, kind, options)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    serve(box, lambda: box.bound_endpoints)


def _is_said(ctx: click.Context, name: str) -> bool:
    return ctx.get_parameter_source(name) is not ParameterSource.DEFAULT


def _keyed_box(feeds: Iterable[Feed], kind: WorkerKind, options: dict[str, Any]) -> BlackBox:
    options["policy"] = QueuePolicy(options["policy"])
    options["delivery"] = Delivery(options["delivery"])
    return BlackBox(list(feeds), options.pop("work"), kind=kind, **options)


def _pumping_box(feeds: Iterable[Feed], kind: WorkerKind, options: dict[str, Any]) -> PumpingBox:
    return PumpingBox(
        list(feeds),
        options["work"],
        kind=kind,
        workers=options["workers"],
        patience=options["patience"],
        feed_high_water_mark=options["high_water_mark"],
        high_water_mark=PUMP_HIGH_WATER_MARK,
        cores=options["cores"],
    )
