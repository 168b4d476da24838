"""Keys and values as users give them: text, or anything bytes-like."""

from __future__ import annotations

from typing import TypeAlias

Text: TypeAlias = str | bytes


def to_bytes(text: Text) -> bytes:
    """The bytes of a key, a value or a subtree; of what its owner may change, a copy.

    Raises TypeError for anything else. What has a length would pass for a value up to the socket,
    which then refuses it each time it is sent.
    """
    if isinstance(text, bytes):
        return text
    if isinstance(text, str):
        return text.encode()
    if isinstance(text, (bytearray, memoryview)):
        return bytes(text)
    raise TypeError(f"a key or a value is text or bytes, not {type(text).__name__}: {text!r:.80}")
