"""The plain publisher of the demo: messages for the last value cache, and nothing is dropped."""

from __future__ import annotations

import asyncio
import itertools

import zmq

from patterns.commands.demo.truth import State
from reactor import Policy, Reactor, Stream

_HWM = 100_000


class Feed:
    """An XPUB, which is a PUB that hears of its subscribers and says when one is full."""

    def __init__(self, reactor: Reactor) -> None:
        self._subscribed = asyncio.Event()
        self.stream: Stream = reactor.open_stream(
            zmq.XPUB,
            "@tcp://127.0.0.1:*",
            name="feed",
            policy=Policy.DROP_NEWEST,
            options={zmq.SNDHWM: _HWM, zmq.XPUB_NODROP: 1},
        )
        self.stream.on_message(lambda frames: self._subscribed.set())

    @property
    def endpoint(self) -> str:
        """Where it publishes."""
        return self.stream.endpoint

    async def subscribed(self) -> None:
        """Wait for the first subscriber: from then on nothing is lost."""
        await self._subscribed.wait()

    def publish(self, topic: bytes, body: bytes) -> bool:
        """Send a message now; False when a subscriber is full, and nobody has got it."""
        return self.stream.try_send(topic, body)

    async def trickle(self, values: State, interval: float) -> None:
        """Go round `values` for ever, one message each `interval` seconds: a feed that is quiet."""
        for topic, body in itertools.cycle(sorted(values.items())):
            self.publish(topic.encode(), body.encode())
            await asyncio.sleep(interval)
