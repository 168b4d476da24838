"""Whether the pair could lose a server: one is active, and the other has all of its data."""

from __future__ import annotations

from collections.abc import Sequence

import zmq

from patterns.binary_star.messages import PeerState, State
from reactor import Reactor

# Each server tells its state once a heartbeat: what is older than some of them says nothing.
FRESH_SECONDS = 1.0


class PairHealth:
    """Hears what both servers tell each other, as a monitor of the pair would."""

    def __init__(self) -> None:
        self._heard: dict[str, tuple[State, float]] = {}

    def listen(self, reactor: Reactor, endpoints: Sequence[str]) -> None:
        """Subscribe to the states of both servers."""
        stream = reactor.open_stream(
            zmq.SUB, *endpoints, name="states", unmarked="connect", subscribe=(b"",)
        )
        stream.on_message(lambda frames: self.receive(frames, reactor.now()))

    def receive(self, frames: Sequence[bytes], now: float) -> None:
        """A server's heartbeat to the other one."""
        heartbeat = PeerState.decode(frames[0])
        self._heard[heartbeat.role.value] = (heartbeat.state, now)

    def active(self, now: float) -> str | None:
        """The active server, when the other follows it with a complete copy; else None."""
        fresh = {
            state: role
            for role, (state, heard) in self._heard.items()
            if now - heard < FRESH_SECONDS
        }
        return fresh.get(State.ACTIVE) if State.PASSIVE in fresh else None
