"""`reactor serve clone` and its clients: what they print, their exit codes, and their end."""

import asyncio
import dataclasses
import os
import signal
import socket
import subprocess
import sys
import threading

import pytest
import zmq

from patterns.clone import model1, model2, model3, model4, model5, model6
from patterns.clone.client import CloneClient
from patterns.clone.handlers import CloneServer
from patterns.clone.messages import snapshot_request
from patterns.commands.output import printable
from reactor import Reactor

from .conftest import ROOT

SECONDS = 20.0
STATES = ("--state-bind", "tcp://127.0.0.1:*", "--state-connect", "tcp://127.0.0.1:1")


@pytest.fixture(scope="module")
def server():
    """The endpoint of one server process for all tests of this module, which share its keys."""
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "patterns.commands", "serve", "clone", "--port", "0"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    yield ready(process)
    process.kill()
    process.communicate()


@pytest.fixture
def key(request):
    """A key of this test's own."""
    return f"/{request.node.name}/key"


@pytest.fixture
def client(reactor_command, server):
    """Runs a client command against the server."""

    def run(*arguments, **options):
        return reactor_command(*arguments, "--server", server, **options)

    return run


def ready(process):
    word, endpoint = process.stdout.readline().split()
    assert word == "ready"
    return endpoint


def silent_endpoint():
    """A port that nobody listens at."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return f"tcp://127.0.0.1:{min(listener.getsockname()[1], 65_000)}"


# What they do


def test_what_is_put_can_be_got_listed_and_deleted(client, key):
    assert (client("put", key, "value").output, client("get", key).output) == ("", "value\n")
    assert client("ls", key).output == f"{key} value\n"
    assert client("del", key).output == ""
    assert client("ls", key).output == ""


def test_a_key_that_is_not_there_is_a_failure(client, key):
    client("put", key + "-and-more", "value")
    result = client("get", key)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == f"Error: no such key: {key}\n"


def test_deleting_what_is_not_there_is_done(client, key):
    assert client("del", key).exit_code == 0


def test_ls_is_sorted_and_of_its_subtree(client, key):
    for name in ("b", "a", "c"):
        client("put", f"{key}/{name}", name)
    assert client("ls", f"{key}/").output == "".join(f"{key}/{n} {n}\n" for n in "abc")
    everything = client("ls").output
    assert f"{key}/a a\n" in everything
    assert everything.splitlines() == sorted(everything.splitlines())


def test_a_value_survives_the_way_from_get_to_put_byte_for_byte(client, server, key):
    value = bytes(range(256)) + b"\n"
    assert client("put", key, "-", input=value + b"\n").exit_code == 0
    got = client("get", key).stdout_bytes
    assert got == value + b"\n"
    client("put", key + "-2", "-", input=got)
    assert client("get", key + "-2").stdout_bytes == got


def test_a_value_that_looks_like_an_option_may_be_a_number(client, key):
    assert client("put", key, "-5").exit_code == 0
    assert client("get", key).output == "-5\n"


def test_a_value_with_a_ttl_goes_away_by_itself(client, key):
    assert client("put", key, "value", "--ttl", "1").exit_code == 0
    result = client("watch", key, "--count", "3")
    assert result.output == f"put {key} value\nlive\ndelete {key}\n"


def test_a_line_holds_one_entry_whatever_the_value(client, key):
    client("put", key, "-", input=b"two\nlines \x1b[31m \xff \xe2\x82\xac\n")
    assert client("ls", key).output == f"{key} two\\nlines \\x1b[31m \\xff €\n"


@pytest.mark.parametrize(
    ("text", "shown"),
    [(b"plain", "plain"), (b"\xe2\x82\xac", "€"), (b"a\tb\r\0", "a\\tb\\r\\x00"), (b"\\n", "\\n")],
)
def test_only_what_is_not_printable_is_escaped(text, shown):
    assert printable(text) == shown


def test_ls_and_watch_take_several_subtrees(client, key):
    for name in ("a", "b", "c"):
        client("put", f"{key}/{name}", name)
    assert client("ls", f"{key}/c", f"{key}/a").output == f"{key}/a a\n{key}/c c\n"
    result = client("watch", f"{key}/c", f"{key}/a", "--count", "3")
    assert result.output == f"put {key}/a a\nput {key}/c c\nlive\n"


def test_put_and_del_on_condition(client, key):
    assert client("put", key, "1", "--if-absent").exit_code == 0
    result = client("put", key, "2", "--if-absent")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == f"Error: write of {key.encode()!r} not done: conflict\n"
    number = client("get", key, "--sequence").output.strip()
    assert client("put", key, "2", "--if-sequence", number).exit_code == 0
    assert client("del", key, "--if-sequence", number).exit_code == 1
    assert client("get", key).output == "2\n"
    number = client("get", key, "--sequence").output.strip()
    assert client("del", key, "--if-sequence", number).exit_code == 0
    assert client("put", key, "3", "--if-sequence", "0").exit_code == 0
    assert client("get", key).output == "3\n"


def test_a_server_that_stands_alone_replicates_nothing(client, key):
    client("put", key, "1", "--ack", "applied")
    for arguments in (("put", key, "2"), ("del", key)):
        result = client(*arguments, "--ack", "replicated")
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr == f"Error: write of {key.encode()!r} not done: unsupported\n"
    assert client("get", key).output == "1\n"
    assert client("put", key, "2", "--ack", "all").exit_code == 2
    keep = client("put", key, "2", "--ttl", "5", "--keep", "--ack", "replicated")
    assert keep.exit_code == 2 and "no --ack" in keep.stderr


def test_put_keep_holds_a_value_until_a_signal(start_process, client, server, key):
    holder = start_process(
        "put", key, "me", "--ttl", "1", "--keep", "--if-absent", "--server", server
    )
    assert holder.stdout.readline() == f"kept {key}\n"
    assert client("get", key).output == "me\n"
    rival = client("put", key, "other", "--ttl", "1", "--keep", "--if-absent")
    assert (rival.exit_code, rival.stdout) == (1, "")
    assert client("watch", key, "--count", "2").exit_code == 0
    holder.send_signal(signal.SIGTERM)
    assert holder.communicate(timeout=SECONDS) == ("", "")
    assert holder.returncode == 0
    assert client("get", key).exit_code == 1


def test_put_keep_fails_when_the_key_is_taken_away(start_process, client, server, key):
    holder = start_process(
        "put", key, "me", "--ttl", "1", "--keep", "--if-absent", "--server", server
    )
    assert holder.stdout.readline() == f"kept {key}\n"
    client("put", key, "rude")
    assert holder.communicate(timeout=SECONDS) == ("", "Error: lost: conflict\n")
    assert holder.returncode == 1


def test_clients_say_nothing_but_data(client, key):
    for arguments in (("put", key, "1"), ("get", key), ("ls", key), ("del", key)):
        assert client(*arguments).stderr == ""


def test_with_verbose_they_tell_what_they_do(reactor_command, server, key):
    result = reactor_command("--verbose", "put", key, "1", "--server", server)
    assert "live" in result.stderr


def test_a_server_that_is_not_there_is_left_for_the_next(reactor_command, server, key):
    options = ("--server", silent_endpoint(), "--server", server, "--timeout", str(SECONDS))
    assert reactor_command("put", key, "1", *options).exit_code == 0


def test_every_command_works_as_a_process(start_process, server, key):
    expected = {
        ("put", key, "value"): "",
        ("get", key): "value\n",
        ("ls", key): f"{key} value\n",
        ("watch", key, "--count", "2"): f"put {key} value\nlive\n",
        ("del", key): "",
    }
    for arguments, output in expected.items():
        process = start_process(*arguments, "--server", server)
        assert process.communicate(timeout=SECONDS) == (output, "")
        assert process.returncode == 0


# Exit codes


@pytest.mark.parametrize(
    "arguments",
    [("get", "key"), ("put", "key", "1"), ("del", "key"), ("ls",), ("watch",)],
    ids=lambda arguments: arguments[0],
)
def test_no_answer_in_time_is_status_3(reactor_command, arguments):
    endpoint = silent_endpoint()
    result = reactor_command(*arguments, "--server", endpoint, "--timeout", "0.3")
    assert (result.exit_code, result.stdout) == (3, "")
    assert result.stderr == f"Error: no answer from {endpoint} within 0.3 s\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ("get",),
        ("get", ""),
        ("get", "k" * 256),
        ("get", "HUGZ"),
        ("put", "key"),
        ("put", "key", ""),
        ("put", "", "value"),
        ("put", "key", "value", "--ttl", "0"),
        ("put", "key", "value", "--ttl", "nan"),
        ("put", "key", "value", "--ttl", "inf"),
        ("put", "key", "value", "more"),
        ("put", "key", "value", "--keep"),
        ("put", "key", "value", "--keep", "--ttl", "5", "--if-sequence", "1"),
        ("put", "key", "value", "--if-absent", "--if-sequence", "1"),
        ("put", "key", "value", "--if-sequence", "-1"),
        ("del", "key", "--if-sequence", "x"),
        ("del", "ICANHAZ?"),
        ("ls", "KTHXBAI"),
        ("watch", "--count", "0"),
        ("get", "key", "--timeout", "-1"),
        ("get", "key", "--timeout", "nan"),
        ("get", "key", "--server", "localhost"),
        ("get", "key", "--server", "tcp://127.0.0.1"),
        ("get", "key", "--server", "tcp://no host:5556"),
        ("get", "key", "--server", "tcp://127.0.0.1:65535"),
    ],
    ids=" ".join,
)
def test_wrong_usage_is_status_2(reactor_command, arguments):
    result = reactor_command(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "Error: " in result.stderr


def test_a_ttl_that_no_server_takes_is_wrong_usage(client, key):
    assert client("put", key, "value", "--ttl", "1e12").exit_code == 2


def test_a_refusal_is_status_1(reactor_command):
    with ThreadedServer(max_keys=1) as server:
        assert reactor_command("put", "first", "1", "--server", server).exit_code == 0
        result = reactor_command("put", "second", "1", "--server", server)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "Error: write of b'second' not done: full\n"


class ThreadedServer:
    """A server with a small store, in a thread of this process."""

    def __init__(self, max_keys):
        self._server = CloneServer(0)
        self._server.protocol.store.max_keys = max_keys
        self._ready = threading.Event()
        self._thread = threading.Thread(target=asyncio.run, args=(self._serve(),))

    async def _serve(self):
        async with Reactor() as self._reactor:
            self._reactor.register(self._server)
            self._ready.set()
            await self._reactor.stopped()

    def __enter__(self):
        self._thread.start()
        assert self._ready.wait(SECONDS)
        return self._server.endpoint

    def __exit__(self, *_):
        self._reactor.call_soon_threadsafe(self._reactor.stop)
        self._thread.join(SECONDS)


def test_a_host_that_does_not_exist_is_no_answer(reactor_command):
    result = reactor_command(
        "get", "key", "--server", "tcp://no.such.host.invalid:5556", "--timeout", "0.3"
    )
    assert result.exit_code == 3


# Watching


def test_a_watch_prints_what_is_there_live_and_what_comes(start_process, client, server, key):
    client("put", f"{key}/a", "1")
    process = start_process("watch", key, "--server", server)
    assert [process.stdout.readline() for _ in range(2)] == [f"put {key}/a 1\n", "live\n"]
    client("put", f"{key}/b", "2")
    assert process.stdout.readline() == f"put {key}/b 2\n"
    client("del", f"{key}/a")
    assert process.stdout.readline() == f"delete {key}/a\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_watch_well(start_process, server, number, key):
    """M-13: one signal is enough, with status 0."""
    process = start_process("watch", key, "--server", server)
    assert process.stdout.readline() == "live\n"
    process.send_signal(number)
    assert process.communicate(timeout=2.0) == ("", "")
    assert process.returncode == 0


def test_a_signal_ends_a_watch_that_has_found_no_server(start_process):
    """M-13: one signal is enough, while it waits for a snapshot as well."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        endpoint = f"tcp://127.0.0.1:{listener.getsockname()[1]}"
        process = start_process("watch", "--server", endpoint, "--timeout", "60")
        listener.settimeout(SECONDS)
        with listener.accept()[0]:  # it votes after a while without a heartbeat
            process.terminate()
            assert process.communicate(timeout=2.0) == ("", "")
    assert process.returncode == 0


def test_a_watch_says_when_its_server_is_lost(start_process):
    server = start_process("serve", "clone", "--port", "0")
    process = start_process("watch", "--server", ready(server))
    assert process.stdout.readline() == "live\n"
    server.kill()
    assert "stale: disconnected\n" in iter(process.stderr.readline, "")


@pytest.mark.parametrize("arguments", [("watch",), ("ls",)], ids=["watch", "ls"])
def test_nobody_who_reads_is_no_reason_for_a_traceback(
    start_process, client, server, key, arguments
):
    client("put", key, "value")
    read, write = os.pipe()
    os.close(read)
    process = start_process(*arguments, "--server", server, stdout=write)
    os.close(write)
    assert process.communicate(timeout=SECONDS)[1] == ""
    assert process.returncode == 1


# The server


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_server_well_within_two_seconds(start_process, number):
    process = start_process("serve", "clone", "--port", "0")
    ready(process)
    process.send_signal(number)
    assert process.wait(timeout=2.0) == 0
    assert process.stdout.read() == ""


async def test_a_server_ends_in_time_in_the_middle_of_a_snapshot_that_nobody_reads(start_process):
    process = start_process("serve", "clone", "--port", "0")
    endpoint = ready(process)
    async with CloneClient(endpoint) as client:
        await client.wait_live(SECONDS)
        await asyncio.gather(*(client.set(f"{n:05}", b"x" * 2000) for n in range(8000)))
    with zmq.Context() as context, context.socket(zmq.DEALER) as stuck:
        stuck.linger, stuck.rcvhwm, stuck.rcvbuf = 0, 1, 4096
        stuck.connect(endpoint)
        stuck.send_multipart(snapshot_request())
        assert stuck.poll(1000 * SECONDS), "it begins to come"
        process.terminate()
        assert process.wait(timeout=2.0) == 0


def test_an_address_in_use_is_status_1_and_one_clear_line(reactor_command, server):
    port = server.rpartition(":")[2]
    result = reactor_command("serve", "clone", "--port", port)
    assert (result.exit_code, result.stdout) == (1, "")
    (line,) = result.stderr.splitlines()
    assert f"cannot bind {server}" in line
    assert "in use" in line


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--role", "primary"), "--state-bind, --state-connect, --peer"),
        (("--role", "backup", *STATES), "needs --peer"),
        (("--role", "primary", *STATES, "--peer", "localhost"), "names no Clone server"),
        (
            (
                "--role",
                "leader",
            ),
            "--role",
        ),
        (("--peer", "tcp://127.0.0.1:5566"), "Add --role"),
        (("--timeout", "3"), "Add --role"),
        (("--ack", "replicated"), "Add --role"),
        (("--replication-timeout", "2", "--without-peer", "refuse"), "Add --role"),
        (("--ack", "sometimes"), "'sometimes' is not one of 'applied', 'replicated'"),
        (("--model", "7"), "--model"),
        (("--model", "5", "--role", "primary", *STATES, "--peer", "tcp://h:1"), "model 5 has no"),
        (("--model", "2", "--collector", "sub"), "do not write"),
        (("--collector", "pub"), "--collector"),
        (("--port", "65534"), "--port"),
        (("--port", "-1"), "--port"),
        (("--heartbeat", "0"), "--heartbeat"),
        (("--heartbeat", "nan"), "--heartbeat"),
        (
            ("--role", "primary", *STATES, "--peer", "tcp://127.0.0.1:1")
            + ("--heartbeat", "2", "--timeout", "1"),
            "shorter",
        ),
    ],
)
def test_a_server_that_cannot_be_meant_is_status_2_and_says_what_to_add(
    reactor_command, arguments, says
):
    result = reactor_command("serve", "clone", *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert says in result.stderr


# The models


@pytest.mark.parametrize("model", [model1, model2], ids=["1", "2"])
async def test_in_models_one_and_two_the_lines_of_standard_input_are_published(
    start_process, model
):
    process = start_process("serve", "clone", "--model", model.__name__[-1], "--port", "0")
    client = model.Client(ready(process))
    async with asyncio.timeout(SECONDS), Reactor() as reactor:
        reactor.register(client)
        while not client.items():  # in model one nobody knows when a subscription has arrived
            process.stdin.write("/a/1 one\n")
            process.stdin.flush()
            await asyncio.sleep(0.05)
        process.stdin.write("HUGZ is no key\n/a/2 two words\n/a/1\n")
        process.stdin.flush()
        while client.items() != [(b"/a/2", b"two words")]:
            await asyncio.sleep(0.01)
    process.terminate()
    assert process.wait(timeout=SECONDS) == 0


@pytest.mark.parametrize("collector", [(), ("--collector", "sub"), ("--collector", "pull")])
@pytest.mark.parametrize("model", [model3, model4, model5, model6], ids=["3", "4", "5", "6"])
async def test_in_models_three_to_six_clients_write(start_process, model, collector):
    number = model.__name__[-1]
    process = start_process("serve", "clone", "--model", number, "--port", "0", *collector)
    dialect = model.DIALECT
    if collector:
        socket_type = {"sub": zmq.SUB, "pull": zmq.PULL}[collector[1]]
        dialect = dataclasses.replace(dialect, collector=socket_type)
    async with asyncio.timeout(SECONDS):
        async with model.Client(ready(process), dialect=dialect) as client:
            await client.wait_live()
            await client.set("/a/1", "one")
            await client.set("/a/2", "two")
            await client.delete("/a/1")
            assert client.items() == [(b"/a/2", b"two")]
        async with model.Client(client.server, dialect=dialect) as late:
            await late.wait_live()
            assert late.items() == [(b"/a/2", b"two")]
    process.terminate()
    assert process.wait(timeout=SECONDS) == 0


def test_a_server_publishes_its_own_figures_if_it_is_told_to(start_process, reactor_command):
    server = start_process("serve", "clone", "--port", "0", "--sys")
    endpoint = ready(server)
    result = reactor_command("ls", "$SYS/", "--server", endpoint)
    assert result.exit_code == 0 and "$SYS/keys" in result.stdout
    refused = reactor_command("put", "$SYS/mine", "1", "--server", endpoint)
    assert refused.exit_code == 1 and "reserved" in refused.stderr


@pytest.mark.parametrize("option", [("--sys",), ("--control", "5559")])
def test_what_model_6_has_is_refused_for_the_others(reactor_command, option):
    result = reactor_command("serve", "clone", "--model", "4", *option)
    assert result.exit_code == 2 and option[0] in result.stderr
