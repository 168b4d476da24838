"""Endpoints as strings: `@tcp://...` binds, `>tcp://...` connects, unmarked ones as agreed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

Side = Literal["bind", "connect"]

MAX_PORT = 65535

_MARKS: dict[str, Side] = {"@": "bind", ">": "connect"}


def parse_endpoints(
    endpoints: Iterable[str], unmarked: Side | None = None
) -> list[tuple[Side, str]]:
    """Return (side, endpoint) for every endpoint; a string may hold several, separated by commas.

    Raises ValueError when an endpoint is empty, carries no mark although there is no default, or
    names a port that TCP does not have.
    """
    parsed: list[tuple[Side, str]] = []
    for text in endpoints:
        parsed.extend(_parse(part.strip(), unmarked) for part in text.split(","))
    return parsed


def _parse(text: str, unmarked: Side | None) -> tuple[Side, str]:
    side = _MARKS.get(text[:1], unmarked)
    endpoint = text[1:] if text[:1] in _MARKS else text
    if "://" not in endpoint:
        raise ValueError(
            f"{text!r} is no endpoint: write it as tcp://HOST:PORT, ipc://PATH or inproc://NAME"
        )
    if side is None:
        raise ValueError(f"{text!r} says neither bind nor connect: write @{text} or >{text}")
    check_port(endpoint)
    return side, endpoint


def check_port(endpoint: str) -> None:
    """Raise ValueError for a port that TCP does not have: libzmq would take another one for it."""
    transport, _, address = endpoint.partition("://")
    port = address.rpartition(":")[2]
    if transport != "tcp" or port == "*":
        return
    if not (port.isascii() and port.isdigit() and int(port) <= MAX_PORT):
        raise ValueError(f"{endpoint!r}: a port is a number from 0 to {MAX_PORT}, or *")
