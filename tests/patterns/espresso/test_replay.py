"""Replay: the pace of the recording, nothing dropped; Recorder: what publishers send."""

import io

import pytest
import zmq

from patterns.espresso import Reader, Recorder, RecordFile, RecordingError, Replay, TapRecorder
from patterns.espresso.messages import Style, encode
from patterns.espresso.protocol import Kind, Record
from patterns.espresso.recording import encode_header, encode_record
from patterns.espresso.replaying import Timetable

ENDPOINT = "tcp://replay:1"


def recording(*offsets, topic=b"A"):
    records = [
        Record(offset, Kind.MESSAGE, (topic, b"%d" % number))
        for number, offset in enumerate(offsets)
    ]
    return io.BytesIO(encode_header(0.0) + b"".join(encode_record(r, 0.0) for r in records))


def subscriber(reactor, hwm=1000):
    """A subscriber that knows when each message came."""
    stream = reactor.open_stream(zmq.SUB, f">{ENDPOINT}", options={zmq.RCVHWM: hwm})
    got = []
    stream.on_message(lambda frames: got.append((round(reactor.now(), 3), frames[1])))
    stream.subscribe(b"")
    return stream, got


def test_the_timetable():
    table = Timetable(2.0)
    assert table.due_at(10.0, now=100.0) == 100.0
    assert table.due_at(11.0, now=100.0) == 100.5
    assert table.due_at(14.0, now=777.0) == 102.0
    assert Timetable(0).due_at(1e9, now=5.0) == 5.0
    with pytest.raises(ValueError):
        Timetable(-1)


@pytest.mark.parametrize(
    ("speed", "times"),
    [(1.0, [1.0, 1.5, 3.0]), (2.0, [1.0, 1.25, 2.0]), (0, [1.0, 1.0, 1.0])],
)
def test_messages_come_with_their_timing(fake_reactor, speed, times):
    done = []
    fake_reactor.register(
        Replay(recording(7.0, 7.5, 9.0), ENDPOINT, speed=speed, on_done=lambda: done.append(True))
    )
    fake_reactor.loop.advance(1.0)  # nobody is there yet
    _, got = subscriber(fake_reactor)
    fake_reactor.loop.advance(10.0)
    assert got == list(zip(times, [b"0", b"1", b"2"], strict=True))
    assert done == [True]


def test_a_full_subscriber_slows_the_replay_and_loses_nothing(fake_reactor):
    done = []
    replay = Replay(
        recording(*[0.0] * 200),
        ENDPOINT,
        speed=0,
        high_water_mark=5,
        on_done=lambda: done.append(True),
    )
    fake_reactor.register(replay)
    stream, got = subscriber(fake_reactor, hwm=5)
    stream.pause()
    fake_reactor.loop.advance(1.0)
    assert replay.sent <= 11 and not done
    stream.resume()
    fake_reactor.loop.advance(10.0)
    assert [body for _, body in got] == [b"%d" % n for n in range(200)]
    assert done == [True]


def test_a_part_of_a_recording(fake_reactor):
    fake_reactor.register(
        Replay(recording(0, 1, 2, 3), ENDPOINT, speed=0, begin=1.0, end=3.0, on_done=bool)
    )
    _, got = subscriber(fake_reactor)
    fake_reactor.loop.advance(1.0)
    assert [body for _, body in got] == [b"1", b"2"]


def test_subscriptions_in_a_recording_are_not_published(fake_reactor):
    data = encode_header(0.0) + b"".join(
        encode_record(record, 0.0)
        for record in (
            Record(0.0, Kind.SUBSCRIBE, (b"\x01A",)),
            Record(1.0, Kind.MESSAGE, (b"A", b"0")),
            Record(2.0, Kind.UNSUBSCRIBE, (b"\x00A",)),
        )
    )
    replay = Replay(io.BytesIO(data), ENDPOINT, on_done=bool)
    fake_reactor.register(replay)
    _, got = subscriber(fake_reactor)
    fake_reactor.loop.advance(1.0)
    assert [body for _, body in got] == [b"0"]
    assert replay.sent == 1


def test_it_waits_for_so_many_subscriptions(fake_reactor):
    fake_reactor.register(Replay(recording(0.0), ENDPOINT, wait_for=2, on_done=bool))
    _, first = subscriber(fake_reactor)
    fake_reactor.loop.advance(1.0)
    assert first == []
    _, second = subscriber(fake_reactor)
    fake_reactor.loop.advance(1.0)
    assert len(first) == len(second) == 1


def test_the_reactor_stops_at_the_end(fake_reactor):
    fake_reactor.register(Replay(recording(0.0, 1.0), ENDPOINT, wait_for=0))
    fake_reactor.loop.advance(5.0)
    assert fake_reactor.stopping


def test_no_recording_no_replay():
    with pytest.raises(RecordingError):
        Replay(io.BytesIO(b"hello"), ENDPOINT)


def read(path):
    with open(path, "rb") as file:
        reader = Reader(file.read)
        return reader.wall, [(round(e.offset, 6), e.kind, e.frames) for e in reader]


def test_a_recorder_is_a_subscriber_that_writes(fake_reactor, tmp_path):
    path = tmp_path / "a.esp"
    publisher = fake_reactor.open_stream(zmq.PUB, f"@{ENDPOINT}")
    fake_reactor.loop.advance(3.0)
    recorder = Recorder(RecordFile(path), ENDPOINT, (b"A",), wall_clock=lambda: 1.5e9, count=2)
    fake_reactor.register(recorder)
    fake_reactor.loop.advance(1.0)
    for topic in (b"A", b"B", b"A", b"A"):
        publisher.send(topic, b"body")
    fake_reactor.loop.advance(1.0)
    assert fake_reactor.stopping
    fake_reactor.close()
    expected = (1.0, Kind.MESSAGE, (b"A", b"body"))
    assert read(path) == (1.5e9, [expected, expected])


def test_a_recorder_stops_when_the_file_is_full(fake_reactor, tmp_path):
    publisher = fake_reactor.open_stream(zmq.PUB, f"@{ENDPOINT}")
    file = RecordFile(tmp_path / "a.esp", max_bytes=100)
    recorder = Recorder(file, ENDPOINT, wall_clock=lambda: 0.0)
    fake_reactor.register(recorder)
    fake_reactor.loop.run_pending()
    for _ in range(10):
        publisher.send(b"A", b"body")
    fake_reactor.loop.run_pending()
    fake_reactor.loop.advance(1.0)  # the next flush
    assert (file.full, recorder.recorded, file.refused) == (True, 2, 8)
    assert fake_reactor.stopping


def test_a_tap_is_recorded_with_the_times_of_the_proxy(fake_reactor, tmp_path):
    path = tmp_path / "a.esp"
    tap = fake_reactor.open_stream(zmq.PUB, f"@{ENDPOINT}")
    recorder = TapRecorder(RecordFile(path), ENDPOINT, wall_clock=lambda: 1.5e9)
    fake_reactor.register(recorder)
    fake_reactor.loop.advance(1.0)
    for sequence, record in enumerate(
        [Record(0.0, Kind.SUBSCRIBE, (b"\x01A",)), Record(0.0, Kind.MESSAGE, (b"A", b"x", b""))], 1
    ):
        tap.send(*encode(record, sequence, 1.5e9 + 10.0 + sequence, Style.RECORD))
    tap.send(b">A", b"not a record")
    fake_reactor.loop.advance(1.0)
    fake_reactor.close()
    assert read(path) == (
        1.5e9,
        [(11.0, Kind.SUBSCRIBE, (b"\x01A",)), (12.0, Kind.MESSAGE, (b"A", b"x", b""))],
    )
