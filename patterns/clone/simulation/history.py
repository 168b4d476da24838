"""The history of a run: what servers numbered, what clients were told, in virtual time.

It keeps for every activity of a server the numbers it gave and, for each subtree that a client
follows, a hash of the map after each of them: so a client's map can be compared with the server's
at any number, in one look-up. And it keeps every map that a server's process ever held, how that
ended, and which numbers a server said its peer holds as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from patterns.clone.conditions import CONFLICT
from patterns.clone.levels import APPLIED
from patterns.clone.messages import (
    Frames,
    counter_of,
    epoch_of,
    make_sequence,
    parse_properties,
    sequence_of,
)

Interest: TypeAlias = tuple[bytes, ...]
"""The subtrees of a client."""

EVERYTHING: Interest = (b"",)

Fault: TypeAlias = tuple[float, float, str, tuple[str, ...]]
"""When it begins and ends, its kind, and the nodes that it concerns."""

SEPARATING = ("cut", "pause", "slow", "trickle", "crash", "power")
"""The faults that keep two servers from hearing each other.

A slow link delays what passes by a second at most; on one that trickles, what is sent piles up.
"""

# Clocks that drift by 200 ppm.
DRIFT = 5e-4


@dataclass(frozen=True, slots=True)
class Violation:
    """An invariant (see docs/guarantees.md) that did not hold at an instant, and how."""

    invariant: str
    at: float
    text: str

    def __str__(self) -> str:
        return f"{self.invariant} at {self.at:.3f} s: {self.text}"


@dataclass(frozen=True, slots=True)
class Entry:
    """An update that a server has numbered. `ttl` is 0.0 without one; an empty body deletes."""

    sequence: int
    at: float
    key: bytes
    uuid: bytes
    body: bytes
    ttl: float = 0.0
    expiry: bool = False

    @classmethod
    def of(cls, frames: Frames, at: float) -> Entry:
        """The entry in the frames of a publication."""
        properties = parse_properties(frames[3])
        return cls(
            sequence_of(frames),
            at,
            frames[0],
            frames[2],
            frames[4],
            float(properties.get("ttl", 0.0)),
            properties.get("o") == "ttl",
        )


class Activity:
    """One time that one server was active: where it began, and what it numbered since."""

    def __init__(self, node: str, at: float, fork: int, base: Iterable[Frames]) -> None:
        self.node = node
        self.began = at
        self.ended: float | None = None
        self.died: float | None = None  # with its process, which had not yielded before
        self.absences: list[tuple[float, float]] = []  # it handed over, in vain, and served nobody
        self.yielded: float | None = None  # when it was given up for the peer's history
        self.fork = fork
        self.epoch = 0
        self.first = 0  # what it counts on from: an activity that goes on in another epoch
        self.entries: list[Entry] = []
        self.releases: list[float] = []  # when each of them left the server, in the same order
        self.reported: set[bytes] = set()  # uuids that its server said it has given up
        self.map: dict[bytes, bytes] = {entry[0]: entry[4] for entry in base}
        self._hashes: dict[Interest, list[int]] = {}

    @property
    def sequence(self) -> int:
        """The last number given, or the one before the first."""
        return self.entries[-1].sequence if self.entries else make_sequence(self.epoch, self.first)

    def follow(self, interests: Iterable[Interest]) -> None:
        """Keep hashes for these interests."""
        for interest in interests:
            self._hashes[interest] = [map_hash(self.map, interest)]

    def add(self, entry: Entry) -> None:
        """The server has numbered an update."""
        before = self.map.pop(entry.key, b"")
        if entry.body:
            self.map[entry.key] = entry.body
        change = pair_hash(entry.key, before) ^ pair_hash(entry.key, entry.body)
        for interest, hashes in self._hashes.items():
            hashes.append(hashes[-1] ^ change if entry.key.startswith(interest) else hashes[-1])
        self.entries.append(entry)

    @property
    def released(self) -> int:
        """The last number that clients may know of; those after it are held back."""
        count = len(self.releases)
        return self.entries[count - 1].sequence if count else make_sequence(self.epoch, self.first)

    def hash_at(self, interest: Interest, sequence: int) -> int | None:
        """The hash of that part of the map after this number, None if it was never given here."""
        count = counter_of(sequence) - self.first
        hashes = self._hashes[interest]
        known = epoch_of(sequence) == self.epoch and 0 <= count < len(hashes)
        return hashes[count] if known else None

    def last_release(self, interest: Interest) -> tuple[int, float] | None:
        """The newest update in that part of the map that has left the server, and when."""
        for number in range(len(self.releases) - 1, -1, -1):
            if self.entries[number].key.startswith(interest):
                return self.entries[number].sequence, self.releases[number]
        return None


class Holder(Protocol):
    """What holds all up to a number: a store."""

    sequence: int


@dataclass(slots=True)
class Copy:
    """A map that one process of a server held, until it died or took another in its place."""

    node: str
    store: Holder
    ended: float | None = None
    died: bool = False


def pair_hash(key: bytes, body: bytes) -> int:
    """A number for a key and its value, 0 without a value; sums of them stand for maps."""
    return hash((key, body)) if body else 0


def map_hash(held: dict[bytes, bytes], interest: Interest = EVERYTHING) -> int:
    """The hash of the part of a map below some subtrees."""
    result = 0
    for key, body in held.items():
        if key.startswith(interest):
            result ^= pair_hash(key, body)
    return result


@dataclass(slots=True)
class Write:
    """An operation of a client, and how it ended. `level` is the one that it asked for.

    One that `compares` applies only over the update whose uuid its client has `seen`, b"" for none.
    `life` tells the processes of a client apart: what a dead one sent may arrive after a new one's.
    """

    client: str
    number: int
    key: bytes
    body: bytes
    invoked: float
    ttl: float = 0.0
    level: str = APPLIED
    compares: bool = False
    seen: bytes = b""
    life: int = 0
    answered: float | None = None
    sequence: int | None = None  # acknowledged under this number, at that level
    reason: str = ""  # or failed for this reason; "crashed" with its client
    told: bool = False  # its caller has been, or died with its client
    applied: int | None = None  # failed, and applied all the same under this number

    @property
    def failed(self) -> bool:
        """True if nobody knows what became of it; a conflict is an answer."""
        return self.sequence is None and self.applied is None and self.reason != CONFLICT


@dataclass
class History:
    """All of a run. `activities` and `writes` are in the order in which they began.

    What happened may have been noted up to `slack` seconds later.
    """

    interests: tuple[Interest, ...]
    slack: float = 0.001
    activities: list[Activity] = field(default_factory=list)
    writes: dict[bytes, Write] = field(default_factory=dict)
    violations: list[Violation] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    by_epoch: dict[int, Activity] = field(default_factory=dict)
    copies: list[Copy] = field(default_factory=list)
    refused: dict[bytes, tuple[Activity, float]] = field(default_factory=dict)
    """The uuids of updates that a server has refused first, and when."""
    promised: dict[int, float] = field(default_factory=dict)
    """The numbers of which a server said that its peer holds them, and when it said so first."""
    set_back: set[str] = field(default_factory=set)
    """The nodes whose wall clock was set back."""
    outages: list[tuple[float, float]] = field(default_factory=list)
    """From when no server led or might take over, until an operator had one lead."""
    void: bool = False
    """Whether numbers mean two things from some instant on, as nothing promises that they do not.

    A server whose clock went back, and which has no memory of an epoch, may use it again: if it was
    everybody's death that left nobody with one, or its own while it cannot hear the other. What is
    found from then on says nothing.
    """

    def violate(self, invariant: str, at: float, text: str) -> None:
        """Note that an invariant did not hold."""
        if not self.void:
            self.violations.append(Violation(invariant, at, text))

    def begin(self, node: str, at: float, fork: int, base: Iterable[Frames]) -> Activity:
        """A server becomes active."""
        activity = Activity(node, at, fork, base)
        activity.follow(self.interests)
        self.activities.append(activity)
        return activity

    def overlaps(self) -> bool:
        """Whether two servers were active at the same time."""
        ordered = sorted(self.activities, key=lambda each: each.began)
        return any(
            one.node != other.node and (one.ended is None or one.ended > other.began)
            for place, one in enumerate(ordered)
            for other in ordered[place + 1 :]
        )

    def overlapped(self, activity: Activity) -> bool:
        """Whether the other server was active too while this activity lasted."""
        return any(
            other.node != activity.node
            and (other.ended is None or other.ended > activity.began)
            and (activity.ended is None or activity.ended > other.began)
            for other in self.activities
        )

    def began_below(self, node: str, known: Activity) -> bool:
        """Whether a server began with nothing, in an older epoch than the peer's, unheard."""
        return known.node != node and any(
            each.node == node
            and not each.fork
            and each.epoch < known.epoch
            and each.began > known.began
            for each in self.activities
        )

    def winner_over(self, loser: Activity) -> Activity:
        """The activity of the other server to which this one has yielded.

        It may have died a moment before; or begin only then: a passive server with newer data leads
        as soon as it is let. If there is none, the activity itself.
        """
        assert loser.yielded is not None
        rivals = [
            each
            for each in self.activities
            if each.node != loser.node and (each.ended is None or each.ended > loser.began)
        ]
        before = [each for each in rivals if each.began <= loser.yielded]
        return before[-1] if before else next(iter(rivals), loser)

    def concerns_servers(self, fault: Fault) -> bool:
        """What happens to a client, or between it and a server, is between the servers nothing."""
        return fault[2] not in ("clock", "switchover", "junk") and self._all_servers(fault[3])

    def separations(self) -> list[Fault]:
        """The faults that keep the servers from hearing each other, in the order they began."""
        separating = (each for each in self.faults if each[2] in SEPARATING)
        return sorted(each for each in separating if self._all_servers(each[3]))

    def _all_servers(self, nodes: Iterable[str]) -> bool:
        servers = {copy.node for copy in self.copies}
        return not servers or servers.issuperset(nodes)

    def holds(self, position: int, sequence: int) -> bool:
        """Whether a map at one number contains the update with another one."""
        while epoch_of(position) > epoch_of(sequence):  # what it began with is of an older epoch
            activity = self.by_epoch.get(epoch_of(position))
            if activity is None or activity.fork >= position:
                return False
            position = activity.fork
        return epoch_of(position) == epoch_of(sequence) and position >= sequence

    def reach(self, position: int) -> dict[int, int]:
        """Of each epoch the last number that a map at this number contains: as many `holds`."""
        last: dict[int, int] = {}
        while epoch_of(position) not in last:
            last[epoch_of(position)] = position
            activity = self.by_epoch.get(epoch_of(position))
            position = activity.fork if activity is not None else position
        return last

    def holders(self, sequence: int) -> Iterator[Copy]:
        """The copies that contain an update, or did when they ended, the newest first."""
        return (copy for copy in reversed(self.copies) if self.holds(copy.store.sequence, sequence))

    def lineage(self, last: Activity) -> list[Entry]:
        """The numbered updates that led to this activity's map, oldest first."""
        chain: list[list[Entry]] = []
        activity: Activity | None = last
        until = last.sequence
        seen: set[int] = set()
        while activity is not None and id(activity) not in seen:
            seen.add(id(activity))
            chain.append([each for each in activity.entries if each.sequence <= until])
            until = activity.fork
            activity = self.by_epoch.get(epoch_of(until))
        return [entry for entries in reversed(chain) for entry in entries]
