"""The wiring of a check: a DEALER for each request, one SUB, and an XPUB that writes."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable

import zmq

from patterns.clone.alarm import Alarm
from patterns.clone.conformance.protocol import (
    Ask,
    ConformanceProtocol,
    Effect,
    Finish,
    Report,
    Write,
    WriteByPush,
)
from patterns.clone.messages import HUGZ, Frames
from patterns.clone.ports import collector_of, publisher_of
from reactor import Handler, HandlerSet, Stream, StreamHandler

_HWM = 100_000


class ConformanceCheck(HandlerSet):
    """Checks the server whose snapshot port is `endpoint`, and stops the reactor when it is done.

    Its keys begin with /chp-check/ and a random word; all are deleted at the end, also if the
    reactor is stopped before. `timeout` is how many seconds the server may take for one answer.
    With `gentle`, nothing is sent that could end a server which trusts its peers.
    """

    def __init__(
        self,
        endpoint: str,
        *,
        timeout: float = 5.0,
        gentle: bool = False,
        make_uuid: Callable[[], bytes] = lambda: uuid.uuid4().bytes,
    ) -> None:
        super().__init__()
        collector_of(endpoint)  # a wrong endpoint is told here
        self.endpoint = endpoint
        self.prefix = b"/chp-check/%s/" % make_uuid().hex()[:12].encode()
        self.protocol = ConformanceProtocol(
            self.prefix, make_uuid=make_uuid, timeout=timeout, gentle=gentle
        )
        self._requests: dict[int, Stream] = {}

    def report(self) -> Report:
        """What has been found so far."""
        return self.protocol.report()

    def build(self) -> Iterable[Handler]:
        """Open the subscriber and the writer; requests get their sockets one by one."""
        self._alarm = Alarm(self.reactor, self._tick, self._hook_failed)
        publications = self.open_stream(
            zmq.SUB,
            publisher_of(self.endpoint),
            name="updates",
            unmarked="connect",
            subscribe=(self.prefix, HUGZ),
            options={zmq.RCVHWM: _HWM},
        )
        self._writer = self.open_stream(
            zmq.XPUB,
            collector_of(self.endpoint),
            name="writer",
            unmarked="connect",
            options={zmq.XPUB_NODROP: 1},
        )
        return [_Listener(publications, self), _Writer(self._writer, self)]

    def on_start(self) -> None:
        """Ask for the first snapshot."""
        self.carry_out(self.protocol.start(self.reactor.now()))

    def on_stop(self) -> None:
        """Leave nothing behind."""
        self._alarm.cancel()
        for frames in self.protocol.leftovers():
            self._writer.send(*frames)

    def carry_out(self, effects: list[Effect]) -> None:
        """Do what the rules say, in their order, at once."""
        for effect in effects:
            match effect:
                case Ask(request, frames):
                    self._ask(request, frames)
                case Write(frames):
                    self._writer.send(*frames)
                case WriteByPush():
                    self._write_by_push()
                case Finish():
                    self.reactor.stop()
        if self.protocol.deadline is not None:
            self._alarm.at(self.protocol.deadline)

    def _tick(self) -> None:
        self.carry_out(self.protocol.tick(self.reactor.now()))

    def _ask(self, request: int, frames: Frames) -> None:
        stream = self.open_stream(
            zmq.DEALER,
            self.endpoint,
            name=f"request-{request}",
            unmarked="connect",
            options={zmq.RCVHWM: _HWM},
        )
        stream.on_error = self._hook_failed
        stream.on_message(
            lambda frames: self.carry_out(
                self.protocol.receive_snapshot(frames, request, self.reactor.now())
            )
        )
        stream.send(*frames)

    def _write_by_push(self) -> None:
        self._writer.close()
        self._writer = self.open_stream(
            zmq.PUSH, collector_of(self.endpoint), name="push", unmarked="connect"
        )


class _Listener(StreamHandler):
    """Hears whatever the server publishes below the check's prefix, and HUGZ."""

    def __init__(self, stream: Stream, check: ConformanceCheck) -> None:
        super().__init__(stream)
        self.name = stream.name
        self._check = check

    def on_message(self, frames: list[bytes]) -> None:
        check = self._check
        check.carry_out(check.protocol.receive_published(frames, check.reactor.now()))


class _Writer(StreamHandler):
    """Hears when the collector subscribes."""

    def __init__(self, stream: Stream, check: ConformanceCheck) -> None:
        super().__init__(stream)
        self.name = stream.name
        self._check = check

    def on_message(self, frames: list[bytes]) -> None:
        if frames[0][:1] == b"\1":
            check = self._check
            check.carry_out(check.protocol.receive_writable(check.reactor.now()))
