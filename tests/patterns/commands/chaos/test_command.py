"""`reactor chaos` on the command line; a run of it is in tests/integration."""

from itertools import islice

import pytest
from click.testing import CliRunner

from patterns.clone.replication import ReplicationPolicy
from patterns.commands.chaos import command
from patterns.commands.chaos.command import chaos
from patterns.commands.chaos.run import Plan
from patterns.commands.children import ChildFailed


@pytest.mark.parametrize(
    "arguments",
    [["--minutes", "0"], ["--minutes", "nan"], ["--seed", "-1"], ["--writes", "0"], ["more"]]
    + [["--ack", "sometimes"], ["--without-peer", "wait"]],
)
def test_wrong_usage(arguments):
    assert CliRunner().invoke(chaos, arguments).exit_code == 2


def test_a_folder_with_something_in_it_is_wrong_usage(tmp_path):
    (tmp_path / "old.jsonl").write_text("")
    result = CliRunner().invoke(chaos, ["--output", str(tmp_path)])
    assert result.exit_code == 2
    assert "is not empty" in result.output


def test_a_folder_that_cannot_be_made_is_one_clear_line(tmp_path):
    (tmp_path / "file").touch()
    folder = tmp_path / "file" / "folder"
    result = CliRunner().invoke(chaos, ["--output", str(folder)])
    assert result.exit_code == 1
    assert result.output == f"Error: {folder}: Not a directory\n"


@pytest.fixture
def plans(monkeypatch, tmp_path):
    """The plans of the runs that are begun, and go no further."""
    plans = []

    async def play(plan, folder, say):
        plans.append(plan)
        raise ChildFailed("no more is wanted")

    monkeypatch.setattr(command, "play", play)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return plans


def test_what_is_asked_for_is_planned(plans, tmp_path):
    words = ["--minutes", "2", "--seed", "7", "--writes", "24", "--keep-servers", "--no-namespaces"]
    assert CliRunner().invoke(chaos, [*words, "--output", str(tmp_path)]).exit_code == 1
    (plan,) = plans
    assert (plan.seconds, plan.seed, plan.namespaces) == (120.0, 7, False)
    assert sum(client.rate for client in plan.clients) == pytest.approx(24.0)
    faults = islice(plan.server_faults(plugs=True), 100)
    assert "kill" not in {fault.kind for fault in faults}
    assert plan.policy == ReplicationPolicy()


@pytest.mark.parametrize("ack", ["applied", "replicated"])
@pytest.mark.parametrize("without_peer", ["degrade", "refuse"])
def test_the_policy_of_the_servers_is_planned(plans, ack, without_peer):
    CliRunner().invoke(chaos, ["--ack", ack, "--without-peer", without_peer])
    (plan,) = plans
    assert plan.policy == ReplicationPolicy(ack, refuses=without_peer == "refuse")


def test_servers_are_killed_unless_they_are_kept():
    faults = islice(Plan(60.0).server_faults(plugs=True), 100)
    assert "kill" in {fault.kind for fault in faults}


def test_the_help_teaches():
    text = CliRunner().invoke(chaos, ["--help"]).output
    for word in (
        "SIGKILL",
        "SIGSTOP",
        "namespace",
        "Exit codes",
        "reactor chaos --minutes 60",
        "--ack replicated",
    ):
        assert word in text
