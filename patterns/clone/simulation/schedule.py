"""Schedules: what clients do and what goes wrong, as an explicit list made from a seed.

A run is a function of its schedule and nothing else, so a list that fails can be shortened.
"""

from __future__ import annotations

from dataclasses import dataclass

from patterns.clone.levels import APPLIED

PRIMARY, BACKUP = "primary", "backup"
SERVERS = (PRIMARY, BACKUP)

# Seconds of virtual time: everybody joins, then faults come and go, then all is healed.
FIRST_OPERATION = 3.0
FIRST_FAULT = 6.0
HEAL = 38.0
LAST_OPERATION = 42.0
END = 60.0

OPERATIONS = ("set", "swap", "delete", "lease")


@dataclass(frozen=True, slots=True)
class Step:
    """One operation or fault: at `at` seconds, of this `kind`, concerning these `nodes`.

    `seconds` is how long a fault lasts, or by how much a clock is set; `detail` what else there is
    to say: the mode of a cut, the key and body of a write and the level it asks for.
    """

    at: float
    kind: str
    nodes: tuple[str, ...]
    seconds: float = 0.0
    detail: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Member:
    """A client: what it follows, and which server it prefers."""

    name: str
    subtrees: tuple[str, ...] = ("",)
    first: str = PRIMARY


@dataclass(frozen=True, slots=True)
class Schedule:
    """Everything that decides a run.

    `squeeze` makes queues so short; 0 leaves them as they are. `ack` and `without_peer` are the
    policies of the servers.
    """

    seed: int
    scenario: str
    members: tuple[Member, ...]
    steps: tuple[Step, ...]
    squeeze: int = 0
    drift: float = 0.0
    jitter: float = 0.002
    ack: str = APPLIED
    without_peer: str = "degrade"
