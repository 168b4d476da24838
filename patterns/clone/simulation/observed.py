"""The real server and client, watched: what they do is what they would do unwatched."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import zmq

from patterns.binary_star.messages import State
from patterns.clone.client import CloneClient
from patterns.clone.client_effects import (
    Effect,
)
from patterns.clone.handlers import CloneServer
from patterns.clone.levels import REPLICATED, decode_level
from patterns.clone.messages import (
    sequence_of,
)
from patterns.clone.outbox import OutboxFull
from patterns.clone.server_effects import Effect as ServerEffect
from patterns.clone.server_protocol import ServerState
from patterns.clone.simulation.client_recorder import ClientRecorder
from patterns.clone.simulation.history import Write
from patterns.clone.simulation.server_recorder import ServerRecorder
from reactor import Stream


class Squeezed:
    """What opens streams with short queues, if told to: libzmq's limits are met every day then."""

    squeeze = 0

    def open_stream(self, socket_type: int, *endpoints: str, **options: Any) -> Stream:
        """As the real one, with high-water marks of `squeeze` messages."""
        if self.squeeze:
            marks = {zmq.SNDHWM: self.squeeze, zmq.RCVHWM: self.squeeze}
            options["options"] = {**(options.get("options") or {}), **marks}
        stream: Stream = super().open_stream(  # type: ignore[misc]
            socket_type, *endpoints, **options
        )
        return stream


class ObservedServer(Squeezed, CloneServer):
    """A server whose `recorder` is told when it becomes active, and what it numbers."""

    def __init__(self, recorder: ServerRecorder, **options: Any) -> None:
        super().__init__(**options)
        self.recorder = recorder
        recorder.link = self.protocol.replication

    def open_stream(self, socket_type: int, *endpoints: str, **options: Any) -> Stream:
        """Record what leaves through the publisher."""
        stream = super().open_stream(socket_type, *endpoints, **options)
        if options.get("name") == "publisher":
            send = stream.send

            def recorded(*frames: bytes) -> bool:
                link = self.protocol.replication
                holds_back = link.in_sync and link.policy.level == REPLICATED
                confirmed = link.confirmed if link.in_sync else 0
                self.recorder.published(frames, confirmed, holds_back)
                return send(*frames)

            stream.send = recorded  # type: ignore[method-assign]
        return stream

    @property
    def star_state(self) -> State:
        """What this server is in the pair."""
        assert self.star is not None
        return self.star.protocol.state

    def become_active(self, epoch: int, forced: bool) -> None:
        """Record an activity begin."""
        sequence = self.protocol.sequence
        anew = forced and self.recorder.may_be_forced(sequence)
        if self.protocol.state is ServerState.SYNCING and not anew:
            self.recorder.violate("I16", "leads without a complete copy")
        self.recorder.check_promises(sequence)
        self.recorder.hold(self.protocol.store)
        self.recorder.begin(self.protocol.store.snapshot(), sequence)
        super().become_active(epoch, forced)
        self.recorder.number(self.protocol.sequence)

    def become_passive(self, diverged_since: int | None) -> None:
        """Record the activity end."""
        super().become_passive(diverged_since)
        self.recorder.yields()

    def suspend(self) -> None:
        """Record an activity that may end."""
        super().suspend()
        if self.star_state is State.LEAVING:
            self.recorder.leaves()

    def resume(self) -> None:
        """Record that it has not ended."""
        super().resume()
        if self.protocol.serving:
            self.recorder.stays()

    def receive_update(self, frames: Sequence[bytes]) -> None:
        """Check that a server which refuses for want of a peer takes nothing for replicated.

        And that it refuses none for a condition which is met.
        """
        link, before = self.protocol.replication, self.protocol.sequence
        must_refuse = link.policy.refuses and not link.in_sync
        entry, conflicts = self.protocol.store.get(frames[0]), self.protocol.conflicts
        serving = self.protocol.serving  # or else what was held is ordered first
        super().receive_update(frames)
        if serving and self.protocol.conflicts > conflicts:
            self.recorder.refuses_for(frames[2], entry)
        taken = self.protocol.sequence == before + 1
        if must_refuse and taken and REPLICATED in (link.policy.level, decode_level(frames[3])):
            self.recorder.violate("I21", "takes an update that it has to refuse")

    def receive_epoch(self, epoch: int) -> None:
        """Record that an activity goes on in another epoch."""
        before = self.protocol.sequence
        super().receive_epoch(epoch)
        if self.protocol.sequence != before:
            self.recorder.begin(self.protocol.store.snapshot(), before)
            self.recorder.number(self.protocol.sequence)

    def carry_out(self, effects: list[ServerEffect]) -> None:
        """Record what is given up, and which map it has: before the peer is told of that."""
        self.recorder.see(effects)
        self.recorder.hold(self.protocol.store)
        super().carry_out(effects)
        self.recorder.hold(self.protocol.store)


class ObservedClient(Squeezed, CloneClient):
    """A client whose `recorder` is told what it is told, and what was acknowledged."""

    def __init__(
        self,
        recorder: ClientRecorder,
        *arguments: Any,
        make_uuid: Callable[[], bytes],
        **options: Any,
    ) -> None:
        super().__init__(*arguments, make_uuid=lambda: recorder.name(make_uuid()), **options)
        self.protocol.watched = True  # the recorder is told every change of the map
        self.recorder = recorder
        recorder.watch(self.protocol)
        self.add_watch(lambda event: None)  # without a watcher there are no events to record

    def write(self, write: Write) -> None:
        """Set or delete what `write` says; raises as the real client does."""
        self.recorder.writing = write
        try:
            sequence = self._look_at(write) if write.compares else None
            if write.body:
                future = self.set(
                    write.key, write.body, write.ttl or None, if_sequence=sequence, ack=write.level
                )
            else:
                future = self.delete(write.key, if_sequence=sequence, ack=write.level)
            future.add_done_callback(lambda ended: _retrieve(ended, write))
        except OutboxFull:
            self.recorder.forget(write)
            raise
        finally:
            self.recorder.writing = None

    def _look_at(self, write: Write) -> int:
        """What the key has now is the condition of the write; returns its number."""
        entry = self.protocol.store.get(write.key)
        write.seen = b"" if entry is None else entry[2]
        return 0 if entry is None else sequence_of(entry)

    def carry_out(self, effects: list[Effect]) -> None:
        """Record what the rules have decided."""
        self.recorder.see(effects)
        super().carry_out(effects)


def _retrieve(future: asyncio.Future[int], write: Write) -> None:
    """The history has what came of it, and that its caller has been told."""
    write.told = True
    if not future.cancelled():
        future.exception()


__all__ = ["ClientRecorder", "ObservedClient", "ObservedServer", "ServerRecorder"]
