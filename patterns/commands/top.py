"""`reactor top`: rates, busiest topics and subscriptions of an Espresso."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import click

from patterns.commands.exit_codes import EXIT_CODES, NoAnswer
from patterns.commands.finite import Seconds
from patterns.commands.output import output_failed
from patterns.commands.tap_options import monitor_option, run_reader
from patterns.espresso import StatusReader
from reactor import Reactor

Status = dict[str, Any]
_WIDE = 40


@click.command(epilog=EXIT_CODES)
@monitor_option("Of the Espresso.")
@click.option("--count", type=click.IntRange(min=1), metavar="N", help="End after N refreshes.")
@click.option(
    "--timeout",
    type=Seconds(),
    default=5.0,
    metavar="SECONDS",
    help="How long to wait for the first figures.",
)
def top(monitor: str, count: int | None, timeout: float) -> None:
    """Show what goes through an Espresso.

    Once a second: totals and rates (frames and bytes, down to subscribers and up to publishers),
    the topics with the most messages, and the topics with the most subscribers. In a terminal the
    table stays in place; otherwise every refresh is printed below the last.
    """
    screen = _screen(sys.stdout.isatty())
    shown = 0
    failure: OSError | None = None

    def show(status: Status) -> None:
        nonlocal shown, failure
        if shown == count or failure is not None:
            return
        try:
            screen.show(status)
        except OSError as error:
            failure = error
        shown += 1
        if shown == count or failure is not None:
            reader.reactor.stop()

    reader = StatusReader(monitor, show)

    gave_up = False

    def give_up() -> None:
        nonlocal gave_up
        if not shown:
            gave_up = True
            reader.reactor.stop()

    def ready(reactor: Reactor) -> None:
        reactor.call_later(timeout, give_up)

    with screen:
        run_reader(reader, on_ready=ready)
    if failure is not None:
        raise output_failed(failure)
    if gave_up:
        raise NoAnswer(f"no Espresso has answered at {monitor} within {timeout:g} s")


def lines(status: Status) -> Iterator[str]:
    """Yield a status as lines of plain text."""
    rates, totals = status["rates"], status["totals"]
    yield "paused" if status["paused"] else f"forwarding ({status['pump']})"
    for way in ("down", "up"):
        yield (
            f"{way:<5}{rates[f'frames_{way}']:>14,.0f} frames/s{rates[f'bytes_{way}']:>16,.0f} B/s"
            f"{totals[f'frames_{way}']:>16,} frames{totals[f'bytes_{way}']:>18,} B"
        )
    yield f"taps {status['captured_frames']:>14,} frames seen, {status['lost_frames']:,} lost"
    yield f"{'topic':<{_WIDE}}{'messages/s':>14}{'B/s':>16}"
    for entry in status["top"]:
        topic = entry["topic"][: _WIDE - 1]
        yield f"{topic:<{_WIDE}}{entry['rate']:>14,.1f}{entry['byte_rate']:>16,.0f}"
    yield f"{'subscription':<{_WIDE}}{'subscribers':>14}   ({status['subscription_count']} topics)"
    for entry in status["subscriptions"]:
        yield f"{entry['topic'][: _WIDE - 1] or '(all)':<{_WIDE}}{entry['subscribers']:>14,}"


def _screen(terminal: bool) -> _Live | _Plain:
    if terminal:
        return _Live()
    return _Plain()


class _Plain:
    """Prints the figures one below the other."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        pass

    def show(self, status: Status) -> None:
        click.echo("\n".join([*lines(status), ""]))


class _Live:
    """A rich display that stays where it is."""

    def __init__(self) -> None:
        from rich.live import Live
        from rich.text import Text

        self._text = Text
        self._live = Live(auto_refresh=False)

    def __enter__(self) -> None:
        self._live.start()

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def show(self, status: Status) -> None:
        self._live.update(self._text("\n".join(lines(status))), refresh=True)
