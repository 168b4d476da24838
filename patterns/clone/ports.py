"""The three ports of a Clone server: it is named by the first, P; P+1 publishes, P+2 collects."""

from __future__ import annotations

from collections.abc import Sequence

import zmq

from patterns.clone.messages import MAX_FRAME
from reactor import EndpointError, HandlerSet, Policy, Stream

LAST_PORT = 65535 - 2  # that can be the first of three
# Messages that libzmq keeps for each subscriber before it drops, which the subscriber notices.
HWM = 100_000
# Connections that wait to be accepted. With libzmq's 100, a storm of clients runs into the kernel's
# one-second retry; the kernel cuts this to its own limit.
BACKLOG = 4096
# A client whose host is gone without a word may have owed the server nothing, so its connections
# would be kept for ever, and with them a descriptor each. The kernel asks after a silent minute,
# and ends them a minute later. No word of ZMTP is needed, and a client that is paused is kept.
_KEEPALIVE = {
    zmq.TCP_KEEPALIVE: 1,
    zmq.TCP_KEEPALIVE_IDLE: 60,
    zmq.TCP_KEEPALIVE_INTVL: 10,
    zmq.TCP_KEEPALIVE_CNT: 6,
}

_ATTEMPTS = 50
_NAMES: dict[int, str] = {zmq.ROUTER: "snapshots", zmq.XPUB: "publisher", zmq.PUB: "publisher"}
_OPTIONS: dict[int, dict[int, int]] = {
    zmq.ROUTER: {zmq.ROUTER_MANDATORY: 1},
    zmq.XPUB: {zmq.XPUB_VERBOSE: 1, zmq.SNDHWM: HWM},
    zmq.PUB: {zmq.SNDHWM: HWM},
    zmq.SUB: {zmq.RCVHWM: HWM},
    zmq.PULL: {zmq.RCVHWM: HWM},
}


def bind_in_a_row(server: HandlerSet, host: str, port: int, *socket_types: int) -> list[Stream]:
    """Bind a stream of `server` to a port for each type, the first one to `port`; 0: any.

    Raises EndpointError if one of them is taken, and leaves nothing open.
    """
    for attempt in range(_ATTEMPTS):
        streams: list[Stream] = []
        try:
            for socket_type in socket_types:
                streams.append(_bind_next(server, host, port, socket_type, streams))
            return streams
        except EndpointError:
            for stream in streams:
                stream.close()
            # If not even the first port could be had, no other will be better.
            if port or not streams or attempt + 1 == _ATTEMPTS:
                raise
    raise AssertionError("not reached")


def _bind_next(
    server: HandlerSet, host: str, port: int, socket_type: int, bound: Sequence[Stream]
) -> Stream:
    first = f"tcp://{host}:{port or '*'}"
    endpoint = neighbour(bound[0].endpoint, len(bound)) if bound else first
    publishes = socket_type in (zmq.XPUB, zmq.PUB)
    return server.open_stream(
        socket_type,
        f"@{endpoint}",
        name=_NAMES.get(socket_type, "collector"),
        policy=Policy.DROP_OLDEST if publishes else Policy.ERROR,
        subscribe=(b"",) if socket_type == zmq.SUB else (),
        options={
            zmq.MAXMSGSIZE: MAX_FRAME,
            zmq.BACKLOG: BACKLOG,
            **_KEEPALIVE,
            **_OPTIONS[socket_type],
        },
    )


def neighbour(endpoint: str, offset: int) -> str:
    """Return `endpoint` with `offset` added to its port; raises EndpointError if it has none.

    TypeError if it is no string.
    """
    if not isinstance(endpoint, str):
        raise TypeError(f"an endpoint is a string, tcp://HOST:PORT, not {endpoint!r}")
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
