"""What goes wrong, and for how long: decided by a seed.

There are two lanes. In that of the servers one thing goes wrong at a time, and the pair is in step
again before the next one: a pair promises nothing beyond that. In that of the clients something
goes wrong at one client after the other, whatever the servers do meanwhile.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

# While a server is not there, nothing is replicated: that has to have its time as well.
SERVER_REST = 6.0
CLIENT_REST = 2.0

ACTIVE, PASSIVE = "active", "passive"
THERE, BACK, BOTH = "there", "back", "both"


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong: `kind`, at `target`, for `seconds`; `after` seconds in which nothing does.

    `way` is the direction of a cut, a delay or a trickle; `amount` is seconds or bytes a second.
    """

    kind: str
    target: str
    seconds: float
    after: float
    way: str = BOTH
    amount: float = 0.0

    @property
    def name(self) -> str:
        """What it is counted as."""
        one_way = self.kind == "cut" and self.way != BOTH
        return f"{self.kind} {self.target}".strip() + (", one way" if one_way else "")


# Kind and target, and how often of a hundred.
_AT_SERVERS = (
    ("kill", ACTIVE, 20),
    ("kill", PASSIVE, 8),
    ("stop", ACTIVE, 16),
    ("stop", PASSIVE, 8),
    ("unplug", ACTIVE, 6),
    ("unplug", PASSIVE, 4),
    ("cut", "pair", 16),
    ("reset", "pair", 10),
    ("delay", "pair", 6),
    ("trickle", "pair", 6),
)
_AT_CLIENTS = (
    ("kill", "client", 15),
    ("stop", "client", 15),
    ("unplug", "client", 8),
    ("cut", "client link", 28),
    ("reset", "client link", 16),
    ("delay", "client link", 9),
    ("trickle", "client link", 9),
)


def server_faults(
    seed: int, *, plugs: bool, kills: bool = True, rest: float = SERVER_REST
) -> Iterator[Fault]:
    """The faults of the servers and of the link between them, for ever.

    Before each nothing goes wrong for half of `rest` seconds to twice that. Without `kills` no
    server's process ends.
    """
    without = _impossible(plugs) | (set() if kills else {"kill"})
    return _faults(random.Random(f"{seed} servers"), _AT_SERVERS, without, rest)


def client_faults(seed: int, *, plugs: bool) -> Iterator[Fault]:
    """The faults of the clients and of their links to the servers, for ever."""
    return _faults(random.Random(f"{seed} clients"), _AT_CLIENTS, _impossible(plugs), CLIENT_REST)


def _impossible(plugs: bool) -> set[str]:
    return set() if plugs else {"unplug"}


def _faults(
    chance: random.Random,
    table: Sequence[tuple[str, str, int]],
    without: Collection[str],
    rest: float,
) -> Iterator[Fault]:
    choices = [(kind, target) for kind, target, _ in table if kind not in without]
    weights = [weight for kind, _, weight in table if kind not in without]
    while True:
        kind, target = chance.choices(choices, weights)[0]
        yield Fault(
            kind,
            target,
            seconds=_seconds(chance, kind),
            after=round(rest * chance.uniform(0.5, 2.0), 2),
            way=chance.choice((THERE, BACK, BOTH, BOTH)),
            amount=_amount(chance, kind),
        )


def _seconds(chance: random.Random, kind: str) -> float:
    """Short ones mostly, and some that outlast every timeout."""
    if kind == "reset":
        return 0.0
    if kind == "kill":
        return round(chance.uniform(0.1, 5.0), 2)
    low, high = chance.choices(((0.1, 1.5), (1.5, 6.0), (6.0, 30.0)), (45, 40, 15))[0]
    return round(chance.uniform(low, high), 2)


def _amount(chance: random.Random, kind: str) -> float:
    if kind == "delay":
        return round(chance.uniform(0.05, 1.0), 2)
    if kind == "trickle":
        return float(chance.choice((200, 1000, 5000)))
    return 0.0
