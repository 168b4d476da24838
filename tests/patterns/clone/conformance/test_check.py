"""The check, in virtual time, of servers that keep the RFC and of servers that do not."""

import pytest
import structlog
import zmq

from patterns.clone.conformance.clauses import CLAUSES, Outcome
from patterns.clone.conformance.handlers import ConformanceCheck
from reactor import EndpointError

from ..services import BACKUP, PRIMARY, contents, update
from .chp_server import ChpServer

PASS, SKIP, NOTE, FAIL = Outcome.PASS, Outcome.SKIP, Outcome.NOTE, Outcome.FAIL


@pytest.fixture
def check(service):
    """Runs a check of a server to its end."""

    def run(endpoint=PRIMARY, **options):
        options = {"make_uuid": service.make_uuid, "timeout": 2.0, **options}
        check = service.run(ConformanceCheck(endpoint, **options), "check")
        with structlog.testing.capture_logs():  # of what the server refuses
            service.loop.run_until(lambda: check.protocol.finished, 120)
        service.loop.advance(5.0)
        return check.report()

    return run


def found(report, outcome):
    return {f.clause.name: f.seen for f in report.findings if f.outcome is outcome}


def finding(report, name):
    (finding,) = (f for f in report.findings if f.clause.name == name)
    return finding


# Servers that keep it


def test_a_server_that_keeps_the_rfc_to_the_letter_passes_even_strictly(service, check):
    server = service.run(ChpServer(), "server")
    report = check()
    assert {f.outcome for f in report.findings} == {PASS}
    assert report.conforms(strict=True) and report.answered
    assert server.entries == {}


def test_our_server_passes_with_notes_where_it_adds_properties(service, check):
    server = service.server()
    service.writer().send(*update(b"/other/key", b"1"))
    report = check()
    assert found(report, FAIL) == found(report, SKIP) == {}
    assert set(found(report, NOTE)) == {
        "hugz-form",
        "kvsync-form",
        "kthxbai-form",
        "kthxbai-sequence",
        "kvpub-sequence",
    }
    assert report.conforms() and not report.conforms(strict=True)
    assert contents(server) == {b"/other/key": b"1"}
    assert server.statistics().errors == 0


def test_the_active_server_of_a_pair_passes_and_the_passive_one_does_not_answer(service, check):
    _, backup = service.pair()
    assert check().conforms()
    assert contents(backup) == {}
    report = check(BACKUP)
    assert not report.answered
    assert found(report, FAIL) == {"snapshot-answer": "nothing within 2 s"}


def test_gentle_sends_nothing_malformed(service, check):
    server = service.server()
    report = check(gentle=True)
    assert set(found(report, SKIP).values()) == {"left out"}
    assert server.statistics().messages_refused == 0
    assert found(report, FAIL) == {}


def test_s6_12_gentle_writes_nothing_without_a_uuid(service, check):
    """S6-12: the passive server of a pair of the Guide's in C crashes on an update without one."""
    heard = service.subscriber(b"/chp-check/")
    service.run(ChpServer(), "server")
    check(gentle=True)
    assert heard.arrived
    # The server has none either when it deletes what has expired.
    assert {f[0][-3:] for f in heard.arrived if not f[2]} <= {b"ttl"}


# Servers that do not


def frame(position, value):
    """Another value for one frame of what is sent."""
    return lambda frames: (*frames[:position], value, *frames[position + 1 :])


def nothing(frames):
    return ()


FAULTS = [
    ("snapshot-answer", FAIL, {"silent": True}),
    ("snapshot-answer", FAIL, {"end": nothing}),
    ("kvsync-form", NOTE, {"entry": frame(2, bytes(16))}),
    ("kvsync-form", NOTE, {"entry": frame(3, b"a=b\n")}),
    ("kvsync-form", FAIL, {"entry": frame(1, bytes(7))}),
    ("kvsync-form", FAIL, {"entry": frame(4, b"")}),
    ("kvsync-form", FAIL, {"entry": lambda frames: (*frames, b"x")}),
    ("kthxbai-form", NOTE, {"end": frame(2, bytes(16))}),
    ("kthxbai-form", NOTE, {"end": frame(4, b"")}),
    ("kthxbai-form", FAIL, {"end": frame(4, b"/another/")}),
    ("kthxbai-form", FAIL, {"end": lambda frames: frames[:3]}),
    ("kthxbai-sequence", NOTE, {"end_number": lambda highest: highest + 1}),
    ("kthxbai-sequence", FAIL, {"end_number": lambda highest: highest // 2}),
    ("snapshot-subtree", FAIL, {"ignores_subtree": True}),
    ("snapshot-subtree", FAIL, {"forgets_keys": True}),
    ("snapshot-subtree", FAIL, {"entry": frame(4, b"x")}),
    ("snapshot-everything", FAIL, {"ignores_empty_subtree": True}),
    ("snapshot-everything", FAIL, {"forgets_keys": True}),
    ("snapshot-identity", FAIL, {"mixes_clients": True}),
    ("collector-socket", NOTE, {"collector": zmq.PULL}),
    ("collector-socket", FAIL, {"collector": zmq.PAIR}),
    ("hugz-interval", NOTE, {"beat": nothing}),
    ("hugz-form", NOTE, {"beat": frame(1, b"\0\0\0\0\0\0\0\7")}),
    ("hugz-form", NOTE, {"beat": frame(2, bytes(16))}),
    ("hugz-form", FAIL, {"beat": frame(1, bytes(4))}),
    ("hugz-form", FAIL, {"beat": frame(4, b"x")}),
    ("kvpub-broadcast", FAIL, {"publication": nothing}),
    ("kvpub-broadcast", FAIL, {"publication": lambda f: () if b"again" in f[0] else f}),
    ("kvpub-form", FAIL, {"publication": frame(2, bytes(8))}),
    ("kvpub-form", FAIL, {"publication": frame(3, b"no value\n")}),
    ("kvpub-form", NOTE, {"publication": frame(3, b"a=b")}),
    ("kvpub-form", FAIL, {"publication": lambda f: f[:4] if b"again" in f[0] else f}),
    ("kvpub-sequence", FAIL, {"repeats_number": True}),
    ("kvpub-sequence", FAIL, {"takes_numbers": True}),
    ("kvpub-uuid", NOTE, {"publication": frame(2, b"")}),
    ("kvpub-uuid", FAIL, {"publication": frame(2, bytes(16))}),
    ("kvpub-properties", NOTE, {"publication": frame(3, b"")}),
    ("kvset-without-uuid", FAIL, {"wants_uuid": True}),
    ("kvset-sequence", FAIL, {"takes_numbers": True}),
    ("kvset-delete", FAIL, {"keeps_what_is_deleted": True}),
    ("kvset-delete", FAIL, {"publication": lambda f: f if f[4] else ()}),
    ("kvset-ttl", NOTE, {"ttl_factor": None}),
    ("kvset-ttl", FAIL, {"ttl_factor": 0.1}),
    ("kvset-ttl", FAIL, {"keeps_what_has_expired": True}),
    ("malformed-requests", FAIL, {"ends_at": "request"}),
    ("malformed-updates", FAIL, {"ends_at": "update"}),
    ("malformed-updates", NOTE, {"takes_malformed": True}),
    ("reserved-keys", NOTE, {"takes_words": True}),
    ("nothing-left", FAIL, {"never_deletes": True}),
]


@pytest.mark.parametrize(("clause", "outcome", "faults"), FAULTS)
def test_a_planted_fault_is_found(service, check, clause, outcome, faults):
    service.run(ChpServer(**faults), "server")
    report = check()
    assert finding(report, clause).outcome is outcome, finding(report, clause)
    assert report.conforms(strict=True) is False


def test_every_clause_can_be_broken():
    assert {clause for clause, _, _ in FAULTS} == {clause.name for clause in CLAUSES}


def test_words_that_were_taken_as_keys_are_deleted_again(service, check):
    server = service.run(ChpServer(takes_words=True), "server")
    seen = finding(check(), "reserved-keys").seen
    assert all(f"{word} is taken" in seen for word in ("HUGZ", "ICANHAZ?", "KTHXBAI"))
    assert server.entries == {}


def test_a_server_that_dies_in_between_ends_the_check_all_the_same(service, check):
    server = service.run(ChpServer(), "server")
    service.loop.call_later(2.5, server.reactor.stop)
    report = check()
    assert "these may still be there" in finding(report, "nothing-left").seen


def test_a_check_that_is_broken_off_leaves_nothing_behind(service):
    server = service.run(ChpServer(ttl_factor=None), "server")
    check = service.run(ConformanceCheck(PRIMARY, make_uuid=service.make_uuid), "check")
    service.loop.run_until(lambda: len(server.entries) > 3)
    service.stop(check)
    service.loop.run_until(lambda: not server.entries)
    assert not check.protocol.finished


def test_an_endpoint_that_names_no_server_is_told_at_once():
    with pytest.raises(EndpointError, match="names no Clone server"):
        ConformanceCheck("tcp://localhost")
