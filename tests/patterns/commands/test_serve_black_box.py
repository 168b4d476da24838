"""`reactor serve black-box`: ready when its workers are, books at the end, errors in a line."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import zmq

from .conftest import ROOT

SECONDS = 20.0
KERNEL = "@tcp://127.0.0.1:*"
IGNORE = f"{Path(__file__).parents[1] / 'black_box' / 'recording.py'}:ignore"


def serve(start_process, *arguments):
    return start_process("serve", "black-box", "--work", IGNORE, "--feed", KERNEL, *arguments)


@pytest.fixture
def publisher():
    with zmq.Context() as context, context.socket(zmq.XPUB) as socket:
        socket.linger = 0
        socket.rcvtimeo = int(1000 * SECONDS)
        yield socket


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_handles_what_is_published_until_a_signal_ends_it(start_process, publisher, number):
    process = serve(start_process, "--threads", "--prefix", "key")
    word, endpoint = process.stdout.readline().split()
    assert word == "ready"
    publisher.connect(endpoint)
    assert publisher.recv() == b"\x01key"
    for count in range(100):
        publisher.send_multipart([b"key%d" % (count % 7), b"body"])
    publisher.send(b"other")
    # What was sent before the publisher has gone arrives: then the box is told to stop.
    publisher.send_multipart([b"key", b"the last"])
    publisher.disconnect(endpoint)
    process.send_signal(number)
    output, errors = process.communicate(timeout=SECONDS)
    assert (process.returncode, output) == (0, "")
    last = json.loads(errors.splitlines()[-1])
    assert last["event"] == "stopped"
    assert sum(shard["handled"] for shard in last["shards"]) == last["received"]


def test_it_pumps(start_process, publisher):
    process = serve(start_process, "--threads", "--pump")
    word, endpoint = process.stdout.readline().split()
    assert word == "ready"
    publisher.connect(endpoint)
    assert publisher.recv() == b"\x01"
    process.terminate()
    assert process.wait(timeout=SECONDS) == 0


def test_it_ends_in_time_with_processes(start_process):
    process = serve(start_process, "--processes")
    assert process.stdout.readline().startswith("ready ")
    process.terminate()
    assert process.wait(timeout=SECONDS) == 0


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ((), "Missing option '--feed'"),
        (("--feed", KERNEL, "--work", "nothing"), "module:function"),
        (("--feed", KERNEL, "--work", "nothing", "--prefix", "\udcff"), "module:function"),
        (("--feed", KERNEL, "--work", "a:b", "--threads", "--core", "0"), "processes have cores"),
        (("--feed", KERNEL, "--work", "a:b", "--policy", "wait"), "'wait' is not one of"),
        (
            ("--feed", KERNEL, "--work", "a:b", "--pump", "--late", "1", "--queue-limit", "9"),
            "--queue-limit, --late: for a box with keys",
        ),
    ],
)
def test_wrong_usage_is_explained(reactor_command, arguments, complaint):
    result = reactor_command("serve", "black-box", *arguments)
    assert result.exit_code == 2
    assert complaint in result.stderr


@pytest.mark.parametrize("kind", ["--processes", "--threads"])
def test_work_is_found_where_the_command_is_called(tmp_path, kind):
    """Also by a script in a folder of its own, as `reactor` is: Python looks there, not here."""
    (tmp_path / "prices.py").write_text("def handle(frames): ...\n", encoding="utf-8")
    words = ("serve", "black-box", "--feed", KERNEL, "--work", "prices:handle", kind)
    with subprocess.Popen(
        [sys.executable, "-P", "-m", "patterns.commands", "-q", *words],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout.readline().startswith("ready ")
        process.terminate()
        assert process.wait(timeout=SECONDS) == 0


def test_work_that_is_not_there_is_one_clear_line(start_process):
    process = start_process("serve", "black-box", "--feed", KERNEL, "--work", "no_such_module:x")
    output, errors = process.communicate(timeout=SECONDS)
    assert (process.returncode, output) == (1, "")
    assert "no_such_module" in errors
    assert "exit status 78: it cannot find its work" in errors.splitlines()[-1]
    assert "has not ended in time" not in errors
    assert "Traceback" not in errors
