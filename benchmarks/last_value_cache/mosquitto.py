"""MQTT with mosquitto and paho: QoS 0, retained messages for who joins."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import threading
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

from benchmarks.ends import TOPICS
from benchmarks.last_value_cache.peers import Flood, Peer, rate_through
from benchmarks.processes import Pipe, Role
from benchmarks.samples import Meter
from benchmarks.services import Service, start_program, unused_port

_NAMES = [topic.decode() for topic in TOPICS]
_JOINS = 20
_WAIT_SECONDS = 120.0


def _client(address: str) -> Any:
    """Return a client that is connected, whose network loop the caller runs."""
    from paho.mqtt.client import Client
    from paho.mqtt.enums import CallbackAPIVersion

    host, _, port = address.partition(":")
    client = Client(CallbackAPIVersion.VERSION2)
    client.max_queued_messages_set(0)
    client.connect(host, int(port))
    return client


def publish(pipe: Pipe, address: str, flood: Flood) -> None:
    """Role: once told to, publishes everything."""
    client = _client(address)
    body = bytes(flood.size)
    pipe.recv()
    for _ in range(flood.count // len(_NAMES)):
        for name in _NAMES:
            client.publish(name, body)
        while client.want_write():
            client.loop_write()
    pipe.poll(None)


def subscribe(pipe: Pipe, address: str, flood: Flood) -> None:
    """Role: says when it has subscribed, then tells the rate."""
    client = _client(address)
    meter = Meter(flood.count - len(TOPICS), flood.seconds)
    received, done = 0, threading.Event()

    def count(*_: Any) -> None:
        nonlocal received
        received += 1
        if received % 100 == 0 and meter.note(received):
            done.set()

    client.on_message = count
    client.on_subscribe = lambda *_: pipe.send("ready")
    client.on_connect = lambda *_: client.subscribe("#")
    client.loop_start()
    done.wait()
    pipe.send((meter.rate(), received))


def retain(pipe: Pipe, address: str, topics: int) -> None:
    """Role: leaves a retained message in each of so many topics; says when all are there."""
    client = _client(address)
    client.on_publish = lambda *_: None
    for number in range(topics):
        client.publish(_topic(number), bytes(32), retain=True)
        if number % 1000 == 0:
            while client.want_write():
                client.loop_write()
    last = threading.Event()
    client.on_message = lambda *_: last.set()
    client.on_connect = None
    client.loop_start()
    client.subscribe(_topic(topics - 1))
    if not last.wait(_WAIT_SECONDS):
        raise RuntimeError("the retained messages are not there")
    pipe.send("ready")
    pipe.poll(None)


def join(pipe: Pipe, address: str, topics: int) -> None:
    """Role: tells the median seconds until one topic has come, and those until all have."""
    seconds = [
        _seconds_until(1, address, _topic(number * topics // _JOINS)) for number in range(_JOINS)
    ]
    pipe.send((median(seconds), _seconds_until(topics, address, "#")))


def _seconds_until(count: int, address: str, wanted: str) -> float:
    began = perf_counter()
    client = _client(address)
    left = count

    def on_message(*_: Any) -> None:
        nonlocal left
        left -= 1

    client.on_message = on_message
    client.on_connect = lambda *_: client.subscribe(wanted)
    while left:
        client.loop(timeout=1.0)
    taken = perf_counter() - began
    client.disconnect()
    return taken


def _topic(number: int) -> str:
    return f"topic{number:07d}"


def serve(stack: ExitStack, no_delay: bool = False) -> Service:
    """Start a broker that drops nothing for being slow.

    As it comes, its second packet to a client that joins waits 40 ms for the client's TCP.
    """
    port = unused_port()
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    settings = folder / "mosquitto.conf"
    settings.write_text(
        f"listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\n"
        f"max_queued_messages 0\nset_tcp_nodelay {str(no_delay).lower()}\nlog_type none\n"
    )
    return start_program(stack, [_program(), "-c", str(settings)], port)


def joins(no_delay: bool, topics: int) -> tuple[float, float]:
    """Return the seconds for one topic and for all."""
    with ExitStack() as stack:
        address = serve(stack, no_delay).address
        stack.enter_context(Role(retain, address, topics)).get(timeout=_WAIT_SECONDS)
        joining: Callable[..., None] = join
        one, every = stack.enter_context(Role(joining, address, topics)).get(timeout=_WAIT_SECONDS)
        return float(one), float(every)


def _program() -> str:
    program = shutil.which("mosquitto") or shutil.which("/usr/sbin/mosquitto")
    if program is None:
        raise FileNotFoundError("mosquitto: no program mosquitto")
    return program


def peers() -> list[Peer]:
    """Return mosquitto; raises FileNotFoundError where it is not installed."""
    program = _program()
    try:
        about = f"paho {version('paho-mqtt')}"
    except PackageNotFoundError as error:
        raise FileNotFoundError(f"mosquitto: no package {error.name}") from None
    server = subprocess.run([program, "-h"], capture_output=True, text=True, check=False)
    about = f"{server.stdout.splitlines()[0]}, {about}"
    rate = partial(rate_through, serve, publish, subscribe)
    return [
        Peer("mosquitto", about, rate, partial(joins, False)),
        Peer("mosquitto, no delay", about, None, partial(joins, True)),
    ]
