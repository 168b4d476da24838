"""The Clone pair in simulation: seeds make schedules, runs are watched, invariants are checked.

    seed --generate--> Schedule --run--> Result --shrink--> a shorter Schedule, a pytest file
                                  |
                       Cluster: the real CloneServer, BinaryStar and CloneClient,
                       on machines that crash, pause and are cut off

This is the one part of the library that stands on the test kit: `reactor simulate` runs it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from patterns.clone.simulation.generation import generate
    from patterns.clone.simulation.history import Violation
    from patterns.clone.simulation.runs import Result, run
    from patterns.clone.simulation.scenarios import SCENARIOS
    from patterns.clone.simulation.schedule import Member, Schedule, Step
    from patterns.clone.simulation.shrinking import shrink

__all__ = [
    "SCENARIOS",
    "Member",
    "Result",
    "Schedule",
    "Step",
    "Violation",
    "generate",
    "run",
    "shrink",
]

_HOMES = {
    "SCENARIOS": "scenarios",
    "Member": "schedule",
    "Result": "runs",
    "Schedule": "schedule",
    "Step": "schedule",
    "Violation": "history",
    "generate": "generation",
    "run": "runs",
    "shrink": "shrinking",
}


def __getattr__(name: str) -> object:
    """Import a public name at its first use."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
