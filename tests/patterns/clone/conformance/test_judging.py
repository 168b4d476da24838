"""What single messages prove, message by message."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from patterns.clone.conformance import judging
from patterns.clone.conformance.clauses import (
    HUGZ_FORM,
    Deviation,
    Outcome,
    conclude,
)
from patterns.clone.conformance.session import MAX_KEPT, Answer, Session

ZERO = bytes(8)


def numbered(key, number, body=b"1", uuid=b""):
    return (key, number.to_bytes(8), uuid, b"", body)


def texts(deviations):
    return [(d.outcome.value, d.seen) for d in deviations]


def test_the_sequence_of_the_guide_in_python_s_kvsimple_is_too_short():
    frames = (b"key", bytes(4), b"", b"", b"1")
    assert texts(judging.judge_kvpub(frames)) == [("fail", "a sequence of 4 bytes")]


def test_three_frames_are_named_for_what_they_are():
    (deviation,) = judging.judge_kvsync((b"key", ZERO, b"1"))
    assert deviation.seen == "3 frames, the simple form of the Guide's models 2 to 4"


def test_numbers_must_grow():
    publications = [numbered(b"a", 5), numbered(b"b", 7), numbered(b"a", 7), numbered(b"a", 8)]
    assert texts(judging.judge_sequences(publications)) == [("fail", "7 after 7")]


def test_number_zero_without_uuid_and_value_changes_no_client():
    publications = [numbered(b"a", 5), numbered(b"/a/", 0, b""), numbered(b"a", 6)]
    assert [d.outcome for d in judging.judge_sequences(publications)] == [Outcome.NOTE]
    publications[1] = numbered(b"/a/", 0, b"", b"u" * 16)
    assert [d.outcome for d in judging.judge_sequences(publications)] == [Outcome.FAIL]


@pytest.mark.parametrize(
    ("entries", "says"),
    [
        ([numbered(b"/a/x", 1)], []),
        ([], ["'/a/x' is missing"]),
        ([numbered(b"/a/x", 1, b"2")], ["'/a/x' is '2', not '1'"]),
        ([numbered(b"/a/x", 1)] * 2, ["'/a/x' twice"]),
        ([numbered(b"/a/x", 1), numbered(b"/b/x", 1)], ["'/b/x' is outside of '/a/'"]),
    ],
)
def test_a_snapshot_holds_what_was_asked_for(entries, says):
    found = judging.judge_entries(entries, b"/a/", {b"/a/x": b"1"})
    assert texts(found) == [("fail", each) for each in says]


def test_the_end_must_not_be_older_than_an_entry():
    entries = [numbered(b"a", 3), numbered(b"b", 7)]
    ends = [numbered(b"KTHXBAI", number, b"") for number in (6, 7, 8)]
    outcomes = [[d.outcome for d in judging.judge_end_sequence(entries, end)] for end in ends]
    assert outcomes == [[Outcome.FAIL], [], [Outcome.NOTE]]


def test_the_worst_outcome_counts_and_everything_is_named_once():
    deviations = [
        Deviation(Outcome.NOTE, "odd"),
        Deviation(Outcome.FAIL, "wrong"),
        Deviation(Outcome.NOTE, "odd"),
    ]
    finding = conclude(HUGZ_FORM, deviations, "fine")
    assert (finding.outcome, finding.seen) == (Outcome.FAIL, "odd; wrong")
    assert conclude(HUGZ_FORM, [], "fine").outcome is Outcome.PASS


@given(st.lists(st.binary(max_size=20), max_size=7))
def test_whatever_a_server_sends_can_be_judged(frames):
    for judge in (judging.judge_kvsync, judging.judge_kvpub, judging.judge_hugz):
        assert all(d.seen for d in judge(frames))
    assert all(d.seen for d in judging.judge_snapshot_end(frames, b"/a/"))


def test_what_is_shown_is_short_and_printable():
    assert judging.shown(b"\x1b[31m") == "'\\x1b[31m'"
    assert len(judging.shown(bytes(10_000))) < 100


def test_of_a_server_s_own_data_little_is_kept_and_all_is_counted():
    answer = Answer(b"/chp-check/")
    for number in range(2 * MAX_KEPT):
        answer.receive(numbered(b"/other/%d" % number, 1))
    answer.receive(numbered(b"/chp-check/x", 1))
    assert answer.count == 2 * MAX_KEPT + 1
    assert len(answer.entries) < MAX_KEPT
    assert answer.entries[-1][0] == b"/chp-check/x"


def test_of_what_a_server_publishes_so_much_is_kept():
    session = Session(b"/a/", lambda: bytes(16), 1.0)
    for number in range(MAX_KEPT + 10):
        session.receive_published(numbered(b"/a/x", number), 0.0)
        session.receive_published(numbered(b"HUGZ", 0, b""), 0.0)
    assert len(session.publications) == len(session.beats) == MAX_KEPT
