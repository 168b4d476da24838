"""`reactor status`, `switchover` and `promote` against a server of this machine."""

import json

import pytest

from patterns.clone.messages import make_sequence
from patterns.commands.endpoints import control_endpoint
from patterns.commands.operating import show


def ready(server) -> str:
    word, endpoint = server.stdout.readline().split()
    assert word == "ready"
    return endpoint


@pytest.fixture
def control(tmp_path):
    return f"ipc://{tmp_path}/control"


def test_the_status_of_a_server_that_stands_alone(start_process, reactor_command, control):
    server = start_process("serve", "clone", "--port", "0", "--control", control)
    endpoint = ready(server)
    result = reactor_command("status", control)
    assert result.exit_code == 0
    heading, row = result.stdout.splitlines()
    assert heading.split()[:3] == ["server", "role", "state"]
    assert row.split()[:3] == [endpoint, "alone", "active"]
    status = json.loads(reactor_command("status", "--json", control).stdout)
    assert (status["endpoint"], status["keys"], status["serving"]) == (endpoint, 0, True)


@pytest.mark.parametrize("order", ["switchover", "promote"])
def test_a_server_that_stands_alone_refuses_orders(start_process, reactor_command, control, order):
    ready(start_process("serve", "clone", "--port", "0", "--control", control))
    result = reactor_command(order, control)
    assert result.exit_code == 1
    assert "this server stands alone" in result.stderr


@pytest.mark.parametrize("command", ["status", "switchover", "promote"])
def test_nobody_answers(reactor_command, control, command):
    result = reactor_command(command, control, "--timeout", "0.1")
    assert result.exit_code == 3
    assert f"no answer from {control} within 0.1 s" in result.stderr


@pytest.mark.parametrize("arguments", [("status",), ("status", "nonsense"), ("promote",)])
def test_wrong_usage(reactor_command, arguments):
    assert reactor_command(*arguments).exit_code == 2


def test_a_number_is_a_port_of_this_machine():
    assert control_endpoint("5559") == "tcp://127.0.0.1:5559"
    assert control_endpoint("ipc:///run/clone") == "ipc:///run/clone"


def test_a_row_shows_a_sequence_as_epoch_and_count_and_what_is_wrong(capsys):
    status = {
        "role": "backup",
        "state": "passive",
        "epoch": 3,
        "sequence": make_sequence(3, 41),
        "peer_state": "active",
        "peer_age": 0.24,
        "mismatch": "timings differ",
        "conflicts": 1,
        "diverged": 5,
    }
    show([status], as_json=False)
    row = capsys.readouterr().out.splitlines()[1]
    assert row.split()[:7] == ["backup", "passive", "-", "3", "3:41", "active", "0.2"]
    assert row.endswith("timings differ, 1 conflicts, 5 updates given up")


def test_the_status_of_one_server_is_shown_though_another_does_not_answer(
    start_process, reactor_command, control
):
    """That one of a pair is dead is when an operator asks."""
    endpoint = ready(start_process("serve", "clone", "--port", "0", "--control", control))
    result = reactor_command("status", control, f"{control}-of-nobody", "--timeout", "1")
    assert result.exit_code == 3
    assert result.stdout.splitlines()[1].split()[0] == endpoint
    assert f"no answer from {control}-of-nobody within 1 s" in result.stderr


@pytest.mark.parametrize(
    ("figures", "remark"),
    [
        ({"in_sync": True}, ""),
        ({"in_sync": False}, "the passive server does not confirm"),
        ({"in_sync": True, "degraded": 3}, "3 updates not replicated"),
        ({"in_sync": True, "unreplicated": 2}, "2 writes refused for want of the peer"),
        ({"in_sync": False, "state": "passive"}, ""),
        ({"in_sync": False, "peer_state": None}, ""),
    ],
)
def test_a_row_says_what_is_not_on_both_servers(capsys, figures, remark):
    status = {"role": "primary", "state": "active", "epoch": 1, "sequence": 0}
    show([{**status, "peer_state": "passive", **figures}], as_json=False)
    row = capsys.readouterr().out.splitlines()[1]
    assert row.split("  ")[-1].strip() == (remark or "-")
