"""The clauses of RFC 12 (CHP) that can be checked from outside, and what a check has found."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass


class Level(enum.Enum):
    """How binding a clause is. BEYOND: the RFC does not say it, and a public port needs it."""

    MUST = "MUST"
    SHOULD = "SHOULD"
    BEYOND = "beyond"


class Outcome(enum.Enum):
    """What was found of one clause, from good to bad; SKIP: nothing could be seen of it."""

    PASS = "pass"
    SKIP = "skip"
    NOTE = "note"
    FAIL = "fail"

    @property
    def rank(self) -> int:
        """A larger number is worse."""
        return list(Outcome).index(self)


@dataclass(frozen=True, slots=True)
class Clause:
    """One clause: its name, how binding it is, and the rule in a sentence."""

    name: str
    level: Level
    rule: str


SNAPSHOT_ANSWER = Clause(
    "snapshot-answer", Level.MUST, "ICANHAZ? is answered by KVSYNCs and one KTHXBAI after them"
)
KVSYNC_FORM = Clause(
    "kvsync-form", Level.MUST, "KVSYNC has five frames: key, 8-byte sequence, two empty ones, value"
)
KTHXBAI_FORM = Clause(
    "kthxbai-form",
    Level.MUST,
    "KTHXBAI has five frames: the word, 8-byte sequence, two empty ones, the subtree",
)
KTHXBAI_SEQUENCE = Clause(
    "kthxbai-sequence", Level.MUST, "KTHXBAI carries the highest sequence of its KVSYNCs"
)
SNAPSHOT_SUBTREE = Clause(
    "snapshot-subtree", Level.MUST, "A snapshot holds every key of its subtree and no other"
)
SNAPSHOT_EVERYTHING = Clause(
    "snapshot-everything", Level.MUST, "An empty subtree asks for everything"
)
SNAPSHOT_IDENTITY = Clause(
    "snapshot-identity", Level.MUST, "Of two clients that ask at once each gets its own answer"
)
COLLECTOR_SOCKET = Clause("collector-socket", Level.MUST, "The collector at P+2 is a SUB")
KVPUB_BROADCAST = Clause(
    "kvpub-broadcast", Level.MUST, "A KVSET is published as a KVPUB of the same key and value"
)
KVPUB_FORM = Clause(
    "kvpub-form",
    Level.MUST,
    "KVPUB has five frames: key, 8-byte sequence, uuid or nothing, name=value lines, value",
)
KVPUB_SEQUENCE = Clause("kvpub-sequence", Level.MUST, "The numbers of KVPUBs grow, each time")
KVPUB_UUID = Clause("kvpub-uuid", Level.SHOULD, "A KVPUB carries the uuid of its KVSET")
KVPUB_PROPERTIES = Clause(
    "kvpub-properties", Level.SHOULD, "A KVPUB carries the properties of its KVSET"
)
KVSET_WITHOUT_UUID = Clause("kvset-without-uuid", Level.MUST, "A KVSET may have no uuid")
KVSET_SEQUENCE = Clause("kvset-sequence", Level.MUST, "The number in a KVSET has no significance")
KVSET_DELETE = Clause("kvset-delete", Level.MUST, "A KVSET without a value deletes its key")
KVSET_TTL = Clause(
    "kvset-ttl", Level.SHOULD, "A key with a ttl is deleted, and that is published, in its time"
)
HUGZ_INTERVAL = Clause(
    "hugz-interval", Level.SHOULD, "HUGZ come at regular intervals when nothing else does"
)
HUGZ_FORM = Clause("hugz-form", Level.MUST, "HUGZ has five frames: the word, eight zeros, no more")
MALFORMED_REQUESTS = Clause(
    "malformed-requests", Level.BEYOND, "What is no ICANHAZ? does not end the server"
)
MALFORMED_UPDATES = Clause(
    "malformed-updates", Level.BEYOND, "What is no KVSET does not end the server and goes nowhere"
)
RESERVED_KEYS = Clause(
    "reserved-keys", Level.BEYOND, "HUGZ, KTHXBAI and ICANHAZ? are not taken as keys"
)
NOTHING_LEFT = Clause("nothing-left", Level.BEYOND, "The keys of this check can all be deleted")

CLAUSES = (
    SNAPSHOT_ANSWER,
    COLLECTOR_SOCKET,
    HUGZ_INTERVAL,
    HUGZ_FORM,
    KVPUB_BROADCAST,
    KVPUB_FORM,
    KVPUB_SEQUENCE,
    KVPUB_UUID,
    KVPUB_PROPERTIES,
    KVSET_WITHOUT_UUID,
    KVSET_SEQUENCE,
    KVSYNC_FORM,
    KTHXBAI_FORM,
    KTHXBAI_SEQUENCE,
    SNAPSHOT_SUBTREE,
    SNAPSHOT_EVERYTHING,
    SNAPSHOT_IDENTITY,
    KVSET_DELETE,
    KVSET_TTL,
    MALFORMED_REQUESTS,
    MALFORMED_UPDATES,
    RESERVED_KEYS,
    NOTHING_LEFT,
)


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found of one clause, and what was seen."""

    clause: Clause
    outcome: Outcome
    seen: str


@dataclass(frozen=True, slots=True)
class Deviation:
    """Something that is not as a clause says. A NOTE is what deployed servers do, harmlessly."""

    outcome: Outcome
    seen: str


def conclude(clause: Clause, deviations: Iterable[Deviation], otherwise: str) -> Finding:
    """The worst of the deviations from a clause, all of them named; without any, a pass."""
    by_text = {deviation.seen: deviation for deviation in deviations}
    if not by_text:
        return Finding(clause, Outcome.PASS, otherwise)
    worst = max((deviation.outcome for deviation in by_text.values()), key=lambda o: o.rank)
    return Finding(clause, worst, "; ".join(by_text))
