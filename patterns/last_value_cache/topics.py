"""An ordered set of topics that answers for a prefix without looking at the others."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort

# A block is split at twice this size. To insert into a block of a thousand costs about 1 us; into
# one list of a million it would cost 200 us, and a publisher may well bring a million topics.
_BLOCK = 512


class SortedTopics:
    """Distinct topics in byte order; adding and removing takes microseconds at any size."""

    def __init__(self) -> None:
        self._blocks: list[list[bytes]] = []
        # What is not below a block's bound belongs to it or to a later one. The first needs none.
        self._bounds: list[bytes] = []

    def add(self, topic: bytes) -> None:
        """Add a topic that is not in the set."""
        if not self._blocks:
            self._blocks.append([topic])
            self._bounds.append(b"")
            return
        index = self._block_of(topic)
        block = self._blocks[index]
        insort(block, topic)
        if len(block) > 2 * _BLOCK:
            self._blocks.insert(index + 1, block[_BLOCK:])
            self._bounds.insert(index + 1, block[_BLOCK])
            del block[_BLOCK:]

    def remove(self, topic: bytes) -> None:
        """Remove a topic that is in the set."""
        index = self._block_of(topic)
        block = self._blocks[index]
        del block[bisect_left(block, topic)]
        if not block:
            del self._blocks[index], self._bounds[index]

    def page(
        self,
        prefix: bytes,
        after: bytes | None = None,
        last: bytes | None = None,
        limit: int | None = None,
    ) -> list[bytes]:
        """Return topics under `prefix`, between `after` and `last`; see `LastValues.matching`."""

        def beyond(topic: bytes) -> bool:
            return not topic.startswith(prefix) or (last is not None and topic > last)

        found: list[bytes] = []
        start, first = (prefix, bisect_left)
        if after is not None and after >= prefix:
            start, first = (after, bisect_right)
        for index in range(self._block_of(start), len(self._blocks)):
            block = self._blocks[index]
            begin = first(block, start)
            run = block[begin : None if limit is None else begin + limit - len(found)]
            if run and beyond(run[-1]):
                return found + run[: bisect_left(run, True, key=beyond)]
            found += run
            if len(found) == limit:
                break
        return found

    def _block_of(self, topic: bytes) -> int:
        return max(0, bisect_right(self._bounds, topic) - 1)
