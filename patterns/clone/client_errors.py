"""What goes wrong for the user of a Clone client."""

from __future__ import annotations

from reactor import ReactorError


class WriteError(ReactorError):
    """A write was not acknowledged.

    `reason` is `timeout` or `closed` (it may have been applied), `unsupported` (the server knows no
    conditions), or the server's for refusing it: `conflict` (the key is not what the condition
    says), `full`, `reserved`. `key` is the key.
    """

    def __init__(self, reason: str, key: bytes = b"") -> None:
        super().__init__(f"write of {key!r} not done: {reason}")
        self.reason = reason
        self.key = key


class ClientClosed(ReactorError):
    """The client was stopped before this call, or while it was waiting."""


class TooManyKept(ReactorError):
    """A client keeps so many values alive already; this one was not taken."""


class ReadOnly(ReactorError):
    """The service takes no updates from its clients (model two)."""


class WatcherTooSlow(ReactorError):
    """Events came faster than a watcher took them, and its queue reached its limit."""
