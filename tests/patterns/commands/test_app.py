"""The command as a whole: help that costs little, exit statuses, versions, missing extras."""

import os
import subprocess
import sys

import click
import pytest

from patterns.commands import main
from patterns.commands.app import BENCHES, COMMANDS, SERVERS, app, bench, serve
from patterns.commands.lazy import Lazy, LazyGroup

from .conftest import ROOT


def python(code):
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
    )


# Help


@pytest.mark.parametrize(
    ("arguments", "table"),
    [((), COMMANDS), (("serve",), SERVERS), (("bench",), BENCHES)],
    ids=["reactor", "serve", "bench"],
)
def test_help_lists_every_command_with_what_it_does(reactor_command, arguments, table):
    result = reactor_command(*arguments, "--help", terminal_width=200)
    assert result.exit_code == 0
    listed = result.stdout.partition("Commands:\n")[2].splitlines()
    assert [line.split(maxsplit=1) for line in listed] == [
        [name, entry.summary] for name, entry in table.items()
    ]


@pytest.mark.parametrize("arguments", [["--help"], ["serve", "--help"], ["bench", "--help"]])
def test_help_imports_no_command_and_no_reactor(arguments):
    result = python(
        f"import sys; from patterns.commands import main\n"
        f"try: main({arguments})\n"
        "finally: print(sorted({'zmq', 'tornado', 'structlog', 'reactor'} & set(sys.modules)))"
    )
    assert (result.stdout.splitlines()[-1], result.stderr) == ("[]", "")


def test_a_command_starts_without_rich_and_finds_it_when_it_shows_something():
    result = python(
        "import gc, sys; from patterns.commands.app import app\n"
        "app.get_command(None, 'ls'); print('structlog' in sys.modules, 'rich' in sys.modules)\n"
        "import rich.live; print(rich.live.__name__, gc.isenabled())"
    )
    assert (result.stdout.splitlines(), result.stderr) == (["True False", "rich.live True"], "")


@pytest.mark.parametrize(
    ("group", "name"),
    [(group, name) for group in (app, serve, bench) for name in group.table],
    ids=lambda part: part if isinstance(part, str) else part.name,
)
def test_every_command_of_a_table_is_there_and_explains_itself(group, name):
    command = group.get_command(click.Context(group), name)
    assert isinstance(command, click.Command)
    assert command.name == name
    assert command.help


def test_a_command_without_arguments_shows_its_help(reactor_command):
    assert "Commands:" in reactor_command().output
    assert "Commands:" in reactor_command("serve").output


def test_a_table_may_name_a_command_that_is_broken_and_the_others_work():
    table = {
        "good": Lazy("patterns.commands.serve_lvc:lvc", "Good."),
        "bad": Lazy("no:one", "Bad."),
    }
    group = LazyGroup("group", table=table)
    context = click.Context(group)
    assert "Bad." in group.get_help(context)
    assert group.get_command(context, "good") is not None
    assert group.get_command(context, "unknown") is None
    with pytest.raises(ModuleNotFoundError):
        group.get_command(context, "bad")


# Statuses


@pytest.mark.parametrize(
    "arguments",
    [
        ("unknown",),
        ("serve", "unknown"),
        ("--unknown",),
        ("--log-format", "xml", "serve", "lvc"),
        ("-v", "-q", "serve", "lvc"),
    ],
)
def test_wrong_usage_is_status_2_and_says_what_is_wrong(reactor_command, arguments):
    result = reactor_command(*arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "Error: " in result.stderr


def test_the_version_names_what_a_bug_report_needs(reactor_command):
    result = reactor_command("--version")
    assert result.exit_code == 0
    for word in ("reactor ", "pyzmq 2", "libzmq 4", "tornado 6", "Python 3"):
        assert word in result.stdout


@pytest.mark.parametrize(
    ("package", "extra"),
    [("click", "cli"), ("rich", "cli"), ("msgspec", "cli"), ("currency_converter", "demo")],
)
def test_without_an_extra_it_says_how_to_get_it(capsys, monkeypatch, package, extra):
    def call(*_, **__):
        raise ModuleNotFoundError(f"No module named '{package}'", name=f"{package}.part")

    monkeypatch.setattr(app, "main", call)
    assert main([]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert package in line
    assert f"pip install 'zmq-reactor[{extra}]'" in line


def test_without_click_it_says_how_to_get_it():
    result = python(
        "import sys; sys.modules['click'] = None\n"
        "from patterns.commands import main; sys.exit(main(['--help']))"
    )
    assert result.returncode == 2
    assert result.stderr.endswith("pip install 'zmq-reactor[cli]'\n")
    assert len(result.stderr.splitlines()) == 1


def test_another_missing_module_is_a_fault_of_ours_and_shows(monkeypatch):
    def call(*_, **__):
        raise ModuleNotFoundError("No module named 'patterns.oops'", name="patterns.oops")

    monkeypatch.setattr(app, "main", call)
    with pytest.raises(ModuleNotFoundError):
        main([])


def test_nobody_who_reads_the_output_is_no_reason_for_a_traceback(start_process):
    read, write = os.pipe()
    os.close(read)
    process = start_process("--help", stdout=write)
    os.close(write)
    _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (1, "")
