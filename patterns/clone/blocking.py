"""Clone: the blocking face of `CloneClient`, for scripts, notebooks and threads."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Awaitable, Callable, Iterable
from inspect import iscoroutinefunction
from time import monotonic
from types import TracebackType
from typing import Any, TypeVar

from patterns.clone.callback_thread import CallbackThread
from patterns.clone.client import WATCH_LIMIT, CloneClient
from patterns.clone.client_errors import ClientClosed, WriteError
from patterns.clone.client_protocol import ClientState, ClientStatistics, Entry
from patterns.clone.conditions import CONFLICT
from patterns.clone.kept import BlockingKept
from patterns.clone.levels import APPLIED
from patterns.clone.mapping import BlockingMapping
from patterns.clone.ports import collector_of
from patterns.clone.reactor_thread import ReactorThread
from patterns.clone.texts import Text, to_bytes
from patterns.clone.watching import Event, Watch
from reactor import ReactorError

T = TypeVar("T")

# The rules end a write when its time is over; this much later the thread itself must be stuck.
_GRACE_SECONDS = 2.0


class Clone:
    """Shared state for programs without an event loop, with the names of the Guide's API.

        with Clone("tcp://127.0.0.1:5556", subtree="/rates/") as clone:
            clone.set("/rates/USD", "1.0842")
            print(clone.get("/rates/USD"))

    Every method may be called from any thread, and where an event loop runs (Jupyter). A reactor
    in a thread of its own does the work; it starts with the first call that needs it, ends with
    `close`, and never holds up the interpreter's exit. It stays behind when the process forks:
    the child needs a Clone of its own, and is told so by a ReactorError. Every method that waits
    does so for at most `timeout` seconds, its own or this one. `options` are those of CloneClient.
    """

    def __init__(
        self,
        *servers: str,
        subtree: Text | Iterable[Text] = b"",
        timeout: float = 5.0,
        **options: Any,
    ) -> None:
        self.timeout = timeout
        self._servers: list[str] = []
        self._subtree = subtree
        self._options = options
        self._lock = threading.Lock()
        self._process: int | None = None  # in which it has been used
        self._client: CloneClient | None = None
        self._thread: ReactorThread | None = None
        self._watches: dict[CallbackThread, Watch] = {}
        self._has_been_live = self._closed = False
        for server in servers:
            self.connect(server)

    # Before it starts

    def connect(self, address: str, port: int | None = None) -> None:
        """Add a server, less preferred than those before; it is `address`, or `address:port`.

        Raises EndpointError for what names no server, and ReactorError once the client has started.
        """
        endpoint = address if port is None else f"{address}:{port}"
        collector_of(endpoint)
        self._check_process()
        with self._lock:
            self._check_not_started("connect")
            self._servers.append(endpoint)

    @property
    def subtree(self) -> Text | Iterable[Text]:
        """The subtree or subtrees, set before the client starts; raises ReactorError later."""
        return self._subtree

    @subtree.setter
    def subtree(self, subtree: Text | Iterable[Text]) -> None:
        self._check_process()
        with self._lock:
            self._check_not_started("subtree")
            self._subtree = subtree

    def _check_not_started(self, what: str) -> None:
        if self._thread is not None or self._closed:
            raise ReactorError(f"{what} comes before the first call that uses the servers")

    # Life

    def __enter__(self) -> Clone:
        """Start."""
        self._running()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Fail the writes that are not acknowledged, end the watches and the thread; idempotent."""
        if self._forked:
            return  # there is nothing to end: no thread came along
        with self._lock:
            self._closed = True
            thread, watches = self._thread, list(self._watches)
            self._watches.clear()
        if thread is not None:
            thread.stop()
            self._finalizer.detach()
        for watch in watches:
            watch.end()

    def _running(self) -> tuple[ReactorThread, CloneClient]:
        self._check_process()  # the map that came along would grow old unnoticed
        self._process = os.getpid()
        with self._lock:
            if self._closed:
                raise ClientClosed("the client was closed")
            if self._thread is None or self._client is None:
                if not self._servers:
                    raise ReactorError("no server: call connect() first")
                client = CloneClient(self._servers, self._subtree, **self._options)
                thread = ReactorThread(client, "clone")
                try:
                    thread.start(self.timeout)
                except BaseException:
                    thread.stop()
                    raise
                self._client, self._thread = client, thread
                # For those who never close. The end of the interpreter is the thread's own affair.
                self._finalizer = weakref.finalize(self, thread.stop, wait=False)
                self._finalizer.atexit = False
            return self._thread, self._client

    @property
    def _forked(self) -> bool:
        return self._process not in (None, os.getpid())

    def _check_process(self) -> None:
        """Raise ReactorError in a process that was forked: no thread came along.

        Before the lock is taken: who had it when the process was forked never gives it back.
        """
        if self._forked:
            raise ReactorError(
                "this process was forked: the client is its parent's, make a new one"
            )

    def _call(self, function: Callable[[CloneClient], T], timeout: float | None = None) -> T:
        thread, client = self._running()
        return thread.call(lambda: function(client), self._limit(timeout))

    def _wait(self, function: Callable[[CloneClient], Awaitable[T]], limit: float) -> T:
        thread, client = self._running()
        return thread.wait(lambda: function(client), limit + _GRACE_SECONDS)

    def wait_for(
        self, function: Callable[[CloneClient], Awaitable[T]], timeout: float | None = None
    ) -> T:
        """The result of `await function(client)`, on the client's thread; raises TimeoutError.

        For what CloneClient can do and this face has no method for.
        """
        thread, client = self._running()
        return thread.wait(lambda: function(client), self._limit(timeout))

    def _limit(self, timeout: float | None) -> float:
        return self.timeout if timeout is None else timeout

    # Reading

    @property
    def state(self) -> ClientState:
        """CONNECTING, SYNCING, LIVE or STALE; the last one also before the start."""
        self._check_process()
        client = self._client
        return ClientState.STALE if client is None else client.state

    @property
    def live(self) -> bool:
        """True if the map is current."""
        return self.state is ClientState.LIVE

    @property
    def server(self) -> str:
        """The endpoint of the server that the client follows or tries."""
        return self._call(lambda client: client.server)

    @property
    def age(self) -> float:
        """How many seconds ago the map was known to be current; infinite if it never was."""
        return self._call(lambda client: client.age)

    def statistics(self) -> ClientStatistics:
        """A frozen snapshot of what this client has seen and done."""
        return self._call(lambda client: client.statistics_of_client())

    def wait_live(self, timeout: float | None = None) -> None:
        """Wait until the map is current; raises TimeoutError, and ClientClosed."""
        limit = self._limit(timeout)
        self._wait(lambda client: client.wait_live(limit), limit)
        self._has_been_live = True

    def get(self, key: Text, timeout: float | None = None) -> bytes | None:
        """The value of `key`, None without one; local, also while no server is there.

        Waits only until the map has been current once, and raises TimeoutError if it never was.
        """
        return self._known(timeout).get(key)

    def entry(self, key: Text, timeout: float | None = None) -> Entry:
        """The value of `key` and its sequence number; None and 0 without one. Else as `get`."""
        return self._known(timeout).entry(key)

    def items(self, subtree: Text = b"", timeout: float | None = None) -> list[tuple[bytes, bytes]]:
        """Every key below `subtree` and its value, sorted by key; else as `get`."""
        self._known(timeout)
        return self._call(lambda client: client.items(subtree), timeout)

    def _known(self, timeout: float | None) -> CloneClient:
        """The client, as soon as it knows anything.

        What it holds of one key may be read on any thread: that is one look into a dictionary.
        """
        _, client = self._running()
        if not self._has_been_live:
            if self.age == float("inf"):
                self.wait_live(timeout)
            self._has_been_live = True
        return client

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
    ) -> int:
        """Write a value, for `ttl` seconds or for ever (None, 0); return its sequence.

        When it returns, the value is there for everybody; with `ack="replicated"`, on both servers
        of the pair. With `if_sequence`, only if the key still has the entry of this number (see
        `entry`), or has none for 0. Raises WriteError: it may have been applied if the reason is
        `timeout` or `closed`, and was if it is `applied`. Else as `CloneClient.set`.
        """
        limit = self._limit(timeout)
        return self._wait(
            lambda client: client.set(
                key, value, ttl or None, if_sequence=if_sequence, ack=ack, timeout=limit
            ),
            limit,
        )

    def create(
        self,
        key: Text,
        value: Text,
        ttl: float | None = None,
        *,
        ack: str = APPLIED,
        timeout: float | None = None,
    ) -> int:
        """Write a value if the key is not there; as `set` with `if_sequence=0`."""
        return self.set(key, value, ttl, if_sequence=0, ack=ack, timeout=timeout)

    def delete(
        self,
        key: Text,
        *,
        if_sequence: int | None = None,
        ack: str = APPLIED,
        timeout: float | None = None,
    ) -> int:
        """Delete a key; as `set` in everything else."""
        limit = self._limit(timeout)
        return self._wait(
            lambda client: client.delete(key, if_sequence=if_sequence, ack=ack, timeout=limit),
            limit,
        )

    def update(
        self,
        key: Text,
        change: Callable[[bytes | None], Text | None],
        ttl: float | None = None,
        *,
        ack: str = APPLIED,
        timeout: float | None = None,
    ) -> bytes | None:
        """Set `key` to `change(its value)`, of which nothing is lost to others who do the same.

        As `CloneClient.update`; `change` runs on the calling thread.
        """
        until = monotonic() + self._limit(timeout)
        while (left := until - monotonic()) > 0:
            value, seen = self.entry(key, left)
            changed = change(value)
            if (left := until - monotonic()) <= 0:
                break
            try:
                if changed is None:
                    self.delete(key, if_sequence=seen, ack=ack, timeout=left)
                    return None
                self.set(key, changed, ttl, if_sequence=seen, ack=ack, timeout=left)
                return to_bytes(changed)
            except WriteError as error:
                if error.reason != CONFLICT:
                    raise
        raise TimeoutError(f"no time is left to change {key!r}: somebody else may be faster")

    def keep(self, key: Text, value: Text, ttl: float, *, exclusive: bool = False) -> BlockingKept:
        """A value that is written again and again, as `with clone.keep(...)`.

        See `CloneClient.keep`.
        """
        return BlockingKept(self, lambda client: client.keep(key, value, ttl, exclusive=exclusive))

    def mapping(self) -> BlockingMapping:
        """The map as a `MutableMapping`, whose writes are done when they return."""
        return BlockingMapping(self)

    # Watching

    def watch(
        self, callback: Callable[[Event], object], subtree: Text = b"", limit: int = WATCH_LIMIT
    ) -> CallbackThread:
        """Call `callback(event)` with what is there, then Live, then every change as it comes.

        The callback runs on a thread of its own, one event at a time, and may use this client. What
        it raises is logged, and the next event comes all the same. After a failover it is told the
        difference, deletions too. When `limit` events wait the watch takes no more: it ends behind
        those, with an `error`, WatcherTooSlow, that is logged. Returns the watch, for its
        `cancel()`. Raises ValueError and TypeError as `CloneClient.add_watch`.
        """
        if iscoroutinefunction(callback):
            raise TypeError(f"{callback} is a coroutine function: nobody would await it")
        watch = CallbackThread(callback, limit, self._unwire)
        try:
            self._call(lambda client: self._wire(client, watch, subtree))
        except BaseException:
            watch.end()
            raise
        if self._closed:
            watch.end()
        return watch

    def _wire(self, client: CloneClient, watch: CallbackThread, subtree: Text) -> None:
        wired = client.add_watch(watch.add, subtree)
        with self._lock:
            if not self._closed:
                self._watches[watch] = wired
        if not watch.active:  # what is there was too much already, or nobody waits any more
            self._unwire(watch)

    def _unwire(self, watch: CallbackThread) -> None:
        with self._lock:
            wired, thread = self._watches.pop(watch, None), self._thread
        if wired is None or thread is None:
            return
        if thread.is_current:  # the watch has ended by itself
            wired.cancel()
        else:
            self._call(lambda client: wired.cancel())
