"""Two server processes, clients that count, and a kill -9: no increment is lost or done twice."""

import asyncio
from contextlib import AsyncExitStack

from patterns.clone.client import CloneClient

from .conftest import SECONDS
from .pairs import SERVER_TTL, contents_of

CLIENTS = 3
EACH = 150


def increment(value):
    return str(int(value or b"0") + 1)


async def test_no_increment_is_lost_when_the_active_is_killed(pair):
    done = []

    async def count(client):
        for _ in range(EACH):
            await client.update("counter", increment, timeout=SECONDS)
            done.append(client)

    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(CloneClient(pair.endpoints, server_ttl=SERVER_TTL))
            for _ in range(CLIENTS)
        ]
        for client in clients:
            await client.wait_live(SECONDS)
        await pair.reach("backup", "passive")
        counting = [asyncio.create_task(count(client)) for client in clients]
        while len(done) < CLIENTS * EACH // 3:
            await asyncio.sleep(0.001)
        pair.servers["primary"].kill()
        await asyncio.gather(*counting)
    assert dict(await contents_of(pair.endpoint("backup")))[b"counter"] == b"%d" % (CLIENTS * EACH)


async def test_one_of_two_leads_and_the_other_one_after_a_kill(pair):
    """A lease outlives the server that gave it, and nobody else has it meanwhile."""
    async with (
        CloneClient(pair.endpoints, server_ttl=SERVER_TTL) as one,
        CloneClient(pair.endpoints, server_ttl=SERVER_TTL) as two,
    ):
        for client in (one, two):
            await client.wait_live(SECONDS)
        await pair.reach("backup", "passive")
        async with one.keep("/leader", "one", ttl=10, exclusive=True) as lease:
            pair.servers["primary"].kill()
            await pair.reach("backup", "active")
            assert await lease.set("still one") > 0
            assert lease.held
            await two.wait_live(SECONDS)
            assert dict(await contents_of(pair.endpoint("backup")))[b"/leader"] == b"still one"
        async with two.keep("/leader", "two", ttl=10, exclusive=True) as lease:
            assert lease.held
