"""Snapshots go out in bounded chunks: complete, fairly, and never past the high-water mark."""

from itertools import pairwise

import pytest
import zmq

from patterns.clone import snapshots
from patterns.clone.messages import HUGZ, decode_snapshot_end, encode_sequence, snapshot_request
from patterns.clone.server_effects import SendSnapshot
from patterns.clone.snapshots import CHUNK, PATIENCE_SECONDS, SnapshotSender

from .services import heartbeats, update, updates

MANY = 20_000


def fill(server, count=MANY, body=b"1"):
    """Put entries into a server's map as its rules would."""
    store = server.protocol.store
    for number in range(count):
        sequence = store.sequence + 1
        store.apply((b"%06d" % number, encode_sequence(sequence), b"", b"", body), sequence)
    return server


def slow_dealer(service, room=50):
    """A client that has asked and reads nothing, with little room in its socket."""
    dealer = service.dealer(options={zmq.RCVHWM: room}, name="slow")
    dealer.pause()
    dealer.send(*snapshot_request())
    return dealer


def read(service, dealer, count):
    """Have the client read `count` more messages, or as many as there are at this instant."""
    target = len(dealer.arrived) + count
    dealer.batch_limit = 1
    dealer.on_message(
        lambda frames: (
            dealer.arrived.append(frames),
            dealer.pause() if len(dealer.arrived) >= target else None,
        )[0]
    )
    dealer.resume()
    service.loop.advance(0.02)


def complete(dealer, count=MANY) -> bool:
    """Whether the client has the whole snapshot, each entry once and in order."""
    if not dealer.arrived or dealer.arrived[-1][0] != b"KTHXBAI":
        return False
    *entries, end = dealer.arrived
    assert [frames[0] for frames in entries] == [b"%06d" % number for number in range(count)]
    assert decode_snapshot_end(end).entries == count
    return True


def test_a_large_snapshot_reaches_a_slow_reader_whole(service):
    """M-7: nothing is sent past the high-water mark."""
    fill(service.server())
    dealer = slow_dealer(service)
    service.loop.advance(1.0)
    while not complete(dealer):
        before = len(dealer.arrived)
        read(service, dealer, 500)
        assert len(dealer.arrived) > before, "nothing comes any more"
    assert service.network.overflowed == 0


def test_the_loop_goes_on_while_a_snapshot_waits(service):
    """M-6: heartbeats and other clients are not late for it."""
    server = fill(service.server())
    slow = slow_dealer(service)
    subscriber, writer = service.subscriber(), service.writer()
    service.loop.advance(1.0)
    beats = len(heartbeats(subscriber.arrived))
    for number in range(20):
        writer.send(*update(b"new", b"%d" % number))
        service.loop.advance(1.0)
        assert updates(subscriber.arrived)[-1] == (b"new", b"%d" % number)
        read(service, slow, 10)
    assert len(heartbeats(subscriber.arrived)) >= beats + 20
    assert server._snapshots.sent == 0


def test_a_snapshot_is_of_the_instant_it_was_asked_for(service):
    server = fill(service.server(), 1000)
    asked_at = server.protocol.sequence
    slow = slow_dealer(service)
    service.loop.advance(1.0)
    writer = service.writer()
    writer.send(*update(b"000999", b"changed"))
    writer.send(*update(b"000998", b""))
    service.loop.run_pending()
    slow.resume()
    service.loop.run_until(lambda: complete(slow, 1000))
    assert {frames[4] for frames in slow.arrived[:-1]} == {b"1"}
    assert decode_snapshot_end(slow.arrived[-1]).sequence == asked_at


def test_a_client_that_has_vanished_is_given_up_at_once(service):
    server = fill(service.server())
    slow = slow_dealer(service)
    service.loop.advance(1.0)
    slow.close()
    service.loop.advance(0.1)
    assert (server._snapshots.given_up, len(server._snapshots._transfers)) == (1, 0)


def test_a_client_that_takes_nothing_is_given_up_after_a_while(service):
    server = fill(service.server())
    slow = slow_dealer(service)
    service.loop.advance(PATIENCE_SECONDS - 1.0)
    assert server._snapshots.given_up == 0
    read(service, slow, 600)
    service.loop.advance(PATIENCE_SECONDS - 1.0)
    assert server._snapshots.given_up == 0, "it took something not so long ago"
    service.loop.advance(2.0)
    assert (server._snapshots.given_up, len(server._snapshots._transfers)) == (1, 0)


def test_bs_9_one_who_reads_is_not_held_up_by_many_who_do_not(service):
    server = fill(service.server())
    for _ in range(5):
        slow_dealer(service)
    service.loop.advance(1.0)
    quick = service.dealer(options={zmq.RCVHWM: 100_000})
    began = service.loop.time()
    quick.send(*snapshot_request())
    service.loop.run_until(lambda: complete(quick))
    assert service.loop.time() - began < 1.0
    assert len(server._snapshots._transfers) == 5


def test_two_who_read_take_turns(service):
    fill(service.server(), 5000)
    one, other = (service.dealer(options={zmq.RCVHWM: 100_000}) for _ in range(2))
    lead = []
    one.on_message(lambda frames: lead.append(len(lead) - len(other.arrived)))
    for dealer in (one, other):
        dealer.send(*snapshot_request())
    service.loop.run_until(lambda: complete(other, 5000))
    service.loop.advance(0.1)
    assert len(lead) == 5001
    assert max(map(abs, lead)) <= 2 * CHUNK


def test_a_small_snapshot_does_not_wait_for_a_large_one(service):
    fill(service.server())
    service.writer().send(*update(b"other", b"1"))
    service.loop.run_pending()
    large, small = (service.dealer(options={zmq.RCVHWM: 100_000}) for _ in range(2))
    large.send(*snapshot_request())
    small.send(*snapshot_request(b"other"))
    service.loop.run_until(lambda: len(small.arrived) == 2)
    assert len(large.arrived) < MANY / 2


def test_asking_again_on_the_same_socket_begins_anew_and_mixes_nothing(service):
    fill(service.server(), 5000)
    slow = slow_dealer(service)
    service.loop.advance(1.0)
    slow.send(*snapshot_request())
    service.loop.advance(1.0)
    slow.resume()
    service.loop.advance(1.0)
    ends = [n for n, frames in enumerate(slow.arrived) if frames[0] == b"KTHXBAI"]
    assert ends == [len(slow.arrived) - 1]
    assert [frames[0] for frames in slow.arrived[-5001:-1]] == [b"%06d" % n for n in range(5000)]


def test_a_client_that_comes_back_under_its_old_identity_gets_all_of_it(service):
    fill(service.server(), 5000)
    options = {zmq.RCVHWM: 50, zmq.IDENTITY: b"me"}
    dealer = service.dealer(options=options)
    dealer.pause()
    dealer.send(*snapshot_request())
    service.loop.advance(0.105)
    dealer.close()
    again = service.dealer(options=options)
    again.send(*snapshot_request())
    service.loop.advance(10.0)
    assert again.arrived[-1][0] == b"KTHXBAI"
    assert [frames[0] for frames in again.arrived[-5001:-1]] == [b"%06d" % n for n in range(5000)]


def test_stopping_in_the_middle_of_a_snapshot_takes_no_time(service):
    server = fill(service.server())
    slow_dealer(service)
    service.loop.advance(1.0)
    began = service.loop.time()
    service.stop(server)
    assert service.loop.time() - began <= 1.0
    assert server._snapshots.given_up == 1


class _Router:
    """Stands for the ROUTER: takes so many messages a turn."""

    def __init__(self, room=1_000_000):
        self.room = room
        self.sent = []

    def try_send(self, *frames):
        if not self.room:
            return False
        self.room -= 1
        self.sent.append(frames)
        return True

    def try_send_all(self, messages):
        return sum(self.try_send(*frames) for frames in messages)


@pytest.fixture
def router(fake_reactor):
    return _Router()


@pytest.fixture
def sender(fake_reactor, router):
    sender = SnapshotSender(router)
    fake_reactor.register(sender)
    return sender


def snapshot(identity, count, body=b"1"):
    entries = tuple(update(b"%d" % number, body) for number in range(count))
    return SendSnapshot(identity, b"", 0, entries, update(b"KTHXBAI", b""))


def test_a_turn_of_the_loop_is_bounded_in_entries_and_in_bytes(
    fake_reactor, router, sender, monkeypatch
):
    """M-6: whatever the size of the snapshot."""
    turns = []
    take_turn = sender._turn

    def count_turn():
        before = len(router.sent)
        take_turn()
        turns.append(len(router.sent) - before)

    monkeypatch.setattr(sender, "_turn", count_turn)
    sender.add(snapshot(b"many", 1000))
    sender.add(snapshot(b"large", 10, b"x" * snapshots.CHUNK_BYTES))
    fake_reactor.loop.advance(1.0)
    assert sum(turns) == 1001 + 11
    assert turns[:4] == [CHUNK, 1, CHUNK, 1]
    assert max(turns) == CHUNK


def test_snapshots_beyond_the_limit_are_refused_and_counted(
    fake_reactor, router, sender, monkeypatch
):
    monkeypatch.setattr(snapshots, "MAX_SNAPSHOTS", 2)
    router.room = 0
    for identity in (b"a", b"b", b"c", b"a"):
        sender.add(snapshot(identity, 1))
    assert (len(sender._transfers), sender.refused) == (2, 1)
    router.room = 100
    fake_reactor.loop.advance(1.0)
    assert {frames[0] for frames in router.sent} == {b"a", b"b"}


def test_clients_that_take_nothing_cost_a_bounded_number_of_tries(fake_reactor, router, sender):
    tries = []

    def refuse(*frames):
        tries.append(fake_reactor.now())
        return False

    router.try_send = refuse
    for number in range(1000):
        sender.add(snapshot(b"%d" % number, 1))
    fake_reactor.loop.advance(1.0)
    assert max(tries.count(instant) for instant in set(tries)) <= 200
    assert len(set(tries)) <= 101


class Turns:
    """A server that answers each request, when its turn comes, with a snapshot of `size`.

    It holds the loop up for so many seconds each time.
    """

    def __init__(self, sender, size=1000, seconds=0.0):
        self.taken = []
        self.most = 0
        self._sender = sender
        self._size = size
        self._seconds = seconds
        sender._on_turn = self.answer

    def answer(self, identity, subtree, packed):
        self.taken.append(identity)
        self._sender.reactor.loop._now += self._seconds
        self._sender.add(snapshot(identity, self._size))
        self.most = max(self.most, len(self._sender._transfers))


def test_f29_a_storm_of_clients_is_served_so_many_at_a_time(
    fake_reactor, router, sender, monkeypatch
):
    monkeypatch.setattr(snapshots, "MAX_UNDER_WAY", 3)
    turns = Turns(sender)
    names = [b"%d" % number for number in range(20)]
    for name in names:
        sender.request(name, b"", False)
    assert (turns.taken, sender.waiting) == (names[:1], 19)  # one at once, the others in turns
    fake_reactor.loop.run_until(lambda: sender.sent == 20)
    assert (turns.taken, turns.most, sender.waiting) == (names, 3, 0)


@pytest.mark.parametrize(("seconds", "most"), [(0.07, 1), (0.0008, 3)])
def test_f29_a_turn_of_the_loop_fixes_snapshots_for_a_moment_only(
    fake_reactor, router, sender, seconds, most
):
    """M-6: with many leases in the map, to fix what a snapshot holds takes long."""
    loop, taken = fake_reactor.loop, []
    turns = Turns(sender, size=1, seconds=seconds)
    names = [b"%d" % number for number in range(20)]

    def look():  # once in each turn of the loop
        taken.append(len(turns.taken))
        if sender.sent < len(names):
            loop.call_soon(look)

    look()
    loop.call_soon(lambda: [sender.request(name, b"", False) for name in names])
    loop.run_until(lambda: sender.sent == len(names))
    assert turns.taken == names
    assert max(after - before for before, after in pairwise(taken)) == most


def test_f29_clients_that_take_nothing_do_not_keep_the_others_waiting(
    fake_reactor, router, sender, monkeypatch
):
    monkeypatch.setattr(snapshots, "MAX_UNDER_WAY", 2)
    turns = Turns(sender, size=1)
    take = router.try_send
    for number in range(4):
        sender.add(snapshot(b"deaf%d" % number, 1))
    router.try_send = lambda identity, *frames: (
        not identity.startswith(b"deaf") and take(identity, *frames)
    )
    fake_reactor.loop.advance(0.1)
    for number in range(5):
        sender.request(b"%d" % number, b"", False)
    fake_reactor.loop.advance(0.1)
    assert turns.taken == [b"0", b"1", b"2", b"3", b"4"]
    assert sender.sent == 5
    fake_reactor.loop.advance(60.0)
    assert (sender.given_up, sender.under_way, sender._blocked) == (4, 0, 0)


def test_those_who_wait_count_for_the_limit(fake_reactor, router, sender, monkeypatch):
    monkeypatch.setattr(snapshots, "MAX_UNDER_WAY", 1)
    monkeypatch.setattr(snapshots, "MAX_SNAPSHOTS", 3)
    Turns(sender)
    for name in (b"a", b"b", b"c", b"d", b"b"):
        sender.request(name, b"", False)
    assert (sender.under_way, sender.refused) == (3, 1)
    sender.give_up()
    assert (sender.under_way, sender.given_up) == (0, 3)


def test_heartbeats_are_not_part_of_a_snapshot(service):
    service.server(heartbeat=0.01)
    assert HUGZ not in [frames[0] for frames in service.snapshot()]
