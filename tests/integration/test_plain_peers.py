"""Publishers and subscribers of a few lines, which know nothing of us, beside each server."""

import os
import select
import subprocess
import sys

import pytest

SECONDS = 20.0
KERNEL = "tcp://127.0.0.1:*"

PUBLISHER = """
import sys, zmq
socket = zmq.Context().socket(zmq.PUB)
socket.connect(sys.argv[1])
for line in sys.stdin:
    socket.send_multipart([frame.encode() for frame in line.split()])
"""
SUBSCRIBER = """
import sys, zmq
socket = zmq.Context().socket(zmq.SUB)
socket.connect(sys.argv[1])
socket.subscribe(sys.argv[2])
while True:
    print(*[frame.decode(errors="replace") for frame in socket.recv_multipart()], flush=True)
"""


class Peer:
    """A script in a process of its own."""

    def __init__(self, script, *arguments):
        self.process = subprocess.Popen(
            [sys.executable, "-c", script, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
        )
        self._read = b""  # lines come several at a time, and `select` knows of none that is read

    def tell(self, line):
        self.process.stdin.write(f"{line}\n".encode())

    def hears(self, seconds):
        return b"\n" in self._read or bool(select.select([self.process.stdout], [], [], seconds)[0])

    def line(self):
        while b"\n" not in self._read:
            assert self.hears(SECONDS), "nothing came"
            data = os.read(self.process.stdout.fileno(), 65536)
            assert data, "the peer has ended"
            self._read += data
        line, _, self._read = self._read.partition(b"\n")
        return line.decode().split()

    def end(self):
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def peer():
    peers = []

    def start(script, *arguments):
        peers.append(Peer(script, *arguments))
        return peers[-1]

    yield start
    for each in peers:
        each.end()


def endpoints_of(server):
    """What the server has bound, once it is ready."""
    word, *endpoints = server.process.stdout.readline().split()
    assert word == "ready"
    return endpoints


def publish_until_heard(publisher, subscriber, topic):
    """Publish numbers under a topic until a subscriber has one; return the numbers sent."""
    for number in range(1000):
        publisher.tell(f"{topic} {number}")
        if subscriber.hears(0.05):
            return number
    pytest.fail("nothing came")


@pytest.mark.parametrize("kind", ["espresso", "lvc", "snail-pub"])
def test_a_plain_publisher_reaches_plain_subscribers(start_server, peer, kind):
    options = ("--monitor", "") if kind == "espresso" else ()
    server = start_server(kind, "--frontend", f"@{KERNEL}", "--backend", KERNEL, *options)
    front, back = endpoints_of(server)
    subscriber = peer(SUBSCRIBER, back, "A")
    publisher = peer(PUBLISHER, front)
    publisher.tell("B not-for-us")
    last = publish_until_heard(publisher, subscriber, "A")
    seen = [subscriber.line()]
    while int(seen[-1][1]) < last:
        seen.append(subscriber.line())
    assert [line[0] for line in seen] == len(seen) * ["A"]
    numbers = [int(line[1]) for line in seen]
    assert numbers == list(range(numbers[0], last + 1))
    assert server.terminate() == 0


def test_a_plain_subscriber_that_comes_late_gets_the_last_value_of_a_plain_publisher(
    start_server, peer
):
    server = start_server("lvc", "--frontend", f"@{KERNEL}", "--backend", KERNEL)
    front, back = endpoints_of(server)
    early, publisher = peer(SUBSCRIBER, back, "A"), peer(PUBLISHER, front)
    last = publish_until_heard(publisher, early, "A")
    while early.line() != ["A", str(last)]:
        pass
    assert peer(SUBSCRIBER, back, "A").line() == ["A", str(last)]
    assert peer(SUBSCRIBER, back, "").line() == ["A", str(last)]


def test_a_plain_publisher_feeds_a_black_box(start_server, peer, tmp_path, monkeypatch):
    record = tmp_path / "record"
    os.mkfifo(record)
    monkeypatch.setenv("RECORD", str(record))
    with open(os.open(record, os.O_RDONLY | os.O_NONBLOCK)) as lines:
        work = "tests.patterns.black_box.recording:Record"
        server = start_server("black-box", "--feed", f"@{KERNEL}", "--work", work)
        (front,) = endpoints_of(server)
        publisher = peer(PUBLISHER, front)
        for number in range(1000):
            publisher.tell(f"key {number}")
            if select.select([lines], [], [], 0.05)[0]:
                break
        assert server.terminate() == 0
        keys, numbers = zip(*(line.split() for line in lines), strict=True)
    assert set(keys) == {"key"}
    assert list(map(int, numbers)) == list(range(int(numbers[0]), number + 1))
