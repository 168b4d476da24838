"""Simulations: machines that crash, pause and have clocks of their own, decided by one seed."""

import asyncio
import gc
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
import zmq

from reactor import HandlerSet, PeriodicHandler, ReactorError, StreamHandler
from reactor.testing import Simulation

ENDPOINT = "tcp://server:1"


class Echo(StreamHandler):
    """Sends back what comes, and keeps it with its time."""

    def __init__(self, stream):
        super().__init__(stream)
        self.heard = []

    def on_message(self, frames):
        self.heard.append((self.reactor.now(), *frames))
        self.send(*frames)


class Server(HandlerSet):
    def build(self):
        self.echo = Echo(self.open_stream(zmq.ROUTER, f"@{ENDPOINT}", name="requests"))
        return [self.echo]


class Client(HandlerSet):
    """Asks once a second, counts the answers, and hears when its connection ends."""

    def __init__(self, options=None):
        super().__init__()
        self.options = options or {}
        self.asked = 0
        self.answers = []
        self.ended = 0

    def build(self):
        self.stream = self.open_stream(
            zmq.DEALER, f">{ENDPOINT}", name="asking", options=self.options
        )
        self.stream.on_message(lambda frames: self.answers.append(int(frames[0])))
        self.stream.on_disconnected(self._count_end)
        return [Asking(self)]

    def _count_end(self):
        self.ended += 1


class Asking(PeriodicHandler):
    def __init__(self, client):
        super().__init__(1.0)
        self.client = client

    def on_tick(self):
        self.client.asked += 1
        self.client.stream.send(b"%d" % self.client.asked)


@pytest.fixture
def simulation():
    with Simulation(seed=1) as simulation:
        yield simulation


def start(simulation, options=None):
    server = simulation.node("server", lambda node: Server())
    client = simulation.node("client", lambda node: Client(options))
    return server, client


# One seed decides


def story(seed):
    """A simulation full of faults; its trace."""
    with Simulation(seed) as simulation:
        server, client = start(simulation)
        chance = simulation.chance("faults")
        for _ in range(20):
            match chance.randrange(5):
                case 0:
                    server.restart(power=chance.random() < 0.5)
                case 1:
                    cut = simulation.network.partition(
                        "server", "client", reset=chance.random() < 0.5
                    )
                    simulation.at(simulation.loop.time() + chance.random() * 3, cut.cancel)
                case 2:
                    client.pause()
                case 3:
                    client.resume()
                case 4:
                    client.set_clock_forward(chance.uniform(-10, 10))
            simulation.advance(chance.random() * 2)
        return simulation.trace


def test_the_same_seed_gives_the_same_trace():
    assert story(3) == story(3)
    assert story(3) != story(4)


@pytest.mark.parametrize("hash_seed", ["0", "12345"])
def test_the_trace_does_not_depend_on_the_process(hash_seed):
    program = "from tests.reactor.testing.test_simulation import story; print(story(3))"
    told = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(__file__).parents[3],
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        check=True,
        text=True,
        timeout=50,
    )
    assert told.stdout.strip() == story(3)


def test_chance_of_one_purpose_is_not_shifted_by_another(simulation):
    expected = [simulation.chance("a").random() for _ in range(2)]
    simulation.chance("b").random()
    assert simulation.chance("a").random() == expected[0]


def test_each_event_is_told():
    events = []
    with Simulation(on_event=events.append) as simulation:
        start(simulation)
        simulation.advance(1.5)
    assert any("server starts" in line for line in events)
    assert any("client/client.asking>server/server.requests (b'1',)" in line for line in events)


def test_latency_may_have_any_distribution():
    def mostly_quick(chance: random.Random) -> float:
        return 3.0 if chance.random() < 0.2 else 0.0

    with Simulation(seed=5, latency=0.0, jitter=mostly_quick) as simulation:
        server, client = start(simulation)
        simulation.advance(60.5)
        gaps = {round(at - index) for index, (at, *_) in enumerate(server.handler.echo.heard)}
        assert len(gaps) > 1
        assert client.handler.answers == list(range(1, len(client.handler.answers) + 1))


# Nodes that crash


def test_a_crash_runs_no_hook_and_the_peer_notices(simulation):
    server, client = start(simulation)
    simulation.advance(2.5)
    stopped = []
    server.handler.on_stop = lambda: stopped.append(True)
    server.crash()
    assert not server.running
    with pytest.raises(ReactorError, match="server is not running"):
        server.handler  # noqa: B018 - the look-up is the test
    simulation.advance(5.0)
    assert (stopped, client.handler.ended) == ([], 1)
    assert client.handler.answers == [1, 2]


def test_a_node_that_stops_runs_its_hooks(simulation):
    server, client = start(simulation)
    simulation.advance(0.5)
    stopped = []
    server.handler.on_stop = lambda: stopped.append(True)
    server.stop()
    assert stopped == [True]
    assert not server.running


def test_a_restarted_node_is_found_again_and_what_waited_arrives(simulation):
    server, client = start(simulation)
    simulation.advance(2.5)
    server.crash()
    simulation.advance(3.0)
    server.start()
    simulation.advance(2.0)
    assert client.handler.answers == [1, 2, 3, 4, 5, 6, 7]
    assert server.starts == 2


def test_after_a_reconnect_a_client_has_a_new_routing_id(simulation):
    server, client = start(simulation)
    simulation.advance(1.5)
    simulation.network.partition("server", "client", reset=True).cancel()
    simulation.advance(2.0)
    ids = {identity for _, identity, _ in server.handler.echo.heard}
    assert len(ids) == 2


def test_nobody_connects_before_the_back_off_is_over():
    with Simulation(reconnect=2.0) as simulation:
        server, client = start(simulation)
        simulation.advance(1.5)
        simulation.network.partition("server", "client", reset=True).cancel()
        simulation.advance(1.9)
        assert client.handler.answers == [1]
        simulation.advance(3.0)
        assert client.handler.answers == [1, 2, 3, 4, 5, 6]


def test_what_a_killed_process_has_sent_arrives_but_not_from_a_machine_without_power():
    def answers(power):
        with Simulation(latency=0.2, jitter=0.0) as simulation:
            server, client = start(simulation)
            simulation.run_until(lambda: server.handlers and server.handler.echo.heard)
            server.crash(power=power)
            simulation.advance(1.0)
            return client.handler.answers

    assert answers(power=False) == [1]
    assert answers(power=True) == []


def test_storage_is_kept_over_a_crash_unless_it_is_wiped(simulation):
    def build(node):
        node.storage["starts"] = node.storage.get("starts", 0) + 1
        return Server()

    node = simulation.node("server", build)
    simulation.advance(0.1)
    node.restart()
    simulation.advance(0.1)
    assert node.storage == {"starts": 2}
    node.restart(wipe=True)
    simulation.advance(0.1)
    assert node.storage == {"starts": 1}


def test_coroutines_of_a_crashed_node_end_and_nobody_is_told(simulation):
    node = simulation.node("server", lambda node: Server())
    simulation.advance(0.1)
    ended = []

    async def forever():
        try:
            await asyncio.sleep(3600)
        finally:
            ended.append(True)

    node.call_soon(lambda: node.reactor.spawn(forever()))
    simulation.advance(1.0)
    node.crash()
    assert ended == [True]
    simulation.advance(7200)


# Nodes that pause


def test_a_pause_holds_timers_and_messages_and_releases_them_at_once(simulation):
    server, client = start(simulation)
    simulation.advance(1.5)
    server.pause()
    simulation.advance(5.0)
    assert len(server.handler.echo.heard) == 1
    server.resume()
    simulation.loop.run_pending()
    assert [frames[-1] for frames in server.handler.echo.heard] == [b"%d" % n for n in range(1, 7)]


def test_ticks_that_were_missed_in_a_pause_are_not_made_up_for(simulation):
    server, client = start(simulation)
    simulation.advance(1.5)
    client.pause()
    simulation.advance(10.0)
    client.resume()
    simulation.advance(0.1)
    assert client.handler.asked == 2


def test_a_node_that_is_started_while_paused_waits(simulation):
    node = simulation.node("server", lambda node: Server(), start=False)
    node.pause()
    node.start()
    simulation.advance(1.0)
    assert node.handlers == ()
    node.resume()
    simulation.advance(0.1)
    assert node.handler.echo


def test_a_node_that_crashes_before_it_has_begun_leaves_nothing(simulation):
    """With -W error: a coroutine that was never awaited would fail this test."""
    node = simulation.node("server", lambda node: Server(), start=False)
    node.pause()
    node.start()
    simulation.advance(1.0)
    node.crash()
    gc.collect()


# Links


def test_a_one_way_cut_holds_what_is_sent_in_one_direction(simulation):
    server, client = start(simulation)
    simulation.advance(1.5)
    cut = simulation.network.partition("server", "client", one_way=True)
    simulation.advance(3.0)
    assert (len(server.handler.echo.heard), client.handler.answers) == (4, [1])
    cut.cancel()
    simulation.advance(0.1)
    assert client.handler.answers == [1, 2, 3, 4]


def test_nobody_connects_through_a_one_way_cut(simulation):
    simulation.network.partition("client", "server", one_way=True)
    server, client = start(simulation)
    simulation.advance(5.0)
    assert server.handler.echo.heard == []
    simulation.network.heal()
    simulation.advance(1.5)
    assert client.handler.answers == [1, 2, 3, 4, 5, 6]


def test_heartbeats_end_a_connection_that_stays_cut(simulation):
    server, client = start(simulation, {zmq.HEARTBEAT_IVL: 500, zmq.HEARTBEAT_TIMEOUT: 1500})
    simulation.advance(1.5)
    cut = simulation.network.partition("server", "client")
    simulation.advance(1.9)
    assert client.handler.ended == 0
    simulation.advance(0.2)
    assert client.handler.ended == 1
    cut.cancel()
    simulation.advance(1.0)
    assert server.handler.echo.heard[-1][-1] == b"4"


def test_a_short_cut_does_not_end_a_connection_with_heartbeats(simulation):
    server, client = start(simulation, {zmq.HEARTBEAT_IVL: 500})
    for _ in range(4):
        cut = simulation.network.partition("server", "client")
        simulation.advance(0.9)
        cut.cancel()
        simulation.advance(0.2)
    assert client.handler.ended == 0


# Clocks


def test_wall_clocks_jump_and_monotonic_time_does_not(simulation):
    node = simulation.node("server", lambda node: Server())
    simulation.advance(1.0)
    before, monotonic = node.wall_clock(), node.reactor.now()
    node.set_clock_forward(-3600)
    simulation.advance(10.0)
    assert node.wall_clock() - before == pytest.approx(-3590.0)
    assert node.reactor.now() - monotonic == pytest.approx(10.0)


def test_clocks_drift_apart(simulation):
    fast = simulation.node("client", lambda node: Client(), drift=0.1)
    simulation.advance(10.5)
    assert fast.handler.asked == 11
    assert fast.wall_clock() == pytest.approx(1_800_000_011.55)


def test_the_monotonic_clocks_of_two_nodes_have_nothing_to_say_to_each_other(simulation):
    server, client = start(simulation)
    simulation.advance(1.0)
    assert abs(server.reactor.now() - client.reactor.now()) > 1.0


@pytest.mark.parametrize("drift", [0.0, 1e-4, -3e-4, 1 / 3])
def test_a_timer_never_runs_before_its_instant(simulation, drift):
    node = simulation.node("server", lambda node: Server(), drift=drift)
    simulation.advance(1.0)
    early = []
    reactor = node.reactor
    for number in range(200):
        when = reactor.now() + number * 0.0137
        reactor.call_at(when, lambda when=when: early.append(when) if reactor.now() < when else 0)
    simulation.advance(10.0)
    assert early == []


# What a test does with a node


def test_what_a_handler_raises_leaves_advance(simulation):
    node = simulation.node("server", lambda node: Server())
    simulation.advance(1.0)

    def fail():
        raise ZeroDivisionError

    node.call_soon(fail)
    with pytest.raises(ZeroDivisionError):
        simulation.advance(1.0)


def test_what_cannot_start_leaves_advance():
    with pytest.raises(RuntimeError, match="no server today"):
        with Simulation() as simulation:

            def build(node):
                raise RuntimeError("no server today")

            simulation.node("server", build)
            simulation.advance(1.0)


def test_a_coroutine_runs_on_a_node_and_time_passes(simulation):
    node = simulation.node("server", lambda node: Server())

    async def nap():
        await asyncio.sleep(5.0)
        return asyncio.get_running_loop()

    assert node.run(nap()) is node.reactor.loop
    assert simulation.loop.time() == pytest.approx(5.0)
    with pytest.raises(TimeoutError):
        node.run(asyncio.sleep(100.0), timeout=1.0)


def test_nothing_runs_on_a_node_that_is_down(simulation):
    node = simulation.node("server", lambda node: Server(), start=False)
    with pytest.raises(ReactorError, match="not running"):
        node.run(asyncio.sleep(1.0))
    node.call_soon(lambda: pytest.fail("it ran"))
    node.crash()
    simulation.advance(1.0)


def test_names_and_starts_are_checked(simulation):
    node = simulation.node("server", lambda node: Server())
    with pytest.raises(ValueError, match="already"):
        simulation.node("server", lambda node: Server())
    with pytest.raises(ReactorError, match="running already"):
        node.start()


def test_uuids_are_not_given_twice(simulation):
    nodes = [simulation.node(name, lambda node: Server(), start=False) for name in "ab"]
    assert len({node.make_uuid() for node in nodes for _ in range(100)}) == 200


def test_several_handlers_run_on_a_node(simulation):
    node = simulation.node("both", lambda node: (Server(), Client()))
    simulation.advance(2.5)
    assert node.handlers[1].answers == [1, 2]


def test_the_example_of_the_documentation_runs():
    page = (Path(__file__).parents[3] / "docs/simulation.md").read_text(encoding="utf-8")
    source = page.partition("```python\n")[2].partition("```")[0]
    names = {"EchoServer": Server, "EchoClient": Client}
    exec(compile(source, "docs/simulation.md", "exec"), names)
    names["test_the_client_is_answered_again_after_a_crash_and_a_partition"]()
