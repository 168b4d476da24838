"""A link that can be hurt: a row of TCP ports, forwarded to the same row elsewhere.

What passes can be delayed, slowed to a trickle, or cut in one direction or both, as a network does
it: nothing arrives, and nobody is told. Or its connections are reset, and what is on its way is
lost. Nothing is buffered beyond what the sockets hold, so that who sends too much is held up.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Sequence
from contextlib import suppress

_CHUNK = 65536
_TRICKLE_SECONDS = 0.05
_RESET = struct.pack("ii", 1, 0)
_BACKLOG = 100
# As long as a client of its own: TCP tries a host that was unplugged ever more rarely, and would
# keep what the client sends for as long again after it is back.
_PATIENCE_SECONDS = 5.0


class Flow:
    """What happens to the bytes that go one way through a link.

    Each is `delay` seconds late at least; `rate`, unless it is 0, is bytes a second.
    """

    def __init__(self) -> None:
        self.delay = 0.0
        self.rate = 0
        self.passed = 0
        self._open = asyncio.Event()
        self._open.set()

    def cut(self) -> None:
        """Let nothing pass; what is sent waits."""
        self._open.clear()

    def heal(self) -> None:
        """Let everything pass at once, beginning with what waits."""
        self.delay, self.rate = 0.0, 0
        self._open.set()

    async def opened(self) -> None:
        """Wait until something can pass."""
        await self._open.wait()

    async def pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Forward what comes, until there is no more."""
        while data := await reader.read(int(self.rate * _TRICKLE_SECONDS) or _CHUNK):
            if self.rate:
                await asyncio.sleep(_TRICKLE_SECONDS)
            if self.delay:
                await asyncio.sleep(self.delay)
            await self._open.wait()
            self.passed += len(data)
            writer.write(data)
            await writer.drain()


class Link:
    """Forwards connections from the ports it is bound to; `there` leads to the target."""

    def __init__(self, ends: Sequence[str], host: str, ports: Sequence[int]) -> None:
        self.ends = tuple(ends)
        self.there, self.back = Flow(), Flow()
        self.host = host
        self.ports = list(ports)
        self._target = ("", 0)
        self._servers: list[asyncio.Server] = []
        self._connections: dict[asyncio.Task[None], list[asyncio.StreamWriter]] = {}

    @property
    def endpoint(self) -> str:
        """The first of its ports."""
        return f"tcp://{self.host}:{self.ports[0]}"

    def lead_to(self, host: str, first_port: int) -> None:
        """Where connections lead from now on."""
        self._target = (host, first_port)

    async def listen(self) -> None:
        """Take connections: at the other end somebody listens."""
        if self._servers:
            return
        for offset, port in enumerate(self.ports):
            self._servers.append(await self._serve(offset, port))

    async def _serve(self, offset: int, port: int) -> asyncio.Server:
        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await self._accept(offset, reader, writer)

        return await asyncio.start_server(
            accept, self.host, port, reuse_address=True, backlog=_BACKLOG
        )

    def refuse(self) -> None:
        """Refuse connections, as the host does where nobody listens."""
        for server in self._servers:
            server.close()
        self._servers.clear()

    def reset(self) -> None:
        """Break every connection; what is on its way is lost."""
        for writers in self._connections.values():
            for writer in writers:
                sock: socket.socket = writer.get_extra_info("socket")
                with suppress(OSError):  # it is closed already
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                writer.transport.abort()

    def heal(self) -> None:
        """Let everything pass, both ways."""
        self.there.heal()
        self.back.heal()

    async def close(self) -> None:
        """End everything."""
        self.refuse()
        tasks = list(self._connections)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _accept(
        self, offset: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        task = asyncio.current_task()
        assert task is not None
        writers = self._connections[task] = [writer]
        try:
            await self.there.opened()  # the far end hears of a connection only then
            async with asyncio.timeout(_PATIENCE_SECONDS):
                far_reader, far_writer = await asyncio.open_connection(
                    self._target[0], self._target[1] + offset
                )
            writers.append(far_writer)
            _give_up_in_time(far_writer)
            await self._join((reader, writer), (far_reader, far_writer))
        except (OSError, asyncio.CancelledError):
            pass  # nobody is there, or this link ends
        finally:
            del self._connections[task]
            for each in writers:
                each.close()

    async def _join(self, near: _Streams, far: _Streams) -> None:
        """Forward both ways until one of them ends."""
        pumps = [
            asyncio.create_task(self.there.pump(near[0], far[1])),
            asyncio.create_task(self.back.pump(far[0], near[1])),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)


_Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def bind_row(host: str, length: int, first: int) -> list[int]:
    """Ports in a row that are free, from `first` on. Raises OSError when there is none."""
    for port in range(first, 32_000, length):
        row = list(range(port, port + length))
        if all(_is_free(host, each) for each in row):
            return row
    raise OSError(f"no {length} ports in a row are free at {host}")


def _give_up_in_time(writer: asyncio.StreamWriter) -> None:
    sock: socket.socket = writer.get_extra_info("socket")
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # on Linux, where there are hosts to unplug
        milliseconds = round(_PATIENCE_SECONDS * 1000)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)


def _is_free(host: str, port: int) -> bool:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except OSError:
            return False
    return True
