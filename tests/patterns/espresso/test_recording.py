"""The file format: whole records come back, damage is never more than the tail."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from patterns.espresso import recording
from patterns.espresso.protocol import Kind, Record
from patterns.espresso.record_file import RecordFile
from patterns.espresso.recording import (
    HEADER_BYTES,
    Entry,
    Reader,
    RecordingError,
    encode_header,
    encode_record,
)

RECORDS = [
    Record(100.0, Kind.SUBSCRIBE, (b"\x01A",)),
    Record(100.25, Kind.MESSAGE, (b"A", b"body")),
    Record(100.5, Kind.MESSAGE, (b"A", b"", b"x" * 20)),
    Record(101.0, Kind.UNSUBSCRIBE, (b"\x00A",)),
]


def encoded(records=RECORDS, began=100.0) -> bytes:
    return encode_header(1.5e9) + b"".join(encode_record(record, began) for record in records)


def entries(records=RECORDS, began=100.0) -> list[Entry]:
    return [Entry(r.when - began, r.kind, r.frames) for r in records]


def read(data: bytes) -> tuple[list[Entry], Reader]:
    reader = Reader(io.BytesIO(data).read)
    return list(reader), reader


def test_what_is_written_is_read():
    found, reader = read(encoded())
    assert found == entries()
    assert (reader.wall, reader.torn_bytes, reader.good_bytes) == (1.5e9, 0, len(encoded()))


def test_the_bytes_are_those_of_the_documentation():
    assert encode_record(RECORDS[1], 100.0).hex() == (
        "19000000"  # length: 25 bytes follow the crc
        + "63329acc"  # crc
        + "80b2e60e00000000"  # 250,000,000 ns
        + "00" + "00" + "0200"  # a message of two frames
        + "01000000" + "04000000" + "41" + "626f6479"
    )  # fmt: skip


def test_a_header_is_24_bytes_and_a_checksum():
    assert encode_header(1.5e9).hex() == (
        "455350524553534f" "0100" "0000" "1c000000" "0000167b0d12d114" "a752dfb2"
    )  # fmt: skip
    assert HEADER_BYTES == 28


@pytest.mark.parametrize("cut", range(HEADER_BYTES, len(encoded())))
def test_a_torn_tail_costs_only_the_record_it_is_in(cut):
    found, reader = read(encoded()[:cut])
    whole = [n for n in range(len(RECORDS) + 1) if len(encoded(RECORDS[:n])) <= cut][-1]
    assert found == entries(RECORDS[:whole])
    assert reader.good_bytes == len(encoded(RECORDS[:whole]))
    assert reader.good_bytes + reader.torn_bytes == cut


@pytest.mark.parametrize("at", range(len(encoded(RECORDS[:2])), len(encoded(RECORDS[:3]))))
def test_a_damaged_record_ends_the_reading_before_it(at):
    data = bytearray(encoded())
    data[at] ^= 0x40
    found, reader = read(bytes(data))
    assert found == entries(RECORDS[:2])
    assert reader.good_bytes == len(encoded(RECORDS[:2]))
    assert reader.torn_bytes > 0


def test_zeros_behind_the_records_are_a_torn_tail():
    found, reader = read(encoded() + bytes(4096))
    assert (found, reader.torn_bytes) == (entries(), 4096)


def test_a_record_larger_than_a_block_is_read(monkeypatch):
    monkeypatch.setattr(recording, "READ_BYTES", 16)
    big = [*RECORDS, Record(102.0, Kind.MESSAGE, (b"B", b"y" * 1000)), RECORDS[3]]
    assert read(encoded(big))[0] == entries(big)


def test_reading_takes_constant_memory():
    size = 40_000
    sizes: list[int] = []
    source = io.BytesIO(encoded([RECORDS[1]] * size))

    def read_some(count: int) -> bytes:
        sizes.append(count)
        return source.read(count)

    assert sum(1 for _ in Reader(read_some)) == size
    assert max(sizes) == recording.READ_BYTES
    assert len(sizes) > 3


def test_a_length_in_a_broken_file_makes_nobody_allocate_it():
    asked: list[int] = []
    source = io.BytesIO(encode_header(0.0) + b"\xff\xff\xff\x7f" + bytes(100))

    def read_some(count: int) -> bytes:
        asked.append(count)
        return source.read(count)

    assert list(Reader(read_some)) == []
    assert max(asked) <= recording.READ_BYTES


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "no recording"),
        (b"something else entirely, long enough", "no recording"),
        (encode_header(0.0)[:-1], "no recording"),
        (encode_header(0.0)[:-1] + b"!", "damaged"),
        (b"ESPRESSO\x02" + encode_header(0.0)[9:], "version 2"),
    ],
)
def test_a_file_that_is_no_recording_is_refused(data, says):
    with pytest.raises(RecordingError, match=says):
        Reader(io.BytesIO(data).read)


def test_a_record_that_is_too_long_is_refused():
    with pytest.raises(ValueError, match="too long"):
        encode_record(Record(0.0, Kind.MESSAGE, (b"",) * 65_536), 0.0)


@given(
    st.lists(
        st.tuples(
            st.integers(0, 10**15),
            st.sampled_from(Kind),
            st.lists(st.binary(max_size=40), min_size=1, max_size=12).map(tuple),
        )
    )
)
def test_any_frames_come_back(made):
    records = [Record(offset / 1e6, kind, frames) for offset, kind, frames in made]
    found = read(encoded(records, began=0.0))[0]
    assert [(e.kind, e.frames) for e in found] == [(r.kind, r.frames) for r in records]
    for entry, record in zip(found, records, strict=True):
        assert abs(entry.offset - record.when) <= 1e-6 + record.when * 1e-12


def test_a_file_is_not_overwritten_unless_asked(tmp_path):
    path = tmp_path / "a.esp"
    path.write_bytes(b"precious")
    with pytest.raises(FileExistsError):
        RecordFile(path).open(0.0, 0.0)
    assert path.read_bytes() == b"precious"
    file = RecordFile(path, overwrite=True)
    file.open(100.0, 1.5e9)
    assert file.write(RECORDS[0])
    file.close()
    assert not file.write(RECORDS[1])
    assert path.read_bytes() == encoded(RECORDS[:1])


def test_a_file_holds_max_bytes_and_no_half_record(tmp_path):
    path = tmp_path / "a.esp"
    file = RecordFile(path, max_bytes=len(encoded(RECORDS[:2])) + 5)
    file.open(100.0, 1.5e9)
    assert [file.write(record) for record in RECORDS[:3]] == [True, True, False]
    file.close()
    assert path.read_bytes() == encoded(RECORDS[:2])


def test_records_written_together_are_those_written_alone(tmp_path):
    path = tmp_path / "a.esp"
    file = RecordFile(path)
    file.open(100.0, 1.5e9)
    early = Record(99.0, Kind.MESSAGE, (b"A", b"before the beginning"))
    for record in [early, *RECORDS] * 60:
        file.append(*record)
    assert file.written == 300
    file.append(*RECORDS[0])
    assert file.written == 300  # it waits for others
    file.close()
    assert file.written == 301
    assert path.read_bytes() == encoded([early, *RECORDS] * 60 + RECORDS[:1])


def test_a_batch_that_does_not_fit_is_written_up_to_the_limit(tmp_path):
    path = tmp_path / "a.esp"
    file = RecordFile(path, max_bytes=len(encoded(RECORDS[:2])) + 5)
    file.open(100.0, 1.5e9)
    for record in RECORDS:
        file.append(*record)
    file.close()
    assert (file.written, file.refused, file.full) == (2, 2, True)
    assert path.read_bytes() == encoded(RECORDS[:2])


def test_a_record_that_is_too_long_is_left_out(tmp_path, monkeypatch):
    monkeypatch.setattr(recording, "MAX_RECORD_BYTES", 100)
    path = tmp_path / "a.esp"
    file = RecordFile(path)
    file.open(100.0, 1.5e9)
    long = Record(100.0, Kind.MESSAGE, (b"A", b"x" * 100))
    for record in (RECORDS[0], long, RECORDS[1]):
        file.append(*record)
    file.close()
    assert (file.written, file.refused, file.full) == (2, 1, False)
    assert path.read_bytes() == encoded(RECORDS[:2])


def test_a_failed_write_closes_the_file():
    file = RecordFile("/dev/full", overwrite=True)
    file.open(100.0, 1.5e9)
    assert file.write(RECORDS[0])  # in the buffer
    with pytest.raises(OSError):
        file.flush()
    assert not file.write(RECORDS[1])
    file.close()
