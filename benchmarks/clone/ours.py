"""This library: a CloneServer, with CloneClients and with raw ends."""

from __future__ import annotations

import asyncio
import itertools
import os
from contextlib import ExitStack
from time import perf_counter

import zmq

from benchmarks.clone import ends
from benchmarks.clone.ends import VALUE, key_of, keys_in_use
from benchmarks.clone.peers import Peer, ask, ask_when_ready
from benchmarks.processes import Pipe, Role
from benchmarks.samples import REACTOR, Meter
from benchmarks.services import Service, start_role
from patterns.clone import CloneClient, CloneServer
from patterns.clone.messages import encode_sequence
from reactor import Reactor

_SNAPSHOT_TIMEOUT = 120.0


def run_server(pipe: Pipe, keys: int, heartbeat: float) -> None:
    """Role: a CloneServer that holds so many keys; tells its endpoint and process."""

    async def main() -> None:
        async with Reactor() as reactor:
            server = CloneServer(0, heartbeat=heartbeat)
            for number in range(1, keys + 1):
                uuid = number.to_bytes(16, "big")
                frames = (key_of(number), encode_sequence(number), uuid, b"", VALUE)
                server.protocol.store.apply(frames, number)
            await reactor.register(server)
            pipe.send((server.endpoint, os.getpid()))
            await reactor.stopped()

    asyncio.run(main())


def serve(stack: ExitStack, keys: int, heartbeat: float = 1.0) -> Service:
    """Start a server in a process of its own."""
    return start_role(stack, run_server, keys, heartbeat)


def updates(service: Service, seconds: float) -> float:
    """Return the updates a second from one writer to one subscriber, which must miss none."""
    with Role(ends.follow, service.address, seconds) as subscriber:
        subscriber.get()
        with Role(ends.write, service.address, zmq.XPUB) as writer:
            writer.put("go")
            rate, missing = subscriber.get()
    if missing > 100:
        raise RuntimeError(f"{missing} updates did not reach the subscriber")
    return float(rate)


def acknowledge(pipe: Pipe, endpoint: str, in_flight: int, seconds: float) -> None:
    """Role: a CloneClient that keeps so many `set` under way; tells the rate."""

    async def main() -> None:
        async with CloneClient(endpoint) as client:
            await client.wait_live(30)
            meter = Meter(ends.MANY_UPDATES, seconds)
            keys = itertools.cycle(keys_in_use())
            if in_flight == 1:
                await _one_at_a_time(client, keys, meter)
            else:
                await _in_flight(client, keys, meter, in_flight)
            pipe.send(meter.rate())

    asyncio.run(main())


async def _one_at_a_time(client: CloneClient, keys: itertools.cycle[bytes], meter: Meter) -> None:
    acknowledged = 0
    while not meter.note(acknowledged):
        for _ in range(20):
            await client.set(next(keys), VALUE)
        acknowledged += 20


async def _in_flight(
    client: CloneClient, keys: itertools.cycle[bytes], meter: Meter, in_flight: int
) -> None:
    acknowledged = 0

    def set_next(done: asyncio.Future[int] | None = None) -> None:
        nonlocal acknowledged
        if done is not None:
            done.result()
            acknowledged += 1
        client.set(next(keys), VALUE).add_done_callback(set_next)

    for _ in range(in_flight):
        set_next()
    await meter.watch(lambda: acknowledged)


def join(pipe: Pipe, endpoint: str, keys: int) -> None:
    """Role: a CloneClient that becomes live; tells the seconds."""

    async def main() -> float:
        began = perf_counter()
        async with CloneClient(endpoint) as client:
            await client.wait_live(_SNAPSHOT_TIMEOUT)
            seconds = perf_counter() - began
            found = len(client.protocol.store)
            if found != keys:
                raise RuntimeError(f"{found} keys came, not {keys}")
            return seconds

    pipe.send("ready")
    pipe.recv()
    pipe.send(asyncio.run(main()))


def peers() -> list[Peer]:
    """Return the library as its users have it, and its server with raw ends."""
    version = f"pyzmq {zmq.__version__}, libzmq {zmq.zmq_version()}"

    def with_client(service: Service, in_flight: int, seconds: float) -> float:
        return ask(acknowledge, service.address, in_flight, seconds)

    def with_raw_client(service: Service, in_flight: int, seconds: float) -> float:
        return ask(ends.acknowledge, service.address, zmq.XPUB, in_flight, seconds)

    def snapshot(service: Service, keys: int) -> float:
        return ask_when_ready(join, service.address, keys)

    def plain_snapshot(service: Service, keys: int) -> float:
        return ask_when_ready(ends.join, service.address, keys)

    return [
        Peer(REACTOR, version, serve, updates, with_client, snapshot),
        Peer("our server, raw client", version, serve, None, with_raw_client, plain_snapshot),
    ]
