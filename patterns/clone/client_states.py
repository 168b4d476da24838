"""What can be asked of the rules of a Clone client: what it does, what it knows, what it counts."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import NamedTuple


class ClientState(enum.Enum):
    """What a client is doing.

    CONNECTING: waits for a heartbeat. SYNCING: waits for the snapshot. LIVE: follows, its map is
    current. STALE: its map is old or empty, and it pauses before it tries again.
    """

    CONNECTING = "connecting"
    SYNCING = "syncing"
    LIVE = "live"
    STALE = "stale"


class Entry(NamedTuple):
    """What a client knows of a key: its value and sequence number, None and 0 without an entry."""

    value: bytes | None
    sequence: int


@dataclass(frozen=True, slots=True)
class ClientStatistics:
    """What a client has seen and done so far, as of one instant."""

    state: ClientState
    server: int
    epoch: int
    sequence: int
    keys: int
    unacknowledged: int
    updates: int
    discarded: int
    losses: int
    snapshots: int
    snapshots_failed: int
    acknowledged: int
    failed: int
    sent_again: int
