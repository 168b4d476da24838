"""Clone: one changing map, shared by many processes (the Guide, chapter 5; RFC 12, CHP).

    +------------------- server -------------------+
    | snapshot P         publisher P+1   collector P+2
    | ROUTER             XPUB            SUB       |
    +----^--|---------------|---------------^------+
         |  | KVSYNC ...    | KVPUB, HUGZ   | KVSET
ICANHAZ? |  v KTHXBAI       v               |
    +----|--v---------------v---------------|------+
    | DEALER             SUB             XPUB      |
    +------------------- client -------------------+

A client subscribes, fetches a snapshot, and then follows the updates. It never writes into its
own map: what it sets comes back from the server, numbered, like everybody's. With a second server
(a Binary Star pair, model 6) the state survives the death of the first.

The rules are in `protocol`, the messages in `messages`, the map in `store`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from patterns.clone.blocking import Clone
    from patterns.clone.client import CloneClient
    from patterns.clone.client_errors import (
        ClientClosed,
        ReadOnly,
        TooManyKept,
        WatcherTooSlow,
        WriteError,
    )
    from patterns.clone.client_protocol import (
        ClientState,
        ConditionsUnsupported,
        Deleted,
        Entry,
        Expired,
        Live,
        OutboxFull,
        Put,
        Stale,
    )
    from patterns.clone.handlers import CloneServer
    from patterns.clone.kept import Kept
    from patterns.clone.messages import KVMessage, MalformedMessage
    from patterns.clone.replication import ReplicationPolicy

__all__ = [
    "ClientClosed",
    "ClientState",
    "Clone",
    "CloneClient",
    "CloneServer",
    "ConditionsUnsupported",
    "Deleted",
    "Entry",
    "Expired",
    "KVMessage",
    "Kept",
    "Live",
    "MalformedMessage",
    "OutboxFull",
    "Put",
    "ReadOnly",
    "ReplicationPolicy",
    "Stale",
    "TooManyKept",
    "WatcherTooSlow",
    "WriteError",
]

_HOMES = {
    "Clone": "patterns.clone.blocking",
    "CloneClient": "patterns.clone.client",
    "ClientClosed": "patterns.clone.client_errors",
    "Kept": "patterns.clone.kept",
    "ReadOnly": "patterns.clone.client_errors",
    "ReplicationPolicy": "patterns.clone.replication",
    "TooManyKept": "patterns.clone.client_errors",
    "WatcherTooSlow": "patterns.clone.client_errors",
    "WriteError": "patterns.clone.client_errors",
    "ClientState": "patterns.clone.client_protocol",
    "ConditionsUnsupported": "patterns.clone.client_protocol",
    "Entry": "patterns.clone.client_protocol",
    "Deleted": "patterns.clone.client_protocol",
    "Expired": "patterns.clone.client_protocol",
    "Live": "patterns.clone.client_protocol",
    "OutboxFull": "patterns.clone.client_protocol",
    "Put": "patterns.clone.client_protocol",
    "Stale": "patterns.clone.client_protocol",
    "CloneServer": "patterns.clone.handlers",
    "KVMessage": "patterns.clone.messages",
    "MalformedMessage": "patterns.clone.messages",
}


def __getattr__(name: str) -> object:
    """Import a public name at its first use, so that the rules alone can be used without zmq."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
