"""What a peer is: something between a publisher and subscribers, started for one sample."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass

from benchmarks.processes import Role
from benchmarks.samples import Rate
from benchmarks.services import Service


@dataclass(frozen=True)
class Flood:
    """How much is published: bodies of `size` bytes, `count` of them, to so many subscribers."""

    size: int
    subscribers: int
    count: int
    seconds: float


@dataclass(frozen=True)
class Peer:
    """One way to get messages, and the last ones; a measurement it has no part in is None.

    `rate(flood)`: messages a second at one subscriber, the mean of all, and the CPU for each: of a
    proxy's main thread, or of a broker as a whole. `join(topics)`: seconds until a subscriber that
    begins has the value of one topic out of so many, and of all.
    """

    name: str
    version: str
    rate: Callable[[Flood], Rate] | None
    join: Callable[[int], tuple[float, float]] | None = None


def rate_of(
    publishing: Role, subscribing: Iterator[Role], cpu_seconds: Callable[[], float]
) -> Rate:
    """Return the mean of what subscribers tell, when all have said that they are ready.

    The publisher is told to begin with a word, and goes on until it is killed. A subscriber tells
    its rate, and how many messages it has got.
    """
    with ExitStack() as stack:
        subscribers = [stack.enter_context(role) for role in subscribing]
        for subscriber in subscribers:
            subscriber.get()
        before = cpu_seconds()
        publishing.put("go")
        told = [subscriber.get() for subscriber in subscribers]
        cpu = cpu_seconds() - before
    rates, counts = zip(*told, strict=True)
    return Rate(sum(rates) / len(rates), cpu / (sum(counts) / len(counts)) * 1e6)


def rate_through(
    serve: Callable[[ExitStack], Service],
    publish: Callable[..., None],
    subscribe: Callable[..., None],
    flood: Flood,
) -> Rate:
    """Return the messages a second at a subscriber, and the CPU of the server for each."""
    with ExitStack() as stack:
        server = serve(stack)
        address = server.address
        publishing = stack.enter_context(Role(publish, address, flood))
        roles = (Role(subscribe, address, flood) for _ in range(flood.subscribers))
        return rate_of(publishing, roles, server.cpu_seconds)
