"""Compare-and-set: a write that is applied only if its key is still what the writer saw.

The condition travels in two properties of the KVSET, and only to a server that has said that it
knows them (`feat=cas` in its KTHXBAI): every other one would apply the write in any case.
"""

from __future__ import annotations

from dataclasses import dataclass

from patterns.clone.messages import (
    UUID_SIZE,
    Frames,
    MalformedMessage,
    decode_number,
    parse_properties,
    sequence_of,
)

FEATURE = "cas"
CONFLICT = "conflict"

_SEQUENCE = "if-sequence"
_UUID = "if-uuid"
_LINES = (b"if-sequence=", b"if-uuid=")


@dataclass(frozen=True, slots=True)
class Condition:
    """The entry that a key must have: its sequence number, 0 for no entry at all.

    Or its uuid, if one is given: an acknowledged update that a new active server has to apply once
    more, because the old one died with it, has the same uuid under another number. For no entry it
    is the uuid of the deletion that the writer has seen: what the write comes after, in any case.
    """

    sequence: int
    uuid: bytes = b""

    @classmethod
    def of(cls, sequence: int, entry: Frames | None, deletion: bytes = b"") -> Condition:
        """The condition for what a client holds: an `entry`, whose number may be another, or none.

        `deletion` is the uuid of the last deletion of the key that it has heard of.
        """
        if not sequence:
            return cls(0, deletion)
        seen = entry is not None and sequence_of(entry) == sequence
        return cls(sequence, entry[2] if entry is not None and seen else b"")

    def properties(self) -> dict[str, str | int]:
        """The properties that say it."""
        named: dict[str, str | int] = {_SEQUENCE: self.sequence}
        return named | {_UUID: self.uuid.hex()} if self.uuid else named

    def holds(self, entry: Frames | None) -> bool:
        """True if this entry, None for none, is the one that is meant."""
        if entry is None:
            return not self.sequence
        return sequence_of(entry) == self.sequence or bool(self.uuid and entry[2] == self.uuid)


class Deletions:
    """The uuids of the newest deletions that a client has heard of, by key; `limit` of them."""

    def __init__(self, limit: int = 1000) -> None:
        self._limit = limit
        self._uuids: dict[bytes, bytes] = {}

    def remember(self, key: bytes, uuid: bytes) -> None:
        """This update has deleted the key."""
        self._uuids.pop(key, None)
        self._uuids[key] = uuid
        if len(self._uuids) > self._limit:
            del self._uuids[next(iter(self._uuids))]

    def get(self, key: bytes) -> bytes:
        """The uuid of the newest, empty if none is known."""
        return self._uuids.get(key, b"")


def decode_condition(properties: bytes) -> Condition | None:
    """The condition in a properties frame, None without one. Raises MalformedMessage."""
    if _LINES[0] not in properties:
        return None
    values = parse_properties(properties)
    sequence = decode_number(values, _SEQUENCE)
    if sequence is None:
        return None
    try:
        uuid = bytes.fromhex(values.get(_UUID, ""))
    except ValueError:
        uuid = b"?"
    if len(uuid) not in (0, UUID_SIZE):
        raise MalformedMessage(f"property {_UUID} is no uuid")
    return Condition(sequence, uuid)


def without_condition(properties: bytes) -> bytes:
    """The same properties frame without the condition: it says nothing about the value."""
    lines = [line for line in properties.split(b"\n") if line and not line.startswith(_LINES)]
    return b"".join(line + b"\n" for line in lines)
