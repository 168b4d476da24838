"""Two server processes, one of them paused: what a write at the level `replicated` is told."""

import asyncio
import os
import subprocess
import sys
from time import monotonic

import pytest

from patterns.clone.blocking import Clone
from patterns.clone.client import CloneClient, WriteError

from .conftest import ROOT, SECONDS
from .pairs import SERVER_TTL, contents_of


def options(policy, timeout=0.3):
    return {"--replication-timeout": timeout, "--without-peer": policy}


async def failure(client, key, value):
    """Why a write is not replicated."""
    with pytest.raises(WriteError) as raised:
        await asyncio.wait_for(client.set(key, value, ack="replicated"), SECONDS)
    return raised.value


async def until_replicated(client, key, value):
    """Write until both servers have it."""
    async with asyncio.timeout(SECONDS):
        while True:
            try:
                return await client.set(key, value, ack="replicated")
            except WriteError as error:
                assert error.reason in ("applied", "unreplicated")
                await asyncio.sleep(0.02)


@pytest.mark.parametrize(
    ("pair", "reason"),
    [(options("degrade"), "applied"), (options("refuse"), "unreplicated")],
    indirect=["pair"],
)
async def test_i16_a_paused_passive_server_confirms_nothing_and_both_sides_know(pair, reason):
    async with CloneClient(pair.endpoints, server_ttl=SERVER_TTL) as client:
        await until_replicated(client, "key", "1")
        pair.servers["backup"].pause()
        # The first one waits, if a heartbeat has not shown by then that nobody answers.
        first = await failure(client, "key", "2")
        assert first.reason in ("applied", reason)
        held = b"2" if first.reason == "applied" else b"1"
        assert client.get("key") == held
        assert (await failure(client, "key", "3")).reason == reason
        assert client.get("key") == (b"3" if reason == "applied" else held)
        await client.set("plain", "4")
        pair.servers["backup"].resume()
        await until_replicated(client, "key", "5")
        assert client.server == pair.endpoint("primary")
        pair.servers["primary"].kill()
        held = await contents_of(pair.endpoint("backup"))
        assert held == [(b"key", b"5"), (b"plain", b"4")]


@pytest.mark.parametrize("pair", [{"--replication-timeout": SECONDS}], indirect=True)
async def test_i16_what_is_replicated_survives_a_kill_at_any_moment(pair):
    async with CloneClient(pair.endpoints, server_ttl=SERVER_TTL) as client:
        await until_replicated(client, "/key/0", "0")
        replicated: dict[bytes, int] = {}

        async def write(key):
            number = 0
            while True:
                try:
                    await client.set(key, str(number), ack="replicated")
                except WriteError as error:
                    return error.reason
                replicated[key] = number
                number += 1

        writers = [asyncio.create_task(write(b"/key/%d" % n)) for n in range(20)]
        async with asyncio.timeout(SECONDS):
            while sum(replicated.values()) < 2000:
                await asyncio.sleep(0.005)
        pair.servers["primary"].kill()
        promised = dict(replicated)
        assert await asyncio.wait_for(asyncio.gather(*writers), SECONDS) == ["applied"] * 20
        held = dict(await contents_of(pair.endpoint("backup")))
    assert {key for key in promised if int(held.get(key, -1)) < promised[key]} == set()


def done(write):
    """What a write returns when both servers have it; a busy machine may keep one of them away."""
    ends_at = monotonic() + SECONDS
    while True:
        try:
            return write()
        except WriteError:
            assert monotonic() < ends_at


@pytest.mark.parametrize("pair", [options("refuse")], indirect=True)
def test_the_blocking_face_and_the_commands_say_the_same(pair):
    with Clone(*pair.endpoints, timeout=SECONDS) as clone:
        sequence = done(lambda: clone.set("key", "2", ack="replicated"))
        assert clone.entry("key") == (b"2", sequence)
        done(lambda: clone.delete("key", ack="replicated"))
        done(lambda: reactor("put", pair, "key", "2"))
        done(lambda: reactor("del", pair, "key"))
        done(lambda: clone.update("key", lambda _: "3", ack="replicated"))
        pair.servers["backup"].pause()
        clone.wait_for(lambda client: failure(client, "other", "1"))
        with pytest.raises(WriteError, match="not done: unreplicated"):
            clone.delete("key", ack="replicated")
        for command in (("put", pair, "key", "4"), ("del", pair, "key")):
            with pytest.raises(WriteError, match="write of b'key' not done: unreplicated"):
                reactor(*command)
        assert clone.get("key") == b"3"


def reactor(command, pair, *arguments):
    """Run a command at the level `replicated`; raises WriteError if it is not reached."""
    servers = [word for endpoint in pair.endpoints for word in ("--server", endpoint)]
    result = subprocess.run(
        [sys.executable, "-W", "error", "-m", "patterns.commands", command, *arguments]
        + ["--ack", "replicated", *servers],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert (result.returncode, result.stderr) == (0, "") or result.returncode == 1
    if result.returncode:
        raise WriteError(result.stderr.removeprefix("Error: ").strip())
