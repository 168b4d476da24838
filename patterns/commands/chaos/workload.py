"""What the writers of the chaos write: registers, deletions, values with a ttl, conditions."""

from __future__ import annotations

import random
from dataclasses import dataclass

from patterns.clone.levels import APPLIED, REPLICATED

KEYS = 40
COUNTERS = 4
EPHEMERALS = 10
BIG = 4096
# A writer's process numbers its writes from so many times its life on.
WRITES_OF_A_LIFE = 10_000_000


@dataclass(frozen=True, slots=True)
class Operation:
    """A write: no body deletes. `conditional`: only if the key is as the writer sees it."""

    key: bytes
    body: bytes
    ttl: float = 0.0
    conditional: bool = False
    level: str = APPLIED


def next_operation(chance: random.Random, name: str, number: int, levels: bool) -> Operation:
    """The next write of a writer: every body is written once. With `levels`, some ask for more."""
    body = f"{name} {number}".encode()
    level = REPLICATED if levels and chance.random() < 0.5 else APPLIED
    match chance.random():
        case lot if lot < 0.12:
            return Operation(_register(chance), b"", level=level)
        case lot if lot < 0.22:
            key = b"/t/%d" % chance.randrange(EPHEMERALS)
            return Operation(key, body, ttl=float(chance.randint(2, 12)), level=level)
        case lot if lot < 0.34:
            key = b"/n/%d" % chance.randrange(COUNTERS)
            return Operation(key, body, conditional=True, level=level)
        case lot if lot < 0.36:
            return Operation(_register(chance), body.ljust(BIG, b"."), level=level)
    return Operation(_register(chance), body, level=level)


def _register(chance: random.Random) -> bytes:
    return b"/%s/%d" % (chance.choice((b"a", b"b", b"c")), chance.randrange(KEYS))
