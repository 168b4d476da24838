"""Where the processes live: each in a network namespace of its own, or all on loopback."""

from __future__ import annotations

import asyncio
import os
import shutil
from abc import ABC, abstractmethod
from collections.abc import Sequence

from patterns.commands.chaos.proxy import bind_row

_LOOPBACK = "127.0.0.1"
# Below the ports that the kernel gives to connections: nobody takes those of a server that is down.
_FIRST_PORT = 12_000


class NetworkFailed(Exception):
    """The machine does not let us make networks."""


class Network(ABC):
    """Gives hosts to processes and ports to links."""

    description = ""
    plugs = False
    """Whether a process can be unplugged."""
    hub = _LOOPBACK
    """The host of all links."""

    def __init__(self) -> None:
        self._next_port = _FIRST_PORT + os.getpid() % 500 * 20

    @abstractmethod
    async def place(self, name: str) -> str:
        """Make a place for a process; return its host."""

    @abstractmethod
    def command(self, name: str) -> Sequence[str]:
        """What goes before a command to run it in a place."""

    async def plug(self, name: str, plugged: bool) -> None:
        """Connect a place with all others, or cut it off."""
        raise NotImplementedError

    @abstractmethod
    async def close(self) -> None:
        """Remove every place."""

    def ports(self, length: int) -> list[int]:
        """Free ports in a row at the hub, or, on loopback, at a place."""
        row = bind_row(self.hub, length, self._next_port)
        self._next_port = row[-1] + 1
        return row


class Loopback(Network):
    """Everybody on 127.0.0.1."""

    description = "on loopback"

    async def place(self, name: str) -> str:
        """The same host for all."""
        return _LOOPBACK

    def command(self, name: str) -> Sequence[str]:
        """Nothing is needed."""
        return ()

    async def close(self) -> None:
        """There is nothing to remove."""


class Namespaces(Network):
    """A namespace for each, with a pair of virtual interfaces to a bridge, where the links are."""

    description = "each in a network namespace"
    plugs = True

    def __init__(self) -> None:
        super().__init__()
        number = os.getpid() % 10_000
        self._prefix = f"rc{number}"
        self._net = f"10.{77 + number // 256 % 100}.{number % 256}"
        self._places: dict[str, int] = {}
        self.hub = f"{self._net}.1"

    async def open(self) -> None:
        """Make the bridge. Raises NetworkFailed."""
        bridge = f"{self._prefix}b"
        await _ip("link", "add", bridge, "type", "bridge")
        await _ip("addr", "add", f"{self.hub}/24", "dev", bridge)
        await _ip("link", "set", bridge, "up")

    async def place(self, name: str) -> str:
        """A new namespace, the first time that a name is heard."""
        if name not in self._places:
            self._places[name] = len(self._places) + 2
            await self._make(name)
        return f"{self._net}.{self._places[name]}"

    async def _make(self, name: str) -> None:
        number = self._places[name]
        space, outer, inner = self._space(name), self._outer(name), f"{self._prefix}i{number}"
        await _ip("netns", "add", space)
        await _ip("link", "add", outer, "type", "veth", "peer", "name", inner)
        await _ip("link", "set", inner, "netns", space)
        await _ip("link", "set", outer, "master", f"{self._prefix}b", "up")
        address = f"{self._net}.{number}/24"
        await _ip("-n", space, "addr", "add", address, "dev", inner)
        await _ip("-n", space, "link", "set", inner, "up")
        await _ip("-n", space, "link", "set", "lo", "up")

    def _space(self, name: str) -> str:
        return f"{self._prefix}-{self._places[name]}"

    def _outer(self, name: str) -> str:
        return f"{self._prefix}o{self._places[name]}"

    def command(self, name: str) -> Sequence[str]:
        """Enter the namespace."""
        return ("ip", "netns", "exec", self._space(name))

    async def plug(self, name: str, plugged: bool) -> None:
        """Set the interface up or down: what is sent meanwhile is lost, and TCP sends it again."""
        await _ip("link", "set", self._outer(name), "up" if plugged else "down")

    async def close(self) -> None:
        """Remove all; the interfaces go with their namespaces."""
        for name in self._places:
            await _ip("link", "del", self._outer(name), check=False)
            await _ip("netns", "del", self._space(name), check=False)
        await _ip("link", "del", f"{self._prefix}b", check=False)


async def _ip(*words: str, check: bool = True) -> None:
    process = await asyncio.create_subprocess_exec(
        "ip", *words, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
    )
    _, errors = await process.communicate()
    if check and process.returncode:
        raise NetworkFailed(f"ip {' '.join(words)}: {errors.decode().strip()}")


async def open_network(namespaces: bool) -> Network:
    """Namespaces if they are wanted and the machine allows them, else loopback."""
    if not namespaces or os.geteuid() or not shutil.which("ip"):
        return Loopback()
    network = Namespaces()
    try:
        await network.open()
        await network.place("trial")
    except NetworkFailed:
        await network.close()
        return Loopback()
    return network
