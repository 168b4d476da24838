"""The story of the demo, from the start of the servers to the comparison."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from patterns.clone.client import CloneClient
from patterns.commands.children import Child, ChildFailed, Children, together
from patterns.commands.demo.client import PATIENCE_SECONDS
from patterns.commands.demo.feed import Feed
from patterns.commands.demo.health import PairHealth
from patterns.commands.demo.progress import Display
from patterns.commands.demo.rates import EVERYTHING, LATE_TOPIC, Update, topics_of
from patterns.commands.demo.replay import Replay
from patterns.commands.demo.report import Comparison, LateJoiner, Report
from patterns.commands.demo.servers import (
    SERVER_TTL_SECONDS,
    START_TIMEOUT_SECONDS,
    start_cache,
    start_pair,
)
from patterns.commands.demo.truth import Truth, differences
from reactor import Reactor

SUBTREES = (EVERYTHING, "/rates/USD/", "/rates/JPY/", "/rates/GBP/")
LATE = "late joiner"
_ANSWER_SECONDS = 15.0
# A client that lost something notices with the next heartbeat and repairs it by itself.
_SETTLE_SECONDS = 4.0
_ASK_AGAIN_SECONDS = 0.2
_IN_STEP_SECONDS = 5.0
_DRAW_SECONDS = 0.1
_TRICKLE_SECONDS = 1.0
# A server gone for good shows as writes lost, soon enough for the demo to end in time.
_WRITE_TIMEOUT_SECONDS = 10.0
# For the late joiner, the comparison and the end of the processes.
_END_SECONDS = 5.0
_SHORTEST_REPLAY_SECONDS = 4.0


class Demo:
    """One run: `async with Reactor()` and `Children` around it are the caller's."""

    def __init__(
        self,
        reactor: Reactor,
        children: Children,
        updates: Sequence[Update],
        ends_at: float,
        show: Display,
    ) -> None:
        self._reactor = reactor
        self._children = children
        self._updates = updates
        self._ends_at = ends_at
        self._show = show
        self._killed = _Kill("nobody", 0, float("inf"))
        self._health = PairHealth()
        self._clients: dict[str, _Client] = {}

    async def run(self) -> Report:
        """Start everything, replay, kill, go on, compare; raises ChildFailed."""
        self._show.stage("starting the servers and the clients")
        self._feed = Feed(self._reactor)
        await together(self._start_pair(), self._start_cache())
        await together(self._join_writer(), self._start_clients())
        replay = await self._replay()
        self._show.stage("a late joiner, then the comparison")
        joined = await self._join_late(replay.truth)
        comparisons, failovers = await self._compare(replay.truth)
        return Report(
            updates=replay.written,
            available=len(self._updates),
            days=(self._updates[0].day, self._updates[replay.written - 1].day),
            seconds=replay.seconds,
            lost=replay.lost,
            killed=self._killed.name,
            killed_at=self._killed.at_update,
            failovers=failovers,
            late=joined,
            comparisons=comparisons,
        )

    # The start

    async def _start_pair(self) -> None:
        self._pair = await start_pair(self._children)
        self._health.listen(self._reactor, self._pair.states)

    async def _start_cache(self) -> None:
        self._cache = await start_cache(self._children, self._feed.endpoint)

    async def _join_writer(self) -> None:
        self._writer = CloneClient(
            self._pair.endpoints,
            EVERYTHING,
            server_ttl=SERVER_TTL_SECONDS,
            write_timeout=_WRITE_TIMEOUT_SECONDS,
        )
        await self._reactor.register(self._writer)
        try:
            await self._writer.wait_live(START_TIMEOUT_SECONDS)
            async with asyncio.timeout(START_TIMEOUT_SECONDS):
                await self._feed.subscribed()
        except TimeoutError:
            raise ChildFailed("the servers serve nobody") from None

    async def _start_clients(self) -> None:
        common = [word for server in self._pair.endpoints for word in ("--server", server)]
        common += ["--cache", self._cache]
        started = [self._start_client(name, name, common) for name in SUBTREES]
        late = self._start_client(LATE, EVERYTHING, [*common, "--late", self._feed.endpoint])
        await together(*started, late)

    async def _start_client(self, name: str, subtree: str, common: list[str]) -> None:
        log_name = "client-" + name.strip("/").replace("/", "-").replace(" ", "-")
        child = await self._children.start(
            log_name, "-m", "patterns.commands.demo.client", *common, "--subtree", subtree
        )
        await child.hear(START_TIMEOUT_SECONDS)
        self._clients[name] = _Client(name, subtree, child)

    # The replay

    async def _replay(self) -> Replay:
        replay = Replay(
            self._writer,
            self._feed,
            self._updates,
            seconds=max(self._ends_at - self._reactor.now(), _SHORTEST_REPLAY_SECONDS),
            half_way=lambda: self._kill(replay),
        )
        self._show.stage("replaying the rates since 1999")
        drawing = self._reactor.periodic(
            _DRAW_SECONDS, lambda: self._show.advance(replay.progress, replay.written)
        )
        await replay.run()
        drawing.cancel()
        return replay

    async def _kill(self, replay: Replay) -> None:
        """Kill the active server: unless it stood still some time before, the primary.

        A pair survives the loss of one server when the other has a complete copy. So has this
        one, unless the whole machine paused: then both were active, and have to agree first.
        """
        server = self._pair.named(await self._active_server())
        server.signal(signal.SIGKILL)
        self._killed = _Kill(server.name, replay.written, self._reactor.now())
        self._show.stage(f"killed the {server.name} (SIGKILL); going on")

    async def _active_server(self) -> str:
        gives_up_at = self._reactor.now() + _IN_STEP_SECONDS
        while not (active := self._health.active(self._reactor.now())):
            if self._reactor.now() >= gives_up_at:
                raise ChildFailed("the backup was not in step with the primary")
            await asyncio.sleep(_ASK_AGAIN_SECONDS)
        return active

    # The end

    async def _join_late(self, truth: Truth) -> LateJoiner:
        """Have the late joiner join while the feed says little."""
        trickle = asyncio.create_task(
            self._feed.trickle(truth.topics(EVERYTHING), _TRICKLE_SECONDS)
        )
        try:
            seconds = await self._clients[LATE].ask("join")
        finally:
            trickle.cancel()
        return LateJoiner(
            pair=seconds["pair"],
            keys=len(truth.keys(EVERYTHING)),
            cache=seconds["cache"],
            without=seconds["without"],
            patience=PATIENCE_SECONDS,
        )

    async def _compare(
        self, truth: Truth
    ) -> tuple[tuple[Comparison, ...], dict[str, float | None]]:
        deadline = self._reactor.now() + _SETTLE_SECONDS
        compared = await together(
            *(self._compare_client(self._clients[n], truth, deadline) for n in (*SUBTREES, LATE))
        )
        failovers = {
            comparison.client: _failover(state["resumed"], self._killed.instant)
            for comparison, state in compared
            if comparison.client != LATE
        }
        return tuple(comparison for comparison, _ in compared), failovers

    async def _compare_client(
        self, client: _Client, truth: Truth, deadline: float
    ) -> tuple[Comparison, dict[str, Any]]:
        """Compare until nothing differs, or the time to settle is over."""
        expected = truth.keys(client.subtree) | truth.topics(client.prefix)
        while True:
            state = await client.ask("state")
            different = differences(expected, state["keys"] | state["topics"])
            if not different or self._reactor.now() >= deadline:
                return Comparison(client.name, len(expected), different), state
            await asyncio.sleep(_ASK_AGAIN_SECONDS)


@dataclass(frozen=True, slots=True)
class _Kill:
    name: str
    at_update: int
    instant: float


@dataclass(frozen=True, slots=True)
class _Client:
    name: str
    subtree: str
    child: Child

    @property
    def prefix(self) -> str:
        return LATE_TOPIC if self.name == LATE else topics_of(self.subtree)

    async def ask(self, question: str) -> dict[str, Any]:
        self.child.tell(question)
        answer: dict[str, Any] = json.loads(await self.child.hear(_ANSWER_SECONDS))
        return answer


def _failover(resumed: Sequence[float], killed_at: float) -> float | None:
    """From the kill to the first new update: the clocks of one machine's processes agree."""
    return next((instant - killed_at for instant in resumed if instant > killed_at), None)


async def play(updates: Sequence[Update], seconds: float, logs: Path, show: Display) -> Report:
    """Run the demo once, in about `seconds`; raises ChildFailed.

    The replay gets what the start leaves of them. All processes have ended at the end.
    """
    async with Reactor() as reactor, Children(logs) as children:
        ends_at = reactor.now() + seconds - _END_SECONDS
        report = await Demo(reactor, children, updates, ends_at, show).run()
        reactor.stop(hard=True)  # all is answered; only the dead server has not got all of it
        return report
