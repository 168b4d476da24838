"""`reactor serve snail-pub`: a publisher that stamps, so that subscribers can judge themselves."""

from __future__ import annotations

import os
from collections.abc import Iterable

import click
import zmq

from patterns.commands.endpoints import Endpoint
from patterns.commands.exit_codes import SERVER_EXIT_CODES
from patterns.commands.finite import Finite, Seconds
from patterns.commands.pub import FEED
from patterns.commands.serving import serve
from patterns.suicidal_snail import SnailPublisher
from patterns.suicidal_snail.publisher import BEAT_SECONDS, HIGH_WATER_MARK
from reactor import Handler, PeriodicHandler, Stream, StreamHandler
from reactor.endpoints import parse_endpoints

# A tick makes several messages when they are due faster than this.
_TICK_SECONDS = 0.005


@click.command("snail-pub", epilog=SERVER_EXIT_CODES)
@click.option(
    "--frontend",
    type=Endpoint(),
    help="Stamp and publish what comes from there: a publisher to connect to, or with @ an "
    "endpoint to bind. Without it, messages are made up.",
)
@click.option(
    "--backend", default=FEED, type=Endpoint(), help="The endpoint to bind for subscribers."
)
@click.option(
    "--squawks",
    type=Endpoint(),
    help="Bind there for what slow subscribers report, and log it.",
)
@click.option(
    "--publisher",
    default="",
    metavar="NAME",
    help="A name of at most 8 bytes, of its own; else it is made up.",
)
@click.option(
    "--beat", type=Seconds(), default=BEAT_SECONDS, help="Seconds between two beats, for guards."
)
@click.option(
    "--high-water-mark",
    type=click.IntRange(min=1),
    default=HIGH_WATER_MARK,
    help="Messages that may wait for one subscriber before it loses some.",
)
@click.option("--topic", default="tick", help="Of messages that are made up; their body counts.")
@click.option(
    "--rate",
    type=Finite(min=0, min_open=True, max=1e6),
    default=1000.0,
    metavar="N",
    help="So many messages a second are made up.",
)
def snail_pub(
    frontend: str | None,
    backend: str,
    squawks: str | None,
    publisher: str,
    beat: float,
    high_water_mark: int,
    topic: str,
    rate: float,
) -> None:
    """Publish with stamps, for subscribers that notice when they are too slow.

    Plain subscribers get a stamp as the last frame of every message, and may ignore it. Prints
    "ready" and the endpoints it has bound: in front, behind, for squawks. Try it in two terminals:

    \b
        reactor serve snail-pub
        reactor sub --snail 1.0
    """
    try:
        server = _SnailServer(
            backend,
            os.fsencode(publisher),
            squawks=squawks or "",
            beat_interval=beat,
            high_water_mark=high_water_mark,
        )
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    server.frontend = frontend
    server.topic = os.fsencode(topic)
    server.rate = rate
    serve(server, lambda: (*server.bound_in_front, *server.endpoints))


class _SnailServer(SnailPublisher):
    """Publishes what comes from its frontend, or what it makes up."""

    name = "snail-pub"
    frontend: str | None = None
    topic = b"tick"
    rate = 1000.0
    bound_in_front: tuple[str, ...] = ()

    def build(self) -> Iterable[Handler]:
        """Open the backend, then what messages come from."""
        handlers = list(super().build())
        if self.frontend is None:
            return [*handlers, _Source(self)]
        stream = self.open_stream(
            zmq.SUB, self.frontend, name="frontend", unmarked="connect", subscribe=(b"",)
        )
        sides = parse_endpoints([self.frontend], "connect")
        self.bound_in_front = tuple(
            real for real, (side, _) in zip(stream.endpoints, sides, strict=True) if side == "bind"
        )
        return [*handlers, _Forwarder(stream, self)]


class _Forwarder(StreamHandler):
    """Publishes every message with a stamp."""

    def __init__(self, stream: Stream, publisher: SnailPublisher) -> None:
        super().__init__(stream)
        self.publisher = publisher

    def on_message(self, frames: list[bytes]) -> None:
        """Publish it; what looks like a beat is refused."""
        try:
            self.publisher.publish(*frames)
        except ValueError as error:
            self.refuse(str(error))


class _Source(PeriodicHandler):
    """Publishes so many messages a second, whose bodies are their numbers."""

    def __init__(self, server: _SnailServer) -> None:
        super().__init__(max(_TICK_SECONDS, 1 / server.rate))
        self.server = server
        self.published = 0
        self.began = 0.0

    def on_start(self) -> None:
        """Count from now on."""
        self.began = self.reactor.now()

    def on_tick(self) -> None:
        """Publish what is due; after a pause of its own, not more than a second's worth."""
        due = int((self.reactor.now() - self.began) * self.server.rate)
        for number in range(max(self.published, due - int(self.server.rate)), due):
            self.server.publish(self.server.topic, b"%d" % (number + 1))
        self.published = due
