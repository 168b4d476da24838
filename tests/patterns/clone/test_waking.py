"""A server that stood still, and was replaced, lets nothing go before it has asked its peer."""

import pytest
import zmq

from patterns.binary_star.messages import Role, State
from patterns.clone.handlers import CloneServer
from patterns.clone.messages import KVMessage, sequence_of, snapshot_request
from patterns.clone.peer_link import encode_held
from patterns.clone.replication import ReplicationPolicy
from reactor import Handler
from reactor.testing import Simulation

PAUSE = 2.5  # seconds; the timeout of the pair is 2
SNAPSHOTS = {Role.PRIMARY: "tcp://primary:5556", Role.BACKUP: "tcp://backup:5566"}
STATES = {Role.PRIMARY: "tcp://primary:5003", Role.BACKUP: "tcp://backup:5004"}


class Pair:
    """Two servers that hold all updates back, the primary active, and somebody who listens to it.

    And a client that writes to the primary alone: the backup has no copy of what that has not sent.
    """

    def __init__(self, simulation):
        self.simulation = simulation
        self.primary = simulation.node("primary", lambda node: self._server(node, Role.PRIMARY))
        self.backup = simulation.node("backup", lambda node: self._server(node, Role.BACKUP))
        simulation.run_until(lambda: self.in_sync)
        others = simulation.node("others", lambda node: Handler())
        simulation.advance(0.0)
        opens = others.reactor.open_stream
        self.updates = opens(zmq.XPUB, ">tcp://primary:5558")
        self.updates_of_backup = opens(zmq.XPUB, ">tcp://backup:5568")
        self.asks = opens(zmq.DEALER, f">{SNAPSHOTS[Role.BACKUP]}")
        self.published = []
        reader = opens(zmq.SUB, ">tcp://primary:5557", subscribe=(b"key",))
        reader.on_message(self._hear)
        simulation.advance(2.0)

    def _hear(self, frames):
        if sequence_of(frames):
            self.published.append(frames[0])

    def _server(self, node, role):
        other = Role.BACKUP if role is Role.PRIMARY else Role.PRIMARY
        port, host = (5556, "primary") if role is Role.PRIMARY else (5566, "backup")
        return CloneServer(
            port,
            host,
            role=role,
            state_bind=STATES[role],
            state_connect=STATES[other],
            peer=SNAPSHOTS[other],
            replication=ReplicationPolicy("replicated"),
            make_uuid=lambda: node.random.randbytes(16),
        )

    @property
    def in_sync(self):
        nodes = self.primary, self.backup
        return all(node.handlers for node in nodes) and self.server.protocol.replication.in_sync

    @property
    def server(self):
        return self.primary.handler

    def freeze_with_a_write(self):
        """The primary stands still when it has numbered an update, before that has left it."""
        order = self.server.protocol.order_update

        def freeze(frames, now):
            publication = order(frames, now)
            self.primary.pause()
            return publication

        self.server.protocol.order_update = freeze
        self.updates.send(*KVMessage(b"key", 0, b"u" * 16, b"", b"1").encode())
        self.simulation.run_until(lambda: self.primary.paused)
        self.server.protocol.order_update = order

    def let_the_backup_take_over(self, seconds):
        """Clients ask it, which is their vote, and write to it; returns whether it leads."""
        end = self.simulation.loop.time() + seconds
        leads = False
        while self.simulation.loop.time() < end:
            self.simulation.advance(0.05)
            if not leads and self.backup.handler.star.protocol.state is State.ACTIVE:
                leads = True
                self._write_to_the_backup(3)  # more than the primary has that the backup has not
            self.asks.send(*snapshot_request())
        return leads

    def _write_to_the_backup(self, count):
        for number in range(count):
            update = KVMessage(b"other", 0, b"%016d" % number, b"", b"1")
            self.updates_of_backup.send(*update.encode())


@pytest.mark.parametrize("phase", [0.0, 0.25, 0.5, 0.75])
def test_i20_an_update_that_was_held_back_is_not_published_by_who_was_replaced(phase):
    """It found the link gone, waited no more, and let go what it held, before it asked."""
    with Simulation(1) as simulation:
        pair = Pair(simulation)
        simulation.advance(phase)
        pair.freeze_with_a_write()
        assert pair.in_sync and len(pair.server.protocol.replication.waiting) == 1
        replaced = pair.let_the_backup_take_over(PAUSE)
        assert replaced
        pair.primary.resume()
        simulation.advance(10.0)
        assert pair.published == []
        assert b"key" not in pair.backup.handler.protocol.store
        assert pair.server.star.protocol.state is State.PASSIVE


ENTRIES = {
    "a tick": lambda server: server.tick(),
    "a word of who follows": lambda server: server._sender.receive(
        server.protocol.replication.peer, encode_held(0, 0)
    ),
    "what waits for the link": lambda server: server._sender._flush(),
    "a turn of the snapshots": lambda server: server._answer(b"client", b"", False),
    "an epoch that a client has seen": lambda server: server.receive_epoch(1),
    "a subscription": lambda server: server.receive_subscription(b"HUGZ", True),
    "an update": lambda server: server.receive_update(
        KVMessage(b"other", 0, b"v" * 16, b"", b"1").encode()
    ),
    "a client that joins": lambda server: server.receive_snapshot_request(b"client", b"", False),
}


@pytest.mark.parametrize("entry", ENTRIES)
def test_bs_11_whatever_wakes_a_server_that_stood_still_it_asks_its_peer_first(entry):
    with Simulation(1) as simulation:
        pair = Pair(simulation)
        pair.freeze_with_a_write()
        simulation.advance(PAUSE)
        ENTRIES[entry](pair.server)
        assert pair.server.protocol.suspended and not pair.server.star.protocol.serving
        assert len(pair.server.protocol.replication.waiting) == 1
        assert pair.published == []


def test_bs_6_a_server_that_stood_still_is_not_promoted_before_it_has_heard_its_peer():
    """What that has published meanwhile would be lost."""
    with Simulation(1) as simulation:
        pair = Pair(simulation)
        passive = pair.backup.handler
        pair.backup.pause()
        simulation.advance(PAUSE)
        assert "had no time yet to be heard" in passive.promote()
        assert passive.star.protocol.state is State.PASSIVE
        assert passive.promote(force=True) == ""


def test_who_was_not_replaced_publishes_it_when_the_peer_has_answered():
    with Simulation(1) as simulation:
        pair = Pair(simulation)
        pair.freeze_with_a_write()
        simulation.advance(0.4)
        pair.primary.resume()
        simulation.advance(5.0)
        assert pair.published == [b"key"]
        assert b"key" in pair.backup.handler.protocol.store
