"""Values that their owner keeps alive, and leases: refreshed, released, lost in time."""

import asyncio

import pytest

from patterns.clone.client import (
    MAX_KEPT,
    ClientClosed,
    Deleted,
    Expired,
    OutboxFull,
    TooManyKept,
    WriteError,
)
from patterns.clone.keeping import Keeping
from patterns.clone.messages import encode_sequence
from reactor import ReactorError

from .conformance.chp_server import ChpServer
from .services import BACKUP, PRIMARY, contents


def entry(sequence, uuid):
    return (b"/a", encode_sequence(sequence), uuid, b"", b"x")


# The rules


def test_it_is_renewed_after_a_third_of_its_time_counted_from_the_sending():
    rules = Keeping(9.0)
    assert rules.send(b"1", None, 0.0) is None
    assert rules.deadline == float("inf")  # one write at a time
    rules.receive_acknowledged(5)
    assert (rules.deadline, rules.tick(2.9), rules.tick(3.0), rules.tick(3.1)) == (
        3.0,
        False,
        True,
        False,
    )
    assert rules.held(8.9) and not rules.held(9.0)


def test_a_value_that_is_not_exclusive_is_tried_again_for_ever():
    rules = Keeping(9.0)
    rules.send(b"1", None, 0.0)
    for n in range(1, 10):
        rules.receive_failed("timeout", 30.0 * n)
        assert rules.tick(30.0 * n + 3.0) and not rules.lost
        rules.send(b"1", None, 30.0 * n + 3.0)


def test_a_lease_begins_only_without_an_entry():
    assert Keeping(9.0, exclusive=True).send(b"1", None, 0.0) == 0
    assert Keeping(9.0, exclusive=True).send(b"1", entry(5, b"other"), 0.0) == 0


def test_a_renewal_of_a_lease_depends_on_its_own_last_write():
    rules = Keeping(9.0, exclusive=True)
    rules.send(b"1", None, 0.0)
    rules.receive_acknowledged(5)
    assert rules.send(b"2", entry(5, b"1"), 3.0) == 5
    rules.receive_acknowledged(6)
    assert rules.send(b"3", entry(7, b"other"), 6.0) == 6  # which will be refused


def test_a_new_number_for_the_own_write_is_the_own_write():
    rules = Keeping(9.0, exclusive=True)
    rules.send(b"1", None, 0.0)
    rules.receive_acknowledged(5)
    assert rules.send(b"2", entry(1 << 40, b"1"), 3.0) == 1 << 40
    # The answer to that was lost, but the map shows that it was applied.
    assert rules.if_sequence(entry((1 << 40) + 1, b"2")) == (1 << 40) + 1


@pytest.mark.parametrize("reason", ["conflict", "timeout", "full"])
def test_a_lease_that_is_not_renewed_is_lost(reason):
    rules = Keeping(9.0, exclusive=True)
    rules.send(b"1", None, 0.0)
    rules.receive_acknowledged(5)
    rules.send(b"2", None, 3.0)
    rules.receive_failed(reason, 4.0)
    assert (rules.lost, rules.held(4.0), rules.tick(20.0)) == (reason, False, False)


def test_a_renewal_that_finds_no_room_is_tried_again_soon_and_ends_no_lease():
    rules = Keeping(12.0, exclusive=True)
    for now in (0.0, 6.0):
        rules.send(b"1", None, now)
        rules.receive_acknowledged(5)
        assert rules.tick(now + 4.0) and rules.receive_full(now + 4.0)
        assert not rules.lost and rules.deadline == now + 5.0
        assert rules.tick(now + 5.0) and not rules.receive_full(now + 5.0)  # told once
    assert rules.held(17.9)
    assert not rules.tick(18.0) and rules.lost == "expired"


def test_a_lease_is_over_before_the_server_gives_it_to_somebody_else():
    rules = Keeping(9.0, exclusive=True)
    rules.send(b"1", None, 10.0)
    rules.receive_acknowledged(5)
    rules.send(b"2", None, 13.0)  # nobody answers
    assert rules.deadline == 19.0
    assert rules.held(18.9)
    assert not rules.tick(19.0) and rules.lost == "expired"


@pytest.mark.parametrize("ttl", [0, 0.5, -1, float("nan"), float("inf")])
def test_a_time_that_no_server_counts_is_refused(ttl):
    with pytest.raises(ValueError):
        Keeping(ttl)


# On the network


def test_a_kept_value_lives_as_long_as_it_is_kept(service, server, client):
    events = service.watch(service.live(service.client(name="other")))
    kept = client.keep("/here", "1", ttl=3.0)
    service.wait(kept.start())
    assert kept.held
    service.loop.advance(60.0)
    assert contents(server) == {b"/here": b"1"}
    assert not any(isinstance(event, Deleted | Expired) for event in events)
    service.wait(kept.set("2"))
    service.loop.advance(60.0)
    assert contents(server) == {b"/here": b"2"}
    service.wait(kept.release())
    service.wait(kept.release())
    with pytest.raises(ReactorError, match="before"):
        service.wait(kept.start())
    service.loop.advance(1.0)
    assert contents(server) == {} and events[-1] == Deleted(b"/here")
    assert len(client._keeps) == 0 and not kept.held
    assert server.protocol.statistics().updates < 130  # three in a life of three seconds


def test_it_is_released_at_the_end_of_the_block_and_its_key_is_free_again(service, server, client):
    async def work():
        async with client.keep("/here", "1", ttl=3.0) as kept:
            assert contents(server) == {b"/here": b"1"} and kept.held
            with pytest.raises(ValueError, match="kept alive"):
                client.set("/here", "2")
            with pytest.raises(ValueError, match="kept alive"):
                client.delete("/here")
            with pytest.raises(ValueError, match="kept alive"):
                client.keep("/here", "2", ttl=3.0)
        assert contents(server) == {}
        await client.set("/here", "free")
        with pytest.raises(WriteError, match="released"):
            await kept.set("2")

    service.wait(work())


def test_a_value_expires_when_its_owner_dies(service, server, client):
    owner = service.live(service.client(name="owner"))
    service.wait(owner.keep("/here", "1", ttl=3.0).start())
    service.loop.advance(10.0)
    assert client.get("/here") == b"1"
    service.kill(owner)
    service.loop.advance(3.1)
    assert client.get("/here") is None


def test_a_client_that_stops_keeps_nothing_and_tells_who_waits(service, server, client):
    kept = client.keep("/here", "1", ttl=3.0)
    service.wait(kept.start())
    lost = service.loop.create_task(kept.lost())
    service.loop.run_pending()
    service.stop(client)
    assert service.wait(lost) == "closed"
    service.loop.advance(3.1)
    assert contents(server) == {}
    with pytest.raises(ClientClosed):
        client.keep("/here", "1", ttl=3.0)


def test_a_kept_value_survives_a_failover(service):
    primary, backup = service.pair()
    owner = service.live(service.client(PRIMARY, BACKUP, name="owner"))
    other = service.live(service.client(PRIMARY, BACKUP, name="other"))
    service.wait(owner.keep("/here", "1", ttl=10.0).start())
    events = service.watch(other)
    service.loop.advance(5.0)
    service.kill(primary)
    service.loop.advance(60.0)
    assert contents(backup) == {b"/here": b"1"}
    assert not any(isinstance(event, Deleted | Expired) for event in events)


def test_a_value_that_expired_while_no_server_was_there_comes_back(service, server, client):
    service.wait(client.keep("/here", "1", ttl=3.0).start())
    service.kill(server)
    service.loop.advance(120.0)
    server = service.server(name="restarted")
    service.loop.run_until(lambda: contents(server) == {b"/here": b"1"}, timeout=60.0)


def test_what_is_not_acknowledged_is_not_written_over_and_over(service, server, client):
    service.wait(client.keep("/here", "1", ttl=3.0).start())
    service.kill(server)
    for _ in range(100):
        service.loop.advance(1.0)
        assert client.statistics_of_client().unacknowledged <= 1


def test_there_is_a_limit(service, server, client):
    kept = [client.keep(f"/here/{number}", "1", ttl=3.0) for number in range(MAX_KEPT + 1)]
    for each in kept[:-1]:
        service.wait(each.start())
    with pytest.raises(TooManyKept):
        service.wait(kept[-1].start())
    service.wait(kept[0].release())
    service.wait(kept[-1].start())


def test_a_value_that_cannot_be_written_is_not_kept(service):
    server = service.server()
    client = service.live(service.client(subtree="/a/"))
    with pytest.raises(ValueError, match="outside"):
        service.wait(client.keep("/b/x", "1", ttl=3.0).start())
    assert len(client._keeps) == 0 and contents(server) == {}


@pytest.mark.parametrize("exclusive", [False, True])
@pytest.mark.parametrize("value", ["", "x" * ((1 << 20) + 1), 1])
def test_a_value_that_no_server_takes_leaves_the_one_that_is_kept(
    service, server, client, value, exclusive
):
    kept = client.keep("/here", "1", ttl=3.0, exclusive=exclusive)
    service.wait(kept.start())
    with pytest.raises((ValueError, TypeError)):
        service.wait(kept.set(value))
    service.loop.advance(20.0)
    assert kept.held and contents(server) == {b"/here": b"1"}
    service.wait(kept.set("2"))
    service.loop.advance(20.0)
    assert kept.held and contents(server) == {b"/here": b"2"}


def test_leaving_takes_no_longer_than_its_time(service, server, client):
    """While a renewal has no answer either."""
    kept = client.keep("/here", "1", ttl=3.0)
    service.wait(kept.start())
    service.network.partition("client", "server")
    service.loop.advance(10.0)
    began = service.loop.time()
    service.wait(kept.release())
    assert service.loop.time() - began <= 3.0


def test_who_leaves_makes_room_for_the_next_one_of_the_same_client(service, server, client):
    """It has begun while the last renewal of the other one was under way."""
    first, second = (client.keep("/here", body, ttl=3.0) for body in ("1", "2"))
    service.wait(first.start())
    service.network.delay(0.5, "server.publisher")
    service.loop.advance(1.1)
    assert client.statistics_of_client().unacknowledged == 1

    async def change_over():
        await asyncio.gather(first.release(), second.start())

    service.wait(change_over())
    service.loop.advance(10.0)
    assert second.held and contents(server) == {b"/here": b"2"}


def test_what_was_never_begun_is_neither_changed_nor_deleted(service, server, client):
    service.wait(client.set("/theirs", "1"))
    kept = client.keep("/theirs", "2", ttl=3.0)
    with pytest.raises(ReactorError, match="not kept yet"):
        service.wait(kept.set("3"))
    service.wait(kept.release())
    service.loop.advance(10.0)
    assert contents(server) == {b"/theirs": b"1"}


@pytest.fixture
def plain(service):
    """A server that cannot compare, as the Guide's."""
    return service.run(ChpServer(), "server")


def give_up_beginning(service, kept):
    beginning = service.loop.create_task(kept.start())
    service.loop.run_pending()
    beginning.cancel()
    service.loop.run_pending()


@pytest.mark.parametrize("exclusive", [False, True])
def test_what_was_written_for_who_had_given_up_is_deleted(service, server, client, exclusive):
    events = service.watch(client)
    service.network.delay(0.1, "client", "server")
    give_up_beginning(service, client.keep("/here", "1", ttl=30.0, exclusive=exclusive))
    service.loop.advance(2.0)
    assert events[-1] == Deleted(b"/here") and contents(server) == {}


@pytest.mark.parametrize("merged", [False, True])
def test_what_the_client_writes_after_it_gave_up_beginning_stays(service, server, client, merged):
    """Also if the value was never on its way, and is answered with what took its place."""
    service.network.partition("client")
    if merged:
        client.set("/here", "0")
    give_up_beginning(service, client.keep("/here", "1", ttl=30.0))
    write = client.set("/here", "2")
    service.network.heal()
    service.wait(write)
    service.loop.advance(3.0)
    assert contents(server) == {b"/here": b"2"}


def test_what_others_write_after_it_gave_up_beginning_stays(service, server, client):
    """It hears of its own write when theirs is there already."""
    other = service.live(service.client(name="other"))
    service.network.delay(1.0, "server.publisher", "client")
    give_up_beginning(service, client.keep("/here", "1", ttl=30.0))
    service.loop.advance(0.5)
    service.wait(other.set("/here", "theirs"))
    service.loop.advance(5.0)
    assert contents(server) == {b"/here": b"theirs"}


def test_a_server_that_cannot_compare_is_not_asked_to_delete_for_who_gave_up(service, plain):
    client = service.live(service.client())
    service.network.delay(0.1, "client", "server")
    give_up_beginning(service, client.keep("/here", "1", ttl=30.0))
    service.loop.advance(5.0)
    assert client.get("/here") == b"1"
    service.loop.advance(30.0)
    assert plain.entries == {}


def test_what_is_written_while_a_release_waits_stays(service, server, client):
    kept = client.keep("/here", "1", ttl=30.0)
    service.wait(kept.start())
    service.network.delay(0.1, "client", "server")
    tasks = [service.loop.create_task(each) for each in (kept.set("2"), kept.release())]
    service.loop.run_pending()
    service.wait(client.set("/here", "3"))
    service.wait(asyncio.gather(*tasks))
    service.loop.advance(2.0)
    assert contents(server) == {b"/here": b"3"}


def test_a_release_needs_no_server_that_compares(service, plain):
    """While a renewal is under way either."""
    client = service.live(service.client())
    kept = client.keep("/here", "1", ttl=30.0)
    service.wait(kept.start())
    service.network.delay(0.1, "client", "server")
    tasks = [service.loop.create_task(each) for each in (kept.set("2"), kept.release())]
    service.wait(asyncio.gather(*tasks))
    assert plain.entries == {} and client.get("/here") is None


# Leases


def test_one_has_the_lease_and_the_next_one_gets_it_when_it_is_released(service, server):
    one, two = (service.live(service.client(name=name)) for name in ("one", "two"))
    lease = one.keep("/leader", "one", ttl=3.0, exclusive=True)
    service.wait(lease.start())
    with pytest.raises(WriteError, match="conflict"):
        service.wait(two.keep("/leader", "two", ttl=3.0, exclusive=True).start())
    assert len(two._keeps) == 0
    service.loop.advance(30.0)
    assert lease.held and contents(server) == {b"/leader": b"one"}
    service.wait(lease.release())
    second = two.keep("/leader", "two", ttl=3.0, exclusive=True)
    service.wait(second.start())
    assert contents(server) == {b"/leader": b"two"}
    assert second.sequence > lease.sequence > 0
    service.wait(lease.release())  # of what it has not any more
    assert contents(server) == {b"/leader": b"two"}


def test_a_lease_that_is_cut_off_ends_before_another_one_can_begin(service, server):
    one, two = (service.live(service.client(name=name)) for name in ("one", "two"))
    lease = one.keep("/leader", "one", ttl=3.0, exclusive=True)
    service.wait(lease.start())
    service.loop.advance(7.3)
    service.network.partition("one", "server")
    while contents(server):
        service.loop.advance_to_next()
    assert not lease.held  # when the key is gone at the server, its owner knows it already
    assert service.wait(lease.lost()) in ("expired", "timeout")
    service.network.heal()
    second = two.keep("/leader", "two", ttl=3.0, exclusive=True)
    service.wait(second.start())
    service.live(one)
    service.loop.advance(30.0)
    assert second.held and contents(server) == {b"/leader": b"two"}


def test_somebody_who_overwrites_the_key_ends_the_lease(service, server, client):
    lease = client.keep("/leader", "one", ttl=3.0, exclusive=True)
    service.wait(lease.start())
    other = service.live(service.client(name="other"))
    service.wait(other.set("/leader", "rude"))
    assert service.wait(lease.lost()) == "conflict"
    service.loop.advance(30.0)
    assert contents(server) == {b"/leader": b"rude"}


def test_a_full_outbox_at_the_instant_of_a_renewal_ends_no_lease(service, server):
    errors = []
    client = service.live(service.client(max_writes=5))
    client.on_error = errors.append
    lease = client.keep("/leader", "me", ttl=6.0, exclusive=True)
    service.wait(lease.start())
    service.loop.advance(1.0)
    service.network.partition("client", "server")
    writes = [client.set(f"/bulk/{number}", "x") for number in range(5)]
    service.loop.advance(1.8)
    assert [type(error) for error in errors] == [OutboxFull]
    service.network.heal()
    for write in writes:
        service.wait(write)
    service.loop.advance(30.0)
    assert lease.held and contents(server)[b"/leader"] == b"me" and len(errors) == 1


def test_the_value_of_a_lease_can_be_changed(service, server, client):
    lease = client.keep("/leader", "one", ttl=3.0, exclusive=True)
    service.wait(lease.start())
    service.loop.advance(10.0)
    several = [service.loop.create_task(lease.set(text)) for text in ("calm", "busy")]
    for task in several:
        service.wait(task)
    service.loop.advance(10.0)
    assert lease.held and contents(server) == {b"/leader": b"busy"}


def test_a_lease_survives_a_failover_that_gives_it_a_new_number(service):
    primary, backup = service.pair()
    owner = service.live(service.client(PRIMARY, BACKUP, name="owner"))
    # The primary's last words reach the owner and not the backup, which has its own copy.
    service.network.drop(lambda frames: frames[0] == b"/leader", "primary.publisher", "backup")
    lease = owner.keep("/leader", "one", ttl=10.0, exclusive=True)
    service.wait(lease.start())
    first = owner.entry("/leader").sequence
    service.kill(primary)
    service.loop.advance(60.0)
    assert lease.held and contents(backup) == {b"/leader": b"one"}
    assert owner.entry("/leader").sequence > first


def test_two_never_hold_a_lease_at_once(service):
    """Whatever fails: cut links, a dead server, each of five that tries again and again."""
    primary, backup = service.pair()
    clients = [service.client(PRIMARY, BACKUP, name=f"client-{n}") for n in range(5)]
    leases = {}
    terms = []

    async def candidate(client):
        while True:
            lease = client.keep("/leader", client.name, ttl=2.0, exclusive=True)
            try:
                await lease.start()
            except (WriteError, ClientClosed):
                await asyncio.sleep(0.3)
                continue
            leases[client.name] = lease
            terms.append(client.name)
            await lease.lost()
            del leases[client.name]

    tasks = [service.loop.create_task(candidate(client)) for client in clients]
    for step in range(600):
        service.loop.advance(0.1)
        assert sum(lease.held for lease in leases.values()) <= 1
        if step % 50 == 20 and leases:
            service.network.partition(next(iter(leases)), "primary")
            service.network.partition(next(iter(leases)), "backup")
        if step % 50 == 45:
            service.network.heal()
        if step == 300:
            service.kill(primary)
    for task in tasks:
        task.cancel()
    service.loop.run_pending()
    assert len(terms) > 3
