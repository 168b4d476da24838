"""The operator's port of a server: ask what it is, switch over, promote.

A ROUTER of its own, apart from everything that clients and peers of any make can reach: whoever
connects to it may give orders, so bind it to loopback or to an ipc path. A request is one frame,
or two: the command and `force`. The answer is `OK`, or `REFUSED` with the reason, and in either
case the server's status as JSON. What is no order is counted and logged, and gets none.
"""

from __future__ import annotations

import json
from typing import Any, Protocol

import zmq

from reactor import HandlerSet, PeerError, Stream, StreamHandler

STATUS, SWITCHOVER, PROMOTE, FORCE = b"STATUS", b"SWITCHOVER", b"PROMOTE", b"force"
OK, REFUSED = b"OK", b"REFUSED"
_MAX_FRAME = 1024


class Operated(Protocol):
    """What an operator gives orders to. An order returns why it cannot be followed, or nothing."""

    def describe(self) -> dict[str, Any]:
        """What the server is and holds: numbers, texts, None."""

    def switchover(self) -> str:
        """Hand over to the passive peer."""

    def promote(self, *, force: bool = False) -> str:
        """Be active."""


class ControlPort(StreamHandler):
    """Takes an operator's orders: [identity, command] or [identity, command, force]."""

    def __init__(self, stream: Stream, server: Operated) -> None:
        super().__init__(stream)
        self.name = stream.name
        self._server = server

    def on_message(self, frames: list[bytes]) -> None:
        """Do it, and answer with how the server is then."""
        identity, *order = frames
        reason = self._follow(order)
        description = json.dumps(self._server.describe()).encode()
        if reason:
            self.log.warning("order refused", order=order[0].decode(), reason=reason)
            self.send(identity, REFUSED, reason.encode(), description)
        else:
            self.send(identity, OK, b"", description)

    def _follow(self, order: list[bytes]) -> str:
        match order:
            case [command] if command == STATUS:
                return ""
            case [command] if command == SWITCHOVER:
                self.log.warning("an operator orders a switchover")
                return self._server.switchover()
            case [command, *force] if command == PROMOTE and force in ([], [FORCE]):
                self.log.warning("an operator orders a promotion", force=bool(force))
                return self._server.promote(force=bool(force))
        raise PeerError("not an operator's order")


def open_control(handlers: HandlerSet, endpoint: str) -> Stream:
    """Bind the control port of a handler set."""
    return handlers.open_stream(
        zmq.ROUTER,
        endpoint,
        name="control",
        unmarked="bind",
        options={zmq.MAXMSGSIZE: _MAX_FRAME},
    )


def decode_answer(frames: list[bytes]) -> tuple[str, dict[str, Any]]:
    """Why an order was refused (empty: it was not), and the status. Raises ValueError."""
    if len(frames) != 3 or frames[0] not in (OK, REFUSED):
        raise ValueError("not the answer of a control port")
    description = json.loads(frames[2])
    if not isinstance(description, dict):
        raise ValueError("not the answer of a control port")
    return frames[1].decode(), description
