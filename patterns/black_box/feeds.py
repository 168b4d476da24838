"""What a box subscribes to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Feed:
    """One SUB stream of a box: where from, what of it, and which I/O thread serves it.

    `endpoints` connect unless marked `@`, several are separated by commas. Two feeds with different
    `prefixes` on the same endpoint are two streams for two parts of the feed. `io_threads` is
    libzmq's bit mask (0: any) and takes effect where the context has several I/O threads.
    """

    endpoints: str
    prefixes: tuple[bytes, ...] = (b"",)
    io_threads: int = 0


AnyFeeds = str | Feed | Sequence[str | Feed]
"""Endpoints, a Feed, or several of either."""


def as_feeds(feeds: AnyFeeds) -> tuple[Feed, ...]:
    """Return what a user may give as feeds as Feed objects; raises ValueError for none."""
    several = [feeds] if isinstance(feeds, str | Feed) else feeds
    if not several:
        raise ValueError("a box has at least one feed")
    return tuple(feed if isinstance(feed, Feed) else Feed(feed) for feed in several)
