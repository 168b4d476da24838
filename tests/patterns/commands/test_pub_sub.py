"""`reactor pub`, `reactor sub` and `reactor serve snail-pub`: as commands and as processes."""

import asyncio
import json
import os
import queue
import signal
import threading

import pytest
import zmq

from patterns.commands import pub, sub
from patterns.commands.lines import read_lines
from patterns.suicidal_snail.messages import decode_stamp

KERNEL = "tcp://127.0.0.1:*"
SECONDS = 20.0


def bound(context, socket_type, **options):
    """A socket of a peer that is not ours, and where it is."""
    socket = context.socket(socket_type)
    socket.linger = 0
    socket.rcvtimeo = socket.sndtimeo = int(1000 * SECONDS)
    for name, value in options.items():
        socket.set(getattr(zmq, name), value)
    socket.bind(KERNEL)
    return socket, socket.last_endpoint.decode()


class Subscriber:
    """A plain SUB that is bound, and reads in a thread: without that it does not even subscribe."""

    def __init__(self, context):
        self.socket, self.endpoint = bound(context, zmq.SUB, SUBSCRIBE=b"", RCVHWM=0)
        self.messages = queue.SimpleQueue()
        self.thread = threading.Thread(target=self._read)
        self.thread.start()

    def _read(self):
        while (message := self.socket.recv_multipart()) != [b"end"]:
            self.messages.put(message)

    def take(self, count):
        """So many messages, in order; and no other has come."""
        messages = [self.messages.get(timeout=SECONDS) for _ in range(count)]
        self.end()
        assert self.messages.empty()
        return messages

    def end(self):
        """Read no more."""
        with self.socket.context.socket(zmq.XPUB) as last:
            last.linger = int(1000 * SECONDS)
            last.connect(self.endpoint)
            last.recv()
            last.send(b"end")
            self.thread.join(SECONDS)


@pytest.fixture
def subscriber(context):
    subscriber = Subscriber(context)
    yield subscriber
    if subscriber.thread.is_alive():
        subscriber.end()
    subscriber.socket.close()


@pytest.fixture
def feed(context):
    """An XPUB that sends these messages to the first who subscribes; and its endpoint."""
    socket, endpoint = bound(context, zmq.XPUB, SNDHWM=0)
    threads = []

    def publish(*messages):
        def send():
            socket.recv()
            for message in messages:
                socket.send_multipart(message)

        threads.append(threading.Thread(target=send))
        threads[0].start()
        return endpoint

    with socket:
        yield publish
        for thread in threads:
            thread.join(SECONDS)


# pub


def test_a_body_is_one_message_of_two_frames(reactor_command, subscriber):
    result = reactor_command("pub", "topic", "the body", "--connect", subscriber.endpoint)
    assert (result.exit_code, result.output) == (0, "")
    assert subscriber.take(1) == [[b"topic", b"the body"]]


def test_each_line_is_a_message(reactor_command, subscriber):
    arguments = ("pub", "t", "--connect", subscriber.endpoint)
    assert reactor_command(*arguments, input=b"1\n\n\xff 3\n4").exit_code == 0
    assert subscriber.take(4) == [[b"t", b"1"], [b"t", b""], [b"t", b"\xff 3"], [b"t", b"4"]]


def test_a_file_is_a_message_and_so_is_all_of_standard_input(reactor_command, subscriber, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"two\nlines\n")
    arguments = ("--file", str(path), "--file", "-", "--connect", subscriber.endpoint)
    assert reactor_command("pub", "t", *arguments, input=b"a\nb\n").exit_code == 0
    assert subscriber.take(2) == [[b"t", b"two\nlines\n"], [b"t", b"a\nb\n"]]


@pytest.mark.parametrize("count", [1, 5])
def test_count_repeats_a_body_and_cuts_lines_off(reactor_command, subscriber, count):
    arguments = ("--connect", subscriber.endpoint, "--count", str(count))
    lines = b"".join(b"%d\n" % number for number in range(9))
    assert reactor_command("pub", "t", "x", *arguments).exit_code == 0
    assert reactor_command("pub", "u", *arguments, input=lines).exit_code == 0
    assert sorted(subscriber.take(2 * count)) == [[b"t", b"x"]] * count + [
        [b"u", b"%d" % number] for number in range(count)
    ]


def test_rate_spreads_messages_over_time(monkeypatch):
    pauses = []

    async def sleep(seconds):
        pauses.append(seconds)

    class Stream:
        def try_send(self, *frames):
            return True

    async def main():
        monkeypatch.setattr(asyncio, "sleep", sleep)
        await pub._Sender(b"t", 10.0, 1.0)._send_all(Stream(), pub._bodies("x", (), 4))

    asyncio.run(main())
    assert pauses == pytest.approx([0.0, 0.1, 0.2, 0.3], abs=0.05)


def test_it_waits_for_a_subscriber_of_the_topic_and_sends_nothing_without(reactor_command, context):
    socket, endpoint = bound(context, zmq.SUB, SUBSCRIBE=b"other")
    with socket:
        arguments = ("--connect", endpoint, "--timeout", "0.2")
        result = reactor_command("pub", "topic", "x", *arguments)
    assert result.exit_code == 3
    assert result.stdout == ""
    assert f"nobody has subscribed at {endpoint} within 0.2 s" in result.stderr


def test_it_need_not_wait(reactor_command):
    result = reactor_command("pub", "t", "x", "--bind", KERNEL, "--no-wait")
    assert result.exit_code == 0
    assert result.stderr.startswith("bound tcp://127.0.0.1:")


def test_more_than_all_queues_hold_is_lost_by_nobody(reactor_command, subscriber):
    count = 20_000
    lines = b"".join(b"%d\n" % number for number in range(count))
    arguments = ("pub", "t", "--connect", subscriber.endpoint)
    assert reactor_command(*arguments, input=lines).exit_code == 0
    assert [int(body) for _, body in subscriber.take(count)] == list(range(count))


def test_a_subscriber_that_takes_nothing_is_not_waited_for_forever(reactor_command, context):
    socket, endpoint = bound(context, zmq.SUB, SUBSCRIBE=b"", RCVHWM=1, RCVBUF=4096)
    subscribing = threading.Thread(target=socket.poll, args=(1000 * SECONDS,))
    with socket:
        subscribing.start()
        arguments = ("--connect", endpoint, "--count", "100000", "--timeout", "0.5")
        result = reactor_command("pub", "t", "x" * 1000, *arguments)
        subscribing.join(SECONDS)
    assert result.exit_code == 3
    assert "a subscriber has taken nothing for 0.5 s" in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("t", "body", "--file", "-"),
        ("t", "x", "--connect", "nonsense"),
        ("t", "x", "--count", "0"),
        ("t", "x", "--rate", "0"),
        ("t", "x", "--rate", "nan"),
        ("t", "x", "--rate", "inf"),
        ("t", "x", "--timeout", "nan"),
    ],
)
def test_wrong_usage_of_pub_is_status_2(reactor_command, arguments):
    result = reactor_command("pub", *arguments)
    assert (result.exit_code, result.stdout) == (2, "")


@pytest.mark.parametrize("command", [("pub", "t", "x"), ("sub",)])
def test_what_cannot_be_bound_is_one_clear_line(reactor_command, context, command):
    taken, endpoint = bound(context, zmq.PUB)
    with taken:
        result = reactor_command(*command, "--bind", endpoint)
    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"Error: {command[0]}: cannot bind {endpoint}: ")


async def test_lines_that_come_in_parts_are_put_together():
    parts = [b"a", b"b\nc", b"", b"\n\n"]

    class Stdin:
        def fileno(self):
            raise OSError

        def read(self, size):
            return parts.pop(0)

    lines = [line async for line in read_lines(Stdin())]
    assert lines == [b"ab", b"c"], "an empty read is the end"


# sub


def test_it_prints_the_bodies_of_the_topics_it_is_asked_for(reactor_command, feed):
    endpoint = feed([b"no", b"0"], [b"a1", b"1"], [b"b", b"2"], [b"a", b"3"])
    result = reactor_command("sub", "a", "--connect", endpoint, "--count", "2")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "1\n3\n", "")


def test_v_prints_the_topic_in_front(reactor_command, feed):
    endpoint = feed([b"a topic", b"1", b"2"])
    result = reactor_command("sub", "-v", "--connect", endpoint, "--count", "1")
    assert result.stdout == "a topic 1 | 2\n"


@pytest.mark.parametrize(
    ("style", "expected"),
    [
        ("text", b"\\x00\\xff\\n\n\xc3\xa9 | \n"),
        ("raw", b"\x00\xff\n\xc3\xa9"),
        (
            "json",
            b'{"topic": "t", "frames": [{"hex": "00ff0a"}]}\n'
            b'{"topic": "t", "frames": ["\xc3\xa9", ""]}\n',
        ),
    ],
)
def test_formats(reactor_command, feed, style, expected):
    endpoint = feed([b"t", b"\x00\xff\n"], [b"t", "é".encode(), b""])
    arguments = ("--connect", endpoint, "--count", "2", "--format", style)
    assert reactor_command("sub", *arguments).stdout_bytes == expected


def test_nothing_in_time_is_status_3(reactor_command, context):
    socket, endpoint = bound(context, zmq.PUB)
    with socket:
        result = reactor_command("sub", "--connect", endpoint, "--timeout", "0.1")
    assert (result.exit_code, result.stdout) == (3, "")
    assert "nothing came within 0.1 s" in result.stderr


def test_fewer_than_asked_for_in_time_is_status_3_and_they_are_printed(reactor_command, feed):
    arguments = ("--connect", feed([b"t", b"1"]), "--count", "2", "--timeout", "0.3")
    result = reactor_command("sub", *arguments)
    assert (result.exit_code, result.stdout) == (3, "1\n")
    assert "1 more messages did not come" in result.stderr


def test_silence_after_messages_ends_well_when_no_count_was_asked_for(reactor_command, feed):
    result = reactor_command("sub", "--connect", feed([b"t", b"1"]), "--timeout", "0.3")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "1\n", "")


@pytest.mark.parametrize(
    "arguments",
    [
        ("--count", "0"),
        ("--timeout", "nan"),
        ("--format", "xml"),
        ("--bind", "nonsense"),
        ("--snail", "0"),
        ("--squawk", "tcp://127.0.0.1:1"),
    ],
)
def test_wrong_usage_of_sub_is_status_2(reactor_command, arguments):
    result = reactor_command("sub", *arguments)
    assert (result.exit_code, result.stdout) == (2, "")


# As processes, with each other


def ready_line(process):
    word, *endpoints = process.stdout.readline().split()
    assert word == "ready"
    return endpoints


def bound_line(process):
    word, endpoint = process.stderr.readline().split()
    assert word == "bound"
    return endpoint


def test_pub_and_sub_find_each_other(start_process):
    reading = start_process("sub", "a", "-v", "--bind", KERNEL, "--count", "3")
    endpoint = bound_line(reading)
    writing = start_process("pub", "abc", "--connect", endpoint)
    writing.stdin.write("one\n")
    writing.stdin.flush()
    assert reading.stdout.readline() == "abc one\n", "a line is sent when it is there"
    writing.communicate("two\nthree", timeout=SECONDS)
    assert reading.communicate(timeout=SECONDS) == ("abc two\nabc three\n", "")
    assert (reading.returncode, writing.returncode) == (0, 0)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_sub_well(start_process, number):
    process = start_process("sub", "--bind", KERNEL)
    bound_line(process)
    process.send_signal(number)
    assert process.communicate(timeout=SECONDS) == ("", "")
    assert process.returncode == 0


def test_nobody_who_reads_what_sub_prints_ends_it_quietly(start_process, context):
    read, write = os.pipe()
    process = start_process("sub", "--bind", KERNEL, stdout=write)
    os.close(write)
    with context.socket(zmq.XPUB) as feed:
        feed.linger = 0
        feed.connect(bound_line(process))
        feed.recv()
        os.close(read)
        feed.send_multipart([b"t", b"1"])
        _, errors = process.communicate(timeout=SECONDS)
    assert (process.returncode, errors) == (1, "")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no disk is always full here")
def test_a_full_disk_ends_sub_with_a_clear_line(start_process, context):
    with open("/dev/full", "wb") as full:
        process = start_process("sub", "--bind", KERNEL, stdout=full)
    with context.socket(zmq.XPUB) as feed:
        feed.linger = 0
        feed.connect(bound_line(process))
        feed.recv()
        feed.send_multipart([b"t", b"1"])
        _, errors = process.communicate(timeout=SECONDS)
    complaint = "Error: cannot write to standard output: No space left on device\n"
    assert (process.returncode, errors) == (1, complaint)


# With a guard


def test_a_stamped_feed_is_printed_without_its_stamps(start_process):
    publisher = start_process("serve", "snail-pub", "--backend", KERNEL, "--rate", "200")
    (endpoint,) = ready_line(publisher)
    reading = start_process("sub", "-v", "--connect", endpoint, "--count", "20", "--snail", "5")
    out, errors = reading.communicate(timeout=SECONDS)
    assert (reading.returncode, errors) == (0, "")
    first = int(out.split()[1])
    assert out.splitlines() == [f"tick {number}" for number in range(first, first + 20)]
    publisher.terminate()
    assert publisher.wait(SECONDS) == 0


def test_sn_6_a_snail_squawks_and_dies_with_70(start_process, context):
    """Its publisher is stopped: silence is the quickest way to become a snail."""
    operator, squawks = bound(context, zmq.PULL)
    publisher = start_process("serve", "snail-pub", "--backend", KERNEL, "--publisher", "mine")
    (endpoint,) = ready_line(publisher)
    with operator:
        snail = start_process("sub", "--connect", endpoint, "--snail", "1.0", "--squawk", squawks)
        assert snail.stdout.readline().strip().isdigit()
        publisher.kill()
        topic, body = operator.recv_multipart()
        _, errors = snail.communicate(timeout=SECONDS)
    squawk = json.loads(body)
    assert topic == b"SNAIL1"
    assert (squawk["reason"], squawk["publisher"], squawk["recovered"]) == (
        "stalled",
        "mine",
        False,
    )
    assert snail.returncode == 70
    assert errors.startswith("Error: stalled: publisher mine, ")


def test_snail_pub_stamps_a_plain_feed(start_process, context):
    front, endpoint = bound(context, zmq.XPUB)
    publisher = start_process("serve", "snail-pub", "--backend", KERNEL, "--frontend", endpoint)
    (behind,) = ready_line(publisher)
    with front, context.socket(zmq.SUB) as reader:
        assert front.recv() == b"\x01"
        reader.linger, reader.rcvtimeo = 0, 200
        reader.subscribe(b"a")
        reader.connect(behind)
        for _ in range(100):
            front.send_multipart([b"a", b"body"])
            if reader.poll(100):
                break
        topic, body, stamp = reader.recv_multipart()
    assert (topic, body) == (b"a", b"body")
    assert decode_stamp(stamp).sequence >= 1


def test_no_message_is_printed_after_the_last_one_asked_for():
    class Loop:
        def call_soon(self, callback):
            pass

    class Reactor:
        loop = Loop()
        stopped = 0

        def now(self):
            return 0.0

        def stop(self):
            self.stopped += 1

    lines = []

    class Out:
        write = staticmethod(lines.append)

    printer = sub._Printer(sub._as_text(False), 1, None)
    printer._reactor, printer._out = Reactor(), Out()
    for _ in range(3):
        printer.print([b"t", b"1"])
    assert lines == [b"1\n"]


@pytest.mark.parametrize(
    "options",
    [
        ("--snail", "1"),
        ("--bind", KERNEL),
        ("--connect", "tcp://127.0.0.1:1", "--connect", "tcp://127.0.0.1:2"),
    ],
)
def test_a_conflating_subscriber_connects_to_one_cache(reactor_command, options):
    result = reactor_command("sub", "--conflate", *options)
    assert result.exit_code == 2
    assert "--conflate" in result.stderr


def test_a_conflating_subscriber_of_a_topic_that_is_too_long_is_wrong_usage(reactor_command):
    result = reactor_command("sub", "--conflate", "a" * 256)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "255 bytes" in result.stderr


def test_a_conflating_subscriber_without_a_cache_has_no_answer(reactor_command):
    result = reactor_command(
        "sub", "--conflate", "--connect", KERNEL.replace("*", "1"), "--timeout", "0.2"
    )
    assert result.exit_code == 3
