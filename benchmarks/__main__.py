"""The runner: `python -m benchmarks --help`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import IO

from benchmarks import forward, idle, latency, memory, receive, send, timer
from benchmarks.samples import Measurement, Sample, Settings
from benchmarks.table import render

MEASUREMENTS: dict[str, Measurement] = {
    "receive": receive,
    "send": send,
    "forward": forward,
    "latency": latency,
    "timer": timer,
    "memory": memory,
    "idle": idle,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what the command line asks for; the table comes last."""
    options = parse(arguments)
    settings = Settings(options.rounds, options.seconds, options.quick)
    with ExitStack() as stack:
        lines = stack.enter_context(open(options.json, "w")) if options.json else sys.stdout
        samples = list(run(options.only, settings, lines))
    targets = [target for name in options.only for target in MEASUREMENTS[name].TARGETS]
    print("\n" + render(samples, targets))


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the options; `--quick` changes the defaults of the others."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, help="default 5")
    parser.add_argument("--seconds", type=float, help="for each sample; default 2")
    parser.add_argument("--only", type=names, default=list(MEASUREMENTS), help="a,b,c")
    parser.add_argument("--json", metavar="FILE", help="JSON lines go there instead of stdout")
    parser.add_argument("--quick", action="store_true", help="1 round, 0.5 s, fewer messages")
    options = parser.parse_args(arguments)
    options.rounds = options.rounds or (1 if options.quick else 5)
    options.seconds = options.seconds or (0.5 if options.quick else 2.0)
    return options


def names(text: str) -> list[str]:
    """Return the measurements named in a comma-separated list."""
    chosen = text.split(",")
    unknown = set(chosen) - set(MEASUREMENTS)
    if unknown:
        raise argparse.ArgumentTypeError(f"{unknown} not among {list(MEASUREMENTS)}")
    return chosen


def run(chosen: Sequence[str], settings: Settings, lines: IO[str]) -> Iterator[Sample]:
    """Yield every sample, and write it as it comes; all peers take part in each round."""
    for number in range(1, settings.rounds + 1):
        for name in chosen:
            print(f"round {number} of {settings.rounds}: {name}", file=sys.stderr)
            for sample in MEASUREMENTS[name].measure(settings, number):
                print(sample.as_json(), file=lines, flush=True)
                yield sample


if __name__ == "__main__":
    main()
