"""Faults: what a test has done to the connections of a fake network."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from reactor.streams import Stream

if TYPE_CHECKING:
    from reactor.testing.channels import FakeChannel
    from reactor.testing.exchange import Exchange

Place = str | Stream | Iterable[str | Stream] | None
"""Where a fault is: a stream; the name of a stream, or of the handler set that opened it, or of a
simulation's node; an endpoint, for whoever is bound to it; several of these; None for everywhere.
"""


class Fault:
    """A fault between the places `a` and `b`, in both directions, until it is cancelled."""

    def __init__(self, exchange: Exchange, a: Place, b: Place) -> None:
        self.a = _selectors(a)
        self.b = _selectors(b)
        self._exchange = exchange

    def cancel(self) -> None:
        """Take the fault back; idempotent."""
        self._exchange.remove_fault(self)

    def is_between(self, other: Fault) -> bool:
        """Whether the other fault names the same places, either way round."""
        return {self.a, self.b} == {other.a, other.b}

    def concerns(self, one: FakeChannel, other: FakeChannel) -> bool:
        """Whether a connection of these two channels is between the places."""
        a, b = self.a, self.b
        return (_is_at(one, a) and _is_at(other, b)) or (_is_at(one, b) and _is_at(other, a))


class Partition(Fault):
    """Nothing passes; with `reset` connections are broken and messages under way lost as well.

    With `one_way`, only what is sent from `a` to `b` does not pass.
    """

    def __init__(
        self, exchange: Exchange, a: Place, b: Place, reset: bool, one_way: bool = False
    ) -> None:
        super().__init__(exchange, a, b)
        self.reset = reset
        self.one_way = one_way

    def blocks(self, sender: FakeChannel, receiver: FakeChannel) -> bool:
        """Whether what `sender` sends to `receiver` does not pass."""
        if not self.one_way:
            return self.concerns(sender, receiver)
        return _is_at(sender, self.a) and _is_at(receiver, self.b)

    def hides(self, channel: FakeChannel, endpoint: str) -> bool:
        """Whether the host of an endpoint at which nobody is bound cannot be asked from here."""
        a, b = self.a, self.b
        return (_is_at(channel, a) and _is_among(endpoint, b)) or (
            _is_at(channel, b) and _is_among(endpoint, a)
        )


class Delay(Fault):
    """Messages are `seconds` longer on the way."""

    def __init__(self, exchange: Exchange, a: Place, b: Place, seconds: float) -> None:
        super().__init__(exchange, a, b)
        self.seconds = seconds


class Loss(Fault):
    """Messages that a predicate picks are lost, or so many of whatever comes next."""

    dropped = 0
    """How many messages this fault has lost."""

    def __init__(
        self, exchange: Exchange, a: Place, b: Place, which: Callable[[list[bytes]], bool] | int
    ) -> None:
        super().__init__(exchange, a, b)
        self._which = which

    def takes(self, message: tuple[bytes, ...]) -> bool:
        """Whether this message is lost; it is counted then."""
        which = self._which
        lost = self.dropped < which if isinstance(which, int) else which(list(message))
        self.dropped += lost
        return lost


Selectors = tuple[str | Stream, ...] | None


def _selectors(place: Place) -> Selectors:
    if place is None or isinstance(place, (str, Stream)):
        return None if place is None else (place,)
    return tuple(place)


def _is_at(channel: FakeChannel, place: Selectors) -> bool:
    return place is None or any(_picks(selector, channel) for selector in place)


def _is_among(endpoint: str, place: Selectors) -> bool:
    return place is None or endpoint in place


def _picks(selector: str | Stream, channel: FakeChannel) -> bool:
    if isinstance(selector, Stream):
        return channel.stream is selector
    if channel.node == selector:
        return True
    name = channel.stream.name if channel.stream is not None else ""
    return name == selector or name.startswith(f"{selector}.") or selector in channel.bound
