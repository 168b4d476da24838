"""The writing side of a client's rules: every write ends in an acknowledgement or a failure."""

from __future__ import annotations

from collections.abc import Iterable

from patterns.clone.client_effects import SendUpdate, WriteAcknowledged, WriteFailed
from patterns.clone.conditions import FEATURE, Condition
from patterns.clone.interest import Interest
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
        """The instant at which a write is given up at the earliest."""
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
        timeout: float | None = None,
    ) -> list[Effect]:
        """Write a value, or delete the key if it is empty; see `ClientProtocol.set`."""
        if len(uuid) != UUID_SIZE:
            raise ValueError(f"a uuid has {UUID_SIZE} bytes")
        if ttl is not None and not 0 < ttl <= MAX_TTL:
            raise ValueError(f"ttl {ttl} is not in 0..{MAX_TTL}")
        if timeout is not None and not timeout > 0:
            raise ValueError(f"timeout {timeout} is not above 0")
        self._interest.check(key)
        properties: dict[str, str | int] = {} if ttl is None else {"ttl": whole_seconds(ttl)}
        if condition is not None:
            if self._features is not None and FEATURE not in self._features:
                raise ConditionsUnsupported("this server cannot compare before it sets")
            properties |= condition.properties()
        encoded = encode_properties(properties) if properties else b""
        frames = (key, NO_SEQUENCE, uuid, encoded, body)
        check_update(frames, max_body=self.max_body)
        conditional = condition is not None
        return self._send(self._outbox.add(frames, now, conditional=conditional, timeout=timeout))

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

    def receive_features(self, features: frozenset[str], now: float) -> list[Effect]:
        """A server that is followed from now on has told what it can do beyond RFC 12."""
        self._features = features
        self._outbox.conditions = FEATURE in features
        if self._outbox.conditions:
            return []
        failed, following = self._outbox.take_conditional(now)
        self.failed += len(failed)
        return [*(WriteFailed(each, "unsupported") for each in failed), *self._send(following)]

    def receive_answer(self, uuid: bytes, sequence: int, now: float) -> list[Effect]:
        """Something was published: if it is a write of ours, it is done."""
        if not self._outbox.is_under_way(uuid):
            return []
        answered, following = self._outbox.finish(uuid, now)
        self.acknowledged += len(answered)
        return [*(WriteAcknowledged(each, sequence) for each in answered), *self._send(following)]

    def receive_refusal(self, uuid: bytes, reason: str, now: float) -> list[Effect]:
        """A server has refused a write, perhaps one of ours."""
        answered, following = self._outbox.finish(uuid, now)
        self.failed += len(answered)
        return [*(WriteFailed(each, reason) for each in answered), *self._send(following)]

    def receive_map(self, store: KeyValueStore, now: float) -> list[Effect]:
        """A snapshot has come: what of ours is in it is done."""
        effects: list[Effect] = []
        for frames in self._outbox.under_way():
            entry = store.get(frames[0])
            if entry is not None and entry[2] == frames[2]:
                effects += self.receive_answer(frames[2], sequence_of(entry), now)
        return effects

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
