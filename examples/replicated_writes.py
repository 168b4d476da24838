"""Replicated writes: done when both servers of a pair have them, whichever dies after that.

The two are processes. The passive one is stopped for a while, and the writer is told that only one
server has its write; then the active one is killed, and everything that was replicated is there.
"""

import argparse
import asyncio
import multiprocessing
import os
import signal
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Event

from patterns.binary_star.messages import Role
from patterns.clone.client import CloneClient, WriteError
from patterns.clone.handlers import CloneServer
from patterns.clone.replication import ReplicationPolicy
from reactor import Reactor

LAST_LINE = r"(\d+) of \1 replicated writes are there"

HEARTBEAT, TIMEOUT, REPLICATION_TIMEOUT = 0.1, 0.4, 0.2  # seconds
START_SECONDS = 20.0


def free_ports() -> list[int]:
    """The first of four ports in a row that are free at this moment, for each role."""
    ports: list[int] = []
    while len(ports) < len(Role):
        with socket.create_server(("127.0.0.1", 0)) as first:
            port: int = first.getsockname()[1]
            try:
                for neighbour in range(port + 1, port + 4):
                    socket.create_server(("127.0.0.1", neighbour)).close()
            except (OSError, OverflowError):
                continue
            ports.append(port)
    return ports


def endpoint(port: int) -> str:
    return f"tcp://127.0.0.1:{port}"


async def serve(role: Role, own: int, other: int, ready: Event) -> None:
    """Be one server of the pair, until the process is killed."""
    server = CloneServer(
        own,
        role=role,
        state_bind=endpoint(own + 3),
        state_connect=endpoint(other + 3),
        peer=endpoint(other),
        heartbeat=HEARTBEAT,
        timeout=TIMEOUT,
        replication=ReplicationPolicy(timeout=REPLICATION_TIMEOUT),
    )
    async with Reactor() as reactor:
        await reactor.register(server)
        ready.set()
        await reactor.stopped()


def server_process(role: Role, own: int, other: int, ready: Event) -> None:
    asyncio.run(serve(role, own, other, ready))


@contextmanager
def pair(ports: Sequence[int]) -> Iterator[list[BaseProcess]]:
    """The processes of the primary and the backup."""
    spawn = multiprocessing.get_context("spawn")
    ready = [spawn.Event() for _ in Role]
    roles = (Role.PRIMARY, *ports, ready[0]), (Role.BACKUP, *ports[::-1], ready[1])
    processes: list[BaseProcess] = [
        spawn.Process(target=server_process, args=role) for role in roles
    ]
    for process in processes:
        process.start()
    try:
        if not all(event.wait(START_SECONDS) for event in ready):
            raise TimeoutError("a server did not start")
        yield processes
    finally:
        for process in processes:
            process.kill()  # also one that is stopped
            process.join()


async def write(client: CloneClient, number: int) -> bool:
    """Write a key; False if only one server has it."""
    try:
        await client.set(f"/key/{number}", str(number), ack="replicated")
    except WriteError as error:
        if error.reason != "applied":
            raise
        return False
    return True


async def until_replicated(client: CloneClient, number: int) -> float:
    """Write a key until both servers have it; returns how long that took."""
    began = time.monotonic()
    while not await write(client, number):
        await asyncio.sleep(0.01)
    return time.monotonic() - began


async def pause_and_kill(client: CloneClient, servers: list[BaseProcess], count: int) -> int:
    """Returns how many of `count` replicated writes are there at the end."""
    primary, backup = servers
    await until_replicated(client, 0)
    for number in range(1, count):
        await until_replicated(client, number)
    print(f"{count} writes are acknowledged by both servers")

    assert backup.pid is not None
    os.kill(backup.pid, signal.SIGSTOP)
    while await write(client, count):
        pass  # the signal has not arrived yet
    print("the backup is paused: the next write is applied, and said to be on one server only")
    os.kill(backup.pid, signal.SIGCONT)
    seconds = await until_replicated(client, count)
    print(f"the backup goes on, and has it too after {seconds * 1000:.0f} ms")

    primary.kill()
    await client.set("/after", "the primary has died")
    print(f"the primary is killed, {client.server} goes on")
    return sum(client.get(f"/key/{number}") == b"%d" % number for number in range(count + 1))


async def example(count: int, seconds: float) -> int:
    ports = free_ports()
    with pair(ports) as servers:
        async with asyncio.timeout(seconds):
            async with CloneClient([endpoint(port) for port in ports], server_ttl=0.5) as client:
                await client.wait_live()
                print("ready", *map(endpoint, ports), flush=True)
                found = await pause_and_kill(client, servers, count)
    print(f"{found} of {count + 1} replicated writes are there")
    return 0 if found == count + 1 else 1


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100, help="keys to write (default: 100)")
    parser.add_argument("--seconds", type=float, default=30.0, help="give up after (default: 30)")
    options = parser.parse_args(argv)
    return asyncio.run(example(options.count, options.seconds))


if __name__ == "__main__":
    raise SystemExit(main())
