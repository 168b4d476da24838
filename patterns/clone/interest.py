"""The subtrees that a client holds: what it subscribes to, asks for and may write."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable

from patterns.clone.messages import MAX_KEY, RESERVED_KEYS

# Each is a socket of its own while the client joins; a libzmq context has 1023.
MAX_SUBTREES = 100


class Interest:
    """Subtrees of which none lies inside another: every key belongs to one of them at most.

    One that lies inside another adds nothing and is left out. Raises ValueError for what cannot
    be a subtree, for none at all and for more than MAX_SUBTREES.
    """

    def __init__(self, subtrees: Iterable[bytes]) -> None:
        kept: list[bytes] = []
        for subtree in sorted(subtrees):  # one that contains others comes before them
            if len(subtree) > MAX_KEY or subtree in RESERVED_KEYS:
                raise ValueError(f"{subtree!r} cannot be a subtree")
            if not kept or not subtree.startswith(kept[-1]):
                kept.append(subtree)
        if not 0 < len(kept) <= MAX_SUBTREES:
            raise ValueError(f"a client has 1 to {MAX_SUBTREES} subtrees, not {len(kept)}")
        self.subtrees = tuple(kept)
        self.everything = not kept[0]
        self._only = kept[0] if len(kept) == 1 else None

    def __contains__(self, key: bytes) -> bool:
        return key.startswith(self.subtrees)

    def subtree_of(self, key: bytes) -> bytes:
        """The subtree to which a key of this interest belongs."""
        if self._only is not None:
            return self._only
        # The last one that is not after the key: if another contained the key, it would contain
        # everything in between as well.
        return self.subtrees[bisect_right(self.subtrees, key) - 1]

    def check(self, key: bytes) -> None:
        """Raise ValueError for a key outside: this client neither knows it nor may write it."""
        if key not in self:
            raise ValueError(f"key {key!r} is outside {self}")

    def overlaps(self, subtree: bytes) -> bool:
        """True if a subtree lies inside this interest, or contains a part of it."""
        return subtree in self or any(each.startswith(subtree) for each in self.subtrees)

    def __str__(self) -> str:
        names = ", ".join(repr(subtree) for subtree in self.subtrees)
        return f"the subtree {names}" if self._only is not None else f"the subtrees {names}"
