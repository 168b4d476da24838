"""What a peer is: a server that can be started here, and what clients of its own do with it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

from benchmarks.processes import Role
from benchmarks.services import Service


@dataclass(frozen=True)
class Peer:
    """One way to share state; a measurement that it has no part in is None.

    `serve(stack, keys)` starts its server with so many keys in it. `updates(service, seconds)`:
    updates a second that one writer gets to one subscriber. `acknowledged(service, in_flight,
    seconds)`: writes a second, each known to be done, that one client makes with so many under way.
    `snapshot(service, keys)`: seconds until one client that begins has all keys in a dict.
    """

    name: str
    version: str
    serve: Callable[[ExitStack, int], Service]
    updates: Callable[[Service, float], float] | None = None
    acknowledged: Callable[[Service, int, float], float] | None = None
    snapshot: Callable[[Service, int], float] | None = None


def ask(function: Callable[..., None], *arguments: object) -> float:
    """Return the figure that a role tells."""
    with Role(function, *arguments) as role:
        return float(role.get())


def ask_when_ready(
    function: Callable[..., None], *arguments: object, timeout: float = 150
) -> float:
    """Return the figure of a role that first says that it is ready, and waits for the word."""
    with Role(function, *arguments) as role:
        role.get()
        role.put("go")
        return float(role.get(timeout=timeout))
