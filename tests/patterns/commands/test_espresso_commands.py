"""`reactor serve espresso`, `tap`, `top`, `record` and `replay`, with plain peers."""

import json
import os
import re
import signal
import socket
import subprocess
from contextlib import suppress

import pytest
import zmq

KERNEL = "tcp://127.0.0.1:*"
SECONDS = 20.0
PAUSE_SECONDS = 0.01


class Feed:
    """A running Espresso with a publisher and a subscriber of A."""

    def __init__(self, process, context):
        self.process = process
        word, *self.endpoints = process.stdout.readline().split()
        assert word == "ready"
        self.front, self.back, self.monitor = self.endpoints[:3]
        self.publisher = self._open(context, zmq.XPUB, self.front)
        self.subscriber = self._open(context, zmq.SUB, self.back)
        self.subscriber.subscribe(b"A")
        assert self.publisher.recv() == b"\x01A"

    def _open(self, context, socket_type, endpoint):
        socket = context.socket(socket_type)
        socket.linger = 0
        socket.rcvtimeo = int(1000 * SECONDS)
        socket.connect(endpoint)
        return socket

    def publish_until_over(self, process):
        """Publish, and read, until a process has ended; it shall have the machine to itself."""
        while process.returncode is None:
            self.publisher.send_multipart([b"A", b"body"])
            assert self.subscriber.recv_multipart() == [b"A", b"body"]
            with suppress(subprocess.TimeoutExpired):
                process.wait(PAUSE_SECONDS)

    def close(self):
        self.publisher.close()
        self.subscriber.close()


@pytest.fixture
def feed(start_process, context):
    feeds = []

    def start(*options):
        process = start_process(
            *("-q", "serve", "espresso", "--frontend", f"@{KERNEL}", "--backend", KERNEL),
            *("--monitor", KERNEL),
            *options,
        )
        feeds.append(Feed(process, context))
        return feeds[-1]

    yield start
    for feed in feeds:
        feed.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_esp_3_a_signal_ends_it_while_traffic_is_tapped(feed, start_process, number):
    feed = feed()
    feed.publish_until_over(start_process("tap", "--monitor", feed.monitor, "--count", "1"))
    feed.process.send_signal(number)
    assert feed.process.wait(timeout=3.0) == 0
    assert feed.process.stdout.read() == "", "data only"


def test_tap_prints_lines(feed, start_process):
    feed = feed()
    tap = start_process("tap", "--monitor", feed.monitor, "--count", "2")
    feed.publish_until_over(tap)
    lines = tap.stdout.read().splitlines()
    assert len(lines) == 2
    for line in lines:
        assert re.fullmatch(r"\d\d:\d\d:\d\d\.\d{6} > A \| body", line)


def test_tap_prints_json(feed, start_process):
    feed = feed()
    tap = start_process(
        "tap", "--monitor", feed.monitor, "--count", "1", "--format", "json", "--topic", "A"
    )
    feed.publish_until_over(tap)
    (line,) = tap.stdout.read().splitlines()
    record = json.loads(line)
    assert record["frames"] == ["A", "body"]
    assert (record["kind"], record["direction"], record["bytes"]) == ("message", "down", 5)


@pytest.mark.parametrize("command", [("tap",), ("tap", "--format", "json"), ("top",)])
def test_nobody_who_reads_what_is_printed_ends_it_quietly(feed, start_process, command):
    feed = feed()
    read, write = os.pipe()
    os.close(read)
    reader = start_process(*command, "--monitor", feed.monitor, stdout=write)
    os.close(write)
    feed.publish_until_over(reader)
    assert (reader.returncode, reader.stderr.read()) == (1, "")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no disk is always full here")
@pytest.mark.parametrize("command", ["tap", "top", "record", "record --publisher"])
def test_a_full_disk_ends_it_with_a_clear_line(feed, start_process, command):
    feed = feed()
    if command == "record --publisher":
        arguments = ("record", "/dev/full", "--force", "--publisher", feed.back)
    elif command == "record":
        arguments = ("record", "/dev/full", "--force", "--monitor", feed.monitor)
    else:
        arguments = (command, "--monitor", feed.monitor)
    with open("/dev/full" if command in ("tap", "top") else os.devnull, "wb") as output:
        reader = start_process(*arguments, stdout=output)
    feed.publish_until_over(reader)
    errors = reader.stderr.read()
    assert (reader.returncode, "Traceback" in errors) == (1, False)
    assert errors.splitlines()[-1].endswith("No space left on device")


def test_top_is_plain_when_piped(feed, start_process):
    feed = feed()
    top = start_process("top", "--monitor", feed.monitor, "--count", "1")
    feed.publish_until_over(top)
    shown = top.stdout.read()
    assert "\x1b" not in shown
    assert re.search(r"^forwarding \(thread\)$", shown, re.M)
    assert re.search(r"^A +[\d,.]+ +[\d,]+$", shown, re.M)
    assert re.search(r"^A +1$", shown, re.M)


def test_top_without_an_answer_is_status_3(reactor_command):
    result = reactor_command("top", "--monitor", "ipc:///nowhere/at/all", "--timeout", "0.1")
    assert result.exit_code == 3
    assert "ipc:///nowhere/at/all" in result.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_top_that_has_found_no_espresso(start_process, number):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        endpoint = f"tcp://127.0.0.1:{listener.getsockname()[1]}"
        top = start_process("top", "--monitor", endpoint, "--timeout", "60")
        listener.settimeout(SECONDS)
        with listener.accept()[0]:
            top.send_signal(number)
            assert top.communicate(timeout=3.0) == ("", "")
    assert top.returncode == 0


@pytest.mark.parametrize("source", ["--monitor", "--publisher"])
def test_what_is_recorded_is_replayed(feed, start_process, context, tmp_path, source):
    feed = feed()
    path = str(tmp_path / "a.esp")
    endpoint = feed.monitor if source == "--monitor" else feed.back
    record = start_process("record", path, source, endpoint, "--count", "5")
    assert record.stdout.readline() == "ready\n"
    feed.publish_until_over(record)
    assert record.returncode == 0
    assert record.stderr.read().startswith("5 records, ")
    replay = start_process("replay", path, "--publish", KERNEL, "--speed", "0")
    word, published = replay.stdout.readline().split()
    with feed._open(context, zmq.SUB, published) as listener:
        listener.subscribe(b"A")
        messages = [listener.recv_multipart() for _ in range(4 if source == "--monitor" else 5)]
    assert word == "ready" and set(map(tuple, messages)) == {(b"A", b"body")}
    assert replay.wait(SECONDS) == 0


def test_serve_records_and_taps_what_its_filter_says(feed, context, tmp_path):
    path = tmp_path / "a.esp"
    feed = feed(
        *("--record", str(path), "--tap", KERNEL, "--tap-style", "prefixed"),
        *("--topic", "A", "--direction", "down", "--one-in", "2"),
    )
    with feed._open(context, zmq.SUB, feed.endpoints[3]) as reader:
        reader.subscribe(b"")
        while not reader.poll(10):
            feed.publisher.send_multipart([b"A", b"body"])
        assert reader.recv_multipart() == [b"pub", b"A", b"body"]
    feed.process.terminate()
    assert feed.process.wait(3.0) == 0
    assert path.stat().st_size > 28


def test_a_file_that_exists_is_not_overwritten(reactor_command, tmp_path):
    path = tmp_path / "a.esp"
    path.write_bytes(b"precious")
    for command in (("record",), ("serve", "espresso", "--record")):
        result = reactor_command(*command, str(path))
        assert result.exit_code == 2
        assert "--force overwrites it" in result.stderr
    assert path.read_bytes() == b"precious"


@pytest.mark.parametrize("command", [("record",), ("serve", "espresso", "--record")])
def test_a_file_that_cannot_be_made_is_one_clear_line(reactor_command, tmp_path, command):
    path = tmp_path / "nowhere" / "a.esp"
    endpoints = ("--backend", KERNEL, "--monitor", KERNEL) if command[0] == "serve" else ()
    result = reactor_command(*command, str(path), *endpoints)
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1] == f"Error: {path}: No such file or directory"


def test_replay_of_something_else_is_one_clear_line(reactor_command, tmp_path):
    path = tmp_path / "a.esp"
    path.write_bytes(b"hello")
    result = reactor_command("replay", str(path))
    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    assert "no recording" in line


@pytest.mark.parametrize(
    "arguments",
    [
        ("tap", "--one-in", "0"),
        ("tap", "--rate", "0"),
        ("tap", "--rate", "nan"),
        ("tap", "--seconds", "inf"),
        ("top", "--timeout", "nan"),
        ("tap", "--direction", "sideways"),
        ("replay", "/nowhere"),
        ("replay", __file__, "--from", "-1"),
        ("replay", __file__, "--from", "5", "--until", "2"),
        ("serve", "espresso", "--pump", "hand"),
        ("record", "x", "--publisher", "tcp://127.0.0.1:1", "--one-in", "2"),
        ("record", "x", "--publisher", "tcp://127.0.0.1:1", "--monitor", "tcp://127.0.0.1:2"),
    ],
)
def test_wrong_usage_is_status_2(reactor_command, arguments):
    assert reactor_command(*arguments).exit_code == 2
