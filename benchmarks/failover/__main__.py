"""The runner: `python -m benchmarks.failover --help`."""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from time import monotonic
from typing import IO

from benchmarks.failover.readers import FIRST, ITEMS, be_quiet, read
from benchmarks.failover.servers import Pair
from benchmarks.failover.writing import Load
from benchmarks.processes import Role
from patterns.clone import CloneClient
from reactor import Reactor

# A client that has followed its server for less than this is not in a hurry (see the client).
_FOLLOWED_HEARTBEATS = 2.5
_PAUSES = (0.5, 10.0)
_HEADINGS = (
    ("fault", "count", "median", "longest", "slowest client: median", "longest")
    + ("acknowledged", "failed", "lost", "back", "differ")
)  # fmt: skip


@dataclass(frozen=True)
class Fault:
    """What one kill or pause did: seconds until each client saw an update written after it.

    `lost` counts acknowledged writes, `back` deleted keys that are there again, `differ` the
    clients that hold something else than the active server does.
    """

    kind: str
    number: int
    role: str
    seconds: tuple[float, ...]
    paused: float
    replaced: bool
    acknowledged: int
    failed: int
    lost: int
    back: int
    differ: int


class Trial:
    """A pair, its readers and a writer, and what is done to the pair."""

    def __init__(self, pair: Pair, readers: Sequence[Role], load: Load, heartbeat: float) -> None:
        self._pair = pair
        self._readers = readers
        self._load = load
        self._heartbeat = heartbeat
        self._counted = (0, 0)  # acknowledged and failed until the last fault

    async def kill(self, number: int) -> Fault:
        """SIGKILL the active server under load; it is started again afterwards."""
        role = await self._under_load()
        begun = monotonic()
        self._pair.kill(role)
        seconds = await self._first_updates(begun)
        await asyncio.to_thread(self._pair.reap, role)
        fault = await self._check("kill", number, role, seconds)
        await asyncio.to_thread(self._pair.start, role)
        return fault

    async def pause(self, number: int, paused: float) -> Fault:
        """SIGSTOP the active server under load, and SIGCONT it after so many seconds."""
        role = await self._under_load()
        begun = monotonic()
        self._pair.stop(role)
        going_on = asyncio.create_task(self._go_on(role, paused))
        seconds = await self._first_updates(begun)
        await going_on
        return await self._check("pause", number, role, seconds, paused)

    async def _go_on(self, role: str, paused: float) -> None:
        await asyncio.sleep(paused)
        self._pair.go_on(role)

    async def _under_load(self) -> str:
        role = await self._pair.settled()
        self._load.start()
        await asyncio.sleep(_FOLLOWED_HEARTBEATS * self._heartbeat + random.random() * 0.5)
        return role

    async def _first_updates(self, begun: float) -> tuple[float, ...]:
        for reader in self._readers:
            reader.put((FIRST, begun))
        seen = [await asyncio.to_thread(reader.get) for reader in self._readers]
        return tuple(round(instant - begun, 4) for instant in seen)

    async def _check(
        self, kind: str, number: int, role: str, seconds: tuple[float, ...], paused: float = 0.0
    ) -> Fault:
        await self._load.stop()
        if kind == "pause":
            active = await self._pair.settled()
        else:
            active = next(other for other in ("primary", "backup") if other != role)
        status = await self._pair.status(active)
        async with CloneClient(status["endpoint"]) as witness:
            await witness.wait_live(30.0)
            truth = witness.items()
        for reader in self._readers:
            reader.put((ITEMS, status["sequence"]))
        held = [await asyncio.to_thread(reader.get) for reader in self._readers]
        ledger = self._load.ledger
        lost, back = ledger.faults(truth)
        differ = sum(items != truth for items in [*held, self._load.client.items()])
        before, self._counted = self._counted, (ledger.acknowledged, ledger.failed)
        acknowledged, failed = (now - then for now, then in zip(self._counted, before, strict=True))
        return Fault(
            kind=kind,
            number=number,
            role=role,
            seconds=seconds,
            paused=round(paused, 3),
            replaced=active != role,
            acknowledged=acknowledged,
            failed=failed,
            lost=lost,
            back=back,
            differ=differ,
        )


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.failover", description=__doc__)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--pauses", type=int, default=0)
    parser.add_argument("--heartbeat", type=float, default=1.0, help="seconds; default 1.0")
    parser.add_argument("--readers", type=int, default=3, help="client processes; default 3")
    parser.add_argument("--keys", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0, help="of the lengths of the pauses")
    parser.add_argument("--json", metavar="FILE", help="JSON lines go there instead of stdout")
    parser.add_argument("--logs", metavar="FOLDER", help="keep what the servers log there")
    return parser.parse_args(arguments)


async def run(options: argparse.Namespace, folder: Path, lines: IO[str]) -> list[Fault]:
    """Do what the command line asks for."""
    random.seed(options.seed)
    faults = []
    async with Reactor() as reactor:
        with ExitStack() as stack:
            pair = stack.enter_context(
                Pair(folder, options.heartbeat, 2 * options.heartbeat, reactor)
            )
            async with CloneClient(pair.endpoints) as client:
                load = Load(client)
                await client.wait_live(30.0)
                await load.fill(options.keys)
                readers = [
                    stack.enter_context(Role(read, pair.endpoints)) for _ in range(options.readers)
                ]
                for reader in readers:
                    await asyncio.to_thread(reader.get)
                trial = Trial(pair, readers, load, options.heartbeat)
                async for fault in _faults(trial, options):
                    faults.append(fault)
                    print(json.dumps(asdict(fault)), file=lines, flush=True)
                    print(f"{fault.kind} {fault.number}: {fault.seconds}", file=sys.stderr)
    return faults


async def _faults(trial: Trial, options: argparse.Namespace):  # type: ignore[no-untyped-def]
    for number in range(1, options.kills + 1):
        yield await trial.kill(number)
    for number in range(1, options.pauses + 1):
        yield await trial.pause(number, random.uniform(*_PAUSES))


def table(faults: Sequence[Fault]) -> Iterator[str]:
    """Yield the table as Markdown."""
    yield "| " + " | ".join(_HEADINGS) + " |"
    yield "|" + " --- |" * len(_HEADINGS)
    groups = {
        "kill": [f for f in faults if f.kind == "kill"],
        "pause, replaced": [f for f in faults if f.kind == "pause" and f.replaced],
        "pause, not replaced": [f for f in faults if f.kind == "pause" and not f.replaced],
    }
    for name, group in groups.items():
        if not group:
            continue
        every = [seconds for fault in group for seconds in fault.seconds]
        slowest = [max(fault.seconds) for fault in group]
        cells = [name, str(len(group))]
        cells += [f"{value * 1000:,.0f} ms" for value in (median(every), max(every))]
        cells += [f"{value * 1000:,.0f} ms" for value in (median(slowest), max(slowest))]
        counts = ("acknowledged", "failed", "lost", "back", "differ")
        cells += [f"{sum(getattr(fault, count) for fault in group):,}" for count in counts]
        yield "| " + " | ".join(cells) + " |"


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; 1 if anything was lost, came back or differs."""
    options = parse(arguments)
    be_quiet()
    signal.signal(signal.SIGTERM, _interrupt)  # or the servers would be left behind
    with ExitStack() as stack:
        folder = Path(options.logs or stack.enter_context(tempfile.TemporaryDirectory()))
        folder.mkdir(parents=True, exist_ok=True)
        lines = stack.enter_context(open(options.json, "w")) if options.json else sys.stdout
        faults = asyncio.run(run(options, folder, lines))
    print("\n" + "\n".join(table(faults)))
    return int(any(fault.lost or fault.back or fault.differ for fault in faults))


if __name__ == "__main__":
    sys.exit(main())
