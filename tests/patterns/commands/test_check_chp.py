"""`reactor check chp`: its lines and its exit codes, against real servers."""

import asyncio
import json
import signal
import threading
from queue import Queue

import pytest

from patterns.clone.conformance.clauses import CLAUSES
from reactor import EndpointError, Reactor

from ..clone.conformance.chp_server import ChpServer
from .test_clone_commands import ready, silent_endpoint

PORT_ATTEMPTS = 5


@pytest.fixture
def server(start_process):
    """The endpoint of a `reactor serve clone`."""
    return ready(start_process("serve", "clone", "--port", "0"))


@pytest.fixture
def simple_server():
    """Starts a server with planted faults in a thread and returns its endpoint."""
    running = []

    def start(**faults):
        started = Queue()

        async def serve():
            async with Reactor() as reactor:
                started.put((reactor, register(reactor, faults)))
                await reactor.stopped()

        thread = threading.Thread(target=asyncio.run, args=(serve(),))
        thread.start()
        reactor, endpoint = started.get(timeout=10)
        running.append((thread, reactor))
        return endpoint

    yield start
    for thread, reactor in running:
        reactor.call_soon_threadsafe(reactor.stop)
        thread.join(10)
        assert not thread.is_alive()


def register(reactor, faults):
    """The endpoint of a server on three ports in a row that are free."""
    for _ in range(PORT_ATTEMPTS):
        endpoint = silent_endpoint()
        try:
            reactor.register(ChpServer(int(endpoint.rpartition(":")[2]), **faults))
        except EndpointError:  # one of them is taken
            continue
        return endpoint
    raise AssertionError("no three ports in a row")


def test_there_is_a_line_for_each_clause_and_a_sum(reactor_command, server):
    result = reactor_command("check", "chp", server)
    assert result.exit_code == 0
    *lines, total = result.stdout.splitlines()
    assert [line.split()[2] for line in lines] == [clause.name for clause in CLAUSES]
    assert {line.split()[0] for line in lines} == {"pass", "note"}
    assert total == "18 pass, 0 skip, 5 note, 0 fail"
    assert reactor_command("ls", "--server", server).stdout == ""


def test_json_is_one_object_a_line(reactor_command, server):
    result = reactor_command("check", "chp", server, "--json", "--gentle")
    found = [json.loads(line) for line in result.stdout.splitlines()]
    assert [each["clause"] for each in found] == [clause.name for clause in CLAUSES]
    assert set(found[0]) == {"clause", "level", "rule", "outcome", "seen"}


def test_strictly_a_note_is_a_failure(reactor_command, server):
    assert reactor_command("check", "chp", server, "--gentle", "--strict").exit_code == 1


def test_a_fault_is_exit_code_1(reactor_command, simple_server):
    endpoint = simple_server(ignores_subtree=True)
    result = reactor_command("check", "chp", endpoint, "--gentle", "--timeout", "2")
    assert result.exit_code == 1
    (line,) = (line for line in result.stdout.splitlines() if line.startswith("fail"))
    assert line.split()[2] == "snapshot-subtree"


def test_no_answer_is_exit_code_3(reactor_command):
    endpoint = silent_endpoint()
    result = reactor_command("check", "chp", endpoint, "--timeout", "0.2")
    assert (result.exit_code, result.stdout) == (3, "")
    assert result.stderr == f"Error: no answer from {endpoint}: nothing within 0.2 s\n"


@pytest.mark.parametrize("arguments", [["localhost"], ["tcp://127.0.0.1:70000"], []])
def test_wrong_usage_is_exit_code_2(reactor_command, arguments):
    assert reactor_command("check", "chp", *arguments).exit_code == 2


def test_a_check_that_is_broken_off_says_so_and_leaves_nothing(
    start_process, reactor_command, server
):
    process = start_process("check", "chp", server, "--json")
    watcher = start_process("watch", "/chp-check/", "--server", server)
    for line in watcher.stdout:
        if "hello" in line:
            break
    process.send_signal(signal.SIGTERM)
    output, errors = process.communicate(timeout=20)
    assert process.returncode == 1
    assert "broken off" in errors
    assert output.count("not reached") > 3
    assert reactor_command("ls", "--server", server).stdout == ""
