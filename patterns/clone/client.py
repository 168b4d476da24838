"""CloneClient: the asyncio face of shared state that survives its servers."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from inspect import iscoroutinefunction
from types import TracebackType
from typing import Self

import zmq

from patterns.clone.alarm import Alarm
from patterns.clone.client_errors import (
    ClientClosed,
    ReadOnly,
    TooManyKept,
    WatcherTooSlow,
    WriteError,
)
from patterns.clone.client_protocol import (
    ClientProtocol,
    ClientState,
    ClientStatistics,
    ConditionsUnsupported,
    Connect,
    Deleted,
    Disconnect,
    Effect,
    Entry,
    Expired,
    Live,
    Put,
    RequestSnapshot,
    SendUpdate,
    Stale,
    Vote,
    WriteAcknowledged,
    WriteFailed,
)
from patterns.clone.client_sockets import ClientSockets
from patterns.clone.conditions import CONFLICT
from patterns.clone.dialects import RFC12, Dialect
from patterns.clone.keeping import Keeping
from patterns.clone.kept import MAX_KEPT, KeepList, Kept
from patterns.clone.levels import APPLIED
from patterns.clone.mapping import CloneMapping
from patterns.clone.messages import UUID_SIZE, Frames, MalformedMessage
from patterns.clone.numbered import NumberedUuids
from patterns.clone.outbox import Outbox, OutboxFull
from patterns.clone.ports import collector_of
from patterns.clone.texts import Text, to_bytes
from patterns.clone.watching import Event, EventQueue, Watch, Watcher, concerns
from reactor import Handler, HandlerSet, Reactor

# Everything of the largest map gone and another one there, as a failover may tell it, and some.
WATCH_LIMIT = 2_100_000
# A server with heartbeats answers a subscription with one at once; another one is not waited for.
_JOIN_AFTER = 0.5
DEFAULT_TTL = 3.0


class CloneClient(HandlerSet):
    """One client of a Clone service: local reads, acknowledged writes, watches, failover.

        async with CloneClient(["tcp://127.0.0.1:5556"], subtree="/rates/") as client:
            await client.wait_live(timeout=5)
            await client.set("/rates/USD", "1.0842")

    `servers` are snapshot endpoints (port P) in order of preference, of one service. The client
    holds the keys below `subtree`, which is one or several, and reads and writes there only. Reads
    are local and go on while no server is there; `age` tells how old they are. A server whose
    connection breaks, or that is silent for `server_ttl` seconds (by default for 2.1 of its own
    heartbeats), is left for the next one: the first in order, but for the one
    that was lost. It is not left again while it serves, whichever it is. At most `max_writes`
    writes wait for their acknowledgement; each is sent again every `retry` seconds and after a
    failover, and given up after `write_timeout`. Or register it on a Reactor of your own.
    A `dialect` is that of another model than six; see `model2` to `model5`. `jitter` gives a number
    in 0..1 at each call and spreads the clients' attempts. `make_uuid` names each write; its own
    numbers them, so that a server never applies one after a later one of its key. Raises
    EndpointError for what names no server, and ValueError for what cannot be a subtree.
    """

    peer_errors = (MalformedMessage,)
    dialect = RFC12

    def __init__(
        self,
        servers: str | Sequence[str],
        subtree: Text | Iterable[Text] = b"",
        *,
        dialect: Dialect | None = None,
        server_ttl: float | None = None,
        max_writes: int = 10_000,
        retry: float = 2.0,
        write_timeout: float = 30.0,
        jitter: Callable[[], float] = random.random,
        make_uuid: Callable[[], bytes] | None = None,
    ) -> None:
        super().__init__()
        self.servers = [servers] if isinstance(servers, str) else list(servers)
        for server in self.servers:
            collector_of(server)  # a wrong endpoint is told here, not at the first failover
        self.dialect = dialect or self.dialect
        if subtree and not self.dialect.subtrees:
            raise ValueError("this model has no subtrees")
        ttl = server_ttl or DEFAULT_TTL
        self.protocol = ClientProtocol(
            len(self.servers),
            [to_bytes(each) for each in ([subtree] if isinstance(subtree, Text) else subtree)],
            jitter=jitter,
            server_ttl=ttl,
            join_after=None if self.dialect.heartbeats else _JOIN_AFTER,
            vote_after=ttl / 6,
            vote_interval=ttl / 3,
            learns=server_ttl is None,
            outbox=Outbox(max_writes=max_writes, retry=retry, timeout=write_timeout),
        )
        self.protocol.watched = False
        self.make_uuid = make_uuid or NumberedUuids(lambda: os.urandom(UUID_SIZE), os.getpid)
        self._max_writes = max_writes
        self._write_timeout = write_timeout
        self._writes: dict[bytes, tuple[asyncio.Future[int], bytes]] = {}
        self._watchers: tuple[Watcher, ...] = ()
        self._keeps = KeepList(self)
        self._live = asyncio.Event()
        self._ended = False
        self._followed = self.servers[0]
        self._own_reactor: Reactor | None = None

    # Life

    async def __aenter__(self) -> Self:
        """Run on a reactor of its own, on the loop that is running."""
        self._own_reactor = reactor = Reactor()
        await reactor.start()
        try:
            await reactor.register(self)
        except BaseException:
            reactor.stop()
            await reactor.stopped()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Fail what is unacknowledged, end the watches, close everything."""
        assert self._own_reactor is not None
        self._own_reactor.stop()
        await self._own_reactor.stopped()

    def build(self) -> Iterable[Handler]:
        """Open one publisher of updates for each server; the other sockets come and go."""
        if self._ended:  # the loop may be another one than the last time
            self._live = asyncio.Event()
        self._ended = False
        self._alarm = Alarm(self.reactor, self._tick, self._hook_failed)
        self._sockets = ClientSockets(
            self.servers, self.dialect, self.open_stream, self._hook_failed
        )
        return self._sockets.open_publishers(self._max_writes, self.receive_writable)

    def on_start(self) -> None:
        """Join the first server."""
        self.carry_out(self.protocol.start(self.reactor.now()))
        if self.dialect.updates == zmq.PUSH:
            # A PUSH hears of no subscription, and loses nothing by being early.
            for server in range(len(self.servers)):
                self.receive_writable(server, True)

    def on_stop(self) -> None:
        """Fail the writes that are not acknowledged, and end every watch."""
        self._ended = True
        try:
            self._fail_writes()
        finally:
            self._sockets.settle()  # a vote that found nobody need not linger
            self._alarm.cancel()
            self._live.set()  # whoever waits for that is told that it will never be
            self._end_watches()

    def _fail_writes(self) -> None:
        self._keeps.end_all()
        unacknowledged = [future for future, _ in self._writes.values()]
        self.carry_out(self.protocol.close(self.reactor.now()))
        if unacknowledged:
            self.log.warning("stopped with writes unacknowledged", count=len(unacknowledged))
        for future in unacknowledged:  # one line for all: asyncio need not tell of each, later
            if not future.cancelled():
                future.exception()

    # Reading

    @property
    def state(self) -> ClientState:
        """CONNECTING, SYNCING, LIVE or STALE."""
        return self.protocol.state

    @property
    def live(self) -> bool:
        """True if the map is current."""
        return self.protocol.live

    @property
    def server(self) -> str:
        """The endpoint of the server that this client follows or tries."""
        return self.servers[self.protocol.server]

    @property
    def age(self) -> float:
        """How many seconds ago the map was known to be current; infinite if it never was.

        While the client is live, that is less than a heartbeat when all is well.
        """
        return self.protocol.age(self.reactor.now())

    async def wait_live(self, timeout: float | None = None) -> None:
        """Wait until the map is current.

        Raises TimeoutError after `timeout` seconds, and ClientClosed when the client is stopped.
        """
        try:
            async with asyncio.timeout(timeout):
                await self._live.wait()
        except TimeoutError:
            what = f"{self.state.value}, tried last: {self.server}"
            raise TimeoutError(f"not live after {timeout:g} s ({what})") from None
        self._check_running()

    def get(self, key: Text) -> bytes | None:
        """The value of `key` as far as this client knows, None without one.

        Raises ValueError for a key outside the client's subtrees.
        """
        return self.protocol.get(to_bytes(key))

    def entry(self, key: Text) -> Entry:
        """The value of `key` and its sequence number; None and 0 without one. Else as `get`."""
        return self.protocol.entry(to_bytes(key))

    def items(self, subtree: Text = b"") -> list[tuple[bytes, bytes]]:
        """Every key below `subtree` and its value as far as this client knows, sorted by key.

        Raises ValueError for a subtree that has nothing in common with the client's.
        """
        entries = self.protocol.store.snapshot(self._overlapping(subtree))
        return sorted((entry[0], entry[4]) for entry in entries)

    async def watch(self, subtree: Text = b"", limit: int = WATCH_LIMIT) -> AsyncIterator[Event]:
        """Yield what is there as Put, then Live, then every change; also across failovers.

        After a failover the difference to what was known comes first, deletions too. Ends when the
        client does. Raises WatcherTooSlow when `limit` events wait, and ValueError for a subtree
        that has nothing in common with the client's.
        """
        queue = EventQueue(self._overlapping(subtree), limit)
        self._begin_watch(queue)
        try:
            async for event in queue.events():
                yield event
        finally:
            self._forget(queue)

    def add_watch(self, callback: Callable[[Event], object], subtree: Text = b"") -> Watch:
        """Call `callback(event)` with what `watch` yields, until the result's `cancel()`.

        It is told what is there before this returns, and every change as soon as it is in the map.
        What it raises goes to `on_error`. Raises ValueError as `watch` does, and TypeError for a
        coroutine function: nobody would await it.
        """
        if iscoroutinefunction(callback):
            raise TypeError(f"{callback} is a coroutine function: use `async for` with watch()")
        watch = Watch(self._overlapping(subtree), callback, self._hook_failed, self._forget)
        self._begin_watch(watch)
        return watch

    def _overlapping(self, subtree: Text) -> bytes:
        name = to_bytes(subtree)
        if not self.protocol.interest.overlaps(name):
            raise ValueError(f"{subtree!r} is outside {self.protocol.interest}")
        return name

    def _begin_watch(self, watcher: Watcher) -> None:
        """Tell what is there; a change made by who is told comes behind that."""
        there: list[Event] = [Put(*item, added=True) for item in self.items(watcher.subtree)]
        if self.protocol.live:
            there.append(Live(self.protocol.server))
        self._watchers += (watcher,)
        self.protocol.watched = True
        for event in there:
            watcher.add(event)
        if self._ended:
            self._end_watches()

    def _end_watches(self) -> None:
        watchers, self._watchers = self._watchers, ()  # in another life nothing is left of them
        self.protocol.watched = False
        for watcher in watchers:
            watcher.end()

    def _forget(self, watcher: Watcher) -> None:
        self._watchers = tuple(each for each in self._watchers if each is not watcher)
        self.protocol.watched = bool(self._watchers)

    def mapping(self) -> CloneMapping:
        """The map as a `MutableMapping`; see `CloneMapping` for what becomes of its writes."""
        return CloneMapping(self)

    def statistics_of_client(self) -> ClientStatistics:
        """A frozen snapshot of what this client has seen and done."""
        return self.protocol.statistics()

    # Writing

    def set(
        self,
        key: Text,
        value: Text,
        ttl: float | None = None,
        *,
        if_sequence: int | None = None,
        ack: str = APPLIED,
        timeout: float | None = None,
    ) -> asyncio.Future[int]:
        """Write a value, for `ttl` seconds or for ever; await the result for its sequence.

        A ttl counts whole seconds, rounded up. With `if_sequence`, only if the key still has the
        entry of this number (see `entry`), or has none for 0; or else the reason is `conflict`, and
        by then the map holds what is there. With `ack="replicated"` it is done when both servers of
        the pair have it, and no crash of one can lose it; or else the reason is `applied` or
        `unreplicated`, see WriteError. The write is under way when this returns, and is sent again
        until the server has published it. The awaitable raises WriteError if that does not happen,
        after `timeout` seconds or `write_timeout`; where nobody awaits it, the loop's exception
        handler is told. Raises at once ValueError for a key, a ttl, a value or a level that no
        server takes, TypeError for what is neither text nor bytes, OutboxFull,
        ConditionsUnsupported, ReadOnly, WrongThread, and ClientClosed.
        """
        self._check_writing(to_bytes(key), ttl)
        name, its_key = self.make_uuid(), to_bytes(key)
        effects = self.protocol.set(
            its_key,
            to_bytes(value),
            uuid=name,
            now=self.reactor.now(),
            ttl=ttl,
            if_sequence=if_sequence,
            ack=ack,
            timeout=timeout,
        )
        return self.under_way(name, its_key, effects, timeout)

    def create(
        self,
        key: Text,
        value: Text,
        ttl: float | None = None,
        *,
        ack: str = APPLIED,
        timeout: float | None = None,
    ) -> asyncio.Future[int]:
        """Write a value if the key is not there; as `set` with `if_sequence=0`."""
        return self.set(key, value, ttl, if_sequence=0, ack=ack, timeout=timeout)

    def delete(
        self,
        key: Text,
        *,
        if_sequence: int | None = None,
        ack: str = APPLIED,
        timeout: float | None = None,
    ) -> asyncio.Future[int]:
        """Delete a key; as `set` in everything else."""
        self._check_writing(to_bytes(key))
        name, its_key = self.make_uuid(), to_bytes(key)
        effects = self.protocol.delete(
            its_key,
            uuid=name,
            now=self.reactor.now(),
            if_sequence=if_sequence,
            ack=ack,
            timeout=timeout,
        )
        return self.under_way(name, its_key, effects, timeout)

    async def update(
        self,
        key: Text,
        change: Callable[[bytes | None], Text | None],
        ttl: float | None = None,
        *,
        ack: str = APPLIED,
        timeout: float | None = None,
    ) -> bytes | None:
        """Set `key` to `change(its value)`, of which nothing is lost to others who do the same.

        `change` is called with None for a key that is not there, and again when somebody else was
        faster; None as its result deletes the key. Returns what it returned last. Raises what `set`
        does, and TimeoutError when somebody else was always faster for `timeout` seconds.
        """
        until = self.reactor.now() + (self._write_timeout if timeout is None else timeout)
        while (left := until - self.reactor.now()) > 0:
            value, seen = self.entry(key)
            changed = change(value)
            try:
                if changed is None:
                    await self.delete(key, if_sequence=seen, ack=ack, timeout=left)
                    return None
                await self.set(key, changed, ttl, if_sequence=seen, ack=ack, timeout=left)
                return to_bytes(changed)
            except WriteError as error:
                if error.reason != CONFLICT:
                    raise
        raise TimeoutError(f"somebody else was always faster to change {key!r}")

    def keep(self, key: Text, value: Text, ttl: float, *, exclusive: bool = False) -> Kept:
        """A value that is written again and again, so that it expires `ttl` seconds after we do.

        Use it as `async with client.keep(...)`, or `start` and `release` it; see `Kept`. With
        `exclusive` only one client at a time has the key, which makes it a lease, or an election.
        At most MAX_KEPT a client, see TooManyKept. Raises ValueError for a ttl below a second, and
        where a model has none.
        """
        self._check_writing(to_bytes(key), ttl)
        rules = Keeping(ttl, exclusive=exclusive)
        return Kept(self, self._keeps, to_bytes(key), to_bytes(value), rules)

    def under_way(
        self, name: bytes, key: bytes, effects: list[Effect], timeout: float | None = None
    ) -> asyncio.Future[int]:
        """A write has this uuid and these effects; returns who waits for its end."""
        future: asyncio.Future[int] = self.reactor.loop.create_future()
        self._writes[name] = (future, key)
        self.carry_out(effects)
        if timeout is not None:
            self._alarm.at(self.protocol.deadline)  # that may be the next thing that is due
        return future

    def _check_writing(self, key: bytes, ttl: float | None = None) -> None:
        self._check_running()
        self.reactor.check_thread()  # too late at the socket: it would be sent again, by the loop
        if self.dialect.updates is None:
            raise ReadOnly(f"{self.name}: this model takes no updates from clients")
        if ttl is not None and not self.dialect.form.full:
            raise ValueError("this model has no ephemeral values")
        self._keeps.check_free(key)

    def _check_running(self) -> None:
        if self._ended:
            raise ClientClosed(f"{self.name}: the client was stopped")

    def report(self, error: Exception) -> None:
        """Tell `on_error` of something that nobody awaits; the end has told of what it ended."""
        if not self._ended:
            self._hook_failed(error)

    # What arrives

    def receive_writable(self, server: int, writable: bool) -> None:
        """A server's collector has subscribed to our updates, or is gone."""
        receive = self.protocol.receive_writable if writable else self.protocol.receive_unwritable
        self.carry_out(receive(server, self.reactor.now()))

    def _tick(self) -> None:
        try:
            self.carry_out(self.protocol.tick(self.reactor.now()))
        finally:  # whatever went wrong (no descriptor left for a socket, say) is tried again
            self._alarm.at(self.protocol.deadline)

    # What the rules say

    def carry_out(self, effects: list[Effect]) -> None:
        """Do what the rules say, in their order, at once."""
        for effect in effects:
            match effect:
                case SendUpdate(server, frames):
                    self._sockets.send(server, frames)
                case WriteAcknowledged(name, sequence):
                    future, _ = self._writes.pop(name)
                    if not future.done():  # it was cancelled, as by `asyncio.wait_for`
                        future.set_result(sequence)
                case Put() | Deleted() | Expired():
                    self._tell(effect)
                case WriteFailed(name, reason, sequence):
                    future, key = self._writes.pop(name)
                    if not future.done():
                        future.set_exception(WriteError(reason, key, sequence))
                case _:
                    self._change(effect)

    def _change(self, effect: Effect) -> None:
        match effect:
            case Connect(server, subscription):
                self._connect(server, subscription)
            case Disconnect():
                self._sockets.leave()
            case RequestSnapshot(server, frames, request):
                self._request_snapshot(server, frames, request)
            case Vote(server, frames):
                self._sockets.vote(server, frames)
            case Live(server):
                self._sockets.settle()
                self._live.set()
                self._followed = self.servers[server]
                self.log.info("live", server=self._followed)
                self._tell(effect)
            case Stale(reason):
                self._live.clear()
                if not self._ended:  # at its own end there is nothing to warn of
                    self.log.warning("stale", server=self._followed, reason=reason)
                    self._tell(effect)
        self._alarm.at(self.protocol.deadline)

    def _connect(self, server: int, subscription: int) -> None:
        self._sockets.follow(
            server,
            self.protocol.interest.subtrees,
            lambda frames: self.carry_out(
                self.protocol.receive_published(frames, subscription, self.reactor.now())
            ),
            lambda: self.carry_out(
                self.protocol.receive_disconnected(subscription, self.reactor.now())
            ),
        )

    def _request_snapshot(self, server: int, frames: Frames, request: int) -> None:
        self._sockets.request(
            server,
            frames,
            lambda frames: self.carry_out(
                self.protocol.receive_snapshot(frames, request, self.reactor.now())
            ),
        )

    def _tell(self, event: Event) -> None:
        for watcher in self._watchers:
            if concerns(event, watcher.subtree):
                watcher.add(event)


__all__ = [
    "MAX_KEPT",
    "ClientClosed",
    "ClientState",
    "ClientStatistics",
    "CloneClient",
    "ConditionsUnsupported",
    "Deleted",
    "Entry",
    "Event",
    "Expired",
    "Kept",
    "Live",
    "OutboxFull",
    "Put",
    "ReadOnly",
    "Stale",
    "TooManyKept",
    "Watch",
    "WatcherTooSlow",
    "WriteError",
]
