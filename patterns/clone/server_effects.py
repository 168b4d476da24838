"""What the rules of a Clone server tell the wiring to do, in order and at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from patterns.clone.messages import Frames


@dataclass(frozen=True, slots=True)
class Publish:
    """Send these frames through the publisher."""

    frames: Frames


@dataclass(frozen=True, slots=True)
class SendSnapshot:
    """Send a client the entries, then `end`, each after its identity; in turns, not at once.

    The entries are fixed, whatever happens to the map in the meantime. `packed`: many entries to a
    message, as the client has asked for.
    """

    identity: bytes
    subtree: bytes
    sequence: int
    entries: tuple[Frames, ...]
    end: Frames
    packed: bool = False


@dataclass(frozen=True, slots=True)
class SayHello:
    """Open the peer link anew and say hello; what answers it is this attempt's.

    All after `sequence` is wanted. `held` is the newest number held, of an incomplete copy too.
    """

    attempt: int
    sequence: int
    held: int


@dataclass(frozen=True, slots=True)
class Confirm:
    """Tell the active server what is held: once for all that is received in a turn of the loop."""


@dataclass(frozen=True, slots=True)
class Synchronised:
    """The copy of the active's data is complete: tell Binary Star."""


@dataclass(frozen=True, slots=True)
class OutOfSync:
    """The copy of the active's data has a gap: tell Binary Star."""


@dataclass(frozen=True, slots=True)
class ReportDiverged:
    """These entries were accepted here and are given up for the peer's data."""

    entries: tuple[Frames, ...]


@dataclass(frozen=True, slots=True)
class ReportReplication:
    """The passive server keeps up from now on, or not any more; tell an operator."""

    in_sync: bool


Effect: TypeAlias = (
    Publish
    | SendSnapshot
    | SayHello
    | Confirm
    | Synchronised
    | OutOfSync
    | ReportDiverged
    | ReportReplication
)
