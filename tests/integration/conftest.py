"""Processes of `reactor serve`, whose logs a test can read, and which are gone after it."""

import json
import os
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
import zmq

ROOT = Path(__file__).parents[2]
SECONDS = 20.0
_ATTEMPTS = 3


class ServerProcess:
    """`reactor serve` with these arguments; its log is a file of JSON lines."""

    def __init__(self, log: Path, *arguments: str):
        self._log = log
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-W", "error", "-m", "patterns.commands"]
                + ["--log-format", "json", "serve", *arguments],
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=output,
                text=True,
            )

    def ready(self) -> str:
        """The endpoint that it says it is ready at; raises ValueError if it has ended instead."""
        assert self.process.stdout is not None
        word, endpoint = self.process.stdout.readline().split()
        assert word == "ready"
        return endpoint

    def pause(self) -> None:
        """SIGSTOP: when this returns it does nothing any more, and nobody is told."""
        self.process.send_signal(signal.SIGSTOP)
        os.waitpid(self.process.pid, os.WUNTRACED)

    def resume(self) -> None:
        """SIGCONT: it goes on where it was."""
        self.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """SIGKILL: it has no time for anything."""
        self.process.kill()
        self._wait()

    def terminate(self) -> int:
        """SIGTERM, and the exit status."""
        self.process.terminate()
        return self._wait()

    def _wait(self) -> int:
        assert self.process.stdout is not None
        self.process.stdout.close()
        return self.process.wait(SECONDS)

    def log(self, event: str = "") -> list[dict]:
        """The entries of its log so far, those of one event or all."""
        entries = [json.loads(line) for line in self._log.read_text().splitlines()]
        return [entry for entry in entries if event in ("", entry["event"])]


@pytest.fixture
def start_server(tmp_path):
    """Starts `reactor serve` with these arguments."""
    started = []

    def start(*arguments):
        started.append(ServerProcess(tmp_path / f"{len(started)}.log", *arguments))
        return started[-1]

    yield start
    for server in started:
        server.kill()


@pytest.fixture
def pair(request, start_server):
    """A primary and a backup, both ready; with an indirect parameter, they have these options."""
    from .pairs import Pair

    for attempt in range(_ATTEMPTS):
        try:
            return Pair(start_server, options=getattr(request, "param", None))
        except ValueError:  # somebody else took one of the ports in the meantime
            if attempt + 1 == _ATTEMPTS:
                raise


def free_ports(*lengths: int) -> list[int]:
    """The first port of so many rows of ports that nobody has bound a moment ago."""
    with zmq.Context() as context, ExitStack() as bound:

        def bind(port):
            listener = bound.enter_context(context.socket(zmq.PAIR))
            listener.bind(f"tcp://127.0.0.1:{port or '*'}")
            return int(listener.last_endpoint.rpartition(b":")[2])

        def bind_row(length):
            while True:
                first = bind(0)
                try:
                    for offset in range(1, length):
                        bind(first + offset)
                except zmq.ZMQError:
                    continue
                return first

        return [bind_row(length) for length in lengths]
