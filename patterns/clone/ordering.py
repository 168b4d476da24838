"""How the active Clone server orders updates: which gets a number, and what it answers if none.

Every update that is accepted gets the next number, is stored, and is handed over to leave
(`departures`). What became of it is remembered by its uuid, so that one that is sent again is
answered and not applied again.

Time is an argument: monotonic seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from patterns.clone.conditions import CONFLICT, decode_condition, without_condition
from patterns.clone.departures import Departures
from patterns.clone.fork import Fork
from patterns.clone.holdings import Holdings
from patterns.clone.levels import REPLICATED, UNREPLICATED, decode_level, without_level
from patterns.clone.messages import (
    MAX_BODY,
    OWN,
    Frames,
    check_update,
    encode_sequence,
    refusal,
    replace_sequence,
    replace_ttl,
    whole_seconds,
)
from patterns.clone.pending import in_order
from patterns.clone.server_effects import Effect, Publish
from patterns.clone.store import StoreFull

# A writer may still send again what was applied; so many uuids are told at most.
_TOLD_LIMIT = 20_000


class Ordering:
    """Orders updates into the map of `holdings`; no client may write below `reserved`.

    `make_uuid` gives 16 new bytes at each call, for the updates of the server's own.
    """

    def __init__(
        self,
        holdings: Holdings,
        fork: Fork,
        departures: Departures,
        *,
        make_uuid: Callable[[], bytes],
        max_body: int = MAX_BODY,
        reserved: bytes | None = None,
    ) -> None:
        self.updates = self.duplicates = self.refused = self.conflicts = 0
        self._holdings = holdings
        self._duplicates = holdings.duplicates
        self._fork = fork
        self._departures = departures
        self._replication = departures.replication
        self._always_replicated = self._replication.policy.level == REPLICATED
        self._make_uuid = make_uuid
        self._max_body = max_body
        self._reserved = reserved

    def order(self, frames: Sequence[bytes], now: float) -> Frames | None:
        """A client's KVSET: what is to be published for it, None if nothing. MalformedMessage.

        It gets a number and is stored. An update without room is answered by a refusal; one whose
        uuid was applied before, by the same publication with its first number: every client
        discards that, and its writer learns that it was applied. One that was refused is refused
        again. What may not leave yet is published later, by an effect of `Departures.settle`. There
        is no effect object here, which would be a tenth of the cost.
        """
        ttl = check_update(frames, max_body=self._max_body)
        condition = level = None
        if frames[3]:
            condition, level = decode_condition(frames[3]), decode_level(frames[3])
        known = self._duplicates.seen(frames[2], frames[0], now) if frames[2] else None
        if level is not None:
            frames = (*frames[:3], without_level(frames[3]), frames[4])
        if known is not None:
            return self._answer_again(frames, known, level == REPLICATED, now)
        if self._reserved is not None and frames[0].startswith(self._reserved):
            self.refused += 1
            return self._refuse(frames, "reserved", now)
        if condition is not None:
            if not condition.holds(self._holdings.store.get(frames[0])):
                self.conflicts += 1
                return self._refuse(frames, CONFLICT, now)
            frames = (*frames[:3], without_condition(frames[3]), frames[4])
        replicated = self._always_replicated if level is None else level == REPLICATED
        if replicated and self._replication.refuses:
            self._replication.unreplicated += 1
            return self._refuse(frames, UNREPLICATED, now)
        return self._accept(frames, ttl, now, replicated, level == REPLICATED)

    def _answer_again(
        self, frames: Sequence[bytes], known: int | str, asked: bool, now: float
    ) -> Frames | None:
        """What came of an update that is sent once more; None: it is answered when it leaves."""
        self.duplicates += 1
        if self._replication.holds(frames[2]):
            return None
        if isinstance(known, str):
            return self._departures.keep_place(refusal(frames, known), now)
        newest = self._holdings.store.sequence
        answer = replace_sequence(frames, known)
        return self._departures.leave_again(answer, known, newest, now, asked=asked)

    def _refuse(self, frames: Sequence[bytes], reason: str, now: float) -> Frames | None:
        # Its writer may believe it: a copy of the update that comes later must not be applied.
        self._duplicates.remember(frames[2], reason, None, now)
        answer = refusal(frames, reason)
        self._replication.append(answer)
        return self._departures.keep_place(answer, now)

    def _accept(
        self,
        frames: Sequence[bytes],
        ttl: float | None,
        now: float,
        replicated: bool,
        asked: bool,
    ) -> Frames | None:
        store = self._holdings.store
        sequence = store.sequence + 1
        key, _, uuid, properties, body = frames
        if properties and not properties.endswith(b"\n"):
            properties += b"\n"  # as all that a server makes of them: copies are as long
        if ttl is not None and not ttl.is_integer():
            properties = replace_ttl(properties, whole_seconds(ttl))
        if properties and properties in OWN:
            properties = b""  # a client that gives back what it was told: the update is its own
        numbered = (key, encode_sequence(sequence), uuid, properties, body)
        try:
            store.apply(numbered, sequence, None if ttl is None else now + ttl)
        except StoreFull:
            self.refused += 1
            return self._refuse(frames, "full", now)
        fork = self._fork
        if not body or fork.deletions:
            fork.remember_deletion(numbered)
        self.updates += 1
        fork.writes += 1
        self._duplicates.remember(uuid, sequence, key, now)
        return self._departures.leave(numbered, sequence, now, replicated, asked)

    def order_own(self, key: bytes, properties: bytes, body: bytes, now: float) -> list[Effect]:
        """An update of the server's own, which no client has written. Raises StoreFull."""
        store = self._holdings.store
        sequence = store.sequence + 1
        frames = (key, encode_sequence(sequence), self._make_uuid(), properties, body)
        store.apply(frames, sequence)
        replicated = self._always_replicated
        publication = self._departures.leave(frames, sequence, now, replicated, own=True)
        return [] if publication is None else [Publish(publication)]

    def answered_lately(self) -> list[Frames]:
        """Entries that tell uuids: a peer that has not heard of them would apply them again.

        The map has only the newest update of a key, none of a key that was deleted, and nothing of
        those that were refused. They delete nothing, since they come first. Where the key does not
        matter, the uuid stands in its place.
        """
        return [
            refusal((uuid, b"", uuid), result)
            if isinstance(result, str)
            else (key or uuid, encode_sequence(result), uuid, b"", b"")
            for uuid, result, key in self._duplicates.newest(_TOLD_LIMIT)
        ]

    # --- what clients sent while the server did not serve

    def hold(self, frames: Sequence[bytes], now: float) -> None:
        """A client's KVSET that is not to be ordered now, and perhaps never. MalformedMessage."""
        check_update(frames, max_body=self._max_body)
        if frames[3]:
            decode_condition(frames[3])
            decode_level(frames[3])
        known = self._duplicates.seen(frames[2], frames[0], now) if frames[2] else None
        if known is None:
            self._holdings.pending.add(tuple(frames), now)
        else:
            self._holdings.pending.receive_late_copy(frames[0], frames[2])

    def order_held(self, now: float) -> list[Effect]:
        """Order all of that, each after the one that it builds on."""
        pending = self._holdings.pending
        pending.expire(now)
        publications = [self.order(frames, now) for frames in in_order(pending.take_all())]
        return [Publish(frames) for frames in publications if frames is not None]
