"""The faults of each scenario: what goes wrong, where and for how long, by chance."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from patterns.clone.simulation.schedule import (
    BACKUP,
    FIRST_FAULT,
    HEAL,
    PRIMARY,
    SERVERS,
    Member,
    Step,
)

_LASTING = {"crash", "power", "pause", "cut", "slow"}


@dataclass
class Draft:
    """A schedule in the making: its steps so far, in any order."""

    chance: random.Random
    members: tuple[Member, ...]
    steps: list[Step] = field(default_factory=list)

    def add(
        self, at: float, kind: str, *nodes: str, seconds: float = 0.0, detail: str = ""
    ) -> None:
        """Add a step, with what lasts ended before everything is healed."""
        seconds = min(seconds, HEAL - at) if kind in _LASTING else seconds
        details = tuple(detail.split()) if detail else ()
        self.steps.append(Step(round(at, 3), kind, nodes, round(seconds, 3), details))

    def instant(self) -> float:
        """When something goes wrong."""
        return self.chance.uniform(FIRST_FAULT, HEAL - 4.0)

    def duration(self) -> float:
        """Long and short ones: what matters lies around the timeouts."""
        return self.chance.choice((0.2, 0.8, 1.5, 2.5, 4.0, 7.0, 12.0)) * self.chance.uniform(
            0.5, 1.5
        )

    def server(self) -> str:
        """One of the two."""
        return self.chance.choice(SERVERS)

    def client(self) -> str:
        """One of them all."""
        return self.chance.choice(self.members).name


Faults: TypeAlias = Callable[[Draft], None]
"""Adds what goes wrong."""


def _calm(draft: Draft) -> None:
    pass


def _crash(draft: Draft) -> None:
    kind = draft.chance.choice(("crash", "power"))
    draft.add(draft.instant(), kind, draft.server(), seconds=draft.duration())


def _double(draft: Draft) -> None:
    """Both die, one soon after the other: what two nodes without disks cannot survive.

    Or one dies and comes back with nothing while the other one, which has it all, is not heard.
    """
    chance = draft.chance
    first, second = chance.sample(SERVERS, 2)
    at = draft.instant()
    draft.add(at, "crash", first, seconds=draft.duration())
    at += chance.uniform(0.0, 6.0)
    kind = chance.choices(("crash", "pause", "cut"), (4, 1, 1))[0]
    nodes = SERVERS if kind == "cut" else (second,)
    detail = "reset" if kind == "cut" else ""
    draft.add(at, kind, *nodes, seconds=draft.duration(), detail=detail)


def _server_link(mode: str) -> Faults:
    return lambda draft: draft.add(
        draft.instant(), "cut", *SERVERS, seconds=draft.duration(), detail=mode
    )


def _client_link(mode: str) -> Faults:
    return lambda draft: draft.add(
        draft.instant(),
        "cut",
        draft.client(),
        draft.server(),
        seconds=draft.duration(),
        detail=mode,
    )


def _pause(draft: Draft) -> None:
    node = draft.chance.choice((*SERVERS, *SERVERS, draft.client()))
    draft.add(draft.instant(), "pause", node, seconds=draft.duration())


def _one_way(draft: Draft) -> None:
    a, b = draft.chance.sample((*SERVERS, draft.client()), 2)
    draft.add(draft.instant(), "cut", a, b, seconds=draft.duration(), detail="one-way")


def _swizzle(draft: Draft) -> None:
    """Cut the links one by one, and restore them in another order."""
    links = [SERVERS, *((member.name, server) for member in draft.members for server in SERVERS)]
    chance = draft.chance
    begin = chance.uniform(FIRST_FAULT, HEAL - 20.0)
    for link in chance.sample(links, chance.randint(2, len(links))):
        at = begin + chance.uniform(0.0, 5.0)
        until = begin + chance.uniform(6.0, 16.0)
        draft.add(at, "cut", *link, seconds=until - at, detail=chance.choice(("delay", "reset")))


def _churn(draft: Draft) -> None:
    for _ in range(draft.chance.randint(2, 6)):
        kind = draft.chance.choice(("crash", "power"))
        draft.add(draft.instant(), kind, draft.client(), seconds=draft.duration())


def _squeeze(draft: Draft) -> None:
    for _ in range(draft.chance.randint(1, 3)):
        draft.add(draft.instant(), "pause", draft.client(), seconds=draft.duration())
    _pause(draft)
    _drop(draft)


def _drop(draft: Draft) -> None:
    """What a publisher drops at a high-water mark: messages in the middle of a connection."""
    to = draft.chance.choice((*SERVERS, draft.client()))
    server = draft.chance.choice([each for each in SERVERS if each != to])
    draft.add(draft.instant(), "drop", server, to, detail=str(draft.chance.randint(1, 4)))


def _junk(draft: Draft) -> None:
    for _ in range(draft.chance.randint(3, 10)):
        port = draft.chance.choice(("snapshots", "collector", "publisher"))
        draft.add(draft.instant(), "junk", draft.server(), detail=port)


def _clocks(draft: Draft) -> None:
    for _ in range(draft.chance.randint(1, 4)):
        jump = draft.chance.choice((-86400.0, -3600.0, -90.0, -2.0, 2.0, 90.0, 3600.0, 86400.0))
        draft.add(
            draft.instant(), "clock", draft.chance.choice((*SERVERS, "client-0")), seconds=jump
        )


def _slow(draft: Draft) -> None:
    a, b = draft.chance.sample((*SERVERS, draft.client()), 2)
    delay = draft.chance.choice(("0.05", "0.4", "1.0"))
    draft.add(draft.instant(), "slow", a, b, seconds=draft.duration(), detail=delay)


def _switchover(draft: Draft) -> None:
    draft.add(draft.instant(), "switchover")


def _replicated(draft: Draft) -> None:
    """What happens to servers that hold everything back until both have it."""
    link = _server_link(draft.chance.choice(("reset", "delay")))
    faults = (_crash, _pause, link, _slow_link, _server_one_way, _switchover)
    for fault in draft.chance.sample(faults, draft.chance.choice((1, 1, 2))):
        fault(draft)
    if draft.chance.random() < 0.25:
        _deaf(draft)


def _deaf(draft: Draft) -> None:
    """A client hears no answers while one of the servers dies, and asks again for them."""
    at, first = draft.instant(), draft.server()
    other = BACKUP if first == PRIMARY else PRIMARY
    seconds = draft.chance.uniform(4.0, 8.0)
    draft.add(at, "cut", first, draft.client(), seconds=seconds, detail="one-way")
    draft.add(at + draft.chance.uniform(0.5, 1.5), "crash", other, seconds=seconds)


def _slow_link(draft: Draft) -> None:
    """So slow that some confirmations come, or that none comes in time."""
    delay = draft.chance.choice(("0.1", "0.3", "0.45", "0.7"))
    draft.add(draft.instant(), "slow", *SERVERS, seconds=draft.duration(), detail=delay)


def _server_one_way(draft: Draft) -> None:
    a, b = draft.chance.sample(SERVERS, 2)
    draft.add(draft.instant(), "cut", a, b, seconds=draft.duration(), detail="one-way")


def _held(draft: Draft) -> None:
    """Writes wait for a slow confirmation while something else happens to a server or the link.

    And clients come and go meanwhile: they ask for snapshots, and send again what waits.
    """
    chance = draft.chance
    begin = chance.uniform(FIRST_FAULT, HEAL - 20.0)
    delay = chance.choice(("0.1", "0.2", "0.3", "0.45"))
    draft.add(begin, "slow", *SERVERS, seconds=chance.uniform(8.0, 16.0), detail=delay)
    for _ in range(chance.choice((1, 1, 1, 2))):
        at = begin + chance.uniform(1.0, 8.0)
        kind = chance.choice(("crash", "power", "pause", "cut", "cut", "switchover"))
        nodes = {"cut": chance.sample(SERVERS, 2), "switchover": []}.get(kind, [draft.server()])
        detail = chance.choice(("reset", "delay", "one-way")) if kind == "cut" else ""
        seconds = draft.duration()
        draft.add(at, kind, *nodes, seconds=seconds, detail=detail)
        if kind in ("crash", "power") and chance.random() < 0.5:  # and its first copy is lost
            other = BACKUP if nodes == [PRIMARY] else PRIMARY
            draft.add(at + seconds, "drop", other, *nodes, detail=chance.choice(("2", "3", "4")))
    for _ in range(chance.choice((0, 0, 2, 4))):
        at, seconds = begin + chance.uniform(0.5, 8.0), chance.uniform(0.1, 0.6)
        draft.add(at, "cut", draft.client(), draft.server(), seconds=seconds, detail="reset")


def _held_conflict(draft: Draft) -> None:
    """Writes are held while the servers are cut off from each other, and both become active.

    Of what one of them gives up afterwards it must not speak when it leads again.
    """
    chance = draft.chance
    begin = chance.uniform(FIRST_FAULT, HEAL - 24.0)
    if chance.random() < 0.5:
        detail = chance.choice(("0.2", "0.45"))
        draft.add(begin - 1.0, "slow", *SERVERS, seconds=20.0, detail=detail)
    mode = chance.choice(("reset", "delay", "one-way"))
    nodes, seconds = chance.sample(SERVERS, 2), chance.uniform(8.0, 18.0)
    draft.add(begin, "cut", *nodes, seconds=seconds, detail=mode)
    if chance.random() < 0.3:  # what is held back at this moment is so for long
        at = begin + chance.uniform(0.0, 0.8)
        draft.add(at, "pause", draft.server(), seconds=chance.uniform(3.0, 9.0))
    for member in draft.members:  # who looks for a server finds the passive one
        if chance.random() < 0.5:
            at = begin + chance.uniform(2.0, 6.0)
            kind = chance.choice(("cut", "crash"))
            nodes = [member.name] if kind == "crash" else [member.name, draft.server()]
            lasting = draft.duration()
            draft.add(at, kind, *nodes, seconds=lasting, detail="reset" if kind == "cut" else "")
    if chance.random() < 0.5:
        loser, winner = chance.sample(SERVERS, 2)
        at = begin + seconds + chance.uniform(0.5, 3.0)
        draft.add(at, "crash", winner, seconds=draft.duration())
        if chance.random() < 0.6:  # somebody waits for answers of what may be given up
            end = begin + seconds - chance.uniform(1.0, 4.0)
            draft.add(end, "cut", loser, draft.client(), seconds=7.0, detail="one-way")


def _wake(draft: Draft) -> None:
    """Updates are held back as the active server stands still, and is replaced before it wakes.

    Nothing is wrong with the links by then.
    """
    chance = draft.chance
    at = chance.uniform(FIRST_FAULT + 4.0, HEAL - 14.0)
    draft.add(at - 3.0, "slow", *SERVERS, seconds=3.01, detail="0.45")
    draft.add(at, "pause", PRIMARY, seconds=chance.uniform(7.0, 12.0))


def _gone(draft: Draft) -> None:
    """One server is away for so long that the other one has to serve, and nothing else is wrong."""
    chance = draft.chance
    at = chance.uniform(FIRST_FAULT, HEAL - 20.0)
    kind = chance.choice(("crash", "power", "pause"))
    draft.add(at, kind, draft.server(), seconds=chance.uniform(14.0, 20.0))


def _mixed(draft: Draft) -> None:
    """Several faults at once, of all kinds."""
    for _ in range(draft.chance.choice((1, 2, 2, 3, 4, 6))):
        draft.chance.choices(
            [kind for kind, _ in _INGREDIENTS], [weight for _, weight in _INGREDIENTS]
        )[0](draft)


_INGREDIENTS: tuple[tuple[Faults, int], ...] = (
    (_crash, 5),
    (_server_link("reset"), 2),
    (_server_link("delay"), 2),
    (_client_link("reset"), 2),
    (_client_link("delay"), 2),
    (_pause, 4),
    (_one_way, 2),
    (_swizzle, 1),
    (_churn, 1),
    (_drop, 2),
    (_junk, 1),
    (_clocks, 1),
    (_slow, 2),
    (_slow_link, 2),
    (_switchover, 1),
)
MIXTURES = ("mixed", "swizzle", "double", "clocks", "churn", "squeeze", "junk", "held")
FAULTS: dict[str, Faults] = {
    "mixed": _mixed,
    "calm": _calm,
    "calm-ttl": _calm,
    "crash": _crash,
    "crash-ttl": _crash,
    "server-link-reset": _server_link("reset"),
    "server-link-delay": _server_link("delay"),
    "client-link-reset": _client_link("reset"),
    "client-link-delay": _client_link("delay"),
    "pause": _pause,
    "one-way": _one_way,
    "swizzle": _swizzle,
    "churn": _churn,
    "squeeze": _squeeze,
    "junk": _junk,
    "clocks": _clocks,
    "double": _double,
    "replicated": _replicated,
    "refuse": _replicated,
    "held": _held,
    "held-conflict": _held_conflict,
    "wake": _wake,
    "gone": _gone,
}

SCENARIOS = tuple(FAULTS)
