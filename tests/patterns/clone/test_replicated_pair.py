"""The peer link of two servers on their sockets, in virtual time: what `replicated` means there."""

import pytest
import structlog

from patterns.binary_star.messages import State
from patterns.clone.client import WriteError
from patterns.clone.handlers import CloneServer
from patterns.clone.packs import PACK_ENTRIES
from patterns.clone.peer_link import VERSION, encode_held, encode_hello
from patterns.clone.replication import ReplicationPolicy

from .services import BACKUP, PRIMARY, contents, heartbeats, states, update, updates

ALWAYS = ReplicationPolicy("replicated")
OR_REFUSE = ReplicationPolicy(refuses=True)


def pair(service, policy=None):
    return service.pair(replication=policy)


def client_of_both(service, **options):
    return service.live(service.client(PRIMARY, BACKUP, **options))


def in_sync(service, server, expected=True):
    service.loop.run_until(lambda: server.protocol.replication.in_sync is expected)


def failure(service, future, timeout=60.0):
    with pytest.raises(WriteError) as error:
        service.wait(future, timeout)
    return error.value


def test_i6b_a_replicated_write_is_done_when_both_servers_hold_it(service):
    service.network.delay(0.01)
    primary, backup = pair(service)
    client = client_of_both(service)
    held = []
    for number in range(5):
        sequence = service.wait(client.set("key", f"{number}", ack="replicated"))
        held.append((contents(primary), contents(backup)))
        assert backup.protocol.sequence >= sequence
    assert held == [({b"key": b"%d" % n}, {b"key": b"%d" % n}) for n in range(5)]


def test_i6b_nobody_sees_it_before(service):
    primary, backup = pair(service)
    client = client_of_both(service)
    in_sync(service, primary)
    reader = service.subscriber(b"")
    service.loop.run_pending()
    service.network.partition("backup.peer-link")
    future = client.set("key", "1", ack="replicated")
    service.loop.advance(0.9)
    assert contents(primary) == {b"key": b"1"}
    assert contents(client) == {} and updates(reader.arrived) == []
    assert heartbeats(reader.arrived)
    service.network.heal()
    service.wait(future, timeout=0.1)
    assert contents(client) == contents(backup) == {b"key": b"1"}
    assert updates(reader.arrived) == [(b"key", b"1")]


def test_i6b_what_was_acknowledged_survives_the_servers_death_at_that_very_instant(service):
    """The writer's copy never reaches the backup: it could have no other source than the link."""
    primary, backup = pair(service)
    client = client_of_both(service)
    service.network.partition("client", "backup.collector")
    sequence = service.wait(client.set("key", "1", ack="replicated"))
    service.kill(primary)
    assert sequence == backup.protocol.sequence
    service.network.heal()
    service.loop.run_until(lambda: states(backup) == [State.ACTIVE])
    assert contents(backup) == {b"key": b"1"}


def test_a_passive_server_that_hangs_holds_a_write_up_for_the_timeout_and_no_other(service):
    primary, backup = pair(service, ReplicationPolicy(timeout=0.5))
    client = client_of_both(service)
    in_sync(service, primary)
    service.vanish(backup)
    began = service.loop.time()
    error = failure(service, client.set("key", "1", ack="replicated"))
    assert service.loop.time() - began == pytest.approx(0.5, abs=0.01)
    assert (error.reason, error.sequence) == ("applied", primary.protocol.sequence)
    assert contents(client) == {b"key": b"1"}
    began = service.loop.time()
    assert failure(service, client.set("key", "2", ack="replicated")).reason == "applied"
    service.wait(client.set("key", "3"))
    assert service.loop.time() == began
    assert primary.protocol.statistics().degraded == 2


def test_a_passive_server_that_is_back_is_waited_for_again(service):
    primary, backup = pair(service)
    client = client_of_both(service)
    in_sync(service, primary)
    with structlog.testing.capture_logs() as logs:
        service.kill(backup)
        assert failure(service, client.set("key", "1", ack="replicated")).reason == "applied"
        backup = service.backup(replication=None)
        in_sync(service, primary)
    service.wait(client.set("key", "2", ack="replicated"))
    assert contents(backup) == {b"key": b"2"}
    told = [entry["event"] for entry in logs if "passive server" in entry["event"]]
    assert told == ["the passive server does not confirm", "the passive server keeps up"]


def test_a_pair_may_refuse_what_it_cannot_replicate(service):
    primary, backup = pair(service, OR_REFUSE)
    client = client_of_both(service)
    in_sync(service, primary)
    service.kill(backup)
    in_sync(service, primary, False)
    assert failure(service, client.set("key", "1", ack="replicated")).reason == "unreplicated"
    assert contents(primary) == contents(client) == {}
    service.wait(client.set("key", "2"))
    assert primary.protocol.statistics().unreplicated == 1


def test_the_policy_holds_for_writers_that_know_nothing_of_it(service):
    primary, backup = pair(service, ALWAYS)
    in_sync(service, primary)
    reader, writer = service.subscriber(), service.writer()
    service.loop.run_pending()
    service.network.partition("backup.peer-link")
    writer.send(*update(b"key", b"1", b"u" * 16))
    service.loop.advance(0.5)
    assert updates(reader.arrived) == []
    service.network.heal()
    service.loop.advance(0.01)
    assert updates(reader.arrived) == [(b"key", b"1")]
    (publication,) = [frames for frames in reader.arrived if frames[0] == b"key"]
    assert publication[3] == b""


def test_a_client_that_joins_while_something_waits_gets_it_afterwards(service):
    primary, backup = pair(service)
    writer = client_of_both(service)
    in_sync(service, primary)
    service.network.partition("backup.peer-link")
    writer.set("key", "1", ack="replicated")
    service.loop.run_pending()
    joining = service.client(PRIMARY, name="joining")
    service.loop.advance(0.5)
    assert not joining.live
    service.network.heal()
    service.live(joining, timeout=0.1)
    assert contents(joining) == {b"key": b"1"}


def test_many_who_join_meanwhile_keep_few_snapshots_waiting(service):
    """What a snapshot holds is fixed when its turn comes; only so many turns come at a time."""
    primary, backup = pair(service)
    writer = client_of_both(service)
    in_sync(service, primary)
    service.network.partition("backup.peer-link")
    writer.set("key", "1", ack="replicated")
    service.loop.run_pending()
    dealers = [service.dealer() for _ in range(100)]
    for dealer in dealers:
        dealer.send(b"ICANHAZ?", b"")
    service.loop.advance(0.5)
    assert primary.protocol.statistics().waiting == 1 + 64
    service.network.heal()
    service.loop.advance(1.0)
    assert [len(dealer.arrived) for dealer in dealers] == [2] * 100


def test_a_switchover_drops_what_waits_and_its_writer_is_answered_by_the_new_server(service):
    primary, backup = pair(service)
    client = client_of_both(service)
    in_sync(service, primary)
    futures = []
    for number in range(40):
        futures.append(client.set(f"key{number}", "x", ack="replicated"))
        service.loop.advance(0.01)
        if number == 20:
            assert primary.star.switchover() == ""
    reasons = set()
    for future in futures:
        try:
            service.wait(future)
        except WriteError as error:
            reasons.add(error.reason)
    assert reasons <= {"applied"}
    assert states(primary, backup) == [State.PASSIVE, State.ACTIVE]
    assert len(contents(backup)) == 40
    assert contents(primary) == contents(backup) == contents(client)


# The link


def test_f30_a_link_that_breaks_makes_nobody_unfit_to_take_over(service):
    primary, backup = pair(service)
    client = client_of_both(service)
    service.wait(client.set("key", "1"))
    service.loop.advance(1.0)
    service.network.partition("primary", "backup.peer-link", reset=True)
    service.loop.advance(20.0)
    assert states(backup) == [State.PASSIVE]
    service.network.heal()
    in_sync(service, primary)
    statistics = backup.protocol.statistics()
    assert (statistics.resyncs, states(backup)) == (0, [State.PASSIVE])
    service.wait(client.set("key", "2", ack="replicated"))


def test_what_was_missed_meanwhile_is_fetched_over_the_new_one(service):
    primary, backup = pair(service)
    client = client_of_both(service)
    service.loop.advance(1.0)
    service.network.partition("primary", "backup.peer-link", reset=True)
    service.wait(client.set("key", "1"))
    service.wait(client.delete("key"))
    service.wait(client.set("other", "1"))
    service.loop.advance(5.0)
    service.network.heal()
    in_sync(service, primary)
    assert contents(backup) == {b"other": b"1"}
    assert backup.protocol.statistics().resyncs == 1


def test_a_large_map_arrives_while_it_is_written_to(service):
    primary = service.primary()
    client = service.live(service.client(PRIMARY, BACKUP))
    writer = service.writer()
    for number in range(30 * PACK_ENTRIES):
        writer.send(*update(b"%d" % number, b"1"))
    service.loop.run_pending()
    service.network.delay(0.002)
    backup = service.backup()
    number = 0
    while states(backup) != [State.PASSIVE]:
        client.set(f"{number}", "2")
        number += 1
        service.loop.advance(0.001)
    service.loop.advance(1.0)
    assert number > 5
    assert contents(backup) == contents(primary)
    assert len(contents(backup)) == 30 * PACK_ENTRIES


def test_a_link_with_little_room_loses_nothing(service):
    primary, backup = pair(service)
    client = client_of_both(service)
    in_sync(service, primary)
    service.network.partition("primary", "backup.peer-link")
    for number in range(3000):
        client.set(f"{number % 100}", f"{number}")
        service.loop.run_pending()
    service.network.heal()
    service.loop.run_until(lambda: contents(backup) == contents(primary), timeout=10.0)
    assert backup.protocol.statistics().resyncs == 0


def test_a_server_of_another_release_is_told_which_versions_there_are(service):
    primary, backup = pair(service)
    stranger = service.dealer()
    with structlog.testing.capture_logs() as logs:
        stranger.send(b"LINK", b"7", bytes(8), b"and more")
        service.loop.run_pending()
    assert stranger.arrived == [[b"LINK", VERSION]]
    (told,) = [entry["reason"] for entry in logs if entry["event"] == "message refused"]
    assert "version b'7'" in told and f"{VERSION!r}" in told and "same release" in told
    assert states(primary, backup) == [State.ACTIVE, State.PASSIVE]


def test_one_of_another_release_that_has_gone_meanwhile_is_refused_without_an_error(service):
    """There is nobody left to be told the version."""
    primary, backup = pair(service)
    stranger = service.dealer()
    primary._router.pause()  # the message is read when its sender has gone
    stranger.send(b"LINK", b"7", bytes(8), b"and more")
    service.loop.run_pending()
    stranger.close()
    service.loop.run_pending()
    primary._router.resume()
    service.loop.run_pending()
    assert primary.statistics().messages_refused == 1
    assert [each.errors for each in primary.reactor.statistics().handlers if each.errors] == []
    assert states(primary, backup) == [State.ACTIVE, State.PASSIVE]


def test_f33_what_strangers_say_to_the_link_is_refused_and_changes_nothing(service):
    primary, backup = pair(service)
    client = client_of_both(service)
    stranger, at_passive = service.dealer(), service.dealer(BACKUP)
    before = primary.statistics().messages_refused
    for frames in ((b"HELD", bytes(8)), (b"HELD",), (b"LINK",), encode_held(1, 1)):
        stranger.send(*frames)
    at_passive.send(*encode_hello(0, 0))
    service.loop.run_pending()
    assert primary.statistics().messages_refused == before + 4
    assert stranger.arrived == at_passive.arrived == []
    service.wait(client.set("key", "1", ack="replicated"))


def test_a_server_that_stands_alone_has_no_link(service):
    server = service.server()
    dealer = service.dealer()
    dealer.send(*encode_hello(0, 0))
    service.loop.run_pending()
    assert dealer.arrived == []
    assert server.statistics().messages_refused == 1
    with pytest.raises(ValueError, match="one of a pair"):
        CloneServer(replication=ALWAYS)


def test_what_was_accepted_last_reaches_the_passive_server_when_the_active_stops(service):
    primary, backup = pair(service)
    writer = service.writer()
    service.loop.advance(0.1)
    writer.send(*update(b"key", b"1", b"u" * 16))
    service.loop.run_until(lambda: contents(primary))
    service.stop(primary)
    service.loop.advance(1.0)
    assert contents(backup) == {b"key": b"1"}
    assert backup.protocol.statistics().replicated == 1
