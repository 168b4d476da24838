"""The wiring of the peer link's two ends; its words are in `peer_link`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Protocol

import zmq

from patterns.clone.messages import MAX_FRAME, MalformedMessage
from patterns.clone.peer_link import (
    PEER_IDENTITY,
    OtherVersion,
    encode_held,
    encode_hello,
    encode_version,
)
from patterns.clone.server_protocol import Effect, ServerProtocol, ServerState
from reactor import Handler, HandlerSet, Policy, Stream

# Messages of up to 64 KiB, at each end. A passive server that takes nothing is waited for, and
# what the active one then keeps for it is counted in updates and bytes.
_LINK_HWM = 1000
_RETRY_SECONDS = 0.005


class LinkedServer(Protocol):
    """What stands behind both ends."""

    protocol: ServerProtocol

    def carry_out(self, effects: list[Effect]) -> None:
        """Do what the rules say."""
        ...

    def observe(self) -> None:
        """Notice a loop that stood still, before anything is let go."""
        ...

    def arm(self) -> None:
        """Have `tick` called when the rules next have something to do."""
        ...


class LinkSender(Handler):
    """The active server's end, at its snapshot port: sends what the rules have for the passive one.

    All that was accepted in a turn of the loop goes in one message, as far as it has room there.
    """

    def __init__(self, router: Stream, server: LinkedServer) -> None:
        self._router = router
        self._server = server
        self._scheduled = False

    def receive(self, identity: bytes, frames: Sequence[bytes]) -> None:
        """The passive server says hello, or what it holds. Raises MalformedMessage."""
        server = self._server
        server.observe()
        try:
            effects = server.protocol.receive_from_passive(identity, frames, self.reactor.now())
        except OtherVersion:
            with suppress(zmq.ZMQError):  # it may have gone
                self._router.try_send(identity, *encode_version())
            raise
        server.carry_out(effects)
        self._flush()  # the answer to a hello comes before the snapshot, and before every update
        server.arm()

    def flush_soon(self) -> None:
        """Send what there is at the end of this turn of the loop."""
        if not self._scheduled and self._server.protocol.replication.sending:
            self._scheduled = True
            self.reactor.loop.call_soon(self._turn)

    def on_stop(self) -> None:
        """Send what was accepted last."""
        self._flush()

    def _turn(self) -> None:
        self._scheduled = False
        if self._reactor is None or self._router.closed:
            return
        try:
            self._flush()
        except Exception as error:
            self._hook_failed(error)

    def _flush(self) -> None:
        """Send as much as the link takes, and the rest a little later."""
        self._server.observe()  # who has been replaced finds the link gone, and would wait no more
        link = self._server.protocol.replication
        try:
            while (message := link.next_message()) is not None:
                if not self._router.try_send(link.peer, *message):
                    self._try_again()
                    return
                link.message_sent()
        except zmq.ZMQError:  # EHOSTUNREACH: the passive server has gone
            now = self.reactor.now()
            self._server.carry_out(self._server.protocol.receive_link_lost(now))

    def _try_again(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self.reactor.call_later(_RETRY_SECONDS, self._turn)


class LinkFollower(Handler):
    """The passive server's end: a DEALER, and another one for each hello.

    So no answer to an earlier one can be mistaken, and what was under way is gone with the socket.
    """

    peer_errors = (MalformedMessage,)

    def __init__(
        self,
        handlers: HandlerSet,
        server: LinkedServer,
        endpoint: str,
        make_uuid: Callable[[], bytes],
    ) -> None:
        self._handlers = handlers
        self._server = server
        self._endpoint = endpoint
        self._make_uuid = make_uuid
        self._stream: Stream | None = None
        self._confirming = False
        self.ended = asyncio.Event()  # the active server has sent nothing that is not received
        self.ended.set()

    def say_hello(self, attempt: int, sequence: int, held: int) -> None:
        """Follow the active server from this number on, holding that."""
        self.close()
        stream = self._handlers.open_stream(
            zmq.DEALER,
            self._endpoint,
            name="peer-link",
            unmarked="connect",
            policy=Policy.DROP_OLDEST,
            options={
                zmq.SNDHWM: _LINK_HWM,
                zmq.RCVHWM: _LINK_HWM,
                zmq.MAXMSGSIZE: MAX_FRAME,
                zmq.IDENTITY: PEER_IDENTITY + self._make_uuid(),
            },
        )
        stream.on_error = self._hook_failed
        stream.on_message(lambda frames: self._receive(frames, attempt))
        stream.on_disconnected(lambda: self._broken(attempt))
        stream.send(*encode_hello(sequence, held))
        self._stream = stream

    def _receive(self, frames: list[bytes], attempt: int) -> None:
        self.ended.clear()
        server = self._server
        now = self.reactor.now()
        server.carry_out(server.protocol.receive_from_active(frames, attempt, now))
        server.arm()

    def _broken(self, attempt: int) -> None:
        """The connection has ended, perhaps with the peer: what it had sent is received."""
        self.close()
        self._server.protocol.receive_link_broken(attempt, self.reactor.now())
        self._server.arm()

    def confirm_soon(self) -> None:
        """Tell at the end of this turn of the loop what is held."""
        if not self._confirming:
            self._confirming = True
            self.reactor.loop.call_soon(self._confirm)

    def _confirm(self) -> None:
        self._confirming = False
        protocol, stream = self._server.protocol, self._stream
        if stream is None or stream.closed or protocol.state is not ServerState.PASSIVE:
            return
        try:
            stream.send(*encode_held(protocol.sequence, protocol.question))
        except Exception as error:
            self._hook_failed(error)

    def close(self) -> None:
        """Follow nobody; idempotent."""
        self.ended.set()
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def on_stop(self) -> None:
        """Follow nobody any more."""
        self.close()
