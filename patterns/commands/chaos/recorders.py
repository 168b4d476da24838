"""Recorders that write down what the simulation's are told, and those told it again."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

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
from patterns.clone.interest import Interest
from patterns.clone.messages import HUGZ, Frames, encode_sequence, sequence_of
from patterns.clone.server_effects import Effect as ServerEffect
from patterns.clone.server_effects import ReportDiverged
from patterns.clone.simulation.client_recorder import ClientRecorder
from patterns.clone.simulation.history import History, Write
from patterns.clone.simulation.server_recorder import ServerRecorder, tell_of_updates
from patterns.clone.store import KeyValueStore
from patterns.commands.chaos.journal import Journal, Line, frame_of, text
from patterns.commands.chaos.workload import WRITES_OF_A_LIFE


class ServerJournal(ServerRecorder):
    """Writes down what a server does."""

    def __init__(self, journal: Journal, name: str) -> None:
        super().__init__(History(()), name, journal.clock)
        self._journal = journal
        self._store: KeyValueStore | None = None
        self._leads = False
        self._stored = 0

    def begin(self, entries: Iterable[Frames], fork: int) -> None:
        """It is about to be active."""
        self._leads = True
        self._journal.write("begin", fork=fork, map=_map_of(entries))

    def hold(self, store: KeyValueStore) -> None:
        """It has this map, and no other one from now on."""
        if store is self._store:
            return
        self._store = store
        self._journal.write("copy", sequence=store.sequence)
        tell_of_updates(store, self.numbered)

    def numbered(self, frames: Frames, sequence: int) -> None:
        """It has stored this; what a passive server stores, the active one has written down."""
        update = _words(frames) if self._leads else []
        self._journal.write("stored", sequence=sequence, update=update)
        self._stored = sequence

    def check_promises(self, position: int) -> None:
        """It is about to be active, with all up to this number."""
        self._journal.write("promotes", position=position)

    def leaves(self) -> None:
        """It hands over."""
        self._journal.write("leaves")

    def stays(self) -> None:
        """It does not hand over."""
        self._journal.write("stays")

    def number(self, sequence: int) -> None:
        """It is active with this number."""
        self._journal.write("number", sequence=sequence)

    def yields(self) -> None:
        """It follows its peer."""
        self._leads = False
        self._journal.write("yields")

    def see(self, effects: list[ServerEffect]) -> None:
        """It gives something up, perhaps."""
        for effect in effects:
            if isinstance(effect, ReportDiverged):
                uuids = [entry[2].hex() for entry in effect.entries]
                self._journal.write("diverged", uuids=uuids)

    def published(self, frames: Frames, confirmed: int = 0, holds_back: bool = False) -> None:
        """It is about to publish this: an update, a heartbeat, a refusal. The counts are none."""
        sequence = sequence_of(frames)
        if sequence or frames[2] or frames[0] == HUGZ:
            stored = 0 < sequence <= self._stored  # its body is written down already
            update = _words(frames[:4] + (b"",) if stored else frames)
            self._journal.write(
                "published",
                sequence=sequence,
                update=update,
                confirmed=confirmed,
                holds_back=holds_back,
            )

    def may_be_forced(self, position: int) -> bool:
        """Nobody here knows what the other server does, or an operator has said."""
        return True

    def holds(self, entries: Iterable[Frames], sequence: int) -> None:
        """It follows, and has this at that number."""
        self._journal.write("holds", sequence=sequence, map=_map_of(entries))

    def violate(self, invariant: str, text: str) -> None:
        """It does what it must not."""
        self._journal.write("violates", invariant=invariant, text=text)


def replay_server(recorder: ServerRecorder, line: Line, held: Held) -> None:
    """Tell a recorder what a line of a server's journal says; `held` is what it had before."""
    match line["what"]:
        case "copy":
            held.store = KeyValueStore()
            held.store.sequence = line["sequence"]
            recorder.hold(held.store)
        case "stored":
            held.store.sequence = line["sequence"]
            if line["update"]:
                recorder.numbered(update_of(line), line["sequence"])
        case "begin":
            entries = [(frame_of(key), b"", b"", b"", frame_of(body)) for key, body in line["map"]]
            recorder.begin(entries, line["fork"])
        case "number":
            recorder.number(line["sequence"])
            held.store.sequence = line["sequence"]
        case "yields":
            recorder.yields()
        case "diverged":
            entries = [(b"", b"", bytes.fromhex(uuid), b"", b"") for uuid in line["uuids"]]
            recorder.see([ReportDiverged(tuple(entries))])
        case "published":
            recorder.published(update_of(line), line["confirmed"], line["holds_back"])
        case "promotes":
            recorder.check_promises(line["position"])
        case "leaves":
            recorder.leaves()
        case "stays":
            recorder.stays()
        case "holds":
            bodies = {frame_of(key): frame_of(body) for key, body in line["map"]}
            recorder.compare_map(line["sequence"], bodies)
        case "violates":
            recorder.violate(line["invariant"], line["text"])


@dataclass
class Held:
    """The map that a server's process has: an empty store, which has the number of the real one."""

    store: KeyValueStore = field(default_factory=KeyValueStore)


def _words(frames: Frames) -> list[str]:
    return [text(frames[0]), text(frames[2]), text(frames[3]), text(frames[4])]


def update_of(line: Line) -> Frames:
    """The frames of the update in a line, without the body if that was written down before."""
    key, uuid, properties, body = map(frame_of, line["update"])
    return (key, encode_sequence(line["sequence"]), uuid, properties, body)


def _map_of(entries: Iterable[Frames]) -> list[tuple[str, str]]:
    return [(text(entry[0]), text(entry[4])) for entry in entries]


@dataclass
class Told:
    """What a client held when it wrote a line, as far as a recorder looks at it."""

    interest: Interest
    store: KeyValueStore = field(default_factory=KeyValueStore)
    live: bool = False


class ClientJournal(ClientRecorder):
    """Writes down what a client wants and is told."""

    def __init__(self, journal: Journal, name: str) -> None:
        super().__init__(History(()), name, journal.clock)
        self._journal = journal
        self._told = (0, False)

    def name(self, uuid: bytes) -> bytes:
        """It has named the write that is under way."""
        if (write := self.writing) is not None:
            self._journal.write(
                "invoked",
                uuid=uuid.hex(),
                number=write.number,
                key=text(write.key),
                body=text(write.body),
                ttl=write.ttl,
                level=write.level,
                seen=write.seen.hex() if write.compares else None,
            )
            self._last = uuid
        return uuid

    def forget(self, write: Write) -> None:
        """It did not take the write."""
        self._journal.write("forgotten", uuid=self._last.hex())

    def see(self, effects: list[Effect]) -> None:
        """It is told this."""
        told = [each for effect in effects if (each := _encode_effect(effect))]
        held = (self._protocol.store.sequence, self._protocol.live)
        if told or held != self._told:
            self._told = held
            self._journal.write("told", sequence=held[0], live=held[1], effects=told)


def replay_client(recorder: ClientRecorder, client: str, line: Line, told: Told) -> None:
    """Tell a client's recorder what a line of its journal says; `told` is what it held before."""
    match line["what"]:
        case "invoked":
            recorder.writing = Write(
                client,
                line["number"],
                frame_of(line["key"]),
                frame_of(line["body"]),
                line["at"],
                line["ttl"],
                line["level"],
                line["seen"] is not None,
                bytes.fromhex(line["seen"] or ""),
                life=line["number"] // WRITES_OF_A_LIFE,
            )
            recorder.name(bytes.fromhex(line["uuid"]))
        case "forgotten":
            assert recorder.writing is not None
            recorder.forget(recorder.writing)
        case "told":
            told.store.sequence, told.live = line["sequence"], line["live"]
            recorder.see([_decode_effect(*each) for each in line["effects"]])


def _encode_effect(effect: Effect) -> list[Any] | None:
    match effect:
        case Put(key, body, added):
            return ["put", text(key), text(body), added]
        case Deleted(key):
            return ["deleted", text(key)]
        case Expired(key):
            return ["expired", text(key)]
        case WriteAcknowledged(uuid, sequence):
            return ["acknowledged", uuid.hex(), sequence]
        case WriteFailed(uuid, reason, sequence):
            return ["failed", uuid.hex(), reason, sequence]
        case Live(server):
            return ["live", server]
        case Stale(reason):
            return ["stale", reason]
    return None


def _decode_effect(kind: str, *values: Any) -> Effect:
    match kind:
        case "put":
            return Put(frame_of(values[0]), frame_of(values[1]), values[2])
        case "deleted":
            return Deleted(frame_of(values[0]))
        case "expired":
            return Expired(frame_of(values[0]))
        case "acknowledged":
            return WriteAcknowledged(bytes.fromhex(values[0]), values[1])
        case "failed":
            return WriteFailed(bytes.fromhex(values[0]), values[1], values[2])
        case "live":
            return Live(values[0])
        case "stale":
            return Stale(values[0])
    raise ValueError(f"a client is told nothing that is called {kind!r}")
