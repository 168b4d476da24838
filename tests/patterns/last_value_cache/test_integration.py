"""Between plain ZeroMQ sockets, and with subscribers that do not read: what only libzmq shows."""

import asyncio
from contextlib import ExitStack

import pytest
import zmq

from patterns.last_value_cache import ConflatingSubscriber, LastValueCache
from reactor import Reactor

SECONDS = 10.0


@pytest.fixture
async def reactor(context):
    async with Reactor(context=context, strict=True) as reactor:
        yield reactor


def started(reactor, backend="@tcp://127.0.0.1:*", **options):
    cache = LastValueCache(frontend="@tcp://127.0.0.1:*", backend=backend, **options)
    reactor.register(cache)
    return cache


def open_socket(context, socket_type, endpoint, *prefixes, **options):
    socket = context.socket(socket_type)
    socket.linger = 0
    socket.rcvtimeo = socket.sndtimeo = int(1000 * SECONDS)
    for name, value in options.items():
        socket.set(getattr(zmq, name), value)
    for prefix in prefixes:
        socket.subscribe(prefix)
    socket.connect(endpoint)
    return socket


async def until(condition):
    """Give the loop turns until the condition holds."""
    async with asyncio.timeout(SECONDS):
        while not condition():
            await asyncio.sleep(0)


def received(socket, count):
    """So many messages; raises zmq.Again when they do not come."""
    return [socket.recv_multipart() for _ in range(count)]


def everything(socket):
    """What has arrived and what arrives as long as more keeps coming."""
    socket.rcvtimeo = 200
    messages = []
    try:
        while True:
            messages.append(socket.recv_multipart())
    except zmq.Again:
        return messages


def publish_all(context, endpoint, messages):
    """As a plain PUB would, once its subscriber is there (an XPUB can tell)."""
    with open_socket(context, zmq.XPUB, endpoint, SNDHWM=0) as feed:
        assert feed.recv() == b"\x01"
        for message in messages:
            feed.send_multipart(message)
        feed.close(linger=int(1000 * SECONDS))


async def test_plain_publishers_and_subscribers_on_both_sides(reactor, context):
    cache = started(reactor)
    front, behind = cache.bound_endpoints
    old = [[b"topic %d" % number, b"%d" % number] for number in range(50)]
    await asyncio.to_thread(publish_all, context, front, old)
    await until(lambda: len(cache.values) == 50)
    with (
        open_socket(context, zmq.SUB, behind, b"topic 1") as first,
        open_socket(context, zmq.SUB, behind, b"topic 49", b"new") as second,
    ):
        expected = sorted(message for message in old if message[0].startswith(b"topic 1"))
        assert await asyncio.to_thread(received, first, 11) == expected
        assert await asyncio.to_thread(received, second, 1) == [[b"topic 49", b"49"]]
        await asyncio.to_thread(publish_all, context, front, [[b"new", b"body", b"more"]])
        assert await asyncio.to_thread(received, second, 1) == [[b"new", b"body", b"more"]]


async def test_twenty_thousand_topics_reach_a_slow_joiner_complete(reactor, context):
    cache = started(reactor, high_water_mark=1000)
    for number in range(20_000):
        cache.values.update([b"%06d" % number, bytes(100)])
    (_, behind) = cache.bound_endpoints
    with open_socket(context, zmq.SUB, behind, b"", RCVBUF=4096) as joiner:
        messages = await asyncio.to_thread(received, joiner, 20_000)
    assert [topic for topic, _ in messages] == [b"%06d" % number for number in range(20_000)]
    assert cache.statistics().overflows == 0


async def test_live_messages_do_not_wait_for_a_subscriber_that_takes_nothing(reactor, context):
    cache = started(reactor, "@inproc://behind", high_water_mark=2)
    stuck = open_socket(context, zmq.SUB, "inproc://behind", b"", RCVHWM=2)
    good = open_socket(context, zmq.SUB, "inproc://behind", b"", RCVHWM=0)
    with stuck, good:
        await until(lambda: cache.statistics().subscriptions == 2)
        _, collector, _ = cache.handlers
        for number in range(100):
            collector.on_batch([[b"%d" % number, b"body"]])
        assert [int(topic) for topic, _ in everything(good)] == list(range(100))
        assert [int(topic) for topic, _ in everything(stuck)] == list(range(4))
    assert cache.statistics().overflows == 1, "counted when it begins, not for each message"


async def test_a_replay_goes_on_without_a_subscriber_that_takes_nothing(reactor, context):
    cache = started(reactor, "@inproc://behind", high_water_mark=2, patience=0.5)
    for number in range(100):
        cache.values.update([b"%03d" % number, b"body"])
    stuck = open_socket(context, zmq.SUB, "inproc://behind", b"", RCVHWM=2)
    with stuck:
        await until(lambda: cache.statistics().given_up == 1)
        await until(lambda: cache.statistics().replays_pending == 0)
        assert cache.statistics().replayed == 99, "one was given up"
        with open_socket(context, zmq.SUB, "inproc://behind", b"", RCVHWM=2) as good:
            messages = await asyncio.to_thread(received, good, 100)
        assert [int(topic) for topic, _ in messages] == list(range(100))
        assert [int(topic) for topic, _ in everything(stuck)] == list(range(4))


async def test_a_replay_that_waits_does_not_keep_others_from_theirs(reactor, context):
    cache = started(reactor, "@inproc://behind", high_water_mark=2, patience=60.0)
    for number in range(100):
        cache.values.update([b"a%03d" % number, b"body"])
    cache.values.update([b"b", b"body"])
    with open_socket(context, zmq.SUB, "inproc://behind", b"a", RCVHWM=2):
        await until(lambda: cache.statistics().replayed == 4)
        with open_socket(context, zmq.SUB, "inproc://behind", b"b") as other:
            assert await asyncio.to_thread(received, other, 1) == [[b"b", b"body"]]
        assert cache.statistics().given_up == 0


async def test_a_joiner_that_stops_and_reads_on_later_gets_all(reactor, context):
    cache = started(reactor, "@inproc://behind", high_water_mark=2, patience=60.0)
    for number in range(100):
        cache.values.update([b"%03d" % number, b"body"])
    with open_socket(context, zmq.SUB, "inproc://behind", b"", RCVHWM=2) as joiner:
        await until(lambda: cache.statistics().replayed == 4)
        messages = await asyncio.to_thread(received, joiner, 100)
    assert [int(topic) for topic, _ in messages] == list(range(100))


async def test_lvc_8_an_xsub_may_say_what_it_likes(reactor, context):
    """It costs everybody their connection, once, and nobody a subscription."""
    cache = started(reactor)
    cache.values.update([b"a", b"1"])
    (_, behind) = cache.bound_endpoints
    backend, *_ = cache.handlers
    with (
        open_socket(context, zmq.SUB, behind, b"a") as polite,
        open_socket(context, zmq.XSUB, behind) as rude,
    ):
        assert await asyncio.to_thread(received, polite, 1) == [[b"a", b"1"]]
        for message in ([b""], [b"hello"], [b"x", b"\x01a"]):
            rude.send_multipart(message)
        await until(lambda: backend.refused > 0)
        assert await asyncio.to_thread(received, polite, 1) == [[b"a", b"1"]]
        rude.send(b"\x01a")
        assert (await asyncio.to_thread(received, rude, 1)) == [[b"a", b"1"]]
    assert backend.errors == 0


async def test_lvc_5_a_joiner_is_served_alone_and_live_messages_reach_all(reactor, context):
    cache = started(reactor)
    front, behind = cache.bound_endpoints
    for topic in (b"a", b"b"):
        cache.values.update([topic, b"old"])
    with open_socket(context, zmq.SUB, behind, b"") as whole:
        assert len(await asyncio.to_thread(received, whole, 2)) == 2
        with ExitStack() as stack:
            joiners = []
            for _ in range(20):
                joiner = stack.enter_context(open_socket(context, zmq.SUB, behind, b"a"))
                assert await asyncio.to_thread(received, joiner, 1) == [[b"a", b"old"]]
                joiners.append(joiner)
            await asyncio.to_thread(publish_all, context, front, [[b"a", b"new"]])
            for socket in (whole, *joiners):
                assert await asyncio.to_thread(received, socket, 1) == [[b"a", b"new"]]
            assert everything(whole) == everything(joiners[0]) == []
    assert cache.statistics().served_alone == 20


async def test_two_publishers_and_a_subscriber_that_binds(reactor, context):
    with (
        context.socket(zmq.XPUB) as first,
        context.socket(zmq.XPUB) as second,
        context.socket(zmq.SUB) as binding,
    ):
        for socket in (first, second, binding):
            socket.linger = 0
            socket.rcvtimeo = int(1000 * SECONDS)
            socket.bind("tcp://127.0.0.1:*")
        binding.subscribe(b"")
        cache = LastValueCache(
            frontend=",".join(socket.last_endpoint.decode() for socket in (first, second)),
            backend=f"@tcp://127.0.0.1:*, >{binding.last_endpoint.decode()}",
        )
        reactor.register(cache)
        for socket, topic in ((first, b"a"), (second, b"b")):
            assert await asyncio.to_thread(socket.recv) == b"\x01"
            socket.send_multipart([topic, b"1"])
        messages = await asyncio.to_thread(received, binding, 2)
        assert sorted(messages) == [[b"a", b"1"], [b"b", b"1"]]
        (behind,) = cache.bound_endpoints
        with open_socket(context, zmq.SUB, behind, b"") as late:
            messages = await asyncio.to_thread(received, late, 2)
            assert sorted(messages) == [[b"a", b"1"], [b"b", b"1"]]


async def test_a_plain_dealer_can_take_the_newest_values_by_credit(reactor, context):
    cache = started(reactor, conflated="tcp://127.0.0.1:*")
    front, _, conflated = cache.bound_endpoints
    with open_socket(context, zmq.DEALER, conflated) as dealer:
        dealer.send_multipart([b"JOIN", (2).to_bytes(4), b"a", b"b"])
        assert await asyncio.to_thread(received, dealer, 1) == [[b"SYNCED"]]
        updates = [[topic, b"%d" % n] for n in range(100) for topic in (b"a", b"b", b"c")]
        await asyncio.to_thread(publish_all, context, front, updates)
        first = await asyncio.to_thread(received, dealer, 2)
        assert {frames[1] for frames in first} == {b"a", b"b"}
        await until(lambda: cache.values.lookup(b"b") == (b"b", b"99"))
        dealer.send_multipart([b"CREDIT", (2).to_bytes(4)])
        rest = await asyncio.to_thread(everything, dealer)
        last = {frames[1]: frames[2] for frames in first + rest}
        assert last == {b"a": b"99", b"b": b"99"}
        assert len(rest) <= 2
        dealer.send(b"HUGZ")
        assert await asyncio.to_thread(received, dealer, 1) == [[b"HUGZ"]]


async def test_who_is_killed_is_forgotten_and_who_comes_back_joins_anew(reactor, context):
    """Real connections that end: a ROUTER learns of it only when it sends."""
    cache = started(reactor, conflated="tcp://127.0.0.1:*")
    *_, conflated = cache.bound_endpoints
    with open_socket(context, zmq.DEALER, conflated) as dealer:
        # As much as may be on its way before the ROUTER learns that nobody is there.
        dealer.send_multipart([b"JOIN", (10_000).to_bytes(4), b""])
        assert await asyncio.to_thread(received, dealer, 1) == [[b"SYNCED"]]
    collector = cache.handlers[2]

    def forgotten():
        collector.on_batch([[b"a", b"%d" % cache.values.byte_count]])
        return not cache.statistics().conflated_subscribers

    await until(forgotten)
    with open_socket(context, zmq.DEALER, conflated) as dealer:
        dealer.send_multipart([b"CREDIT", (2).to_bytes(4)])
        assert await asyncio.to_thread(received, dealer, 1) == [[b"REJOIN"]]


async def test_a_conflating_subscriber_on_real_sockets(reactor, context):
    cache = started(reactor, conflated="tcp://127.0.0.1:*")
    front, _, conflated = cache.bound_endpoints
    got = {}

    class Slow(ConflatingSubscriber):
        async def on_message(self, frames):
            got.setdefault(frames[0], []).append(int(frames[1]))
            await asyncio.sleep(0)

    slow = Slow(conflated, credit=5)
    reactor.register(slow)
    updates = [[b"%d" % topic, b"%d" % n] for n in range(1, 200) for topic in range(20)]
    await asyncio.to_thread(publish_all, context, front, updates)
    await until(lambda: [numbers[-1] for numbers in got.values()] == [199] * 20)
    assert all(numbers == sorted(set(numbers)) for numbers in got.values())
    assert slow.synchronised and slow.statistics().joined == 1
