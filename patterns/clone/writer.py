"""The writing side of a client's rules: every write ends in an acknowledgement or a failure."""

from __future__ import annotations

from collections.abc import Iterable

from patterns.clone.client_effects import SendUpdate, WriteAcknowledged, WriteFailed
from patterns.clone.conditions import FEATURE as CONDITIONS
from patterns.clone.conditions import Condition
from patterns.clone.interest import Interest
from patterns.clone.levels import APPLIED, REPLICATED, is_replicated, with_level
from patterns.clone.levels import FEATURE as LEVELS
from patterns.clone.messages import (
    MAX_TTL,
    NO_SEQUENCE,
    UUID_SIZE,
    Frames,
    check_update,
    encode_properties,
    sequence_of,
    whole_seconds,
)
from patterns.clone.outbox import Outbox
from patterns.clone.store import KeyValueStore

Effect = SendUpdate | WriteAcknowledged | WriteFailed

_NOTHING: frozenset[str] = frozenset()


class ConditionsUnsupported(Exception):
    """The server knows no writes with a condition: it would apply this one in any case."""


class Writer:
    """Sends a client's writes to the servers that listen, until they come back.

    The client writes inside its own subtrees only: elsewhere it would never see its update.
    """

    def __init__(self, interest: Interest, outbox: Outbox, max_body: int) -> None:
        self.max_body = max_body
        self.acknowledged = self.failed = self.sent_again = 0
        self._interest = interest
        self._outbox = outbox
        self._writable: set[int] = set()
        self._features: frozenset[str] | None = None  # None: no server has told any yet

    @property
    def unacknowledged(self) -> int:
        """The number of writes whose end is open."""
        return len(self._outbox)

    @property
    def deadline(self) -> float:
        """The instant at which a write is given up or sent again at the earliest."""
        return self._outbox.deadline

    # --- what the client wants

    def write(
        self,
        key: bytes,
        body: bytes,
        uuid: bytes,
        now: float,
        *,
        ttl: float | None = None,
        condition: Condition | None = None,
        ack: str = APPLIED,
        timeout: float | None = None,
    ) -> list[Effect]:
        """Write a value, or delete the key if it is empty; see `ClientProtocol.set`."""
        if len(uuid) != UUID_SIZE:
            raise ValueError(f"a uuid has {UUID_SIZE} bytes")
        if ttl is not None and not 0 < ttl <= MAX_TTL:
            raise ValueError(f"ttl {ttl} is not above 0 and up to {MAX_TTL}")
        if timeout is not None and not timeout > 0:
            raise ValueError(f"timeout {timeout} is not above 0")
        self._interest.check(key)
        plain = condition is None and ack == APPLIED
        properties = b"" if plain and ttl is None else _properties(ttl, condition, ack)
        frames = (key, NO_SEQUENCE, uuid, properties, body)
        check_update(frames, max_body=self.max_body)
        if plain:
            return self._send(self._outbox.add(frames, now, timeout=timeout))
        needs = _needs(condition, ack)
        missing = _NOTHING if self._features is None else needs - self._features
        if CONDITIONS in missing:
            raise ConditionsUnsupported("this server cannot compare before it sets")
        if missing:
            self.failed += 1
            return [WriteFailed(uuid, "unsupported")]
        alone = condition is not None
        return self._send(self._outbox.add(frames, now, needs=needs, alone=alone, timeout=timeout))

    def _send(self, messages: Iterable[Frames]) -> list[Effect]:
        # Without a server that listens they would be lost; `receive_writable` sends them then.
        return [SendUpdate(None, frames) for frames in messages] if self._writable else []

    # --- what arrives

    def receive_writable(self, server: int) -> list[Effect]:
        """A server's collector listens: it gets all that is under way."""
        self._writable.add(server)
        return [SendUpdate(server, frames) for frames in self._outbox.under_way()]

    def receive_unwritable(self, server: int) -> None:
        """A server's collector is gone."""
        self._writable.discard(server)

    def waits_for(self, uuid: bytes) -> bool:
        """True for a write under way."""
        return self._outbox.needs_of(uuid) is not None

    def receive_answer(self, frames: Frames, sequence: int, now: float) -> list[Effect]:
        """Something was published: if it is a write of ours, it is applied, and perhaps more."""
        needs = self._outbox.needs_of(frames[2])
        if needs is None:
            return []
        if needs and LEVELS in needs and not is_replicated(frames[3]):
            return self._fail(frames[2], APPLIED, now, sequence)
        answered, following = self._outbox.finish(frames[2], now)
        self.acknowledged += len(answered)
        return [*(WriteAcknowledged(each, sequence) for each in answered), *self._send(following)]

    def receive_refusal(self, uuid: bytes, reason: str, now: float) -> list[Effect]:
        """A server has refused a write, perhaps one of ours."""
        return self._fail(uuid, reason, now)

    def _fail(self, uuid: bytes, reason: str, now: float, sequence: int = 0) -> list[Effect]:
        answered, following = self._outbox.finish(uuid, now)
        self.failed += len(answered)
        failed = [WriteFailed(each, reason, sequence) for each in answered]
        return [*failed, *self._send(following)]

    def receive_snapshot(
        self, store: KeyValueStore, features: frozenset[str], now: float
    ) -> list[Effect]:
        """A server is followed from now on: what it holds, and can do beyond RFC 12.

        What of ours is in its map is applied. Who holds it besides, only an answer can tell: a
        write at a higher level goes out again for one.
        """
        effects: list[Effect] = []
        under_way = self._outbox.under_way()
        self._features = self._outbox.features = features  # of whoever gets what follows these
        for frames in under_way:
            entry = store.get(frames[0])
            if entry is None or entry[2] != frames[2]:
                continue
            if LEVELS not in (self._outbox.needs_of(frames[2]) or _NOTHING):
                effects += self.receive_answer(entry, sequence_of(entry), now)
            elif LEVELS not in features:
                effects += self._fail(frames[2], APPLIED, now, sequence_of(entry))
        failed, following = self._outbox.take_unsupported(now)
        self.failed += len(failed)
        effects += [WriteFailed(each, "unsupported") for each in failed]
        return effects + self._send(following)

    # --- time

    def tick(self, now: float) -> list[Effect]:
        """Give up what is too old, and send again what was not answered."""
        failed, following = self._outbox.expire(now)
        self.failed += len(failed)
        effects: list[Effect] = [WriteFailed(uuid, "timeout") for uuid in failed]
        return effects + self._send(following) + self.send_again(now)

    def send_again(self, now: float, *, at_once: bool = False) -> list[Effect]:
        """Send again what is due, or all of it."""
        effects = self._send(self._outbox.send_again(now, at_once=at_once))
        self.sent_again += len(effects)
        return effects

    def close(self) -> list[Effect]:
        """Give up everything."""
        failed: list[Effect] = [WriteFailed(uuid, "closed") for uuid in self._outbox.take_all()]
        self.failed += len(failed)
        return failed


def _properties(ttl: float | None, condition: Condition | None, ack: str) -> bytes:
    properties: dict[str, str | int] = {} if ttl is None else {"ttl": whole_seconds(ttl)}
    if condition is not None:
        properties |= condition.properties()
    encoded = encode_properties(properties)
    return encoded if ack == APPLIED else with_level(encoded, ack)


def _needs(condition: Condition | None, ack: str) -> frozenset[str]:
    """The features that a server must have for a write to be understood."""
    conditions = _NOTHING if condition is None else {CONDITIONS}
    return frozenset(conditions | ({LEVELS} if ack == REPLICATED else _NOTHING))
