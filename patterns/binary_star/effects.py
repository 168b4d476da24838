"""What the rules of Binary Star tell the wiring to do, in order and at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from patterns.binary_star.messages import State
from patterns.binary_star.table import Event


@dataclass(frozen=True, slots=True)
class BecomeActive:
    """Start to serve, in this epoch or a higher one; also sent to a server that is active.

    `forced`: also without a complete copy, by an operator or for want of a better one.
    """

    epoch: int
    forced: bool = False


@dataclass(frozen=True, slots=True)
class BecomePassive:
    """Stop to serve and fetch the active's data.

    `diverged_since` is the sequence after which this server's own updates are given up, None if
    there was no conflict.
    """

    diverged_since: int | None = None


@dataclass(frozen=True, slots=True)
class ServeRequest:
    """Serve the client whose request was just received."""


@dataclass(frozen=True, slots=True)
class RefuseRequest:
    """Do not serve the client whose request was just received: send nothing."""


@dataclass(frozen=True, slots=True)
class SendHeartbeat:
    """Send `heartbeat_frame()` to the peer, now: it tells what the effects before this one did."""


@dataclass(frozen=True, slots=True)
class SuspendService:
    """Leave what arrives from clients where it is, until ResumeService or BecomePassive."""


@dataclass(frozen=True, slots=True)
class ResumeService:
    """Go on with what clients sent: the peer has not taken over."""


@dataclass(frozen=True, slots=True)
class ReportConflict:
    """Both servers were active; tell somebody.

    Writes are those since the two parted; a peer that has won already counts from its new epoch.
    """

    won: bool
    own_writes: int
    peer_writes: int
    own_epoch: int
    peer_epoch: int


@dataclass(frozen=True, slots=True)
class ReportMismatch:
    """The two servers are configured differently; tell an operator. Sent once in a while."""

    mismatch: str


@dataclass(frozen=True, slots=True)
class Transition:
    """The state has changed; `epoch` is the one known or begun."""

    old: State
    new: State
    cause: Event
    epoch: int


Effect: TypeAlias = (
    BecomeActive
    | BecomePassive
    | ServeRequest
    | RefuseRequest
    | SendHeartbeat
    | SuspendService
    | ResumeService
    | ReportConflict
    | ReportMismatch
    | Transition
)
