"""Many clients that join while updates flow, and one who cannot keep up; on real sockets."""

import asyncio

from patterns.clone import ports
from patterns.clone.client import CloneClient
from patterns.clone.client_effects import Live, Put, Stale
from patterns.clone.handlers import CloneServer
from patterns.clone.ports import collector_of
from reactor import Reactor

from .conftest import SECONDS
from .feed import KEYS, Feed
from .pairs import contents_of

# Each hears 5,000 updates a second, all in this process; benchmarks/clone has 200 of them.
CLIENTS = 40
RATE = 5000
FLOW_SECONDS = 3.0


class Listener:
    """A client and the numbers that it was told after it had become live."""

    def __init__(self, reactor, endpoint):
        self.client = CloneClient(endpoint, server_ttl=SECONDS)
        self.numbers = []
        self._live = False
        reactor.register(self.client)
        self.client.add_watch(self._hear)

    def _hear(self, event):
        match event:
            case Live():
                self._live = True
            case Put(_, body, _) if self._live:
                self.numbers.append(int(body))

    @property
    def last(self):
        """The highest number in the map."""
        return max((int(body) for _, body in self.client.items()), default=0)


async def until(condition):
    async with asyncio.timeout(2 * SECONDS):
        while not condition():
            await asyncio.sleep(0.02)


async def test_clients_join_while_5000_updates_a_second_flow(start_server):
    """Must show 4: every map equals the server's, nothing is missing and nothing comes twice."""
    server = start_server("clone", "--port", "0")
    endpoint = server.ready()
    async with Reactor() as reactor:
        with Feed(collector_of(endpoint), RATE, FLOW_SECONDS) as feed:
            await until(lambda: feed.written > KEYS)
            # All at once: those who have joined leave the others little of the machine.
            listeners = [Listener(reactor, endpoint) for _ in range(CLIENTS)]
            await until(lambda: feed.ended)
            total = feed.written
        assert total == RATE * FLOW_SECONDS
        await until(lambda: all(each.last == total for each in listeners))
        truth = await contents_of(endpoint)
        for each in listeners:
            assert each.client.items() == truth
            assert each.client.statistics_of_client().losses == 0
            first = each.numbers[0] if each.numbers else total + 1
            assert each.numbers == list(range(first, total + 1))
        following = [each for each in listeners if len(each.numbers) > 100]
        assert len(following) > CLIENTS / 2, "they came when the flow was over"


async def test_f21_a_subtree_client_that_is_made_to_lose_updates_notices_resyncs_and_says_so(
    monkeypatch,
):
    """Must show 4: with little room in every queue, a reader that pauses misses updates."""
    monkeypatch.setitem(
        ports._OPTIONS, ports.zmq.XPUB, {ports.zmq.XPUB_VERBOSE: 1, ports.zmq.SNDHWM: 10}
    )
    monkeypatch.setattr("patterns.clone.client_sockets._HWM", 10)
    async with Reactor() as reactor:
        server = CloneServer(0, heartbeat=0.2)
        await reactor.register(server)
        slow = CloneClient(server.endpoint, "/a/", server_ttl=SECONDS)
        writer = CloneClient(server.endpoint, "/", server_ttl=SECONDS)
        reactor.register(slow)
        reactor.register(writer)
        for client in (slow, writer):
            await client.wait_live(SECONDS)
        events = []
        slow.add_watch(events.append)
        await writer.set("/a/first", "1")
        await until(lambda: slow.get("/a/first"))
        # It has heard a heartbeat with a count, from which the next one will differ.
        await until(lambda: slow.protocol._losses._updates)
        slow._sockets._subscriber.pause()
        body = bytes(20_000)
        for number in range(1000):  # 20 MB, more than the kernel and the queues hold
            await writer.set(f"/{'ab'[number % 2]}/{number % 50}", body + b"%d" % number)
        slow._sockets._subscriber.resume()
        await until(lambda: slow.statistics_of_client().losses and slow.protocol.live)
        await until(lambda: dict(slow.items()) == _below(writer, b"/a/"))
        assert Stale("lost updates") in events
        assert isinstance(events[-1], Put | Live)
        assert slow.statistics_of_client().keys == 26


def _below(client, subtree):
    return {key: body for key, body in client.items() if key.startswith(subtree)}
