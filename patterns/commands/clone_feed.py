"""What a Clone server of models 1 and 2 publishes: the lines of standard input."""

from __future__ import annotations

import asyncio
from typing import BinaryIO

from patterns.clone.messages import MalformedMessage
from patterns.clone.model_server import ModelServer
from patterns.clone.store import StoreFull
from patterns.commands.lines import read_lines
from reactor import Handler

_BURST_LINES = 100


class CloneFeed(Handler):
    """Gives a server each line of `source`: a KEY, a space and a VALUE; a KEY alone deletes it.

    A line that the server does not take is counted and logged, and the next one is read.
    """

    def __init__(self, server: ModelServer, source: BinaryIO) -> None:
        self._server = server
        self._source = source

    def on_start(self) -> None:
        """Begin to read, while the server serves."""
        self.reactor.spawn(self._feed())

    async def _feed(self) -> None:
        number = 0
        async for line in read_lines(self._source):
            number += 1
            if number % _BURST_LINES == 0:
                await asyncio.sleep(0)  # the loop lives on
            key, _, value = line.partition(b" ")
            try:
                self._server.set(key, value) if value else self._server.delete(key)
            except (MalformedMessage, StoreFull) as error:
                self.refuse(str(error))
