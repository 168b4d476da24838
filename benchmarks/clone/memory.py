"""Memory: bytes for each of 1,000,000 keys at the server, beside a dict of keys and values.

The updates have been accepted as from a client, each with a uuid, so that the memory of duplicates
is in it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.clone.ends import key_of
from benchmarks.clone.peers import Peer, ask
from benchmarks.processes import Pipe
from benchmarks.samples import REACTOR, Sample, Settings, Target
from patterns.clone.numbered import NumberedUuids
from patterns.clone.server_protocol import ServerProtocol

KEYS = 1_000_000
PLAIN = "dict"
TARGETS = (Target("memory per key", PLAIN, at_most=2.5),)


def _resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def fill_dict(pipe: Pipe, keys: int) -> None:
    """Role: tells the bytes for each key of a dict."""
    entries: dict[bytes, bytes] = {}
    before = _resident_bytes()
    for number in range(keys):
        entries[key_of(number)] = bytes(100)
    pipe.send((_resident_bytes() - before) / keys)


def fill_server(pipe: Pipe, keys: int) -> None:
    """Role: tells the bytes for each key that a server has accepted."""
    protocol = ServerProtocol(make_uuid=lambda: os.urandom(16))
    protocol.become_active(0.0)
    make_uuid = NumberedUuids(lambda: os.urandom(16))
    before = _resident_bytes()
    for number in range(keys):
        protocol.order_update([key_of(number), bytes(8), make_uuid(), b"", bytes(100)], 0.0)
    if len(protocol.store) != keys:
        raise RuntimeError(f"{len(protocol.store)} keys, not {keys}")
    pipe.send((_resident_bytes() - before) / keys)


def measure(peers: Sequence[Peer], settings: Settings, round_: int) -> Iterator[Sample]:
    """Yield both, in the first round only: it does not vary."""
    if round_ > 1:
        return
    keys = KEYS // 10 if settings.quick else KEYS
    yield Sample("memory per key", REACTOR, round_, 100, ask(fill_server, keys), "bytes")
    yield Sample("memory per key", PLAIN, round_, 100, ask(fill_dict, keys), "bytes")
