"""Kept: a value that a client keeps alive until it is released."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING

from patterns.clone.client_errors import ClientClosed, TooManyKept, WriteError
from patterns.clone.client_protocol import ConditionsUnsupported
from patterns.clone.keeping import Keeping
from patterns.clone.outbox import OutboxFull
from patterns.clone.texts import to_bytes
from reactor import OneShotTimer, ReactorError

if TYPE_CHECKING:
    from patterns.clone.blocking import Clone
    from patterns.clone.client import CloneClient

MAX_KEPT = 1000
_NOT_BEGUN = "not begun"
# Why a deletion comes to nothing: somebody else has the key, perhaps another one of this client, or
# it cannot be asked for. What is still there expires by itself.
_LEFT_TO_EXPIRE = (WriteError, ClientClosed, OutboxFull, ConditionsUnsupported, ValueError)


class Kept:
    """A value with a time to live that is written again until `release`; made by `client.keep`.

        async with client.keep("/workers/7", "here", ttl=5):
            ...

    Entering writes it, and raises what that raises; leaving deletes it. If the process dies, it
    expires. An exclusive one is a lease: entering raises WriteError (`conflict`) while somebody
    else has the key, and `lost` is for whoever must stop when it is over.
    """

    def __init__(
        self, client: CloneClient, keeps: KeepList, key: bytes, body: bytes, rules: Keeping
    ) -> None:
        self.key = key
        self.rules = rules
        self._client = client
        self._keeps = keeps
        self._body = body
        self._over = asyncio.Event()
        self._turn = asyncio.Lock()  # one write at a time: what is held is counted from its sending
        self._writing: asyncio.Future[int] | None = None
        self._timer: OneShotTimer | None = None

    async def __aenter__(self) -> Kept:
        """Write it for the first time."""
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.release()

    async def start(self) -> None:
        """Write it, and from then on again and again. Raises what `CloneClient.set` does."""
        if self._writing is not None or self.rules.lost:
            raise ReactorError("it was started before: keep another one")
        self._keeps.begin(self)
        try:
            await self._write(self._body)
            if self.rules.exclusive and not self.held:  # the answer took longer than a life
                raise WriteError("expired", self.key)
        except BaseException:
            self.end(_NOT_BEGUN)
            raise

    async def set(self, value: str | bytes) -> int:
        """Change the value; raises what `CloneClient.set` does, and WriteError once it is over.

        An exclusive one is lost if that fails.
        """
        async with self._turn:
            await self._settle()
            if self.rules.lost:
                raise WriteError(self.rules.lost, self.key)
            if self._writing is None:
                raise ReactorError("it is not kept yet: use `async with`, or start()")
            return await self._write(to_bytes(value))

    async def release(self) -> None:
        """Write it no more, and delete it; it is left to expire if that takes longer than its ttl.

        A lease is deleted only as far as it is still one's own. Idempotent.
        """
        if self.rules.lost or self._writing is None:
            return
        self.end("released")
        with suppress(*_LEFT_TO_EXPIRE, TimeoutError):
            async with asyncio.timeout(self.rules.ttl):
                # Without a condition at once: whatever this client writes from now on comes after.
                if self.rules.exclusive:
                    await self._settle()
                await self._keeps.delete(self.key, self.rules)

    async def _settle(self) -> None:
        """Wait for the answer to the write that is under way: the next one builds on it."""
        while self._writing is not None and not self._writing.done():
            await asyncio.wait([self._writing])

    @property
    def held(self) -> bool:
        """True if the value is there for sure: written, in time, and nobody else's."""
        return not self.rules.lost and self.rules.held(self._client.reactor.now())

    @property
    def sequence(self) -> int:
        """The number of its last acknowledged write: it only grows, from one holder to the next."""
        return self.rules.sequence

    async def lost(self) -> str:
        """Wait until it is over, and return why: `conflict`, `expired`, `released`, `closed`...

        Only an exclusive one ends by itself; at the latest at the instant at which a server that
        was never heard again would give the key to somebody else.
        """
        await self._over.wait()
        return self.rules.lost

    def end(self, reason: str) -> None:
        """Nobody writes it any more; the client has ended, or it is released."""
        self.rules.end(reason)
        if self._timer is not None:
            self._timer.cancel()
        if not self._over.is_set():
            self._over.set()
            self._keeps.forget(self)

    async def _write(self, body: bytes) -> int:
        self._writing = self._keeps.set(self.key, body, self.rules)
        self._body = body  # it was taken: it is what is renewed from now on
        self._writing.add_done_callback(self._written)
        self._arm()
        return await asyncio.shield(self._writing)

    def _written(self, writing: asyncio.Future[int]) -> None:
        if self._over.is_set():
            done = not writing.cancelled() and writing.exception() is None
            if done and self.rules.lost == _NOT_BEGUN:
                self._keeps.undo(self.key, self.rules)
            return
        error = writing.exception()
        if error is None:
            self.rules.receive_acknowledged(writing.result())
        else:
            reason = error.reason if isinstance(error, WriteError) else "failed"
            self.rules.receive_failed(reason, self._client.reactor.now())
        self._arm()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self.rules.lost:
            self.end(self.rules.lost)
        elif self.rules.deadline != float("inf"):
            self._timer = self._client.reactor.call_at(self.rules.deadline, self._tick)

    def _tick(self) -> None:
        if self.rules.tick(self._client.reactor.now()):
            try:
                self._writing = self._keeps.set(self.key, self._body, self.rules)
                self._writing.add_done_callback(self._written)
            except OutboxFull as error:
                if self.rules.receive_full(self._client.reactor.now()):
                    self._client.report(error)
            except Exception as error:  # the server followed now knows no conditions, say
                self.rules.receive_failed("failed", self._client.reactor.now())
                self._client.report(error)
        self._arm()


class BlockingKept:
    """A `Kept` of the blocking face, used as `with clone.keep(...)`."""

    def __init__(self, clone: Clone, make: Callable[[CloneClient], Kept]) -> None:
        self._clone = clone
        self._make = make
        self._kept: Kept | None = None

    def __enter__(self) -> BlockingKept:
        """Write it for the first time."""
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self.release()
        except TimeoutError:
            pass  # no server is there: it expires by itself

    def start(self, timeout: float | None = None) -> None:
        """Write it, and from then on again and again. Raises what `Clone.set` does."""

        async def start(client: CloneClient) -> None:
            self._kept = self._make(client)
            await self._kept.start()

        self._clone.wait_for(start, timeout)

    def set(self, value: str | bytes, timeout: float | None = None) -> int:
        """Change the value; see `Kept.set`."""
        kept = self._started()
        return self._clone.wait_for(lambda _: kept.set(value), timeout)

    def release(self, timeout: float | None = None) -> None:
        """Write it no more, and delete it; see `Kept.release`."""
        kept = self._started()
        if not kept.rules.lost:
            self._clone.wait_for(lambda _: kept.release(), timeout)

    @property
    def held(self) -> bool:
        """True if the value is there for sure: written, in time, and nobody else's."""
        return self._kept is not None and self._kept.held

    def lost(self, timeout: float) -> str | None:
        """Wait until it is over and return why, None if it is not by then; see `Kept.lost`."""
        kept = self._started()
        try:
            return self._clone.wait_for(lambda _: kept.lost(), timeout)
        except TimeoutError:
            return None

    def _started(self) -> Kept:
        if self._kept is None:
            raise ReactorError("it is not kept yet: use `with`, or start()")
        return self._kept


class KeepList:
    """The values that one client keeps alive, at most MAX_KEPT, and their writes."""

    def __init__(self, client: CloneClient) -> None:
        self._client = client
        self._kept: dict[bytes, Kept] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def check_free(self, key: bytes) -> None:
        """Raise ValueError for a key that is kept: its next renewal would undo any other write."""
        if key in self._kept:
            raise ValueError(f"{key!r} is kept alive: use the set() and release() of what keeps it")

    def begin(self, kept: Kept) -> None:
        """Take one. Raises ValueError for a key that is kept already, and TooManyKept."""
        self.check_free(kept.key)
        if len(self._kept) >= MAX_KEPT:
            raise TooManyKept(f"{MAX_KEPT} values are kept alive")
        self._kept[kept.key] = kept

    def forget(self, kept: Kept) -> None:
        """It has ended."""
        if self._kept.get(kept.key) is kept:
            del self._kept[kept.key]

    def set(self, key: bytes, body: bytes, rules: Keeping) -> asyncio.Future[int]:
        """Write it once more."""
        client = self._client
        uuid, now = client.make_uuid(), client.reactor.now()
        entry = client.protocol.store.get(key)
        effects = client.protocol.set(
            key,
            body,
            uuid=uuid,
            now=now,
            ttl=rules.ttl,
            if_sequence=rules.if_sequence(entry),
            timeout=rules.timeout,
        )
        rules.send(uuid, entry, now)  # not before it was taken: else nothing would be renewed
        return client.under_way(uuid, key, effects, rules.timeout)

    def delete(self, key: bytes, rules: Keeping) -> asyncio.Future[int]:
        """Delete it, as far as it is still one's own."""
        if_sequence = rules.if_sequence(self._client.protocol.store.get(key))
        return self._client.delete(key, if_sequence=if_sequence, timeout=rules.ttl)

    def undo(self, key: bytes, rules: Keeping) -> None:
        """Delete what a write has made for who had given up waiting; others need not wait then.

        On condition in any case: whatever came since was acknowledged to somebody.
        """
        own = rules.own_sequence(self._client.protocol.store.get(key))
        if own is None:
            return
        with suppress(*_LEFT_TO_EXPIRE):
            deletion = self._client.delete(key, if_sequence=own, timeout=rules.ttl)
            deletion.add_done_callback(lambda done: done.cancelled() or done.exception())

    def end_all(self) -> None:
        """The client has ended."""
        for kept in list(self._kept.values()):
            kept.end("closed")
