"""A client without a server: what it still knows, how old that is, and whom it tries next."""

import pytest

from patterns.clone.client_protocol import ClientProtocol, ClientState, Expired, Put, Stale

from .services import BACKUP, PRIMARY
from .test_client_protocol import Joined, hugz, kthxbai, kvpub, seq


def expired(effects):
    return [effect.key for effect in effects if isinstance(effect, Expired)]


# The age of the map


def test_the_map_of_a_client_that_never_was_live_has_no_age():
    protocol = ClientProtocol(jitter=lambda: 0.0)
    assert protocol.age(0.0) == float("inf")
    protocol.start(0.0)
    protocol.receive_published(hugz(seq(1)), 1, 1.0)
    assert protocol.age(1.0) == float("inf")


def test_a_live_map_is_as_old_as_the_last_message():
    joined = Joined(now=10.0)
    joined.hear(hugz(seq(0)), 11.0)
    assert joined.protocol.age(11.5) == 0.5
    joined.hear(kvpub(seq(1), b"/a"), 12.0)
    assert joined.protocol.age(12.0) == 0.0


def test_without_a_server_the_age_grows_from_the_last_message():
    joined = Joined(server_ttl=3.0, jitter=1.0)
    joined.hear(hugz(seq(0)), 1.0)
    for now in (2.0, 3.0, 4.0, 5.0, 6.0, 7.0):
        joined.tick(now)
    assert joined.protocol.state is not ClientState.LIVE
    assert joined.protocol.age(50.0) == 49.0


def test_a_message_that_reveals_a_loss_does_not_make_the_map_current():
    joined = Joined(jitter=1.0)
    joined.hear(hugz(seq(0)), 1.0)
    assert Stale("lost updates") in joined.hear(hugz(seq(5)), 2.0)
    assert joined.protocol.age(2.0) == 1.0
    joined = Joined(jitter=1.0)
    joined.hear(hugz(seq(0)), 1.0)
    assert Stale("lost updates") in joined.hear(kvpub(seq(5), b"/a"), 2.0)
    assert joined.protocol.age(2.0) == 1.0


def test_cl_10_reads_go_on_without_a_server_and_tell_their_age(service):
    server = service.server()
    client = service.live(service.client())
    service.wait(client.set("key", "1"))
    assert client.age < 1.1
    service.kill(server)
    service.loop.advance(600.0)
    assert client.state is not ClientState.LIVE
    assert (client.get("key"), client.items()) == (b"1", [(b"key", b"1")])
    assert 599.0 < client.age < 602.0


# M-15, CL-19: values with a time to live


def test_m_15_without_a_server_a_value_goes_when_its_time_is_over():
    joined = Joined(server_ttl=3.0, jitter=1.0)
    joined.hear(kvpub(seq(1), b"/a", b"1", b"ttl=20\n"), 1.0)
    joined.hear(kvpub(seq(2), b"/b", b"1"), 1.0)
    effects = [effect for n in range(4, 84) for effect in joined.tick(n / 4)]
    assert expired(effects) == []
    assert expired(joined.tick(21.0)) == [b"/a"]
    assert joined.contents == {b"/b": b"1"}


def test_m_15_a_value_from_the_snapshot_has_its_time_too():
    joined = Joined([kvpub(seq(1), b"/a", b"1", b"ttl=20\n")], server_ttl=3.0, jitter=1.0)
    effects = [effect for n in range(1, 81) for effect in joined.tick(n / 4)]
    assert expired(effects) == [b"/a"]


def test_m_15_the_deadline_is_an_instant_at_which_it_wants_to_be_called():
    joined = Joined(server_ttl=30.0, jitter=1.0)
    joined.hear(kvpub(seq(1), b"/a", b"1", b"ttl=2\n"), 1.0)
    joined.protocol.receive_disconnected(joined.subscription, 2.0)
    joined.tick(2.75)
    assert joined.protocol.deadline == 3.0


def test_a_server_that_is_followed_knows_better_than_the_own_clock():
    joined = Joined()
    joined.hear(kvpub(seq(1), b"/a", b"1", b"ttl=1\n"), 0.0)
    joined.hear(hugz(seq(1)), 2.0)
    assert expired(joined.tick(2.5)) == []
    assert joined.contents == {b"/a": b"1"}


def test_a_value_renewed_where_the_client_could_not_see_it_comes_back_as_new():
    joined = Joined(server_ttl=3.0)
    joined.hear(kvpub(seq(1), b"/a", b"1", b"ttl=4\n"), 0.0)
    for n in range(1, 20):
        joined.tick(n / 4)
    (request,) = joined.hear(hugz(seq(2)), 5.0)
    protocol = joined.protocol
    protocol.receive_snapshot(kvpub(seq(2), b"/a", b"1", b"ttl=4\n"), request.request, 5.0)
    effects = protocol.receive_snapshot(kthxbai(seq(2), 1), request.request, 5.0)
    assert Put(b"/a", b"1", added=True) in effects


def test_m_15_cl_19_a_watcher_hears_of_it_while_the_server_is_dead(service):
    server = service.server()
    client = service.live(service.client())
    service.wait(client.set("key", "1", ttl=8.0))
    events = service.watch(client)
    service.kill(server)
    service.loop.run_until(lambda: Expired(b"key") in events, timeout=10.0)
    assert client.get("key") is None


# Preference


def test_a_client_does_not_go_back_while_its_server_serves(service):
    service.server(5566)
    client = service.live(service.client(PRIMARY, BACKUP))
    service.server(5556, name="preferred")
    service.loop.advance(600.0)
    assert client.server == BACKUP and client.live


@pytest.mark.parametrize(("lost", "tried"), [(0, [1, 2, 0]), (1, [0, 2, 1]), (2, [0, 1, 2])])
def test_every_other_server_is_tried_before_the_one_that_was_lost(lost, tried):
    protocol = ClientProtocol(3, jitter=lambda: 0.0, server_ttl=3.0, pause=0.0)
    protocol.start(0.0)
    now = 0.0
    while protocol.server != lost:
        now += 0.5
        protocol.tick(now)
    (request,) = protocol.receive_published(hugz(seq(1)), protocol._subscription, now)
    protocol.receive_snapshot(kthxbai(seq(1), 0), request.request, now)
    assert protocol.live
    order = []
    while len(order) < 3:
        now += 0.5
        protocol.tick(now)
        if not protocol.live and (not order or order[-1] != protocol.server):
            order.append(protocol.server)
    assert order == tried
