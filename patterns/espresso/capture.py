"""The loop's ends of the proxy in the thread: its answers, subscriptions, and what it captured."""

from __future__ import annotations

import os
import struct

import zmq

from patterns.espresso.account import Account, Totals
from patterns.espresso.protocol import Kind, Record, kind_captured
from patterns.espresso.pumping import Take, note_subscription
from patterns.espresso.tables import SubscriptionTable
from reactor import Stream, StreamHandler

_COUNT = struct.Struct("=Q")
MARK = b"espresso " + os.urandom(16)
"""Sent through the capture socket when a run begins of which everything is captured."""


class Traffic(StreamHandler):
    """Everything that passes, while records are wanted."""

    def __init__(self, stream: Stream, account: Account, take: Take) -> None:
        super().__init__(stream)
        self.account = account
        self.take = take

    def on_message(self, frames: list[bytes]) -> None:
        """Make a record."""
        if frames[0] == MARK:
            self.account.receive_mark()
            return
        self.account.captured += len(frames)
        kind = kind_captured(frames) if len(frames) == 1 else Kind.MESSAGE
        self.take(Record(self.reactor.now(), kind, tuple(frames)))

    def waits(self) -> bool:
        """Return whether anything waits to be taken."""
        stream = self.stream
        waits = bool(int(stream.get_option(zmq.EVENTS)) & zmq.POLLIN)
        if waits and stream.receiving:
            # Reading EVENTS has taken away the descriptor's sign that there is something.
            stream.pause()
            stream.resume()
        return waits


class Events(StreamHandler):
    """Subscriptions, for the table."""

    def __init__(self, stream: Stream, table: SubscriptionTable) -> None:
        super().__init__(stream)
        self.table = table

    def on_message(self, frames: list[bytes]) -> None:
        """Enter one; a message whose topic begins with byte 0 or 1 comes here as well."""
        note_subscription(self.table, kind_captured(frames), frames[0][1:])


class Control(StreamHandler):
    """The proxy's answers: eight counts for STATISTICS, an empty frame or nothing otherwise."""

    def __init__(self, stream: Stream, account: Account, traffic: Traffic) -> None:
        super().__init__(stream)
        self.account = account
        self.traffic = traffic

    def on_message(self, frames: list[bytes]) -> None:
        """Enter the counts into the account."""
        if len(frames) == 8:
            counts = [_COUNT.unpack(frame)[0] for frame in frames]
            totals = Totals(counts[0], counts[1], counts[4], counts[5])
            self.account.receive(totals, waiting=self.traffic.waits())
