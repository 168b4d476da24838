"""Whether all hold the same, when nothing goes wrong and nobody writes any more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

State = Mapping[str, Any]


def disagreement(
    servers: Mapping[str, State | None],
    clients: Mapping[str, State | None],
    subtrees: Mapping[str, Sequence[str]],
) -> tuple[str, str] | None:
    """The invariant that does not hold (yet), and how; None if all agree (I10, I11).

    A state is what a process has answered, None if it has not. `subtrees` is what clients follow.
    """
    for name, state in {**servers, **clients}.items():
        if state is None:
            return "I11", f"{name} does not answer"
    states = {name: state["state"] for name, state in servers.items() if state is not None}
    if sorted(states.values()) != ["active", "passive"]:
        return "I11", f"the servers are {' and '.join(sorted(states.values()))}"
    active = next(name for name, state in states.items() if state == "active")
    truth = _entries(servers[active])
    for name, state in servers.items():
        if _entries(state) != truth:
            return "I10", f"{name} holds another map than {active}: {_first(state, truth)}"
    for name, state in clients.items():
        assert state is not None
        if state["state"] != "live":
            return "I11", f"{name} is {state['state']}"
        if state["unanswered"]:
            return "I11", f"{name} has {state['unanswered']} writes without an answer"
        expected = [each for each in truth if each[0].startswith(tuple(subtrees[name]))]
        if _entries(state) != expected:
            return "I10", f"{name} holds another map than {active}: {_first(state, expected)}"
    return None


def _entries(state: State | None) -> list[tuple[Any, ...]]:
    assert state is not None
    return [tuple(each) for each in state["entries"]]


def _first(state: State | None, expected: list[tuple[Any, ...]]) -> str:
    held = _entries(state)
    different = sorted(set(held) ^ set(expected))
    return f"{different[0]} is in one of them only, of {len(different)}"
