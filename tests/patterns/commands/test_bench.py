"""`reactor bench blackbox`: it measures, says what it found, and leaves no process behind."""

import json
import os
import signal
import subprocess
import sys

import pytest
import zmq

from patterns.commands.bench.report import Report, Settings
from patterns.commands.bench.roles import BOXES
from patterns.commands.bench.work import turns_for

from .conftest import ROOT

SECONDS = 50.0


def _hear_interrupts():
    """A job in the background of a shell ignores SIGINT, and hands that down."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.fixture
def bench(start_process):
    """Starts the command in a process group of its own."""

    def start(*arguments):
        return start_process(
            "bench", "blackbox", *arguments, start_new_session=True, preexec_fn=_hear_interrupts
        )

    return start


def group_lives(leader):
    try:
        os.killpg(leader, 0)
    except ProcessLookupError:
        return False
    return True


def test_every_box_is_measured_against_one_plain_subscriber(bench):
    boxes = [word for kind in BOXES for word in ("--box", kind)]
    # Workers tell what they have handled every 0.25 s: a shorter time may find nothing, on a busy
    # machine. How fast they are is not what is tested.
    process = bench("--rounds", "1", "--seconds", "0.6", "--work-us", "0", "--json", *boxes)
    output, errors = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, errors
    found = json.loads(output)
    assert list(found["boxes"]) == list(BOXES)
    assert found["plain"]["median"] > 0
    assert all(box["median"] > 0 and len(box["rounds"]) == 1 for box in found["boxes"].values())
    assert errors.splitlines() == [
        f"bench: round 1 of 1: {who}"
        for who in ("one plain subscriber", *(f"{kind} box of 2 workers" for kind in BOXES))
    ]
    assert not group_lives(process.pid)


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGTERM, 128 + signal.SIGTERM), (signal.SIGINT, 1)]
)
def test_who_is_told_to_end_leaves_no_process(bench, number, status):
    process = bench("--seconds", "30")
    assert any("keyed box" in line or "plain" in line for line in process.stderr)
    process.send_signal(number)
    output, _ = process.communicate(timeout=SECONDS)
    assert (process.returncode, output) == (status, "")
    assert not group_lives(process.pid)


def test_a_publisher_whose_bench_is_gone_ends_in_the_middle_of_a_flood():
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "patterns.commands.bench.roles"),
            *("publish", "--size=32", "--subscriptions=1"),
        ],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process, zmq.Context() as context, context.socket(zmq.SUB) as socket:
        try:
            socket.linger, socket.rcvtimeo = 0, int(1000 * SECONDS)
            socket.subscribe(b"")
            socket.connect(process.stdout.readline().strip())
            assert socket.recv_multipart() == [b"topic00000", bytes(32)]
            process.stdin.close()
            assert process.wait(timeout=SECONDS) == 1
        finally:
            process.kill()


def test_a_process_that_fails_is_one_error_with_the_end_of_its_log(bench, tmp_path, monkeypatch):
    too_long = tmp_path / (120 * "x")  # for the path of an ipc endpoint, so that no box starts
    too_long.mkdir()
    monkeypatch.setenv("TMPDIR", str(too_long))
    process = bench("--rounds", "1", "--seconds", "0.02")
    output, errors = process.communicate(timeout=SECONDS)
    assert (process.returncode, output) == (1, "")
    assert "Error: keyed ended with status 1\n" in errors
    assert "longer than" in errors
    assert list(too_long.iterdir()) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ("--workers", "0"),
        ("--workers", "101"),
        ("--work-us", "-1"),
        ("--size", "-1"),
        ("--rounds", "0"),
        ("--seconds", "nan"),
        ("--box", "brown"),
        ("anything",),
    ],
)
def test_wrong_usage_is_status_2(reactor_command, arguments):
    assert reactor_command("bench", "blackbox", *arguments).exit_code == 2


# What is printed


@pytest.fixture
def report():
    report = Report(Settings(("keyed", "pump"), rounds=3))
    report.plain += [10_000.0, 20_000.0, 40_000.0]
    report.boxes["keyed"] += [20_000.0, 30_000.0, 70_000.0]
    report.boxes["pump"] += [5_000.0, 20_000.0, 80_000.0]
    return report


def test_ratios_are_of_one_round(report):
    assert report.ratios("keyed") == [2.0, 1.5, 1.75]


def test_the_table_has_medians_and_ranges(report):
    lines = [line.split("  ") for line in report.table().splitlines()]
    cells = [[cell.strip() for cell in line if cell.strip()] for line in lines]
    assert cells[-3:] == [
        ["one plain subscriber", "20,000 [10,000-40,000]"],
        ["keyed box, 2 workers", "30,000 [20,000-70,000]", "1.75 [1.50-2.00]"],
        ["pump box, 2 workers", "20,000 [5,000-80,000]", "1.00 [0.50-2.00]"],
    ]


def test_json_has_every_round(report):
    found = json.loads(report.as_json())
    assert found["work_us"] == 20.0
    assert found["boxes"]["pump"] == {
        "rounds": [5000, 20000, 80000],
        "median": 20000,
        "times_plain": 1.0,
    }


def test_no_work_is_no_turns_and_more_work_more_turns():
    assert turns_for(0.0) == 0
    assert 0 < turns_for(1e-6) < turns_for(1e-3)
