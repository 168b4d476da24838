"""FakeStream: a Stream on a fake channel, with what tests need to see and to feed."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Any

import zmq

from reactor.streams import Stream
from reactor.testing.channels import FakeChannel

_SENT_LIMIT = 100_000  # a simulation may run for long and look at nothing


class FakeStream(Stream):
    """The same class as in production, on a channel of a FakeNetwork.

    A stream that was neither bound nor connected accepts everything that is sent: to test one
    handler, one stream and no network will do.
    """

    def __init__(
        self, channel: FakeChannel, loop: asyncio.AbstractEventLoop, **options: Any
    ) -> None:
        super().__init__(channel, loop, **options)
        channel.stream = self
        self._fake_channel = channel
        self._sent: deque[tuple[bytes, ...]] = deque(maxlen=_SENT_LIMIT)

    def deliver(self, *frames: bytes) -> None:
        """Let a message arrive on the next turn of the loop, as if a peer had sent it.

        The frames are those that `on_message` gets: a ROUTER's begin with the identity. Raises
        ValueError if this stream could never receive them (a PUB, a SUB without the subscription),
        StreamClosed if it is closed.
        """
        self._check_usable()
        if not frames:
            raise ValueError("a message has at least one frame")
        message = self._as_bytes(frames)
        channel = self._fake_channel
        if not channel.can_receive or not channel.wants(message):
            kind = zmq.SocketType(self.socket_type).name
            raise ValueError(f"{self.name}: no {kind} like this one receives {message!r}")
        self._loop.call_soon(channel.keep_own, message)

    @property
    def sent(self) -> tuple[tuple[bytes, ...], ...]:
        """Every message that a send has accepted, sent or queued, since the last `take_sent()`.

        The newest 100,000, in order.
        """
        return tuple(self._sent)

    def take_sent(self) -> list[tuple[bytes, ...]]:
        """Return the messages of `sent` as a list, and forget them."""
        sent = list(self._sent)
        self._sent.clear()
        return sent

    def send(self, *frames: bytes) -> bool:
        """Send as `Stream.send` does, and remember it."""
        return self._remember(super().send(*frames), frames)

    def try_send(self, *frames: bytes) -> bool:
        """Send as `Stream.try_send` does, and remember it."""
        return self._remember(super().try_send(*frames), frames)

    def try_send_all(self, messages: Sequence[Sequence[bytes]]) -> int:
        """Send as `Stream.try_send_all` does, and remember it."""
        count = super().try_send_all(messages)
        self._sent.extend(tuple(frames) for frames in messages[:count])
        return count

    def _look_again_soon(self) -> None:
        """Nothing to do: what has arrived in memory is seen without an edge to be swallowed."""

    def _remember(self, accepted: bool, frames: tuple[bytes, ...]) -> bool:
        if accepted:
            self._sent.append(self._as_bytes(frames))
        return accepted
