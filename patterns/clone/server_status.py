"""What a Clone server is, and what it tells about itself."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class ServerState(enum.Enum):
    """What a Clone server is. SYNCING: passive, without a complete copy of the active's data."""

    STARTING = "starting"
    SYNCING = "syncing"
    PASSIVE = "passive"
    ACTIVE = "active"


class NotSynchronised(RuntimeError):
    """A server without a complete copy was to become active, and nobody has forced it."""


@dataclass(frozen=True, slots=True)
class ServerStatistics:
    """What a Clone server has seen and done so far, as of one instant.

    Of an active one of a pair: the passive one keeps up (`in_sync`), holds all up to `confirmed`
    as far as it was asked, and so many publications and snapshots are `waiting` for it now, or were
    so far (`held_back`). `degraded` counts updates that were to be replicated and were published
    as only applied, `unreplicated` those refused instead; `links` the hellos that were answered.
    """

    state: ServerState
    epoch: int
    sequence: int
    keys: int
    pending: int
    subtrees: int
    subtrees_refused: int
    updates: int
    duplicates: int
    expired: int
    refused: int
    conflicts: int
    snapshots: int
    snapshots_refused: int
    replicated: int
    replicas_discarded: int
    pending_dropped: int
    resyncs: int
    in_sync: bool
    confirmed: int
    waiting: int
    held_back: int
    degraded: int
    unreplicated: int
    links: int
    links_lost: int
