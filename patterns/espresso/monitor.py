"""The monitor: a tap for `reactor tap`, and the status that `reactor top` shows."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from patterns.espresso.endpoint_tap import HIGH_WATER_MARK, EndpointTap
from patterns.espresso.messages import STATUS, encode_status, printable
from patterns.espresso.protocol import Filter, Kind, Record
from patterns.espresso.tables import TOP_CAPACITY, TopTopics
from reactor import PeriodicTimer

if TYPE_CHECKING:
    from patterns.espresso.handlers import Espresso

STATUS_SECONDS = 1.0
SHOWN = 20


class Meter:
    """Turns totals and records into rates, once a period."""

    def __init__(self, capacity: int = TOP_CAPACITY) -> None:
        self.topics = TopTopics(capacity)
        self._totals = (0, 0, 0, 0)
        self._began: float | None = None

    def restart(self, totals: tuple[int, int, int, int], now: float) -> None:
        """Begin the first period."""
        self.topics.clear()
        self._totals, self._began = totals, now

    def report(
        self, totals: tuple[int, int, int, int], now: float, limit: int = SHOWN
    ) -> dict[str, Any]:
        """Return the rates of the period that ends now, and begin the next."""
        seconds = now - (now if self._began is None else self._began)
        names = ("frames_down", "bytes_down", "frames_up", "bytes_up")
        past = zip(names, totals, self._totals, strict=True)
        report = {
            "seconds": round(seconds, 3),
            "rates": {name: (new - old) / seconds if seconds else 0.0 for name, new, old in past},
            "top": [
                {
                    "topic": printable(entry.topic),
                    "rate": entry.rate,
                    "byte_rate": entry.byte_rate,
                    "error": entry.error,
                }
                for entry in self.topics.rates(seconds, limit)
            ],
        }
        self.restart(totals, now)
        return report


class MonitorTap(EndpointTap):
    """An endpoint with every record, and once a second the status, for those who subscribe.

    While nobody does, it costs nothing and nothing is captured.
    """

    def __init__(
        self,
        endpoint: str,
        filter: Filter | None = None,
        *,
        interval: float = STATUS_SECONDS,
        high_water_mark: int = HIGH_WATER_MARK,
        name: str = "monitor",
    ) -> None:
        super().__init__(filter=filter, endpoint=endpoint, high_water_mark=high_water_mark)
        self.name = name
        self.interval = interval
        self._meter = Meter()
        self._metering = False
        self._timer: PeriodicTimer | None = None

    @property
    def wants_records(self) -> bool:
        """True while anybody has subscribed to records, or to the status, which counts them."""
        return bool(self.subscribed)

    @property
    def wants_status(self) -> bool:
        """True while anybody has subscribed to the status."""
        return any(STATUS.startswith(t) or t.startswith(STATUS) for t in self.subscribed)

    def open(self, espresso: Espresso) -> None:
        """Bind, and tell the status every `interval` seconds."""
        super().open(espresso)
        self._timer = espresso.reactor.periodic(self.interval, self._tell)

    def offer(self, record: Record) -> None:
        """Count the record's topic, and deliver it if anybody wants records."""
        if self._metering and record.kind is Kind.MESSAGE:
            self._meter.topics.add(record.frames[0], record.size)
        if super().wants_records:
            super().offer(record)

    def close(self) -> None:
        """Close the endpoint."""
        if self._timer is not None:
            self._timer.cancel()
        super().close()

    def _tell(self) -> None:
        espresso, stream = self._espresso, self._stream
        if espresso is None or stream is None or stream.closed:
            return
        espresso.request_totals()
        now = espresso.reactor.now()
        if not self.wants_status:
            self._metering = False
        elif not self._metering:
            self._metering = True
            self._meter.restart(espresso.totals, now)
        else:
            status = espresso.status() | self._meter.report(espresso.totals, now)
            stream.send(*encode_status(status))


def status_of(espresso: Espresso, limit: int = SHOWN) -> dict[str, Any]:
    """Return what there is to tell about an espresso at this moment, fit for JSON."""
    statistics = espresso.statistics()
    return {
        "wall": espresso.wall_epoch + espresso.reactor.now(),
        "paused": espresso.paused,
        "pump": espresso.pump,
        "totals": espresso.totals._asdict(),
        "captured_frames": statistics.captured_frames,
        "lost_frames": statistics.lost_frames,
        "subscription_count": len(espresso.subscriptions),
        "subscriptions": [
            {"topic": printable(topic), "subscribers": subscribers}
            for topic, subscribers in espresso.subscriptions.items(limit)
        ],
        "taps": [asdict(tap.statistics()) for tap in espresso.taps],
    }
