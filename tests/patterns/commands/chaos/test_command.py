"""`reactor chaos` on the command line; a run of it is in tests/integration."""

import pytest
from click.testing import CliRunner

from patterns.commands.chaos.command import chaos


@pytest.mark.parametrize(
    "arguments", [["--minutes", "0"], ["--minutes", "nan"], ["--seed", "-1"], ["more"]]
)
def test_wrong_usage(arguments):
    assert CliRunner().invoke(chaos, arguments).exit_code == 2


def test_a_folder_with_something_in_it_is_wrong_usage(tmp_path):
    (tmp_path / "old.jsonl").write_text("")
    result = CliRunner().invoke(chaos, ["--output", str(tmp_path)])
    assert result.exit_code == 2
    assert "is not empty" in result.output


def test_the_help_teaches():
    text = CliRunner().invoke(chaos, ["--help"]).output
    for word in ("SIGKILL", "SIGSTOP", "namespace", "Exit codes", "reactor chaos --minutes 60"):
        assert word in text
