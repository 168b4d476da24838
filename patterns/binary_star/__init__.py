"""Binary Star: two servers, exactly one of them active (the Guide, chapter 4).

              peer heartbeats
    +---------+  <----------->  +---------+
    | primary |                 | backup  |
    | active  |                 | passive |
    +---------+                 +---------+
         ^                           ^
         | requests                  | requests, once the primary
         |                           | is silent: the clients' votes
         +-----------clients---------+

Primary and backup are roles and never change; active and passive are states. The passive server
takes over when it hears nothing from its peer and a client asks for service at the same time, or
when the peer's host says that its process has ended.
The rules are in `protocol`, the peers' heartbeat in `messages`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from patterns.binary_star.handlers import BinaryStar, Service
    from patterns.binary_star.messages import Progress, Role, State

__all__ = [
    "BinaryStar",
    "Progress",
    "Role",
    "Service",
    "State",
]

_HOMES = {
    "BinaryStar": "patterns.binary_star.handlers",
    "Service": "patterns.binary_star.handlers",
    "Progress": "patterns.binary_star.messages",
    "Role": "patterns.binary_star.messages",
    "State": "patterns.binary_star.messages",
}


def __getattr__(name: str) -> object:
    """Import a public name at its first use, so that the rules alone can be used without zmq."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
