"""What goes wrong for the user of a Clone client."""

from __future__ import annotations

from patterns.clone.levels import APPLIED
from reactor import ReactorError


class WriteError(ReactorError):
    """A write was not acknowledged, or not at the level that was asked for.

    `reason` is `applied` (it is, and `sequence` is its number, but the passive server has not
    confirmed it), `timeout` or `closed` (it may have been applied), `unsupported` (the server knows
    no conditions, or has no peer to replicate to), or the server's for refusing it: `conflict` (the
    key is not what the condition says), `unreplicated` (the passive server is not there to confirm
    it), `full`, `reserved`. Of a kept value also why that is over: see `Kept.lost`. `key` is the
    key; `sequence` is 0 but for `applied`.
    """

    def __init__(self, reason: str, key: bytes = b"", sequence: int = 0) -> None:
        only_applied = reason == APPLIED
        outcome = "applied, but not replicated" if only_applied else f"not done: {reason}"
        super().__init__(f"write of {key!r} {outcome}")
        self.reason = reason
        self.key = key
        self.sequence = sequence


class ClientClosed(ReactorError):
    """The client was stopped before this call, or while it was waiting."""


class TooManyKept(ReactorError):
    """A client keeps so many values alive already; this one was not taken."""


class ReadOnly(ReactorError):
    """The service takes no updates from its clients (model two)."""


class WatcherTooSlow(ReactorError):
    """Events came faster than a watcher took them, and its queue reached its limit."""
