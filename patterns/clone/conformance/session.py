"""One conversation with a server: what was said, what was heard, and what is waited for."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias, TypeVar

from patterns.clone.conformance.clauses import Clause, Deviation, Finding, Outcome, conclude
from patterns.clone.messages import (
    HUGZ,
    Frames,
    KVMessage,
    is_snapshot_end,
    snapshot_request,
)

# Of what a server sends, so much is kept of each kind. An honest one stays far below.
MAX_KEPT = 10_000
GREETING_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Ask:
    """Send these frames to the snapshot port, on a new socket that is known by `request`."""

    request: int
    frames: Frames


@dataclass(frozen=True, slots=True)
class Write:
    """Send these frames to the collector."""

    frames: Frames


@dataclass(frozen=True, slots=True)
class WriteByPush:
    """From now on send to the collector by a PUSH: it does not subscribe, so it is no SUB."""


@dataclass(frozen=True, slots=True)
class Finish:
    """The check is over."""


Effect: TypeAlias = Ask | Write | WriteByPush | Finish


@dataclass(frozen=True, slots=True)
class Wait:
    """What a step waits for, and for how many seconds at most."""

    condition: Callable[[], bool]
    seconds: float


# A step of a check: it waits, is told each time whether the condition came true, and has a result.
T = TypeVar("T")
Step: TypeAlias = Generator[Wait, bool, T]


@dataclass(slots=True)
class Answer:
    """What has come on the socket of one request; `entries` are those before the first end.

    Of entries outside of `prefix`, a server's other data, only the first few are kept.
    """

    prefix: bytes
    entries: list[Frames] = field(default_factory=list)
    end: Frames | None = None
    count: int = 0
    after_end: int = 0

    @property
    def messages(self) -> int:
        """How many messages have come in all."""
        return self.count + self.after_end + (self.end is not None)

    def receive(self, frames: Frames) -> None:
        """One more message."""
        if self.end is not None:
            self.after_end += 1
        elif is_snapshot_end(frames):
            self.end = frames
        else:
            self.count += 1
            own = bool(frames) and frames[0].startswith(self.prefix)
            if len(self.entries) < (MAX_KEPT if own else MAX_KEPT // 10):
                self.entries.append(frames)


class Session:
    """What the steps of a check read and do. `prefix` is the subtree of the check's own keys.

    Time is seconds, monotonic; `timeout` is how long a server may take for one answer.
    """

    def __init__(self, prefix: bytes, make_uuid: Callable[[], bytes], timeout: float) -> None:
        self.prefix = prefix
        self.timeout = timeout
        self.now = 0.0
        self.subscribed = False  # the collector subscribes to what is written
        self.answers: dict[int, Answer] = {}
        self.publications: list[Frames] = []
        self.beats: list[tuple[float, Frames]] = []
        self.findings: dict[Clause, Finding] = {}
        self.values: dict[bytes, bytes] = {}  # what should be there
        self.written: dict[bytes, None] = {}  # what may be there
        self.effects: list[Effect] = []
        self._make_uuid = make_uuid
        self._greetings = 0

    # --- what is heard

    def receive_published(self, frames: Frames, now: float) -> None:
        """A message of the publisher."""
        if frames[0] == HUGZ:
            if len(self.beats) < MAX_KEPT:
                self.beats.append((now, frames))
        elif frames[0].startswith(self.prefix) and len(self.publications) < MAX_KEPT:
            self.publications.append(frames)

    def published(self, key: bytes, body: bytes) -> Frames | None:
        """The last KVPUB of a key with a value, None if there was none."""
        for frames in reversed(self.publications):
            if frames[0] == key and frames[-1] == body and len(frames) > 1 and any(frames[1]):
                return frames
        return None

    # --- what is said

    def key(self, name: str) -> bytes:
        """A key of the check's own."""
        return self.prefix + name.encode()

    def write(
        self,
        name: str,
        body: bytes,
        *,
        uuid: bytes | None = None,
        sequence: int = 0,
        properties: bytes = b"",
    ) -> KVMessage:
        """Send a KVSET, with a new uuid unless one is given, and note what should be there."""
        uuid = self._make_uuid() if uuid is None else uuid
        message = KVMessage(self.key(name), sequence, uuid, properties, body)
        self.write_raw(message.encode())
        if body:
            self.values[message.key] = body
        else:
            self.values.pop(message.key, None)
        return message

    def write_raw(self, frames: Frames) -> None:
        """Send whatever it is to the collector, and note its key as one that may be left behind."""
        if frames[0] and frames[-1]:
            self.written[frames[0]] = None
        self.effects.append(Write(frames))

    def erase(self, key: bytes) -> None:
        """Delete a key, whoever has written it."""
        self.effects.append(Write(self.erasure(key)))

    def erasure(self, key: bytes) -> Frames:
        """The KVSET that deletes a key. With a uuid: without one it would be a risk of its own."""
        return KVMessage(key, 0, self._make_uuid()).encode()

    def ask(self, subtree: bytes) -> Answer:
        """Ask for a snapshot; the answer fills as time passes."""
        return self.ask_raw(snapshot_request(subtree))

    def ask_raw(self, frames: Frames) -> Answer:
        """Send whatever it is to the snapshot port."""
        request = len(self.answers)
        answer = self.answers[request] = Answer(self.prefix)
        self.effects.append(Ask(request, frames))
        return answer

    def use_push(self) -> None:
        """Write by PUSH from now on."""
        self.effects.append(WriteByPush())

    # --- what steps are made of

    def wait(self, condition: Callable[[], bool], seconds: float | None = None) -> Step[bool]:
        """Wait until something is so; False if it is not in time."""
        return (yield Wait(condition, self.timeout if seconds is None else seconds))

    def wait_published(self, *messages: KVMessage, seconds: float | None = None) -> Step[bool]:
        """Wait until these updates are published."""
        return self.wait(
            lambda: all(self.published(m.key, m.body) is not None for m in messages), seconds
        )

    def wait_answered(self, *answers: Answer) -> Step[bool]:
        """Wait until these snapshots are complete."""
        return self.wait(lambda: all(answer.end is not None for answer in answers))

    def greet(self) -> Step[bool]:
        """Write until it comes back: then the server lives, and this check hears it."""
        for _ in range(max(1, round(self.timeout / GREETING_SECONDS))):
            self._greetings += 1
            hello = self.write("hello", b"%d" % self._greetings)
            if (yield from self.wait_published(hello, seconds=GREETING_SECONDS)):
                return True
        return False

    def conclude(self, clause: Clause, deviations: Sequence[Deviation], otherwise: str) -> None:
        """Note what was found of a clause."""
        self.findings[clause] = conclude(clause, deviations, otherwise)

    def skip(self, clause: Clause, reason: str) -> None:
        """Note that nothing can be said of a clause."""
        self.findings[clause] = Finding(clause, Outcome.SKIP, reason)
