"""The processes and the links between them: a pair, its clients, and who judges them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from patterns.clone.replication import ReplicationPolicy
from patterns.commands.chaos.journal import Journal
from patterns.commands.chaos.members import Answer, Member
from patterns.commands.chaos.network import Network
from patterns.commands.chaos.proxy import Flow, Link
from patterns.commands.children import Children, together
from patterns.commands.replication_options import without_peer_of

PRIMARY, BACKUP = SERVERS = ("primary", "backup")
LATE = "late"
_ROW = 3  # snapshots, publisher, collector
_STATE = 3  # the offset of the port after them, where a server tells its state
_ANSWER_SECONDS = 5.0

_Value: TypeAlias = str | float | Sequence[str]
_Options: TypeAlias = Mapping[str, _Value]


@dataclass(frozen=True, slots=True)
class Client:
    """A client: what it follows, and how many writes a second it does."""

    name: str
    subtrees: tuple[str, ...] = ("",)
    rate: float = 0.0
    kind: str = "client"


STEADY = "reader-0"
"""Never killed, so that its memory can be watched for the whole time."""

WRITES = 120.0


def crowd(writes: float = WRITES) -> tuple[Client, ...]:
    """The clients of a run, of which three write: together so many times a second."""
    return (
        *(Client(f"writer-{number}", rate=writes / 3) for number in range(3)),
        Client(STEADY),
        Client("reader-1", ("/a/",)),
        Client("reader-2", ("/b/", "/n/", "/t/")),
        Client("plain", kind="plain"),
        Client(LATE),
    )


class Cluster:
    """Starts everything, and knows which link leads where."""

    def __init__(
        self,
        clients: Sequence[Client],
        network: Network,
        children: Children,
        journal: Journal,
        seed: int,
        levels: bool,
        policy: ReplicationPolicy,
    ) -> None:
        self.network = network
        self.clients = {client.name: client for client in clients}
        self.members: dict[str, Member] = {}
        self.links: dict[tuple[str, str], Link] = {}
        self._children = children
        self._journal = journal
        self._seed = seed
        self._levels = levels
        self._policy = policy

    # The start

    async def start(self) -> None:
        """Start the servers, then all clients; raises ChildFailed."""
        hosts = {name: await self.network.place(name) for name in (*SERVERS, *self.clients)}
        ports = {name: self.network.ports(_ROW + 1)[0] for name in SERVERS}
        for name in SERVERS:
            self._link(_other(name), name, hosts, ports, _ROW + 1)
            for follower in self.clients:
                self._link(follower, name, hosts, ports, _ROW)
        for name in SERVERS:
            self._add("server", name, self._server_options(name, hosts[name], ports[name]))
        for client in self.clients.values():
            self._add(client.kind, client.name, self._client_options(client))
        for link in self.links.values():
            await link.listen()
        await together(*(self.members[name].start() for name in SERVERS))
        await together(*(self.members[name].start() for name in self.clients))

    def _link(
        self, near: str, far: str, hosts: Mapping[str, str], ports: Mapping[str, int], length: int
    ) -> None:
        link = Link((near, far), self.network.hub, self.network.ports(length))
        link.lead_to(hosts[far], ports[far])
        self.links[near, far] = link

    def _add(self, kind: str, name: str, options: _Options) -> None:
        self.members[name] = Member(
            kind,
            name,
            _words(options),
            children=self._children,
            network=self.network,
            journal=self._journal,
        )

    def _server_options(self, name: str, host: str, port: int) -> dict[str, _Value]:
        peer = self.links[name, _other(name)]
        return {
            "role": name,
            "host": host,
            "port": port,
            "state-bind": f"tcp://{host}:{port + _STATE}",
            "state-connect": f"tcp://{peer.host}:{peer.ports[_STATE]}",
            "peer": peer.endpoint,
            "ack": self._policy.level,
            "without-peer": without_peer_of(self._policy),
        }

    def _client_options(self, client: Client) -> dict[str, _Value]:
        # Half of them prefer the backup.
        order = SERVERS if sum(map(ord, client.name)) % 2 else SERVERS[::-1]
        endpoints = [self.links[client.name, server].endpoint for server in order]
        options: dict[str, _Value] = {"name": client.name, "server": endpoints}
        if client.kind == "client":
            options |= {"subtree": client.subtrees, "seed": self._seed, "rate": client.rate}
            options |= {"levels": ()} if self._levels else {}
        return options

    # While it runs

    @property
    def subtrees(self) -> dict[str, Sequence[str]]:
        """What each client follows."""
        return {name: client.subtrees for name, client in self.clients.items()}

    def links_to(self, server: str) -> list[Link]:
        """All links that lead to a server."""
        return [link for (_, far), link in self.links.items() if far == server]

    def flows(self, near: str, far: str) -> tuple[list[Flow], list[Flow]]:
        """What goes from one to the other, and back, on all links between them."""
        there, back = [], []
        for (one, other), link in self.links.items():
            if (one, other) == (near, far):
                there.append(link.there)
                back.append(link.back)
            elif (one, other) == (far, near):
                there.append(link.back)
                back.append(link.there)
        return there, back

    def between(self, near: str, far: str) -> list[Link]:
        """The links between two, whoever connects."""
        return [link for ends, link in self.links.items() if set(ends) == {near, far}]

    async def ask(
        self, names: Sequence[str], word: str = "state", timeout: float = _ANSWER_SECONDS
    ) -> dict[str, Answer | None]:
        """What each answers, None for who does not."""
        answers = await asyncio.gather(*(self.members[each].ask(word, timeout) for each in names))
        return dict(zip(names, answers, strict=True))

    async def pair(self) -> dict[str, str]:
        """The names of the active and the passive server, if there is one of each."""
        answers = await self.ask(SERVERS, timeout=1.0)
        states = {str(each["state"]): name for name, each in answers.items() if each is not None}
        return states if set(states) == {"active", "passive"} else {}

    async def close(self) -> None:
        """End the links; who started the processes ends them."""
        await asyncio.gather(*(link.close() for link in self.links.values()))


def _other(server: str) -> str:
    return BACKUP if server == PRIMARY else PRIMARY


def _words(options: _Options) -> list[str]:
    """The options as a command line has them; one with several values is given several times."""
    words: list[str] = []
    for name, value in options.items():
        values = [value] if isinstance(value, str | int | float) else value
        words += [word for each in values for word in (f"--{name}", str(each))]
        if not values:
            words.append(f"--{name}")
    return words
