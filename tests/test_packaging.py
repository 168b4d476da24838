"""What is installed is what setup.cfg promises, and the test run is as strict as it looks."""

import configparser
import importlib
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
NAME = "zmq-reactor"


@pytest.fixture(scope="module")
def installed() -> metadata.Distribution:
    """The distribution as pip knows it; an uninstalled tree has no metadata, command or plugin."""
    try:
        return metadata.distribution(NAME)
    except metadata.PackageNotFoundError:
        pytest.fail("not installed: pip install -e '.[test]'")


def requirements(installed: metadata.Distribution, extra: str | None) -> set[str]:
    """The names an extra asks for, or those of the core."""
    marked = [requirement.partition(";") for requirement in installed.requires or []]
    wanted = [
        name
        for name, _, marker in marked
        if (f'extra == "{extra}"' in marker.replace("'", '"') if extra else not marker)
    ]
    return {re.split(r"[<>=!~ ]", name)[0] for name in wanted}


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=45,
    )


# Metadata


def test_the_core_needs_three_packages(installed: metadata.Distribution):
    assert requirements(installed, None) == {"pyzmq", "tornado", "structlog"}


@pytest.mark.parametrize(
    ("extra", "names"),
    [
        ("cli", {"click", "rich", "msgspec"}),
        ("demo", {"CurrencyConverter"}),
        ("all", {f"{NAME}[cli,demo]"}),
        (
            "test",
            {
                f"{NAME}[all]",
                "hypothesis",
                "pytest",
                "pytest-asyncio",
                "pytest-randomly",
                "pytest-timeout",
                "pytest-xdist",
            },
        ),
        ("dev", {"ruff", "mypy", "build"}),
    ],
)
def test_an_extra_holds_what_it_is_for(
    installed: metadata.Distribution, extra: str, names: set[str]
):
    assert requirements(installed, extra) == names


def test_the_extras_are_those_five(installed: metadata.Distribution):
    extras = installed.metadata.get_all("Provides-Extra")
    assert set(extras or []) == {"cli", "demo", "all", "test", "dev"}


def test_the_licence_is_mit_and_goes_along(installed: metadata.Distribution):
    assert installed.metadata["License-Expression"] == "MIT"
    assert installed.metadata.get_all("License-File") == ["LICENSE"]
    assert (ROOT / "LICENSE").read_text(encoding="utf-8").startswith("MIT License")


def test_python_3_11_is_enough(installed: metadata.Distribution):
    assert installed.metadata["Requires-Python"] == ">=3.11"


def test_the_version_is_a_version(installed: metadata.Distribution):
    assert re.fullmatch(r"\d+\.\d+(\.\d+)?(\.?(a|b|rc|dev|post)\d+)*(\+[\w.]+)?", installed.version)


@pytest.mark.parametrize(
    ("group", "value"),
    [("console_scripts", "patterns.commands:main"), ("pytest11", "reactor.testing.plugin")],
)
def test_an_entry_point_leads_to_something(
    installed: metadata.Distribution, group: str, value: str
):
    (entry_point,) = installed.entry_points.select(group=group, name="reactor")
    assert entry_point.value == value
    entry_point.load()


@pytest.mark.parametrize("package", ["reactor", "patterns"])
def test_a_package_declares_its_types_and_ships_the_declaration(package: str):
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    assert (ROOT / package / "py.typed").exists()
    assert config["options.package_data"][package] == "py.typed"


def test_loading_the_pytest_plugin_imports_nothing_heavy():
    # Every project that installs us pays for this at each start of pytest, used or not.
    heavy = "{'zmq', 'tornado', 'structlog'} & set(sys.modules)"
    result = command("-c", f"import sys, reactor.testing.plugin; print({heavy} or 'nothing')")
    assert (result.stdout, result.stderr) == ("nothing\n", "")


def test_the_table_of_patterns_names_every_pattern_and_its_entry_classes():
    import patterns

    rows = re.findall(r"^(\w+)  +Chapter [45], .*  +(\w+(?:, \w+)*)$", patterns.__doc__ or "", re.M)
    folders = {path.parent.name for path in (ROOT / "patterns").glob("*/__init__.py")}
    assert {package for package, _ in rows} == folders - {"commands"}
    for package, classes in rows:
        module = importlib.import_module(f"patterns.{package}")
        assert [name for name in classes.split(", ") if not hasattr(module, name)] == []


# The test run


STRICT = """
import asyncio, threading, warnings
import pytest, zmq

def test_warning():
    warnings.warn("planted")

def test_clean(): ...

async def test_clean_coroutine():
    await asyncio.sleep(0)

def test_thread():
    threading.Thread(target=threading.Event().wait, daemon=True).start()

def test_socket():
    with zmq.Context() as context:
        context.socket(zmq.PUB).close()
    zmq.Context().socket(zmq.PUB)

async def test_task():
    asyncio.create_task(asyncio.sleep(60))

@pytest.fixture
async def held():
    task = asyncio.create_task(asyncio.sleep(60))
    yield
    task.cancel()
    await asyncio.wait([task])

async def test_a_fixture_may_hold_a_task(held): ...

@pytest.mark.xfail
def test_passes_by_surprise(): ...
"""


def test_a_warning_a_leak_and_a_stale_xfail_fail_a_test(pytester: pytest.Pytester):
    for name in ("setup.cfg", "tests/conftest.py"):
        (pytester.path / Path(name).name).write_bytes((ROOT / name).read_bytes())
    pytester.makepyfile(STRICT)
    options = ("-p", "no:randomly", "--import-mode=importlib", "-n", "0")
    result = pytester.runpytest_subprocess(*options, ".")
    # Its leak makes each of three tests an error of its teardown; the test itself has passed.
    result.assert_outcomes(passed=6, failed=2, errors=3)
    result.stdout.re_match_lines_random(
        [
            "E +UserWarning: planted",
            "FAILED .*test_passes_by_surprise",
            "E +Failed: leaked threads: Thread-.*",
            r"E +Failed: left open: <zmq.Context\(1 socket\).*, <zmq.Socket\(zmq.PUB\).*",
            "E +Failed: leaked tasks: <coroutine object sleep .*",
        ]
    )
