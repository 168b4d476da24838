"""Taps on an Espresso of the fake network: bounded, counted, and never in the way."""

import asyncio

import pytest
import zmq

from patterns.espresso import (
    EndpointTap,
    Espresso,
    FileTap,
    Filter,
    HandlerTap,
    Kind,
    MonitorTap,
    Reader,
    Style,
    Tap,
)
from patterns.espresso.messages import decode, decode_status
from reactor import ReactorError

FRONT, BACK, TAP = "tcp://front:1", "tcp://back:1", "tcp://tap:1"
WALL = 1.5e9


class Rig:
    """An Espresso between one publisher and one subscriber of everything."""

    def __init__(self, reactor, **options):
        self.reactor = reactor
        self.loop = reactor.loop
        self.espresso = Espresso(
            frontend=f"@{FRONT}", backend=BACK, wall_clock=lambda: WALL, **options
        )
        reactor.register(self.espresso)
        self.publisher = reactor.open_stream(zmq.PUB, f">{FRONT}", queue_limit=100_000)
        self.subscriber = reactor.open_stream(zmq.SUB, f">{BACK}", options={zmq.RCVHWM: 0})
        self.arrived = []
        self.subscriber.on_message(self.arrived.append)
        self.subscriber.subscribe(b"")
        self.loop.run_pending()

    def publish(self, *topics):
        for topic in topics:
            self.publisher.send(topic, b"body")
            self.loop.run_pending()


@pytest.fixture
def rig(fake_reactor):
    return lambda **options: Rig(fake_reactor, **options)


def connect(rig, endpoint, *prefixes, hwm=1000):
    stream = rig.reactor.open_stream(
        zmq.SUB, f">{endpoint}", subscribe=prefixes, options={zmq.RCVHWM: hwm}
    )
    got = []
    stream.on_message(got.append)
    rig.loop.run_pending()
    return stream, got


def test_a_tap_sees_what_passes_in_order(rig):
    seen = []
    r = rig(taps=[HandlerTap(seen.append)])
    r.loop.advance(1.0)
    r.publish(b"A", b"B")
    assert [(x.kind, x.frames) for x in seen] == [
        (Kind.SUBSCRIBE, (b"\x01",)),
        (Kind.MESSAGE, (b"A", b"body")),
        (Kind.MESSAGE, (b"B", b"body")),
    ]
    assert [x.when for x in seen] == [0.0, 1.0, 1.0]
    assert r.arrived == [[b"A", b"body"], [b"B", b"body"]]


def test_taps_come_and_go_while_it_runs(rig):
    r = rig()
    first, second = [], []
    tap = HandlerTap(first.append)
    r.publish(b"A")
    r.espresso.add_tap(tap)
    r.publish(b"B")
    r.espresso.add_tap(HandlerTap(second.append, Filter(prefix=b"C")))
    r.publish(b"C", b"D")
    r.espresso.remove_tap(tap)
    r.publish(b"C")
    assert [x.topic for x in first] == [b"B", b"C", b"D"]
    assert [x.topic for x in second] == [b"C", b"C"]
    assert len(r.arrived) == 5
    with pytest.raises(ReactorError):
        r.espresso.remove_tap(tap)


def test_nothing_is_recorded_while_no_tap_wants_it(rig):
    r = rig()
    tap = EndpointTap(TAP)
    r.espresso.add_tap(tap)
    r.publish(b"A")
    assert r.espresso.statistics().records == 0
    stream, got = connect(r, TAP, b"")
    r.publish(b"B")
    stream.close()
    r.loop.run_pending()
    r.publish(b"C")
    assert [decode(frames).frames[0] for frames in got] == [b"B"]
    assert r.espresso.statistics().records == 1


def test_a_full_queue_drops_and_counts(rig):
    async def never(record):
        await asyncio.Event().wait()

    tap = HandlerTap(never, queue_limit=3)
    r = rig(taps=[tap])
    r.publish(*[b"A"] * 20)
    counted = tap.statistics()
    assert len(r.arrived) == 20
    assert (counted.matched, counted.delivered, counted.waiting, counted.dropped) == (21, 1, 3, 17)
    tap.close()
    assert tap.statistics().dropped == 20


@pytest.mark.parametrize("error", [ValueError, asyncio.CancelledError])
@pytest.mark.parametrize("coroutine", [False, True])
def test_a_callback_that_raises_disturbs_nobody(rig, error, coroutine):
    """Nor itself: a CancelledError is that of something it has asked."""
    seen = []

    def fails(record):
        raise error("no")

    async def fails_later(record):
        fails(record)

    r = rig(taps=[HandlerTap(fails_later if coroutine else fails), HandlerTap(seen.append)])
    r.publish(b"A", b"B")
    assert len(seen) == 3
    assert len(r.arrived) == 2
    counted = r.espresso.statistics()
    assert counted.errors == counted.taps[0].delivered == 3


def test_a_tap_of_ones_own_that_raises_disturbs_nobody_and_is_counted(rig):
    class Fails(Tap):
        def deliver(self, record):
            raise ValueError("no")

    seen = []
    r = rig(taps=[Fails(), HandlerTap(seen.append)])
    r.publish(b"A", b"B")
    assert (len(seen), len(r.arrived)) == (3, 2)
    counted = r.espresso.statistics()
    assert counted.errors == 3
    assert (counted.taps[0].matched, counted.taps[0].delivered, counted.taps[0].dropped) == (
        3,
        0,
        3,
    )


def test_an_endpoint_drops_what_a_stopped_reader_cannot_hold_and_counts_it(rig):
    tap = EndpointTap(TAP, Filter(prefix=b"A"), high_water_mark=5)
    r = rig(taps=[tap])
    stream, got = connect(r, TAP, b">", hwm=5)
    stream.pause()
    r.publish(*[b"A"] * 50)
    counted = tap.statistics()
    assert len(r.arrived) == 50
    assert counted.matched == 50
    assert counted.delivered + counted.dropped == 50
    assert counted.dropped >= 39
    stream.resume()
    r.loop.run_pending()
    assert len(got) == counted.delivered
    assert [decode(frames).sequence for frames in got] == list(range(1, counted.delivered + 1))


def test_the_holes_in_the_sequence_are_what_was_dropped(rig):
    tap = EndpointTap(TAP, high_water_mark=2)
    r = rig(taps=[tap])
    stream, got = connect(r, TAP, b"", hwm=2)
    stream.pause()
    r.publish(*[b"A"] * 10)
    stream.resume()
    r.loop.advance(1.0)
    r.publish(b"B")
    sequences = [decode(frames).sequence for frames in got]
    assert sequences[-1] == 11
    assert sequences[-1] - len(sequences) == tap.dropped > 0


@pytest.mark.parametrize(
    ("style", "frames"),
    [
        (Style.PLAIN, [b"A", b"body"]),
        (Style.PREFIXED, [b"pub", b"A", b"body"]),
    ],
)
def test_esp_5_a_tap_may_look_like_zmq_proxy_or_monitored_queue(rig, style, frames):
    r = rig(taps=[EndpointTap(TAP, style=style)])
    _, got = connect(r, TAP, b"")
    r.publish(b"A")
    assert got == [frames]


def test_redaction_comes_before_every_tap(rig):
    seen = []

    def hide(record):
        if record.topic == b"secret":
            return None
        return record._replace(frames=(record.frames[0], b"***"))

    r = rig(redact=hide, taps=[HandlerTap(seen.append, Filter(prefix=b"A"))])
    r.publish(b"A", b"secret")
    assert [x.frames for x in seen] == [(b"A", b"***")]
    assert r.arrived == [[b"A", b"body"], [b"secret", b"body"]]
    assert r.espresso.statistics().redacted == 1


def test_what_redaction_fails_on_is_withheld(rig):
    seen = []

    def fails(record):
        raise KeyError(record.topic)

    r = rig(redact=fails, taps=[HandlerTap(seen.append)])
    r.publish(b"A")
    assert seen == []
    assert r.arrived == [[b"A", b"body"]]
    assert r.espresso.statistics().redaction_errors == 2


def test_a_file_holds_what_passed(rig, tmp_path):
    path = tmp_path / "a.esp"
    r = rig(taps=[FileTap(path)])
    r.loop.advance(2.0)
    r.publish(b"A")
    r.espresso.remove_tap(r.espresso.taps[0])
    with open(path, "rb") as file:
        reader = Reader(file.read)
        entries = list(reader)
    assert [(e.offset, e.kind) for e in entries] == [(0.0, Kind.SUBSCRIBE), (2.0, Kind.MESSAGE)]
    assert reader.wall == WALL


def test_a_full_disk_ends_the_file_and_nothing_else(rig):
    tap = FileTap("/dev/full", overwrite=True)
    r = rig(taps=[tap])
    r.publish(b"A")
    r.loop.advance(1.1)  # the flush fails
    r.publish(b"B")
    assert len(r.arrived) == 2
    assert r.espresso.statistics().errors == 1
    assert tap.dropped == 1


def test_a_tap_that_cannot_open_stops_the_start(rig, tmp_path, fake_reactor):
    path = tmp_path / "a.esp"
    path.touch()
    other = HandlerTap(print)
    with pytest.raises(FileExistsError):
        rig(taps=[other, FileTap(path)])
    assert fake_reactor.network  # and the reactor lives
    assert other._espresso is None, "closed again"


def test_the_subscriptions_are_a_table(rig):
    r = rig()
    stream, _ = connect(r, BACK, b"A", b"")
    assert r.espresso.subscriptions.items() == [(b"", 2), (b"A", 1)]
    stream.close()
    r.loop.run_pending()
    assert r.espresso.subscriptions.items() == [(b"", 1)]


def test_a_paused_espresso_loses_nothing(rig):
    r = rig()
    r.espresso.pause()
    r.publish(b"A", b"B")
    assert (r.arrived, r.espresso.paused) == ([], True)
    r.espresso.resume()
    r.loop.run_pending()
    assert [frames[0] for frames in r.arrived] == [b"A", b"B"]
    assert not r.espresso.paused


def test_the_monitor_tells_rates_and_top_topics_once_a_second(rig):
    r = rig(taps=[MonitorTap(TAP)])
    _, got = connect(r, TAP, b"!status")
    r.loop.advance(1.0)
    r.publish(*[b"A"] * 30, b"B")
    r.loop.advance(1.0)
    status = decode_status(got[0])
    assert status["rates"]["frames_down"] == 62.0
    assert [(t["topic"], t["rate"]) for t in status["top"]] == [("A", 30.0), ("B", 1.0)]
    assert status["subscriptions"] == [{"topic": "", "subscribers": 1}]
    assert status["totals"]["frames_up"] == 1
    r.loop.advance(1.0)
    assert decode_status(got[1])["rates"]["frames_down"] == 0.0
    assert decode_status(got[1])["top"] == []


def test_a_monitor_that_nobody_reads_costs_nothing(rig):
    r = rig(monitor=TAP)
    r.loop.advance(5.0)
    r.publish(b"A")
    assert r.espresso.statistics().records == 0


def test_the_statistics_of_a_tap_add_up(rig):
    tap = HandlerTap(lambda record: None, Filter(one_in=2, per_second=3))
    r = rig(taps=[tap])
    r.publish(*[b"A"] * 19)
    s = tap.statistics()
    assert (s.matched, s.sampled_out, s.rate_limited, s.delivered) == (20, 10, 7, 3)
    assert s.matched == s.sampled_out + s.rate_limited + s.delivered + s.dropped + s.waiting


def test_a_tap_of_ones_own_needs_one_method(rig):
    class Longest(Tap):
        size = 0

        def deliver(self, record):
            self.size = max(self.size, record.size)
            return True

    tap = Longest()
    r = rig(taps=[tap])
    r.publish(b"A", b"longer")
    assert (tap.size, tap.delivered) == (10, 3)
