"""The sockets of a Clone client: one publisher a server, and those that come and go."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial

import zmq

from patterns.clone.dialects import Dialect
from patterns.clone.messages import HUGZ, MAX_FRAME, Frames
from patterns.clone.ports import collector_of, publisher_of
from reactor import Handler, Stream, StreamHandler

_HWM = 100_000
# Milliseconds for which a host may not confirm what was sent to it, or take a connection, before
# another one is tried. TCP sends again ever more rarely, up to every two minutes: after an outage
# of some length writes would wait for about as long again.
_PATIENCE = {zmq.TCP_MAXRT: 5000, zmq.CONNECT_TIMEOUT: 5000}

Receive = Callable[[Sequence[bytes]], None]


class ClientSockets:
    """Opens and closes what the rules of one client say, in the form of its dialect.

    `open_stream` is that of the handler set which owns the streams, and `on_error` is told what
    their hooks raise.
    """

    def __init__(
        self,
        servers: Sequence[str],
        dialect: Dialect,
        open_stream: Callable[..., Stream],
        on_error: Callable[[Exception], None],
    ) -> None:
        self._servers = servers
        self._dialect = dialect
        self._form = dialect.form.client()
        self._open_stream = open_stream
        self._on_error = on_error
        self._publishers: list[Stream] = []
        self._subscriber: Stream | None = None
        self._snapshots: list[Stream] = []
        self._vote: Stream | None = None

    # The updates of this client

    def open_publishers(
        self, max_writes: int, on_writable: Callable[[int, bool], None]
    ) -> Iterable[Handler]:
        """One for each server, for as long as the client lives, and the handlers of all.

        `on_writable(server, True)` is called when that server's collector has subscribed.
        """
        updates = self._dialect.updates
        if updates is None:
            return []
        numbers = range(len(self._servers))
        self._publishers = [self._open_publisher(updates, each, max_writes) for each in numbers]
        if updates == zmq.PUSH:
            return [StreamHandler(stream) for stream in self._publishers]
        return [
            _UpdatePublisher(stream, partial(on_writable, number))
            for number, stream in enumerate(self._publishers)
        ]

    def _open_publisher(self, socket_type: int, number: int, max_writes: int) -> Stream:
        # IMMEDIATE: nothing waits for a server that is gone. It would hear of it when it is
        # back, as of news, and long after others have overwritten it. For the same reason
        # there is no more room than for what can be unacknowledged.
        options = {zmq.SNDHWM: max_writes, zmq.IMMEDIATE: 1, **_PATIENCE}
        if socket_type == zmq.XPUB:
            options[zmq.XPUB_NODROP] = 1
        return self._open_stream(
            socket_type,
            collector_of(self._servers[number]),
            name=f"updates-{number}",
            unmarked="connect",
            options=options,
        )

    def send(self, server: int | None, frames: Frames) -> None:
        """Send an update to one server, or to all; the outbox sends again what finds no room."""
        targets = self._publishers if server is None else [self._publishers[server]]
        frames = self._form.encode_update(frames)
        for publisher in targets:
            publisher.try_send(*frames)

    # What the client hears

    def follow(
        self,
        server: int,
        subtrees: Sequence[bytes],
        receive: Receive,
        on_disconnected: Callable[[], None],
    ) -> None:
        """Open a new subscriber, in place of the one before."""
        _close(self._subscriber)
        stream = self._subscriber = self._open_stream(
            zmq.SUB,
            name="subscriber",
            # HUGZ comes last: a heartbeat then proves that all subscriptions are there.
            subscribe=(*subtrees, HUGZ),
            options={zmq.RCVHWM: _HWM, zmq.MAXMSGSIZE: MAX_FRAME},
        )
        stream.on_error = self._on_error
        stream.on_message(self._form.published(receive))
        stream.on_disconnected(on_disconnected)
        stream.open([publisher_of(self._servers[server])], unmarked="connect")

    def request(self, server: int, frames: Frames, receive: Receive) -> None:
        """Ask for a snapshot, beside others that are under way."""
        if not self._dialect.subtrees:
            frames = frames[:1]
        stream = self._ask(server, frames, "snapshot")
        self._snapshots.append(stream)
        stream.on_message(self._form.snapshot(receive))

    def vote(self, server: int, frames: Frames) -> None:
        """Ask, and drop what is answered."""
        _close(self._vote)
        self._vote = self._ask(server, frames, "vote")

    def _ask(self, server: int, frames: Frames, name: str) -> Stream:
        """Ask on a socket of its own, so that no answer to an earlier request is mistaken."""
        stream = self._open_stream(
            zmq.DEALER,
            self._servers[server],
            name=name,
            unmarked="connect",
            options={zmq.RCVHWM: _HWM, zmq.MAXMSGSIZE: MAX_FRAME},
        )
        stream.on_error = self._on_error
        stream.send(*frames)
        return stream

    def leave(self) -> None:
        """Follow nobody, and drop the snapshots under way."""
        _close(self._subscriber)
        self._close_snapshots()

    def settle(self) -> None:
        """Follow on; whatever was asked is answered."""
        self._close_snapshots()
        _close(self._vote)

    def _close_snapshots(self) -> None:
        for stream in self._snapshots:
            stream.close()
        self._snapshots.clear()


class _UpdatePublisher(StreamHandler):
    """Hears when a server's collector subscribes: from then on nothing sent to it is lost."""

    def __init__(self, stream: Stream, on_writable: Callable[[bool], None]) -> None:
        super().__init__(stream)
        self.name = stream.name
        self._on_writable = on_writable

    def on_message(self, frames: list[bytes]) -> None:
        self._on_writable(frames[0][:1] == b"\1")


def _close(stream: Stream | None) -> None:
    if stream is not None:
        stream.close()
