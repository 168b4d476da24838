"""Standard input line by line, while the loop goes on."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from typing import BinaryIO

import click

MAX_LINE_BYTES = 16 * 1024 * 1024
_CHUNK_BYTES = 65536


async def read_lines(stdin: BinaryIO) -> AsyncIterator[bytes]:
    """Yield the lines without their ends; the loop goes on while none comes.

    Raises click.ClickException for a line of more than MAX_LINE_BYTES.
    """
    rest: list[bytes] = []
    size = 0
    while chunk := await _read(stdin):
        first, *lines = chunk.split(b"\n")
        rest.append(first)
        size += len(first)
        if size > MAX_LINE_BYTES:
            raise click.ClickException(f"a line has more than {MAX_LINE_BYTES} bytes")
        for line in lines:
            yield b"".join(rest)
            rest, size = [line], len(line)
    if size:
        yield b"".join(rest)


async def _read(stdin: BinaryIO) -> bytes:
    """Return some bytes as soon as there are any, b"" at the end; no thread waits for them."""
    try:
        descriptor = stdin.fileno()
    except OSError:  # not a file at all, as in a test
        return stdin.read(_CHUNK_BYTES)
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    try:
        loop.add_reader(descriptor, readable.set)
    except OSError:  # a regular file, which is always readable
        return os.read(descriptor, _CHUNK_BYTES)
    try:
        await readable.wait()
    finally:
        loop.remove_reader(descriptor)
    return os.read(descriptor, _CHUNK_BYTES)
