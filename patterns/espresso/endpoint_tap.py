"""A tap for other processes: records on an endpoint of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import zmq

from patterns.espresso.messages import STATUS, Style, encode
from patterns.espresso.protocol import SUBSCRIBE, UNSUBSCRIBE, Filter, Record
from patterns.espresso.taps import Tap
from reactor import Policy, Stream

if TYPE_CHECKING:
    from patterns.espresso.handlers import Espresso

HIGH_WATER_MARK = 10_000
# For what libzmq has taken when the tap is closed.
_LINGER_MS = 200


class EndpointTap(Tap):
    """Publishes records on an endpoint of its own: any SUB that connects there is a reader.

    `style` says as which frames. For a reader that does not keep up, `high_water_mark` records
    wait; then records are dropped and counted, for all readers of this tap alike, so that the
    count holds for each of them: give a reader that may be slow a tap of its own. Raises ValueError
    for a mark below 1.
    """

    def __init__(
        self,
        endpoint: str,
        filter: Filter | None = None,
        *,
        style: Style = Style.RECORD,
        high_water_mark: int = HIGH_WATER_MARK,
        name: str = "",
    ) -> None:
        super().__init__(filter, name=name)
        if high_water_mark < 1:
            raise ValueError("high_water_mark is at least 1")
        self._address = endpoint
        self.style = style
        self.high_water_mark = high_water_mark
        self.subscribed: set[bytes] = set()
        self._stream: Stream | None = None
        self._espresso: Espresso | None = None

    @property
    def endpoint(self) -> str:
        """Where readers connect to, the port filled in; empty before the tap is open."""
        return self._stream.endpoint if self._stream is not None else ""

    @property
    def wants_records(self) -> bool:
        """True while anybody has subscribed to records."""
        return any(not topic.startswith(STATUS[:1]) for topic in self.subscribed)

    def open(self, espresso: Espresso) -> None:
        """Bind the endpoint (or connect, if it is marked `>`); raises EndpointError."""
        self._espresso = espresso
        self._stream = espresso.open_stream(
            zmq.XPUB,
            self._address,
            name=self.name,
            unmarked="bind",
            # NODROP: a full reader refuses, or the drops would be libzmq's, which counts none.
            options={zmq.SNDHWM: self.high_water_mark, zmq.XPUB_NODROP: 1},
            queue_limit=0,
            policy=Policy.DROP_NEWEST,
        )
        self._stream.on_message(self._on_subscription)

    def deliver(self, record: Record) -> bool:
        """Send the record to whoever wants it; count it as dropped if somebody is full."""
        stream, espresso = self._stream, self._espresso
        if stream is None or espresso is None or stream.closed:
            self.dropped += 1
            return False
        wall = espresso.wall_epoch + record.when
        if stream.send(*encode(record, self.taken, wall, self.style)):
            return True
        self.dropped += 1
        return False

    def offer(self, record: Record) -> None:
        """Deliver a record if the filter takes it and anybody reads."""
        if self.subscribed:
            super().offer(record)

    def close(self) -> None:
        """Close the endpoint; what libzmq has taken is sent while the reactor stops."""
        if self._stream is not None and not self._stream.closed:
            self._stream.close(linger_ms=_LINGER_MS)
        self._espresso = None

    def _on_subscription(self, frames: list[bytes]) -> None:
        kind, topic = frames[0][:1], frames[0][1:]
        if kind == SUBSCRIBE:
            self.subscribed.add(topic)
        elif kind == UNSUBSCRIBE:
            self.subscribed.discard(topic)
        if self._espresso is not None:
            self._espresso.update_capture()
