"""Every known bug in docs/bugs.md names the tests that would catch it here, and they exist."""

import ast
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
PAGE = TESTS.parent / "docs" / "bugs.md"

# A family whose page is complete: as many ids as there are, from 1 on. A new family: a new line.
FAMILIES = {
    "KV": 12,
    "M": 20,
    "CL": 19,
    "R12": 12,
    "S6": 18,
    "BS": 14,
    "ESP": 5,
    "SN": 6,
    "BB": 1,
    "ZH": 3,
}

NO_TEST = "does not apply:"
_ROW = re.compile(r"^\| ([A-Z][A-Z0-9]*-\d+) \|(.*)\|$", re.MULTILINE)
_TEST = re.compile(r"`([\w/]+\.py)::(\w+)`")


@dataclass(frozen=True)
class Row:
    """A line of a table: the id, what stands in the other cells, the tests that the last names."""

    id: str
    cells: tuple[str, ...]
    tests: tuple[tuple[str, str], ...]


def rows(page: str) -> list[Row]:
    found = []
    for match in _ROW.finditer(page):
        cells = tuple(cell.strip() for cell in match[2].split(" | "))
        found.append(Row(match[1], cells, tuple(_TEST.findall(cells[-1]))))
    return found


@cache
def first_lines(path: Path) -> dict[str, str]:
    """The tests of a file by name, each with the first line of its docstring."""
    tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
    return {
        node.name: (ast.get_docstring(node) or "").partition("\n")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


def names(id: str, test: str, first_line: str) -> bool:
    """True if a test says that it is about a bug: `test_kv_1_...`, or `KV-1: ...` in its text."""
    slug = id.lower().replace("-", "_")
    spoken = rf"\b{re.escape(id)}\b"
    return f"_{slug}_" in f"{test}_" or re.search(spoken, first_line) is not None


def complaints(row: Row, root: Path) -> list[str]:
    """What is wrong with a row."""
    if not row.tests:
        excused = row.cells[-1].startswith(NO_TEST) and len(row.cells[-1]) > len(NO_TEST) + 20
        return [] if excused else [f"{row.id} names no test and no reason"]
    found = []
    for file, test in row.tests:
        path = root / file
        known = first_lines(path) if path.is_file() else {}
        if test not in known:
            found.append(f"{row.id}: there is no {file}::{test}")
        elif not names(row.id, test, known[test]):
            found.append(f"{row.id}: {file}::{test} does not say that it is about it")
    return found


ROWS = rows(PAGE.read_text(encoding="utf-8"))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_the_tests_that_a_bug_names_exist_and_say_so(row: Row):
    assert complaints(row, TESTS) == []


def test_no_bug_is_listed_twice():
    ids = [row.id for row in ROWS]
    assert sorted(ids) == sorted(set(ids))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_has_no_hole(family: str):
    listed = [row.id for row in ROWS if row.id.startswith(f"{family}-")]
    assert listed == [f"{family}-{number}" for number in range(1, FAMILIES[family] + 1)]


# The checker sees


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    source = 'def test_kv_1_it_works():\n    """M-2: a sentence."""\n'
    (tmp_path / "test_planted.py").write_text(source, encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize(
    "line",
    [
        "| KV-1 | fault | cure | `test_planted.py::test_gone` |",
        "| KV-1 | fault | cure | `test_nowhere.py::test_kv_1_it_works` |",
        "| KV-2 | fault | cure | `test_planted.py::test_kv_1_it_works` |",
        "| KV-11 | fault | cure | `test_planted.py::test_kv_1_it_works` |",
        "| KV-1 | fault | cure | a test |",
        "| KV-1 | fault | cure | does not apply: |",
    ],
)
def test_a_planted_row_without_its_test_is_found(tree: Path, line: str):
    (row,) = rows(line)
    assert len(complaints(row, tree)) == 1


@pytest.mark.parametrize(
    "line",
    [
        "| KV-1 | fault | cure | `test_planted.py::test_kv_1_it_works` |",
        "| M-2 | fault | cure | `test_planted.py::test_kv_1_it_works` |",
        "| M-3 | fault | cure | does not apply: there is no such program here |",
    ],
)
def test_a_row_with_its_test_or_its_reason_passes(tree: Path, line: str):
    (row,) = rows(line)
    assert complaints(row, tree) == []
