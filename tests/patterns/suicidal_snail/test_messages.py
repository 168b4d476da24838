"""The frames: to the byte as documented, and nothing else is taken for one."""

import json
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from patterns.suicidal_snail import messages
from patterns.suicidal_snail.messages import (
    Beat,
    MalformedMessage,
    Squawk,
    Stamp,
    decode_beat,
    decode_interest,
    decode_squawk,
    decode_stamp,
    encode_beat,
    encode_interest,
    encode_origin,
    encode_squawk,
    encode_stamp,
    interest_of,
    publisher_text,
)

SQUAWK = Squawk("host:1", "feed", "late", False, 1.5, 0.0, 10, 2, 1e9)


def test_a_stamp_is_the_documented_struct():
    frame = encode_stamp(encode_origin(b"feed-one", 7), 9, 1.5)
    assert frame == b"\xa5SN1" + struct.pack(">I8sQQ", 7, b"feed-one", 9, 1_500_000)
    assert len(frame) == 32
    assert decode_stamp(frame) == Stamp(b"feed-one", 7, 9, 1.5)


def test_a_beat_is_the_documented_struct():
    beat = Beat(Stamp(b"feed-one", 7, 9, 1.5), 3, 4)
    frame = encode_beat(beat)
    assert frame == b"\xa5SB1" + struct.pack(">I8sQQQQ", 7, b"feed-one", 9, 1_500_000, 3, 4)
    assert decode_beat(frame) == beat


def test_an_interest_is_the_documented_topic():
    assert encode_interest((b"a", b"bc")) == b"\x00snail\x00\x00\x01a\x00\x02bc\xff\xff"


def test_sn_1_what_is_received_is_a_struct_or_json_and_nothing_is_run():
    source = Path(messages.__file__).read_text()
    assert "pickle" not in source and "eval" not in source and "marshal" not in source
    bomb = b"cos\nsystem\n(S'true'\ntR."
    for decode in (decode_stamp, decode_beat, decode_interest):
        with pytest.raises(MalformedMessage):
            decode(bomb)
    with pytest.raises(MalformedMessage):
        decode_squawk([b"SNAIL1", bomb])


@given(st.binary(max_size=80))
def test_any_bytes_are_decoded_or_malformed(frame):
    for decode in (decode_stamp, decode_beat, decode_interest):
        for head in (b"", b"\xa5SN1", b"\xa5SB1", b"\x00snail\x00"):
            try:
                decode(head + frame)
            except MalformedMessage:
                pass


@given(st.lists(st.binary(max_size=6), min_size=1, max_size=5), st.binary(max_size=8))
def test_an_interest_matches_what_its_prefixes_match(prefixes, topic):
    interest = decode_interest(encode_interest(interest_of(prefixes)))
    assert topic.startswith(interest) == topic.startswith(tuple(prefixes))


@given(
    st.lists(st.binary(max_size=4), min_size=1, max_size=3),
    st.lists(st.binary(max_size=4), min_size=1, max_size=3),
)
def test_no_topic_of_beats_begins_with_another(some, others):
    one, other = interest_of(some), interest_of(others)
    assert encode_interest(one).startswith(encode_interest(other)) == (one == other)


def test_an_interest_beyond_the_limit_is_refused():
    with pytest.raises(ValueError, match="4096"):
        encode_interest(interest_of(b"%04d" % number for number in range(1000)))
    with pytest.raises(ValueError, match="65534"):
        encode_interest((b"x" * 65535,))


def test_stamps_of_one_publisher_are_in_the_order_of_their_sequence():
    origin = encode_origin(b"feed-one", 7)
    stamps = [encode_stamp(origin, number, 1.0) for number in (1, 255, 256, 65536, 2**40)]
    assert sorted(stamps) == stamps


def test_a_squawk_says_what_it_said():
    assert decode_squawk(list(encode_squawk(SQUAWK))) == SQUAWK


@pytest.mark.parametrize(
    "change",
    [
        {"age": float("nan")},
        {"age": "1"},
        {"age": True},
        {"lost": 1.5},
        {"recovered": 0},
        {"subscriber": None},
        {"subscriber": "x" * 5000},
    ],
)
def test_a_squawk_with_a_wrong_field_is_malformed(change):
    topic, body = encode_squawk(SQUAWK)
    with pytest.raises(MalformedMessage):
        decode_squawk([topic, json.dumps({**json.loads(body), **change}).encode()])


@pytest.mark.parametrize(
    "frames",
    [[], [b"SNAIL1"], [b"SNAIL2", b"{}"], [b"SNAIL1", b"[]"], [b"SNAIL1", b"[" * 4000]],
)
def test_anything_else_is_no_squawk(frames):
    with pytest.raises(MalformedMessage):
        decode_squawk(frames)


@pytest.mark.parametrize(
    ("publisher", "text"),
    [
        (b"feed\0\0\0\0", "feed"),
        (b"\x01\x02\x03\x04\x05\x06\x07\x08", "0102030405060708"),
        (b"a\xffb\0\0\0\0\0", "61ff620000000000"),
    ],
)
def test_a_publisher_has_a_name_that_can_be_printed(publisher, text):
    assert publisher_text(publisher) == text
