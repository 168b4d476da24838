"""Hosts that are gone without a word: a server must not keep their connections for ever."""

import asyncio
import os
import socket
import sys

import pytest

from patterns.clone.handlers import CloneServer
from reactor import Reactor

from .conftest import SECONDS

LONGEST_SECONDS = 180


def far_end(near):
    """The other end of a connection, which this process has as well; None if it has it not yet."""
    for name in os.listdir("/proc/self/fd"):
        try:
            end = socket.socket(fileno=os.dup(int(name)))
        except OSError:
            continue  # no socket, or closed since
        try:
            if end.getpeername() == near.getsockname():
                return end
        except OSError:
            pass  # not connected
        end.close()
    return None


async def accepted(near):
    async with asyncio.timeout(SECONDS):
        while (end := far_end(near)) is None:
            await asyncio.sleep(0.01)
    return end


@pytest.mark.skipif(sys.platform != "linux", reason="looks for sockets in /proc")
@pytest.mark.parametrize("offset", [0, 1, 2], ids=["snapshots", "publisher", "collector"])
async def test_the_kernel_asks_after_a_client_that_is_silent(offset):
    server = CloneServer(port=0)
    async with Reactor() as reactor:
        await reactor.register(server)
        port = int(server.endpoint.rpartition(":")[2]) + offset
        with socket.create_connection(("127.0.0.1", port)) as near, await accepted(near) as far:
            assert far.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            idle, interval, count = (
                far.getsockopt(socket.IPPROTO_TCP, option)
                for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
            )
            assert idle + interval * count <= LONGEST_SECONDS
