"""FakeNetwork: what only the fake has (faults, virtual time, chance), and its finer rules.

What it shares with libzmq is in test_conformance.py.
"""

import errno
import random
import subprocess
import sys
from pathlib import Path

import pytest
import zmq

from reactor import EndpointError, HandlerSet, Reactor, StreamHandler
from reactor.testing import FakeLoop, FakeNetwork, fake_reactor


@pytest.fixture
def bench(fake_reactor):
    return Bench(fake_reactor)


class Bench:
    """A few words for what these tests do all the time."""

    def __init__(self, reactor):
        self.reactor = reactor
        self.network = reactor.network
        self.loop = reactor.loop
        self.open = reactor.open_stream

    def pair(self, bound=zmq.PULL, connected=zmq.PUSH, endpoint="tcp://server:1", **options):
        """Two joined streams, of which the first is bound, and the inbox of that one."""
        server = self.open(bound, f"@{endpoint}", name="server", **options)
        client = self.open(connected, f">{endpoint}", name="client", **options)
        inbox = self.inbox(server)
        self.loop.run_pending()
        return server, client, inbox

    def inbox(self, stream):
        """Where the messages go, each with its time."""
        messages = []
        stream.on_message(lambda frames: messages.append((self.loop.time(), *frames)))
        return messages


def bodies(inbox):
    return [message[-1] for message in inbox]


# Time


def test_nothing_arrives_before_the_loop_turns(bench):
    pull, push, inbox = bench.pair()
    push.send(b"x")
    assert inbox == []
    bench.loop.run_pending()
    assert inbox == [(0.0, b"x")]


def test_a_message_takes_the_latency():
    loop = FakeLoop()
    with fake_reactor(FakeNetwork(loop, latency=0.25)) as reactor:
        pull, push, inbox = Bench(reactor).pair()
        push.send(b"a")
        loop.advance(0.1)
        push.send(b"b")
        loop.advance(1.0)
        assert inbox == [(0.25, b"a"), (0.35, b"b")]


def test_a_subscription_takes_the_latency_too():
    """So what is published meanwhile misses the subscriber: the slow joiner is real."""
    loop = FakeLoop()
    with fake_reactor(FakeNetwork(loop, latency=1.0)) as reactor:
        bench = Bench(reactor)
        pub = bench.open(zmq.PUB, "@tcp://server:1")
        sub = bench.open(zmq.SUB, ">tcp://server:1", subscribe=(b"",))
        inbox = bench.inbox(sub)
        for number in range(4):
            pub.send(b"%d" % number)
            loop.advance(0.5)
        loop.advance(1.0)
        assert inbox == [(2.0, b"2"), (2.5, b"3")]


def scenario(seed):
    """Clients come, go and talk over a network full of faults; returns all that was heard."""
    chance = random.Random(seed)
    loop = FakeLoop()
    log = []
    with fake_reactor(FakeNetwork(loop, seed, latency=0.01, jitter=0.2)) as reactor:
        network = reactor.network
        router = reactor.open_stream(zmq.ROUTER, "@tcp://server:1", name="router")
        xpub = reactor.open_stream(zmq.XPUB, "@tcp://server:2", name="xpub")
        router.on_message(lambda frames: log.append((loop.time(), "router", *frames)))
        xpub.on_message(lambda frames: log.append((loop.time(), "xpub", *frames)))
        clients = []
        for step in range(100):
            match chance.randrange(7):
                case 0:
                    name = f"client{step}"
                    dealer = reactor.open_stream(zmq.DEALER, ">tcp://server:1", name=name)
                    topics = (b"A", b"B", b"%d" % step)
                    sub = reactor.open_stream(zmq.SUB, ">tcp://server:2", subscribe=topics)
                    sub.on_message(lambda f, name=name: log.append((loop.time(), name, *f)))
                    clients.append((dealer, sub))
                case 1 if clients:
                    for stream in clients.pop(chance.randrange(len(clients))):
                        stream.close()
                case 2:
                    network.partition("router", reset=chance.random() < 0.5)
                case 3:
                    network.heal()
                case 4:
                    network.drop(chance.randrange(3))
                case _:
                    xpub.send(chance.choice([b"A", b"B", b"C"]), b"%d" % step)
                    for dealer, _ in clients:
                        dealer.send(b"%d" % step)
            loop.advance(0.1)
    return log


def test_the_same_seed_is_the_same_story():
    assert scenario(7) == scenario(7)
    assert scenario(7) != scenario(8)


def test_the_story_does_not_depend_on_hashes_or_addresses():
    """Another process, with another seed of hashes, tells the same."""
    program = "from tests.reactor.testing.test_network import scenario; print(scenario(3))"
    told = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        check=True,
        text=True,
        timeout=50,
    )
    assert told.stdout.splitlines()[-1] == str(scenario(3))
    assert len(scenario(3)) > 30


def test_jitter_never_reorders_a_connection():
    with fake_reactor(FakeNetwork(FakeLoop(), seed=1, jitter=1.0)) as reactor:
        pull, push, inbox = Bench(reactor).pair()
        for number in range(100):
            push.send(b"%d" % number)
            reactor.loop.advance(0.01)
        reactor.loop.advance(1.0)
        assert bodies(inbox) == [b"%d" % number for number in range(100)]
        assert len({time for time, _ in inbox}) > 1


# Partitions


def test_a_partition_holds_messages_until_it_heals(bench):
    pull, push, inbox = bench.pair()
    bench.network.partition("server", "client")
    push.send(b"1")
    push.send(b"2")
    bench.loop.advance(100)
    assert inbox == []
    bench.network.heal()
    assert inbox == []
    bench.loop.run_pending()
    assert inbox == [(100.0, b"1"), (100.0, b"2")]


def test_what_is_under_way_is_held_as_well(bench):
    pull, push, inbox = bench.pair()
    push.send(b"1")
    bench.network.partition("server", "client")
    bench.loop.advance(1)
    assert inbox == []
    bench.network.heal("client", "server")
    bench.loop.run_pending()
    assert bodies(inbox) == [b"1"]


def test_a_partition_works_both_ways(bench):
    server, client, inbox = bench.pair(zmq.PAIR, zmq.PAIR)
    back = bench.inbox(client)
    bench.network.partition("server", "client")
    server.send(b"down")
    client.send(b"up")
    bench.loop.advance(1)
    assert (inbox, back) == ([], [])
    bench.network.heal()
    bench.loop.run_pending()
    assert (bodies(inbox), bodies(back)) == ([b"up"], [b"down"])


def test_held_messages_count_against_the_high_water_marks(bench):
    marks = {zmq.SNDHWM: 2, zmq.RCVHWM: 3}
    pull, push, inbox = bench.pair(options=marks)
    bench.network.partition("server", "client")
    for number in range(8):
        push.send(b"%d" % number)
    bench.loop.advance(1)
    assert push.queue_length == 3
    bench.network.heal()
    bench.loop.run_pending()
    assert len(inbox) == 8


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("server", "client"),
        ("client", "server"),
        ("tcp://server:1", "client"),
        ("client", "tcp://server:1"),
        (["server", "another"], ["client"]),
        ("client", None),
        (None, "server"),
        (None, None),
    ],
)
def test_places_are_names_endpoints_several_of_them_or_everywhere(bench, a, b):
    pull, push, inbox = bench.pair()
    bench.network.partition(a, b)
    push.send(b"x")
    bench.loop.run_pending()
    assert inbox == []
    bench.network.heal(a, b)
    bench.loop.run_pending()
    assert bodies(inbox) == [b"x"]


def test_streams_are_places(bench):
    pull, push, inbox = bench.pair()
    bench.network.partition(pull, (push,))
    push.send(b"x")
    bench.loop.run_pending()
    assert inbox == []
    bench.network.heal((push,), pull)
    bench.loop.run_pending()
    assert bodies(inbox) == [b"x"]


def test_a_handler_set_is_a_place_by_its_name(bench):
    class Server(HandlerSet):
        name = "primary"

        def build(self):
            self.requests = self.open_stream(zmq.PULL, "@tcp://server:1", name="requests")
            return [StreamHandler(self.requests)]

    server = Server()
    bench.reactor.register(server)
    push = bench.open(zmq.PUSH, ">tcp://server:1")
    inbox = bench.inbox(server.requests)
    bench.loop.run_pending()
    bench.network.partition("primary")
    push.send(b"x")
    bench.loop.run_pending()
    assert inbox == []


@pytest.mark.parametrize(
    ("a", "b"), [("server", "other"), ("serv", None), ("tcp://server:2", None), ("client", "push")]
)
def test_a_partition_elsewhere_harms_nobody(bench, a, b):
    pull, push, inbox = bench.pair()
    bench.network.partition(a, b)
    push.send(b"x")
    bench.loop.run_pending()
    assert bodies(inbox) == [b"x"]


def test_partitions_heal_one_by_one(bench):
    pull, push, inbox = bench.pair()
    bench.network.partition("server", "client")
    bench.network.partition("client")
    push.send(b"x")
    bench.network.heal("client")
    bench.loop.run_pending()
    assert inbox == []
    bench.network.heal("server", "client")
    bench.loop.run_pending()
    assert bodies(inbox) == [b"x"]


def test_healing_what_is_whole_is_an_error(bench):
    bench.network.heal()
    bench.network.partition("server", "client")
    with pytest.raises(ValueError, match="no partition between 'server' and 'nobody'"):
        bench.network.heal("server", "nobody")


@pytest.mark.parametrize("endpoint", ["tcp://server:1", "inproc://server"])
@pytest.mark.parametrize("reset", [False, True])
def test_nobody_connects_through_a_partition(bench, endpoint, reset):
    bench.network.partition("server", reset=reset)
    pull, push, inbox = bench.pair(endpoint=endpoint)
    push.send(b"waits")
    bench.loop.advance(10)
    assert inbox == []
    bench.network.heal("server")
    bench.loop.run_pending()
    assert bodies(inbox) == [b"waits"]


def test_a_peer_that_closes_behind_a_partition_is_not_noticed(bench):
    xpub, sub, heard = bench.pair(zmq.XPUB, zmq.SUB)
    sub.subscribe(b"A")
    bench.loop.run_pending()
    bench.network.partition("server", "client")
    sub.close()
    bench.loop.advance(10)
    assert bodies(heard) == [b"\x01A"]
    bench.network.heal()
    bench.loop.run_pending()
    assert heard == [(0.0, b"\x01A"), (10.0, b"\x00A")]


# Resets


def test_a_reset_loses_what_is_under_way_and_connects_anew(bench):
    pull, push, inbox = bench.pair()
    push.send(b"lost")
    bench.network.partition("server", "client", reset=True)
    push.send(b"kept by the side that connects")
    bench.loop.advance(1)
    bench.network.heal()
    bench.loop.run_pending()
    assert bodies(inbox) == [b"kept by the side that connects"]


def test_a_reset_over_inproc_connects_anew_as_well(bench):
    pull, push, inbox = bench.pair(endpoint="inproc://server")
    bench.network.partition("server", reset=True)
    bench.network.heal()
    push.send(b"x")
    bench.loop.run_pending()
    assert bodies(inbox) == [b"x"]


def test_a_reset_leaves_the_side_that_connects_with_an_empty_pipe(bench):
    pull, push, inbox = bench.pair(options={zmq.SNDHWM: 2, zmq.RCVHWM: 2})
    pull.pause()
    for number in range(5):
        push.send(b"%d" % number)
    bench.loop.run_pending()
    assert push.queue_length == 1
    bench.network.partition("server", reset=True)
    bench.loop.run_pending()
    push.send(b"5")
    push.send(b"6")
    assert push.queue_length == 1
    bench.network.heal()
    pull.resume()
    bench.loop.run_pending()
    assert bodies(inbox) == [b"%d" % number for number in range(7)]


def test_what_had_arrived_before_a_reset_stays_readable(bench):
    pull, push, inbox = bench.pair()
    pull.pause()
    push.send(b"x")
    bench.loop.run_pending()
    bench.network.partition("server", reset=True)
    pull.resume()
    bench.loop.run_pending()
    assert bodies(inbox) == [b"x"]


@pytest.mark.parametrize("endpoint", ["tcp://server:1", "inproc://server"])
def test_both_sides_are_told_of_a_reset_and_of_no_other_partition(bench, endpoint):
    pull, push, _ = bench.pair(endpoint=endpoint)
    told = []
    for stream in (pull, push):
        stream.on_disconnected(lambda name=stream.name: told.append(name))
    bench.network.partition("server")
    bench.loop.advance(10)
    assert told == []
    bench.network.partition("server", reset=True)
    bench.loop.run_pending()
    assert sorted(told) == ["client", "server"]


@pytest.mark.parametrize("place", ["client", "tcp://server:1", None])
def test_an_endpoint_behind_a_partition_is_not_refused(bench, place):
    pull, push, _ = bench.pair()
    pull.close()

    def refused():
        return bench.loop.run_until_complete(push.is_refused())

    assert refused()
    bench.network.partition(place)
    assert not refused()
    bench.network.heal()
    assert refused()


def test_the_bound_side_keeps_nothing_during_a_reset(bench):
    push, pull, _ = bench.pair(zmq.PUSH, zmq.PULL)
    bench.network.partition("server", reset=True)
    push.send(b"x")
    assert push.queue_length == 1


def test_subscriptions_end_with_a_reset_and_are_sent_again(bench):
    xpub, sub, heard = bench.pair(zmq.XPUB, zmq.SUB)
    inbox = bench.inbox(sub)
    sub.subscribe(b"A")
    sub.subscribe(b"B")
    bench.loop.advance(1)
    bench.network.partition("client", reset=True)
    bench.loop.advance(1)
    xpub.send(b"A", b"nobody hears it")
    sub.unsubscribe(b"B")
    bench.network.heal()
    bench.loop.advance(1)
    xpub.send(b"A", b"heard")
    bench.loop.run_pending()
    assert heard == [
        (0.0, b"\x01A"),
        (0.0, b"\x01B"),
        (1.0, b"\x00A"),
        (1.0, b"\x00B"),
        (2.0, b"\x01A"),
    ]
    assert bodies(inbox) == [b"heard"]


def test_a_router_gives_a_new_name_after_a_reset(bench):
    router, dealer, requests = bench.pair(zmq.ROUTER, zmq.DEALER, options={})
    router.set_option(zmq.ROUTER_MANDATORY, 1)
    dealer.send(b"before")
    bench.loop.run_pending()
    old = requests[0][1]
    bench.network.partition("server", "client", reset=True)
    with pytest.raises(zmq.ZMQError) as caught:
        router.send(old, b"?")
    assert caught.value.errno == zmq.EHOSTUNREACH
    bench.network.heal()
    dealer.send(b"after")
    bench.loop.run_pending()
    new = requests[1][1]
    assert new != old
    assert len(new) == 5


def test_a_peer_that_chose_its_name_keeps_it_over_a_reset(bench):
    router = bench.open(zmq.ROUTER, "@tcp://server:1")
    dealer = bench.open(zmq.DEALER, ">tcp://server:1", options={zmq.IDENTITY: b"me"})
    inbox = bench.inbox(dealer)
    bench.loop.run_pending()
    bench.network.partition(reset=True, a=router)
    bench.network.heal()
    bench.loop.run_pending()
    router.send(b"me", b"x")
    bench.loop.run_pending()
    assert bodies(inbox) == [b"x"]


def test_a_publisher_that_connects_keeps_messages_for_known_subscriptions(bench):
    """As libzmq does over tcp, up to its own mark; the side that is bound keeps nothing."""
    sub = bench.open(zmq.SUB, "@tcp://server:1", subscribe=(b"A",))
    pub = bench.open(zmq.PUB, ">tcp://server:1", options={zmq.SNDHWM: 2})
    bench.loop.run_pending()
    bench.network.partition(sub, reset=True)
    for topic in (b"A1", b"B1", b"A2", b"A3"):
        pub.send(topic)
    inbox = bench.inbox(sub)
    bench.network.heal()
    bench.loop.run_pending()
    assert bodies(inbox) == [b"A1", b"A2"]
    assert bench.network.overflowed == 1


# Losses


def test_so_many_messages_are_dropped(bench):
    pull, push, inbox = bench.pair()
    loss = bench.network.drop(2)
    for number in range(4):
        push.send(b"%d" % number)
    bench.loop.run_pending()
    assert bodies(inbox) == [b"2", b"3"]
    assert bench.network.dropped == loss.dropped == 2


def test_a_predicate_drops_until_it_is_cancelled(bench):
    pull, push, inbox = bench.pair()
    loss = bench.network.drop(lambda frames: frames[0] == b"A" and len(frames) == 2)
    push.send(b"A", b"1")
    push.send(b"A")
    push.send(b"B", b"2")
    bench.loop.run_pending()
    loss.cancel()
    loss.cancel()
    push.send(b"A", b"3")
    bench.loop.run_pending()
    assert inbox == [(0.0, b"A"), (0.0, b"B", b"2"), (0.0, b"A", b"3")]
    assert bench.network.dropped == loss.dropped == 1


def test_a_loss_has_a_place(bench):
    pull, push, inbox = bench.pair()
    other = bench.open(zmq.PUSH, ">tcp://server:1", name="other")
    bench.loop.run_pending()
    bench.network.drop(100, "client", "server")
    push.send(b"lost")
    other.send(b"kept")
    bench.loop.run_pending()
    assert bodies(inbox) == [b"kept"]


def test_dropped_messages_leave_room_for_others(bench):
    pull, push, inbox = bench.pair(options={zmq.SNDHWM: 1, zmq.RCVHWM: 1})
    bench.network.drop(10)
    for number in range(11):
        push.send(b"%d" % number)
    bench.loop.run_pending()
    assert bodies(inbox) == [b"10"]


def test_subscriptions_are_never_dropped(bench):
    bench.network.drop(lambda frames: True)
    xpub, xsub, heard = bench.pair(zmq.XPUB, zmq.XSUB)
    xsub.send(b"\x01A")
    xsub.send(b"a message")
    xsub.send(b"\x00A")
    bench.loop.run_pending()
    assert bodies(heard) == [b"\x01A", b"\x00A"]
    assert bench.network.dropped == 1


# Delays


def test_a_delay_makes_messages_take_longer(bench):
    pull, push, inbox = bench.pair()
    delay = bench.network.delay(2.0)
    push.send(b"a")
    bench.loop.advance(1.0)
    delay.cancel()
    push.send(b"b, which does not overtake a")
    bench.loop.advance(5.0)
    push.send(b"c")
    bench.loop.run_pending()
    assert [time for time, _ in inbox] == [2.0, 2.0, 6.0]


def test_delays_add_up_and_have_a_place(bench):
    pull, push, inbox = bench.pair()
    other = bench.open(zmq.PUSH, ">tcp://server:1", name="other")
    bench.network.delay(1.0)
    bench.network.delay(0.5, "client", "tcp://server:1")
    bench.loop.run_pending()
    push.send(b"client")
    other.send(b"other")
    bench.loop.advance(3.0)
    assert inbox == [(1.0, b"other"), (1.5, b"client")]


def test_a_delay_also_holds_for_later_connections(bench):
    bench.network.delay(1.0, "client")
    pull, push, inbox = bench.pair()
    push.send(b"x")
    bench.loop.advance(2.0)
    assert inbox == [(1.0, b"x")]


@pytest.mark.parametrize("seconds", [-1, float("nan")])
def test_a_delay_is_not_negative(bench, seconds):
    with pytest.raises(ValueError, match="from 0 on"):
        bench.network.delay(seconds)


# High-water marks


def test_room_comes_back_in_steps_of_half_the_marks(bench):
    """As libzmq does it, so that a slow reader's sender wakes up less often."""
    pull, push, inbox = bench.pair(options={zmq.SNDHWM: 2, zmq.RCVHWM: 4})
    pull.on_message(None)
    for number in range(7):
        push.send(b"%d" % number)
    bench.loop.run_pending()
    assert push.queue_length == 1
    channel = pull._fake_channel
    channel.receive()
    channel.receive()
    bench.loop.run_pending()
    assert push.queue_length == 1
    channel.receive()
    bench.loop.run_pending()
    assert push.queue_length == 0


def test_what_arrived_before_a_reset_makes_no_room_after_it(bench):
    marks = {zmq.SNDHWM: 2, zmq.RCVHWM: 2}
    push = bench.open(zmq.PUSH, "@tcp://server:1", options=marks)
    pull = bench.open(zmq.PULL, ">tcp://server:1", options=marks)
    bench.loop.run_pending()
    for number in range(4):
        push.send(b"%d" % number)
    bench.loop.run_pending()
    bench.network.partition(push, reset=True)
    bench.network.heal()
    bench.loop.run_pending()
    inbox = bench.inbox(pull)
    bench.loop.run_pending()
    assert len(inbox) == 4
    pull.pause()
    for number in range(4, 14):
        push.send(b"%d" % number)
    assert push.queue_length == 6
    pull.resume()
    bench.loop.run_pending()
    assert len(inbox) == 14


def test_overflows_are_counted(bench):
    router, dealer, requests = bench.pair(
        zmq.ROUTER, zmq.DEALER, options={zmq.SNDHWM: 1, zmq.RCVHWM: 1}
    )
    dealer.send(b"hello")
    bench.loop.run_pending()
    for number in range(5):
        router.send(requests[0][1], b"%d" % number)
    assert bench.network.overflowed == 3


def test_a_mandatory_router_is_writable_when_the_peer_it_waits_for_has_room(bench):
    """Not as long as any other peer has room: that would be an endless cycle."""
    marks = {zmq.SNDHWM: 1, zmq.RCVHWM: 1}
    router = bench.open(zmq.ROUTER, "@tcp://server:1", options={**marks, zmq.ROUTER_MANDATORY: 1})
    slow = bench.open(zmq.DEALER, ">tcp://server:1", options={**marks, zmq.IDENTITY: b"slow"})
    bench.open(zmq.DEALER, ">tcp://server:1")
    bench.loop.run_pending()
    channel, writable = router._fake_channel, []
    assert [channel.send([b"slow", b"x"]) for _ in range(3)] == [True, True, False]
    channel.when_writable(lambda: writable.append(True))
    bench.loop.run_pending()
    assert writable == []
    bench.inbox(slow)
    bench.loop.run_pending()
    assert writable == [True]


def test_a_mandatory_router_is_writable_when_the_peer_it_waits_for_has_gone(bench):
    router, dealer, requests = bench.pair(
        zmq.ROUTER, zmq.DEALER, options={zmq.SNDHWM: 1, zmq.RCVHWM: 1}
    )
    router.set_option(zmq.ROUTER_MANDATORY, 1)
    dealer.send(b"hello")
    bench.loop.run_pending()
    channel, writable = router._fake_channel, []
    while channel.send([requests[0][1], b"x"]):
        pass
    channel.when_writable(lambda: writable.append(True))
    dealer.close()
    bench.loop.run_pending()
    assert writable == [True]


# Peers that come and go


def test_what_has_waited_for_a_peer_takes_the_latency_from_then_on():
    with fake_reactor(FakeNetwork(FakeLoop(), latency=1.0)) as reactor:
        bench = Bench(reactor)
        bench.open(zmq.PUSH, ">tcp://server:1").send(b"x")
        bench.loop.advance(5.0)
        inbox = bench.inbox(bench.open(zmq.PULL, "@tcp://server:1"))
        bench.loop.advance(5.0)
        assert inbox == [(6.0, b"x")]


def test_what_is_under_way_at_a_disconnect_never_arrives(bench):
    push, pull, _ = bench.pair(zmq.PUSH, zmq.PULL)
    inbox = bench.inbox(pull)
    push.send(b"x")
    pull.disconnect("tcp://server:1")
    bench.loop.run_pending()
    assert inbox == []


def test_messages_to_a_peer_that_has_closed_are_lost(bench):
    pull, push, inbox = bench.pair()
    pull.close()
    push.send(b"lost")
    bench.loop.run_pending()
    push.send(b"kept")
    again = bench.inbox(bench.open(zmq.PULL, "@tcp://server:1"))
    bench.loop.run_pending()
    assert bodies(again) == [b"kept"]


def test_unbinding_ends_connections_over_tcp(bench):
    """And rebinding brings them back, as with libzmq."""
    push, pull, _ = bench.pair(zmq.PUSH, zmq.PULL)
    inbox = bench.inbox(pull)
    push.unbind("tcp://server:1")
    bench.loop.run_pending()
    push.send(b"x")
    assert push.queue_length == 1
    push.bind("tcp://server:1")
    bench.loop.run_pending()
    assert bodies(inbox) == [b"x"]


def test_unbinding_leaves_connections_alone_over_inproc(bench):
    push, pull, _ = bench.pair(zmq.PUSH, zmq.PULL, endpoint="inproc://server")
    inbox = bench.inbox(pull)
    push.unbind("inproc://server")
    bench.loop.run_pending()
    push.send(b"x")
    bench.loop.run_pending()
    assert bodies(inbox) == [b"x"]


@pytest.mark.parametrize(("linger_ms", "arrives"), [(0, False), (999, False), (-1, True)])
def test_messages_linger_for_so_long_and_no_longer(bench, linger_ms, arrives):
    push = bench.open(zmq.PUSH, ">tcp://server:1")
    push.send(b"x")
    push.close(linger_ms)
    bench.loop.advance(1.0)
    inbox = bench.inbox(bench.open(zmq.PULL, "@tcp://server:1"))
    bench.loop.advance(1.0)
    assert bool(inbox) is arrives


def test_closing_gives_up_every_endpoint(bench):
    push = bench.open(zmq.PUSH, *(f">tcp://server:{port}" for port in range(1, 4)))
    for number in range(3):
        push.send(b"%d" % number)
    push.close()
    pull = bench.open(zmq.PULL, *(f"@tcp://server:{port}" for port in range(1, 4)))
    inbox = bench.inbox(pull)
    bench.loop.run_pending()
    assert inbox == []


def test_what_is_on_the_wire_arrives_without_linger(bench):
    pull, push, inbox = bench.pair()
    push.send(b"x")
    push.close()
    bench.loop.run_pending()
    assert bodies(inbox) == [b"x"]


def test_handover_gives_a_name_to_the_newcomer(bench):
    router = bench.open(zmq.ROUTER, "@tcp://server:1", options={zmq.ROUTER_HANDOVER: 1})
    inboxes = []
    for _ in range(2):
        dealer = bench.open(zmq.DEALER, ">tcp://server:1", options={zmq.IDENTITY: b"me"})
        inboxes.append(bench.inbox(dealer))
        bench.loop.run_pending()
    router.send(b"me", b"x")
    bench.loop.run_pending()
    assert [bodies(inbox) for inbox in inboxes] == [[], [b"x"]]


def test_a_pair_connects_once(bench):
    one, other = bench.open(zmq.PAIR, "@tcp://one:1"), bench.open(zmq.PAIR, "@tcp://other:1")
    pair = bench.open(zmq.PAIR, ">tcp://one:1", ">tcp://other:1")
    inbox, nothing = bench.inbox(one), bench.inbox(other)
    bench.loop.run_pending()
    pair.send(b"1")
    pair.send(b"2")
    bench.loop.run_pending()
    assert (bodies(inbox), nothing) == ([b"1", b"2"], [])


# Endpoints


def test_wildcard_ports_are_distinct_and_the_same_in_each_run():
    for _ in range(2):
        with fake_reactor() as reactor:
            streams = [reactor.open_stream(zmq.PULL, "@tcp://127.0.0.1:*") for _ in range(3)]
            ports = [49152, 49153, 49154]
            assert [s.endpoint for s in streams] == [f"tcp://127.0.0.1:{port}" for port in ports]


def test_a_wildcard_port_is_none_that_is_taken(bench):
    bench.open(zmq.PULL, "@tcp://127.0.0.1:49152")
    assert bench.open(zmq.PULL, "@tcp://127.0.0.1:0").endpoint == "tcp://127.0.0.1:49153"


@pytest.mark.parametrize("connect", ["localhost", "127.0.0.1", "server"])
def test_any_host_leads_to_who_is_bound_everywhere(bench, connect):
    pull = bench.open(zmq.PULL, "@tcp://*:5555")
    assert pull.endpoint == "tcp://0.0.0.0:5555"
    inbox = bench.inbox(pull)
    bench.open(zmq.PUSH, f">tcp://{connect}:5555").send(b"x")
    bench.loop.run_pending()
    assert bodies(inbox) == [b"x"]


def test_hosts_are_different_places(bench):
    bench.open(zmq.PULL, "@tcp://one:5555")
    other = bench.inbox(bench.open(zmq.PULL, "@tcp://other:5555"))
    bench.open(zmq.PUSH, ">tcp://other:5555").send(b"x")
    bench.loop.run_pending()
    assert bodies(other) == [b"x"]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("tcp://*:5555", "tcp://127.0.0.1:5555"),
        ("tcp://127.0.0.1:5555", "tcp://*:5555"),
        ("tcp://localhost:5555", "tcp://127.0.0.1:5555"),
        ("ipc://path", "ipc://path"),
    ],
)
def test_two_endpoints_may_be_one(bench, first, second):
    bench.open(zmq.PULL, f"@{first}")
    with pytest.raises(EndpointError, match="in use"):
        bench.open(zmq.PULL, f"@{second}")


@pytest.mark.parametrize(
    ("endpoint", "number"),
    [
        ("nonsense", errno.EINVAL),
        ("tcp://127.0.0.1", errno.EINVAL),
        ("tcp://127.0.0.1:65536", errno.EINVAL),
        ("tcp://127.0.0.1:-1", errno.EINVAL),
        ("tcp://:5555", errno.EINVAL),
        ("inproc://", errno.EINVAL),
        ("pigeon://x", errno.EPROTONOSUPPORT),
    ],
)
def test_wrong_endpoints_have_libzmqs_errors(fake_network, fake_loop, endpoint, number):
    channel = fake_network.open_channel(zmq.PULL, fake_loop)
    for call in (channel.bind, channel.connect, channel.unbind, channel.disconnect):
        with pytest.raises(zmq.ZMQError) as caught:
            call(endpoint)
        assert caught.value.errno == number


# Channels as such


def test_a_closed_channel_is_no_socket_any_more(fake_network, fake_loop):
    channel = fake_network.open_channel(zmq.DEALER, fake_loop)
    channel.close(0)
    channel.close(0)
    for call in (
        channel.receive,
        lambda: channel.send([b"x"]),
        lambda: channel.bind("inproc://x"),
        lambda: channel.connect("inproc://x"),
        lambda: channel.set_option(zmq.SNDHWM, 1),
        lambda: channel.get_option(zmq.SNDHWM),
        lambda: channel.start_receiving(print),
        lambda: channel.when_writable(print),
    ):
        with pytest.raises(zmq.ZMQError) as caught:
            call()
        assert caught.value.errno == zmq.ENOTSOCK


@pytest.mark.parametrize("socket_type", [zmq.PUB, zmq.PUSH])
def test_who_only_sends_cannot_receive(fake_network, fake_loop, socket_type):
    channel = fake_network.open_channel(socket_type, fake_loop)
    with pytest.raises(zmq.ZMQError) as caught:
        channel.receive()
    assert caught.value.errno == zmq.ENOTSUP


def test_a_channel_that_is_closed_calls_nobody_back(fake_network, fake_loop):
    pull = fake_network.open_channel(zmq.PULL, fake_loop)
    push = fake_network.open_channel(zmq.PUSH, fake_loop)
    pull.bind("inproc://x")
    push.connect("inproc://x")
    called = []
    pull.start_receiving(called.append)
    push.when_writable(lambda: called.append("writable"))
    push.send([b"x"])
    pull.close(0)
    push.close(0)
    fake_loop.run_pending()
    assert called == []


def test_the_receive_callback_is_called_once_a_turn_and_may_take_more(fake_network, fake_loop):
    pull = fake_network.open_channel(zmq.PULL, fake_loop)
    push = fake_network.open_channel(zmq.PUSH, fake_loop)
    pull.bind("inproc://x")
    push.connect("inproc://x")
    for number in range(4):
        push.send([b"%d" % number])
    batches = []
    pull.start_receiving(lambda frames: batches.append([frames, pull.receive()]))
    assert batches == []
    fake_loop.run_pending()
    assert batches == [[[b"0"], [b"1"]], [[b"2"], [b"3"]]]


def test_a_receive_callback_that_raises_is_called_again(fake_network, fake_loop):
    pull = fake_network.open_channel(zmq.PULL, fake_loop)
    push = fake_network.open_channel(zmq.PUSH, fake_loop)
    pull.bind("inproc://x")
    push.connect("inproc://x")
    push.send([b"0"])
    push.send([b"1"])
    seen = []

    def callback(frames):
        seen.append(frames)
        raise LookupError

    pull.start_receiving(callback)
    for _ in range(2):
        with pytest.raises(LookupError):
            fake_loop.run_pending()
    assert seen == [[b"0"], [b"1"]]


def test_writability_is_told_once(fake_network, fake_loop):
    push = fake_network.open_channel(zmq.PUSH, fake_loop)
    push.bind("inproc://x")
    called = []
    push.when_writable(lambda: called.append(True))
    fake_loop.run_pending()
    assert called == []
    fake_network.open_channel(zmq.PULL, fake_loop).connect("inproc://x")
    assert called == []
    fake_loop.run_pending()
    fake_network.open_channel(zmq.PULL, fake_loop).connect("inproc://x")
    fake_loop.run_pending()
    assert called == [True]


def test_tuning_options_are_accepted_and_do_nothing(bench):
    stream = bench.open(zmq.SUB, options={zmq.TCP_KEEPALIVE: 1, zmq.RECONNECT_IVL: 50})
    assert stream.get_option(zmq.RECONNECT_IVL) == 50


@pytest.mark.parametrize("option", [zmq.XPUB_WELCOME_MSG, zmq.CONFLATE, zmq.INVERT_MATCHING])
def test_what_the_fake_cannot_do_it_does_not_pretend(bench, option):
    with pytest.raises(NotImplementedError, match=zmq.SocketOption(option).name):
        bench.open(zmq.XPUB, options={option: 1})
    with pytest.raises(NotImplementedError, match="no default for BACKLOG"):
        bench.open(zmq.XPUB).get_option(zmq.BACKLOG)


def test_types_that_the_fake_has_not_are_named(fake_network, fake_loop):
    with pytest.raises(NotImplementedError, match="REQ"):
        fake_network.open_channel(zmq.REQ, fake_loop)


def test_a_network_belongs_to_one_loop(fake_network):
    with pytest.raises(ValueError, match="one loop"):
        fake_network.open_channel(zmq.PULL, FakeLoop())


def test_reactors_share_a_network_and_outlive_each_other(fake_network):
    with fake_reactor(fake_network) as server, fake_reactor(fake_network) as client:
        inbox = []
        server.open_stream(zmq.PULL, "@tcp://server:1").on_message(inbox.append)
        client.open_stream(zmq.PUSH, ">tcp://server:1").send(b"1")
        fake_network.loop.run_pending()
        client.close()
        with fake_reactor(fake_network) as another:
            another.open_stream(zmq.PUSH, ">tcp://server:1").send(b"2")
            fake_network.loop.run_pending()
        assert inbox == [[b"1"], [b"2"]]


async def test_it_also_works_on_a_real_loop():
    """With real time, for those who want that."""
    import asyncio

    network = FakeNetwork(asyncio.get_running_loop(), latency=0.001)
    async with Reactor(network=network) as reactor:
        arrived = asyncio.Event()
        pull = reactor.open_stream(zmq.PULL, "@inproc://x")
        pull.on_message(lambda frames: arrived.set())
        reactor.open_stream(zmq.PUSH, ">inproc://x").send(b"x")
        await asyncio.wait_for(arrived.wait(), 10)
