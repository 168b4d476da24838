"""Espresso on real sockets, with plain pyzmq publishers and subscribers, moved by either pump."""

import asyncio
import signal
import subprocess
import sys

import pytest
import zmq

from patterns.espresso import EndpointTap, FileTap, HandlerTap, Kind, MonitorTap, Reader
from patterns.espresso.proxy_sockets import steerable
from reactor import EndpointError

from .peers import SECONDS, at_rest, receive, running, until

PUMPS = ("thread", "loop")
both_pumps = pytest.mark.parametrize("pump", PUMPS)


def test_this_libzmq_has_a_steerable_proxy():
    assert steerable(), "the tests below would not test what they say"


@both_pumps
async def test_subscriptions_and_unsubscriptions_reach_a_plain_publisher(pump):
    async with running(pump=pump) as peers:
        publisher, subscriber = peers.publisher(), peers.subscriber(b"A", b"B")
        assert await receive(publisher, 2) == [[b"\x01A"], [b"\x01B"]]
        subscriber.unsubscribe(b"A")
        assert await receive(publisher) == [[b"\x00A"]]
        subscriber.close()
        assert await receive(publisher) == [[b"\x00B"]]
        await until(lambda: not len(peers.espresso.subscriptions))


@both_pumps
async def test_the_last_of_several_subscribers_ends_the_subscription(pump):
    async with running(pump=pump) as peers:
        publisher, first = peers.publisher(), peers.subscriber(b"A")
        assert await receive(publisher) == [[b"\x01A"]]
        second = peers.subscriber(b"A")
        await until(lambda: peers.espresso.subscriptions.lookup(b"A") == 2)
        first.close()
        await until(lambda: peers.espresso.subscriptions.lookup(b"A") == 1)
        publisher.send_multipart([b"A", b"1"])
        assert await receive(second) == [[b"A", b"1"]]
        second.close()
        assert await receive(publisher) == [[b"\x00A"]]


@both_pumps
async def test_messages_of_any_number_of_frames_pass(pump):
    messages = [[b"A"], [b"A", b""], [b"A", b"b", b"", b"c"], [b"A"] + [b"x" * 1000] * 20]
    async with running(pump=pump) as peers:
        publisher, subscriber = peers.publisher(), peers.subscriber(b"A")
        await receive(publisher)
        for message in messages:
            publisher.send_multipart(message)
        assert await receive(subscriber, len(messages)) == messages
        await at_rest(peers.espresso)
        assert peers.espresso.totals.frames_down == sum(map(len, messages))
        assert peers.espresso.totals.bytes_down == sum(len(f) for m in messages for f in m)
        assert peers.espresso.totals[2:] == (1, 2)


@both_pumps
async def test_nothing_is_lost_while_it_pauses(pump):
    async with running(pump=pump) as peers:
        publisher, subscriber = peers.publisher(), peers.subscriber(b"A")
        await receive(publisher)
        for turn in range(5):
            peers.espresso.pause()
            for number in range(100):
                publisher.send(b"A%d" % (100 * turn + number))
            peers.espresso.resume()
        assert await receive(subscriber, 500) == [[b"A%d" % n] for n in range(500)]


def inner_publisher(peers, endpoint):
    """A publisher in the context of the proxy: what it sends has come as soon as it is sent."""
    pump, reactor = peers.espresso._pump, peers.espresso.reactor
    context = pump._context if peers.espresso.pump == "thread" else reactor.network._context
    socket = context.socket(zmq.XPUB)
    socket.linger = 0
    socket.set_hwm(0)
    socket.connect(endpoint)
    return socket


async def test_nothing_passes_while_it_pauses():
    async with running(frontend="@inproc://front") as peers:
        publisher = inner_publisher(peers, "inproc://front")
        with publisher:
            subscriber = peers.subscriber(b"A")
            await receive(publisher)
            pump = peers.espresso._pump
            peers.espresso.pause()
            await until(lambda: not pump.forwarding)
            publisher.send(b"A1")
            # The thread waits, so that its sockets may be looked at from here.
            assert pump._sockets.frontend.poll(0) == zmq.POLLIN
            assert peers.espresso.paused and not subscriber.poll(0)
            peers.espresso.resume()
            assert await receive(subscriber) == [[b"A1"]]


@both_pumps
async def test_a_stop_moves_what_had_come(pump):
    seen = []
    tap = HandlerTap(seen.append, queue_limit=10_000)
    async with running(pump=pump, frontend="@inproc://front", taps=[tap]) as peers:
        with inner_publisher(peers, "inproc://front") as publisher:
            subscriber = peers.subscriber(b"A")
            await receive(publisher)
            peers.espresso.pause()
            for number in range(2000):
                publisher.send(b"A%d" % number)
            unregistered = peers.espresso.reactor.unregister(peers.espresso)
            await until(lambda: tap._espresso is None)  # closed: the traffic has come to its end
        await unregistered
        assert await receive(subscriber, 2000) == [[b"A%d" % n] for n in range(2000)]
        assert len([r for r in seen if r.kind is Kind.MESSAGE]) == 2000


@both_pumps
async def test_it_can_be_registered_twice(pump):
    async with running(pump=pump) as peers:
        reactor, espresso = peers.espresso.reactor, peers.espresso
        await reactor.unregister(espresso)
        await reactor.register(espresso)
        front, back = espresso.bound_endpoints
        assert (front, back) != (peers.front, peers.back)


async def test_an_endpoint_in_use_stops_the_start_and_leaves_nothing_open():
    async with running() as peers:
        with pytest.raises(EndpointError, match="in use"):
            async with running(backend=f"@{peers.back}"):
                pass


async def test_a_tap_that_cannot_be_opened_stops_the_start_without_a_word_of_the_pump(
    tmp_path, caplog
):
    taken = tmp_path / "taken.esp"
    taken.touch()
    with pytest.raises(FileExistsError):
        async with running(taps=[FileTap(taken)]):
            pass
    assert caplog.records == []


async def test_a_tap_that_joins_is_counted_from_then_on():
    async with running() as peers:
        publisher, subscriber = peers.publisher(), peers.subscriber(b"A")
        await receive(publisher)
        for number in range(1000):
            publisher.send(b"A%d" % number)
        await receive(subscriber, 1000)
        seen = []
        peers.espresso.add_tap(HandlerTap(seen.append))
        # The handshake is over when the proxy answers again.
        peers.espresso.request_totals()
        await at_rest(peers.espresso)
        for number in range(500):
            publisher.send(b"A%d" % number)
        await receive(subscriber, 500)
        await until(lambda: len(seen) == 500)
        await at_rest(peers.espresso)
        statistics = peers.espresso.statistics()
        assert (statistics.captured_frames, statistics.lost_frames) == (500, 0)
        assert statistics.frames_down == 1500


async def test_what_the_capture_loses_is_counted_to_the_frame():
    async with running(taps=[HandlerTap(lambda record: None)], capture_limit=10) as peers:
        await at_rest(peers.espresso)  # the capture is on before anything passes
        publisher, subscriber = peers.publisher(), peers.subscriber(b"A")
        await receive(publisher)
        for _ in range(3000):
            publisher.send_multipart([b"A", b"body"])
        for _ in range(3000):  # the loop stands still, so almost nothing is captured
            assert subscriber.poll(5000)
            subscriber.recv_multipart()
        await at_rest(peers.espresso)
        statistics = peers.espresso.statistics()
        assert statistics.lost_frames > 5000
        assert statistics.captured_frames + statistics.lost_frames == 6001
        assert statistics.frames_down == 6000


async def test_zh_2_what_waits_between_proxy_and_taps_has_the_limit_that_was_asked_for():
    async with running(taps=[HandlerTap(lambda record: None)], capture_limit=1000) as peers:
        await at_rest(peers.espresso)
        publisher, subscriber = peers.publisher(), peers.subscriber(b"A")
        await receive(publisher)
        for _ in range(900):
            publisher.send(b"A")
        for _ in range(900):  # the loop stands still
            assert subscriber.poll(5000)
            subscriber.recv()
        await at_rest(peers.espresso)
        statistics = peers.espresso.statistics()
        assert (statistics.captured_frames, statistics.lost_frames) == (901, 0)


async def test_a_flood_of_messages_pushes_no_subscription_out_of_the_table():
    async with running(taps=[HandlerTap(lambda record: None)], capture_limit=10) as peers:
        publisher, subscriber = peers.publisher(), peers.subscriber(b"A")
        await receive(publisher)
        for _ in range(3000):
            publisher.send(b"A")
        others = [peers.subscriber(b"%d" % number) for number in range(50)]
        for _ in range(3000):
            assert subscriber.poll(5000)
            subscriber.recv()
        await until(lambda: len(peers.espresso.subscriptions) == 51)
        for socket in others:
            socket.close()
        await until(lambda: len(peers.espresso.subscriptions) == 1)


@both_pumps
async def test_esp_4_the_trace_of_the_guide(pump, tmp_path):
    """Two subscriptions, five messages, two unsubscriptions: the golden trace."""
    path = tmp_path / "trace.esp"
    async with running(pump=pump, taps=[FileTap(path)]) as peers:
        publisher, subscriber = peers.publisher(), peers.subscriber(b"A", b"B")
        await receive(publisher, 2)
        bodies = [b"A-91164", b"B-12979", b"A-57102", b"B-00137", b"A-40045"]
        for body in [*bodies, b"C-11111"]:
            publisher.send(body)
        await receive(subscriber, 5)
        subscriber.close()
        await receive(publisher, 2)
        await at_rest(peers.espresso)
    with open(path, "rb") as file:
        trace = [(entry.kind.name, *entry.frames) for entry in Reader(file.read)]
    assert trace == [
        ("SUBSCRIBE", b"\x01A"),
        ("SUBSCRIBE", b"\x01B"),
        *[("MESSAGE", body) for body in bodies],
        ("UNSUBSCRIBE", b"\x00A"),
        ("UNSUBSCRIBE", b"\x00B"),
    ]


_READER = """
import sys, zmq
from patterns.espresso.messages import decode
with zmq.Context() as context, context.socket(zmq.SUB) as socket:
    socket.rcvhwm = 100
    socket.connect(sys.argv[1])
    socket.subscribe(b">")
    print(0, flush=True)
    received = 0
    while True:
        record = decode(socket.recv_multipart())
        if record.frames == (b"end",):
            break
        received += 1
    print(received, record.sequence, flush=True)
"""


async def test_esp_1_a_tap_whose_reader_is_stopped_holds_up_nothing():
    """Scaled down from 1,000,000 messages: docs/espresso.md has the figures of that."""
    tap = EndpointTap("tcp://127.0.0.1:*", high_water_mark=100)
    count = 20_000
    async with running(taps=[tap], capture_limit=100_000) as peers:
        publisher, subscriber = peers.publisher(), peers.subscriber(b"")
        await receive(publisher)
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", _READER, tap.endpoint, stdout=subprocess.PIPE
        )
        try:
            assert process.stdout is not None
            await until(lambda: tap.wants_records)
            await at_rest(peers.espresso)  # capture is on
            process.send_signal(signal.SIGSTOP)
            for number in range(count):
                publisher.send(b"%d" % number + b"." * 1000)
                if not number % 100:
                    await asyncio.sleep(0)
            got = await receive(subscriber, count)
            assert got[-1][0].startswith(b"%d." % (count - 1))
            await until(lambda: tap.taken == count)
            assert tap.dropped > count // 4
            assert tap.delivered + tap.dropped == count
            delivered = tap.delivered
            process.send_signal(signal.SIGCONT)
            await process.stdout.readline()
            while tap.taken == count or tap.delivered == delivered:
                publisher.send(b"end")
                await until(lambda taken=tap.taken: tap.taken > taken)
            received, _ = map(int, (await process.stdout.readline()).split())
            assert received == delivered
            await asyncio.wait_for(process.wait(), SECONDS)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()


async def test_esp_1_a_handler_that_never_returns_holds_up_nothing():
    async def never(record):
        await asyncio.Event().wait()

    tap = HandlerTap(never, queue_limit=10)
    async with running(taps=[tap], capture_limit=100_000) as peers:
        publisher, subscriber = peers.publisher(), peers.subscriber(b"")
        await receive(publisher)
        for number in range(2000):
            publisher.send(b"%d" % number)
        assert len(await receive(subscriber, 2000)) == 2000
        await until(lambda: tap.taken == 2001)
        assert (tap.delivered, tap.waiting, tap.dropped) == (1, 10, 1990)


async def test_esp_2_the_thread_ends_with_the_set_and_nobody_spins():
    async with running() as peers:
        thread = peers.espresso._pump._thread
        assert thread is not None and thread.is_alive()
        await peers.espresso.reactor.unregister(peers.espresso)
        await until(lambda: not thread.is_alive())


async def test_the_monitor_on_real_sockets():
    monitor = MonitorTap("tcp://127.0.0.1:*", interval=0.05)
    async with running(taps=[monitor]) as peers:
        publisher, subscriber = peers.publisher(), peers.subscriber(b"A")
        await receive(publisher)
        reader = peers.context.socket(zmq.SUB)
        reader.connect(monitor.endpoint)
        reader.subscribe(b"!status")
        first, second = await receive(reader, 2)
        assert first[0] == second[0] == b"!status"
        assert b'"subscribers":1' in second[1]
        assert subscriber.poll(0) == 0
