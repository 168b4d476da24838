"""Echo, twice: any service becomes highly available by a vote before each request (chapter 4).

Both servers run in this process, each on a reactor of its own; in the middle the active one stops.
"""

import argparse
import asyncio
import tempfile
from collections.abc import Iterable, Sequence

import zmq

from patterns.binary_star import BinaryStar, Role, State
from reactor import Handler, HandlerSet, Reactor, Stream, StreamHandler

LAST_LINE = r"(\d+) of \1 echoes came back"

HEARTBEAT = 0.1  # seconds
PATIENCE = 0.2  # of a client with one server


class Echo(StreamHandler):
    """Answers a client if this server is the active one. To be asked is a vote for it."""

    def __init__(self, stream: Stream, star: BinaryStar) -> None:
        super().__init__(stream)
        self.star = star

    def on_message(self, frames: list[bytes]) -> None:
        if self.star.request():
            self.send(*frames)


class EchoServer(HandlerSet):
    """One server of a pair. The four orders of the pair are all that it adds to a plain one."""

    def __init__(self, role: Role, folder: str) -> None:
        super().__init__()
        (other,) = set(Role) - {role}
        self.role = role
        self.star = BinaryStar(
            role,
            self,
            state_bind=f"ipc://{folder}/{role.value}",
            state_connect=f"ipc://{folder}/{other.value}",
            heartbeat=HEARTBEAT,
        )

    def build(self) -> Iterable[Handler]:
        self.requests = self.open_stream(zmq.ROUTER, "@tcp://127.0.0.1:*", name="requests")
        return [Echo(self.requests, self.star), self.star]

    def become_active(self, epoch: int, forced: bool) -> None:
        print(f"{self.role.value} is active")

    def become_passive(self, diverged_since: int | None) -> None:
        print(f"{self.role.value} is passive")

    def suspend(self) -> None:
        self.requests.pause()

    def resume(self) -> None:
        self.requests.resume()


class Client:
    """Asks one server, and when that is silent the next, round and round."""

    def __init__(self, reactor: Reactor, servers: Sequence[str]) -> None:
        self.streams = [reactor.open_stream(zmq.DEALER, f">{server}") for server in servers]
        self.answers: asyncio.Queue[bytes] = asyncio.Queue()
        for stream in self.streams:
            stream.on_message(lambda frames: self.answers.put_nowait(frames[0]))

    async def ask(self, body: bytes) -> bytes:
        """The echo of `body`, from whichever server gives it."""
        while True:
            self.streams[0].send(body)
            try:
                async with asyncio.timeout(PATIENCE):
                    while (answer := await self.answers.get()) != body:
                        pass  # of an earlier question, asked twice
                    return answer
            except TimeoutError:
                self.streams.append(self.streams.pop(0))


async def settled(*servers: EchoServer) -> None:
    while {server.star.protocol.state for server in servers} != {State.ACTIVE, State.PASSIVE}:
        await asyncio.sleep(0.01)


async def run_pair(count: int, folder: str) -> int:
    primary, backup = (EchoServer(role, folder) for role in Role)
    echoes = 0
    async with Reactor() as one, Reactor() as other, Reactor() as third:
        one.register(primary)
        other.register(backup)
        servers = [primary.requests.endpoint, backup.requests.endpoint]
        print("ready", *servers, flush=True)
        await settled(primary, backup)
        client = Client(third, servers)
        for number in range(count):
            if number == count // 2:
                one.stop()
            body = b"echo %d" % number
            echoes += await client.ask(body) == body
    print(f"{echoes} of {count} echoes came back")
    return 0 if echoes == count else 1


async def main_within(count: int, seconds: float) -> int:
    with tempfile.TemporaryDirectory() as folder:
        async with asyncio.timeout(seconds):
            return await run_pair(count, folder)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100, help="echoes to ask for (default: 100)")
    parser.add_argument("--seconds", type=float, default=30.0, help="give up after (default: 30)")
    options = parser.parse_args(argv)
    return asyncio.run(main_within(options.count, options.seconds))


if __name__ == "__main__":
    raise SystemExit(main())
