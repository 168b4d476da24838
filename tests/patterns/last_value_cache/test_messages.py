"""The wire of subscribers by credit: what is encoded comes back, everything else is refused."""

import pytest

from patterns.last_value_cache.messages import (
    Join,
    MalformedMessage,
    decode_credit,
    decode_join,
    encode_credit,
    encode_join,
)


def test_a_join_on_the_wire():
    frames = encode_join(Join(100, (b"a", b"")))
    assert frames == (b"JOIN", b"\x00\x00\x00\x64", b"a", b"")
    assert decode_join(frames) == Join(100, (b"a", b""))


def test_a_prefix_counts_once():
    assert decode_join(encode_join(Join(1, (b"a", b"a")))).prefixes == (b"a",)


def test_a_credit_on_the_wire():
    assert encode_credit(10_000) == (b"CREDIT", b"\x00\x00\x27\x10")
    assert decode_credit(encode_credit(10_000)) == 10_000


@pytest.mark.parametrize(
    "frames",
    [
        (b"JOIN",),
        (b"JOIN", bytes(4)),
        (b"JOIN", bytes(4), b"a"),
        (b"JOIN", b"\x01", b"a"),
        (b"JOIN", b"\x00\x00\x27\x11", b"a"),
        (b"JOIN", b"\x00\x00\x00\x01", bytes(256)),
        (b"JOIN", b"\x00\x00\x00\x01", *[b"a"] * 1001),
    ],
)
def test_a_join_that_is_none(frames):
    with pytest.raises(MalformedMessage):
        decode_join(frames)


@pytest.mark.parametrize(
    "frames", [(b"CREDIT",), (b"CREDIT", b"1"), (b"CREDIT", bytes(4)), (b"CREDIT", b"", b"")]
)
def test_a_credit_that_is_none(frames):
    with pytest.raises(MalformedMessage):
        decode_credit(frames)
