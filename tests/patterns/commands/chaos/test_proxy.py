"""A link of the chaos: what it does to connections is what a network does."""

import asyncio
import socket

import pytest
import zmq

from patterns.clone.client_sockets import _PATIENCE
from patterns.commands.chaos.proxy import Link, bind_row

SECONDS = 10.0
HOST = "127.0.0.1"
FIRST_PORT = 9_000


class Echo:
    """A server behind the link that sends back what it hears, in capitals."""

    def __init__(self):
        self.heard = b""
        self.writers = []

    async def __aenter__(self):
        self.server = await asyncio.start_server(self._serve, HOST, 0)
        return self

    async def __aexit__(self, *_):
        self.server.close()
        for writer in self.writers:
            writer.close()

    @property
    def port(self):
        return self.server.sockets[0].getsockname()[1]

    async def _serve(self, reader, writer):
        self.writers.append(writer)
        while data := await reader.read(100):
            self.heard += data
            writer.write(data.upper())
        writer.close()

    async def hears(self, text):
        async with asyncio.timeout(SECONDS):
            while text not in self.heard:
                await asyncio.sleep(0.001)


@pytest.fixture
async def echo():
    async with Echo() as server:
        yield server


@pytest.fixture
async def link(echo):
    link = Link(("client", "server"), HOST, bind_row(HOST, 1, FIRST_PORT))
    link.lead_to(HOST, echo.port)
    await link.listen()
    yield link
    await link.close()


@pytest.fixture
async def client(link):
    reader, writer = await asyncio.open_connection(HOST, link.ports[0])
    yield reader, writer
    writer.close()


async def ask(client, text):
    reader, writer = client
    writer.write(text)
    return await asyncio.wait_for(reader.readexactly(len(text)), SECONDS)


async def test_a_healthy_link_forwards_both_ways(client):
    assert await ask(client, b"hello") == b"HELLO"


async def test_a_cut_holds_back_what_is_sent_until_it_is_healed(client, link, echo):
    assert await ask(client, b"a") == b"A"
    link.there.cut()
    link.back.cut()
    answer = asyncio.create_task(ask(client, b"b"))
    await asyncio.sleep(0.02)
    assert not answer.done() and echo.heard == b"a"
    link.heal()
    assert await answer == b"B"


async def test_a_cut_of_one_way_lets_the_other_pass(client, link, echo):
    assert await ask(client, b"a") == b"A"
    link.back.cut()
    answer = asyncio.create_task(ask(client, b"b"))
    await echo.hears(b"ab")
    await asyncio.sleep(0.02)
    assert not answer.done()
    link.back.heal()
    assert await answer == b"B"


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="Linux unplugs hosts")
async def test_a_host_that_was_unplugged_is_given_up_as_soon_as_by_a_client(client, link):
    assert await ask(client, b"a") == b"A"
    ((_, far),) = link._connections.values()
    option = socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT
    assert far.get_extra_info("socket").getsockopt(*option) == _PATIENCE[zmq.TCP_MAXRT]


async def test_a_connection_through_a_cut_link_waits(link, echo):
    link.there.cut()
    reader, writer = await asyncio.open_connection(HOST, link.ports[0])
    answer = asyncio.create_task(ask((reader, writer), b"a"))
    await asyncio.sleep(0.02)
    assert not echo.writers
    link.heal()
    assert await answer == b"A"
    writer.close()


async def test_a_reset_breaks_every_connection(client, link, echo):
    assert await ask(client, b"a") == b"A"
    link.reset()
    with pytest.raises(ConnectionResetError):
        await asyncio.wait_for(client[0].read(1), SECONDS)
    again = await asyncio.open_connection(HOST, link.ports[0])
    assert await ask(again, b"b") == b"B"
    again[1].close()


async def test_a_delay_makes_everything_late(client, link):
    loop = asyncio.get_running_loop()
    link.there.delay = 0.05
    began = loop.time()
    assert await ask(client, b"a") == b"A"
    assert loop.time() - began >= 0.05


async def test_a_trickle_passes_so_many_bytes_a_second(client, link):
    loop = asyncio.get_running_loop()
    link.back.rate = 1000
    began = loop.time()
    assert await ask(client, b"a" * 200) == b"A" * 200
    assert loop.time() - began >= 0.1


async def test_a_link_refuses_for_a_server_that_is_gone_and_listens_again(link):
    link.refuse()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(HOST, link.ports[0])
    await link.listen()
    again = await asyncio.open_connection(HOST, link.ports[0])
    assert await ask(again, b"b") == b"B"
    again[1].close()


async def test_the_end_of_one_side_is_the_end_of_the_other(client, link, echo):
    assert await ask(client, b"a") == b"A"
    for writer in echo.writers:
        writer.close()
    assert await asyncio.wait_for(client[0].read(), SECONDS) == b""


async def test_a_row_leads_to_a_row():
    async with Echo() as first:
        row = bind_row(HOST, 3, FIRST_PORT + 100)
        link = Link(("client", "server"), HOST, row)
        link.lead_to(HOST, first.port - 2)
        await link.listen()
        connection = await asyncio.open_connection(HOST, row[2])
        assert await ask(connection, b"c") == b"C"
        connection[1].close()
        await link.close()


def test_a_row_of_ports_has_no_gap():
    row = bind_row(HOST, 4, FIRST_PORT)
    assert row == list(range(row[0], row[0] + 4))
