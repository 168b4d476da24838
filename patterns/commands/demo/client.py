"""A client process of the demo: `python -m patterns.commands.demo.client`.

It follows one subtree of the Clone pair and the same topics of the last value cache, and answers
the lines it hears on its standard input, each with one line of JSON:

`join`: join as a late subscriber does, and tell how long each way took (only with `--late`).
`state`: tell what it holds, and when updates came again after each failover.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import AsyncIterator, Sequence
from typing import Any

import zmq

from patterns.clone.client import CloneClient, Put, Stale
from patterns.commands.demo.rates import LATE_TOPIC, topics_of
from patterns.commands.demo.servers import SERVER_TTL_SECONDS
from patterns.commands.logs import log_to_stderr
from reactor import Reactor

JOIN_TIMEOUT_SECONDS = 10.0
# Without the cache a late subscriber waits for the next update: so long, then that is proved.
PATIENCE_SECONDS = 3.0


class TopicFollower:
    """A plain SUB: the last message of each topic under a prefix."""

    def __init__(self, reactor: Reactor, endpoint: str, prefix: str) -> None:
        self.values: dict[bytes, bytes] = {}
        self._first = asyncio.Event()
        stream = reactor.open_stream(
            zmq.SUB, subscribe=(prefix.encode(),), name="topics", options={zmq.RCVHWM: 0}
        )
        stream.on_message(self._receive)
        stream.connect(endpoint)

    async def first(self, timeout: float) -> None:
        """Wait for the first message; raises TimeoutError."""
        async with asyncio.timeout(timeout):
            await self._first.wait()

    def _receive(self, frames: list[bytes]) -> None:
        topic, body = frames
        self.values[topic] = body
        self._first.set()


class Watcher:
    """What a client process holds: a subtree of the shared map, and the topics of its name."""

    def __init__(
        self, reactor: Reactor, servers: Sequence[str], cache: str, subtree: str, direct: str = ""
    ) -> None:
        self.client = CloneClient(servers, subtree, server_ttl=SERVER_TTL_SECONDS)
        self.resumed: list[float] = []
        self._reactor = reactor
        self._cache = cache
        self._direct = direct
        self._prefix = LATE_TOPIC if direct else topics_of(subtree)
        self._topics: TopicFollower | None = None

    async def follow(self) -> None:
        """Join the pair and the cache."""
        await self.join_pair()
        self.join_cache()

    async def join_pair(self) -> float:
        """Join the Clone pair; return the seconds until all of the subtree was here."""
        begun = self._reactor.now()
        await self._reactor.register(self.client)
        await self.client.wait_live(JOIN_TIMEOUT_SECONDS)
        seconds = self._reactor.now() - begun
        self._reactor.spawn(self._watch())
        return seconds

    def join_cache(self) -> TopicFollower:
        """Subscribe at the last value cache."""
        self._topics = TopicFollower(self._reactor, self._cache, self._prefix)
        return self._topics

    async def join_late(self) -> dict[str, Any]:
        """Join each way that there is; seconds until the first value, None for "not in time"."""
        direct = TopicFollower(self._reactor, self._direct, self._prefix)
        without, cache, pair = await asyncio.gather(
            self._first_value(direct), self._first_value(self.join_cache()), self.join_pair()
        )
        return {"without": without, "cache": cache, "pair": pair}

    async def _first_value(self, follower: TopicFollower) -> float | None:
        begun = self._reactor.now()
        try:
            await follower.first(PATIENCE_SECONDS)
        except TimeoutError:
            return None
        return self._reactor.now() - begun

    async def _watch(self) -> None:
        """Note when the first update came after the map had been out of date."""
        stale = False
        async for event in self.client.watch():
            if isinstance(event, Stale):
                stale = True
            elif stale and isinstance(event, Put):
                stale = False
                self.resumed.append(self._reactor.now())

    def state(self) -> dict[str, Any]:
        """Everything this client holds, and the instants at which updates came again."""
        topics = self._topics.values if self._topics is not None else {}
        return {
            "keys": {key.decode(): body.decode() for key, body in self.client.items()},
            "topics": {topic.decode(): body.decode() for topic, body in topics.items()},
            "resumed": self.resumed,
        }


async def serve(watcher: Watcher, late: bool) -> None:
    """Join unless `late`, say `ready`, and answer until the standard input ends."""
    if not late:
        await watcher.follow()
    print("ready", flush=True)
    async for line in _lines_heard():
        answer = await watcher.join_late() if line == "join" else watcher.state()
        print(json.dumps(answer), flush=True)


async def _lines_heard() -> AsyncIterator[str]:
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    try:
        async for line in reader:
            yield line.decode().strip()
    finally:
        transport.close()


async def main(argv: Sequence[str] | None = None) -> None:
    """Run one client with the arguments of the command line."""
    parser = argparse.ArgumentParser(description="One client of the demo.")
    parser.add_argument("--server", action="append", required=True)
    parser.add_argument("--cache", required=True)
    parser.add_argument("--subtree", required=True)
    parser.add_argument("--late", metavar="ENDPOINT", default="", help="the publisher itself")
    options = parser.parse_args(argv)
    async with Reactor() as reactor:
        watcher = Watcher(reactor, options.server, options.cache, options.subtree, options.late)
        await serve(watcher, bool(options.late))


if __name__ == "__main__":
    log_to_stderr("info")
    asyncio.run(main())
