"""The map as a Python mapping: `MutableMapping` views of both faces of the client.

Keys are bytes and may be given as text; values are bytes. Only what is below the client's subtrees
is there: another key is missing, and setting it is a ValueError.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, MutableMapping
from types import TracebackType
from typing import TYPE_CHECKING

from patterns.clone.texts import Text, to_bytes

if TYPE_CHECKING:
    from patterns.clone.blocking import Clone
    from patterns.clone.client import CloneClient

# Of those who never flush so many failures are kept, the first ones.
_MAX_ERRORS = 1000


class CloneMapping(MutableMapping[Text, bytes]):
    """A view of a CloneClient: reads are local, writes are under way when they return.

        async with client.mapping() as rates:
            rates["/rates/USD"] = "1.0842"

    A value set through this view is seen through it at once, and by everybody else when the server
    has published it. One that fails vanishes again, and its error reaches somebody twice: the
    client's `on_error` at once, and whoever awaits `flush`, or leaves the block, as a group.
    """

    def __init__(self, client: CloneClient) -> None:
        self._client = client
        # What the server has not answered yet: the value, None for a deletion.
        self._pending: dict[bytes, tuple[bytes | None, asyncio.Future[int]]] = {}
        self._under_way: set[asyncio.Future[int]] = set()
        self._errors: list[Exception] = []

    def __getitem__(self, key: Text) -> bytes:
        name = _name(key)
        if name in self._pending:
            value = self._pending[name][0]
        else:
            value = self._client.get(name) if name in self._client.protocol.interest else None
        if value is None:
            raise KeyError(key)
        return value

    def __setitem__(self, key: Text, value: Text) -> None:
        """Write; raises what `CloneClient.set` does."""
        self._write(to_bytes(key), to_bytes(value), self._client.set(key, value))

    def __delitem__(self, key: Text) -> None:
        """Delete what is there; raises what `CloneClient.delete` does."""
        self[key]  # raises KeyError
        self._write(to_bytes(key), None, self._client.delete(key))

    def __iter__(self) -> Iterator[bytes]:
        """Every key, sorted, as of now."""
        keys = {key for key, _ in self._client.items()}
        for key, (value, _) in self._pending.items():
            keys.discard(key) if value is None else keys.add(key)
        return iter(sorted(keys))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def _write(self, key: bytes, value: bytes | None, future: asyncio.Future[int]) -> None:
        self._pending[key] = (value, future)
        self._under_way.add(future)
        future.add_done_callback(lambda done: self._answered(key, done))

    def _answered(self, key: bytes, future: asyncio.Future[int]) -> None:
        self._under_way.discard(future)
        if key in self._pending and self._pending[key][1] is future:
            del self._pending[key]
        error = future.exception()
        if isinstance(error, Exception):
            if len(self._errors) < _MAX_ERRORS:
                self._errors.append(error)
            self._client.report(error)

    def clear(self) -> None:
        """Delete every key there is now."""
        for key in self:  # `popitem`, again and again, would sort the keys for each of them
            self.pop(key, None)

    async def flush(self) -> None:
        """Wait until every write of this view is answered.

        Raises an ExceptionGroup of the WriteErrors there were since the last time, at most 1,000.
        """
        while self._under_way:
            await asyncio.wait(self._under_way)
        errors, self._errors = self._errors, []
        if errors:
            raise ExceptionGroup("writes not done", errors)

    async def __aenter__(self) -> CloneMapping:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Flush, unless the block has failed anyhow."""
        if kind is None:
            await self.flush()


class BlockingMapping(MutableMapping[Text, bytes]):
    """A view of a Clone: every write is done when it returns, or raises why not.

    rates = clone.mapping()
    rates["/rates/USD"] = "1.0842"
    """

    def __init__(self, clone: Clone) -> None:
        self._clone = clone

    def __getitem__(self, key: Text) -> bytes:
        """The value; raises TimeoutError if the map was never current yet, as `Clone.get`."""
        try:
            value = self._clone.get(_name(key))
        except ValueError:  # outside the subtrees
            value = None
        if value is None:
            raise KeyError(key)
        return value

    def __setitem__(self, key: Text, value: Text) -> None:
        """Write; raises what `Clone.set` does."""
        self._clone.set(key, value)

    def __delitem__(self, key: Text) -> None:
        """Delete what is there; raises what `Clone.delete` does."""
        self[key]  # raises KeyError
        self._clone.delete(key)

    def __iter__(self) -> Iterator[bytes]:
        """Every key, sorted, as of now."""
        return iter([key for key, _ in self._clone.items()])

    def __len__(self) -> int:
        return len(self._clone.items())

    def clear(self) -> None:
        """Delete every key there is now."""
        for key in self:  # `popitem`, again and again, would sort the keys for each of them
            self.pop(key, None)


def _name(key: Text) -> bytes:
    """The bytes of a key. What is neither text nor bytes is missing, as in any other mapping."""
    if not isinstance(key, Text):
        raise KeyError(key)
    return to_bytes(key)
