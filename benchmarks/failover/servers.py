"""The pair of server processes: started, killed, stopped, asked what they are."""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

from patterns.binary_star.control import STATUS
from patterns.commands.operating import Status, ask
from reactor import Reactor

ROLES = ("primary", "backup")
ANSWER_SECONDS = 1.0
SETTLE_SECONDS = 60.0
_PORTS = 5  # three of the server, one for its state, one for its operator


class Pair:
    """A primary and a backup; what they log goes to files in `folder`."""

    def __init__(self, folder: Path, heartbeat: float, timeout: float, reactor: Reactor) -> None:
        self._folder = folder
        self._heartbeat = heartbeat
        self._timeout = timeout
        self._reactor = reactor
        self._ports = dict(zip(ROLES, _free_rows(len(ROLES)), strict=True))
        self._processes: dict[str, subprocess.Popen[str]] = {}
        self._starts = 0

    def __enter__(self) -> Pair:
        for role in ROLES:
            self.start(role)
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes.values():
            process.kill()
            process.wait()

    @property
    def endpoints(self) -> list[str]:
        """What clients are given, in their order."""
        return [_endpoint(self._ports[role]) for role in ROLES]

    def start(self, role: str) -> None:
        """Start the server of this role, and wait until it is ready."""
        own, peer = self._ports[role], self._ports[_other(role)]
        options = {
            "--role": role,
            "--port": own,
            "--peer": _endpoint(peer),
            "--state-bind": _endpoint(own + 3),
            "--state-connect": _endpoint(peer + 3),
            "--control": _endpoint(own + 4),
            "--heartbeat": self._heartbeat,
            "--timeout": self._timeout,
        }
        words = [str(word) for option in options.items() for word in option]
        self._starts += 1
        with (self._folder / f"{self._starts:03}-{role}.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "patterns.commands", "serve", "clone", *words],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        self._processes[role] = process
        assert process.stdout is not None
        if not process.stdout.readline().startswith("ready"):
            raise RuntimeError(f"the {role} has not started: see {log.name}")

    def kill(self, role: str) -> None:
        """SIGKILL."""
        self._processes[role].kill()

    def reap(self, role: str) -> None:
        """Wait for the end of a server that was killed."""
        process = self._processes[role]
        assert process.stdout is not None
        process.stdout.close()
        process.wait(SETTLE_SECONDS)

    def stop(self, role: str) -> None:
        """SIGSTOP: alive for the kernel, deaf and dumb for its peers."""
        self._processes[role].send_signal(signal.SIGSTOP)

    def go_on(self, role: str) -> None:
        """SIGCONT."""
        self._processes[role].send_signal(signal.SIGCONT)

    async def status(self, role: str) -> Status:
        """What a server says of itself. Raises TimeoutError."""
        async with asyncio.timeout(ANSWER_SECONDS):
            return (await ask(self._reactor, self.control(role), STATUS))[1]

    def control(self, role: str) -> str:
        """The operator's port of a server."""
        return _endpoint(self._ports[role] + 4)

    async def settled(self) -> str:
        """Wait until one is active and the other holds as much; the role of the active one."""
        async with asyncio.timeout(SETTLE_SECONDS):
            while True:
                try:
                    found = {role: await self.status(role) for role in ROLES}
                except TimeoutError:
                    continue
                states = {status["state"]: role for role, status in found.items()}
                sequences = {status["sequence"] for status in found.values()}
                if set(states) == {"active", "passive"} and len(sequences) == 1:
                    return states["active"]
                await asyncio.sleep(0.02)


def _other(role: str) -> str:
    return ROLES[1 - ROLES.index(role)]


def _endpoint(port: int) -> str:
    return f"tcp://127.0.0.1:{port}"


def _free_rows(count: int) -> list[int]:
    """The first port of each of so many rows that nobody has bound a moment ago."""
    with ExitStack() as bound:
        return [_bind_row(bound) for _ in range(count)]


def _bind_row(bound: ExitStack) -> int:
    while True:
        with ExitStack() as row:
            first = int(row.enter_context(_bind(0)).getsockname()[1])
            try:
                for offset in range(1, _PORTS):
                    row.enter_context(_bind(first + offset))
            except (OSError, OverflowError):
                continue
            bound.enter_context(row.pop_all())
            return first


def _bind(port: int) -> socket.socket:
    listener = socket.socket()
    try:
        listener.bind(("127.0.0.1", port))
    except BaseException:
        listener.close()
        raise
    return listener
