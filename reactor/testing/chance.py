"""Sources of chance that a text decides."""

from __future__ import annotations

import hashlib
import random


def seeded(text: str) -> random.Random:
    """Return `random.Random(text)`.

    That class takes a SHA-512 of the text, which PyPy interprets: a sixth of a simulation's time.
    """
    data = text.encode()
    return random.Random(int.from_bytes(data + hashlib.sha512(data).digest()))
