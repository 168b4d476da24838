"""The server's own figures, as values below `$SYS/` that clients read and watch like any others.

They are updates of the server's own, with numbers, since every client discards what has none. So
only what has changed is published, and only every so often: a server with nothing to do publishes
nothing.
"""

from __future__ import annotations

from dataclasses import asdict

from patterns.clone.server_status import ServerStatistics

SYS = b"$SYS/"
SECONDS = 5.0
# Those that it would never stop to publish.
_CHANGED_BY_TELLING = ("sequence", "confirmed", "held_back")


class OwnFigures:
    """Which figures are to be published, and when; `interval` is seconds."""

    def __init__(self, interval: float = SECONDS) -> None:
        self.interval = interval
        self.due_at = float("inf")
        self._told: dict[str, int] = {}

    def begin(self, now: float) -> None:
        """The server becomes active: what another one told is not true of this one."""
        self._told.clear()
        self.due_at = now

    def take_changed(self, statistics: ServerStatistics, now: float) -> list[tuple[bytes, bytes]]:
        """Keys and bodies of what has changed since it was told, if it is time for that."""
        if now < self.due_at:
            return []
        self.due_at = now + self.interval
        changed = {
            name: value
            for name, value in asdict(statistics).items()
            if isinstance(value, int)
            and name not in _CHANGED_BY_TELLING
            and self._told.get(name) != value
        }
        self._told.update(changed)
        return [(SYS + name.encode(), b"%d" % value) for name, value in changed.items()]
