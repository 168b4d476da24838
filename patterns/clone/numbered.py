"""The uuids of a client's writes, with a number in each: of two, it shows which was made later.

ZeroMQ keeps the order of messages over one connection, not over two; and a client may have a new
connection while the last messages of the old one are still unread. So that a server can tell, a
client names its writes by uuids of version 8 (RFC 9562, section 5.8): nine bytes for the client,
seven for the number of the write. Programs of the Guide send and compare sixteen bytes, whatever
they mean.
"""

from __future__ import annotations

from collections.abc import Callable

CLIENT_SIZE = 9
_NUMBER_SIZE = 7
_VERSION = 0x80  # the upper half of byte 6
_VARIANT = 0x80  # the upper two bits of byte 8


class NumberedUuids:
    """Makes the uuids of one client's writes: a new, greater one at each call.

    `make_uuid` gives 16 random bytes; of one call's, 66 bits become the client's name. What
    `process` tells changes when the process is forked: the child needs a name of its own, or its
    writes would be taken for those of its parent and be answered as these.
    """

    def __init__(
        self, make_uuid: Callable[[], bytes], process: Callable[[], int] = lambda: 0
    ) -> None:
        self._make_uuid = make_uuid
        self._process = process
        self._number = 0
        self._take_name()

    def _take_name(self) -> None:
        name = bytearray(self._make_uuid()[:CLIENT_SIZE])
        name[6] = _VERSION | name[6] & 0x0F
        name[8] = _VARIANT | name[8] & 0x3F
        self._name = bytes(name)
        self._named_in = self._process()

    def __call__(self) -> bytes:
        """The 16 bytes that name the next write."""
        if self._named_in != self._process():
            self._take_name()
        self._number += 1
        return self._name + self._number.to_bytes(_NUMBER_SIZE, "big")


def is_numbered(uuid: bytes) -> bool:
    """True if a uuid of 16 bytes has a number; its first CLIENT_SIZE bytes name the client."""
    return uuid[6] & 0xF0 == _VERSION
