"""One suite for the fake network and for libzmq, so that the fake cannot lie.

Every case runs on fakes and on real sockets, with inproc and with tcp endpoints. Where these differ
for a good reason, the case says so.
"""

import asyncio
import itertools
import socket

import pytest
import zmq

from reactor import (
    EndpointError,
    OptionError,
    Policy,
    QueueFull,
    Reactor,
    Stream,
    StreamClosed,
    StreamHandler,
)
from reactor.testing import FakeLoop, FakeNetwork

KINDS = ("fake-inproc", "fake-tcp", "real-inproc", "real-tcp")
DEADLINE_SECONDS = 10.0
POLL_SECONDS = 0.001
STOP_SECONDS = 0.1

# A message is bigger than what the kernel keeps of a connection, so that high-water marks count.
BULK = bytes(200_000)
SMALL_MARKS = {zmq.SNDHWM: 2, zmq.RCVHWM: 2, zmq.SNDBUF: 50_000, zmq.RCVBUF: 50_000}

_names = itertools.count()


class Bench:
    """What a case needs: streams, endpoints, inboxes, and a way to wait for a condition."""

    def __init__(self, reactor: Reactor, kind: str) -> None:
        self.reactor = reactor
        self.open = reactor.open_stream
        self.fake = kind.startswith("fake")
        self.tcp = kind.endswith("tcp")
        # On tcp the kernel's buffers hold messages too, and libzmq's thread moves them at its time.
        self.exact = self.fake or not self.tcp
        self._reserved: list[socket.socket] = []

    def fresh(self) -> str:
        """An endpoint to bind, in use by nobody."""
        return "tcp://127.0.0.1:*" if self.tcp else f"inproc://{next(_names)}"

    def reserved(self) -> str:
        """The same, but known before it is bound."""
        if not self.tcp or self.fake:
            return self.fresh().replace("*", "5555")
        # The kernel gives the port to nobody else, and to libzmq since this one does not listen.
        holder = socket.socket()
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", 0))
        self._reserved.append(holder)
        return f"tcp://127.0.0.1:{holder.getsockname()[1]}"

    def bound(self, socket_type: int, **options) -> Stream:
        return self.open(socket_type, f"@{self.fresh()}", **options)

    async def bound_again(self, socket_type: int, endpoint: str) -> Stream:
        """Bind where another stream was bound; libzmq closes sockets in a thread of its own."""
        streams: list[Stream] = []

        def try_again() -> bool:
            try:
                streams.append(self.open(socket_type, f"@{endpoint}"))
            except EndpointError:
                return False
            return True

        await self.until(try_again)
        return streams[0]

    def connected(self, socket_type: int, *others: Stream, **options) -> Stream:
        return self.open(socket_type, *(f">{other.endpoint}" for other in others), **options)

    def inbox(self, stream: Stream) -> list[list[bytes]]:
        """Where every message of the stream goes from now on."""
        messages: list[list[bytes]] = []
        stream.on_message(messages.append)
        return messages

    async def until(self, condition) -> None:
        deadline = self.reactor.now() + DEADLINE_SECONDS
        while not condition():
            assert self.reactor.now() < deadline, "the condition was not met in time"
            await asyncio.sleep(POLL_SECONDS)

    async def settle(self) -> None:
        """Let what is under way happen, for a case that expects nothing."""
        done = self.bound(zmq.DEALER)
        other = self.connected(zmq.DEALER, done)
        for _ in range(3):  # there and back, through libzmq's thread
            for sender, receiver in ((other, done), (done, other)):
                inbox = self.inbox(receiver)
                sender.send(b"settled")
                await self.until(lambda inbox=inbox: inbox)
        other.close()
        done.close()

    async def subscriber(self, publisher: Stream, *prefixes: bytes, via=None, **options):
        """A SUB and its inbox, as soon as the publisher's messages get through to it."""
        topics = (*prefixes, b"ready")
        subscriber = self.connected(zmq.SUB, via or publisher, subscribe=topics, **options)
        inbox = self.inbox(subscriber)
        await self.ready(publisher, inbox)
        return subscriber, inbox

    async def ready(self, publisher: Stream, inbox: list[list[bytes]]) -> None:
        """Wait until messages get through, and the newest of these trials has arrived."""
        polls = itertools.count()

        def heard() -> bool:
            trial, rest = divmod(next(polls), 10)
            if rest == 0:
                publisher.send(b"ready", b"%d" % trial)
            return inbox[-1:] == [[b"ready", b"%d" % trial]]

        await self.until(heard)
        inbox.clear()

    async def fill(self, stream: Stream, *head: bytes) -> int:
        """Send numbered messages until one has to wait in the stream; how many were sent."""
        for number in range(1000):
            stream.send(*head, b"%d" % number, BULK)
            if stream.queue_length:
                return number + 1
        raise AssertionError("no high-water mark was met")

    def close(self) -> None:
        for holder in self._reserved:
            holder.close()


async def run_case(case, kind: str, network: FakeNetwork | None) -> None:
    async with Reactor(network=network, lag_interval=None, stop_timeout=STOP_SECONDS) as reactor:
        bench = Bench(reactor, kind)
        try:
            await case(bench)
        finally:
            bench.close()
    assert asyncio.all_tasks() == {asyncio.current_task()}


def conformance(case):
    """Make a plain test, for every kind, of `async def case(bench)`."""

    @pytest.mark.parametrize("kind", KINDS)
    def test(kind):
        if not kind.startswith("fake"):
            asyncio.run(run_case(case, kind, None))
            return
        loop = FakeLoop()
        loop.run_until_complete(run_case(case, kind, FakeNetwork(loop)))
        loop.close()

    test.__name__, test.__doc__ = case.__name__, case.__doc__
    return test


def numbers(messages, frame=0):
    return [int(message[frame]) for message in messages]


# Messages


@conformance
async def test_messages_arrive_in_order(bench):
    pull = bench.bound(zmq.PULL)
    push = bench.connected(zmq.PUSH, pull)
    inbox = bench.inbox(pull)
    for number in range(900):
        assert push.send(b"%d" % number) is True
    await bench.until(lambda: len(inbox) == 900)
    assert numbers(inbox) == list(range(900))


@conformance
async def test_frames_stay_what_they_were(bench):
    """Messages of 1 to 9 frames, empty ones anywhere, all bytes, one megabyte."""
    pull = bench.bound(zmq.PULL)
    push = bench.connected(zmq.PUSH, pull)
    inbox = bench.inbox(pull)
    messages = [[b"%d" % frame for frame in range(count)] for count in range(1, 10)]
    messages += [[b""], [b"", b""], [b"", b"x"], [b"x", b""], [b"x", b"", b"y"], [b""] * 9]
    messages += [[bytes(range(256))], [bytes(1_000_000), b"after"]]
    for message in messages:
        push.send(*message)
    await bench.until(lambda: len(inbox) == len(messages))
    assert inbox == messages
    assert all(type(message) is list for message in inbox)


@conformance
async def test_bytes_like_frames_arrive_as_bytes(bench):
    pull = bench.bound(zmq.PULL)
    push = bench.connected(zmq.PUSH, pull)
    inbox = bench.inbox(pull)
    frame = bytearray(b"abc")
    push.send(frame, memoryview(b"def"))
    frame[:] = b"xyz"
    await bench.until(lambda: inbox)
    assert inbox == [[b"abc", b"def"]]


@conformance
async def test_what_is_no_message_is_refused(bench):
    pull = bench.bound(zmq.PULL)
    push = bench.connected(zmq.PUSH, pull)
    for frames in (("text",), (b"x", "text"), (5,), (None,)):
        with pytest.raises(TypeError):
            push.send(*frames)
    with pytest.raises(ValueError):
        push.send()
    inbox = bench.inbox(pull)
    push.send(b"whole")
    await bench.until(lambda: inbox)
    assert inbox == [[b"whole"]]


@conformance
async def test_receivers_share_no_message(bench):
    """A hook may change the list that it gets."""
    pub = bench.bound(zmq.PUB)
    _, first = await bench.subscriber(pub, b"")
    _, second = await bench.subscriber(pub, b"")
    first.clear()
    pub.send(b"a", b"b")
    await bench.until(lambda: first and second)
    first[0].append(b"mine")
    assert second == [[b"a", b"b"]]


@conformance
async def test_counters_count_messages(bench):
    pull = bench.bound(zmq.PULL)
    push = bench.connected(zmq.PUSH, pull)
    inbox = bench.inbox(pull)
    for _ in range(3):
        push.send(b"a", b"b")
    await bench.until(lambda: len(inbox) == 3)
    assert push.statistics().messages_sent == 3
    assert pull.statistics().messages_received == 3


# Hooks


@conformance
async def test_no_hook_runs_on_the_stack_of_another(bench):
    """A send in a hook wakes nobody before that hook has ended."""
    dealer = bench.bound(zmq.DEALER)
    other = bench.connected(zmq.DEALER, dealer)
    depth, deepest, count = 0, 0, 0

    def answer(stream):
        def hook(frames):
            nonlocal depth, deepest, count
            depth += 1
            deepest = max(deepest, depth)
            count += 1
            if count < 200:
                stream.send(*frames)
                stream.send(*frames)
            depth -= 1

        return hook

    dealer.on_message(answer(dealer))
    other.on_message(answer(other))
    other.send(b"x")
    assert count == 0
    await bench.until(lambda: count >= 200)
    assert deepest == 1


@conformance
async def test_a_coroutine_hook_holds_its_stream_and_no_other(bench):
    pull, free = bench.bound(zmq.PULL), bench.bound(zmq.PULL)
    push = bench.connected(zmq.PUSH, pull)
    push_free = bench.connected(zmq.PUSH, free)
    others = bench.inbox(free)
    gate = asyncio.Event()
    log = []

    async def hook(frames):
        log.append(("begin", frames[0]))
        await gate.wait()
        log.append(("end", frames[0]))

    pull.on_message(hook)
    push.send(b"1")
    push.send(b"2")
    await bench.until(lambda: log)
    push_free.send(b"free")
    await bench.until(lambda: others)
    assert log == [("begin", b"1")]
    assert not pull.receiving
    gate.set()
    await bench.until(lambda: len(log) == 4)
    assert log == [("begin", b"1"), ("end", b"1"), ("begin", b"2"), ("end", b"2")]


@conformance
async def test_a_paused_stream_keeps_its_messages(bench):
    pull = bench.bound(zmq.PULL)
    push = bench.connected(zmq.PUSH, pull)
    inbox = bench.inbox(pull)
    push.send(b"0")
    await bench.until(lambda: inbox)
    pull.pause()
    for number in range(1, 20):
        push.send(b"%d" % number)
    other = bench.bound(zmq.PULL)
    bystander = bench.inbox(other)
    bench.connected(zmq.PUSH, other).send(b"time passes")
    await bench.until(lambda: bystander)
    assert numbers(inbox) == [0]
    pull.resume()
    await bench.until(lambda: len(inbox) == 20)
    assert numbers(inbox) == list(range(20))


@conformance
async def test_a_hook_may_pause_its_stream_after_one_message(bench):
    pull = bench.bound(zmq.PULL)
    push = bench.connected(zmq.PUSH, pull)
    inbox = []

    def hook(frames):
        inbox.append(frames)
        pull.pause()

    pull.on_message(hook)
    for number in range(5):
        push.send(b"%d" % number)
    for count in range(1, 6):
        await bench.until(lambda count=count: len(inbox) == count)
        pull.resume()
    assert numbers(inbox) == list(range(5))


@conformance
async def test_messages_wait_for_a_hook(bench):
    pull = bench.bound(zmq.PULL)
    push = bench.connected(zmq.PUSH, pull)
    push.send(b"0")
    push.send(b"1")
    first = bench.inbox(pull)
    await bench.until(lambda: len(first) == 2)
    pull.on_message(None)
    push.send(b"2")
    second = bench.inbox(pull)
    await bench.until(lambda: second)
    assert (numbers(first), numbers(second)) == ([0, 1], [2])


@conformance
async def test_a_hook_that_raises_loses_no_message(bench):
    pull = bench.bound(zmq.PULL)
    push = bench.connected(zmq.PUSH, pull)
    seen, errors = [], []
    pull.on_error = errors.append

    def hook(frames):
        seen.append(frames)
        raise LookupError("every time")

    pull.on_message(hook)
    for number in range(50):
        push.send(b"%d" % number)
    await bench.until(lambda: len(errors) == 50)
    assert numbers(seen) == list(range(50))


@conformance
async def test_a_coroutine_hook_that_raises_loses_no_message(bench):
    pull = bench.bound(zmq.PULL)
    push = bench.connected(zmq.PUSH, pull)
    seen, errors = [], []
    pull.on_error = errors.append

    async def hook(frames):
        seen.append(frames)
        await asyncio.sleep(0)
        raise LookupError("every time")

    pull.on_message(hook)
    for number in range(10):
        push.send(b"%d" % number)
    await bench.until(lambda: len(errors) == 10)
    assert numbers(seen) == list(range(10))


@conformance
async def test_a_hook_may_close_its_own_stream(bench):
    pull = bench.bound(zmq.PULL)
    push = bench.connected(zmq.PUSH, pull)
    inbox = []

    def hook(frames):
        inbox.append(frames)
        pull.close()

    pull.on_message(hook)
    for number in range(5):
        push.send(b"%d" % number)
    await bench.until(lambda: pull.closed)
    other = bench.bound(zmq.PULL)
    bystander = bench.inbox(other)
    bench.connected(zmq.PUSH, other).send(b"time passes")
    await bench.until(lambda: bystander)
    assert numbers(inbox) == [0]


@conformance
async def test_timers_live_while_messages_keep_coming(bench):
    """Two streams that never stop sending to each other leave room for a timer."""
    dealer = bench.bound(zmq.DEALER)
    other = bench.connected(zmq.DEALER, dealer)
    answered = 0
    ticked = []

    def answer(stream):
        def hook(frames):
            nonlocal answered
            answered += 1
            if not ticked and answered < 20_000:
                stream.send(*frames)

        return hook

    dealer.on_message(answer(dealer))
    other.on_message(answer(other))
    bench.reactor.call_later(0.0, ticked.append, True)
    other.send(b"ball")
    await bench.until(lambda: ticked)
    assert answered < 20_000


@conformance
async def test_messages_can_come_in_lists(bench):
    """In order, bounded in size, within the bound of a turn; and the hook may pause them."""
    pull = bench.bound(zmq.PULL, batch_limit=150)
    push = bench.connected(zmq.PUSH, pull)
    for number in range(700):
        push.send(b"%d" % number, b"body")
    batches = []

    def on_batch(messages):
        batches.append(messages)
        if len(batches) == 2:
            pull.pause()
            bench.reactor.loop.call_soon(pull.resume)

    pull.on_batch(on_batch)
    await bench.until(lambda: sum(map(len, batches)) == 700)
    assert numbers([message for batch in batches for message in batch]) == list(range(700))
    assert max(map(len, batches)) <= 100
    assert pull.statistics().messages_received == 700
    inbox = bench.inbox(pull)
    push.send(b"alone")
    await bench.until(lambda: inbox == [[b"alone"]])


@conformance
async def test_a_list_hook_may_leave_what_its_turn_has_no_time_for(bench):
    """What it leaves comes again, before what is later, whether anything else arrives or not."""
    pull = bench.bound(zmq.PULL, batch_limit=150, batch_seconds=0.0)
    push = bench.connected(zmq.PUSH, pull)
    got, over = [], []

    def on_batch(messages):
        over.append(pull.turn_is_over())
        got.extend(messages[:40])
        if len(got) == 120:
            pull.pause()
            bench.reactor.loop.call_soon(pull.resume)
        return len(messages[:40])

    pull.on_batch(on_batch)
    for number in range(310):
        push.send(b"%d" % number, b"body")
    await bench.until(lambda: len(got) == 310)
    assert numbers(got) == list(range(310))
    assert all(over), "a turn of no time is over when it begins"
    assert pull.statistics().messages_received == 310


@conformance
async def test_a_list_hook_may_hold_its_stream(bench):
    pull = bench.bound(zmq.PULL)
    push = bench.connected(zmq.PUSH, pull)
    log, errors, done = [], [], asyncio.Event()
    pull.on_error = errors.append

    async def wait():
        await done.wait()
        log.append("done")
        raise LookupError("and fails")

    def on_batch(messages):
        log.append(int(messages[0][0]))
        if len(log) == 1:
            assert not pull.turn_is_over()
            pull.hold_until_done(wait())
            assert pull.turn_is_over()
        return 1

    for number in range(3):
        push.send(b"%d" % number)
    await bench.settle()
    pull.on_batch(on_batch)
    await bench.until(lambda: log)
    await bench.settle()
    assert log == [0]
    done.set()
    await bench.until(lambda: len(log) == 4)
    assert log == [0, "done", 1, 2]
    assert [type(error) for error in errors] == [LookupError]


@conformance
async def test_what_a_list_hook_has_left_comes_first_to_who_takes_its_place(bench):
    pull = bench.bound(zmq.PULL)
    push = bench.connected(zmq.PUSH, pull)
    inbox = []

    def on_batch(messages):
        inbox.append(messages[0])
        pull.on_message(None)
        return 1

    for number in range(3):
        push.send(b"%d" % number)
    await bench.settle()
    pull.on_batch(on_batch)
    await bench.until(lambda: inbox)
    push.send(b"3")
    await bench.settle()
    assert numbers(inbox) == [0]
    pull.on_message(inbox.append)
    await bench.until(lambda: len(inbox) == 4)
    assert numbers(inbox) == [0, 1, 2, 3]


@conformance
async def test_a_list_hook_that_raises_costs_its_list_and_nothing_else(bench):
    pull = bench.bound(zmq.PULL)
    push = bench.connected(zmq.PUSH, pull)
    errors, got = [], []
    pull.on_error = errors.append

    def on_batch(messages):
        got.extend(messages)
        if len(got) == len(messages):
            raise ValueError("the first time")

    pull.on_batch(on_batch)
    push.send(b"1")
    await bench.until(lambda: errors)
    push.send(b"2")
    await bench.until(lambda: got == [[b"1"], [b"2"]])


@conformance
async def test_messages_can_be_sent_together_up_to_the_first_refusal(bench):
    pull = bench.bound(zmq.PULL, options=SMALL_MARKS)
    push = bench.connected(zmq.PUSH, pull, options=SMALL_MARKS)
    messages = [[b"%d" % number, BULK] for number in range(1000)]
    await bench.until(lambda: push.try_send_all([[b"first"]]) == 1)
    sent = push.try_send_all(messages)
    assert 0 < sent < 1000
    assert push.try_send_all([]) == push.queue_length == 0
    assert push.statistics().messages_sent == 1 + sent
    inbox = bench.inbox(pull)
    await bench.until(lambda: len(inbox) == 1 + sent)
    assert numbers(inbox[1:]) == list(range(sent))
    push.close()
    with pytest.raises(StreamClosed):
        push.try_send_all(messages)


# PUB and SUB


@conformance
async def test_a_subscription_is_a_prefix(bench):
    pub = bench.bound(zmq.PUB)
    _, inbox = await bench.subscriber(pub, b"ab")
    for topic in (b"a", b"ab", b"abc", b"b", b"", b"xab", b"aB", b"ab"):
        pub.send(topic, b"body")
    pub.send(b"ready")
    await bench.until(lambda: [b"ready"] in inbox)
    assert [message[0] for message in inbox] == [b"ab", b"abc", b"ab", b"ready"]


@conformance
async def test_only_the_first_frame_is_matched(bench):
    pub = bench.bound(zmq.PUB)
    _, inbox = await bench.subscriber(pub, b"A")
    pub.send(b"B", b"A")
    pub.send(b"A", b"B")
    await bench.until(lambda: inbox)
    assert inbox == [[b"A", b"B"]]


@conformance
async def test_the_empty_prefix_is_everything(bench):
    pub = bench.bound(zmq.PUB)
    _, inbox = await bench.subscriber(pub, b"")
    messages = [[b""], [b"anything"], [b"\x00\x01", b"x"]]
    for message in messages:
        pub.send(*message)
    await bench.until(lambda: len(inbox) == 3)
    assert inbox == messages


@conformance
async def test_overlapping_prefixes_bring_one_copy(bench):
    pub = bench.bound(zmq.PUB)
    _, inbox = await bench.subscriber(pub, b"a", b"ab", b"abc")
    pub.send(b"abcd")
    pub.send(b"ready")
    await bench.until(lambda: [b"ready"] in inbox)
    assert inbox == [[b"abcd"], [b"ready"]]


@conformance
async def test_without_a_subscription_nothing_comes(bench):
    pub = bench.bound(zmq.PUB)
    _, inbox = await bench.subscriber(pub)
    silent = bench.connected(zmq.SUB, pub)
    nothing = bench.inbox(silent)
    pub.send(b"A")
    pub.send(b"ready")
    await bench.until(lambda: inbox)
    assert nothing == []
    silent.subscribe(b"ready")
    await bench.ready(pub, nothing)


@conformance
async def test_unsubscribed_topics_stop(bench):
    pub = bench.bound(zmq.PUB)
    sub, inbox = await bench.subscriber(pub, b"A", b"B")
    sub.unsubscribe(b"A")
    pub.send(b"A")
    pub.send(b"B")
    await bench.until(lambda: inbox)
    assert inbox == [[b"B"]]


@conformance
async def test_messages_under_way_are_dropped_when_the_subscription_ends(bench):
    """A SUB filters once more itself, so nothing unwanted comes after unsubscribe() returns."""
    pub = bench.bound(zmq.PUB)
    sub, inbox = await bench.subscriber(pub, b"A", b"B")
    sub.pause()
    pub.send(b"A")
    pub.send(b"B")
    sub.unsubscribe(b"A")
    sub.resume()
    await bench.until(lambda: inbox)
    assert inbox == [[b"B"]]


@conformance
async def test_subscriptions_count(bench):
    """Who subscribes twice to the same prefix must unsubscribe twice."""
    pub = bench.bound(zmq.PUB)
    sub, inbox = await bench.subscriber(pub, b"A", b"A")
    sub.unsubscribe(b"A")
    await bench.ready(pub, inbox)
    pub.send(b"A1")
    await bench.until(lambda: inbox)
    assert inbox == [[b"A1"]]
    sub.unsubscribe(b"A")
    inbox.clear()
    pub.send(b"A2")
    pub.send(b"ready")
    await bench.until(lambda: inbox)
    assert inbox == [[b"ready"]]


@conformance
async def test_unsubscribing_from_what_was_never_subscribed_is_harmless(bench):
    pub = bench.bound(zmq.PUB)
    sub, inbox = await bench.subscriber(pub, b"A")
    sub.unsubscribe(b"B")
    pub.send(b"A")
    await bench.until(lambda: inbox)


@conformance
async def test_a_late_subscriber_gets_nothing_old(bench):
    pub = bench.bound(zmq.PUB)
    assert pub.send(b"A", b"old") is True
    _, inbox = await bench.subscriber(pub, b"A")
    pub.send(b"A", b"new")
    await bench.until(lambda: inbox)
    assert inbox == [[b"A", b"new"]]


@conformance
async def test_every_subscriber_gets_what_it_asked_for(bench):
    pub = bench.bound(zmq.PUB)
    _, everything = await bench.subscriber(pub, b"")
    _, some = await bench.subscriber(pub, b"B")
    everything.clear()
    for topic in (b"A", b"B", b"C"):
        pub.send(topic)
    pub.send(b"ready")
    await bench.until(lambda: [b"ready"] in everything and [b"ready"] in some)
    assert everything == [[b"A"], [b"B"], [b"C"], [b"ready"]]
    assert some == [[b"B"], [b"ready"]]


@conformance
async def test_a_subscriber_hears_all_its_publishers(bench):
    pubs = [bench.bound(zmq.PUB), bench.bound(zmq.PUB)]
    sub = bench.connected(zmq.SUB, *pubs, subscribe=(b"",))
    inbox = bench.inbox(sub)
    for pub in pubs:
        await bench.ready(pub, inbox)
    pubs[0].send(b"0")
    pubs[1].send(b"1")
    await bench.until(lambda: len(inbox) == 2)
    assert sorted(numbers(inbox)) == [0, 1]


@conformance
async def test_a_publisher_may_connect_and_a_subscriber_bind(bench):
    sub = bench.bound(zmq.SUB, subscribe=(b"A", b"ready"))
    inbox = bench.inbox(sub)
    pubs = [bench.connected(zmq.PUB, sub) for _ in range(2)]
    for pub in pubs:
        await bench.ready(pub, inbox)
        pub.send(b"B")
        pub.send(b"A")
        await bench.until(lambda: inbox)
        assert inbox == [[b"A"]]
        inbox.clear()


@conformance
async def test_a_publisher_that_connects_in_vain_keeps_nothing(bench):
    """No subscription is known yet, so there is nobody to keep a message for."""
    endpoint = bench.reserved()
    pub = bench.open(zmq.PUB, f">{endpoint}")
    assert pub.send(b"lost") is True
    sub = bench.open(zmq.SUB, f"@{endpoint}", subscribe=(b"",))
    inbox = bench.inbox(sub)
    await bench.ready(pub, inbox)
    pub.send(b"kept")
    await bench.until(lambda: inbox)
    assert inbox == [[b"kept"]]


@conformance
async def test_a_publisher_never_waits_for_a_slow_subscriber(bench):
    pub = bench.bound(zmq.PUB, options=SMALL_MARKS)
    sub, inbox = await bench.subscriber(pub, b"", options=SMALL_MARKS)
    sub.pause()
    for number in range(200):
        assert pub.send(b"%d" % number, BULK) is True
    assert pub.queue_length == 0
    sub.resume()
    await bench.ready(pub, inbox)
    pub.send(b"there is room again")
    await bench.until(lambda: inbox)
    assert inbox == [[b"there is room again"]]


@conformance
async def test_what_a_publisher_does_not_drop_is_the_oldest(bench):
    pub = bench.bound(zmq.PUB, options=SMALL_MARKS)
    sub, inbox = await bench.subscriber(pub, b"", options=SMALL_MARKS)
    sub.pause()
    for number in range(200):
        pub.send(b"%d" % number, BULK)
    sub.resume()
    await bench.until(lambda: len(inbox) >= 2)
    got = numbers(inbox)
    assert got == sorted(got) and got[:2] == [0, 1]
    if bench.exact:
        # Both marks make 4; the last of the trials may not be acknowledged yet.
        assert got in ([0, 1, 2], [0, 1, 2, 3])


# XPUB and XSUB


@conformance
async def test_an_xpub_hears_of_subscriptions(bench):
    xpub = bench.bound(zmq.XPUB)
    heard = bench.inbox(xpub)
    sub = bench.connected(zmq.SUB, xpub, subscribe=(b"B", b"A"))
    await bench.until(lambda: len(heard) == 2)
    assert sorted(heard) == [[b"\x01A"], [b"\x01B"]]
    sub.subscribe(b"")
    sub.unsubscribe(b"A")
    await bench.until(lambda: len(heard) == 4)
    assert heard[2:] == [[b"\x01"], [b"\x00A"]]


@conformance
async def test_an_xpub_hears_only_of_the_first_subscription_and_the_last_unsubscription(bench):
    xpub = bench.bound(zmq.XPUB)
    heard = bench.inbox(xpub)
    first = bench.connected(zmq.SUB, xpub, subscribe=(b"A", b"A"))
    await bench.until(lambda: heard)
    second = bench.connected(zmq.SUB, xpub, subscribe=(b"A", b"second"))
    await bench.until(lambda: len(heard) == 2)
    first.unsubscribe(b"A")
    first.unsubscribe(b"A")
    first.subscribe(b"first")
    await bench.until(lambda: len(heard) == 3)
    second.unsubscribe(b"A")
    await bench.until(lambda: len(heard) == 4)
    assert heard == [[b"\x01A"], [b"\x01second"], [b"\x01first"], [b"\x00A"]]


@conformance
async def test_a_verbose_xpub_hears_of_every_subscription(bench):
    xpub = bench.bound(zmq.XPUB, options={zmq.XPUB_VERBOSE: 1})
    heard = bench.inbox(xpub)
    first = bench.connected(zmq.SUB, xpub, subscribe=(b"A",))
    await bench.until(lambda: heard)
    second = bench.connected(zmq.SUB, xpub, subscribe=(b"A",))
    await bench.until(lambda: len(heard) == 2)
    second.subscribe(b"A")
    await bench.until(lambda: len(heard) == 3)
    first.unsubscribe(b"A")
    first.subscribe(b"first")
    await bench.until(lambda: len(heard) == 4)
    assert heard == [[b"\x01A"], [b"\x01A"], [b"\x01A"], [b"\x01first"]]


@conformance
async def test_a_more_verbose_xpub_hears_of_every_unsubscription_too(bench):
    xpub = bench.bound(zmq.XPUB, options={zmq.XPUB_VERBOSER: 1})
    heard = bench.inbox(xpub)
    subs = [bench.connected(zmq.SUB, xpub, subscribe=(b"A",)) for _ in range(2)]
    await bench.until(lambda: len(heard) == 2)
    for sub in subs:
        sub.unsubscribe(b"A")
    await bench.until(lambda: len(heard) == 4)
    assert heard == [[b"\x01A"], [b"\x01A"], [b"\x00A"], [b"\x00A"]]


@conformance
async def test_a_subscriber_that_closes_has_unsubscribed(bench):
    xpub = bench.bound(zmq.XPUB)
    heard = bench.inbox(xpub)
    leaving = bench.connected(zmq.SUB, xpub, subscribe=(b"A", b"B", b"shared"))
    staying = bench.connected(zmq.SUB, xpub, subscribe=(b"shared", b"mine"))
    await bench.until(lambda: len(heard) == 4)
    heard.clear()
    leaving.close()
    await bench.until(lambda: len(heard) == 2)
    staying.subscribe(b"still here")
    await bench.until(lambda: len(heard) == 3)
    assert sorted(heard) == [[b"\x00A"], [b"\x00B"], [b"\x01still here"]]


@conformance
async def test_an_xpub_that_connects_does_not_hear_that_its_subscriber_is_lost(bench):
    """Over tcp, where the connection is sought again; over inproc it ends, and that is heard."""
    sub = bench.bound(zmq.SUB, subscribe=(b"A",))
    endpoint = sub.endpoint
    xpub = bench.open(zmq.XPUB, f">{endpoint}", options={zmq.XPUB_VERBOSE: 1})
    heard = bench.inbox(xpub)
    await bench.until(lambda: heard)
    sub.close()
    again = await bench.bound_again(zmq.SUB, endpoint)
    if bench.tcp:
        again.subscribe(b"B")
    await bench.until(lambda: len(heard) == 2)
    assert heard == [[b"\x01A"], [b"\x01B" if bench.tcp else b"\x00A"]]


@conformance
async def test_an_xpub_sends_to_those_who_subscribed(bench):
    xpub = bench.bound(zmq.XPUB)
    heard = bench.inbox(xpub)
    inbox = bench.inbox(bench.connected(zmq.SUB, xpub, subscribe=(b"A",)))
    await bench.until(lambda: heard)
    xpub.send(b"B", b"1")
    xpub.send(b"A", b"2")
    await bench.until(lambda: inbox)
    assert inbox == [[b"A", b"2"]]


@conformance
async def test_an_xsub_subscribes_with_frames(bench):
    xpub = bench.bound(zmq.XPUB)
    heard = bench.inbox(xpub)
    xsub = bench.connected(zmq.XSUB, xpub)
    inbox = bench.inbox(xsub)
    xsub.send(b"\x01A")
    xsub.send(b"\x00never subscribed")
    xsub.send(b"\x01B")
    await bench.until(lambda: len(heard) == 2)
    assert sorted(heard) == [[b"\x01A"], [b"\x01B"]]
    xsub.send(b"\x00A")
    await bench.until(lambda: len(heard) == 3)
    xpub.send(b"A")
    xpub.send(b"B")
    await bench.until(lambda: inbox)
    assert inbox == [[b"B"]]


@conformance
async def test_an_xsub_sends_messages_of_its_own_upstream(bench):
    xpub = bench.bound(zmq.XPUB)
    heard = bench.inbox(xpub)
    xsub = bench.connected(zmq.XSUB, xpub)
    messages = [[b"hello"], [b""], [b"\x02", b"\x03"], [b"two", b"frames"]]
    for message in messages:
        xsub.send(*message)
    await bench.until(lambda: len(heard) == 4)
    assert heard == messages


@conformance
async def test_a_pub_ignores_messages_from_upstream(bench):
    pub = bench.bound(zmq.PUB)
    xsub = bench.connected(zmq.XSUB, pub)
    inbox = bench.inbox(xsub)
    xsub.send(b"hello")
    xsub.send(b"\x01")
    await bench.ready(pub, inbox)


@conformance
async def test_a_proxy_of_xsub_and_xpub_passes_subscriptions_on(bench):
    pub = bench.bound(zmq.PUB)
    frontend = bench.connected(zmq.XSUB, pub)
    backend = bench.bound(zmq.XPUB)
    frontend.on_message(lambda frames: backend.send(*frames) and None)
    backend.on_message(lambda frames: frontend.send(*frames) and None)
    _, inbox = await bench.subscriber(pub, b"A", via=backend)
    pub.send(b"B")
    pub.send(b"A", b"through")
    await bench.until(lambda: inbox)
    assert inbox == [[b"A", b"through"]]


@conformance
async def test_an_xpub_that_must_not_drop_makes_the_stream_wait(bench):
    xpub = bench.bound(zmq.XPUB, options={**SMALL_MARKS, zmq.XPUB_NODROP: 1})
    sub, inbox = await bench.subscriber(xpub, b"", options=SMALL_MARKS)
    sub.pause()
    sent = await bench.fill(xpub)
    sub.resume()
    await bench.until(lambda: len(inbox) == sent)
    assert numbers(inbox) == list(range(sent))
    assert xpub.queue_length == 0


@conformance
async def test_a_stream_that_waits_goes_on_when_its_xpub_may_drop_after_all(bench):
    xpub = bench.bound(zmq.XPUB, options={**SMALL_MARKS, zmq.XPUB_NODROP: 1})
    sub, inbox = await bench.subscriber(xpub, b"", options=SMALL_MARKS)
    sub.pause()
    await bench.fill(xpub)
    xpub.set_option(zmq.XPUB_NODROP, 0)
    await bench.until(lambda: not xpub.queue_length)


def granting(xpub):
    """What an XPUB in manual mode hears, with every subscription granted."""
    heard = []

    def on_message(frames):
        heard.append(frames)
        kind, topic = frames[0][:1], frames[0][1:]
        if kind in (b"\x00", b"\x01"):
            xpub.set_option(zmq.SUBSCRIBE if kind == b"\x01" else zmq.UNSUBSCRIBE, topic)

    xpub.on_message(on_message)
    return heard


@conformance
async def test_in_manual_mode_a_peer_is_sent_what_is_granted(bench):
    xpub = bench.bound(zmq.XPUB, options={zmq.XPUB_MANUAL: 1})
    heard = bench.inbox(xpub)
    inbox = bench.inbox(bench.connected(zmq.SUB, xpub, subscribe=(b"A",)))
    await bench.until(lambda: heard)
    xpub.send(b"A", b"not granted")
    xpub.set_option(zmq.SUBSCRIBE, b"A2")
    xpub.send(b"A1", b"not granted")
    xpub.send(b"A2", b"granted")
    await bench.until(lambda: inbox)
    assert inbox == [[b"A2", b"granted"]]


@conformance
async def test_in_manual_mode_every_subscription_is_heard_and_every_end_of_one(bench):
    xpub = bench.bound(zmq.XPUB, options={zmq.XPUB_MANUAL: 1})
    heard = granting(xpub)
    first, second = (bench.connected(zmq.SUB, xpub, subscribe=(b"A",)) for _ in range(2))
    inbox = bench.inbox(second)
    await bench.until(lambda: len(heard) == 2)
    first.close()
    await bench.until(lambda: len(heard) == 3)
    xpub.send(b"A", b"1")
    await bench.until(lambda: inbox)
    second.unsubscribe(b"A")
    second.subscribe(b"B")
    await bench.until(lambda: len(heard) == 5)
    xpub.send(b"A", b"2")
    xpub.send(b"B", b"3")
    await bench.until(lambda: len(inbox) == 2)
    assert heard == [[b"\x01A"], [b"\x01A"], [b"\x00A"], [b"\x00A"], [b"\x01B"]]
    assert inbox == [[b"A", b"1"], [b"B", b"3"]]


@conformance
async def test_the_last_value_goes_to_the_last_subscriber_alone_and_once(bench):
    """Without XPUB_MANUAL_LAST_VALUE, manual mode narrows nothing, also after it was set."""
    xpub = bench.bound(zmq.XPUB, options={zmq.XPUB_MANUAL: 1})
    heard = granting(xpub)
    early = bench.inbox(bench.connected(zmq.SUB, xpub, subscribe=(b"",)))
    await bench.until(lambda: heard)
    xpub.send(b"A", b"0")
    late = bench.inbox(bench.connected(zmq.SUB, xpub, subscribe=(b"A",)))
    await bench.until(lambda: len(heard) == 2)
    xpub.send(b"A", b"1")
    xpub.set_option(zmq.XPUB_MANUAL_LAST_VALUE, 1)
    for number in (b"2", b"3"):
        xpub.send(b"A", number)
    xpub.set_option(zmq.XPUB_MANUAL_LAST_VALUE, 0)
    xpub.set_option(zmq.XPUB_MANUAL, 1)
    xpub.send(b"A", b"4")
    await bench.until(lambda: len(late) == 4 and len(early) == 4)
    assert [body for _, body in late] == [b"1", b"2", b"3", b"4"]
    assert [body for _, body in early] == [b"0", b"1", b"3", b"4"]


@conformance
async def test_out_of_manual_mode_subscriptions_count_again_by_themselves(bench):
    xpub = bench.bound(zmq.XPUB, options={zmq.XPUB_MANUAL: 1, zmq.XPUB_VERBOSER: 1})
    heard = granting(xpub)
    early = bench.connected(zmq.SUB, xpub, subscribe=(b"A",))
    inbox = bench.inbox(early)
    await bench.until(lambda: heard)
    xpub.set_option(zmq.XPUB_MANUAL_LAST_VALUE, 0)
    bench.inbox(xpub)
    early.subscribe(b"B")
    _, others = await bench.subscriber(xpub, b"A")
    for topic in (b"A", b"B"):
        xpub.send(topic)
    await bench.until(lambda: others and len(inbox) == 2)
    assert inbox == [[b"A"], [b"B"]]
    with pytest.raises(OptionError):
        xpub.set_option(zmq.SUBSCRIBE, b"A")


# ROUTER and DEALER


@conformance
async def test_a_router_names_its_peers_as_they_wish(bench):
    router = bench.bound(zmq.ROUTER)
    requests = bench.inbox(router)
    alice = bench.connected(zmq.DEALER, router, options={zmq.IDENTITY: b"alice"})
    bob = bench.connected(zmq.DEALER, router, options={zmq.IDENTITY: b"\x00bob"})
    for_alice, for_bob = bench.inbox(alice), bench.inbox(bob)
    alice.send(b"hello", b"")
    bob.send(b"good day")
    await bench.until(lambda: len(requests) == 2)
    assert sorted(requests) == [[b"\x00bob", b"good day"], [b"alice", b"hello", b""]]
    router.send(b"alice", b"to alice", b"x")
    router.send(b"\x00bob", b"to bob")
    await bench.until(lambda: for_alice and for_bob)
    assert for_alice == [[b"to alice", b"x"]]
    assert for_bob == [[b"to bob"]]


@conformance
async def test_a_router_makes_up_names_for_the_nameless(bench):
    router = bench.bound(zmq.ROUTER)
    requests = bench.inbox(router)
    dealers = [bench.connected(zmq.DEALER, router) for _ in range(3)]
    inboxes = [bench.inbox(dealer) for dealer in dealers]
    for number, dealer in enumerate(dealers):
        dealer.send(b"%d" % number)
    await bench.until(lambda: len(requests) == 3)
    names = {name for name, _ in requests}
    assert len(names) == 3
    assert all(len(name) == 5 and name[0] == 0 for name in names)
    for name, body in requests:
        router.send(name, body)
    await bench.until(lambda: all(inboxes))
    assert inboxes == [[[b"0"]], [[b"1"]], [[b"2"]]]


@conformance
async def test_a_router_drops_what_it_cannot_route(bench):
    router = bench.bound(zmq.ROUTER)
    dealer = bench.connected(zmq.DEALER, router, options={zmq.IDENTITY: b"D"})
    requests, inbox = bench.inbox(router), bench.inbox(dealer)
    dealer.send(b"hello")
    await bench.until(lambda: requests)
    assert router.send(b"nobody", b"lost") is True
    assert router.send(b"D") is True  # a name without a message is none
    router.send(b"D", b"arrives")
    await bench.until(lambda: inbox)
    assert inbox == [[b"arrives"]]


@conformance
async def test_a_mandatory_router_says_what_it_cannot_route(bench):
    router = bench.bound(zmq.ROUTER, options={zmq.ROUTER_MANDATORY: 1})
    dealer = bench.connected(zmq.DEALER, router, options={zmq.IDENTITY: b"D"})
    requests, inbox = bench.inbox(router), bench.inbox(dealer)
    dealer.send(b"hello")
    await bench.until(lambda: requests)
    with pytest.raises(zmq.ZMQError) as caught:
        router.send(b"nobody", b"lost")
    assert caught.value.errno == zmq.EHOSTUNREACH
    router.send(b"D", b"arrives")
    await bench.until(lambda: inbox)
    assert inbox == [[b"arrives"]]


@conformance
async def test_a_mandatory_router_notices_that_a_peer_has_gone(bench):
    router = bench.bound(zmq.ROUTER, options={zmq.ROUTER_MANDATORY: 1})
    dealer = bench.connected(zmq.DEALER, router, options={zmq.IDENTITY: b"D"})
    requests = bench.inbox(router)
    dealer.send(b"hello")
    await bench.until(lambda: requests)
    dealer.close()

    def gone() -> bool:
        try:
            router.send(b"D", b"?")
        except zmq.ZMQError as error:
            assert error.errno == zmq.EHOSTUNREACH
            return True
        return False

    await bench.until(gone)


@conformance
async def test_a_second_peer_of_the_same_name_is_not_heard(bench):
    router = bench.bound(zmq.ROUTER)
    requests = bench.inbox(router)
    first = bench.connected(zmq.DEALER, router, options={zmq.IDENTITY: b"D"})
    inbox = bench.inbox(first)
    first.send(b"first")
    await bench.until(lambda: requests)
    second = bench.connected(zmq.DEALER, router, options={zmq.IDENTITY: b"D"})
    nothing = bench.inbox(second)
    second.send(b"second")
    router.send(b"D", b"for the first")
    await bench.until(lambda: inbox)
    first.send(b"still here")
    await bench.until(lambda: len(requests) == 2)
    assert requests == [[b"D", b"first"], [b"D", b"still here"]]
    assert nothing == []


@conformance
async def test_a_router_drops_the_newest_messages_at_the_mark(bench):
    router = bench.bound(zmq.ROUTER, options=SMALL_MARKS)
    options = {**SMALL_MARKS, zmq.IDENTITY: b"D"}
    dealer = bench.connected(zmq.DEALER, router, options=options)
    requests = bench.inbox(router)
    dealer.send(b"hello")
    await bench.until(lambda: requests)
    for number in range(200):
        assert router.send(b"D", b"%d" % number, BULK) is True
    assert router.queue_length == 0
    inbox = bench.inbox(dealer)
    await bench.until(lambda: len(inbox) >= 2)
    got = numbers(inbox)
    assert got == sorted(got) and got[:2] == [0, 1]
    if bench.exact:
        assert got == [0, 1, 2, 3]


@conformance
async def test_a_mandatory_router_makes_the_stream_wait_at_the_mark(bench):
    router = bench.bound(zmq.ROUTER, options={**SMALL_MARKS, zmq.ROUTER_MANDATORY: 1})
    options = {**SMALL_MARKS, zmq.IDENTITY: b"D"}
    dealer = bench.connected(zmq.DEALER, router, options=options)
    requests = bench.inbox(router)
    dealer.send(b"hello")
    await bench.until(lambda: requests)
    sent = await bench.fill(router, b"D")
    inbox = bench.inbox(dealer)
    await bench.until(lambda: len(inbox) == sent)
    assert numbers(inbox) == list(range(sent))


@conformance
async def test_a_dealer_takes_turns_among_its_peers(bench):
    routers = [bench.bound(zmq.ROUTER) for _ in range(3)]
    inboxes = [bench.inbox(router) for router in routers]
    dealer = bench.connected(zmq.DEALER, *routers)
    for number in range(9):
        dealer.send(b"%d" % number)
    await bench.until(lambda: all(len(inbox) == 3 for inbox in inboxes))
    assert [numbers(inbox, 1) for inbox in inboxes] == [[0, 3, 6], [1, 4, 7], [2, 5, 8]]


@conformance
async def test_dealers_talk_to_each_other(bench):
    one = bench.bound(zmq.DEALER)
    other = bench.connected(zmq.DEALER, one)
    inbox, other_inbox = bench.inbox(one), bench.inbox(other)
    other.send(b"hello", b"you")
    await bench.until(lambda: inbox)
    one.send(b"hello", b"too")
    await bench.until(lambda: other_inbox)
    assert (inbox, other_inbox) == ([[b"hello", b"you"]], [[b"hello", b"too"]])


@conformance
async def test_a_router_that_connects_names_its_peer_beforehand(bench):
    peer = bench.bound(zmq.ROUTER)
    router = bench.open(
        zmq.ROUTER,
        options={zmq.CONNECT_ROUTING_ID: b"peer", zmq.IDENTITY: b"me", zmq.ROUTER_MANDATORY: 1},
    )
    router.connect(peer.endpoint)
    requests, replies = bench.inbox(peer), bench.inbox(router)
    router.send(b"peer", b"hello")
    await bench.until(lambda: requests)
    peer.send(b"me", b"welcome")
    await bench.until(lambda: replies)
    assert (requests, replies) == ([[b"me", b"hello"]], [[b"peer", b"welcome"]])


@conformance
async def test_a_flood_from_one_peer_leaves_room_for_the_others(bench):
    router = bench.bound(zmq.ROUTER)
    flood = bench.connected(zmq.DEALER, router, options={zmq.IDENTITY: b"flood"})
    drop = bench.connected(zmq.DEALER, router, options={zmq.IDENTITY: b"drop"})
    hello = bench.inbox(router)
    flood.send(b"hello")
    drop.send(b"hello")
    await bench.until(lambda: len(hello) == 2)
    router.pause()
    for _ in range(500):
        flood.send(b"x")
    drop.send(b"y")
    inbox = bench.inbox(router)
    router.resume()
    await bench.until(lambda: len(inbox) == 501)
    assert inbox.index([b"drop", b"y"]) < (3 if bench.exact else 501)


# PUSH and PULL


@conformance
async def test_a_push_takes_turns_among_its_peers(bench):
    pulls = [bench.bound(zmq.PULL) for _ in range(3)]
    inboxes = [bench.inbox(pull) for pull in pulls]
    push = bench.connected(zmq.PUSH, *pulls)
    for number in range(9):
        push.send(b"%d" % number)
    await bench.until(lambda: all(len(inbox) == 3 for inbox in inboxes))
    assert [numbers(inbox) for inbox in inboxes] == [[0, 3, 6], [1, 4, 7], [2, 5, 8]]


@conformance
async def test_a_push_passes_over_a_peer_without_room(bench):
    slow, fast = (bench.bound(zmq.PULL, options=SMALL_MARKS) for _ in range(2))
    push = bench.connected(zmq.PUSH, slow, fast, options=SMALL_MARKS)
    inbox = bench.inbox(fast)
    for number in range(100):
        push.send(b"%d" % number, BULK)
        await bench.until(lambda: not push.queue_length)
    await bench.until(lambda: len(inbox) >= 70)
    late = bench.inbox(slow)
    await bench.until(lambda: len(inbox) + len(late) == 100)
    assert sorted(numbers(inbox) + numbers(late)) == list(range(100))


@conformance
async def test_a_pull_hears_all_its_peers(bench):
    pull = bench.bound(zmq.PULL)
    inbox = bench.inbox(pull)
    for number in range(3):
        bench.connected(zmq.PUSH, pull).send(b"%d" % number)
    await bench.until(lambda: len(inbox) == 3)
    assert sorted(numbers(inbox)) == [0, 1, 2]


@conformance
async def test_a_push_without_peers_makes_the_stream_wait(bench):
    push = bench.bound(zmq.PUSH)
    assert push.send(b"0") is True
    assert push.queue_length == 1
    pull = bench.connected(zmq.PULL, push)
    inbox = bench.inbox(pull)
    push.send(b"1")
    await bench.until(lambda: len(inbox) == 2)
    assert numbers(inbox) == [0, 1]


@conformance
async def test_without_a_peer_the_policy_decides(bench):
    for socket_type in (zmq.PUSH, zmq.DEALER, zmq.PAIR):
        streams = {
            policy: bench.bound(socket_type, queue_limit=2, policy=policy) for policy in Policy
        }
        for stream in streams.values():
            assert stream.send(b"0") and stream.send(b"1")
        with pytest.raises(QueueFull):
            streams[Policy.ERROR].send(b"2")
        assert streams[Policy.DROP_NEWEST].send(b"2") is False
        assert streams[Policy.DROP_OLDEST].send(b"2") is True
        assert [stream.queue_length for stream in streams.values()] == [2, 2, 2]
        assert [stream.messages_dropped for stream in streams.values()] == [0, 1, 1]


@conformance
async def test_at_the_mark_messages_wait_in_the_stream_and_come_in_order(bench):
    pull = bench.bound(zmq.PULL, options=SMALL_MARKS)
    push = bench.connected(zmq.PUSH, pull, options=SMALL_MARKS)
    writable = []
    push.on_writable(lambda: writable.append(push.queue_length))
    sent = await bench.fill(push)
    if bench.exact and not bench.tcp:
        assert sent == 5  # two and two, and the one that waits
    for number in range(sent, sent + 10):
        push.send(b"%d" % number, BULK)
    assert push.queue_length > 1
    assert writable == []
    inbox = bench.inbox(pull)
    await bench.until(lambda: len(inbox) == sent + 10)
    assert numbers(inbox) == list(range(sent + 10))
    await bench.until(lambda: writable)
    assert set(writable) == {0}


@conformance
async def test_a_mark_of_zero_is_no_limit(bench):
    pull = bench.bound(zmq.PULL, options={zmq.RCVHWM: 2})
    push = bench.connected(zmq.PUSH, pull, options={zmq.SNDHWM: 0})
    for number in range(5000):
        push.send(b"%d" % number)
    assert push.queue_length == 0
    inbox = bench.inbox(pull)
    await bench.until(lambda: len(inbox) == 5000)


# PAIR


@conformance
async def test_a_pair_talks_both_ways(bench):
    one = bench.bound(zmq.PAIR)
    other = bench.connected(zmq.PAIR, one)
    inbox, other_inbox = bench.inbox(one), bench.inbox(other)
    other.send(b"there")
    await bench.until(lambda: inbox)
    one.send(b"and", b"back")
    await bench.until(lambda: other_inbox)
    assert (inbox, other_inbox) == ([[b"there"]], [[b"and", b"back"]])


@conformance
async def test_a_pair_takes_one_peer(bench):
    one = bench.bound(zmq.PAIR)
    first = bench.connected(zmq.PAIR, one)
    inbox, first_inbox = bench.inbox(one), bench.inbox(first)
    first.send(b"first")
    await bench.until(lambda: inbox)
    second = bench.connected(zmq.PAIR, one)
    second_inbox = bench.inbox(second)
    second.send(b"second")
    one.send(b"for the first")
    await bench.until(lambda: first_inbox)
    first.send(b"first again")
    await bench.until(lambda: len(inbox) == 2)
    assert inbox == [[b"first"], [b"first again"]]
    assert second_inbox == []


# Endpoints


@conformance
async def test_who_connects_first_waits_and_loses_nothing(bench):
    endpoint = bench.reserved()
    push = bench.open(zmq.PUSH, f">{endpoint}")
    for number in range(5):
        assert push.send(b"%d" % number) is True
    assert push.queue_length == 0
    pull = bench.open(zmq.PULL, f"@{endpoint}")
    inbox = bench.inbox(pull)
    await bench.until(lambda: len(inbox) == 5)
    assert numbers(inbox) == list(range(5))


@conformance
async def test_who_waits_for_a_peer_is_limited_by_its_own_mark(bench):
    push = bench.open(zmq.PUSH, f">{bench.reserved()}", options={zmq.SNDHWM: 3})
    for number in range(5):
        push.send(b"%d" % number)
    assert push.queue_length == 2


@conformance
async def test_immediate_streams_do_not_send_before_there_is_a_peer(bench):
    """With inproc libzmq ignores IMMEDIATE; the fake has no reason to."""
    endpoint = bench.reserved()
    push = bench.open(zmq.PUSH, f">{endpoint}", options={zmq.IMMEDIATE: 1})
    push.send(b"0")
    assert push.queue_length == (1 if bench.fake or bench.tcp else 0)
    inbox = bench.inbox(bench.open(zmq.PULL, f"@{endpoint}"))
    await bench.until(lambda: inbox)
    assert inbox == [[b"0"]]


@conformance
async def test_the_real_endpoint_is_known(bench):
    streams = [bench.bound(zmq.ROUTER) for _ in range(3)]
    assert len({stream.endpoint for stream in streams}) == 3
    for stream in streams:
        assert "*" not in stream.endpoint
        assert stream.get_option(zmq.LAST_ENDPOINT) == stream.endpoint.encode()


@conformance
async def test_an_endpoint_in_use_is_refused(bench):
    first = bench.bound(zmq.PULL)
    with pytest.raises(EndpointError, match="in use"):
        bench.open(zmq.PULL, f"@{first.endpoint}")
    push = bench.connected(zmq.PUSH, first)
    inbox = bench.inbox(first)
    push.send(b"unharmed")
    await bench.until(lambda: inbox)


@conformance
async def test_nonsense_is_no_endpoint(bench):
    for endpoint in (
        "",
        "nonsense",
        "tcp://",
        "tcp://127.0.0.1",
        "tcp://127.0.0.1:port",
        "inproc://",
        "ipc://",
        "nonsense://127.0.0.1:5555",
    ):
        with pytest.raises(EndpointError):
            bench.open(zmq.PULL, f"@{endpoint}")
        with pytest.raises(EndpointError):
            bench.open(zmq.PULL, f">{endpoint}")
    with pytest.raises(EndpointError):
        bench.open(zmq.PULL, ">tcp://127.0.0.1:*")


@conformance
async def test_an_endpoint_is_free_again_after_its_stream_has_closed(bench):
    first = bench.bound(zmq.PULL)
    first.close()

    await bench.bound_again(zmq.PULL, first.endpoint)


@conformance
async def test_an_endpoint_is_free_again_after_unbind(bench):
    first = bench.bound(zmq.PULL)
    endpoint = first.endpoint
    first.unbind(endpoint)
    assert first.endpoints == ()
    await bench.bound_again(zmq.PULL, endpoint)


@conformance
async def test_a_stream_may_have_several_endpoints(bench):
    pull = bench.open(zmq.PULL, f"@{bench.fresh()}", f"@{bench.fresh()}")
    inbox = bench.inbox(pull)
    for number, endpoint in enumerate(pull.endpoints):
        bench.open(zmq.PUSH, f">{endpoint}").send(b"%d" % number)
    await bench.until(lambda: len(inbox) == 2)
    assert len(pull.endpoints) == 2


@conformance
async def test_after_disconnect_nothing_more_comes(bench):
    pubs = [bench.bound(zmq.PUB), bench.bound(zmq.PUB)]
    sub = bench.connected(zmq.SUB, *pubs, subscribe=(b"",))
    inbox = bench.inbox(sub)
    for pub in pubs:
        await bench.ready(pub, inbox)
    sub.disconnect(pubs[0].endpoint)
    pubs[0].send(b"0")
    pubs[1].send(b"1")
    await bench.until(lambda: inbox)
    assert inbox == [[b"1"]]


@conformance
async def test_disconnect_loses_what_was_not_read(bench):
    push, other = bench.bound(zmq.PUSH), bench.bound(zmq.PUSH)
    pull = bench.connected(zmq.PULL, push, other)
    push.send(b"unread")
    await bench.until(lambda: pull.get_option(zmq.EVENTS) & zmq.POLLIN)
    pull.disconnect(push.endpoint)
    inbox = bench.inbox(pull)
    other.send(b"other")
    await bench.until(lambda: inbox)
    assert inbox == [[b"other"]]


@conformance
async def test_leaving_where_one_never_was_is_an_error(bench):
    stream = bench.bound(zmq.PULL)
    for leave in (stream.unbind, stream.disconnect):
        for endpoint in ("inproc://nobody", "tcp://127.0.0.1:1", "nonsense"):
            with pytest.raises(EndpointError):
                leave(endpoint)


@conformance
async def test_a_lost_peer_is_sought_again(bench):
    """Over tcp; over inproc libzmq gives the connection up, and so does the fake."""
    first = bench.bound(zmq.PULL)
    endpoint = first.endpoint
    push = bench.open(zmq.PUSH, f">{endpoint}")
    inbox = bench.inbox(first)
    push.send(b"0")
    await bench.until(lambda: inbox)
    first.close()
    second = bench.inbox(await bench.bound_again(zmq.PULL, endpoint))
    if bench.tcp:

        def heard() -> bool:  # what is sent before the loss is noticed gets lost
            push.send(b"1")
            return bool(second)

        await bench.until(heard)
    else:
        await bench.until(lambda: push.send(b"1") and push.queue_length)


@conformance
async def test_types_that_do_not_fit_are_not_connected(bench):
    """Real inproc does not look at types, so it is left out."""
    if not (bench.fake or bench.tcp):
        return
    sub = bench.bound(zmq.SUB, subscribe=(b"",))
    stranger = bench.connected(zmq.PUSH, sub)
    stranger.send(b"stranger")
    pub = bench.connected(zmq.PUB, sub)
    inbox = bench.inbox(sub)
    await bench.until(lambda: pub.send(b"fits") and [b"fits"] in inbox)
    assert [b"stranger"] not in inbox


# Options


@conformance
async def test_options_that_do_not_fit_are_refused(bench):
    publisher_only = (zmq.XPUB_VERBOSE, zmq.XPUB_VERBOSER, zmq.XPUB_NODROP)
    for socket_type in (zmq.SUB, zmq.XSUB, zmq.ROUTER, zmq.DEALER, zmq.PUSH, zmq.PULL, zmq.PAIR):
        stream = bench.open(socket_type)
        for option in publisher_only:
            with pytest.raises(OptionError):
                stream.set_option(option, 1)
    for socket_type in (zmq.PUB, zmq.XPUB, zmq.XSUB, zmq.ROUTER, zmq.PULL):
        with pytest.raises(OptionError):
            bench.open(socket_type, subscribe=(b"A",))
    for socket_type in (zmq.PUB, zmq.SUB, zmq.DEALER, zmq.PUSH, zmq.PAIR):
        with pytest.raises(OptionError):
            bench.open(socket_type, options={zmq.ROUTER_MANDATORY: 1})


@conformance
async def test_values_that_make_no_sense_are_refused(bench):
    stream = bench.open(zmq.ROUTER)
    for option, value in (
        (zmq.SNDHWM, -1),
        (zmq.SNDHWM, b"5"),
        (zmq.LINGER, -2),
        (zmq.IDENTITY, b""),
        (zmq.IDENTITY, bytes(256)),
        (zmq.IDENTITY, 5),
        (zmq.ROUTER_MANDATORY, -1),
        (zmq.TYPE, zmq.PUB),
        (999_999, 1),
    ):
        with pytest.raises(OptionError):
            stream.set_option(option, value)


@conformance
async def test_options_can_be_read_back(bench):
    stream = bench.open(zmq.DEALER)
    assert stream.get_option(zmq.TYPE) == zmq.DEALER
    assert stream.get_option(zmq.SNDHWM) == stream.get_option(zmq.RCVHWM) == 1000
    assert stream.get_option(zmq.LINGER) == 0
    stream.set_option(zmq.SNDHWM, 7)
    stream.set_option(zmq.IDENTITY, b"me")
    assert stream.get_option(zmq.SNDHWM) == 7
    assert stream.get_option(zmq.IDENTITY) == b"me"


@conformance
async def test_some_options_cannot_be_read(bench):
    router = bench.open(zmq.ROUTER, options={zmq.ROUTER_MANDATORY: 1})
    sub = bench.open(zmq.SUB, subscribe=(b"A",))
    for stream, option in (
        (router, zmq.ROUTER_MANDATORY),
        (sub, zmq.SUBSCRIBE),
        (bench.open(zmq.XPUB), zmq.XPUB_VERBOSE),
        (router, 999_999),
    ):
        with pytest.raises(OptionError):
            stream.get_option(option)


@conformance
async def test_some_types_only_send_and_some_only_receive(bench):
    for socket_type in (zmq.SUB, zmq.PULL):
        with pytest.raises(zmq.ZMQError):
            bench.bound(socket_type).send(b"x")


# Connections that end


async def linked(bench, **options):
    """A PUSH and a PULL that is connected to it, and the PULL's inbox; a message has passed."""
    push = bench.bound(zmq.PUSH)
    pull = bench.connected(zmq.PULL, push, **options)
    inbox = bench.inbox(pull)
    push.send(b"0")
    await bench.until(lambda: inbox)
    inbox.clear()
    return push, pull, inbox


@conformance
async def test_a_stream_is_told_when_the_one_it_connects_to_has_closed(bench):
    """Not over inproc: libzmq says nothing of it, and so the fake does not."""
    push, pull, _ = await linked(bench)
    told = []
    pull.on_disconnected(lambda: told.append(True))
    push.close()
    if bench.tcp:
        await bench.until(lambda: told)
        await bench.settle()
        assert told == [True]
    else:
        await bench.settle()
        assert told == []


@conformance
async def test_a_bound_stream_is_told_when_one_that_connected_has_closed(bench):
    push, pull, _ = await linked(bench)
    told = []
    push.on_disconnected(lambda: told.append(True))
    pull.close()
    if bench.tcp:
        await bench.until(lambda: told)
    else:
        await bench.settle()
        assert told == []


@conformance
async def test_a_stream_is_not_told_of_what_it_ends_itself(bench):
    push, pull, _ = await linked(bench)
    told = []
    pull.on_disconnected(lambda: told.append(True))
    push.on_disconnected(lambda: None)
    pull.disconnect(push.endpoint)
    await bench.settle()
    pull.close()
    await bench.settle()
    assert told == []


@conformance
async def test_what_had_arrived_is_delivered_before_the_end_is_told(bench):
    push, pull, _ = await linked(bench)
    seen = []
    pull.on_message(lambda frames: seen.append(frames[0]))
    pull.batch_limit = 10
    pull.on_disconnected(lambda: seen.append(b"end"))
    for number in range(100):
        push.send(b"%d" % number)
    push.close(linger_ms=5000)
    expected = [b"%d" % number for number in range(100)]
    await bench.until(lambda: len(seen) >= 100 + bench.tcp)
    assert seen == [*expected, b"end"] if bench.tcp else seen == expected


@conformance
async def test_an_end_waits_for_a_coroutine_hook_and_what_comes_after_it(bench):
    if not bench.tcp:
        return
    push, pull, _ = await linked(bench)
    seen, go_on = [], asyncio.Event()

    async def hook(frames):
        await go_on.wait()
        seen.append(frames[0])

    pull.on_message(hook)
    pull.on_disconnected(lambda: seen.append(b"end"))
    push.send(b"1")
    push.send(b"2")
    await bench.until(lambda: pull.held_by is not None)
    push.close(linger_ms=5000)
    await bench.settle()
    assert seen == []
    go_on.set()
    await bench.until(lambda: len(seen) == 3)
    assert seen == [b"1", b"2", b"end"]


@conformance
async def test_a_paused_stream_is_told_at_once(bench):
    if not bench.tcp:
        return
    push, pull, inbox = await linked(bench)
    told = []
    pull.pause()
    pull.on_disconnected(lambda: told.append(True))
    push.send(b"1")
    push.close(linger_ms=5000)
    await bench.until(lambda: told)
    assert inbox == []
    pull.resume()
    await bench.until(lambda: inbox)


@conformance
async def test_ends_are_told_again_after_a_new_connection_until_nobody_asks(bench):
    if not bench.tcp:
        return
    push, pull, inbox = await linked(bench)
    told = []
    pull.on_disconnected(lambda: told.append(True))
    for turn in (1, 2):
        endpoint = push.endpoint
        push.close()
        await bench.until(lambda turn=turn: len(told) == turn)
        push = await bench.bound_again(zmq.PUSH, endpoint)
        push.send(b"again")
        await bench.until(lambda turn=turn: len(inbox) == turn)
    pull.on_disconnected(None)
    push.close()
    await bench.settle()
    assert len(told) == 2


@conformance
async def test_a_hook_for_ends_that_raises_stops_nothing(bench):
    if not bench.tcp:
        return
    push, pull, inbox = await linked(bench)
    errors = []
    pull.on_error = errors.append
    pull.on_disconnected(lambda: 1 / 0)
    endpoint = push.endpoint
    push.close()
    await bench.until(lambda: errors)
    push = await bench.bound_again(zmq.PUSH, endpoint)
    push.send(b"again")
    await bench.until(lambda: inbox)
    assert [type(error) for error in errors] == [ZeroDivisionError]


@conformance
async def test_a_connection_that_cannot_be_made_is_no_end(bench):
    pull = bench.open(zmq.PULL, f">{bench.reserved()}")
    told = []
    pull.on_disconnected(lambda: told.append(True))
    await bench.settle()
    assert told == []


@conformance
async def test_an_endpoint_is_refused_as_soon_as_nobody_listens_there(bench):
    """Over inproc libzmq cannot be asked; the fake can."""
    push, pull, _ = await linked(bench)
    assert not await pull.is_refused()
    push.close()
    if not bench.tcp:
        return
    answers = []
    while not any(answers):  # libzmq closes sockets in a thread of its own
        answers.append(await pull.is_refused(timeout=DEADLINE_SECONDS))
        await asyncio.sleep(POLL_SECONDS)
        assert len(answers) < DEADLINE_SECONDS / POLL_SECONDS


# Closing


@conformance
async def test_a_closed_stream_refuses_everything(bench):
    stream = bench.bound(zmq.DEALER)
    stream.close()
    stream.close()
    assert stream.closed
    for call in (
        lambda: stream.send(b"x"),
        lambda: stream.on_message(print),
        stream.pause,
        stream.resume,
        lambda: stream.bind(bench.fresh()),
        lambda: stream.connect("inproc://x"),
        lambda: stream.set_option(zmq.SNDHWM, 1),
        lambda: stream.get_option(zmq.SNDHWM),
    ):
        with pytest.raises(StreamClosed):
            call()


@conformance
async def test_what_was_sent_before_closing_arrives(bench):
    pull = bench.bound(zmq.PULL)
    push = bench.connected(zmq.PUSH, pull)
    for number in range(10):
        push.send(b"%d" % number)
    push.close(linger_ms=5000)
    inbox = bench.inbox(pull)
    await bench.until(lambda: len(inbox) == 10)
    assert numbers(inbox) == list(range(10))


@conformance
async def test_what_waits_for_a_peer_lingers_after_closing(bench):
    endpoint = bench.reserved()
    push = bench.open(zmq.PUSH, f">{endpoint}")
    push.send(b"lingers")
    push.close(linger_ms=5000)
    inbox = bench.inbox(bench.open(zmq.PULL, f"@{endpoint}"))
    await bench.until(lambda: inbox)
    assert inbox == [[b"lingers"]]


@conformance
async def test_messages_that_arrived_stay_readable_when_their_sender_closes(bench):
    pull = bench.bound(zmq.PULL)
    push = bench.connected(zmq.PUSH, pull)
    push.send(b"1")
    push.send(b"2")
    await bench.until(lambda: pull.get_option(zmq.EVENTS) & zmq.POLLIN)
    push.close(linger_ms=5000)
    last = bench.connected(zmq.PUSH, pull)
    inbox = bench.inbox(pull)
    last.send(b"3")
    await bench.until(lambda: len(inbox) == 3)
    assert sorted(numbers(inbox)) == [1, 2, 3]


@conformance
async def test_the_others_survive_a_peer_that_closes(bench):
    router = bench.bound(zmq.ROUTER)
    requests = bench.inbox(router)
    leaving, staying = (bench.connected(zmq.DEALER, router) for _ in range(2))
    inbox = bench.inbox(staying)
    leaving.send(b"leaving")
    staying.send(b"staying")
    await bench.until(lambda: len(requests) == 2)
    leaving.close()
    for name, body in requests:
        router.send(name, body)
    await bench.until(lambda: inbox)
    assert inbox == [[b"staying"]]


@conformance
async def test_what_waits_in_the_stream_is_counted_as_dropped_on_closing(bench):
    push = bench.bound(zmq.PUSH)
    push.send(b"1")
    push.send(b"2")
    push.close()
    assert push.statistics().messages_dropped == 2


@conformance
async def test_a_handler_that_is_unregistered_sends_what_waits(bench):
    pull = bench.bound(zmq.PULL, options=SMALL_MARKS)
    push = bench.connected(zmq.PUSH, pull, options=SMALL_MARKS)
    handler = StreamHandler(push)
    bench.reactor.register(handler)
    bench.reactor.stop_timeout = DEADLINE_SECONDS
    sent = await bench.fill(push)
    stopping = bench.reactor.unregister(handler)
    inbox = bench.inbox(pull)
    await stopping
    await bench.until(lambda: len(inbox) == sent)
    assert push.closed
    bench.reactor.stop_timeout = STOP_SECONDS
