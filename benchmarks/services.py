"""Servers that peers bring along: started here as processes, weighed, and ended."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks.processes import Role


@dataclass(frozen=True)
class Service:
    """A server that runs: where it is, and as which process."""

    address: str
    pid: int

    def cpu_seconds(self) -> float:
        """Return the CPU time of all its threads so far."""
        after_name = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(after_name[11]) + int(after_name[12])) / os.sysconf("SC_CLK_TCK")

    def resident_kib(self) -> int:
        """Return its resident memory in KiB."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") // 1024


def start_role(stack: ExitStack, function: Callable[..., None], *arguments: object) -> Service:
    """Start a server written in Python, which tells its address and its process first."""
    address, pid = stack.enter_context(Role(function, *arguments)).get(timeout=120)
    return Service(address, pid)


def start_program(stack: ExitStack, command: list[str], port: int) -> Service:
    """Start a server program, and wait until somebody listens at its port."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    stack.callback(process.wait)
    stack.callback(process.kill)
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port), 1.0).close()
            return Service(f"127.0.0.1:{port}", process.pid)
        except OSError:
            time.sleep(0.05)  # noqa: TID251 - no loop here to stop
    raise RuntimeError(f"{command[0]} does not listen at port {port}")


def unused_port() -> int:
    """Return a port of the kernel's choice, given back."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def redis_versions() -> str:
    """Return those of the server and of its packages; raises FileNotFoundError without them."""
    program = shutil.which("redis-server")
    if program is None:
        raise FileNotFoundError("Redis: no program redis-server")
    try:
        about = f"redis-py {version('redis')}, hiredis {version('hiredis')}"
    except PackageNotFoundError as error:
        raise FileNotFoundError(f"Redis: no package {error.name}") from None
    server = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
    return f"{' '.join(server.stdout.split()[:3])}, {about}"
