"""Binary Star: a pair of Clone servers, of which one stops while a client writes.

Both run in this process, each on a reactor of its own, as if they were two.
"""

import argparse
import asyncio
import socket
from collections.abc import Sequence

import zmq

from patterns.binary_star.messages import Role, State
from patterns.clone.client import CloneClient
from patterns.clone.handlers import CloneServer
from reactor import Reactor

LAST_LINE = r"(\d+) of \1 acknowledged writes are there"

HEARTBEAT, TIMEOUT = 0.1, 0.4  # seconds


def free_port() -> int:
    """The first of three ports in a row that are free at this moment."""
    while True:
        with socket.create_server(("127.0.0.1", 0)) as first:
            port: int = first.getsockname()[1]
            try:
                for neighbour in (port + 1, port + 2):
                    socket.create_server(("127.0.0.1", neighbour)).close()
            except (OSError, OverflowError):
                continue
            return port


def make_server(role: Role, ports: dict[Role, int]) -> CloneServer:
    (other,) = set(Role) - {role}
    return CloneServer(
        ports[role],
        role=role,
        # Two processes would have tcp endpoints here.
        state_bind=f"inproc://{role.value}",
        state_connect=f"inproc://{other.value}",
        peer=f"tcp://127.0.0.1:{ports[other]}",
        heartbeat=HEARTBEAT,
        timeout=TIMEOUT,
    )


def state(server: CloneServer) -> State:
    assert server.star is not None
    return server.star.protocol.state


async def write(client: CloneClient, numbers: range) -> None:
    for number in numbers:
        await client.set(f"/key/{number}", str(number))


async def fail_over(context: zmq.Context[zmq.Socket[bytes]], count: int) -> int:
    loop = asyncio.get_running_loop()
    ports = {role: free_port() for role in Role}
    primary, backup = (make_server(role, ports) for role in (Role.PRIMARY, Role.BACKUP))
    async with Reactor(context=context) as one, Reactor(context=context) as other:
        one.register(primary)
        other.register(backup)
        servers = [primary.endpoint, backup.endpoint]
        print("ready", *servers, flush=True)
        async with CloneClient(servers, server_ttl=1.0) as client:
            await write(client, range(count // 2))
            while state(backup) is not State.PASSIVE:  # it has a complete copy then
                await asyncio.sleep(0.01)
            print(f"primary {state(primary).value}, backup {state(backup).value}: it stops")
            one.stop()
            stopped_at = loop.time()
            await write(client, range(count // 2, count))
            print(f"backup {state(backup).value} after {loop.time() - stopped_at:.1f} s")
        async with CloneClient(backup.endpoint) as witness:
            await witness.wait_live()
            found = sum(witness.get(f"/key/{n}") == b"%d" % n for n in range(count))
    print(f"{found} of {count} acknowledged writes are there")
    return 0 if found == count else 1


async def run_pair(count: int, seconds: float) -> int:
    with zmq.Context() as context:
        async with asyncio.timeout(seconds):
            return await fail_over(context, count)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=200, help="keys to write (default: 200)")
    parser.add_argument("--seconds", type=float, default=30.0, help="give up after (default: 30)")
    options = parser.parse_args(argv)
    return asyncio.run(run_pair(options.count, options.seconds))


if __name__ == "__main__":
    raise SystemExit(main())
