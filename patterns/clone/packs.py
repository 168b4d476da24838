"""Packed snapshots: many entries in one message, for a client that asks for it.

A server that can do it says so in its heartbeats, `chpx=1` and `feat=pack`; nobody else is asked.

    C: ICANHAZ?, subtree, "pack=1\\n"
    S: KVPACK, lengths, data          as often as it takes
    S: KTHXBAI                        as ever; `n` counts entries

`data` is the frames of up to 1,000 entries, one after the other: key, sequence, uuid, properties,
body of the first, and so on. `lengths` is how long each of these frames is, in 4 bytes, network
order. An entry costs 1 microsecond at both ends together, where five frames of its own cost 6: all
loops are in C.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from itertools import accumulate, chain, pairwise

from patterns.clone.messages import (
    MAX_BODY,
    MAX_KEY,
    MAX_PROPERTIES,
    RESERVED_KEYS,
    UUID_SIZE,
    Frames,
    MalformedMessage,
    check_content,
)

KVPACK = b"KVPACK"
FEATURE = "pack"
MAX_ENTRIES = 1000
# What a ROUTER keeps for a client that does not read is counted in messages, 1,000 of them: so
# many entries to a message make that 16 MB, and already cost next to no more than the most would.
PACK_ENTRIES = 100
PACK_BYTES = 16 << 10

_FRAMES = 5
_LENGTH = 4
_SEQUENCE_SIZE = 8


def is_pack(frames: Sequence[bytes]) -> bool:
    """True for a KVPACK, well formed or not; no entry of a plain snapshot has three frames."""
    return len(frames) == 3 and frames[0] == KVPACK


def encode_pack(entries: Sequence[Frames]) -> Frames:
    """The message for 1 to MAX_ENTRIES entries."""
    return (KVPACK, *encode_entries(entries))


def encode_entries(entries: Sequence[Frames]) -> tuple[bytes, bytes]:
    """Lengths and data of 1 to MAX_ENTRIES entries."""
    frames = [*chain.from_iterable(entries)]
    return struct.pack(f"!{len(frames)}I", *map(len, frames)), b"".join(frames)


def split(entries: Sequence[Frames], start: int) -> int:
    """Where the pack that begins at `start` ends: after PACK_ENTRIES, or PACK_BYTES of bodies."""
    end = min(start + PACK_ENTRIES, len(entries))
    size = 0
    for position in range(start, end):
        size += len(entries[position][4])
        if size > PACK_BYTES:
            return position + 1
    return end


def decode_pack(
    frames: Sequence[bytes], *, max_body: int = MAX_BODY, min_body: int = 1
) -> list[Frames]:
    """The entries of a KVPACK, each as good as one that `check_update` passed.

    Raises MalformedMessage.
    """
    if not is_pack(frames):
        raise MalformedMessage("not a pack")
    return decode_entries(frames[1], frames[2], max_body=max_body, min_body=min_body)


def decode_entries(lengths: bytes, data: bytes, *, max_body: int, min_body: int) -> list[Frames]:
    """The entries in lengths and data, as `decode_pack`. Raises MalformedMessage."""
    count, odd = divmod(len(lengths), _FRAMES * _LENGTH)
    if odd or not 0 < count <= MAX_ENTRIES:
        raise MalformedMessage(f"a pack with {len(lengths)} bytes of lengths")
    sizes = struct.unpack(f"!{count * _FRAMES}I", lengths)
    if sum(sizes) != len(data):
        raise MalformedMessage(f"a pack of {len(data)} bytes, not {sum(sizes)}")
    _check_sizes(sizes, max_body, min_body)
    cuts = accumulate(sizes, initial=0)
    pieces = iter([data[begin:end] for begin, end in pairwise(cuts)])
    entries: list[Frames] = [*zip(pieces, pieces, pieces, pieces, pieces, strict=True)]
    _check_entries(entries, sizes)
    return entries


def _check_sizes(sizes: Sequence[int], max_body: int, min_body: int) -> None:
    keys, sequences, uuids, properties, bodies = (sizes[n::_FRAMES] for n in range(_FRAMES))
    if not 0 < min(keys) <= max(keys) <= MAX_KEY:
        raise MalformedMessage(f"a key in a pack is not of 1..{MAX_KEY} bytes")
    if set(sequences) != {_SEQUENCE_SIZE}:
        raise MalformedMessage("a sequence in a pack is not of 8 bytes")
    if not set(uuids) <= {0, UUID_SIZE}:
        raise MalformedMessage(f"a uuid in a pack is not of 0 or {UUID_SIZE} bytes")
    if max(properties) > MAX_PROPERTIES:
        raise MalformedMessage(f"properties in a pack, longer than {MAX_PROPERTIES} bytes")
    if not min_body <= min(bodies) <= max(bodies) <= max_body:
        raise MalformedMessage(f"a body in a pack is not of {min_body}..{max_body} bytes")


def _check_entries(entries: Sequence[Frames], sizes: Sequence[int]) -> None:
    if not RESERVED_KEYS.isdisjoint([entry[0] for entry in entries]):
        raise MalformedMessage("a key in a pack is a word of the protocol")
    if max([entry[1] for entry in entries]) >= b"\x80":
        raise MalformedMessage("negative sequence in a pack")
    if any(sizes[3::_FRAMES]):
        for entry in entries:
            check_content(entry)
