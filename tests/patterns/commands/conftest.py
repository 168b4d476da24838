"""What the tests of the commands share: a runner, a process, and logs as they were before."""

import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from click.testing import CliRunner, Result

from patterns.commands.app import app

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def logs_as_before() -> Iterator[None]:
    """A command says where the logs of its process go; here it is not alone in its process."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def reactor_command():
    """Runs `reactor` with these arguments in this process."""

    def run(*arguments: str, **options) -> Result:
        return CliRunner().invoke(app, arguments, prog_name="reactor", **options)

    return run


@pytest.fixture
def start_process():
    """Starts `reactor` with these arguments as a process of its own; it is gone after the test."""
    started = []

    def start(*arguments: str, **options) -> subprocess.Popen[str]:
        streams = {name: subprocess.PIPE for name in ("stdin", "stdout", "stderr")}
        process = subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "patterns.commands", *arguments],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            text=True,
            **(streams | options),
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()
