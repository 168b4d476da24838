"""The wiring of a pair in virtual time: whom it hears, what it orders, what it survives."""

import asyncio

import pytest
import structlog
import zmq

from patterns.binary_star.handlers import BinaryStar
from patterns.binary_star.messages import PeerState, Progress, Role, State
from reactor import EndpointError
from reactor.testing import fake_reactor

STATES = {Role.PRIMARY: "tcp://127.0.0.1:5003", Role.BACKUP: "tcp://127.0.0.1:5004"}


class Orders:
    """A service that notes its orders."""

    def __init__(self):
        self.given = []

    def become_active(self, epoch, forced):
        self.given.append("active")

    def become_passive(self, diverged_since):
        self.given.append("passive")

    def suspend(self):
        self.given.append("suspend")

    def resume(self):
        self.given.append("resume")


@pytest.fixture
def make_star(fake_network):
    """Makes one server of a pair on a reactor of its own."""
    reactors = []

    def make(role, service=None, **options):
        other = Role.BACKUP if role is Role.PRIMARY else Role.PRIMARY
        star = BinaryStar(
            role,
            service or Orders(),
            state_bind=STATES[role],
            state_connect=STATES[other],
            **options,
        )
        star.name = role.value
        star.orders = star._service.given
        reactors.append(fake_reactor(fake_network))
        reactors[-1].register(star)
        return star

    yield make
    for reactor in reversed(reactors):
        reactor.close()


@pytest.fixture
def pair(make_star, fake_loop):
    """A primary that is active and a backup that is passive."""
    primary, backup = make_star(Role.PRIMARY), make_star(Role.BACKUP)
    fake_loop.run_until(lambda: backup.protocol.state is State.PASSIVE)
    fake_loop.run_pending()  # and the primary hears of it
    return primary, backup


def stop(star, loop):
    reactor = star.reactor
    reactor.stop(hard=True)
    loop.run_until_complete(reactor.stopped())


def test_two_servers_find_their_states_and_order_their_services(pair):
    primary, backup = pair
    assert (primary.protocol.state, backup.protocol.state) == (State.ACTIVE, State.PASSIVE)
    assert (primary.orders, backup.orders) == (["active"], ["passive"])


def test_s6_7_the_order_comes_before_the_answer_to_the_request_that_caused_it(
    pair, fake_loop, fake_network
):
    """The Guide's Python code answers first and becomes active on a later turn."""
    primary, backup = pair
    assert not backup.request()
    fake_network.partition("primary")
    fake_loop.advance(2.5)
    del backup.orders[:]
    assert backup.request()
    assert backup.orders == ["active"]


def test_a_request_at_the_active_is_served(pair):
    primary, backup = pair
    assert primary.request()
    assert not backup.request()


def test_a_peer_whose_process_ends_is_replaced_at_once(pair, fake_loop):
    primary, backup = pair
    began = fake_loop.time()
    stop(primary, fake_loop)
    fake_loop.run_until(lambda: backup.protocol.serving)
    assert fake_loop.time() - began < 0.01
    assert backup.orders == ["passive", "active"]


def test_bs_3_a_connection_that_breaks_is_not_the_end_of_the_peer(pair, fake_loop, fake_network):
    """A blip of the network makes no second active, however often it comes."""
    primary, backup = pair
    for _ in range(20):
        fake_network.partition("primary", "backup", reset=True)
        fake_loop.advance(0.5)
        fake_network.heal()
        fake_loop.advance(2.0)
        backup.request()
    assert (primary.protocol.state, backup.protocol.state) == (State.ACTIVE, State.PASSIVE)


def test_a_service_receives_everything_before_its_peer_counts_as_gone(make_star, fake_loop):
    received = asyncio.Event()
    primary = make_star(Role.PRIMARY)
    backup = make_star(Role.BACKUP, received_all=received.wait)
    fake_loop.run_until(lambda: backup.protocol.state is State.PASSIVE)
    stop(primary, fake_loop)
    fake_loop.advance(1.5)
    assert backup.protocol.state is State.PASSIVE
    received.set()
    fake_loop.run_pending()
    assert backup.protocol.serving


def test_an_operator_switches_over(pair, fake_loop):
    primary, backup = pair
    assert "order it at the active one" in backup.switchover()
    assert primary.switchover() == ""
    fake_loop.run_until(lambda: backup.protocol.serving)
    fake_loop.run_until(lambda: primary.protocol.state is State.PASSIVE)
    assert primary.orders == ["active", "suspend", "passive"]
    assert backup.orders == ["passive", "active"]


def test_a_handover_that_nobody_takes_is_taken_back(pair, fake_loop, fake_network):
    primary, backup = pair
    primary.switchover()
    fake_network.partition("primary")
    fake_loop.advance(2.5)
    assert primary.protocol.serving
    assert primary.orders == ["active", "suspend", "resume"]


def test_bs_6_an_operator_promotes_what_nothing_else_would(make_star, fake_loop):
    backup = make_star(Role.BACKUP)
    fake_loop.advance(60.0)
    assert not backup.request()
    assert backup.promote() == ""
    assert backup.request()
    assert backup.promote() == "this server is active"


def test_a_promotion_beside_an_active_peer_must_be_forced(pair, fake_loop):
    primary, backup = pair
    assert "the peer is active" in backup.promote()
    assert backup.promote(force=True) == ""
    fake_loop.run_pending()
    assert backup.protocol.serving and not primary.protocol.serving


def test_a_promotion_in_the_middle_of_a_handover_must_be_forced(pair, fake_loop, fake_network):
    """Who hands over may hold updates that the other one has not received yet."""
    primary, backup = pair
    backup.protocol.replicates = True
    backup.protocol._progress = lambda: Progress(epoch=1, sequence=1)
    primary.protocol._progress = lambda: Progress(epoch=1, sequence=2)
    fake_loop.run_pending()
    primary.switchover()
    fake_loop.run_until(lambda: backup.status().peer_state is State.LEAVING)
    assert "the peer is handing over" in backup.promote()
    assert backup.protocol.state is State.PASSIVE
    assert backup.promote(force=True) == ""


def test_a_promotion_of_who_holds_less_than_its_peer_must_be_forced(pair, fake_loop):
    """Neither has a complete copy: an order at the wrong one would lose the other's data."""
    primary, backup = pair
    for star, sequence in ((primary, 0), (backup, 9)):
        star.protocol.state, star.protocol.replicates = State.SYNCING, True
        star.protocol._progress = lambda sequence=sequence: Progress(1, sequence)
    fake_loop.advance(2.0)
    assert (
        primary.promote() == "the peer holds more than this server: promote that one, or force it"
    )
    assert primary.protocol.state is State.SYNCING
    assert backup.promote() == ""
    fake_loop.advance(2.0)
    assert (primary.protocol.state, backup.protocol.state) == (State.SYNCING, State.ACTIVE)


def test_timings_that_differ_are_an_error_in_the_log_and_in_the_status(make_star, fake_loop):
    with structlog.testing.capture_logs() as log:
        primary = make_star(Role.PRIMARY, heartbeat=0.5)
        make_star(Role.BACKUP, heartbeat=0.5, timeout=2.0)
        fake_loop.advance(30.0)
    errors = [e for e in log if e["event"] == "the two servers are configured differently"]
    assert sorted(error["handler"] for error in errors) == ["backup", "primary"]
    assert "500 and 2000 ms at the peer" in primary.status().mismatch


def test_heartbeats_go_out_in_every_state(make_star, fake_loop, fake_network):
    star = make_star(Role.BACKUP, heartbeat=0.5)
    listener = fake_reactor(fake_network)
    beats = []
    stream = listener.open_stream(zmq.SUB, f">{STATES[Role.BACKUP]}", subscribe=(b"",))
    stream.on_message(beats.append)
    fake_loop.advance(10.0)
    listener.close()
    assert 19 <= len(beats) <= 21
    assert {PeerState.decode(frame).state for (frame,) in beats} == {star.protocol.state}


def test_each_process_numbers_its_heartbeats_from_its_wall_clock_on(make_star, fake_loop):
    primary = make_star(Role.PRIMARY, wall_clock=lambda: 1_800_000_000.25)
    backup = make_star(Role.BACKUP, wall_clock=lambda: -1.0)
    fake_loop.run_until(lambda: primary.protocol.peer and backup.protocol.peer)
    assert 1_800_000_000_250 < backup.protocol.peer.beat < 1_800_000_000_260
    assert 0 < primary.protocol.peer.beat < 10


@pytest.mark.parametrize(
    "frames",
    [
        (b"",),
        (b"0",),
        (b"junk",),
        (b"x" * 2000,),
        (b"\xff\xfe",),
        (b"x", b"y"),
        (b"x",) * 9,
        (PeerState(Role.PRIMARY, State.ACTIVE, interval_ms=60_000).encode(),),
        (PeerState(Role.BACKUP, State.ACTIVE).encode(),),
        (PeerState(Role.PRIMARY, State.ACTIVE, Progress()).encode(), b"more"),
    ],
)
def test_what_is_no_heartbeat_is_refused_counted_and_survived(
    make_star, fake_loop, fake_network, frames
):
    star = make_star(Role.BACKUP)
    impostor = fake_reactor(fake_network)
    stream = impostor.open_stream(zmq.PUB, f"@{STATES[Role.PRIMARY]}")
    fake_loop.advance(1.0)
    with structlog.testing.capture_logs() as logs:
        stream.send(*frames)
        fake_loop.run_pending()
    assert [entry["event"] for entry in logs] == ["message refused"]
    assert star.protocol.state is State.STARTING_BACKUP
    assert [handler.errors for handler in star._members()] == [0] * 4
    assert sum(handler.refused for handler in star._members()) == 1
    impostor.close()
    make_star(Role.PRIMARY)
    fake_loop.run_until(lambda: star.protocol.state is State.PASSIVE)


def test_every_transition_is_logged_with_its_cause(make_star, fake_loop):
    with structlog.testing.capture_logs() as logs:
        make_star(Role.PRIMARY)
        backup = make_star(Role.BACKUP)
        fake_loop.run_until(lambda: backup.protocol.state is State.PASSIVE)
    changes = [entry for entry in logs if entry["event"] == "state changed"]
    assert {(entry["handler"], entry["old"], entry["new"]) for entry in changes} >= {
        ("primary", "starting-primary", "active"),
        ("backup", "starting-backup", "syncing"),
    }
    assert all(entry["cause"] and entry["epoch"] >= 0 for entry in changes)


def test_a_loop_that_stood_still_suspends_the_service_until_the_peer_has_answered(pair, fake_loop):
    primary, _ = pair
    del primary.orders[:]
    fake_loop._now += 5.0  # time passes and nothing runs
    assert not primary.request()
    assert primary.orders == ["suspend"]
    fake_loop.advance(3.0)
    assert primary.orders == ["suspend", "resume"]
    assert primary.request()


def test_two_actives_become_one(make_star, fake_loop, fake_network):
    class Data(Orders):
        def __init__(self, writes):
            super().__init__()
            self.progress = Progress(epoch=1, sequence=writes, writes=writes)

    primary, backup = (
        make_star(role, data, progress=lambda data=data: data.progress)
        for role, data in ((Role.PRIMARY, Data(3)), (Role.BACKUP, Data(9)))
    )
    fake_network.partition("primary", "backup")
    fake_loop.advance(3.0)
    primary.carry_out(primary.protocol.promote(fake_loop.time()))
    backup.carry_out(backup.protocol.promote(fake_loop.time()))
    with structlog.testing.capture_logs() as logs:
        fake_network.heal()
        fake_loop.advance(5.0)
    states = [primary.protocol.state, backup.protocol.state]
    assert sorted(state.value for state in states) == ["active", "passive"]
    assert backup.protocol.state is State.ACTIVE, "more writes were accepted there"
    assert [e for e in logs if e["event"] == "both servers were active"]


def test_a_service_that_fails_does_not_stop_the_heartbeats(make_star, fake_loop):
    class Broken(Orders):
        def become_active(self, epoch, forced):
            raise RuntimeError("a bug")

    primary = make_star(Role.PRIMARY, Broken())
    backup = make_star(Role.BACKUP)
    with structlog.testing.capture_logs() as logs:
        fake_loop.advance(5.0)
    assert "hook failed" in [entry["event"] for entry in logs]
    sent = backup.protocol.statistics().heartbeats_received
    fake_loop.advance(5.0)
    assert backup.protocol.statistics().heartbeats_received >= sent + 4
    assert primary.protocol.statistics().heartbeats_received > 0


def test_a_state_port_that_is_taken_is_an_error_and_leaves_nothing_open(
    fake_network, fake_loop, make_star
):
    make_star(Role.PRIMARY)
    reactor = fake_reactor(fake_network)
    star = BinaryStar(
        Role.PRIMARY,
        Orders(),
        state_bind=STATES[Role.PRIMARY],
        state_connect=STATES[Role.BACKUP],
    )
    with pytest.raises(EndpointError, match="5003"):
        reactor.register(star)
    assert reactor.statistics().streams == ()
    reactor.close()


@pytest.mark.parametrize(
    ("heartbeat", "timeout"), [(0.0, 1.0), (1.0, 1.0), (2.0, 1.0), (-1.0, 2.0)]
)
def test_a_timeout_is_longer_than_a_heartbeat(heartbeat, timeout):
    with pytest.raises(ValueError):
        BinaryStar(
            Role.PRIMARY,
            Orders(),
            state_bind="tcp://127.0.0.1:*",
            state_connect="tcp://127.0.0.1:5004",
            heartbeat=heartbeat,
            timeout=timeout,
        )
