"""Endpoints that only this user's processes can reach."""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import suppress

import zmq


class PrivateEndpoint:
    """An ipc endpoint in a directory of its own; loopback where there is no ipc."""

    def __init__(self) -> None:
        self._directory = tempfile.mkdtemp(prefix="black-box-") if zmq.has("ipc") else ""

    def __str__(self) -> str:
        return f"ipc://{self._directory}/workers" if self._directory else "tcp://127.0.0.1:*"

    def remove(self) -> None:
        """Remove the directory; idempotent."""
        if self._directory:
            shutil.rmtree(self._directory, ignore_errors=True)
            self._directory = ""


def remove_left(endpoint: str) -> None:
    """Remove what a box that was killed has left: the socket's file, and its empty directory."""
    if endpoint.startswith("ipc://"):
        path = endpoint.removeprefix("ipc://")
        with suppress(OSError):
            os.unlink(path)
        with suppress(OSError):
            os.rmdir(os.path.dirname(path))
