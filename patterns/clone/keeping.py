"""The rules of a value that its owner keeps alive: written again before its time is over.

An exclusive one is a lease. It begins only if nobody has the key, each renewal is a write on
condition that the key is still its own, and it is over when a renewal was refused, or when none was
acknowledged in time: counted from when it was sent, for the server counts from later.

Time is an argument: monotonic seconds.
"""

from __future__ import annotations

from patterns.clone.messages import MAX_TTL, Frames, sequence_of

# So many renewals find room in a life: two may be lost, and the value lives.
_RENEWALS = 3
# One that found no room is tried so many times until the next one would be due.
_ATTEMPTS = 4


class Keeping:
    """One value kept for `ttl` seconds at a time, at least one."""

    def __init__(self, ttl: float, *, exclusive: bool = False) -> None:
        if not 1 <= ttl <= MAX_TTL:
            raise ValueError(f"ttl {ttl} is not in 1..{MAX_TTL}: a server counts whole seconds")
        self.ttl = ttl
        self.exclusive = exclusive
        self.lost = ""  # why it is over, in one word
        self.renew_at = float("inf")
        self.held_until: float | None = None  # before the first write is acknowledged
        self.sequence = 0  # of the last write that was acknowledged
        self._uuids: list[bytes] = []  # of the last write that was acknowledged, and of the newest
        self._sent_at = 0.0
        self._delayed = False  # the renewal that is due found no room

    def held(self, now: float) -> bool:
        """True if the value is there for sure: written, in time, and nobody else's."""
        return not self.lost and self.held_until is not None and now < self.held_until

    @property
    def deadline(self) -> float:
        """The instant at which `tick` has something to do next."""
        if not self.exclusive or self.held_until is None or self.lost:
            return self.renew_at
        return min(self.renew_at, self.held_until)

    @property
    def timeout(self) -> float | None:
        """How long a write is worth waiting for, None for as long as any."""
        return self.ttl if self.exclusive else None

    def send(self, uuid: bytes, entry: Frames | None, now: float) -> int | None:
        """A write leaves now, while the client holds this entry; returns its `if_sequence`."""
        self._uuids = [*self._uuids[-1:], uuid]
        self._sent_at = now
        self._delayed = False
        self.renew_at = float("inf")
        return self.if_sequence(entry)

    def if_sequence(self, entry: Frames | None) -> int | None:
        """The condition under which the key is still one's own, None if it always is."""
        if not self.exclusive:
            return None
        own = self.own_sequence(entry)  # a new active server has given it another number
        return self.sequence if own is None else own

    def own_sequence(self, entry: Frames | None) -> int | None:
        """The number of this entry if one of the own writes made it, else None."""
        return sequence_of(entry) if entry is not None and entry[2] in self._uuids else None

    def receive_acknowledged(self, sequence: int) -> None:
        """The newest write is done."""
        self.sequence = sequence
        self._uuids = self._uuids[-1:]  # the one before is overwritten
        self.held_until = self._sent_at + self.ttl
        self.renew_at = self._sent_at + self.ttl / _RENEWALS

    def receive_failed(self, reason: str, now: float) -> None:
        """The newest write is given up. Only a lease is lost by that."""
        if self.exclusive:
            self.lost = self.lost or reason
        self.renew_at = now + self.ttl / _RENEWALS

    def receive_full(self, now: float) -> bool:
        """The renewal that is due found no room, which says nothing of the key: soon once more.

        True if that is the first time, so that it is told once.
        """
        self.renew_at = now + self.ttl / _RENEWALS / _ATTEMPTS
        first, self._delayed = not self._delayed, True
        return first

    def tick(self, now: float) -> bool:
        """Whether the value is to be written again."""
        if self.exclusive and self.held_until is not None and now >= self.held_until:
            self.lost = self.lost or "expired"
        if self.lost or now < self.renew_at:
            return False
        self.renew_at = float("inf")
        return True

    def end(self, reason: str) -> None:
        """Nobody writes it any more."""
        self.lost = self.lost or reason
        self.renew_at = float("inf")
