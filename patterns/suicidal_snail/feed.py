"""What comes to a subscriber: messages without their stamps to its hook, stamps to its judge."""

from __future__ import annotations

from asyncio import CancelledError
from inspect import isawaitable
from typing import Protocol

from patterns.suicidal_snail.messages import BEAT_TOPIC, STAMP_MAGIC, MalformedMessage
from reactor import PeriodicHandler, Stream, StreamHandler
from reactor.errors import as_exception
from reactor.handlers import Hook

_AFTER_STAMPS = STAMP_MAGIC[:-1] + bytes([STAMP_MAGIC[-1] + 1])


class Subscriber(Protocol):
    """Whose feed it is."""

    name: str
    stamps: list[bytes]

    def on_message(self, frames: list[bytes]) -> Hook:
        """One message came, without its stamp."""

    def judge_stamps(self) -> None:
        """What came together was delivered: judge it."""

    def receive_beat(self, topic: bytes, frame: bytes) -> None:
        """A beat came."""

    def receive_unstamped(self) -> None:
        """A message without a stamp came."""

    def tick(self) -> None:
        """Time has passed."""


class Feed(StreamHandler):
    """Takes the stamps off and puts them aside, to be judged at the end of the batch."""

    peer_errors = (MalformedMessage,)

    def __init__(self, stream: Stream, subscriber: Subscriber) -> None:
        super().__init__(stream)
        self.name = f"{subscriber.name}.feed"
        self._subscriber = subscriber
        self._deliver = subscriber.on_message
        self._stamps = subscriber.stamps

    def on_batch(self, messages: list[list[bytes]]) -> int:
        """Messages came, stamped as a rule: deliver them one by one, and judge them together.

        This is what the guard costs: 1.1 x the CPU time of a StreamHandler that counts. A call for
        each message, judged once a turn of the loop, made that 1.17; the asking whether the turn is
        over is half of what is left, and keeps timers alive under a hook that takes its time.
        """
        stream, deliver, stamps = self.stream, self._deliver, self._stamps
        turn_is_over = stream.turn_is_over
        taken = 0
        for frames in messages:
            taken += 1
            waiting = None
            try:
                stamp = frames.pop()
                # As `stamp.startswith(STAMP_MAGIC)`, in a third of its time.
                if STAMP_MAGIC <= stamp < _AFTER_STAMPS and frames:
                    stamps.append(stamp)
                    waiting = deliver(frames)
                else:
                    frames.append(stamp)
                    waiting = self._receive_other(frames)
            except (Exception, CancelledError) as error:
                self._hook_failed(as_exception(error))
            if waiting is not None and isawaitable(waiting):
                stream.hold_until_done(waiting)
            if turn_is_over():
                break
        self._judge()
        return taken

    def replace_stream(self, stream: Stream) -> None:
        """Close the stream and whatever waits in it, and go on with another one."""
        self.stream.close()
        self.stream = stream
        self._begin()

    def _receive_other(self, frames: list[bytes]) -> Hook:
        if len(frames) == 2 and frames[0].startswith(BEAT_TOPIC):
            self._subscriber.receive_beat(*frames)
            return None
        self._subscriber.receive_unstamped()
        return self._deliver(frames)

    def _judge(self) -> None:
        if self.stream.closed:
            return
        try:
            self._subscriber.judge_stamps()
        except Exception as error:
            self._hook_failed(error)


class Ticker(PeriodicHandler):
    """Tells the subscriber that time passes."""

    def __init__(self, interval: float, subscriber: Subscriber) -> None:
        super().__init__(interval)
        self.name = f"{subscriber.name}.ticker"
        self._subscriber = subscriber

    def on_tick(self) -> None:
        """Judge what time has brought."""
        self._subscriber.tick()
