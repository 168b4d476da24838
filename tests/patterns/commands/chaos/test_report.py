"""The report of the chaos."""

import json
from dataclasses import replace

import pytest

from patterns.commands.chaos.measure import Memory
from patterns.commands.chaos.report import Report, quantile

GREW = Memory(1, 62.0, 744, [30.0, 38.2, 38.4], 0.25, ((20, 22), (20, 21)))
YOUNG = Memory(1200, 4.2, 50, [16.0], None, ((16, 16), (16, 17)))
REPORT = Report(
    where="on loopback",
    seed=7,
    ack="applied",
    without_peer="degrade",
    seconds=600.0,
    faults={"kill active": 20, "cut pair, one way": 40},
    published={"replicated": 11, "applied": 12400},
    acknowledged={"applied": 12345},
    failed={"timeout": 2, "crashed": 5, "conflict": 9, "applied": 4, "unreplicated": 6},
    unanswered=1,
    lost={"applied": 3},
    overwritten={"applied": 2},
    divergent=0,
    stuck=0,
    late_joins=30,
    activities=21,
    conflicts=4,
    given_up=17,
    failovers={"kill active": [0.5, 1.0, 3.0]},
    memory={"reader-0": GREW, "plain": YOUNG},
    unhandled=(),
    violations=0,
    listed=(),
)


def test_the_table_says_it_all():
    lines = {line[:24].strip(): line[24:] for line in REPORT.table().splitlines()}
    assert lines["time"] == "10.0 minutes, on loopback, seed 7"
    assert lines["servers"] == "--ack applied --without-peer degrade"
    assert lines["faults"] == "60, one every 10.0 s"
    assert lines["acknowledged applied"] == "12,345"
    assert lines["unknown"].startswith("8 ")
    assert lines["told as only applied"].startswith("4 ")
    assert lines["refused, unreplicated"].startswith("6 ")
    assert lines["refused"].startswith("9 ")
    assert lines["lost applied"] == "3, and 2 that were overwritten since"
    assert lines["failover, kill active"] == "p50 1.00 s, p99 3.00 s, longest 3.00 s, seen 3 times"
    assert lines["memory reader-0"] == (
        "+0.2 MB/h, one life, 62.0 minutes: 30, 38, 38 MB every ten minutes;"
        " 20 descriptors (22 at most), in its last third 20 (21)"
    )
    assert lines["memory plain"].startswith(
        "too short to tell, the longest of 1,200 lives, 4.2 minutes: 16 MB"
    )
    assert "   40  cut pair, one way" in REPORT.table()


def test_a_policy_is_told_with_what_came_of_it():
    report = replace(REPORT, ack="replicated", without_peer="refuse")
    lines = {line[:24].strip(): line[24:] for line in report.table().splitlines()}
    assert lines["servers"] == "--ack replicated --without-peer refuse"
    assert lines["published, on both"].startswith("11 ")
    assert lines["published, on one"].startswith("12,400,")
    assert "published" not in REPORT.table()  # nobody waits for the passive server there


def test_the_json_is_one_object():
    report = json.loads(REPORT.as_json())
    assert report["passed"] is True
    assert (report["ack"], report["without_peer"]) == ("applied", "degrade")
    assert report["published"] == {"replicated": 11, "applied": 12400}
    failovers = {"kill active": {"p50": 1.0, "p99": 3.0, "p100": 3.0, "seen": 3}}
    assert report["failovers"] == failovers
    assert report["memory"]["plain"]["slope"] is None
    assert report["memory"]["reader-0"] == {
        "lives": 1,
        "minutes": 62.0,
        "samples": 744,
        "megabytes": [30.0, 38.2, 38.4],
        "slope": 0.25,
        "descriptors": [[20, 22], [20, 21]],
    }


@pytest.mark.parametrize(
    "found",
    [
        {"violations": 1},
        {"unhandled": ["x"]},
        {"divergent": 1},
        {"stuck": 1},
        {"lost": {"replicated": 1}},
        {"overwritten": {"replicated": 1}},
    ],
)
def test_whatever_is_found_fails_the_run(found):
    assert REPORT.passed
    assert not replace(REPORT, **found).passed


def test_what_was_only_applied_may_be_lost():
    assert replace(REPORT, lost={"applied": 1}, overwritten={"applied": 1}).passed


def test_violations_are_listed():
    text = "I4 at 3.000 s: reader-0 has another map"
    assert text in replace(REPORT, violations=1, listed=[text]).table()


def test_quantiles():
    values = [float(number) for number in range(1, 101)]
    assert quantile(values, 50) == 51.0
    assert quantile(values, 99) == 100.0
    assert quantile(values[::-1], 100) == 100.0
    assert quantile([], 50) is None
