"""Espresso: the pump between publishers and subscribers, and the taps on it."""

from __future__ import annotations

from asyncio import CancelledError
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from patterns.espresso.account import Totals
from patterns.espresso.monitor import MonitorTap, status_of
from patterns.espresso.protocol import Record, Redact
from patterns.espresso.proxy_sockets import steerable
from patterns.espresso.pumping import LoopPump, Pump, PumpSettings
from patterns.espresso.tables import MAX_SUBSCRIPTIONS, SubscriptionTable
from patterns.espresso.taps import Tap, TapStatistics
from patterns.espresso.thread_pump import ThreadPump
from reactor import Handler, HandlerSet, HandlerStatistics, ReactorError
from reactor.channels import ZmqNetwork
from reactor.errors import as_exception

FRONTEND = "tcp://127.0.0.1:6000"
BACKEND = "tcp://127.0.0.1:6001"
MONITOR = "tcp://127.0.0.1:6002"

HIGH_WATER_MARK = 10_000
# Enough for 50 ms of 200,000 messages a second. A longer queue holds no more in the end when the
# loop is too slow, and costs the traffic speed: the messages fall out of the processor's cache.
CAPTURE_LIMIT = 10_000

THREAD, LOOP = "thread", "loop"


@dataclass(frozen=True, slots=True)
class EspressoStatistics(HandlerStatistics):
    """What has passed, and what was seen of it."""

    frames_down: int
    bytes_down: int
    frames_up: int
    bytes_up: int
    captured_frames: int
    lost_frames: int
    records: int
    redacted: int  # records that the redaction hook withheld
    redaction_errors: int  # and those withheld because it raised
    subscriptions: int
    subscriptions_refused: int
    taps: tuple[TapStatistics, ...]


class Espresso(HandlerSet):
    """Forwards between publishers and subscribers, both ways, and lets taps see what passes.

    `frontend` (XSUB) connects to publishers unless it is marked `@`, `backend` (XPUB) binds for
    subscribers unless it is marked `>`; either may name several endpoints, separated by commas.
    At most `high_water_mark` messages wait for one subscriber, and `capture_limit` for the taps.
    `redact(record)` is called before any tap: what it returns is what taps see; with None, or when
    it raises, none sees anything of it. `monitor` is an endpoint for `reactor tap` and `top`.

    `pump="thread"` lets libzmq move the messages, which no tap can slow, and whose records are
    the loop's best effort; `"loop"` moves them on the loop, with a record of each. Where libzmq
    has no steerable proxy, and on a fake network, it is the loop. With `count_subscribers=False`
    the table has 1 for every topic, and a socket that subscribes twice is forwarded exactly.

    Raises ValueError for settings that make no sense.
    """

    name = "Espresso"

    def __init__(
        self,
        *,
        frontend: str = FRONTEND,
        backend: str = BACKEND,
        monitor: str | None = None,
        taps: Iterable[Tap] = (),
        redact: Redact | None = None,
        pump: str = THREAD,
        high_water_mark: int = HIGH_WATER_MARK,
        capture_limit: int = CAPTURE_LIMIT,
        max_subscriptions: int = MAX_SUBSCRIPTIONS,
        count_subscribers: bool = True,
        wall_clock: Callable[[], float] = lambda: datetime.now(UTC).timestamp(),
    ) -> None:
        super().__init__()
        if high_water_mark < 1 or capture_limit < 2:
            raise ValueError("high_water_mark is at least 1, capture_limit at least 2")
        if pump not in (THREAD, LOOP):
            raise ValueError(f"pump is {THREAD!r} or {LOOP!r}, not {pump!r}")
        self.pump = pump
        self.redact = redact
        self.subscriptions = SubscriptionTable(max_subscriptions)
        """Who subscribes to what, now."""
        self.taps: tuple[Tap, ...] = ()
        self.wall_epoch = 0.0
        """The time of day (Unix, seconds) of instant 0 of the reactor's time, set once a start."""
        self.records = self.redacted = self.redaction_errors = 0
        self._given_taps = (*([MonitorTap(monitor)] if monitor else []), *taps)
        self._settings = PumpSettings(
            frontend, backend, high_water_mark, capture_limit, count_subscribers
        )
        self._wall_clock = wall_clock
        self._pump: Pump | None = None
        self._open_taps: list[tuple[Tap, Callable[[Record], None]]] = []

    def build(self) -> Iterable[Handler]:
        """Open the endpoints; taps are opened when messages can pass."""
        self.wall_epoch = self._wall_clock() - self.reactor.now()
        self.subscriptions.clear()
        pump = self._choose_pump()
        self._pump = pump
        self._paused = False
        return [pump]

    def on_start(self) -> None:
        """Open the taps that the constructor was given."""
        try:
            for tap in self._given_taps:
                self.add_tap(tap)
        except BaseException:
            self._close_taps()
            raise

    async def on_stop(self) -> None:
        """Move what has come so far, let the taps see it, and close them."""
        if self._pump is not None:
            await self._pump.finish(self.reactor.stop_timeout / 3)
        self._close_taps()

    def _close_taps(self) -> None:
        for tap in self.taps:
            tap.close()
        self._open_taps.clear()

    def _choose_pump(self) -> LoopPump | ThreadPump:
        if self.pump == THREAD and not isinstance(self.reactor.network, ZmqNetwork):
            self.pump = LOOP
        if self.pump == THREAD and not steerable():
            self.log.warning("libzmq has no steerable proxy: the loop forwards")
            self.pump = LOOP
        choose = ThreadPump if self.pump == THREAD else LoopPump
        return choose(self._settings, self.subscriptions, self._take)

    # Steering

    @property
    def bound_endpoints(self) -> tuple[str, ...]:
        """What others can connect to, with the ports that were bound: frontend, then backend."""
        return self._running_pump().bound_endpoints

    def add_tap(self, tap: Tap) -> None:
        """Let a tap see what passes from now on; raises what its `open` raises."""
        if tap in self.taps:
            raise ReactorError(f"{tap.name} is added already")
        tap.open(self)
        self.taps += (tap,)
        self.update_capture()

    def remove_tap(self, tap: Tap) -> None:
        """Let a tap see nothing more, and close it; raises ReactorError for one not added."""
        if tap not in self.taps:
            raise ReactorError(f"{tap.name} is not added here")
        self.taps = tuple(other for other in self.taps if other is not tap)
        self.update_capture()
        tap.close()

    def update_capture(self) -> None:
        """Capture if any tap wants records: called when what they want may have changed."""
        wanting = [tap for tap in self.taps if tap.wants_records]
        self._open_taps = [(tap, tap.offer) for tap in wanting]
        self._running_pump().set_capture(bool(wanting))

    def pause(self) -> None:
        """Forward nothing from within a millisecond on; libzmq keeps what comes, to its marks."""
        self._running_pump().pause()
        self._paused = True

    def resume(self) -> None:
        """Forward again, what has waited first."""
        self._running_pump().resume()
        self._paused = False

    @property
    def paused(self) -> bool:
        """True from `pause` to `resume`."""
        return self._paused

    _paused = False

    # Looking

    @property
    def totals(self) -> Totals:
        """What has passed, as known; `request_totals` brings it up to date."""
        return Totals() if self._pump is None else self._pump.totals

    def request_totals(self) -> None:
        """Bring `totals` and `lost_frames` up to date, within a few turns of the loop."""
        self._running_pump().request_totals()

    def status(self) -> dict[str, Any]:
        """Return totals, the table of subscriptions and the taps, fit for JSON."""
        return status_of(self)

    def statistics(self) -> EspressoStatistics:
        """Return a frozen snapshot of what has passed and what was seen of it."""
        common = super().statistics()
        totals, pump = self.totals, self._pump
        return EspressoStatistics(
            name=common.name,
            errors=common.errors,
            refused=common.refused,
            **totals._asdict(),
            captured_frames=pump.captured_frames if pump else 0,
            lost_frames=pump.lost_frames if pump else 0,
            records=self.records,
            redacted=self.redacted,
            redaction_errors=self.redaction_errors,
            subscriptions=len(self.subscriptions),
            subscriptions_refused=self.subscriptions.refused,
            taps=tuple(tap.statistics() for tap in self.taps),
        )

    def tap_failed(self, tap: Tap, error: Exception) -> None:
        """Log what a tap raised, and count it: the traffic and the other taps go on."""
        self.errors += 1
        self.log.error("tap failed", tap=tap.name, exc_info=error)

    def _running_pump(self) -> Pump:
        if self._pump is None:
            raise ReactorError("the espresso is not started")
        return self._pump

    def _take(self, record: Record) -> None:
        """Show one record to the taps; called for everything that is captured."""
        self.records += 1
        if self.redact is not None:
            redacted = self._redacted(record)
            if redacted is None:
                return
            record = redacted
        for tap, offer in self._open_taps:
            try:
                offer(record)
            except (Exception, CancelledError) as error:
                tap.dropped += 1
                self.tap_failed(tap, as_exception(error))

    def _redacted(self, record: Record) -> Record | None:
        """Return what the taps may see; nothing, if the hook does not say."""
        assert self.redact is not None
        try:
            redacted = self.redact(record)
        except (Exception, CancelledError) as error:
            self.redaction_errors += 1
            if self.redaction_errors == 1:  # what it does once, it does a million times
                self.log.error("redaction failed: its records are withheld", exc_info=error)
            return None
        if redacted is None:
            self.redacted += 1
        return redacted
