"""`reactor simulate`: the Clone pair and its clients in simulation, seed by seed."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from pathlib import Path

import click

from patterns.clone.simulation.campaign import ALL, Failure, Tally, run_seeds, schedule_of
from patterns.clone.simulation.runs import run
from patterns.clone.simulation.scenarios import SCENARIOS
from patterns.clone.simulation.shrinking import pytest_file, shrink
from patterns.commands.finite import Seconds
from patterns.commands.output import file_failed

_BATCH = 10
_SHRUNK = 3  # failures of different invariants: more say the same
_PROGRESS_SECONDS = 5.0


@click.command()
@click.option("--seeds", type=click.IntRange(min=1), default=100, help="How many seeds to run.")
@click.option("--first", type=click.IntRange(min=0), default=0, help="The first of them.")
@click.option(
    "--scenario",
    type=click.Choice((ALL, *SCENARIOS)),
    default=ALL,
    help="What goes wrong. all: every second seed is mixed, the others take turns.",
)
@click.option(
    "--seconds",
    type=Seconds(),
    metavar="SECONDS",
    help="Begin no more seeds after this time.  [default: run them all]",
)
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    default=os.cpu_count() or 1,
    help="How many processes.  [default: one a core]",
    show_default=False,
)
@click.option(
    "--output",
    type=click.Path(file_okay=False, writable=True, path_type=Path),
    default=".",
    help="Where the test of a shrunk failure is written.",
)
@click.option("--faults", is_flag=True, help="Count each fault by the states of the two servers.")
@click.option("--trace", is_flag=True, help="Print every message and event of the first seed.")
def simulate(
    seeds: int,
    first: int,
    scenario: str,
    seconds: float | None,
    jobs: int,
    output: Path,
    faults: bool,
    trace: bool,
) -> None:
    """Hammer a Clone pair in virtual time, and check what it promises.

    Each seed decides a schedule of a minute: what three clients write, which machines crash,
    pause or are cut off, and when. The real servers and clients run it on a simulated network;
    every promise of docs/guarantees.md is checked all the time and at the end.

    A seed that breaks one is told with the command that runs it again, and shrunk to a short test.
    Exit codes: 0 no violation, 1 a violation, 2 wrong usage.

    \b
    Examples:
      reactor simulate --seeds 2000
      reactor simulate --seeds 1 --first 51 --scenario mixed --trace
    """
    _be_quiet()
    if trace:
        run(schedule_of(first, scenario), on_event=click.echo)
    began = time.monotonic()
    tally = Tally()
    for batch in _batches(range(first, first + seeds), scenario, min(jobs, seeds), seconds):
        for failure in batch.failures:
            click.echo(f"{failure.text}\n  again: {failure.command}")
        tally.merge(batch)
    _shrink_failures(tally, output)
    if faults:
        for (kind, states), count in sorted(tally.faults.items()):
            click.echo(f"{count:8d}  {kind:14s} {states}")
    elapsed = time.monotonic() - began
    click.echo(f"{tally.summary()} ({elapsed:.0f} s, {tally.seeds / elapsed * 60:.0f} seeds/min)")
    if tally.failures:
        sys.exit(1)


def _batches(seeds: range, scenario: str, jobs: int, seconds: float | None) -> Iterator[Tally]:
    """The tallies of all batches, as they come; with one job everything stays in this process."""
    until = time.monotonic() + (seconds if seconds is not None else float("inf"))
    batches = (seeds[begin : begin + _BATCH] for begin in range(0, len(seeds), _BATCH))
    started = itertools.takewhile(lambda _: time.monotonic() < until, batches)
    progress = _Progress(len(seeds))
    if jobs == 1:
        for batch in started:
            yield progress.count(run_seeds(batch, scenario))
        return
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, spawn, initializer=_be_quiet) as pool:
        running: set[Future[Tally]] = set()
        for batch in started:
            running.add(pool.submit(run_seeds, batch, scenario))
            if len(running) > jobs:
                done, running = wait(running, return_when=FIRST_COMPLETED)
                yield from (progress.count(future.result()) for future in done)
        for future in running:
            yield progress.count(future.result())


class _Progress:
    """Says on a terminal every few seconds how far it is."""

    def __init__(self, seeds: int) -> None:
        self._seeds = seeds
        self._done = 0
        self._next = time.monotonic() + _PROGRESS_SECONDS

    def count(self, tally: Tally) -> Tally:
        self._done += tally.seeds
        now = time.monotonic()
        if now >= self._next and sys.stderr.isatty():
            self._next = now + _PROGRESS_SECONDS
            click.echo(f"{self._done} of {self._seeds} seeds", err=True)
        return tally


def _shrink_failures(tally: Tally, output: Path) -> None:
    first_of: dict[str, Failure] = {}
    for failure in tally.failures:
        first_of.setdefault(failure.invariant, failure)
    for failure in list(first_of.values())[:_SHRUNK]:
        whole = schedule_of(failure.seed, failure.scenario)
        short = shrink(whole, failure.invariant)
        name = f"test_simulation_{failure.scenario.replace('-', '_')}_{failure.seed}.py"
        try:
            output.mkdir(parents=True, exist_ok=True)
            (output / name).write_text(pytest_file(short, failure.text), encoding="utf-8")
        except OSError as error:
            raise file_failed(error) from error
        click.echo(f"{output / name}: {len(short.steps)} of {len(whole.steps)} steps are enough")


def _be_quiet() -> None:
    """The simulated servers have much to say, and all of it is known here."""
    import logging

    import structlog

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
