"""`reactor simulate`: a summary, a failure told with the line that repeats it, a shrunk test."""

import re
import subprocess
import sys

import pytest
import structlog
from click.testing import CliRunner

from patterns.clone.server_protocol import ServerProtocol
from patterns.clone.simulation.campaign import run_seeds, schedule_of
from patterns.commands.simulate import simulate


@pytest.fixture(autouse=True)
def logs_as_before():
    yield
    structlog.reset_defaults()


def invoke(*arguments):
    return CliRunner().invoke(simulate, arguments)


def test_seeds_without_a_violation_end_with_a_summary_and_0(tmp_path):
    result = invoke("--seeds", "3", "--jobs", "1", "--output", str(tmp_path))
    assert result.exit_code == 0
    assert re.match(r"3 seeds, 0\.1 virtual hours, \d+ faults, .*: 0 violations", result.output)
    assert list(tmp_path.iterdir()) == []


def test_several_processes_find_what_one_does():
    command = [sys.executable, "-m", "patterns.commands", "simulate", "--seeds", "12"]
    command += ["--jobs", "2", "--scenario", "crash", "--first", "7"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50, check=True)
    summary = run_seeds(range(7, 19), "crash").summary()
    assert done.stdout.startswith(summary)
    assert done.stderr == ""


def test_a_violation_is_told_repeated_shrunk_and_1(tmp_path, monkeypatch):
    def fail(self, frames, now):
        raise ZeroDivisionError

    monkeypatch.setattr(ServerProtocol, "order_update", fail)
    result = invoke("--seeds", "2", "--jobs", "1", "--scenario", "calm", "--output", str(tmp_path))
    assert result.exit_code == 1
    assert "again: reactor simulate --seeds 1 --first 1 --scenario calm" in result.output
    assert "2 seeds failed" in result.output.splitlines()[-1]
    source = (tmp_path / "test_simulation_calm_0.py").read_text()
    compile(source, "test_simulation_calm_0.py", "exec")
    assert source.count("Step(at=") == 1


def test_a_shrunk_test_that_cannot_be_written_is_one_clear_line(tmp_path, monkeypatch):
    monkeypatch.setattr(ServerProtocol, "order_update", lambda self, frames, now: 1 / 0)
    folder = tmp_path / "file" / "folder"
    folder.parent.touch()
    result = invoke("--seeds", "1", "--jobs", "1", "--scenario", "calm", "--output", str(folder))
    assert (result.exit_code, type(result.exception)) == (1, SystemExit)
    assert result.output.splitlines()[-1] == f"Error: {folder}: Not a directory"


def test_the_trace_shows_messages_and_events():
    result = invoke("--seeds", "1", "--first", "4", "--scenario", "crash", "--trace", "--jobs", "1")
    assert " crashes" in result.output
    assert "HUGZ" in result.output


def test_faults_are_counted_by_the_states_of_the_servers():
    result = invoke("--seeds", "3", "--scenario", "pause", "--faults", "--jobs", "1")
    assert re.search(r"^ +\d  pause          active/passive$", result.output, re.MULTILINE)


def test_time_can_be_limited():
    result = invoke("--seeds", "1000000", "--seconds", "0.1", "--jobs", "1")
    assert result.exit_code == 0
    assert result.output.startswith("10 seeds")


def test_of_all_scenarios_half_is_mixed():
    scenarios = [schedule_of(seed).scenario for seed in range(200)]
    assert scenarios.count("mixed") > 100
    assert len(set(scenarios)) > 15


@pytest.mark.parametrize(
    "arguments", [("--seeds", "0"), ("--scenario", "weather"), ("--jobs", "0")]
)
def test_wrong_usage_is_2(arguments):
    assert invoke(*arguments).exit_code == 2
