"""What the runners have in common: their options, the peers that are there, rounds and lines."""

from __future__ import annotations

import argparse
import platform
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import IO, Protocol, TypeVar

from benchmarks.samples import Sample, Settings, Target
from benchmarks.table import render

Measure = Callable[[Settings, int], Iterator[Sample]]


class Named(Protocol):
    """A peer, whatever it can do."""

    @property
    def name(self) -> str:
        """What the table calls it."""

    @property
    def version(self) -> str:
        """Of the program and of what Python needs to talk to it."""


P = TypeVar("P", bound=Named)


def parser_of(
    runner: str, known: Collection[str], rounds: int, of: str = "sample", fewer: str = "messages"
) -> argparse.ArgumentParser:
    """Return the options of `python -m runner`; `--quick` changes the defaults of the others."""
    parser = argparse.ArgumentParser(prog=f"python -m {runner}")
    parser.set_defaults(full_rounds=rounds)
    parser.add_argument("--rounds", type=int, help=f"default {rounds}")
    parser.add_argument("--seconds", type=float, help=f"for each {of}; default 2")
    parser.add_argument(
        "--only", type=lambda text: _names(text, known), default=list(known), help="a,b,c"
    )
    parser.add_argument("--json", metavar="FILE", help="JSON lines go there instead of stdout")
    parser.add_argument("--quick", action="store_true", help=f"1 round, 0.5 s, fewer {fewer}")
    return parser


def add_peers(parser: argparse.ArgumentParser) -> None:
    """Give a runner the option `--peers`, whose parts of names `find_peers` looks for."""
    parser.add_argument(
        "--peers", type=lambda text: text.split(","), default=[""], help="parts of names: a,b,c"
    )


def _names(text: str, known: Collection[str]) -> list[str]:
    chosen = text.split(",")
    if unknown := set(chosen) - set(known):
        raise argparse.ArgumentTypeError(f"{unknown} not among {list(known)}")
    return chosen


def find_peers(homes: Iterable[Callable[[], list[P]]], parts: Sequence[str]) -> list[P]:
    """Return the peers that are installed and asked for; say which version, or what is missing."""
    found: list[P] = []
    print(f"Python {platform.python_version()}, {platform.platform()}", file=sys.stderr)
    for peers_of in homes:
        try:
            peers = peers_of()
        except FileNotFoundError as error:
            print(f"skipped: {error}", file=sys.stderr)
            continue
        print(f"{', '.join(peer.name for peer in peers)}: {peers[0].version}", file=sys.stderr)
        found += peers
    return [peer for peer in found if any(part in peer.name for part in parts)]


def run(
    options: argparse.Namespace, measures: Mapping[str, Measure], targets: Iterable[Target]
) -> None:
    """Take every sample that the command line asks for; the table comes last."""
    settings = Settings(
        options.rounds or (1 if options.quick else options.full_rounds),
        options.seconds or (0.5 if options.quick else 2.0),
        options.quick,
    )
    with ExitStack() as stack:
        lines = stack.enter_context(open(options.json, "w")) if options.json else sys.stdout
        chosen = {name: measures[name] for name in options.only}
        samples = list(_samples(chosen, settings, lines))
    print("\n" + render(samples, list(targets)))


def _samples(
    measures: Mapping[str, Measure], settings: Settings, lines: IO[str]
) -> Iterator[Sample]:
    """Yield every sample, and write it as it comes; all peers take part in each round."""
    for number in range(1, settings.rounds + 1):
        for name, measure in measures.items():
            print(f"round {number} of {settings.rounds}: {name}", file=sys.stderr)
            for sample in measure(settings, number):
                print(sample.as_json(), file=lines, flush=True)
                yield sample
