"""Redis with redis-py and hiredis, nothing persisted."""

from __future__ import annotations

import itertools
import tempfile
from contextlib import ExitStack
from time import perf_counter
from typing import Any

from benchmarks.clone.ends import MANY_UPDATES, VALUE, key_of, keys_in_use
from benchmarks.clone.peers import Peer, ask, ask_when_ready
from benchmarks.processes import Pipe, Role
from benchmarks.samples import Meter
from benchmarks.services import Service, redis_versions, start_program, unused_port

_CHANNEL = b"updates"


def _connect(address: str) -> Any:
    import redis

    host, _, port = address.partition(":")
    return redis.Redis(host=host, port=int(port))


def write(pipe: Pipe, address: str, in_flight: int, publish: bool, seconds: float) -> None:
    """Role: pipelines of so many SETs, each with a PUBLISH if asked for; tells the rate."""
    client = _connect(address)
    keys = itertools.cycle(keys_in_use())
    meter = Meter(MANY_UPDATES, seconds)
    done = 0
    while not meter.note(done):
        pipeline = client.pipeline(transaction=False)
        for _ in range(in_flight):
            key = next(keys)
            pipeline.set(key, VALUE)
            if publish:
                pipeline.publish(_CHANNEL, key + VALUE)
        pipeline.execute()
        done += in_flight
    pipe.send(meter.rate())


def follow(pipe: Pipe, address: str, seconds: float) -> None:
    """Role: a subscriber that tells the rate of what comes."""
    subscription = _connect(address).pubsub(ignore_subscribe_messages=True)
    subscription.subscribe(_CHANNEL)
    pipe.send("ready")
    meter = Meter(MANY_UPDATES, seconds)
    received = 0
    while not meter.note(received):
        for _ in range(100):
            received += subscription.get_message(timeout=10) is not None
    pipe.send(meter.rate())


def one_at_a_time(pipe: Pipe, address: str, seconds: float) -> None:
    """Role: one SET after the other; tells the rate."""
    client = _connect(address)
    keys = itertools.cycle(keys_in_use())
    meter = Meter(MANY_UPDATES, seconds)
    done = 0
    while not meter.note(done):
        for _ in range(20):
            client.set(next(keys), VALUE)
        done += 20
    pipe.send(meter.rate())


def join(pipe: Pipe, address: str, keys: int) -> None:
    """Role: SCAN, and MGET of what it names, into a dict; tells the seconds it took."""
    pipe.send("ready")
    pipe.recv()
    began = perf_counter()
    client = _connect(address)
    entries: dict[bytes, bytes] = {}
    cursor = -1
    while cursor:
        cursor, names = client.scan(max(cursor, 0), count=1000)
        entries.update(zip(names, client.mget(names), strict=True))
    pipe.send(perf_counter() - began)
    if len(entries) != keys:
        raise RuntimeError(f"{len(entries)} keys came, not {keys}")


def serve(stack: ExitStack, keys: int) -> Service:
    """Start a server with so many keys."""
    port = unused_port()
    folder = stack.enter_context(tempfile.TemporaryDirectory())
    command = ["redis-server", "--bind", "127.0.0.1", "--port", str(port), "--dir", folder]
    service = start_program(stack, [*command, "--save", "", "--appendonly", "no"], port)
    client = _connect(service.address)
    for first in range(0, keys, 10_000):
        numbers = range(first, min(first + 10_000, keys))
        client.mset({key_of(number): VALUE for number in numbers})
    client.close()
    return service


def updates(service: Service, seconds: float) -> float:
    """Return the SETs a second in pipelines of 1,000; nobody is told of them."""
    return ask(write, service.address, 1000, False, seconds)


def published_updates(service: Service, seconds: float) -> float:
    """Return the updates a second that are set and also published to a subscriber."""
    with Role(follow, service.address, seconds) as subscriber:
        subscriber.get()
        with Role(write, service.address, 1000, True, 1e9):
            return float(subscriber.get())


def acknowledged(service: Service, in_flight: int, seconds: float) -> float:
    """Return the SETs a second of one client, in pipelines of `in_flight`."""
    if in_flight == 1:
        return ask(one_at_a_time, service.address, seconds)
    return ask(write, service.address, in_flight, False, seconds)


def snapshot(service: Service, keys: int) -> float:
    """Return the seconds a client needs to have everything."""
    return ask_when_ready(join, service.address, keys)


def peers() -> list[Peer]:
    """Return Redis alone and with PUBLISH; raises FileNotFoundError where it is not installed."""
    about = redis_versions()
    return [
        Peer("Redis", about, serve, updates, acknowledged, snapshot),
        Peer("Redis, SET and PUBLISH", about, serve, published_updates),
    ]
