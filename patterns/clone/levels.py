"""Levels of acknowledgement: how many servers hold a write when its writer hears that it is done.

At `applied` that is the active server, at `replicated` the passive one too. The level travels in
one property, `ack`: in a KVSET it is the one that the writer asks for, in the KVPUB that answers it
the one that was reached. It is asked only of a server that has said that it knows levels
(`feat=rep` in its KTHXBAI): every other one publishes the property as it came, unread.
"""

from __future__ import annotations

from patterns.clone.messages import MalformedMessage, parse_properties

FEATURE = "rep"
APPLIED = "applied"
REPLICATED = "replicated"
LEVELS = frozenset({APPLIED, REPLICATED})
# The reason of a refusal: the passive server is not there, or not in time, to hold the write.
UNREPLICATED = "unreplicated"

_NAME = "ack"
_LINE = b"ack="


def check_level(level: str) -> None:
    """Raise ValueError for what is no level."""
    if level not in LEVELS:
        raise ValueError(f"ack {level!r} is neither {APPLIED!r} nor {REPLICATED!r}")


def decode_level(properties: bytes) -> str | None:
    """The level in a properties frame, None without one. Raises MalformedMessage."""
    if _LINE not in properties:
        return None
    level = parse_properties(properties).get(_NAME)
    if level is not None and level not in LEVELS:
        raise MalformedMessage(f"property {_NAME}={level[:80]!r} is no level")
    return level


def is_replicated(properties: bytes) -> bool:
    """True if a publication tells that the passive server holds it too; whatever else it says, no.

    The frame has been checked.
    """
    return _LINE in properties and parse_properties(properties).get(_NAME) == REPLICATED


def with_level(properties: bytes, level: str) -> bytes:
    """The same properties frame, which has no level yet, with this one; ValueError for none."""
    check_level(level)
    return _terminated(properties) + b"%s%s\n" % (_LINE, level.encode())


def without_level(properties: bytes) -> bytes:
    """The same properties frame without the level: it says nothing about the value."""
    lines = [line for line in properties.split(b"\n") if line and not line.startswith(_LINE)]
    return b"".join(line + b"\n" for line in lines)


def _terminated(properties: bytes) -> bytes:
    return properties if properties.endswith(b"\n") or not properties else properties + b"\n"
