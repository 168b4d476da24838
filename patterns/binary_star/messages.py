"""The heartbeat by which the two servers of a pair know each other.

One frame of ASCII lines `name=value`. The Guide's servers send a single digit instead, which has
no room for an epoch; they cannot be one half of a pair with ours, and are told so.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable
from dataclasses import dataclass

MAX_HEARTBEAT = 1024
_PAIR = "pair"
_VERSION = "1"
_NUMBER = re.compile(r"[0-9]{1,19}", re.ASCII)


class MalformedHeartbeat(ValueError):
    """A peer sent what is not a heartbeat of this pair; nothing has been changed."""


class Role(enum.Enum):
    """What a server is for as long as it is configured so."""

    PRIMARY = "primary"
    BACKUP = "backup"


class State(enum.Enum):
    """What a server does at the moment.

    SYNCING is passive, without a complete copy. LEAVING is active no more, because its operator
    wants the peer to be, and not passive yet: it serves nobody, and nothing it holds changes.
    """

    STARTING_PRIMARY = "starting-primary"
    STARTING_BACKUP = "starting-backup"
    ACTIVE = "active"
    PASSIVE = "passive"
    SYNCING = "syncing"
    LEAVING = "leaving"


COUNTER_BITS = 28
"""The low bits of a sequence, which count; those above are the epoch."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the data of a server has come; all zero for a service without data.

    `epoch` and `sequence` are those of the newest update held. `writes` counts the clients'
    updates accepted since the server became active, and `fork_epoch` and `fork_sequence` are what
    it held when it did; without data, the epoch in which it did, and 0. The low COUNTER_BITS of a
    sequence count updates, on and on over the epochs of one activity.
    """

    epoch: int = 0
    sequence: int = 0
    writes: int = 0
    fork_epoch: int = 0
    fork_sequence: int = 0


@dataclass(frozen=True, slots=True)
class PeerState:
    """What a server says of itself in a heartbeat.

    `settled` is the epoch of the peer that lost to it in the last conflict. `beat` numbers the
    sender's heartbeats, from the milliseconds of the wall clock on at which its process began, and
    `heard` is the last number it heard from the receiver: so the receiver can tell an answer from
    what waited in a queue, or was said to an earlier process. `interval_ms` is the time
    between the sender's heartbeats, `timeout_ms` the silence after which it gives its peer up.
    """

    role: Role
    state: State
    progress: Progress = Progress()
    settled: int = 0
    beat: int = 0
    heard: int = 0
    interval_ms: int = 1000
    timeout_ms: int = 2000

    def encode(self) -> bytes:
        """The one frame of the heartbeat."""
        values = {
            _PAIR: _VERSION,
            "role": self.role.value,
            "state": self.state.value,
            "epoch": self.progress.epoch,
            "sequence": self.progress.sequence,
            "writes": self.progress.writes,
            "fork_epoch": self.progress.fork_epoch,
            "fork_sequence": self.progress.fork_sequence,
            "settled": self.settled,
            "beat": self.beat,
            "heard": self.heard,
            "interval_ms": self.interval_ms,
            "timeout_ms": self.timeout_ms,
        }
        return "".join(f"{name}={value}\n" for name, value in values.items()).encode("ascii")

    @classmethod
    def decode(cls, frame: bytes) -> PeerState:
        """The heartbeat in a frame; names it does not know are left out.

        Raises MalformedHeartbeat.
        """
        values = _parse(frame)
        if values.get(_PAIR) != _VERSION:
            raise MalformedHeartbeat("not a heartbeat of version 1")
        progress = Progress(
            **{name: _number(values, name) for name in Progress.__dataclass_fields__}
        )
        numbers = {name: _number(values, name) for name in _NUMBERS}
        role = Role(_one_of(values, "role", [role.value for role in Role]))
        state = State(_one_of(values, "state", [state.value for state in State]))
        if state.value.startswith("starting-") and not state.value.endswith(role.value):
            raise MalformedHeartbeat(f"a {role.value} cannot be {state.value}")
        return cls(role, state, progress, **numbers)


_NUMBERS = ("settled", "beat", "heard", "interval_ms", "timeout_ms")


def _parse(frame: bytes) -> dict[str, str]:
    if len(frame) == 1 and frame.isdigit():
        raise MalformedHeartbeat(
            f"state {frame.decode()} of a Guide server: both of a pair must be of this library"
        )
    if len(frame) > MAX_HEARTBEAT:
        raise MalformedHeartbeat(f"{len(frame)} bytes, at most {MAX_HEARTBEAT}")
    try:
        lines = frame.decode("ascii").removesuffix("\n").split("\n")
    except UnicodeDecodeError:
        raise MalformedHeartbeat("not ASCII") from None
    pairs = [line.partition("=") for line in lines]
    if not all(name and separator for name, separator, _ in pairs):
        raise MalformedHeartbeat("a line is not name=value")
    values = {name: value for name, _, value in pairs}
    if len(values) != len(pairs):
        raise MalformedHeartbeat("a name is given twice")
    return values


def _number(values: dict[str, str], name: str) -> int:
    text = values.get(name, "")
    if not _NUMBER.fullmatch(text):
        raise MalformedHeartbeat(f"{name} is {text[:40]!r}, not a number")
    return int(text)


def _one_of(values: dict[str, str], name: str, allowed: Iterable[str]) -> str:
    text = values.get(name, "")
    if text not in allowed:
        raise MalformedHeartbeat(f"{name} is {text[:40]!r}")
    return text
