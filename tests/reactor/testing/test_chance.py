"""What a seed decides is the same on every interpreter, and as it always was."""

import random

import pytest

from reactor.testing.chance import seeded


@pytest.mark.parametrize("text", ["", "7 node primary", "7 naïve"])
def test_it_is_what_random_makes_of_a_text(text):
    assert seeded(text).getstate() == random.Random(text).getstate()
