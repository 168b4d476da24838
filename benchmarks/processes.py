"""Every role (sender, receiver, proxy, sink) is a process: started, spoken to and ended here."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

Pipe = Connection

_spawn = multiprocessing.get_context("spawn")


class Role:
    """One process that runs `function(pipe, *arguments)`; killed at the end of its `with` block."""

    def __init__(self, function: Callable[..., None], *arguments: Any) -> None:
        self._pipe, self._their_pipe = _spawn.Pipe()
        self._process = _spawn.Process(
            target=function, args=(self._their_pipe, *arguments), daemon=True
        )

    def __enter__(self) -> Role:
        self._process.start()
        self._their_pipe.close()  # or get() would not notice that the process has died
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.join()
        self._process.close()
        self._pipe.close()

    def get(self, timeout: float = 60.0) -> Any:
        """Return the next thing the role sends; raises RuntimeError if it is silent or dead."""
        if not self._pipe.poll(timeout):
            raise RuntimeError(f"{self._process.name} said nothing for {timeout} seconds")
        try:
            return self._pipe.recv()
        except EOFError:
            raise RuntimeError(f"{self._process.name} died; see its traceback above") from None

    def put(self, value: object) -> None:
        """Send `value` to the role."""
        self._pipe.send(value)

    def cpu_seconds(self) -> float:
        """Return the CPU time of the process's main thread so far."""
        pid = self._process.pid
        after_name = Path(f"/proc/{pid}/task/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(after_name[11]) + int(after_name[12])) / os.sysconf("SC_CLK_TCK")

    def freeze(self) -> None:
        """Stop the process where it is: alive for the kernel, deaf and dumb for its peers."""
        assert self._process.pid is not None
        os.kill(self._process.pid, signal.SIGSTOP)
