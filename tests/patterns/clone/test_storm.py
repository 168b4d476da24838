"""Many who join at once: the work for them stays in proportion, and nobody waits for long."""

from patterns.clone import snapshots
from patterns.clone.messages import HUGZ, snapshot_request
from patterns.clone.server_effects import Publish
from patterns.clone.server_protocol import ServerProtocol

from .services import contents, update


def greetings(server, instants):
    """When heartbeats went out, if somebody subscribed at each of these instants."""
    beats = []

    def note(effects, now):
        beats.extend(now for effect in effects if isinstance(effect, Publish))

    for now in instants:
        while server.deadline <= now:
            due = server.deadline
            note(server.tick(due), due)
        note(server.receive_subscription(HUGZ, True, now), now)
    return beats


def active(heartbeat=1.0):
    server = ServerProtocol(make_uuid=lambda: bytes(16), heartbeat=heartbeat)
    server.become_active(0.0)
    return server


def test_a_storm_of_subscribers_is_answered_by_few_heartbeats():
    """Each goes to all: one every 10 ms would be 2 million messages for 10,000 who come in 2 s."""
    beats = greetings(active(), [0.5 + number / 1000 for number in range(2000)])
    assert beats[0] == 0.5
    assert len(beats) <= 15
    assert max(b - a for a, b in zip(beats, beats[1:], strict=False)) <= 0.25


def test_when_the_storm_is_over_one_who_comes_is_answered_at_once():
    server = active()
    greetings(server, [0.5 + number / 1000 for number in range(2000)])
    for second in (5, 6, 7):
        server.tick(float(second))
    assert greetings(server, [7.1]) == [7.1]


def test_many_small_snapshots_take_few_turns(service, monkeypatch):
    server = service.server()
    writer = service.writer()
    for number in range(10):
        writer.send(*update(b"%d" % number, b"1"))
    service.loop.run_until(lambda: len(server.protocol.store) == 10)
    turns = []
    take_turn = server._snapshots._turn
    monkeypatch.setattr(server._snapshots, "_turn", lambda: turns.append(take_turn()))
    dealers = [service.dealer(name=f"peer-{number}") for number in range(300)]
    for dealer in dealers:
        dealer.send(*snapshot_request())
    service.loop.run_until(lambda: all(len(dealer.arrived) == 11 for dealer in dealers))
    assert len(turns) <= 2 * len(dealers) / snapshots.MAX_UNDER_WAY + 2


def test_clients_that_join_while_updates_flow_have_the_servers_map(service):
    """Must show 4, in virtual time."""
    server = service.server()
    writer = service.writer()
    clients = []
    for number in range(2000):
        writer.send(*update(b"%d" % (number % 300), b"%d" % number, number.to_bytes(16, "big")))
        if number % 50 == 0:
            clients.append(service.client(name=f"client-{number}"))
        service.loop.advance(0.001)
    for client in clients:
        service.live(client)
    service.loop.advance(1.0)
    for client in clients:
        assert contents(client) == contents(server)
        assert client.statistics_of_client().losses == 0
