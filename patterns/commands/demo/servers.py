"""The servers of the demo: a Clone pair and a last value cache, on ports the kernel chooses."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from dataclasses import dataclass

from patterns.commands.children import Child, ChildFailed, Children, together

HEARTBEAT_SECONDS = 0.2
PEER_TIMEOUT_SECONDS = 0.8
SERVER_TTL_SECONDS = 1.0
START_TIMEOUT_SECONDS = 15.0
_HOST = "127.0.0.1"
_ATTEMPTS = 5
_COMMAND = ("-m", "patterns.commands", "serve")


@dataclass(frozen=True, slots=True)
class Pair:
    """The servers by their endpoints, in the clients' order, and where each tells its state."""

    servers: dict[str, Child]
    states: tuple[str, str]

    @property
    def endpoints(self) -> list[str]:
        """The snapshot endpoints, the primary's first."""
        return list(self.servers)

    def named(self, role: str) -> Child:
        """The server that was started in this role."""
        return next(server for server in self.servers.values() if server.name == role)


@dataclass(frozen=True, slots=True)
class PairPorts:
    """The first of three ports of each server, and the one on which it tells its state."""

    primary: int
    backup: int
    primary_state: int
    backup_state: int


def choose_ports() -> PairPorts:
    """Ports that nobody has bound a moment ago; the caller chooses again if that has changed."""
    with ExitStack() as bound:
        triples = [_bind_row(bound, 3) for _ in range(2)]
        states = [_bind_row(bound, 1) for _ in range(2)]
        return PairPorts(*triples, *states)


def _bind_row(bound: ExitStack, length: int) -> int:
    """Bind `length` ports in a row until `bound` is closed; return the first."""
    while True:
        with ExitStack() as row:
            first = row.enter_context(_bind(0)).getsockname()[1]
            try:
                for offset in range(1, length):
                    row.enter_context(_bind(first + offset))
            except (OSError, OverflowError):
                continue  # taken, or past the last port there is: the kernel chooses another
            bound.enter_context(row.pop_all())
            return int(first)


def _bind(port: int) -> socket.socket:
    listener = socket.socket()
    try:
        listener.bind((_HOST, port))
    except BaseException:
        listener.close()
        raise
    return listener


async def start_pair(children: Children) -> Pair:
    """Start both servers; when somebody took a port meanwhile, again with others."""
    for attempt in range(_ATTEMPTS):
        ports = choose_ports()
        pair = await together(
            _start_server(children, "primary", ports), _start_server(children, "backup", ports)
        )
        try:
            for server in pair:
                await server.hear(START_TIMEOUT_SECONDS)
        except ChildFailed as failure:
            if "in use" not in str(failure) or attempt + 1 == _ATTEMPTS:
                raise
            await together(*(server.end() for server in pair))
        else:
            servers = dict(zip(map(_endpoint, (ports.primary, ports.backup)), pair, strict=True))
            return Pair(servers, (_endpoint(ports.primary_state), _endpoint(ports.backup_state)))
    raise AssertionError("not reached")


async def _start_server(children: Children, role: str, ports: PairPorts) -> Child:
    own, peer = (ports.primary, ports.primary_state), (ports.backup, ports.backup_state)
    if role == "backup":
        own, peer = peer, own
    options = {
        "--port": str(own[0]),
        "--host": _HOST,
        "--role": role,
        "--state-bind": _endpoint(own[1]),
        "--state-connect": _endpoint(peer[1]),
        "--peer": _endpoint(peer[0]),
        "--heartbeat": str(HEARTBEAT_SECONDS),
        "--timeout": str(PEER_TIMEOUT_SECONDS),
    }
    words = [word for option in options.items() for word in option]
    return await children.start(role, *_COMMAND, "clone", *words)


async def start_cache(children: Children, feed: str) -> str:
    """Start the last value cache behind the publisher at `feed`; return where to subscribe."""
    backend = f"tcp://{_HOST}:*"
    cache = await children.start(
        "cache", *_COMMAND, "lvc", "--frontend", feed, "--backend", backend
    )
    ready = await cache.hear(START_TIMEOUT_SECONDS)
    return ready.split()[-1]


def _endpoint(port: int) -> str:
    return f"tcp://{_HOST}:{port}"
