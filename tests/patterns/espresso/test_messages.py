"""Records and status on a tap's endpoint."""

import pytest

from patterns.espresso.messages import (
    NotARecord,
    Style,
    TappedRecord,
    decode,
    decode_status,
    encode,
    encode_status,
    printable,
    subscription,
)
from patterns.espresso.protocol import Direction, Kind, Record

MESSAGE = Record(5.0, Kind.MESSAGE, (b"A", b"body"))
SUBSCRIBE = Record(5.0, Kind.SUBSCRIBE, (b"\x01A",))


@pytest.mark.parametrize("record", [MESSAGE, SUBSCRIBE])
def test_a_record_comes_back(record):
    frames = encode(record, 7, 1.5e9, Style.RECORD)
    assert decode(frames) == TappedRecord(7, 1.5e9, record.kind, record.frames)


def test_a_reader_chooses_by_direction_and_topic():
    assert encode(MESSAGE, 1, 0.0, Style.RECORD)[0] == b">A"
    assert encode(SUBSCRIBE, 1, 0.0, Style.RECORD)[0] == b"<A"
    assert subscription(b"A", None) == (b">A", b"<A")
    assert subscription(b"A", Direction.DOWN) == (b">A",)
    assert subscription(b"", Direction.UP) == (b"<",)


@pytest.mark.parametrize(
    "frames",
    [
        [],
        [b">A"],
        [b">A", b"short", b"A"],
        [b">A", bytes([2]) + bytes(17), b"A"],
        [b">A", bytes([1, 9]) + bytes(16), b"A"],
        [b">A", bytes([1]) + bytes(17)],
    ],
)
def test_what_is_no_record_is_refused(frames):
    with pytest.raises(NotARecord):
        decode(frames)


def test_a_status_comes_back():
    assert decode_status(encode_status({"a": [1]})) == {"a": [1]}


@pytest.mark.parametrize(
    "frames", [[b"!status"], [b"!status", b"{"], [b"!status", b"[]"], [b"x", b"{}"]]
)
def test_what_is_no_status_is_refused(frames):
    with pytest.raises(NotARecord):
        decode_status(frames)


def test_bytes_are_shown_without_harm_to_a_terminal():
    assert printable("Käse".encode()) == "Käse"
    assert printable(b"\xff\x1b[2J\n") == "\\xff\\x1b[2J\\n"
