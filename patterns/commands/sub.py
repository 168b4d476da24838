"""`reactor sub`: print what a publisher sends, as a plain ZeroMQ subscriber or one with a guard."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Sequence

import click
import zmq

from patterns.commands.endpoints import Endpoint
from patterns.commands.exit_codes import NoAnswer
from patterns.commands.finite import Seconds
from patterns.commands.logs import log_to_stderr
from patterns.commands.output import output_failed, printable, start_failed
from patterns.commands.pub import FEED, endpoint_options, endpoints_of, tell_bound
from patterns.last_value_cache import ConflatingSubscriber
from patterns.last_value_cache.subscriber import CONFLATED
from patterns.suicidal_snail import SNAIL_EXIT_CODE, Diagnosis, Limits, Reaction, SnailSubscriber
from reactor import (
    Handler,
    HandlerSet,
    OneShotTimer,
    Reactor,
    ReactorError,
    Stream,
    StreamHandler,
    run,
)

EXIT_CODES = (
    "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 nothing came in time, 70 died as a snail."
)
HIGH_WATER_MARK = 1000


class SnailDeath(click.ClickException):
    """The subscriber was too slow for its feed; exit status 70."""

    exit_code = SNAIL_EXIT_CODE


@click.command(epilog=EXIT_CODES)
@click.argument("topics", nargs=-1, metavar="[TOPIC...]")
@click.option(
    "--count", type=click.IntRange(min=1), metavar="N", help="End after N messages; else at Ctrl-C."
)
@click.option(
    "--timeout",
    type=Seconds(),
    metavar="SECONDS",
    help="End when no message has come for so long.",
)
@click.option(
    "--format",
    "style",
    type=click.Choice(["text", "json", "raw"]),
    default="text",
    help="text: a line each, what is not printable escaped. json: an object a line. "
    "raw: the bytes as they are, and nothing between them.",
)
@click.option("-v", "--verbose", is_flag=True, help="Print the topic, too, in front.")
@endpoint_options
@click.option(
    "--high-water-mark",
    type=click.IntRange(min=1),
    default=HIGH_WATER_MARK,
    help="Messages that may wait here before some are lost.",
)
@click.option(
    "--snail",
    type=Seconds(),
    metavar="SECONDS",
    help="Die, with exit code 70, when messages are so late, are lost, or stop coming.",
)
@click.option("--squawk", type=Endpoint(), help="Tell it there before dying.")
@click.option(
    "--conflate",
    is_flag=True,
    help="Take the newest message of each topic at the pace of whoever reads this, from the "
    f"--conflated endpoint of a `reactor serve lvc` (unless told otherwise {CONFLATED}).",
)
def sub(
    topics: tuple[str, ...],
    count: int | None,
    timeout: float | None,
    style: str,
    verbose: bool,
    bind: tuple[str, ...],
    connect: tuple[str, ...],
    high_water_mark: int,
    snail: float | None,
    squawk: str | None,
    conflate: bool,
) -> None:
    """Print messages whose topic begins with a TOPIC, or all.

    Connects to tcp://127.0.0.1:5557 unless --bind or --connect say else. The first frame of a
    message is its topic. --timeout ends with exit code 3 when nothing has come, or fewer than
    --count.

    --snail needs a publisher that stamps, as `reactor serve snail-pub`. --conflate first prints
    the values that there are; a message without a body says that a topic has none any more.

    \b
        reactor sub weather -v
        reactor sub --format json --count 10 | jq .topic
        reactor sub --snail 1.0 || echo "too slow, or nobody there: $?"
        reactor sub --conflate prices -v | while read -r line; do sleep 1; echo "$line"; done
    """
    if squawk is not None and snail is None:
        raise click.UsageError("--squawk is for a --snail")
    endpoints = endpoints_of(bind, connect, f">{CONFLATED}" if conflate else f">{FEED}")
    if conflate and (snail is not None or bind or len(endpoints) > 1):
        raise click.UsageError("--conflate connects to one cache, and has no use for a --snail")
    prefixes = tuple(map(os.fsencode, topics)) or (b"",)
    log_to_stderr("warning")
    printer = _Printer(_FORMATS[style](verbose), count, timeout)
    subscriber: _Plain | _Guarded | _Conflated
    if conflate:
        try:
            subscriber = _Conflated(endpoints[0], prefixes, printer)
        except ValueError as error:
            raise click.UsageError(str(error)) from None
    elif snail is None:
        subscriber = _Plain(endpoints, prefixes, high_water_mark, printer)
    else:
        subscriber = _Guarded(endpoints, prefixes, high_water_mark, printer, snail, squawk)
    try:
        run(subscriber, on_ready=lambda reactor: printer.begin(reactor, subscriber, endpoints))
    except (ReactorError, ValueError) as error:
        raise start_failed(error) from error
    if isinstance(subscriber, _Guarded) and subscriber.diagnosis is not None:
        raise SnailDeath(str(subscriber.diagnosis))
    printer.finish()


class _Plain(HandlerSet):
    """A subscriber as ZeroMQ has it."""

    name = "sub"

    def __init__(
        self,
        endpoints: Sequence[str],
        prefixes: tuple[bytes, ...],
        high_water_mark: int,
        printer: _Printer,
    ) -> None:
        super().__init__()
        self.endpoints = endpoints
        self.prefixes = prefixes
        self.high_water_mark = high_water_mark
        self.printer = printer

    def build(self) -> Iterable[Handler]:
        """Open the SUB."""
        self.stream = self.open_stream(
            zmq.SUB,
            *self.endpoints,
            subscribe=self.prefixes,
            options={zmq.RCVHWM: self.high_water_mark},
        )
        return [_Receiver(self.stream, self.printer)]


class _Receiver(StreamHandler):
    def __init__(self, stream: Stream, printer: _Printer) -> None:
        super().__init__(stream)
        self.printer = printer

    def on_message(self, frames: list[bytes]) -> None:
        self.printer.print(frames)


class _Guarded(SnailSubscriber):
    """A subscriber that dies when it is too slow."""

    name = "sub"

    def __init__(
        self,
        endpoints: Sequence[str],
        prefixes: tuple[bytes, ...],
        high_water_mark: int,
        printer: _Printer,
        limit: float,
        squawk: str | None,
    ) -> None:
        super().__init__(
            ",".join(endpoints),
            prefixes,
            limits=Limits(age=limit, late_for=limit),
            reactions={Reaction.STOP} | ({Reaction.SQUAWK} if squawk else set()),
            squawks=squawk or "",
            high_water_mark=high_water_mark,
        )
        self.printer = printer

    def on_message(self, frames: list[bytes]) -> None:
        """Print it."""
        self.printer.print(frames)

    def on_snail(self, diagnosis: Diagnosis) -> None:
        """Print nothing more: what is late is of no use to who wanted to know."""
        self.printer.stop()


class _Conflated(ConflatingSubscriber):
    """A subscriber that takes the newest values, as fast as they are printed."""

    name = "sub"

    def __init__(self, endpoint: str, prefixes: tuple[bytes, ...], printer: _Printer) -> None:
        super().__init__(endpoint, prefixes)
        self.printer = printer

    def on_message(self, frames: list[bytes]) -> None:
        """Print it."""
        self.printer.print(frames)


# Output


class _Printer:
    """Prints `count` messages (None: all), until none has come for `timeout` seconds."""

    def __init__(
        self, formatted: Callable[[list[bytes]], bytes], count: int | None, timeout: float | None
    ) -> None:
        self._formatted = formatted
        self._left = count
        self._timeout = timeout
        self._out = sys.stdout.buffer
        self._reactor: Reactor | None = None
        self._timer: OneShotTimer | None = None
        self._last = 0.0
        self._printed = 0
        self._flushing = self._ended = self._timed_out = False
        self._error: OSError | None = None

    def begin(
        self,
        reactor: Reactor,
        subscriber: _Plain | _Guarded | _Conflated,
        endpoints: Sequence[str],
    ) -> None:
        """The subscriber has started."""
        self._reactor = reactor
        self._last = reactor.now()
        tell_bound(subscriber.stream, endpoints)
        self._watch()

    def print(self, frames: list[bytes]) -> None:
        """Print a message, unless it is one too many."""
        if self._ended or self._reactor is None:
            return
        try:
            self._out.write(self._formatted(frames))
        except OSError as error:
            self._fail(error)
            return
        self._printed += 1
        self._last = self._reactor.now()
        if not self._flushing:
            self._flushing = True
            self._reactor.loop.call_soon(self._flush)
        if self._left is not None:
            self._left -= 1
            if not self._left:
                self.stop()
                self._reactor.stop()

    def stop(self) -> None:
        """Print nothing more."""
        self._ended = True

    def finish(self) -> None:
        """Raise what the command ends with, if it does not end well."""
        if self._error is None:
            self._flush()
        if self._error is not None:
            raise output_failed(self._error)
        if self._timed_out and (self._left or not self._printed):
            wanted = f"{self._left} more messages" if self._printed else "nothing"
            came = "did not come" if self._printed else "came"
            raise NoAnswer(f"{wanted} {came} within {self._timeout:g} s")

    def _flush(self) -> None:
        self._flushing = False
        try:
            self._out.flush()
        except OSError as error:
            self._fail(error)

    def _fail(self, error: OSError) -> None:
        """Nobody reads any more, or the disk is full: end, and let click say so or be quiet."""
        self._error = self._error or error
        self.stop()
        if self._reactor is not None:
            self._reactor.stop()

    def _watch(self) -> None:
        if self._timeout is None or self._reactor is None:
            return
        due = self._last + self._timeout
        if self._reactor.now() < due:
            self._timer = self._reactor.call_at(due, self._watch)
        else:
            self._timed_out = True
            self.stop()
            self._reactor.stop()


def _as_text(verbose: bool) -> Callable[[list[bytes]], bytes]:
    """A line: the frames with " | " between them, the topic and a space in front if wanted."""

    def formatted(frames: list[bytes]) -> bytes:
        body = " | ".join(map(printable, frames[1:]))
        return f"{printable(frames[0])} {body}\n".encode() if verbose else f"{body}\n".encode()

    return formatted


def _as_json(verbose: bool) -> Callable[[list[bytes]], bytes]:
    """An object a line: topic and frames; a frame that is no UTF-8 is {"hex": "..."}."""

    def formatted(frames: list[bytes]) -> bytes:
        message = {"topic": _json_text(frames[0]), "frames": [*map(_json_text, frames[1:])]}
        return json.dumps(message, ensure_ascii=False).encode() + b"\n"

    return formatted


def _as_raw(verbose: bool) -> Callable[[list[bytes]], bytes]:
    """The bytes of the frames; the topic and a space in front if wanted."""

    def formatted(frames: list[bytes]) -> bytes:
        return (frames[0] + b" " if verbose else b"") + b"".join(frames[1:])

    return formatted


def _json_text(frame: bytes) -> str | dict[str, str]:
    try:
        return frame.decode()
    except UnicodeDecodeError:
        return {"hex": frame.hex()}


_FORMATS = {"text": _as_text, "json": _as_json, "raw": _as_raw}
