"""The runner: `python -m benchmarks --help`."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks import forward, idle, latency, memory, receive, send, timer
from benchmarks.running import parser_of, run
from benchmarks.samples import Measurement

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
    """Run what the command line asks for."""
    options = parser_of("benchmarks", MEASUREMENTS, rounds=5).parse_args(arguments)
    measures = {name: module.measure for name, module in MEASUREMENTS.items()}
    targets = [target for name in options.only for target in MEASUREMENTS[name].TARGETS]
    run(options, measures, targets)


if __name__ == "__main__":
    main()
