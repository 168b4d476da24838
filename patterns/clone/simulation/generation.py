"""A seed makes a schedule: what clients write by chance, and the faults of a scenario."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from dataclasses import replace

from patterns.clone.levels import APPLIED, REPLICATED
from patterns.clone.simulation.scenarios import FAULTS, MIXTURES, SCENARIOS, Draft
from patterns.clone.simulation.schedule import (
    BACKUP,
    FIRST_OPERATION,
    LAST_OPERATION,
    OPERATIONS,
    PRIMARY,
    Member,
    Schedule,
    Step,
)


def generate(seed: int, scenario: str = "mixed") -> Schedule:
    """The schedule of a seed; raises ValueError for a scenario that there is not."""
    if scenario not in SCENARIOS:
        raise ValueError(f"no scenario is called {scenario!r}")
    chance = random.Random(f"{seed} schedule {scenario}")
    draft = Draft(chance, _members(chance))
    _add_operations(draft, ttl=scenario.endswith("-ttl") or scenario in MIXTURES)
    FAULTS[scenario](draft)
    policies = _policies(seed, scenario)
    squeezed = scenario == "squeeze" or (scenario == "mixed" and chance.random() < 0.15)
    return Schedule(
        seed,
        scenario,
        draft.members,
        tuple(_levels(seed, scenario, sorted(draft.steps, key=lambda step: step.at))),
        squeeze=chance.choice((2, 4, 16)) if squeezed else 0,
        drift=chance.choice((0.0, 2e-4)) if scenario in MIXTURES else 0.0,
        jitter=chance.choice((0.0, 0.002, 0.02)) if scenario in MIXTURES else 0.002,
        ack=policies[0],
        without_peer=policies[1],
    )


def _policies(seed: int, scenario: str) -> tuple[str, str]:
    """Whether all is held back, and what comes of it without a peer."""
    chance = random.Random(f"{seed} policies {scenario}")
    always = dict.fromkeys(("replicated", "refuse", "wake"), 1.0)
    often = {**always, "held": 0.7, "held-conflict": 0.5, "mixed": 0.3}
    rare = {"refuse": 1.0, "held": 0.3, "held-conflict": 0.3, "mixed": 0.3}
    ack = REPLICATED if chance.random() < often.get(scenario, 0.0) else APPLIED
    return ack, "refuse" if chance.random() < rare.get(scenario, 0.0) else "degrade"


def _levels(seed: int, scenario: str, steps: Iterable[Step]) -> Iterator[Step]:
    """Have some writes ask for more than that they are applied, and some be on condition."""
    chance = random.Random(f"{seed} levels {scenario}")
    share = chance.choice((0.2, 0.5, 0.9))
    for step in steps:
        kind = step.kind
        if kind == "set" and chance.random() < 0.15:
            kind = "swap"
        if kind in OPERATIONS and chance.random() < share:
            yield replace(step, kind=kind, detail=(*step.detail, REPLICATED))
        else:
            yield replace(step, kind=kind)


def _members(chance: random.Random) -> tuple[Member, ...]:
    """One client of everything, one of a subtree, and one of which chance decides."""
    subtrees = chance.choice((("",), ("/b/",), ("/a/", "/b/")))
    third = Member("client-2", subtrees, chance.choice((PRIMARY, BACKUP)))
    return (Member("client-0"), Member("client-1", ("/a/",)), third)


def _add_operations(draft: Draft, ttl: bool) -> None:
    """Few keys and unique values, so that what overwrites what can be told."""
    chance = draft.chance
    pace = chance.choice((0.2, 0.5, 1.0))
    at, number = FIRST_OPERATION, 0
    while (at := at + chance.expovariate(1.0 / pace)) < LAST_OPERATION:
        number += 1
        member = chance.choice(draft.members)
        subtree = chance.choice([each for each in member.subtrees if each] or ("/a/", "/b/"))
        key = f"{subtree}{chance.randrange(4)}"
        kind = chance.choices(("set", "delete", "lease"), (6, 2, 2 if ttl else 0))[0]
        seconds = chance.choice((2.0, 4.0, 9.0, 20.0)) if kind == "lease" else 0.0
        detail = key if kind == "delete" else f"{key} {member.name}-{number}"
        draft.add(at, kind, member.name, seconds=seconds, detail=detail)
        if chance.random() < 0.15:  # and again at once, for the same key
            draft.add(at + 0.001, "set", member.name, detail=f"{key} {member.name}-{number}b")
