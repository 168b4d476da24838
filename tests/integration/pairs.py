"""A pair of server processes, a writer that knows what was acknowledged, and what servers hold."""

import asyncio
import itertools

from patterns.clone.client import CloneClient, WriteError

from .conftest import SECONDS, free_ports

HEARTBEAT, TIMEOUT, SERVER_TTL = 0.2, 1.0, 1.0


class Pair:
    """The processes of a primary and a backup, which may be killed and started again."""

    def __init__(self, start_server, links=None, options=None):
        """`links`: where each role hears its peer's state, if not at its peer."""
        self._start_server = start_server
        self._links = links or {}
        self._options = options or {}
        ports = free_ports(3, 3, 1, 1, 1, 1)
        self._ports = {"primary": ports[::2], "backup": ports[1::2]}
        self.servers = {role: self.start(role) for role in self._ports}
        for server in self.servers.values():
            server.ready()

    def start(self, role):
        own, peer = self._ports[role], self._ports["backup" if role == "primary" else "primary"]
        options = {
            "--role": role,
            "--port": own[0],
            "--peer": endpoint(peer[0]),
            "--state-bind": endpoint(own[1]),
            "--state-connect": self._links.get(role, endpoint(peer[1])),
            "--control": own[2],
            "--heartbeat": HEARTBEAT,
            "--timeout": TIMEOUT,
            **self._options,
        }
        return self._start_server(
            "clone", *(str(word) for pair in options.items() for word in pair)
        )

    def restart(self, role):
        self.servers[role] = self.start(role)
        self.servers[role].ready()

    def endpoint(self, role):
        return endpoint(self._ports[role][0])

    def control(self, role):
        return endpoint(self._ports[role][2])

    def state_endpoint(self, role):
        return endpoint(self._ports[role][1])

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
