"""Two server processes, a client that writes, and a kill -9: what was acknowledged is there."""

import asyncio
import itertools

import pytest

from patterns.clone.client import CloneClient, WriteError
from patterns.clone.handlers import CloneServer
from reactor import Reactor

from .conftest import SECONDS, free_ports

HEARTBEAT, TIMEOUT, SERVER_TTL = 0.2, 1.0, 1.0
ATTEMPTS = 3


class Pair:
    """The processes of a primary and a backup, which may be killed and started again."""

    def __init__(self, start_server):
        self._start_server = start_server
        primary, backup, primary_state, backup_state = free_ports(3, 3, 1, 1)
        self._ports = {"primary": (primary, primary_state), "backup": (backup, backup_state)}
        self.servers = {role: self.start(role) for role in self._ports}
        for server in self.servers.values():
            server.ready()

    def start(self, role):
        (own, peer) = self._ports[role], self._ports["backup" if role == "primary" else "primary"]
        options = {
            "--role": role,
            "--port": own[0],
            "--peer": endpoint(peer[0]),
            "--state-bind": endpoint(own[1]),
            "--state-connect": endpoint(peer[1]),
            "--heartbeat": HEARTBEAT,
            "--timeout": TIMEOUT,
        }
        return self._start_server(
            "clone", *(str(word) for pair in options.items() for word in pair)
        )

    def restart(self, role):
        self.servers[role] = self.start(role)
        self.servers[role].ready()

    def endpoint(self, role):
        return endpoint(self._ports[role][0])

    @property
    def endpoints(self):
        return [self.endpoint(role) for role in self._ports]

    async def reach(self, role, state):
        """Wait until a server has logged this state as its last."""
        async with asyncio.timeout(SECONDS):
            while self.state(role) != state:
                await asyncio.sleep(0.02)

    def state(self, role):
        changes = self.servers[role].log("state changed")
        return changes[-1]["new"] if changes else None


def endpoint(port):
    return f"tcp://127.0.0.1:{port}"


@pytest.fixture
def pair(start_server):
    for attempt in range(ATTEMPTS):
        try:
            return Pair(start_server)
        except ValueError:  # somebody else took one of the ports in the meantime
            if attempt + 1 == ATTEMPTS:
                raise


class Writer:
    """Writes all the time, many at once, and notes what was acknowledged."""

    def __init__(self, client):
        self.client = client
        self.acknowledged = {}
        self._tried = {}
        self._task = asyncio.create_task(self._write())
        self._writes = set()

    async def _write(self):
        for number in itertools.count():
            key = b"/key/%d" % (number % 100)
            body = b"" if number % 11 == 10 else b"%d" % number
            self._tried.setdefault(key, []).append(body)
            write = asyncio.create_task(self._await(key, body))
            self._writes.add(write)
            write.add_done_callback(self._writes.discard)
            await asyncio.sleep(0.002)

    async def _await(self, key, body):
        try:
            await (self.client.set(key, body) if body else self.client.delete(key))
        except WriteError:
            return
        tried = self._tried[key]
        if body in tried:  # else a later one of the key was acknowledged before
            del tried[: tried.index(body) + 1]
            self.acknowledged[key] = body

    async def more(self, count):
        """Wait until `count` more writes are acknowledged."""
        target = self.client.statistics_of_client().acknowledged + count
        async with asyncio.timeout(SECONDS):
            while self.client.statistics_of_client().acknowledged < target:
                await asyncio.sleep(0.005)

    async def end(self):
        """Write no more, and wait until everything is answered."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await asyncio.wait_for(asyncio.gather(*self._writes), SECONDS)
        assert not any(self._tried.values())

    def lost(self, items):
        """The keys that are not as they were acknowledged last; all writes are answered."""
        held = dict(items)
        return {k: (v, held.get(k)) for k, v in self.acknowledged.items() if held.get(k, b"") != v}


async def contents_of(endpoint):
    async with CloneClient(endpoint, server_ttl=SERVER_TTL) as client:
        await client.wait_live(SECONDS)
        return client.items()


async def test_a_killed_primary_costs_no_acknowledged_write_and_no_ten_seconds(pair):
    loop = asyncio.get_running_loop()
    async with CloneClient(pair.endpoints, server_ttl=SERVER_TTL) as client:
        writer = Writer(client)
        await writer.more(300)
        await pair.reach("backup", "passive")
        await writer.more(300)
        pair.servers["primary"].kill()
        killed_at = loop.time()
        await writer.more(1500)
        assert loop.time() - killed_at < 10.0
        assert client.server == pair.endpoint("backup")
        await writer.end()
        assert writer.lost(client.items()) == {}
        assert writer.lost(await contents_of(pair.endpoint("backup"))) == {}
    assert pair.state("backup") == "active"


async def test_the_old_primary_comes_back_as_passive_and_takes_over_in_its_turn(pair):
    async with CloneClient(pair.endpoints, server_ttl=SERVER_TTL) as client:
        writer = Writer(client)
        await pair.reach("backup", "passive")
        await writer.more(100)
        pair.servers["primary"].kill()
        await pair.reach("backup", "active")
        pair.restart("primary")
        await pair.reach("primary", "passive")
        await writer.more(300)
        pair.servers["backup"].kill()
        await pair.reach("primary", "active")
        await writer.more(300)
        await writer.end()
        assert writer.lost(client.items()) == {}
        assert writer.lost(await contents_of(pair.endpoint("primary"))) == {}
    assert pair.servers["primary"].terminate() == 0


async def test_a_server_that_comes_back_does_not_hear_what_was_written_meanwhile():
    """It would take it for new, and at the next failover bring old values back."""
    async with Reactor() as stays, Reactor() as goes, Reactor() as comes:
        first, second = CloneServer(0, heartbeat=HEARTBEAT), CloneServer(0, heartbeat=HEARTBEAT)
        goes.register(first)
        stays.register(second)
        async with CloneClient([first.endpoint, second.endpoint], server_ttl=SERVER_TTL) as client:
            await client.wait_live(SECONDS)
            goes.stop()
            await goes.stopped()
            for number in range(10):
                await asyncio.wait_for(client.set("old", str(number)), SECONDS)
            again = CloneServer(int(first.endpoint.rpartition(":")[2]))
            comes.register(again)
            async with asyncio.timeout(SECONDS):
                while b"new" not in again.protocol.store:
                    await client.set("new", "1")
                    await asyncio.sleep(0.01)
            assert b"old" not in again.protocol.store
