"""Two server processes, a client that writes, and a kill -9: what was acknowledged is there."""

import asyncio

from patterns.clone.client import CloneClient
from patterns.clone.handlers import CloneServer
from reactor import Reactor

from .conftest import SECONDS
from .pairs import HEARTBEAT, SERVER_TTL, Writer, contents_of


async def test_a_killed_primary_costs_no_acknowledged_write_and_no_ten_seconds(pair):
    """BS-1, BS-2, BS-12: on the Tornado of today, with every warning an error."""
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


async def test_bs_14_a_client_whose_server_was_killed_ends_at_once(pair):
    loop = asyncio.get_running_loop()
    async with CloneClient(pair.endpoints) as client:
        await client.wait_live(SECONDS)
        for server in pair.servers.values():
            server.kill()
        client.set("never", "arrives")
        ends_at = loop.time()
    assert loop.time() - ends_at < 1.0


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
