"""etcd through its JSON gateway, with the standard library's HTTP client."""

from __future__ import annotations

import itertools
import json
import shutil
import subprocess
import tempfile
from base64 import b64decode, b64encode
from contextlib import ExitStack
from http.client import HTTPConnection
from time import perf_counter
from typing import Any

from benchmarks.clone.ends import MANY_UPDATES, VALUE, key_of, keys_in_use
from benchmarks.clone.peers import Peer, ask, ask_when_ready
from benchmarks.processes import Pipe
from benchmarks.samples import Meter
from benchmarks.services import Service, start_program, unused_port

_IN_ONE_TRANSACTION = 100
_PAGE = 10_000


def _encoded(text: bytes) -> str:
    return b64encode(text).decode()


class Gateway:
    """One connection to the gateway."""

    def __init__(self, address: str) -> None:
        self._connection = HTTPConnection(address, timeout=60)

    def post(self, path: str, request: dict[str, Any]) -> dict[str, Any]:
        """Return the answer to a request; raises RuntimeError if it is a refusal."""
        self._connection.request("POST", f"/v3/kv/{path}", json.dumps(request))
        response = self._connection.getresponse()
        answer = json.loads(response.read())
        if response.status != 200:
            raise RuntimeError(f"etcd: {answer}")
        return dict(answer)

    def put(self, *keys: bytes) -> None:
        """Write keys, several of them in one transaction."""
        puts = [{"key": _encoded(key), "value": _encoded(VALUE)} for key in keys]
        if len(puts) == 1:
            self.post("put", puts[0])
        else:
            self.post("txn", {"success": [{"requestPut": each} for each in puts]})

    def everything(self) -> dict[bytes, bytes]:
        """Return all keys and values, fetched in pages."""
        entries: dict[bytes, bytes] = {}
        first, more = b"\0", True
        while more:
            request = {"key": _encoded(first), "range_end": _encoded(b"\0"), "limit": _PAGE}
            answer = self.post("range", request)
            for each in answer.get("kvs", ()):
                first = b64decode(each["key"])
                entries[first] = b64decode(each["value"])
            first, more = first + b"\0", answer.get("more", False)
        return entries


def write(pipe: Pipe, address: str, together: int, seconds: float) -> None:
    """Role: one request after the other, each of so many puts; tells the rate."""
    gateway = Gateway(address)
    keys = itertools.cycle(keys_in_use())
    meter = Meter(MANY_UPDATES, seconds)
    done = 0
    while not meter.note(done):
        gateway.put(*itertools.islice(keys, together))
        done += together
    pipe.send(meter.rate())


def join(pipe: Pipe, address: str, keys: int) -> None:
    """Role: all pages into a dict; tells the seconds it took."""
    pipe.send("ready")
    pipe.recv()
    began = perf_counter()
    found = len(Gateway(address).everything())
    pipe.send(perf_counter() - began)
    if found != keys:
        raise RuntimeError(f"{found} keys came, not {keys}")


def serve(stack: ExitStack, keys: int) -> Service:
    """Start a server with so many keys."""
    port, peer_port = unused_port(), unused_port()
    folder = stack.enter_context(tempfile.TemporaryDirectory())
    client, peer = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{peer_port}"
    command = ["etcd", "--data-dir", folder, "--unsafe-no-fsync", "--log-level", "error"]
    command += ["--listen-client-urls", client, "--advertise-client-urls", client]
    command += ["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer]
    service = start_program(stack, [*command, "--initial-cluster", f"default={peer}"], port)
    gateway = Gateway(service.address)
    for first in range(0, keys, _IN_ONE_TRANSACTION):
        last = min(first + _IN_ONE_TRANSACTION, keys)
        gateway.put(*(key_of(number) for number in range(first, last)))
    return service


def updates(service: Service, seconds: float) -> float:
    """Return the puts a second in transactions of 100; nobody is told of them."""
    return ask(write, service.address, _IN_ONE_TRANSACTION, seconds)


def acknowledged(service: Service, in_flight: int, seconds: float) -> float:
    """Return the puts a second of one client; many under way are transactions of 100."""
    return ask(write, service.address, min(in_flight, _IN_ONE_TRANSACTION), seconds)


def snapshot(service: Service, keys: int) -> float:
    """Return the seconds a client needs to have everything."""
    return ask_when_ready(join, service.address, keys)


def peers() -> list[Peer]:
    """Return etcd; raises FileNotFoundError where it is not installed."""
    program = shutil.which("etcd")
    if program is None:
        raise FileNotFoundError("etcd: no program etcd")
    server = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
    about = f"{server.stdout.splitlines()[0]}, JSON gateway, no fsync"
    return [Peer("etcd", about, serve, updates, acknowledged, snapshot)]
