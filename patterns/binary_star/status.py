"""What a server of a pair tells about itself: counters, and the state for an operator."""

from __future__ import annotations

from dataclasses import dataclass

from patterns.binary_star.messages import Role, State


@dataclass(frozen=True, slots=True)
class BinaryStarStatistics:
    """What a server of a pair has seen so far, as of one instant."""

    state: State
    epoch: int
    serving: bool
    heartbeats_sent: int
    heartbeats_received: int
    heartbeats_refused: int
    requests_served: int
    requests_refused: int
    transitions: int
    conflicts: int
    stalls: int


@dataclass(frozen=True, slots=True)
class BinaryStarStatus:
    """What an operator asks a server of a pair; times are seconds, None if it never was.

    `mismatch` says how the two servers are configured differently, and is empty if they are not.
    `peer_gone` is true while the peer's host says that nobody listens there.
    """

    role: Role
    state: State
    state_age: float
    serving: bool
    epoch: int
    sequence: int
    heartbeat: float
    timeout: float
    peer_state: State | None
    peer_age: float | None
    peer_epoch: int | None
    peer_sequence: int | None
    peer_gone: bool
    mismatch: str
    transitions: int
    conflicts: int
