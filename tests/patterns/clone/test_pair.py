"""Two Clone servers as a Binary Star pair, in virtual time: nothing acknowledged is lost."""

import asyncio

import pytest
import structlog
import zmq

from patterns.binary_star.messages import State
from patterns.clone.client import WriteError
from patterns.clone.client_protocol import ClientState
from patterns.clone.messages import epoch_notice, epoch_of, snapshot_request
from patterns.clone.server_protocol import ServerState

from .services import (
    BACKUP,
    PRIMARY,
    contents,
    heartbeats,
    states,
    update,
    updates,
)

ACTIVE, PASSIVE = State.ACTIVE, State.PASSIVE


def stand_still(service, seconds):
    """Let time pass without a callback, as when the loop's thread is held up."""
    service.loop._now += seconds


def follow_both(service, **options):
    return service.client(PRIMARY, BACKUP, **options)


def settle(service, *servers, timeout=30.0):
    """Let time pass until one is active and the other has a complete copy."""
    service.loop.run_until(
        lambda: sorted(state.value for state in states(*servers)) == ["active", "passive"], timeout
    )


def active_of(*servers):
    (active,) = [server for server in servers if server.star.protocol.state is ACTIVE]
    return active


class Writer:
    """Sets and deletes keys of its own, one after the other, and notes what was acknowledged."""

    def __init__(self, service, client, pause=0.01, keys=20):
        self.client = client
        self.acknowledged = {}
        self.uncertain = {}
        self._pause = pause
        self._keys = keys
        self._task = service.loop.create_task(self._run())

    async def _run(self):
        number = 0
        while True:
            key = b"%s/%d" % (self.client.name.encode(), number % self._keys)
            # Every seventh write deletes.
            body = b"" if number % 7 == 6 else b"%d" % number
            asyncio.get_running_loop().create_task(self._write(key, body))
            number += 1
            await asyncio.sleep(self._pause)

    async def _write(self, key, body):
        self.uncertain.setdefault(key, []).append(body)
        try:
            await (self.client.set(key, body) if body else self.client.delete(key))
        except WriteError:
            return
        # An answer is for this write and for all earlier ones of the key that it replaced.
        attempts = self.uncertain[key]
        if body in attempts:
            del attempts[: attempts.index(body) + 1]
            self.acknowledged[key] = body

    def end(self):
        self._task.cancel()

    def lost(self, held):
        """The keys whose value is older than the newest one acknowledged."""
        return {
            key: (body, held.get(key, b""))
            for key, body in self.acknowledged.items()
            if held.get(key, b"") not in [body, *self.uncertain[key]]
        }


# Finding the order


def test_the_primary_becomes_active_and_the_backup_has_its_copy(service):
    primary, backup = service.pair()
    assert states(primary, backup) == [ACTIVE, PASSIVE]
    assert [server.protocol.state for server in (primary, backup)] == [
        ServerState.ACTIVE,
        ServerState.PASSIVE,
    ]


def test_the_backup_copies_what_was_there_and_what_comes(service):
    primary = service.primary()
    client = follow_both(service)
    service.wait(client.set("before", "1"))
    backup = service.backup()
    settle(service, primary, backup)
    assert contents(backup) == {b"before": b"1"}
    service.wait(client.set("after", "2", ttl=60))
    service.wait(client.delete("before"))
    service.loop.run_pending()
    streams = [stream.name for stream in backup.reactor.statistics().streams]
    assert streams.count("backup.peer-link") == 1
    assert "primary.peer-link" not in [
        stream.name for stream in primary.reactor.statistics().streams
    ]
    assert contents(backup) == contents(primary) == {b"after": b"2"}
    assert backup.protocol.sequence == primary.protocol.sequence


def test_the_passive_server_is_silent_to_clients(service):
    """R12-8: a passive server does not answer, and its clients ask the other one."""
    primary, backup = service.pair()
    subscriber = service.subscriber(port=5567)
    dealer = service.dealer(BACKUP)
    dealer.send(*snapshot_request())
    writer = service.writer(5568)
    writer.send(*update(b"key", b"1"))
    service.loop.advance(10.0)
    assert (subscriber.arrived, dealer.arrived) == ([], [])
    assert contents(backup) == {}


def test_a_value_expires_by_order_of_the_active_only(service):
    primary, backup = service.pair()
    client = service.live(follow_both(service))
    service.wait(client.set("key", "1", ttl=5))
    service.loop.run_pending()
    sequence = backup.protocol.sequence
    service.network.partition("primary", "backup")
    service.loop.advance(6.0)
    assert contents(primary) == {}
    assert contents(backup) == {b"key": b"1"}
    assert backup.protocol.sequence == sequence
    service.network.heal()
    service.loop.advance(3.0)
    assert contents(backup) == {}


def test_a_primary_alone_serves_when_a_client_asks_and_the_backup_had_its_time(service):
    primary = service.primary()
    service.loop.advance(60.0)
    assert states(primary) == [State.STARTING_PRIMARY]
    client = follow_both(service)
    service.live(client, timeout=5.0)
    assert states(primary) == [ACTIVE]


def test_a_backup_alone_never_serves(service):
    backup = service.backup()
    client = follow_both(service)
    future = client.set("key", "1")
    service.loop.advance(300.0)
    assert states(backup) == [State.STARTING_BACKUP]
    with pytest.raises(WriteError):
        service.wait(future)
    assert contents(backup) == {}


def test_a_writer_alone_votes_too(service):
    """A client of the Guide that only writes must be able to bring about the failover."""
    primary, backup = service.pair()
    writer = service.writer(5568)
    service.network.partition("primary")
    service.loop.advance(9.0)
    writer.send(*update(b"key", b"1"))
    service.loop.advance(3.0)
    assert states(backup) == [PASSIVE]
    writer.send(*update(b"key", b"2"))
    service.loop.run_pending()
    assert states(backup) == [ACTIVE]
    assert contents(backup) == {b"key": b"2"}


def test_f2_the_copy_of_a_write_makes_no_second_active(service):
    """The writer follows the other server; only the link between the two is down."""
    primary, backup = service.pair()
    client = service.live(follow_both(service))
    service.network.partition("primary", "backup")
    for number in range(9):
        service.wait(client.set("key", f"{number}"))
        service.loop.advance(1.0)
    assert states(primary, backup) == [ACTIVE, PASSIVE]
    service.network.heal()
    service.loop.advance(5.0)
    assert states(primary, backup) == [ACTIVE, PASSIVE]
    assert contents(primary) == contents(backup) == {b"key": b"8"}


@pytest.mark.parametrize("frames", [(b"junk",), (b"x",) * 9, update(b"key", b"1", b"short")])
def test_what_is_malformed_is_no_vote(service, frames):
    primary, backup = service.pair()
    writer = service.writer(5568)
    dealer = service.dealer(BACKUP)
    service.vanish(primary)
    service.loop.advance(3.0)
    writer.send(*frames)
    dealer.send(*frames)
    service.loop.run_pending()
    assert states(backup) == [PASSIVE]


# Failover


def test_a_client_is_served_again_within_ten_seconds(service):
    primary, backup = service.pair()
    client = service.live(follow_both(service))
    service.wait(client.set("key", "1"))
    service.kill(primary)
    began = service.loop.time()
    service.wait(client.set("key", "2"), timeout=10.0)
    assert service.loop.time() - began < 10.0
    assert states(backup) == [ACTIVE]
    assert (client.server, client.get("key")) == (BACKUP, b"2")
    assert contents(backup) == {b"key": b"2"}


def test_a_client_of_a_killed_server_is_served_again_within_a_tenth_of_a_second(service):
    service.network.delay(0.001)
    primary, backup = service.pair()
    client = service.live(follow_both(service))
    service.loop.advance(5.0)
    service.kill(primary)
    began = service.loop.time()
    service.wait(client.set("key", "2"), timeout=10.0)
    assert service.loop.time() - began < 0.1
    assert (client.server, contents(backup)) == (BACKUP, {b"key": b"2"})


@pytest.mark.parametrize("heartbeat", [0.1, 1.0])
@pytest.mark.parametrize("after", [0.0, 0.3, 0.6, 0.95])
def test_a_client_of_a_machine_that_vanishes_is_served_within_two_and_a_half_heartbeats(
    service, heartbeat, after
):
    primary, backup = service.pair(heartbeat=heartbeat)
    client = service.live(follow_both(service))
    service.loop.advance((5 + after) * heartbeat)
    service.vanish(primary)
    began = service.loop.time()
    service.loop.run_until(lambda: not client.live)
    service.wait(client.wait_live())
    assert service.loop.time() - began < 2.5 * heartbeat
    assert client.server == BACKUP


def test_bs_10_an_operator_switches_over_and_no_write_fails(service):
    primary, backup = service.pair()
    client = service.live(follow_both(service))
    futures = []
    for number in range(100):
        futures.append(client.set(f"key{number}", "x"))
        service.loop.advance(0.02)
        if number == 50:
            assert primary.star.switchover() == ""
    began = service.loop.time()
    for future in futures:
        service.wait(future)
    assert service.loop.time() - began < 0.5
    assert states(primary, backup) == [PASSIVE, ACTIVE]
    assert client.server == BACKUP
    assert contents(primary) == contents(backup) == contents(client)
    assert len(contents(backup)) == 100
    assert (primary.diverged, backup.diverged) == (0, 0)


def test_a_broken_connection_sends_a_client_round_and_back(service):
    """No failover: the server is there, and its passive peer hears it."""
    primary, backup = service.pair()
    client = service.live(follow_both(service))
    service.loop.advance(5.0)
    service.network.partition("primary.publisher", "client", reset=True)
    service.network.heal()
    service.loop.advance(1.0)
    assert client.live and client.server == PRIMARY
    assert states(primary, backup) == [ACTIVE, PASSIVE]


@pytest.mark.parametrize("killed_after", [0.5, 1.0, 1.004, 1.007])
@pytest.mark.parametrize("latency", [0.0, 0.003, 0.02])
def test_no_acknowledged_write_is_lost_and_no_key_comes_back(service, latency, killed_after):
    service.network.delay(latency)
    primary, backup = service.pair()
    clients = [service.live(follow_both(service, name=f"client-{n}")) for n in range(3)]
    watched = service.watch(clients[0])
    writers = [Writer(service, client) for client in clients]
    service.loop.advance(killed_after)
    acknowledged = sum(len(writer.acknowledged) for writer in writers)
    service.kill(primary)
    service.loop.advance(12.0)
    for writer in writers:
        writer.end()
    service.loop.advance(5.0)
    assert states(backup) == [ACTIVE]
    assert acknowledged
    for writer in writers:
        assert not any(writer.uncertain.values()), "not answered"
        assert writer.lost(contents(backup)) == {}
    assert [contents(client) for client in clients] == [contents(backup)] * 3
    assert rebuilt(watched) == contents(backup)


def rebuilt(events):
    """The map that somebody has who knows nothing but the events."""
    held = {}
    for event in events:
        if hasattr(event, "body"):
            assert event.added == (event.key not in held)
            held[event.key] = event.body
        elif hasattr(event, "key"):
            del held[event.key]
    return held


def test_a_write_that_only_the_passive_has_heard_survives(service):
    primary, backup = service.pair()
    client = service.live(follow_both(service))
    service.network.partition("client", "primary")
    future = client.set("key", "1")
    service.loop.advance(0.1)
    service.kill(primary)
    service.wait(future, timeout=10.0)
    assert contents(backup) == {b"key": b"1"}


def test_an_old_write_in_the_passive_server_brings_no_old_value_back(service):
    """The active's publication and the client's copy reach the passive server in any order."""
    primary, backup = service.pair()
    client = service.live(follow_both(service))
    service.network.delay(0.5, "client", "backup")
    service.wait(client.set("key", "old"))
    service.wait(client.set("key", "new"))
    service.wait(client.set("gone", "1"))
    service.wait(client.delete("gone"))
    service.loop.advance(0.6)
    service.kill(primary)
    service.live(client, timeout=20.0)
    service.loop.run_until(lambda: client.server == BACKUP and client.state is ClientState.LIVE)
    assert contents(backup) == contents(client) == {b"key": b"new"}


def test_an_ephemeral_value_keeps_its_deadline_over_a_failover(service):
    primary, backup = service.pair()
    client = service.live(follow_both(service))
    service.wait(client.set("key", "1", ttl=20))
    set_at = service.loop.time()
    service.kill(primary)
    service.loop.run_until(lambda: states(backup) == [ACTIVE])
    service.loop.run_until(lambda: not contents(backup))
    assert 19.9 <= service.loop.time() - set_at <= 22.0


def test_the_old_primary_comes_back_as_passive_with_a_copy(service):
    primary, backup = service.pair()
    client = service.live(follow_both(service))
    service.kill(primary)
    service.wait(client.set("key", "1"))
    primary = service.primary()
    settle(service, primary, backup)
    assert states(primary, backup) == [PASSIVE, ACTIVE]
    assert contents(primary) == {b"key": b"1"}
    service.kill(backup)
    service.wait(client.set("key", "2"))
    assert contents(primary) == {b"key": b"2"}
    assert client.server == PRIMARY


def test_a_primary_that_restarts_before_anybody_noticed_does_not_empty_the_service(service):
    primary, backup = service.pair()
    client = service.live(follow_both(service))
    service.wait(client.set("key", "1"))
    service.kill(primary)
    service.loop.advance(0.2)
    primary = service.primary()
    settle(service, primary, backup)
    service.live(client, timeout=30.0)
    service.loop.advance(10.0)
    assert contents(primary) == contents(backup) == contents(client) == {b"key": b"1"}


def test_a_server_that_stops_by_its_own_will_is_replaced_too(service):
    primary, backup = service.pair()
    client = service.live(follow_both(service))
    writer = Writer(service, client)
    service.loop.advance(1.0)
    service.stop(primary)
    service.loop.advance(12.0)
    writer.end()
    service.loop.advance(3.0)
    assert states(backup) == [ACTIVE]
    assert writer.lost(contents(backup)) == {}


def test_s6_10_a_pair_that_changes_again_and_again_leaks_no_socket(service):
    pair = service.pair()

    def open_streams():
        return [len(server.reactor.statistics().streams) for server in pair]

    service.loop.run_pending()
    before = open_streams()
    for number in range(10):
        active, passive = pair if number % 2 == 0 else pair[::-1]
        assert active.star.switchover() == ""
        service.loop.run_until(lambda a=active, p=passive: states(a, p) == [PASSIVE, ACTIVE])
        service.loop.advance(2.0)
    assert open_streams() == before


def test_the_backup_may_die_and_nobody_notices(service):
    primary, backup = service.pair()
    client = service.live(follow_both(service))
    losses = client.statistics_of_client().losses
    service.kill(backup)
    for _ in range(10):
        service.wait(client.set("key", "1"), timeout=0.1)
        service.loop.advance(1.0)
    assert client.statistics_of_client().losses == losses
    backup = service.backup()
    settle(service, primary, backup)
    assert contents(backup) == {b"key": b"1"}


def test_failovers_may_follow_each_other(service):
    servers = list(service.pair())
    starts = [service.primary, service.backup]
    client = service.live(follow_both(service))
    writer = Writer(service, client)
    for turn in range(6):
        service.loop.advance(1.0)
        dead = turn % 2
        assert active_of(*servers) is servers[dead]
        service.kill(servers[dead])
        service.loop.run_until(lambda alive=servers[1 - dead]: states(alive) == [ACTIVE])
        service.loop.advance(8.0)
        servers[dead] = starts[dead]()
        settle(service, *servers)
    writer.end()
    service.loop.advance(5.0)
    assert writer.lost(contents(servers[0])) == writer.lost(contents(servers[1])) == {}
    assert contents(servers[0]) == contents(servers[1]) == contents(client)


# A passive server that has lost something


def lose_the_next_update(service):
    """No pipe of libzmq's loses one in the middle: this is a passive server that has a defect."""
    lost = []

    def is_next(frames):
        lost.extend(frames[:1] if frames[0] == b"APPEND" and not lost else [])
        return lost == frames[:1]

    service.network.drop(is_next, "primary.snapshots", "backup")


def test_a_passive_server_that_missed_an_update_fetches_everything_again(service):
    primary, backup = service.pair()
    client = service.live(follow_both(service))
    lose_the_next_update(service)
    service.wait(client.set("key", "1"))
    service.loop.run_until(lambda: states(backup) == [State.SYNCING], timeout=1.1)
    settle(service, primary, backup)
    assert contents(backup) == {b"key": b"1"}


def test_a_server_without_a_complete_copy_does_not_take_over(service):
    primary, backup = service.pair()
    client = service.live(follow_both(service))
    service.wait(client.set("key", "1"))
    lose_the_next_update(service)
    service.wait(client.set("key", "2"))
    service.loop.run_until(lambda: states(backup) == [State.SYNCING])
    service.network.partition("backup.peer-link")
    service.kill(primary)
    service.loop.advance(60.0)
    assert states(backup) == [State.SYNCING]
    assert client.state is not ClientState.LIVE
    primary = service.primary()
    service.loop.advance(10.0)
    assert ACTIVE not in states(primary, backup), "that is left to an operator"


def test_a_snapshot_of_the_peer_that_is_malformed_is_refused_and_asked_for_again(service):
    primary, backup = service.pair()
    client = service.live(follow_both(service))
    service.wait(client.set("key", "1"))
    lose_the_next_update(service)
    loss = service.network.drop(
        lambda frames: frames[0] == b"KVPACK", "primary", "backup.peer-link"
    )
    service.wait(client.set("key", "2"))
    service.loop.run_until(lambda: loss.dropped == 1)
    loss.cancel()
    settle(service, primary, backup)
    assert contents(backup) == {b"key": b"2"}


# Partitions


def test_without_a_client_a_cut_between_the_servers_changes_nothing(service):
    primary, backup = service.pair()
    service.network.partition("primary", "backup")
    service.loop.advance(60.0)
    assert states(primary, backup) == [ACTIVE, PASSIVE]
    service.network.heal()
    service.loop.advance(5.0)
    assert states(primary, backup) == [ACTIVE, PASSIVE]


@pytest.mark.parametrize("reset", [False, True])
def test_a_partition_ends_with_one_active_and_one_map(service, reset):
    primary, backup = service.pair()
    client = service.live(follow_both(service))
    writer = Writer(service, client, pause=0.1)
    service.loop.advance(5.0)
    service.network.partition("primary", "backup", reset=reset)
    service.loop.advance(20.0)
    service.network.heal()
    settle(service, primary, backup)
    service.loop.advance(10.0)
    writer.end()
    service.loop.advance(10.0)
    assert sorted(state.value for state in states(primary, backup)) == ["active", "passive"]
    active = active_of(primary, backup)
    assert contents(primary) == contents(backup) == contents(client)
    assert writer.lost(contents(active)) == {}


def test_the_loser_of_a_split_says_what_it_gives_up(service):
    primary, backup = service.pair()
    first = service.live(service.client(PRIMARY, name="first"))
    second = service.client(BACKUP, name="second")
    service.network.partition("primary", "backup")
    for number in range(5):
        service.wait(first.set(f"kept-{number}", "1"))
    service.wait(second.set("given up", "1"), timeout=20.0)
    assert states(primary, backup) == [ACTIVE, ACTIVE]
    with structlog.testing.capture_logs() as logs:
        service.network.heal()
        settle(service, primary, backup)
    assert states(primary, backup) == [ACTIVE, PASSIVE]
    assert (primary.diverged, backup.diverged) == (0, 1)
    conflicts = [entry for entry in logs if entry["event"] == "both servers were active"]
    assert {(entry["won"], entry["own_writes"]) for entry in conflicts} == {(True, 5), (False, 1)}
    service.loop.advance(10.0)
    assert contents(backup) == contents(primary) == contents(first)
    assert b"given up" not in contents(primary)


def test_a_snapshot_under_way_is_not_finished_by_one_who_has_yielded(service):
    """Its end would acknowledge writes that are given up."""
    primary, backup = service.pair()
    writer = service.writer()
    for number in range(3000):
        writer.send(*update(b"%d" % number, b"1"))
    service.loop.run_pending()
    slow = service.dealer(options={zmq.RCVHWM: 10}, name="slow")
    slow.pause()
    slow.send(*snapshot_request())
    service.loop.advance(0.1)
    primary.become_passive(None)
    slow.resume()
    service.loop.advance(10.0)
    assert 0 < len(slow.arrived) < 3000
    assert slow.arrived[-1][0] != b"KTHXBAI"


# A loop that stood still


def test_an_active_server_that_stood_still_asks_its_peer_before_it_serves(service):
    primary, backup = service.pair()
    service.live(follow_both(service))
    writer = service.writer()
    service.network.delay(0.1, "primary", "backup")
    stand_still(service, 5.0)
    with structlog.testing.capture_logs() as logs:
        for body in (b"1", b"2", b"3"):
            writer.send(*update(b"key", body))
        service.loop.run_pending()
    assert "the loop stood still: asking the peer before serving" in [e["event"] for e in logs]
    assert contents(primary) == {}
    service.loop.advance(3.0)
    assert contents(primary) == contents(backup) == {b"key": b"3"}
    assert states(primary, backup) == [ACTIVE, PASSIVE]


def test_whoever_asks_an_active_server_that_stood_still_is_answered_later(service):
    primary, backup = service.pair()
    service.network.delay(0.1, "primary", "backup")
    dealer = service.dealer()
    service.loop.run_pending()
    stand_still(service, 5.0)
    dealer.send(*snapshot_request())
    service.loop.run_pending()
    assert dealer.arrived == []
    service.loop.advance(3.0)
    assert len(dealer.arrived) == 1


def test_an_active_server_that_stood_still_and_has_no_peer_serves_on(service):
    primary, backup = service.pair()
    client = service.live(follow_both(service))
    service.kill(backup)
    stand_still(service, 5.0)
    service.wait(client.set("key", "1"), timeout=10.0)


def test_a_write_that_was_read_when_the_loop_woke_is_not_lost(service):
    primary, backup = service.pair()
    primary.suspend()
    primary.receive_update(list(update(b"key", b"1")))
    assert contents(primary) == {}
    primary.resume()
    assert contents(primary) == {b"key": b"1"}


def test_a_write_that_was_read_when_the_loop_woke_waits_if_the_peer_has_taken_over(service):
    primary, backup = service.pair()
    sequence = primary.protocol.sequence
    primary.suspend()
    primary.receive_update(list(update(b"key", b"1", b"u" * 16)))
    primary.become_passive(None)
    assert primary.protocol.sequence == sequence
    assert primary.protocol.statistics().pending == 1


# Chance


@pytest.mark.parametrize("seed", range(8))
def test_whatever_dies_when_no_acknowledged_write_is_lost(fake_loop, seed):
    """One server at a time dies at a random instant and comes back after a random time."""
    import random

    from reactor.testing import FakeNetwork

    from .services import Service

    chance = random.Random(seed)
    service = Service(FakeNetwork(fake_loop, seed, latency=0.001, jitter=0.01))
    try:
        servers, starts = list(service.pair()), [service.primary, service.backup]
        clients = [service.live(follow_both(service, name=f"client-{n}")) for n in range(2)]
        writers = [Writer(service, client, pause=0.03) for client in clients]
        for _ in range(4):
            service.loop.advance(chance.uniform(0.1, 4.0))
            dead = chance.randrange(2)
            service.kill(servers[dead])
            service.loop.advance(chance.choice([0.05, 0.5, 1.5, 3.0, 8.0]))
            servers[dead] = starts[dead]()
            settle(service, *servers, timeout=60.0)
        for writer in writers:
            writer.end()
        service.loop.advance(40.0)
        held = contents(active_of(*servers))
        assert [writer.lost(held) for writer in writers] == [{}, {}]
        assert [contents(each) for each in (*servers, *clients)] == [held] * 4
    finally:
        service.close()


def test_only_the_active_beats(service):
    service.pair()
    primary, backup = service.subscriber(), service.subscriber(port=5567)
    service.loop.advance(5.0)
    assert len(heartbeats(primary.arrived)) >= 5
    assert backup.arrived == []
    assert updates(primary.arrived) == []


def test_bs_3_f1_the_winner_of_a_conflict_reports_all_that_it_gives_up_later(service):
    """The loser has not heard that it lost, and is told of the winner's epoch by a client."""
    primary, backup = service.pair()
    ours, theirs = service.writer(5558), service.writer(5568)
    service.network.partition("primary", "backup")
    service.loop.advance(3.0)
    dealer = service.dealer(BACKUP)
    dealer.send(*snapshot_request())
    service.loop.run_pending()
    assert states(primary, backup) == [ACTIVE, ACTIVE]
    for number in range(9):
        ours.send(*update(b"/ours/%d" % number, b"1"))
    theirs.send(*update(b"/theirs", b"1"))
    service.loop.run_pending()
    epoch = epoch_of(backup.protocol.sequence)
    service.network.heal()
    service.loop.run_until(lambda: epoch_of(primary.protocol.sequence) > epoch)
    service.network.partition("primary", "backup", reset=True)
    dealer.send(*epoch_notice(epoch_of(primary.protocol.sequence)))
    for number in range(20):
        theirs.send(*update(b"/theirs/%d" % number, b"1"))
    service.loop.advance(1.0)
    assert states(primary, backup) == [ACTIVE, ACTIVE]
    service.network.heal()
    settle(service, primary, backup)
    assert active_of(primary, backup) is backup
    assert primary.diverged == 9
