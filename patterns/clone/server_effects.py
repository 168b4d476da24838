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
class RequestSnapshot:
    """Ask the peer for everything, on a new socket; its answers are received as this attempt."""

    attempt: int


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


Effect: TypeAlias = (
    Publish | SendSnapshot | RequestSnapshot | Synchronised | OutOfSync | ReportDiverged
)
