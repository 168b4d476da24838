"""What the models of Clone differ in on the wire, as one value for both sides."""

from __future__ import annotations

from dataclasses import dataclass

import zmq

from patterns.clone.forms import FULL, Form

_UPDATES: dict[int | None, int | None] = {zmq.SUB: zmq.XPUB, zmq.PULL: zmq.PUSH, None: None}


@dataclass(frozen=True, slots=True)
class Dialect:
    """How the servers and clients of a model talk; the defaults are RFC 12 and model six.

    `collector` is the type of the socket that takes clients' updates: zmq.SUB or zmq.PULL, or None
    if clients do not write. With `heartbeats`, a client may rely on them: the Guide's servers send
    some from model six on, ours in every model that has a snapshot. With `subtrees`, ICANHAZ? has
    a second frame.
    """

    form: Form = FULL
    subtrees: bool = True
    collector: int | None = zmq.SUB
    heartbeats: bool = True

    def __post_init__(self) -> None:
        if self.collector not in _UPDATES:
            raise ValueError(f"a collector is a SUB or a PULL, not socket type {self.collector}")

    @property
    def updates(self) -> int | None:
        """The type of a client's socket for its updates, XPUB or PUSH; None if it has none."""
        return _UPDATES[self.collector]


RFC12 = Dialect()
