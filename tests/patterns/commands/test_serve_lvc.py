"""`reactor serve lvc`: ready when it is, data for late subscribers, an end within two seconds."""

import json
import os
import signal

import pytest
import zmq

KERNEL = "tcp://127.0.0.1:*"
SECONDS = 20.0


def open_socket(context, socket_type, endpoint):
    socket = context.socket(socket_type)
    socket.linger = 0
    socket.rcvtimeo = int(1000 * SECONDS)
    socket.connect(endpoint)
    return socket


def ready_line(process):
    """The endpoints of the first line of the output."""
    word, *endpoints = process.stdout.readline().split()
    assert word == "ready"
    return endpoints


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_until_a_signal_ends_it(start_process, context, number):
    process = start_process("serve", "lvc", "--frontend", f"@{KERNEL}", "--backend", KERNEL)
    front, behind = ready_line(process)
    with open_socket(context, zmq.XPUB, front) as feed:
        assert feed.recv() == b"\x01"
        with open_socket(context, zmq.SUB, behind) as early:
            early.subscribe(b"")
            feed.send_multipart([b"topic", b"value"])
            assert early.recv_multipart() == [b"topic", b"value"]
        with open_socket(context, zmq.SUB, behind) as late:
            late.subscribe(b"top")
            assert late.recv_multipart() == [b"topic", b"value"]
    process.send_signal(number)
    assert process.wait(timeout=2.0) == 0
    assert process.stdout.read() == "", "data only"


def test_a_slow_subscriber_gets_the_newest_values(start_process, reactor_command, context):
    options = ("--frontend", f"@{KERNEL}", "--backend", KERNEL, "--conflated", KERNEL)
    process = start_process("serve", "lvc", *options, "--ttl", "gone/=0.001", "--separator", ":")
    front, behind, conflated = ready_line(process)
    with (
        open_socket(context, zmq.XPUB, front) as feed,
        open_socket(context, zmq.SUB, behind) as all_of_it,
    ):
        all_of_it.subscribe(b"")
        assert feed.recv() == b"\x01"
        frames = [[b"b", b"1"], [b"a", b"1"], [b"b", b"2"], [b"c:1"], [b"gone/a", b"1"], [b"end"]]
        for message in frames:
            feed.send_multipart(message)
        while all_of_it.recv_multipart() != [b"end"]:
            pass  # whether it came in time for all of them or not: the cache has all now
    command = ("sub", "--conflate", "--connect", conflated, "-v", "--count", "4")
    result = reactor_command(*command, "--timeout", "10")
    assert (result.exit_code, result.stdout) == (0, "a 1\nb 2\nc:1 \nend \n")
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=2.0) == 0


def test_on_demand_it_asks_for_what_it_is_asked_for(start_process, context):
    with context.socket(zmq.XPUB) as feed:
        feed.linger = 0
        feed.rcvtimeo = int(1000 * SECONDS)
        feed.bind(KERNEL)
        options = ("--frontend", feed.last_endpoint.decode(), "--backend", KERNEL)
        process = start_process("serve", "lvc", *options, "--on-demand", "--linger", "0")
        (behind,) = ready_line(process)
        with open_socket(context, zmq.SUB, behind) as subscriber:
            subscriber.subscribe(b"a")
            assert feed.recv() == b"\x01a"
        assert feed.recv() == b"\x00a"


def test_its_logs_are_lines_of_json_when_nobody_watches(start_process):
    process = start_process("serve", "lvc", "--frontend", f"@{KERNEL}", "--backend", KERNEL)
    endpoints = ready_line(process)
    process.terminate()
    lines = [json.loads(line) for line in process.communicate(timeout=SECONDS)[1].splitlines()]
    assert [line["event"] for line in lines] == ["serving", "stopped"]
    assert lines[0]["endpoints"] == endpoints
    assert lines[1]["topics"] == 0


def test_a_ready_line_that_nobody_reads_ends_it_quietly(start_process):
    read, write = os.pipe()
    os.close(read)
    process = start_process("-q", "serve", "lvc", "--backend", KERNEL, stdout=write)
    os.close(write)
    _, errors = process.communicate(timeout=SECONDS)
    assert (process.returncode, errors) == (1, "")


def test_an_address_in_use_is_one_clear_line(reactor_command, context):
    with context.socket(zmq.PUB) as taken:
        taken.bind(KERNEL)
        endpoint = taken.last_endpoint.decode()
        result = reactor_command("serve", "lvc", "--backend", endpoint)
    assert result.exit_code == 1
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert f"cannot bind {endpoint}" in line
    assert "in use" in line
    assert line.endswith(": end what listens there, or choose another port")


def test_an_address_of_somewhere_else_is_told_so(reactor_command):
    result = reactor_command("serve", "lvc", "--backend", "tcp://no.such.host.invalid:5555")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.rstrip().endswith("of this machine, or * for all of them")


@pytest.mark.parametrize("endpoint", ["5558", "tcp:5558", "tcp://127.0.0.1:x", ""])
@pytest.mark.parametrize("option", ["--frontend", "--backend"])
def test_a_wrong_endpoint_is_wrong_usage(reactor_command, option, endpoint):
    result = reactor_command("serve", "lvc", option, endpoint)
    assert (result.exit_code, result.stdout) == (2, "")
    assert f"Invalid value for '{option}': " in result.stderr.splitlines()[-1]


@pytest.mark.parametrize("option", ["--frontend", "--backend"])
def test_what_only_libzmq_finds_wrong_is_one_clear_line(reactor_command, option):
    others = {"--frontend": f"@{KERNEL}", "--backend": KERNEL} | {option: "udp://"}
    result = reactor_command("serve", "lvc", *(word for pair in others.items() for word in pair))
    assert (result.exit_code, result.stdout) == (1, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"Error: LastValueCache.{option[2:]}: ")


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--max-topics", "0"),
        ("--max-bytes", "many"),
        ("--high-water-mark", "0"),
        ("--patience", "-1"),
        ("--patience", "nan"),
        ("--linger", "inf"),
        ("--ttl", "a=many"),
        ("--ttl", "-1"),
        ("--at-limit", "crash"),
        ("--max-conflated", "0"),
        ("--unknown", "1"),
    ],
)
def test_wrong_usage_is_status_2(reactor_command, option, value):
    result = reactor_command("serve", "lvc", option, value)
    assert (result.exit_code, result.stdout) == (2, "")
    assert option in result.stderr


@pytest.mark.parametrize("value", ["soon", "nan"])
def test_what_is_no_number_of_seconds_is_told_so(reactor_command, value):
    result = reactor_command("serve", "lvc", "--ttl", f"a={value}")
    assert f"{value} is not a number of seconds." in result.stderr


def test_an_option_may_come_from_the_environment(reactor_command):
    result = reactor_command("serve", "lvc", env={"REACTOR_SERVE_LVC_MAX_TOPICS": "0"})
    assert result.exit_code == 2
    assert "REACTOR_SERVE_LVC_MAX_TOPICS" in result.stderr or "--max-topics" in result.stderr
