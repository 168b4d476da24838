"""docs/binary_star.md is drawn from the table, and names what the code has."""

import re
from pathlib import Path

import pytest

from patterns.binary_star.messages import State
from patterns.binary_star.table import Action, as_markdown

PAGE = (Path(__file__).parents[3] / "docs" / "binary_star.md").read_text(encoding="utf-8")


def test_the_page_shows_the_table_as_it_is():
    assert as_markdown() in PAGE


def test_a_cell_tells_the_new_state_and_what_is_done():
    rows = {row.split(" | ")[0][2:]: row.split(" | ") for row in as_markdown().splitlines()}
    assert rows["a client asks, the peer is silent"][1] == "**active**, lead, serve"
    assert rows["the peer is passive"][1] == ""


@pytest.mark.parametrize("state", State)
def test_every_state_is_explained(state):
    assert re.search(rf"^\| {state.value} \|", PAGE, re.MULTILINE)


@pytest.mark.parametrize("action", Action)
def test_every_action_is_explained(action):
    assert f"| {action.name.lower().replace('_', ' ')} | {action.value} |" in PAGE
