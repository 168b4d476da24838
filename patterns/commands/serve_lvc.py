"""`reactor serve lvc`: the last value cache as a process of its own."""

from __future__ import annotations

import os

import click

from patterns.commands.endpoints import Endpoint
from patterns.commands.exit_codes import SERVER_EXIT_CODES
from patterns.commands.finite import Finite, Seconds
from patterns.commands.serving import serve
from patterns.last_value_cache import LastValueCache, LimitPolicy
from patterns.last_value_cache.conflation import MAX_SUBSCRIBERS
from patterns.last_value_cache.handlers import (
    BACKEND,
    FRONTEND,
    HIGH_WATER_MARK,
    PATIENCE_SECONDS,
)
from patterns.last_value_cache.interest import LINGER_SECONDS
from patterns.last_value_cache.subscriber import CONFLATED
from patterns.last_value_cache.values import MAX_BYTES, MAX_TOPICS


def ttls_of(
    ctx: click.Context, param: click.Parameter, values: tuple[str, ...]
) -> dict[bytes, float]:
    """Return the seconds of each prefix, b"" for all topics; from SECONDS or PREFIX=SECONDS."""
    ttls = {}
    for value in values:
        prefix, _, seconds = value.rpartition("=")
        ttls[os.fsencode(prefix)] = Seconds().convert(seconds, param, ctx)
    return ttls


@click.command(epilog=SERVER_EXIT_CODES)
@click.option(
    "--frontend",
    default=FRONTEND,
    type=Endpoint(),
    help="Where the messages come from: a publisher to connect to, or with @ an endpoint to bind, "
    "for publishers that connect. Several with commas.",
)
@click.option(
    "--backend",
    default=BACKEND,
    type=Endpoint(),
    help="The endpoint to bind for subscribers, or with > one to connect to. Several with commas.",
)
@click.option(
    "--conflated",
    type=Endpoint(),
    help="The endpoint to bind for slow subscribers, which take the newest value of each topic: "
    f"`reactor sub --conflate`, which looks for it at {CONFLATED}.",
)
@click.option(
    "--separator",
    metavar="TEXT",
    help='What ends the topic in a message of one frame, " " for example.',
)
@click.option(
    "--ttl",
    "ttls",
    callback=ttls_of,
    multiple=True,
    metavar="[PREFIX=]SECONDS",
    help="How long a value is good, of all topics or of those under PREFIX. May be repeated.",
)
@click.option(
    "--max-topics",
    type=click.IntRange(min=1),
    default=MAX_TOPICS,
    help="Topics to keep.",
)
@click.option(
    "--max-bytes",
    type=click.IntRange(min=1),
    default=MAX_BYTES,
    help="Bytes of messages to keep.",
)
@click.option(
    "--at-limit",
    "policy",
    type=click.Choice([policy.value for policy in LimitPolicy]),
    default=LimitPolicy.REFUSE.value,
    help="What is forwarded, but not kept, if it is too much: what is new, or what was not updated "
    "for longest.",
)
@click.option(
    "--high-water-mark",
    type=click.IntRange(min=1),
    default=HIGH_WATER_MARK,
    help="Messages that may wait for one subscriber, before it loses some. Let it be above the "
    "number of topics that one subscriber asks for.",
)
@click.option(
    "--patience",
    type=Finite(min=0),
    default=PATIENCE_SECONDS,
    metavar="SECONDS",
    help="How long new subscribers wait for one that takes nothing.",
)
@click.option(
    "--max-conflated",
    type=click.IntRange(min=1),
    default=MAX_SUBSCRIBERS,
    help="Subscribers that --conflated takes at a time.",
)
@click.option(
    "--on-demand",
    is_flag=True,
    help="Ask publishers only for what subscribers ask for, and cache nothing else.",
)
@click.option(
    "--linger",
    type=Finite(min=0),
    default=LINGER_SECONDS,
    metavar="SECONDS",
    help="How long --on-demand goes on for what nobody wants any more.",
)
def lvc(
    frontend: str,
    backend: str,
    conflated: str | None,
    separator: str | None,
    ttls: dict[bytes, float],
    max_topics: int,
    max_bytes: int,
    policy: str,
    high_water_mark: int,
    patience: float,
    max_conflated: int,
    on_demand: bool,
    linger: float,
) -> None:
    """Serve the last value of every topic to late subscribers.

    Forwards every message from --frontend to --backend, and sends each new subscriber the last
    message of every topic it asks for, a prefix or all. The first frame of a message is its topic.
    A message with an empty body deletes its topic.

    Prints "ready" and the endpoints it has bound.

    \b
        reactor serve lvc --frontend @tcp://127.0.0.1:5557
        reactor serve lvc --conflated tcp://127.0.0.1:5559 --ttl 3600 --ttl alive/=10
    """
    cache = LastValueCache(
        frontend=frontend,
        backend=backend,
        conflated=conflated or "",
        max_topics=max_topics,
        max_bytes=max_bytes,
        policy=LimitPolicy(policy),
        ttl=ttls or None,
        separator=os.fsencode(separator or ""),
        high_water_mark=high_water_mark,
        patience=patience,
        max_conflated=max_conflated,
        on_demand=on_demand,
        linger=linger,
    )
    serve(cache, lambda: cache.bound_endpoints)
