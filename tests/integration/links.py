"""A TCP link that a test can cut as a network does: nothing arrives, and nobody is told."""

import asyncio


class Link:
    """Forwards connections to a port of this machine, until it is cut; `endpoint` is where.

    `connections` counts those that were taken, also while it is cut.
    """

    def __init__(self):
        self._target = 0
        self._open = asyncio.Event()
        self._open.set()
        self._tasks = set()
        self.connections = 0
        self.endpoint = ""

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.endpoint = f"tcp://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_):
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def point_to(self, endpoint):
        """Where connections lead from now on."""
        self._target = int(endpoint.rpartition(":")[2])

    async def more_than(self, connections):
        """Wait until more connections than these were taken."""
        async with asyncio.timeout(20.0):
            while self.connections <= connections:
                await asyncio.sleep(0.01)

    def cut(self):
        """Forward nothing any more; what is sent waits, as in the buffers of TCP."""
        self._open.clear()

    def heal(self):
        """Go on with what was sent meanwhile."""
        self._open.set()

    async def _accept(self, reader, writer):
        task = asyncio.current_task()
        self._tasks.add(task)
        self.connections += 1
        writers = [writer]
        try:
            far_reader, far_writer = await self._reach_target()
            writers.append(far_writer)
            await asyncio.gather(self._pump(reader, far_writer), self._pump(far_reader, writer))
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            for each in writers:
                each.close()

    async def _reach_target(self):
        while True:  # it may not be known yet, or not be started
            try:
                return await asyncio.open_connection("127.0.0.1", self._target)
            except OSError:
                await asyncio.sleep(0.02)

    async def _pump(self, reader, writer):
        while data := await reader.read(65536):
            await self._open.wait()
            writer.write(data)
        writer.close()
