"""Batches and reports survive the wire; anything else is refused."""

from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from patterns.black_box.messages import (
    DONE,
    WORK,
    Done,
    MalformedMessage,
    decode_done,
    decode_work,
    encode_done,
    encode_work,
)

messages = st.lists(st.lists(st.binary(max_size=40), min_size=1, max_size=4), min_size=1)


@given(st.integers(0, 2**63), messages)
def test_a_batch_comes_out_as_it_went_in(first, batch):
    assert decode_work(encode_work(first, batch)) == (first, batch)


def test_a_batch_costs_five_frames_however_many_messages_it_has():
    assert len(encode_work(0, [[b"key", b"body"]] * 500)) == 5


def numbers(*values: int) -> bytes:
    return array("I", values).tobytes()


@pytest.mark.parametrize(
    "frames",
    [
        [WORK],
        [WORK, bytes(7), numbers(1), numbers(1), b"x"],
        [WORK, bytes(8), numbers(1), numbers(2), b"x"],
        [WORK, bytes(8), numbers(1), numbers(1)[:3], b"x"],
        [WORK, bytes(8), b"", numbers(1), b"x"],
        [WORK, bytes(8), numbers(0), numbers(1), b"x"],
        [WORK, bytes(8), numbers(2), numbers(1), b"x"],
        [WORK, bytes(8), numbers(1, 2), numbers(1), b"x"],
    ],
)
def test_a_batch_that_does_not_add_up_is_refused(frames):
    with pytest.raises(MalformedMessage):
        decode_work(frames)


@given(st.integers(0, 2**63), st.integers(0, 2**63))
def test_a_report_comes_out_as_it_went_in(one, other):
    report = Done(max(one, other), min(one, other))
    assert decode_done(encode_done(report)) == report


@pytest.mark.parametrize("frames", [[DONE], [DONE, bytes(15)], [DONE, bytes(16), b""]])
def test_a_report_of_another_shape_is_refused(frames):
    with pytest.raises(MalformedMessage):
        decode_done(frames)


def test_a_report_of_more_failures_than_messages_is_refused():
    with pytest.raises(MalformedMessage):
        decode_done(encode_done(Done(1, 2)))
