"""The words of RFC 12: what is sent, and that nothing malformed gets through."""

import struct
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from patterns.clone.messages import (
    HUGZ,
    ICANHAZ,
    KTHXBAI,
    MAX_COUNTER,
    MAX_EPOCH,
    MAX_KEY,
    MAX_PROPERTIES,
    MAX_PROPERTY_COUNT,
    MAX_TTL,
    KVMessage,
    MalformedMessage,
    check_message,
    check_update,
    counter_of,
    decode_epoch_notice,
    decode_heartbeat,
    decode_number,
    decode_refusal,
    decode_snapshot_end,
    decode_snapshot_request,
    decode_ttl,
    decode_update,
    encode_properties,
    encode_sequence,
    epoch_at,
    epoch_notice,
    epoch_of,
    heartbeat,
    is_snapshot_end,
    make_sequence,
    parse_properties,
    refusal,
    replace_sequence,
    replace_ttl,
    sequence_of,
    snapshot_end,
    snapshot_request,
    whole_seconds,
)

UUID = bytes(range(16))
UPDATE = (b"/a", bytes(8), UUID, b"ttl=5\n", b"body")

names = st.from_regex(r"[A-Za-z0-9_.-]{1,20}", fullmatch=True)
values = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E, exclude_characters="="))
messages = st.builds(
    KVMessage,
    key=st.binary(min_size=1, max_size=MAX_KEY),
    sequence=st.integers(0, 2**63 - 1),
    uuid=st.one_of(st.just(b""), st.binary(min_size=16, max_size=16)),
    properties=st.dictionaries(names, values, max_size=5).map(encode_properties),
    body=st.binary(max_size=100),
)


def replaced(position, frame):
    return [*UPDATE[:position], frame, *UPDATE[position + 1 :]]


class TestMessage:
    def test_kv_5_frames_are_key_eight_byte_sequence_uuid_properties_body(self):
        message = KVMessage(b"/a", 1 << 40 | 2, UUID, b"ttl=5\n", b"body")
        sequence = b"\x00\x00\x01\x00\x00\x00\x00\x02"
        assert message.encode() == (b"/a", sequence, UUID, b"ttl=5\n", b"body")

    @given(messages)
    def test_decoding_inverts_encoding(self, message):
        assert KVMessage.decode(message.encode()) == message

    @given(st.lists(st.binary(max_size=20), max_size=9))
    def test_kv_4_any_frames_decode_or_are_malformed(self, frames):
        try:
            message = KVMessage.decode(frames)
        except MalformedMessage:
            return
        assert message.encode() == tuple(frames)

    @pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 6, 9])
    def test_kv_4_another_number_of_frames_is_malformed(self, count):
        with pytest.raises(MalformedMessage, match=f"{count} frames"):
            check_message((UPDATE * 2)[:count])

    @pytest.mark.parametrize(
        ("position", "frame"),
        [
            (0, b""),
            (0, b"k" * 256),
            (1, b""),
            (1, bytes(4)),
            (1, bytes(7)),
            (1, bytes(9)),
            (1, struct.pack("!q", -1)),
            (2, b"u"),
            (2, bytes(15)),
            (2, bytes(17)),
            (3, b"no separator\n"),
            (3, b"=no name\n"),
            (3, b"a=1\n\nb=2\n"),
            (3, b"a=1\na=2\n"),
            (3, b"a=\xff\n"),
            (3, b"\n"),
            (3, b"a=" + bytes(MAX_PROPERTIES)),
            (3, b"".join(b"%d=x\n" % n for n in range(MAX_PROPERTY_COUNT + 1))),
            (4, bytes((1 << 20) + 1)),
        ],
    )
    def test_kv_4_a_frame_out_of_bounds_is_malformed(self, position, frame):
        with pytest.raises(MalformedMessage):
            check_message(replaced(position, frame))

    @pytest.mark.parametrize(
        ("position", "frame"),
        [
            (0, b"k"),
            (0, b"k" * 255),
            (1, struct.pack("!q", 2**63 - 1)),
            (2, b""),
            (3, b""),
            (3, b"".join(b"%d=x\n" % n for n in range(MAX_PROPERTY_COUNT))),
            (3, b"a=" + b"x" * (MAX_PROPERTIES - 3) + b"\n"),
            (4, b""),
            (4, bytes(1 << 20)),
        ],
    )
    def test_the_bounds_themselves_are_accepted(self, position, frame):
        frames = replaced(position, frame)
        assert KVMessage.decode(frames).encode() == tuple(frames)

    def test_the_limit_of_a_body_is_an_argument(self):
        check_message(UPDATE, max_body=4)
        with pytest.raises(MalformedMessage, match="body of 4 bytes, at most 3"):
            check_message(UPDATE, max_body=3)

    def test_forwarding_replaces_one_frame_and_copies_none(self):
        numbered = replace_sequence(UPDATE, 77)
        assert sequence_of(numbered) == 77
        assert all(numbered[n] is UPDATE[n] for n in (0, 2, 3, 4))

    def test_kv_9_an_empty_body_is_a_deletion(self):
        assert KVMessage(b"k").is_deletion
        assert not KVMessage(b"k", body=b"0").is_deletion


class TestThreeFrames:
    MESSAGE = KVMessage(b"/a", 1 << 28 | 2, body=b"body")

    @pytest.mark.parametrize("size", [4, 8])
    @given(
        st.binary(min_size=1, max_size=MAX_KEY), st.integers(0, 2**28 - 1), st.binary(max_size=9)
    )
    def test_decoding_inverts_encoding(self, size, key, sequence, body):
        message = KVMessage(key, sequence, body=body)
        frames = message.encode_simple(sequence_size=size)
        assert KVMessage.decode_simple(frames, sequence_size=size) == message

    def test_kv_5_the_epoch_has_no_room_in_four_bytes(self):
        assert self.MESSAGE.encode_simple()[1] == bytes([0, 0, 0, 0, 0x10, 0, 0, 2])
        assert self.MESSAGE.encode_simple(sequence_size=4)[1] == bytes([0, 0, 0, 2])

    @pytest.mark.parametrize("size", [4, 8])
    @given(frames=st.lists(st.binary(max_size=9), max_size=6))
    def test_kv_4_any_frames_decode_or_are_malformed(self, size, frames):
        try:
            message = KVMessage.decode_simple(frames, sequence_size=size)
        except MalformedMessage:
            return
        assert (message.key, message.body) == (frames[0], frames[2])

    @pytest.mark.parametrize("extra", [{"uuid": UUID}, {"properties": b"ttl=1\n"}])
    def test_what_has_no_place_is_not_left_out_in_silence(self, extra):
        with pytest.raises(ValueError, match="no place"):
            KVMessage(b"/a", body=b"1", **extra).encode_simple()


class TestUpdate:
    @pytest.mark.parametrize("key", [HUGZ, KTHXBAI, ICANHAZ, b""])
    def test_kv_11_a_reserved_key_is_refused(self, key):
        with pytest.raises(MalformedMessage):
            decode_update(replaced(0, key))

    def test_kv_12_a_key_that_a_c_peer_would_cut_is_refused(self):
        with pytest.raises(MalformedMessage, match="key of 256 bytes"):
            decode_update(replaced(0, b"k" * 256))

    def test_a_key_that_only_begins_with_a_reserved_one_is_a_key(self):
        assert decode_update(replaced(0, b"HUGZ/a")).key == b"HUGZ/a"

    def test_an_update_without_a_uuid_is_accepted(self):
        assert decode_update(replaced(2, b"")).uuid == b""

    def test_checking_gives_the_ttl(self):
        assert check_update(UPDATE) == 5.0
        assert check_update(replaced(3, b"")) is None
        assert decode_update(UPDATE).ttl == 5.0


class TestProperties:
    def test_kv_1_values_may_be_text_bytes_and_numbers(self):
        frame = encode_properties({"s": "x", "b": b"y", "i": 5, "f": 0.5})
        assert frame == b"s=x\nb=y\ni=5\nf=0.5\n"
        kinds = {"a": bytearray(b"x"), "m": memoryview(b"-y-")[1:2], "d": Decimal("0.50")}
        assert encode_properties(kinds) == b"a=x\nm=y\nd=0.50\n"

    @pytest.mark.parametrize("value", [None, [], object()])
    def test_kv_1_anything_else_is_an_error_where_it_is_set(self, value):
        with pytest.raises(TypeError, match="neither text nor bytes nor a number"):
            encode_properties({"n": value})

    def test_kv_2_a_value_with_an_equals_sign_is_read_whole(self):
        assert parse_properties(b"sig=a=b==\nn=1\n") == {"sig": "a=b==", "n": "1"}

    @pytest.mark.parametrize("value", ["x\nttl=9", "a=b", "\r", "\0", "\x7f", "ü", b"\xff"])
    def test_kv_3_a_value_cannot_smuggle_in_another_property(self, value):
        with pytest.raises(ValueError, match="cannot be the value"):
            encode_properties({"note": value})

    @pytest.mark.parametrize("name", ["", "a=b", "a\nb", "a b", "ü", "n" * 65])
    def test_a_name_is_made_of_letters_digits_and_few_marks(self, name):
        with pytest.raises(ValueError, match="cannot be the name"):
            encode_properties({name: 1})

    def test_too_many_properties_are_not_sent(self):
        with pytest.raises(ValueError, match="at most"):
            encode_properties({f"n{n}": n for n in range(MAX_PROPERTY_COUNT + 1)})
        with pytest.raises(ValueError, match="at most"):
            encode_properties({"n": "x" * MAX_PROPERTIES})

    @given(st.dictionaries(names, values, max_size=MAX_PROPERTY_COUNT))
    def test_parsing_inverts_encoding(self, properties):
        try:
            frame = encode_properties(properties)
        except ValueError:
            return  # too long
        assert parse_properties(frame) == properties

    def test_a_missing_last_newline_is_accepted(self):
        assert parse_properties(b"a=1\nb=2") == {"a": "1", "b": "2"}

    def test_the_newline_that_is_missing_counts(self):
        # Whoever rewrites the ttl ends the line, and must not pass the limit by that.
        with pytest.raises(MalformedMessage):
            parse_properties(b"a=" + b"x" * (MAX_PROPERTIES - 2))

    def test_values_may_be_any_text_on_receipt(self):
        assert parse_properties("note=Zürich\n".encode()) == {"note": "Zürich"}

    def test_a_number_is_decimal_or_malformed(self):
        assert decode_number({"n": "12"}, "n") == 12
        assert decode_number({}, "n") is None
        for text in ("", "-1", "+1", "1.0", "1e3", " 1", "٣", "9" * 20):
            with pytest.raises(MalformedMessage):
                decode_number({"n": text}, "n")


class TestTtl:
    @pytest.mark.parametrize(
        ("text", "ttl"),
        [("5", 5.0), ("0.5", 0.5), ("007", 7.0), ("1.000000001", 1.000000001)],
    )
    def test_an_integer_or_a_decimal_is_a_ttl(self, text, ttl):
        assert decode_ttl(f"ttl={text}\n".encode()) == ttl
        assert decode_ttl(b"ttl=%d\n" % MAX_TTL) == MAX_TTL

    @pytest.mark.parametrize("frame", [b"", b"a=1\n", b"ttl=0\n", b"ttl=0.0\n"])
    def test_no_ttl_or_zero_means_for_ever(self, frame):
        assert decode_ttl(frame) is None

    @pytest.mark.parametrize(
        "text",
        "abc nan inf -inf -1 +1 1e9 1e99 0x10 1_000 1. .5 ٣ 5s".split()
        + ["", " 5", "5 ", "1.0000000001", str(MAX_TTL + 1), "9" * 30],
    )
    def test_kv_7_anything_else_is_malformed(self, text):
        frame = f"ttl={text}\n".encode()
        with pytest.raises(MalformedMessage, match="ttl"):
            decode_ttl(frame)
        with pytest.raises(MalformedMessage, match="ttl"):
            check_update(replaced(3, frame))

    @pytest.mark.parametrize(
        ("ttl", "sent"), [(0.001, 1), (1.0, 1), (1.2, 2), (30, 30), (0, 1), (-3.5, 1)]
    )
    def test_a_ttl_is_sent_as_whole_seconds_rounded_up(self, ttl, sent):
        assert whole_seconds(ttl) == sent

    @pytest.mark.parametrize(
        ("before", "after"),
        [
            (b"", b"ttl=3\n"),
            (b"ttl=30\n", b"ttl=3\n"),
            (b"a=1\nttl=30\nb=x=y\n", b"a=1\nb=x=y\nttl=3\n"),
            (b"ttl=30\na=1", b"a=1\nttl=3\n"),
            (b"xttl=1\n", b"xttl=1\nttl=3\n"),
        ],
    )
    def test_replacing_a_ttl_keeps_the_other_lines(self, before, after):
        assert replace_ttl(before, 3) == after


class TestSequence:
    @given(st.integers(0, MAX_EPOCH), st.integers(0, MAX_COUNTER))
    def test_a_sequence_is_its_epoch_and_counter(self, epoch, counter):
        sequence = make_sequence(epoch, counter)
        assert (epoch_of(sequence), counter_of(sequence)) == (epoch, counter)
        assert check_message(replaced(1, encode_sequence(sequence))) == sequence

    def test_f5_a_later_epoch_is_greater_than_all_of_an_earlier_one(self):
        assert make_sequence(2, 0) > make_sequence(1, MAX_COUNTER)

    def test_a_counter_at_its_end_runs_into_the_next_epoch(self):
        assert make_sequence(1, MAX_COUNTER) + 1 == make_sequence(2, 0)

    @pytest.mark.parametrize(
        ("epoch", "counter"), [(-1, 0), (MAX_EPOCH + 1, 0), (0, -1), (0, MAX_COUNTER + 1)]
    )
    def test_bounds(self, epoch, counter):
        with pytest.raises(ValueError, match="outside"):
            make_sequence(epoch, counter)

    def test_m_11_a_restart_a_moment_later_has_a_higher_epoch(self):
        assert epoch_at(1_800_000_000.0625) == epoch_at(1_800_000_000) + 1
        assert epoch_at(0) == 0
        assert epoch_at(1e12) <= MAX_EPOCH


class TestCommands:
    def test_a_client_says_which_epoch_it_has_seen(self):
        subtree = decode_snapshot_request(epoch_notice(MAX_EPOCH))
        assert decode_epoch_notice(subtree) == MAX_EPOCH
        assert not b"HUG".startswith(subtree), "a key may lie in no such subtree"

    @pytest.mark.parametrize(
        "subtree",
        [b"", b"/a", HUGZ, b"HUGZ ", b"HUGZ x", b"HUGZ -1", b"HUGZ 1 1", b"HUGZ " + b"9" * 12],
    )
    def test_other_subtrees_say_nothing_of_epochs(self, subtree):
        assert decode_epoch_notice(subtree) == 0

    def test_a_snapshot_request_names_a_subtree_or_asks_for_everything(self):
        assert decode_snapshot_request([ICANHAZ, b"/a/"]) == b"/a/"
        assert decode_snapshot_request(snapshot_request(b"/a/")) == b"/a/"
        assert decode_snapshot_request([ICANHAZ, b""]) == b""

    def test_the_request_of_models_2_and_3_has_no_subtree(self):
        assert decode_snapshot_request([ICANHAZ]) == b""

    @pytest.mark.parametrize(
        "frames",
        [
            [],
            [b""],
            [b"ICANHAZ"],
            [b"icanhaz?", b""],
            [ICANHAZ, b"", b""],
            [b"", ICANHAZ],
            [ICANHAZ, b"x" * 256],
        ],
    )
    def test_s6_13_any_other_request_is_malformed(self, frames):
        with pytest.raises(MalformedMessage):
            decode_snapshot_request(frames)

    def test_r12_3_the_end_of_a_snapshot_has_the_subtree_in_its_body(self):
        frames = snapshot_end(9, b"/a/", b"chpx=1\nn=3\n")
        assert frames == (KTHXBAI, encode_sequence(9), b"", b"chpx=1\nn=3\n", b"/a/")
        end = decode_snapshot_end(frames)
        assert (end.sequence, end.subtree, end.entries, end.extended) == (9, b"/a/", 3, True)

    def test_the_end_of_a_guide_server_does_not_say_how_many(self):
        end = decode_snapshot_end((KTHXBAI, encode_sequence(9), UUID, b"", b""))
        assert (end.entries, end.extended) == (None, False)

    def test_a_malformed_end_is_not_taken_for_an_entry(self):
        frames = [KTHXBAI, bytes(8), b"", b"n=x\n", b""]
        assert is_snapshot_end(frames)
        assert not is_snapshot_end(UPDATE)
        assert not is_snapshot_end([])
        with pytest.raises(MalformedMessage):
            decode_snapshot_end(frames)
        with pytest.raises(MalformedMessage):
            decode_snapshot_end(UPDATE)

    def test_kv_6_r12_4_a_heartbeat_is_hugz_and_four_empty_fields(self):
        assert heartbeat() == (HUGZ, bytes(8), b"", b"", b"")

    def test_r12_4_a_heartbeat_may_carry_its_sequence_in_either_place(self):
        ours = decode_heartbeat(heartbeat(b"seq=9\n"))
        guide = decode_heartbeat((HUGZ, encode_sequence(9), UUID, b"", b""))
        strict = decode_heartbeat(heartbeat())
        assert (ours.sequence, guide.sequence, strict.sequence) == (9, 9, None)

    def test_the_heartbeat_of_a_subtree_counts_its_updates(self):
        beat = decode_heartbeat(heartbeat(b"seq=9\nn=4\n", b"/a/"))
        assert (beat.subtree, beat.sequence, beat.updates) == (b"/a/", 9, 4)
        assert decode_heartbeat(heartbeat(b"seq=9\n")).subtree == b""

    def test_a_refusal_reaches_its_writer_and_is_discarded_by_all_others(self):
        frames = refusal(UPDATE, "full")
        assert frames == (b"/a", bytes(8), UUID, b"refused=full\n", b"")
        assert decode_refusal(frames) == "full"
        assert decode_refusal(heartbeat()) == ""
