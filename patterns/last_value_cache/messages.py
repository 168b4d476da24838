"""What a cache and a subscriber by credit say to each other.

The subscriber's DEALER to the cache's ROUTER, and back:

    JOIN   credit, prefix...   send me the last values under these prefixes, and what changes
    CREDIT credit              I have handled all that you sent; so many more, please
    HUGZ                       I am there; answered with HUGZ
    BYE                        forget me

    UPDATE frames...           the newest message of a topic, as it was published; an empty body
                               says that the topic has no value any more
    SYNCED                     all values that there were when you joined have been sent
    HUGZ                       I am there
    REJOIN                     I do not know you (any more): join again
    FULL                       there are too many of you: join again later

A credit is a number of UPDATEs, 4 bytes, most significant first; nothing else is counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

JOIN = b"JOIN"
CREDIT = b"CREDIT"
HUGZ = b"HUGZ"
BYE = b"BYE"
UPDATE = b"UPDATE"
SYNCED = b"SYNCED"
REJOIN = b"REJOIN"
FULL = b"FULL"

MAX_CREDIT = 10_000
MAX_PREFIXES = 1000
MAX_PREFIX_BYTES = 255
_CREDIT_BYTES = 4

Frames = Sequence[bytes]


class MalformedMessage(ValueError):
    """A message that a subscriber by credit, or its cache, should not have sent."""


class Join(NamedTuple):
    """A wish to be sent what is under these prefixes, `credit` values of it to begin with."""

    credit: int
    prefixes: tuple[bytes, ...]


def encode_join(join: Join) -> tuple[bytes, ...]:
    """Return the frames of a JOIN."""
    return JOIN, join.credit.to_bytes(_CREDIT_BYTES), *join.prefixes


def decode_join(frames: Frames) -> Join:
    """Return what a JOIN says; raises MalformedMessage."""
    if not 3 <= len(frames) <= 2 + MAX_PREFIXES:
        raise MalformedMessage(f"JOIN takes a credit and 1 to {MAX_PREFIXES} prefixes")
    if any(len(prefix) > MAX_PREFIX_BYTES for prefix in frames[2:]):
        raise MalformedMessage(f"a prefix has at most {MAX_PREFIX_BYTES} bytes")
    return Join(_credit_of(frames[1]), tuple(dict.fromkeys(frames[2:])))


def encode_credit(credit: int) -> tuple[bytes, ...]:
    """Return the frames of a CREDIT."""
    return CREDIT, credit.to_bytes(_CREDIT_BYTES)


def decode_credit(frames: Frames) -> int:
    """Return how many more updates are wanted; raises MalformedMessage."""
    if len(frames) != 2:
        raise MalformedMessage("CREDIT takes one number")
    return _credit_of(frames[1])


def _credit_of(frame: bytes) -> int:
    credit = int.from_bytes(frame)
    if len(frame) != _CREDIT_BYTES or not 1 <= credit <= MAX_CREDIT:
        raise MalformedMessage(f"a credit is a number from 1 to {MAX_CREDIT} in 4 bytes")
    return credit
