"""The three ports of a Clone server: it is named by the first, P; P+1 publishes, P+2 collects."""

from __future__ import annotations

from reactor import EndpointError

LAST_PORT = 65535 - 2  # that can be the first of three


def neighbour(endpoint: str, offset: int) -> str:
    """Return `endpoint` with `offset` added to its port; raises EndpointError if it has none."""
    address, _, port = endpoint.rpartition(":")
    is_port = port.isascii() and port.isdigit() and 0 < int(port) <= LAST_PORT
    if not is_port or not address.lstrip("@>").startswith("tcp://"):
        raise EndpointError(
            f"{endpoint!r} names no Clone server: write tcp://HOST:PORT with the first of its"
            f" three ports, at most {LAST_PORT}"
        )
    return f"{address}:{int(port) + offset}"


def publisher_of(endpoint: str) -> str:
    """The endpoint that publishes updates and heartbeats, P+1."""
    return neighbour(endpoint, 1)


def collector_of(endpoint: str) -> str:
    """The endpoint that collects clients' updates, P+2."""
    return neighbour(endpoint, 2)
