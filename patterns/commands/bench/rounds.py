"""The order of events: in each round the plain subscriber and the box take turns."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from patterns.commands.bench.report import Report, Settings
from patterns.commands.bench.roles import PREFIXES
from patterns.commands.bench.work import TURNS, turns_for
from patterns.commands.children import Children

_ROLES = "patterns.commands.bench.roles"
# For an interpreter to start, and its workers, on a busy machine; then it measures.
_PATIENCE_SECONDS = 30.0


async def measure(settings: Settings, logs: Path, show: Callable[[str], None]) -> Report:
    """Return what all rounds have found; raises ChildFailed. `show` is told what happens."""
    turns = turns_for(settings.work_us * 1e-6)
    report = Report(settings)
    for number in range(1, settings.rounds + 1):
        show(f"round {number} of {settings.rounds}: one plain subscriber")
        report.plain.append(await rate_of(settings, "", turns, logs))
        for kind in settings.boxes:
            show(f"round {number} of {settings.rounds}: {kind} box of {settings.workers} workers")
            report.boxes[kind].append(await rate_of(settings, kind, turns, logs))
    return report


async def start_publisher(children: Children, size: int, subscriptions: int) -> str:
    """Start what publishes once it has so many subscriptions; return its endpoint."""
    publisher = await children.start(
        "publisher",
        *("-m", _ROLES, "publish"),
        *(f"--size={size}", f"--subscriptions={subscriptions}"),
    )
    return await publisher.hear(_PATIENCE_SECONDS)


async def rate_of(settings: Settings, kind: str, turns: int, logs: Path) -> float:
    """Return the messages a second of a kind of box, or of a plain subscriber if it is none."""
    seconds = f"--seconds={settings.seconds}"
    subscriptions = len(PREFIXES) if kind == "prefix" else 1
    async with Children(logs, {TURNS: str(turns)}) as children:
        endpoint = await start_publisher(children, settings.size, subscriptions)
        role = ("spread", f"--kind={kind}", f"--workers={settings.workers}")
        receiver = await children.start(
            kind or "subscriber",
            *("-m", _ROLES, *(role if kind else ("subscribe",)), seconds, endpoint),
        )
        return float(await receiver.hear(_PATIENCE_SECONDS + settings.seconds))
