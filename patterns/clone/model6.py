"""Model Six: as Model Five, and the state survives the death of a server (Guide, chapter 5).

    primary   P 5556 ROUTER, 5557 XPUB, 5558 SUB <--+-- clients write to both, follow the active
      5003 |^ 5004                                  |
    backup    P 5566 ROUTER, 5567 XPUB, 5568 SUB <--+

The two servers are a Binary Star: exactly one is active. The collector is a SUB from here on, so
that a client reaches both, and the active says with heartbeats (HUGZ) that it is there. RFC 12 is
this model written down.
"""

from __future__ import annotations

from typing import Any

from patterns.binary_star.messages import Role
from patterns.clone.client import CloneClient
from patterns.clone.dialects import RFC12
from patterns.clone.handlers import CloneServer

DIALECT = RFC12
Server = CloneServer

_PORTS = {Role.PRIMARY: (5556, 5003), Role.BACKUP: (5566, 5004)}


def primary(host: str = "127.0.0.1", **options: Any) -> CloneServer:
    """The primary server, at the Guide's ports; further options are those of CloneServer."""
    return _server(Role.PRIMARY, Role.BACKUP, host, options)


def backup(host: str = "127.0.0.1", **options: Any) -> CloneServer:
    """The backup server, at the Guide's ports; further options are those of CloneServer."""
    return _server(Role.BACKUP, Role.PRIMARY, host, options)


def _server(role: Role, other: Role, host: str, options: dict[str, Any]) -> CloneServer:
    (port, state), (peer, peer_state) = _PORTS[role], _PORTS[other]
    return CloneServer(
        port,
        host,
        role=role,
        state_bind=f"tcp://{host}:{state}",
        state_connect=f"tcp://{host}:{peer_state}",
        peer=f"tcp://{host}:{peer}",
        **options,
    )


class Client(CloneClient):
    """A CloneClient; its `servers` are those of a pair, the preferred one first."""
