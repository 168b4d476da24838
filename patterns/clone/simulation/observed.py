"""The real server and client, watched: what they do is what they would do unwatched."""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import Callable, Iterable
from typing import Any, Protocol

import zmq

from patterns.binary_star.messages import State
from patterns.clone.client import CloneClient
from patterns.clone.client_effects import (
    Deleted,
    Effect,
    Expired,
    Live,
    Put,
    Stale,
    WriteAcknowledged,
    WriteFailed,
)
from patterns.clone.handlers import CloneServer
from patterns.clone.interest import Interest
from patterns.clone.messages import Frames, epoch_of, sequence_of
from patterns.clone.outbox import OutboxFull
from patterns.clone.server_effects import Effect as ServerEffect
from patterns.clone.server_effects import ReportDiverged
from patterns.clone.server_protocol import ServerProtocol, ServerState
from patterns.clone.simulation.history import (
    EVERYTHING,
    Activity,
    Entry,
    History,
    Write,
    map_hash,
    pair_hash,
)
from patterns.clone.store import KeyValueStore
from reactor import Stream

# A client of a subtree notices a loss at the next heartbeat, and any client within this time.
NOTICE_SECONDS = 6.0


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


class ServerRecorder:
    """What one process of a server does, for the history; `clock` tells the time of the run."""

    def __init__(self, history: History, name: str, clock: Callable[[], float]) -> None:
        self.activity: Activity | None = None
        self._held: list[Activity] = []  # those whose updates this process still stands for
        self._history = history
        self._name = name
        self._clock = clock

    @property
    def now(self) -> float:
        """The time of the run."""
        return self._clock()

    def begin(self, entries: Iterable[Frames], fork: int) -> None:
        """The server is about to be active with what it held at the number `fork`.

        That must have been published, or be nothing.
        """
        self._end()
        history = self._history
        activity = history.begin(self._name, self.now, fork, entries)
        self.activity = activity
        self._held.append(activity)
        earlier = history.by_epoch.get(epoch_of(fork))
        if earlier is not None and earlier.hash_at(EVERYTHING, fork) != map_hash(activity.map):
            self.violate("I4", "leads with a map that never was")

    def yields(self) -> None:
        """The server follows its peer from now on."""
        self._end()
        for activity in self._held:
            activity.yielded = self.now
        self._held.clear()

    def dies(self) -> None:
        """The process is about to be killed."""
        self._end()
        for activity in self._held:
            activity.died = self.now

    def _end(self) -> None:
        if self.activity is not None:
            self.activity.ended = self.now
            self.activity = None

    def number(self, sequence: int) -> None:
        """Give the activity its epoch, from a number of it."""
        activity = self.activity
        if activity is None or activity.epoch:
            return
        activity.epoch = epoch_of(sequence)
        known = self._history.by_epoch.setdefault(activity.epoch, activity)
        if known is not activity:
            self.violate("I1", f"is active in epoch {activity.epoch}, as {known.node} was before")

    def see(self, effects: list[ServerEffect]) -> None:
        """The rules have decided this."""
        for effect in effects:
            if isinstance(effect, ReportDiverged):
                for held in self._held:
                    held.reported.update(entry[2] for entry in effect.entries)

    def published(self, frames: Frames) -> None:
        """This goes to the clients: a new number, an old one again, a heartbeat or a refusal."""
        activity, sequence = self.activity, sequence_of(frames)
        if not sequence or activity is None:
            return
        self.number(sequence)
        last = activity.sequence
        if sequence <= last:
            self._check_known(sequence, frames[2])
            return
        if sequence != last + 1:
            self.violate("I1", f"numbers {sequence:x} after {last:x}")
        activity.add(Entry.of(frames, self.now))

    def _check_known(self, sequence: int, uuid: bytes) -> None:
        """An update that is sent again is answered with its first number."""
        activity = self._history.by_epoch.get(epoch_of(sequence))
        entries = activity.entries if activity is not None else []
        place = bisect_left(entries, sequence, key=lambda each: each.sequence)
        known = entries[place] if place < len(entries) else None
        if known is None or (known.sequence, known.uuid) != (sequence, uuid):
            self.violate("I1", f"gives {sequence:x} to a second update")

    def compare(self, protocol: ServerProtocol) -> None:
        """What a passive server holds is what the active had at the same number."""
        if protocol.state is ServerState.PASSIVE:
            held = {entry[0]: entry[4] for entry in protocol.store.snapshot()}
            self.compare_map(protocol.sequence, held)

    def compare_map(self, sequence: int, held: dict[bytes, bytes]) -> None:
        """The same, for the keys and bodies held at this number."""
        leader = self._history.by_epoch.get(epoch_of(sequence))
        if leader is not None and leader.hash_at(EVERYTHING, sequence) != map_hash(held):
            self.violate("I4", f"holds another map than the active had at number {sequence:x}")

    def violate(self, invariant: str, text: str) -> None:
        """Note what must not be."""
        self._history.violate(invariant, self.now, f"{self._name} {text}")


class ObservedServer(Squeezed, CloneServer):
    """A server whose `recorder` is told when it becomes active, and what it numbers."""

    def __init__(self, recorder: ServerRecorder, **options: Any) -> None:
        super().__init__(**options)
        self.recorder = recorder

    def open_stream(self, socket_type: int, *endpoints: str, **options: Any) -> Stream:
        """Record what leaves through the publisher."""
        stream = super().open_stream(socket_type, *endpoints, **options)
        if options.get("name") == "publisher":
            send = stream.send

            def recorded(*frames: bytes) -> bool:
                self.recorder.published(frames)
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
        if self.protocol.state is ServerState.SYNCING and not forced:
            self.recorder.violate("I16", "leads without a complete copy")
        self.recorder.begin(self.protocol.store.snapshot(), self.protocol.sequence)
        super().become_active(epoch, forced)
        self.recorder.number(self.protocol.sequence)

    def become_passive(self, diverged_since: int | None) -> None:
        """Record the activity end."""
        super().become_passive(diverged_since)
        self.recorder.yields()

    def receive_epoch(self, epoch: int) -> None:
        """Record that an activity goes on in another epoch."""
        before = self.protocol.sequence
        super().receive_epoch(epoch)
        if self.protocol.sequence != before:
            self.recorder.begin(self.protocol.store.snapshot(), before)
            self.recorder.number(self.protocol.sequence)

    def carry_out(self, effects: list[ServerEffect]) -> None:
        """Record what is given up."""
        self.recorder.see(effects)
        super().carry_out(effects)


class Follower(Protocol):
    """What a client holds: its rules, or what was written down of them."""

    @property
    def store(self) -> KeyValueStore:
        """The map."""

    @property
    def interest(self) -> Interest:
        """The part of the servers' map that it follows."""

    @property
    def live(self) -> bool:
        """True if the map is current."""


class ClientRecorder:
    """What one process of a client is told and holds, against the history."""

    def __init__(self, history: History, name: str, clock: Callable[[], float]) -> None:
        self.view: dict[bytes, bytes] = {}  # rebuilt from the events alone
        self.writing: Write | None = None
        self._history = history
        self._name = name
        self._clock = clock
        self._hash = 0
        self._epoch = 0
        self._sequence = 0
        self._differs_since: float | None = None

    @property
    def now(self) -> float:
        """The time of the run."""
        return self._clock()

    def watch(self, follower: Follower) -> None:
        """This client is the one that is recorded."""
        self._protocol = follower

    def name(self, uuid: bytes) -> bytes:
        """The client has named the write that is under way."""
        if self.writing is not None:
            self._history.writes[uuid] = self.writing
        return uuid

    def forget(self, write: Write) -> None:
        """The client did not take the write."""
        uuids = [uuid for uuid, each in self._history.writes.items() if each is write]
        for uuid in uuids:
            del self._history.writes[uuid]

    def see(self, effects: list[Effect]) -> None:
        """The rules have decided this; their state is already the one after it."""
        for effect in effects:
            match effect:
                case Put(key, body, added):
                    self._changed(key, body, added)
                case Deleted(key) | Expired(key):
                    self._changed(key, b"", False)
                case WriteAcknowledged(uuid, sequence):
                    if self._protocol.store.sequence < sequence:
                        self.violate("I9", f"is told of its write {sequence:x} before it shows")
                    self._answered(uuid, sequence, "")
                case WriteFailed(uuid, reason):
                    self._answered(uuid, None, reason)
                case Live():
                    self._joined()
                case Stale():
                    self._differs_since = None
                case _:
                    pass
        if self._protocol.live:
            self._compare()

    def _changed(self, key: bytes, body: bytes, added: bool) -> None:
        before = self.view.pop(key, b"")
        if body:
            self.view[key] = body
        if (added and before) or (not added and not before):
            self.violate("I4", f"is told of {key!r} what does not follow from what it was told")
        self._hash ^= pair_hash(key, before) ^ pair_hash(key, body)

    def _joined(self) -> None:
        epoch = epoch_of(self._protocol.store.sequence)
        if epoch < self._epoch:
            self.violate("I3", f"goes from epoch {self._epoch} back to {epoch}")
        self._epoch = max(epoch, self._epoch)
        self._sequence = 0

    def _compare(self) -> None:
        """The map must be the one that its server had at this number, or soon be left."""
        sequence = self._protocol.store.sequence
        if sequence < self._sequence:
            self.violate("I3", f"goes from number {self._sequence:x} back to {sequence:x}")
        self._sequence = sequence
        activity = self._history.by_epoch.get(epoch_of(sequence))
        interest = self._protocol.interest
        expected = activity.hash_at(interest.subtrees, sequence) if activity is not None else None
        if expected == self._hash:
            self._differs_since = None
        elif expected is None:
            self.violate("I4", f"has number {sequence:x}, which nobody gave")
        elif interest.everything:
            self.violate("I4", f"has another map than its server had at number {sequence:x}")
        elif self._differs_since is None:
            self._differs_since = self.now

    def check_notices(self) -> None:
        """A loss must have been noticed by now; call it from time to time while not paused."""
        since = self._differs_since
        if since is not None and self.now - since > NOTICE_SECONDS:
            self.violate("I14", f"has not noticed since {since:.3f} s that it missed an update")
            self._differs_since = None
        if self._protocol.live and self._misses_last_change():
            self.violate("I14", "has not noticed that it missed the last updates")

    def _misses_last_change(self) -> bool:
        sequence = self._protocol.store.sequence
        activity = self._history.by_epoch.get(epoch_of(sequence))
        last = (
            activity.last_change(self._protocol.interest.subtrees) if activity is not None else None
        )
        return last is not None and last.sequence > sequence and self.now - last.at > NOTICE_SECONDS

    def _answered(self, uuid: bytes, sequence: int | None, reason: str) -> None:
        write = self._history.writes[uuid]
        write.answered, write.sequence, write.reason = self.now, sequence, reason

    def violate(self, invariant: str, text: str) -> None:
        """Note what must not be."""
        self._history.violate(invariant, self.now, f"{self._name} {text}")


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
            if write.body:
                future = self.set(write.key, write.body, write.ttl or None)
            else:
                future = self.delete(write.key)
            future.add_done_callback(_retrieve)
        except OutboxFull:
            self.recorder.forget(write)
            raise
        finally:
            self.recorder.writing = None

    def carry_out(self, effects: list[Effect]) -> None:
        """Record what the rules have decided."""
        self.recorder.see(effects)
        super().carry_out(effects)


def _retrieve(future: asyncio.Future[int]) -> None:
    """The history has what came of it."""
    if not future.cancelled():
        future.exception()
