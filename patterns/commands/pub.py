"""`reactor pub`: publish one message, lines or files, as a plain ZeroMQ publisher."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, BinaryIO, TypeVar

import click
import zmq

from patterns.commands.endpoints import Endpoint
from patterns.commands.exit_codes import NoAnswer
from patterns.commands.finite import Finite, Seconds
from patterns.commands.lines import read_lines
from patterns.commands.logs import log_to_stderr
from patterns.commands.output import start_failed
from reactor import Policy, Reactor, ReactorError, Stream, StreamHandler
from reactor.endpoints import Side, parse_endpoints

F = TypeVar("F", bound=Callable[..., Any])

FEED = "tcp://127.0.0.1:5557"
_MARKS: dict[Side, str] = {"bind": "@", "connect": ">"}
EXIT_CODES = "Exit codes: 0 sent, 1 failed, 2 wrong usage, 3 nobody subscribed in time."
# An XPUB that may not drop does not say when a subscriber has room again.
_RETRY_SECONDS = 0.001
_BURST_MESSAGES = 100


def endpoint_options(command: F) -> F:
    """Give a command the options `bind` and `connect`."""
    for name, verb in (("--connect", "Connect to"), ("--bind", "Bind")):
        command = click.option(
            name, multiple=True, type=Endpoint(), help=f"{verb} ENDPOINT; may be repeated."
        )(command)
    return command


def endpoints_of(bind: Sequence[str], connect: Sequence[str], default: str) -> list[str]:
    """Return the endpoints with their marks; raises click.UsageError for a mark that differs."""
    options: tuple[tuple[Side, Sequence[str]], ...] = (("bind", bind), ("connect", connect))
    marked = []
    for wanted, given in options:
        for side, endpoint in parse_endpoints(given, wanted):
            if side != wanted:
                raise click.UsageError(f"--{wanted} {endpoint}: its mark says {side}")
            marked.append(f"{_MARKS[side]}{endpoint}")
    return marked or [default]


def tell_bound(stream: Stream, endpoints: Sequence[str]) -> None:
    """Say on standard error which ports the system has chosen."""
    for asked, real in zip(endpoints, stream.endpoints, strict=False):
        if asked.endswith(":*"):
            click.echo(f"bound {real}", err=True)


@click.command(epilog=EXIT_CODES)
@click.argument("topic")
@click.argument("body", required=False)
@click.option(
    "--file",
    "files",
    multiple=True,
    type=click.File("rb"),
    help="Send the content of a file as one message; - is all of standard input. May be repeated.",
)
@click.option(
    "--count",
    type=click.IntRange(min=1),
    metavar="N",
    help="Send N messages: BODY or the files again and again, or so many lines; else all once.",
)
@click.option(
    "--rate",
    type=Finite(min=0, min_open=True),
    metavar="N",
    help="At most N messages a second.",
)
@endpoint_options
@click.option(
    "--timeout",
    type=Seconds(),
    default=5.0,
    metavar="SECONDS",
    help="How long to wait for a subscriber, and for one that takes nothing any more.",
)
@click.option(
    "--wait/--no-wait", default=True, help="Send nothing before somebody has subscribed to TOPIC."
)
def pub(
    topic: str,
    body: str | None,
    files: tuple[BinaryIO, ...],
    count: int | None,
    rate: float | None,
    bind: tuple[str, ...],
    connect: tuple[str, ...],
    timeout: float,
    wait: bool,
) -> None:
    """Publish BODY under TOPIC; without BODY, a message for each line of standard input.

    A message has two frames, TOPIC and the body. It binds tcp://127.0.0.1:5557 unless --bind or
    --connect say else, waits until somebody has subscribed to TOPIC, sends as fast as
    the subscribers take it, and loses nothing for those who are there.

    \b
        reactor pub weather "21 degrees"
        seq 1000 | reactor pub numbers --rate 100
        reactor pub picture --file a.png --connect tcp://127.0.0.1:5559
    """
    if body is not None and files:
        raise click.UsageError("either BODY or --file")
    endpoints = endpoints_of(bind, connect, f"@{FEED}")
    log_to_stderr("warning")
    bodies = _bodies(body, files, count)
    sender = _Sender(os.fsencode(topic), rate, timeout)
    try:
        asyncio.run(sender.run(endpoints, bodies, wait))
    except ReactorError as error:
        raise start_failed(error) from error


class _Sender:
    """Sends messages under one topic, at most `rate` a second, and never more than is taken."""

    def __init__(self, topic: bytes, rate: float | None, timeout: float) -> None:
        self.topic = topic
        self.pause = 1 / rate if rate else 0.0
        self.timeout = timeout

    async def run(self, endpoints: list[str], bodies: AsyncIterator[bytes], wait: bool) -> None:
        """Send all, once somebody has subscribed; raises NoAnswer when nobody does in time."""
        async with Reactor(stop_timeout=self.timeout) as reactor:
            stream = reactor.open_stream(
                zmq.XPUB,
                *endpoints,
                name="pub",
                # The sender waits for room itself, so that a failure can be told.
                options={zmq.XPUB_NODROP: 1, zmq.XPUB_VERBOSE: 1},
                policy=Policy.ERROR,
            )
            tell_bound(stream, endpoints)
            subscriptions = _Subscriptions(stream, self.topic)
            reactor.register(subscriptions)
            if wait:
                await self._wait(subscriptions)
            await self._send_all(stream, bodies)

    async def _wait(self, subscriptions: _Subscriptions) -> None:
        try:
            async with asyncio.timeout(self.timeout):
                await subscriptions.wanted.wait()
        except TimeoutError:
            where = ", ".join(subscriptions.stream.endpoints)
            raise NoAnswer(f"nobody has subscribed at {where} within {self.timeout:g} s") from None

    async def _send_all(self, stream: Stream, bodies: AsyncIterator[bytes]) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        sent = 0
        async for body in bodies:
            if self.pause:
                await asyncio.sleep(max(0.0, due - loop.time()))
                due = max(due + self.pause, loop.time() - 1.0)  # catch up a second, not more
            elif sent % _BURST_MESSAGES == 0:
                await asyncio.sleep(0)  # the loop lives on
            if not stream.try_send(self.topic, body):
                await self._send_later(stream, body)
            sent += 1

    async def _send_later(self, stream: Stream, body: bytes) -> None:
        """Try again until it is taken; raises NoAnswer when nothing is for too long."""
        deadline = asyncio.get_running_loop().time() + self.timeout
        while not stream.try_send(self.topic, body):
            if asyncio.get_running_loop().time() > deadline:
                raise NoAnswer(f"a subscriber has taken nothing for {self.timeout:g} s")
            await asyncio.sleep(_RETRY_SECONDS)


class _Subscriptions(StreamHandler):
    """Knows when somebody wants the topic."""

    def __init__(self, stream: Stream, topic: bytes) -> None:
        super().__init__(stream)
        self.topic = topic
        self.wanted = asyncio.Event()

    def on_message(self, frames: list[bytes]) -> None:
        """A subscription: b"\\x01" and a prefix."""
        event = frames[0]
        if event[:1] == b"\x01" and self.topic.startswith(event[1:]):
            self.wanted.set()


# What is sent


async def _bodies(
    body: str | None, files: Sequence[BinaryIO], count: int | None
) -> AsyncIterator[bytes]:
    if body is None and not files:
        sent = 0
        async for line in read_lines(sys.stdin.buffer):
            yield line
            sent += 1
            if sent == count:
                return
        return
    contents = [os.fsencode(body)] if body is not None else [file.read() for file in files]
    for number in range(len(contents) if count is None else count):
        yield contents[number % len(contents)]
