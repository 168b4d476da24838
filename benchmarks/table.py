"""The table: medians of every figure, and medians of the per-round ratios beside their targets."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from statistics import median

from benchmarks.samples import REACTOR, Sample, Target

HEADINGS = ("measurement", "body", "peer", "median", "unit", "reactor / peer", "target", "met")


def render(samples: Sequence[Sample], targets: Iterable[Target]) -> str:
    """Return the table as Markdown, one line for a peer's figure."""
    rows = [HEADINGS, *_rows(samples, {(t.measurement, t.peer): t for t in targets})]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    lines = [_line(row, widths) for row in rows]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
    return "| " + " | ".join(cells) + " |"


def _rows(
    samples: Sequence[Sample], targets: dict[tuple[str, str | None], Target]
) -> Iterator[tuple[str, ...]]:
    for measurement, size in dict.fromkeys((s.measurement, s.size) for s in samples):
        group = [s for s in samples if (s.measurement, s.size) == (measurement, size)]
        peers = {peer: _by_round(group, peer) for peer in dict.fromkeys(s.peer for s in group)}
        for peer, values in peers.items():
            # Without a peer the target is for the reactor's own figure.
            target = targets.get((measurement, None if peer == REACTOR else peer))
            ratios = [] if peer == REACTOR else _ratios(peers[REACTOR], values)
            yield (
                measurement,
                str(size) if size else "",
                peer,
                _figure(median(values.values())),
                group[0].unit,
                _spread(ratios) if ratios else "",
                str(target) if target else "",
                _met(target, ratios or list(values.values())),
            )


def _by_round(samples: Iterable[Sample], peer: str) -> dict[int, float]:
    return {s.round: s.value for s in samples if s.peer == peer}


def _ratios(ours: dict[int, float], theirs: dict[int, float]) -> list[float]:
    return [ours[number] / value for number, value in theirs.items() if number in ours and value]


def _spread(ratios: list[float]) -> str:
    return f"{_figure(median(ratios))} [{_figure(min(ratios))}-{_figure(max(ratios))}]"


def _figure(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _met(target: Target | None, values: list[float]) -> str:
    if target is None:
        return ""
    return "yes" if target.met(median(values)) else "NO"
