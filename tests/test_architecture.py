"""Imports go one way: examples and commands, to patterns, to reactor, to pyzmq and Tornado.

Every rule is a function from a module to the list of its violations. It is applied to the whole
tree, and to planted violations, because a checker that finds nothing may also be blind.
"""

import ast
import sys
from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

CORE = {"zmq", "tornado", "structlog"}
CLI = {"click", "rich", "msgspec", "currency_converter"}
RULES_FILES = ("protocol", "messages", "store")
# No socket, no clock, no chance, no loop, no thread, no log: whatever arrives is an argument.
NOT_IN_RULES = {
    "asyncio",
    "concurrent",
    "importlib",
    "logging",
    "multiprocessing",
    "random",
    "sched",
    "secrets",
    "select",
    "selectors",
    "socket",
    "threading",
    "time",
}
# The clone's servers are a Binary Star pair, so it stands on that pattern.
PATTERN_MAY_IMPORT = {"clone": {"binary_star"}}
# `reactor simulate` hammers the clone on the test kit, and `reactor chaos` has the same checker;
# nothing that serves anybody stands on it.
SIMULATION = "patterns.clone.simulation"
MAY_SIMULATE = ("patterns.commands.simulate", "patterns.commands.chaos")
NO_NAME_FOR_A_MODULE = {"util", "utils", "helpers", "misc"}

Checker = Callable[["Module"], list[str]]


@dataclass(frozen=True)
class Module:
    """A module as it is written, found in the tree or planted by a test."""

    name: str
    source: str
    is_package: bool = False

    @cached_property
    def imports(self) -> list[tuple[str, int]]:
        """Every name imported anywhere in it, absolute and in full, with its line."""
        return list(self._imports())

    def _imports(self) -> Iterator[tuple[str, int]]:
        for node in ast.walk(ast.parse(self.source, self.name)):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    yield alias.name, node.lineno
            elif isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    yield f"{self._origin(node)}.{alias.name}", node.lineno

    def _origin(self, node: ast.ImportFrom) -> str:
        if not node.level:
            return node.module or ""
        # One dot is the package a module stands in, and a package stands in itself.
        parts = self.name.split(".")
        base = parts[: len(parts) - node.level + self.is_package]
        return ".".join([*base, node.module] if node.module else base)

    def violations(self, forbidden: Callable[[str], bool], rule: str) -> list[str]:
        return [
            f"{self.name}:{line} imports {name}: {rule}"
            for name, line in self.imports
            if forbidden(name)
        ]


@cache  # one module for all rules
def load(path: Path, root: Path = ROOT) -> Module:
    parts = path.relative_to(root).with_suffix("").parts
    is_package = parts[-1] == "__init__"
    name = ".".join(parts[:-1] if is_package else parts)
    return Module(name, path.read_text(encoding="utf-8"), is_package)


def modules(*folders: str) -> list[Module]:
    """All modules under the folders of the tree that are there."""
    return [load(path) for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]


def within(name: str, *packages: str) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def top(name: str) -> str:
    return name.partition(".")[0]


def is_stdlib(name: str) -> bool:
    return top(name) in sys.stdlib_module_names


def pattern_of(name: str) -> str | None:
    """The pattern a dotted name belongs to; the commands are not one."""
    parts = name.split(".")
    if parts[0] != "patterns" or len(parts) < 2 or parts[1] == "commands":
        return None
    return parts[1]


def found_violations(checker: Checker, subjects: Iterable[Module]) -> list[str]:
    subjects = list(subjects)
    assert subjects, "nothing to check: has the tree moved?"
    return [violation for module in subjects for violation in checker(module)]


# The rules


def reactor_imports_a_pattern(module: Module) -> list[str]:
    return module.violations(lambda name: within(name, "patterns"), "reactor knows no pattern")


def imports_the_test_kit(module: Module) -> list[str]:
    return module.violations(
        lambda name: within(name, "reactor.testing"), "reactor.testing is for tests"
    )


def imports_the_simulation(module: Module) -> list[str]:
    return module.violations(
        lambda name: within(name, SIMULATION), f"only {', '.join(MAY_SIMULATE)} may simulate"
    )


def imports_another_pattern(module: Module) -> list[str]:
    own = pattern_of(module.name)
    allowed = {own} | PATTERN_MAY_IMPORT.get(own or "", set())
    return module.violations(
        lambda name: pattern_of(name) not in {None} | allowed, "patterns do not know each other"
    )


def imports_the_commands(module: Module) -> list[str]:
    return module.violations(
        lambda name: within(name, "patterns.commands"), "commands import patterns, not they them"
    )


def imports_beyond_the_core(module: Module) -> list[str]:
    """Anything but the standard library, the core's three packages and our own two."""
    allowed = CORE | {"reactor", "patterns"}
    if within(module.name, "patterns.commands"):
        allowed |= CLI
    if within(module.name, "reactor.testing"):
        allowed |= {"pytest"}
    return module.violations(
        lambda name: not is_stdlib(name) and top(name) not in allowed, "not a core dependency"
    )


def is_an_impure_rules_file(module: Module) -> list[str]:
    """Rules import the standard library without what is outside it, and rules of their pattern."""
    own = pattern_of(module.name)
    reachable = {own} | PATTERN_MAY_IMPORT.get(own or "", set())

    def forbidden(name: str) -> bool:
        if is_stdlib(name):
            return top(name) in NOT_IN_RULES
        return pattern_of(name) is None or pattern_of(name) not in reachable

    return module.violations(forbidden, "rules know no socket, clock, loop or log")


def configures_logging(module: Module) -> list[str]:
    """How to log is decided by the program, never by a library it imports."""
    return [
        f"{module.name}:{node.lineno} calls {ast.unparse(node.func)}"
        for node in ast.walk(ast.parse(module.source, module.name))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and ast.unparse(node.func) in {"structlog.configure", "logging.basicConfig"}
    ]


def is_called_utils(module: Module) -> list[str]:
    return [module.name] if module.name.rpartition(".")[2] in NO_NAME_FOR_A_MODULE else []


def rules_modules(tree: Iterable[Module]) -> list[Module]:
    """The rules files and, step by step, every module of a pattern that these import."""
    by_name = {module.name: module for module in tree if pattern_of(module.name)}
    waiting = [name for name in by_name if name.rpartition(".")[2] in RULES_FILES]
    reached: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            imported = [home(target, by_name) for target, _ in by_name[name].imports]
            waiting += [target for target in imported if target]
    return [by_name[name] for name in sorted(reached)]


def home(name: str, known: Container[str]) -> str:
    """The module that a dotted name leads to: the longest part of it that is one, or nothing."""
    while name and name not in known:
        name = name.rpartition(".")[0]
    return name


# The rules hold


def test_reactor_never_imports_a_pattern():
    assert found_violations(reactor_imports_a_pattern, modules("reactor")) == []


def test_only_tests_import_the_test_kit():
    users = modules("reactor", "patterns", "examples", "benchmarks")
    kit = ("reactor.testing", SIMULATION)
    users = [module for module in users if not within(module.name, *kit)]
    assert found_violations(imports_the_test_kit, users) == []


def test_only_its_commands_import_the_simulation():
    users = modules("reactor", "patterns", "examples", "benchmarks")
    users = [module for module in users if not within(module.name, SIMULATION, *MAY_SIMULATE)]
    assert found_violations(imports_the_simulation, users) == []


def test_no_pattern_imports_another_pattern():
    subjects = [module for module in modules("patterns") if pattern_of(module.name)]
    assert found_violations(imports_another_pattern, subjects) == []


def test_no_pattern_imports_the_commands():
    subjects = [module for module in modules("patterns") if pattern_of(module.name)]
    assert found_violations(imports_the_commands, subjects) == []


def test_the_table_of_patterns_imports_none_of_them():
    (table,) = [module for module in modules("patterns") if module.name == "patterns"]
    assert table.imports == []


def test_the_core_has_three_dependencies():
    assert found_violations(imports_beyond_the_core, modules("reactor", "patterns")) == []


def test_rules_are_pure():
    assert found_violations(is_an_impure_rules_file, rules_modules(modules("patterns"))) == []


def test_no_library_module_configures_logging():
    subjects = modules("reactor", "patterns")
    subjects = [module for module in subjects if not within(module.name, "patterns.commands")]
    assert found_violations(configures_logging, subjects) == []


def test_no_module_is_called_utils():
    assert found_violations(is_called_utils, modules("reactor", "patterns", "tests")) == []


# The checkers see


@pytest.mark.parametrize(
    ("checker", "name", "source"),
    [
        (reactor_imports_a_pattern, "reactor.handlers", "import patterns"),
        (reactor_imports_a_pattern, "reactor.handlers", "from patterns.clone import Clone"),
        (reactor_imports_a_pattern, "reactor.handlers", "def f():\n    import patterns.clone"),
        (imports_the_test_kit, "reactor.streams", "from . import testing"),
        (imports_the_test_kit, "reactor.streams", "from .testing.loop import FakeLoop"),
        (imports_the_test_kit, "patterns.clone.client", "from reactor import testing"),
        (imports_the_test_kit, "examples.echo", "import reactor.testing"),
        (imports_the_simulation, "patterns.clone.handlers", "from .simulation import run"),
        (imports_the_simulation, "patterns.commands.ls", "import patterns.clone.simulation.run"),
        (imports_another_pattern, "patterns.espresso.handlers", "import patterns.clone"),
        (imports_another_pattern, "patterns.espresso.handlers", "from patterns import clone"),
        (imports_another_pattern, "patterns.binary_star.handlers", "from .. import clone"),
        (imports_another_pattern, "patterns.binary_star.handlers", "from ..clone import x"),
        (imports_another_pattern, "patterns.clone.handlers", "from patterns.espresso import x"),
        (imports_the_commands, "patterns.clone.handlers", "from ..commands import main"),
        (imports_beyond_the_core, "reactor.reactor", "import click"),
        (imports_beyond_the_core, "patterns.clone.handlers", "import examples.echo"),
        (imports_beyond_the_core, "patterns.commands.demo", "import numpy"),
        (imports_beyond_the_core, "reactor.streams", "import pytest"),
        (is_an_impure_rules_file, "patterns.clone.protocol", "import zmq"),
        (is_an_impure_rules_file, "patterns.clone.protocol", "from time import monotonic"),
        (is_an_impure_rules_file, "patterns.clone.store", "from tornado.ioloop import IOLoop"),
        (is_an_impure_rules_file, "patterns.clone.store", "import asyncio.tasks as t"),
        (is_an_impure_rules_file, "patterns.clone.store", "def f():\n    import random"),
        (is_an_impure_rules_file, "patterns.clone.messages", "from reactor import PeerError"),
        (is_an_impure_rules_file, "patterns.clone.messages", "import structlog"),
        (is_an_impure_rules_file, "patterns.clone.messages", "import logging, threading"),
        (is_an_impure_rules_file, "patterns.binary_star.protocol", "from ..clone import store"),
        (is_an_impure_rules_file, "patterns.clone.protocol", "from ..commands import main"),
        (configures_logging, "reactor.reactor", "def f():\n    structlog.configure()"),
        (configures_logging, "patterns.clone.handlers", "logging.basicConfig(level=10)"),
        (is_called_utils, "patterns.clone.utils", ""),
    ],
)
def test_a_planted_violation_is_found(checker: Checker, name: str, source: str):
    assert checker(Module(name, source)) != []


@pytest.mark.parametrize(
    ("checker", "name", "source"),
    [
        (imports_another_pattern, "patterns.clone.handlers", "from patterns.binary_star import x"),
        (imports_another_pattern, "patterns.clone.handlers", "from .messages import Update"),
        (imports_beyond_the_core, "patterns.commands.demo", "import click, rich.table"),
        (imports_beyond_the_core, "reactor.testing.plugin", "import pytest"),
        (is_an_impure_rules_file, "patterns.clone.protocol", "import heapq, enum"),
        (is_an_impure_rules_file, "patterns.clone.protocol", "from .messages import Update"),
        (is_an_impure_rules_file, "patterns.clone.protocol", "from ..binary_star import protocol"),
    ],
)
def test_what_is_allowed_is_not_a_violation(checker: Checker, name: str, source: str):
    assert checker(Module(name, source)) == []


def test_a_relative_import_in_a_package_starts_from_the_package_itself():
    package = Module("reactor", "from . import testing\nfrom .streams import Stream", True)
    assert [name for name, _ in package.imports] == ["reactor.testing", "reactor.streams.Stream"]


def test_a_module_that_rules_import_is_held_to_the_rules():
    protocol = Module("patterns.clone.protocol", "from .outbox import Outbox")
    outbox = Module("patterns.clone.outbox", "from . import names\nimport time")
    names = Module("patterns.clone.names", "import zmq")
    handlers = Module("patterns.clone.handlers", "import zmq")
    package = Module("patterns.clone", "from .handlers import CloneServer", True)
    reached = rules_modules([protocol, outbox, names, handlers, package])
    assert reached == [names, outbox, protocol]
    assert len(found_violations(is_an_impure_rules_file, reached)) == 2


def test_rules_that_import_their_pattern_as_a_whole_are_held_to_all_of_it():
    protocol = Module("patterns.clone.protocol", "from patterns.clone import CloneServer")
    package = Module("patterns.clone", "from reactor import Handler", True)
    assert rules_modules([protocol, package]) == [package, protocol]


def test_a_tree_without_modules_is_not_a_tree_without_violations():
    with pytest.raises(AssertionError, match="nothing to check"):
        found_violations(is_called_utils, [])
