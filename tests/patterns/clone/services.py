"""Clone servers and clients in virtual time, each on a reactor of its own, on one network."""

import itertools

import zmq

from patterns.binary_star.messages import Role, State
from patterns.clone.client import CloneClient
from patterns.clone.handlers import CloneServer
from patterns.clone.messages import HUGZ, KVMessage, snapshot_request
from reactor.testing import fake_reactor

PRIMARY = "tcp://127.0.0.1:5556"
BACKUP = "tcp://127.0.0.1:5566"
_STATES = {Role.PRIMARY: "tcp://127.0.0.1:5003", Role.BACKUP: "tcp://127.0.0.1:5004"}
_EPOCH_ORIGIN = 1_800_000_000  # some Unix time; what matters is that a later start is later


class Service:
    """What a test builds; `close` ends all of it."""

    def __init__(self, network):
        self.network = network
        self.loop = network.loop
        self._uuids = itertools.count(1)
        self._reactors = {}

    def make_uuid(self):
        return next(self._uuids).to_bytes(16, "big")

    def reactor(self, **options):
        """One more reactor on the network, as another process would have."""
        reactor = fake_reactor(self.network, **options)
        self._reactors[reactor] = None
        return reactor

    def run(self, handler, name="", **options):
        """Register a handler, named `name` for the network's faults, on a reactor of its own."""
        handler.name = name
        self.reactor(**options).register(handler)
        return handler

    # Servers

    def server(self, port=5556, name="server", **options):
        """A server that stands alone, unless the options say otherwise."""
        return self.run(CloneServer(port, **self._injected(options)), name)

    def primary(self, **options):
        return self.server(5556, "primary", peer=BACKUP, **_of(Role.PRIMARY), **options)

    def backup(self, **options):
        return self.server(5566, "backup", peer=PRIMARY, **_of(Role.BACKUP), **options)

    def pair(self, **options):
        """A pair that has found its order: the primary active, the backup synchronised."""
        primary, backup = self.primary(**options), self.backup(**options)
        self.loop.run_until(lambda: states(primary, backup) == [State.ACTIVE, State.PASSIVE])
        return primary, backup

    def kill(self, handler):
        """End a process at once: what is on its way to or from it is lost, connections break."""
        self.network.partition(handler.name, reset=True)
        self.stop(handler, hard=True)
        self.network.heal(handler.name)

    def vanish(self, handler):
        """Cut a machine off: nothing is reset, nothing refused, and it goes on by itself."""
        self.network.partition(handler.name)

    def stop(self, handler, hard=False):
        """End a process by its own will."""
        reactor = handler.reactor
        del self._reactors[reactor]
        reactor.stop(hard=hard)
        self.loop.run_until_complete(reactor.stopped())

    def _injected(self, options):
        started = _EPOCH_ORIGIN + self.loop.time()
        return {"make_uuid": self.make_uuid, "wall_clock": lambda: started, **options}

    # Clients

    def client(self, *servers, name="client", **options):
        """A client of `servers`, by default of one at 5556."""
        options = {"jitter": lambda: 0.5, "make_uuid": self.make_uuid, **options}
        subtree = options.pop("subtree", b"")
        return self.run(CloneClient(servers or [PRIMARY], subtree, **options), name)

    def live(self, client, timeout=10.0):
        """The client when it is live."""
        self.wait(client.wait_live(timeout))
        return client

    def wait(self, awaitable, timeout=60.0):
        """The result of an awaitable."""
        return self.loop.run_until_complete(awaitable, timeout)

    def watch(self, client, subtree=b"", **options):
        """The events that a watcher has taken so far; the list grows as time passes."""
        events = []

        async def watch():
            async for event in client.watch(subtree, **options):
                events.append(event)

        self.loop.create_task(watch())
        return events

    # Peers that are no CloneClient

    def dealer(self, endpoint=PRIMARY, **options):
        """A socket at the snapshot port; its messages are kept in `.arrived`."""
        return self._listening(zmq.DEALER, f">{endpoint}", **options)

    def subscriber(self, *prefixes, port=5557, **options):
        """A socket at the publisher; its messages are kept in `.arrived`."""
        endpoint = f">tcp://127.0.0.1:{port}"
        return self._listening(zmq.SUB, endpoint, subscribe=prefixes or (b"",), **options)

    def writer(self, port=5558):
        """A PUB at the collector, as a client of the Guide has it, which is subscribed to."""
        stream = self.reactor().open_stream(zmq.XPUB, f">tcp://127.0.0.1:{port}")
        subscribed = []
        stream.on_message(subscribed.append)
        self.loop.run_until(lambda: subscribed)
        return stream

    def _listening(self, socket_type, endpoint, name="peer", **options):
        stream = self.reactor().open_stream(socket_type, endpoint, name=name, **options)
        stream.arrived = []
        stream.on_message(stream.arrived.append)
        return stream

    def snapshot(self, subtree=b"", endpoint=PRIMARY):
        """What a server answers to ICANHAZ?, KTHXBAI included."""
        dealer = self.dealer(endpoint)
        dealer.send(*snapshot_request(subtree))
        self.loop.run_until(lambda: dealer.arrived and dealer.arrived[-1][0] == b"KTHXBAI")
        return dealer.arrived

    def close(self):
        """Stop all reactors, the newest first."""
        while self._reactors:
            self._reactors.popitem()[0].close()


def _of(role):
    other = Role.BACKUP if role is Role.PRIMARY else Role.PRIMARY
    return {"role": role, "state_bind": _STATES[role], "state_connect": _STATES[other]}


def states(*servers) -> list[State]:
    """The Binary Star states of the servers of a pair."""
    return [server.star.protocol.state for server in servers]


def contents(holder) -> dict[bytes, bytes]:
    """What a server or a client holds."""
    return {entry[0]: entry[4] for entry in holder.protocol.store.snapshot()}


def update(key, body, uuid=b"", properties=b"") -> tuple[bytes, ...]:
    """The frames of a KVSET."""
    return KVMessage(key, 0, uuid, properties, body).encode()


def updates(arrived) -> list[tuple[bytes, bytes]]:
    """Key and body of the updates among what a subscriber received."""
    return [(frames[0], frames[4]) for frames in arrived if frames[1] != bytes(8)]


def heartbeats(arrived) -> list[list[bytes]]:
    """The HUGZ among what a subscriber received."""
    return [frames for frames in arrived if frames[0] == HUGZ]
