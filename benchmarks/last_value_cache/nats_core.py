"""NATS core with nats-py: it forwards and keeps nothing."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks.ends import TOPICS
from benchmarks.last_value_cache.peers import Flood, Peer, rate_through
from benchmarks.processes import Pipe
from benchmarks.samples import Meter
from benchmarks.services import Service, start_program, unused_port

_SUBJECTS = [topic.decode() for topic in TOPICS]


async def _connect(address: str) -> Any:
    import nats

    return await nats.connect(f"nats://{address}", max_reconnect_attempts=0)


def publish(pipe: Pipe, address: str, flood: Flood) -> None:
    """Role: once told to, publishes everything."""

    async def main() -> None:
        client = await _connect(address)
        body = bytes(flood.size)
        pipe.recv()
        for _ in range(flood.count // len(_SUBJECTS)):
            for subject in _SUBJECTS:
                await client.publish(subject, body)
        await client.flush()

    asyncio.run(main())
    pipe.poll(None)


def subscribe(pipe: Pipe, address: str, flood: Flood) -> None:
    """Role: says when it has subscribed, then tells the rate."""

    async def main() -> None:
        client = await _connect(address)
        received = 0

        async def count(_: Any) -> None:
            nonlocal received
            received += 1

        limits = {"pending_msgs_limit": 10**9, "pending_bytes_limit": 10**12}
        await client.subscribe(">", cb=count, **limits)
        await client.flush()
        pipe.send("ready")
        meter = Meter(flood.count - len(TOPICS), flood.seconds)
        await meter.watch(lambda: received)
        pipe.send((meter.rate(), received))

    asyncio.run(main())


def serve(stack: ExitStack) -> Service:
    """Start a server that disconnects nobody for being slow."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    settings = folder / "nats.conf"
    settings.write_text("max_pending: 4294967296\nwrite_deadline: '60s'\n")
    port = unused_port()
    command = [_program(), "-a", "127.0.0.1", "-p", str(port), "-c", str(settings)]
    return start_program(stack, command, port)


def _program() -> str:
    beside = os.path.join(os.path.dirname(sys.executable), "nats-server")
    program = shutil.which("nats-server") or shutil.which(beside)
    if program is None:
        raise FileNotFoundError("NATS: no program nats-server")
    return program


def peers() -> list[Peer]:
    """Return NATS; raises FileNotFoundError where it is not installed."""
    program = _program()
    try:
        about = f"nats-py {version('nats-py')}"
    except PackageNotFoundError as error:
        raise FileNotFoundError(f"NATS: no package {error.name}") from None
    server = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
    rate = partial(rate_through, serve, publish, subscribe)
    return [Peer("NATS core", f"{server.stdout.strip()}, {about}", rate)]
