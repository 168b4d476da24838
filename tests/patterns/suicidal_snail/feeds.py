"""Stamps as a publisher with a clock of its own makes them, for tests of the rules."""

from patterns.suicidal_snail.messages import (
    Beat,
    Stamp,
    encode_beat,
    encode_origin,
    encode_stamp,
)

NAME = b"feed".ljust(8, b"\0")


class Feed:
    """A publisher that stamps; `offset` is what its clock is ahead of that of the test."""

    def __init__(self, name=NAME, incarnation=1, offset=1e9):
        self.name = name
        self.incarnation = incarnation
        self.offset = offset
        self.sequence = 0

    def stamps(self, count, at):
        """The stamps of so many messages that are sent at one instant of the test's clock."""
        origin = encode_origin(self.name, self.incarnation)
        first, self.sequence = self.sequence + 1, self.sequence + count
        return [
            encode_stamp(origin, number, at + self.offset)
            for number in range(first, self.sequence + 1)
        ]

    def beat(self, at, count=0, since=0):
        stamp = Stamp(self.name, self.incarnation, self.sequence, at + self.offset)
        return encode_beat(Beat(stamp, since, count))
