"""Between plain ZeroMQ sockets and ours: what only libzmq shows."""

import asyncio

import pytest
import zmq

from patterns.suicidal_snail import Limits, Reaction, Reason, SnailPublisher, SnailSubscriber
from patterns.suicidal_snail.messages import decode_stamp, encode_origin, encode_stamp
from reactor import Reactor

SECONDS = 10.0
KERNEL = "tcp://127.0.0.1:*"
# What a busy test machine delays is no concern of these tests.
LIMITS = Limits(age=60.0, silence=60.0, grace=0.0)


@pytest.fixture
async def reactor(context):
    async with Reactor(context=context, strict=True) as reactor:
        yield reactor


class Reader(SnailSubscriber):
    """Keeps what it receives and what it is told about itself."""

    def __init__(self, feed, prefixes=(b"",), **options):
        super().__init__(feed, prefixes, **{"limits": LIMITS, **options})
        self.messages = []
        self.found = []

    def on_message(self, frames):
        self.messages.append(tuple(frames))

    def on_snail(self, diagnosis):
        self.found.append(diagnosis)


async def until(condition):
    """Give the loop turns until the condition holds."""
    async with asyncio.timeout(SECONDS):
        while not condition():
            await asyncio.sleep(0)


def publisher_on(reactor, endpoint=KERNEL, **options):
    publisher = SnailPublisher(endpoint, b"feed", beat_interval=0.05, **options)
    reactor.register(publisher)
    return publisher, publisher.endpoints[0]


async def beats(reader, count):
    """Wait for so many beats, or other signs of life."""
    await until(lambda: reader.protocol._tracks)
    (track,) = reader.protocol._tracks.values()
    for _ in range(count):
        before = track.heard_at
        await until(lambda before=before: track.heard_at > before)


async def test_a_plain_subscriber_is_served(reactor, context):
    publisher, endpoint = publisher_on(reactor)
    with context.socket(zmq.SUB) as plain:
        plain.linger = 0
        plain.subscribe(b"a")
        plain.connect(endpoint)
        numbers = iter(range(1_000_000))

        def came():
            publisher.publish(b"a", b"%d" % next(numbers), b"more")
            publisher.publish(b"b", b"not for it")
            return plain.poll(0)

        await until(came)
        topic, body, more, stamp = plain.recv_multipart()
    assert (topic, more) == (b"a", b"more")
    assert decode_stamp(stamp).sequence == 2 * int(body) + 1


async def test_a_plain_publisher_that_stamps_is_judged(reactor, context):
    origin = encode_origin(b"ten line", 1)
    with context.socket(zmq.XPUB) as plain:
        plain.linger = 0
        port = plain.bind_to_random_port("tcp://127.0.0.1")
        reader = Reader(f"tcp://127.0.0.1:{port}")
        reactor.register(reader)
        await until(lambda: plain.poll(0))
        for number in (1, 2, 3, 7):
            plain.send_multipart([b"a", b"body", encode_stamp(origin, number, 1e9)])
        await until(lambda: len(reader.messages) == 4)
        await until(lambda: reader.found)
    assert [(d.reason, d.publisher, d.lost) for d in reader.found] == [
        (Reason.LOSSY, "ten line", 3)
    ]


@pytest.mark.parametrize("prefixes", [(b"",), (b"a",), (b"a", b"b")])
async def test_sn_3_what_a_high_water_mark_loses_is_counted_exactly(reactor, prefixes):
    publisher, endpoint = publisher_on(reactor, "@inproc://feed", high_water_mark=5)
    reader = Reader(endpoint, prefixes, high_water_mark=5)
    reactor.register(reader)
    await until(lambda: publisher.statistics().interests == 1)
    await until(lambda: reader.protocol._tracks)
    for _ in range(50):
        publisher.publish(b"a", b"body")
        publisher.publish(b"b", b"body")
    published = 100 if len(prefixes) == 2 or b"" in prefixes else 50
    await until(lambda: reader.found)
    # A beat may be lost as well; the next one tells of all.
    await until(lambda: reader.statistics().received + reader.statistics().lost == published)
    assert {d.reason for d in reader.found} == {Reason.LOSSY}
    assert reader.statistics().received <= 10
    await beats(reader, 3)
    assert reader.statistics().received + reader.statistics().lost == published, "counted once"


async def test_nothing_is_lost_under_changing_subscriptions(reactor):
    publisher, endpoint = publisher_on(reactor)
    reader = Reader(endpoint, [b"a"], high_water_mark=100_000)
    reactor.register(reader)
    await until(lambda: publisher.statistics().interests == 1)
    steps = [
        lambda: reader.subscribe(b"b"),
        lambda: reader.subscribe(b""),
        lambda: reader.unsubscribe(b""),
        lambda: reader.unsubscribe(b"a"),
    ]
    for step in steps:
        for _ in range(20):
            for topic in (b"a1", b"b1", b"c1"):
                publisher.publish(topic, b"body")
            await asyncio.sleep(0)
        step()
        await beats(reader, 2)
    before = reader.statistics().received
    await until(lambda: publisher.publish(b"b") and reader.statistics().received > before + 100)
    assert reader.found == []


async def test_to_subscribe_anew_drops_what_waits_here(reactor):
    publisher, endpoint = publisher_on(reactor, high_water_mark=100_000)
    reader = Reader(endpoint, reactions=[Reaction.RESUBSCRIBE], high_water_mark=100_000)
    reactor.register(reader)
    await until(lambda: publisher.publish(b"first") and reader.messages)
    old = reader.stream
    old.pause()
    for _ in range(1000):
        publisher.publish(b"old", b"body")
    await until(lambda: reader.stream.get_option(zmq.EVENTS) & zmq.POLLIN)
    reader._resubscribe()
    assert old.closed
    await until(lambda: publisher.publish(b"new") and (b"new",) in reader.messages)
    assert (b"old", b"body") not in reader.messages


async def test_who_subscribes_anew_from_inside_its_own_hook_goes_on(reactor):
    publisher, endpoint = publisher_on(reactor, "@inproc://feed", high_water_mark=5)
    reader = Reader(endpoint, [b"a"], reactions=[Reaction.RESUBSCRIBE], high_water_mark=5)
    reactor.register(reader)
    await until(lambda: reader.protocol._tracks)
    old = reader.stream
    for _ in range(50):
        publisher.publish(b"a", b"body")
    await until(lambda: reader.resubscribed)
    assert reader.stream is not old
    await until(lambda: publisher.publish(b"a new") and (b"a new",) in reader.messages)


async def test_a_squawk_arrives_although_its_sender_dies_of_it(context):
    async with Reactor(context=context, strict=True) as reactor:
        operator, endpoint = publisher_on(reactor, squawks=f"@{KERNEL}")
        squawks = operator.endpoints[1]
        async with Reactor(strict=True) as process:
            reader = Reader(
                endpoint,
                reactions=[Reaction.SQUAWK, Reaction.STOP],
                squawks=squawks,
                limits=Limits(silence=0.2, grace=0.0),
                subscriber="reader",
            )
            process.register(reader)
            reader.stream.disconnect(endpoint)
            await process.stopped()
        assert reader.exit_code == 70
        await until(operator.slow_subscribers)
        (slow,) = operator.slow_subscribers()
    assert (slow.squawk.subscriber, slow.squawk.reason) == ("reader", "stalled")
