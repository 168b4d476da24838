"""Every public name of reactor and patterns says what it promises, in a sentence."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
# The signatures of one function, and the other accessors of one property, share its docstring.
SHARES_A_DOCSTRING = ("overload", "setter", "deleter")


def complaints(source: str, name: str) -> list[str]:
    """The public names of a module without a docstring that opens with a sentence."""
    return [
        f"{dotted}: {complaint}"
        for dotted, node in public_names(ast.parse(source, name), name)
        if (complaint := complaint_about(ast.get_docstring(node)))
    ]


def public_names(node: Documented, name: str) -> Iterator[tuple[str, Documented]]:
    """The module or class itself and, through its classes, all that it defines for others."""
    yield name, node
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return
    for child in definitions(node.body):
        if not child.name.startswith("_") and not shares_a_docstring(child):
            yield from public_names(child, f"{name}.{child.name}")


def definitions(
    body: list[ast.stmt],
) -> Iterator[ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef]:
    """What a body defines, also where that depends on a condition."""
    for statement in body:
        if isinstance(statement, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield statement
        elif isinstance(statement, ast.If | ast.Try):
            handlers = statement.handlers if isinstance(statement, ast.Try) else []
            for inner in [statement.body, statement.orelse, *(each.body for each in handlers)]:
                yield from definitions(inner)


def shares_a_docstring(node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return any(
        ast.unparse(decorator).rpartition(".")[2] in SHARES_A_DOCSTRING
        for decorator in node.decorator_list
    )


def complaint_about(docstring: str | None) -> str | None:
    if not docstring:
        return "no docstring"
    first = docstring.splitlines()[0].strip()
    if not first.endswith((".", "!", "?")):
        return f"its first line does not end: {first!r}"
    # A name in code, as `run()`, may open a sentence as it is written.
    words = first.split()
    if len(words) < 2 or (words[0].isalpha() and words[0].islower()):
        return f"its first line is no sentence: {first!r}"
    return None


def public_modules() -> list[Path]:
    return [
        path
        for folder in ("reactor", "patterns")
        for path in sorted((ROOT / folder).rglob("*.py"))
        if path.stem == "__init__" or not path.stem.startswith("_")
    ]


def test_there_are_modules_to_check():
    parts = {path.relative_to(ROOT).parts[0] for path in public_modules()}
    assert parts == {"reactor", "patterns"}


@pytest.mark.parametrize("path", public_modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_every_public_name_has_a_docstring(path: Path):
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    assert complaints(path.read_text(encoding="utf-8"), name) == []


@pytest.mark.parametrize(
    "source",
    [
        "x = 1",
        '"""no capital letter."""',
        '"""No full stop"""',
        '"""Word."""',
        '"""\n"""',
        '"""Goes on\nin the next line."""',
        '"""A module."""\ndef f(): ...',
        '"""A module."""\nasync def f(): ...',
        '"""A module."""\nclass A: ...',
        '"""A module."""\nclass A:\n    """A class."""\n    def f(self): ...',
        '"""A module."""\nclass A:\n    """A class."""\n    class B: ...',
        '"""A module."""\nif x:\n    def f(): ...',
        '"""A module."""\ntry:\n    x\nexcept E:\n    def f(): ...',
    ],
)
def test_a_planted_omission_is_found(source: str):
    assert len(complaints(source, "planted")) == 1


@pytest.mark.parametrize(
    "source",
    [
        '"""A module."""',
        '"""run() ends with its handlers."""',
        '"""`frames` is what arrived.\n\nMore on it."""',
        '"""A module."""\ndef _f(): ...',
        '"""A module."""\nclass _A:\n    def f(self): ...',
        '"""A module."""\ndef f():\n    """It says so."""\n    def inner(): ...',
        '"""A module."""\nclass A:\n    """A class."""\n    @a.setter\n    def a(self, v): ...',
        '"""A module."""\n@typing.overload\ndef f(): ...',
        '"""A module."""\nclass A:\n    """A class."""\n    def __init__(self): ...',
    ],
)
def test_what_is_private_or_documented_passes(source: str):
    assert complaints(source, "planted") == []
