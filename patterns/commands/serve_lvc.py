"""`reactor serve lvc`: the last value cache as a process of its own."""

from __future__ import annotations

import click

from patterns.commands.serving import serve
from patterns.last_value_cache import LastValueCache
from patterns.last_value_cache.handlers import (
    BACKEND,
    FRONTEND,
    HIGH_WATER_MARK,
    PATIENCE_SECONDS,
)
from patterns.last_value_cache.protocol import MAX_BYTES, MAX_TOPICS


@click.command()
@click.option(
    "--frontend",
    default=FRONTEND,
    metavar="ENDPOINT",
    help="Where the messages come from: a publisher to connect to, or with @ an endpoint to bind, "
    "for publishers that connect. Several with commas.",
)
@click.option(
    "--backend",
    default=BACKEND,
    metavar="ENDPOINT",
    help="The endpoint to bind for subscribers. Several with commas.",
)
@click.option(
    "--max-topics",
    type=click.IntRange(min=1),
    default=MAX_TOPICS,
    help="Topics to keep; more are forwarded, but not kept.",
)
@click.option(
    "--max-bytes",
    type=click.IntRange(min=1),
    default=MAX_BYTES,
    help="Bytes of messages to keep; what does not fit is forwarded, but not kept.",
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
    type=click.FloatRange(min=0),
    default=PATIENCE_SECONDS,
    help="Seconds that new subscribers wait for one that takes nothing.",
)
def lvc(
    frontend: str,
    backend: str,
    max_topics: int,
    max_bytes: int,
    high_water_mark: int,
    patience: float,
) -> None:
    """Serve the last value of every topic to late subscribers.

    Forwards every message from --frontend to --backend, and sends each new subscriber the last
    message of every topic it asks for, a prefix or all. The first frame of a message is its topic.
    A message with an empty body deletes its topic.

    Prints "ready" and the endpoints it has bound.
    """
    cache = LastValueCache(
        frontend=frontend,
        backend=backend,
        max_topics=max_topics,
        max_bytes=max_bytes,
        high_water_mark=high_water_mark,
        patience=patience,
    )
    serve(cache, lambda: cache.bound_endpoints)
