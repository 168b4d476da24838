"""Redis PUBLISH with redis-py and hiredis, in pipelines; it keeps nothing."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from functools import partial
from typing import Any

from benchmarks.ends import TOPICS
from benchmarks.last_value_cache.peers import Flood, Peer, rate_through
from benchmarks.processes import Pipe
from benchmarks.samples import Meter
from benchmarks.services import Service, redis_versions, start_program, unused_port


def _connect(address: str) -> Any:
    import redis

    host, _, port = address.partition(":")
    return redis.Redis(host=host, port=int(port))


def publish(pipe: Pipe, address: str, flood: Flood) -> None:
    """Role: once told to, publishes everything, in pipelines of 1,000."""
    client = _connect(address)
    body = bytes(flood.size)
    pipe.recv()
    for _ in range(flood.count // len(TOPICS)):
        pipeline = client.pipeline(transaction=False)
        for topic in TOPICS:
            pipeline.publish(topic, body)
        pipeline.execute()
    pipe.poll(None)


def subscribe(pipe: Pipe, address: str, flood: Flood) -> None:
    """Role: says when it has subscribed, then tells the rate."""
    subscription = _connect(address).pubsub()
    subscription.psubscribe("*")
    subscription.get_message(timeout=10)
    pipe.send("ready")
    meter = Meter(flood.count - len(TOPICS), flood.seconds)
    received = 0
    while not meter.note(received):
        for _ in range(100):
            received += subscription.get_message(timeout=10) is not None
    pipe.send((meter.rate(), received))


def serve(stack: ExitStack) -> Service:
    """Start a server that disconnects nobody for being slow."""
    port = unused_port()
    folder = stack.enter_context(tempfile.TemporaryDirectory())
    command = ["redis-server", "--bind", "127.0.0.1", "--port", str(port), "--dir", folder]
    limits = ["--save", "", "--client-output-buffer-limit", "pubsub 0 0 0"]
    return start_program(stack, [*command, *limits], port)


def peers() -> list[Peer]:
    """Return Redis; raises FileNotFoundError where it is not installed."""
    rate = partial(rate_through, serve, publish, subscribe)
    return [Peer("Redis", redis_versions(), rate)]
