"""What a process of the chaos hears and answers: lines of JSON, by number."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Iterable
from typing import Any

from patterns.clone.messages import Frames, sequence_of
from patterns.commands.chaos.journal import text


async def orders() -> AsyncIterator[tuple[int, str]]:
    """The number and the word of each order, until the standard input ends."""
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    try:
        async for line in reader:
            number, _, word = line.decode().strip().partition(" ")
            yield int(number), word
    finally:
        transport.close()


def answer(number: int, **fields: Any) -> None:
    """Answer an order; 0 is said without having been asked."""
    print(json.dumps({"answer": number, **fields}), flush=True)


def contents(entries: Iterable[Frames]) -> list[tuple[str, int, str, str]]:
    """Key, number, uuid and body of all entries: what has to be equal everywhere."""
    return sorted(
        (text(entry[0]), sequence_of(entry), entry[2].hex(), text(entry[4])) for entry in entries
    )
