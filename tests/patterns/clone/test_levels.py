"""Levels of acknowledgement: what a write is told depends on how many servers hold it."""

import pytest

from patterns.clone.levels import (
    APPLIED,
    REPLICATED,
    check_level,
    decode_level,
    with_level,
    without_level,
)
from patterns.clone.messages import MalformedMessage

# On the wire


@pytest.mark.parametrize("level", [APPLIED, REPLICATED])
@pytest.mark.parametrize("others", [b"", b"ttl=5\n", b"ttl=5", b"ttl=5\nx-ack=1\n"])
def test_a_level_survives_the_wire_and_is_taken_off_the_value(others, level):
    frame = with_level(others, level)
    assert decode_level(frame) == level
    assert decode_level(others) is None
    assert without_level(frame) == (others and others.rstrip(b"\n") + b"\n")
    assert without_level(others) == without_level(frame)


def test_the_level_is_found_wherever_it_stands():
    assert decode_level(b"ttl=5\nack=replicated\nif-sequence=0\n") == REPLICATED
    assert decode_level(b"ack=replicated") == REPLICATED
    assert without_level(b"ack=applied\nttl=5\n") == b"ttl=5\n"


@pytest.mark.parametrize(
    "frame",
    [b"ack=\n", b"ack=Replicated\n", b"ack=all\n", b"ack=1\n", b"ack=applied\nack=applied\n"],
)
def test_what_is_no_level_is_malformed(frame):
    with pytest.raises(MalformedMessage):
        decode_level(frame)


def test_what_is_no_level_is_told_to_who_asks_for_it():
    check_level("applied")
    check_level("replicated")
    with pytest.raises(ValueError, match="'sometimes' is neither 'applied' nor 'replicated'"):
        check_level("sometimes")
