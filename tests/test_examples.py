"""Every example runs, says `ready` first, ends by itself and ends as it declares."""

import ast
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
TIMEOUT_SECONDS = 45.0

each_example = pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)


def run(path: Path) -> subprocess.CompletedProcess[str]:
    """The example as a process that has ended, of this tree, with every warning an error."""
    return subprocess.run(
        [sys.executable, "-W", "error", str(path)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
    )


def declared_last_line(source: str) -> str | None:
    """The value of the module constant LAST_LINE, read without running anything."""
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "LAST_LINE":
            return str(ast.literal_eval(node.value))
    return None


def complaints(result: subprocess.CompletedProcess[str], last_line: str | None) -> list[str]:
    """What is wrong with a run that should have ended well."""
    lines = result.stdout.splitlines() or [""]
    checks = {
        f"exit status {result.returncode}": result.returncode == 0,
        f"opens with {lines[0]!r}": lines[0].startswith("ready"),
        f"ends with {lines[-1]!r}": bool(last_line) and bool(re.match(str(last_line), lines[-1])),
        # What is raised while the interpreter ends leaves the exit status as it is.
        "traceback": not re.search("Traceback|Warning|Exception ignored", result.stderr),
    }
    return [complaint for complaint, passed in checks.items() if not passed]


def test_there_are_examples():
    assert EXAMPLES


def test_the_table_lists_every_example():
    table = (ROOT / "examples" / "README.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| \[(\S+\.py)\]\(\1\)", table, re.MULTILINE) == [
        path.name for path in EXAMPLES
    ]


@each_example
def test_an_example_explains_itself(
    path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(sys, "argv", [str(path), "--help"])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(path), run_name="__main__")
    assert end.value.code == 0
    explained, _ = capsys.readouterr()
    assert explained.startswith("usage:")
    assert re.search("--(count|seconds)", explained), "nothing bounds it"


@each_example
def test_an_example_runs(path: Path):
    """M-1, M-2: on every supported Python, as it is in the repository."""
    result = run(path)
    last_line = declared_last_line(path.read_text(encoding="utf-8"))
    assert complaints(result, last_line) == [], result.stdout + result.stderr


@each_example
def test_an_example_has_a_main_that_returns_a_status(path: Path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    (main,) = [
        node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "main"
    ]
    assert [argument.arg for argument in main.args.args] == ["argv"]
    assert [ast.unparse(default) for default in main.args.defaults] == ["None"]
    assert main.returns is not None and ast.unparse(main.returns) == "int"


@pytest.mark.parametrize(
    ("status", "stdout", "stderr"),
    [
        (1, "ready\nall done\n", ""),
        (0, "", ""),
        (0, "hello\nready\nall done\n", ""),
        (0, "ready\nall done\nand more\n", ""),
        (0, "ready\nall done\n", "Exception ignored in: <socket>"),
        (0, "ready\nall done\n", "Traceback (most recent call last):"),
    ],
)
def test_a_planted_failure_is_found(status: int, stdout: str, stderr: str):
    assert complaints(subprocess.CompletedProcess([], status, stdout, stderr), "all done") != []


def test_an_example_that_declares_no_last_line_fails():
    assert complaints(subprocess.CompletedProcess([], 0, "ready\n", ""), None) != []


def test_the_last_line_may_go_on_after_what_is_declared():
    result = subprocess.CompletedProcess([], 0, "ready at x\n5 of 5 echoes, 3 ms\n", "")
    assert complaints(result, declared_last_line(r'LAST_LINE = r"(\d+) of \1 echoes"')) == []
