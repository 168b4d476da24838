"""The report is made of what a run leaves in its folder."""

import json

import pytest

from patterns.commands.chaos.evidence import conflicts, report_of, unhandled
from patterns.commands.chaos.journal import Journal
from patterns.commands.chaos.merged import CHAOS

VERDICT = {
    "violations": 2,
    "first": ["I10 at 3.000 s: reader-0 holds another map"],
    "published": {"replicated": 12},
    "acknowledged": {"applied": 5, "replicated": 7},
    "failed": {"timeout": 1},
    "unanswered": 1,
    "lost": {"applied": 0, "replicated": 0},
    "overwritten": {"applied": 1, "replicated": 0},
    "activities": 3,
    "given_up": 4,
    "failovers": {"kill active": [0.5]},
}


class Times:
    """A clock that a test sets."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def times():
    return Times()


@pytest.fixture
def journal(tmp_path, times):
    journal = Journal(tmp_path / f"{CHAOS}.jsonl", clock=times)
    journal.write("plan", subtrees={"late": [""]}, seed=7, where="on loopback")
    yield journal
    journal.close()


def be_born(journal, who, life):
    journal.write("born", who=who, kind="client", life=life)


def be_measured(journal, times, who, seconds, megabytes_at):
    """A sample every ten seconds."""
    began = times.now
    for age in range(0, seconds + 1, 10):
        times.now = began + age
        journal.write("measured", who=who, megabytes=megabytes_at(age), descriptors=20)


def test_faults_and_what_was_found_are_counted(journal, times, tmp_path):
    for name in ("kill active", "kill active", "cut pair"):
        journal.write("fault", number=1, name=name)
    for invariant in ("I10", "I11", "I11"):
        journal.write("violates", invariant=invariant, text="")
    for life in (1, 2, 3):
        be_born(journal, "late", life)
    (tmp_path / "late.log").write_text("Task exception was never retrieved\n")
    times.now = 160.0
    journal.write("settled", healed_at=150.0)
    times.now = 161.0
    journal.write("dead", who="late", expected=True)
    report = report_of(tmp_path, VERDICT)
    assert (report.seed, report.where, report.seconds) == (7, "on loopback", 60.0)
    assert report.faults == {"kill active": 2, "cut pair": 1}
    assert (report.divergent, report.stuck, report.late_joins) == (1, 2, 2)
    assert report.unhandled == ["late.log:1: Task exception was never retrieved"]
    assert (report.ack, report.without_peer) == ("applied", "degrade")  # the plan tells none
    assert (report.violations, report.failovers) == (2, {"kill active": [0.5]})
    assert not report.passed


def test_the_policy_is_that_of_the_plan(tmp_path):
    journal = Journal(tmp_path / f"{CHAOS}.jsonl")
    policy = {"ack": "replicated", "without_peer": "refuse"}
    journal.write("plan", subtrees={}, seed=7, where="on loopback", **policy)
    journal.close()
    report = report_of(tmp_path, VERDICT)
    assert (report.ack, report.without_peer) == ("replicated", "refuse")
    assert report.published == {"replicated": 12}


def test_memory_is_that_of_the_longest_life_of_each_process(journal, times, tmp_path):
    be_born(journal, "primary", 1)
    be_measured(journal, times, "primary", 3000, lambda age: 40 + age / 3600)
    be_born(journal, "primary", 2)
    be_measured(journal, times, "primary", 60, lambda age: 35.0)
    be_born(journal, "never", 1)
    ((name, memory),) = report_of(tmp_path, VERDICT).memory.items()
    assert (name, memory.lives, memory.minutes) == ("primary", 2, 50.0)
    assert memory.slope == pytest.approx(1.0)


def test_a_run_that_was_broken_off_has_a_report(journal, times, tmp_path):
    times.now = 130.0
    journal.write("fault", number=1, name="cut pair")
    report = report_of(tmp_path, VERDICT)
    assert (report.seconds, report.faults) == (30.0, {"cut pair": 1})


def test_a_conflict_counts_once_though_both_servers_tell_of_it(tmp_path):
    log = tmp_path / "primary.log"
    told = [{"event": "both servers were active", "won": won} for won in (False, True, False)]
    log.write_text("".join(json.dumps(line) + "\n" for line in told))
    assert conflicts(log) == 2


@pytest.mark.parametrize(
    ("line", "count"),
    [
        ('{"event": "hook raised", "exception": "Traceback (most recent call last):\\n..."}', 1),
        ("Task exception was never retrieved", 1),
        ("Exception ignored in: <function f>", 1),
        ('{"event": "both servers were active", "level": "error"}', 0),
    ],
)
def test_exceptions_are_found_in_logs(tmp_path, line, count):
    log = tmp_path / "primary.log"
    log.write_text(f"first\n{line}\n")
    assert len(unhandled(log)) == count
