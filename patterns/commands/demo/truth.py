"""What every client must hold at the end, and how what it holds differs from that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from patterns.commands.demo.rates import Update

State = dict[str, str]


class Truth:
    """The last value of every key and of every topic among the updates noted so far."""

    def __init__(self) -> None:
        self._keys: dict[bytes, bytes] = {}
        self._topics: dict[bytes, bytes] = {}

    def note(self, update: Update) -> None:
        """This update is written now: from here on it is the last of its key and its topic."""
        self._keys[update.key] = update.body
        self._topics[update.topic] = update.body

    def keys(self, subtree: str) -> State:
        """The entries of the shared map below `subtree`."""
        return _below(self._keys, subtree)

    def topics(self, prefix: str) -> State:
        """The last plain message of each topic under `prefix`."""
        return _below(self._topics, prefix)


def _below(values: Mapping[bytes, bytes], prefix: str) -> State:
    wanted = prefix.encode()
    return {
        name.decode(): value.decode() for name, value in values.items() if name.startswith(wanted)
    }


@dataclass(frozen=True, slots=True)
class Difference:
    """A key whose value is not the true one; None stands for no value."""

    key: str
    expected: str | None
    found: str | None


def differences(expected: Mapping[str, str], found: Mapping[str, str]) -> tuple[Difference, ...]:
    """Every key that is missing, too many or has another value, sorted by key."""
    return tuple(
        Difference(key, expected.get(key), found.get(key))
        for key in sorted(expected.keys() | found.keys())
        if expected.get(key) != found.get(key)
    )
