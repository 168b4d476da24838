"""What operators do to a real pair under load, and what a cut between the two does to it."""

import asyncio
import json
import sys

import pytest

from patterns.clone.client import CloneClient

from .conftest import ROOT, SECONDS
from .links import Link
from .pairs import Pair, Writer, contents_of


async def reactor(*arguments):
    """Exit status, output and errors of the `reactor` command."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "patterns.commands",
        *arguments,
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await asyncio.wait_for(process.communicate(), SECONDS)
    return process.returncode, output.decode(), errors.decode()


async def statuses(pair):
    """What both servers say of themselves, by role."""
    controls = [pair.control(role) for role in pair.servers]
    status, output, errors = await reactor("status", "--json", *controls)
    assert (status, errors) == (0, "")
    found = [json.loads(line) for line in output.splitlines()]
    return {server["role"]: server for server in found}


async def test_operators_see_and_order_a_pair(pair):
    """BS-10, S6-15: every endpoint is an option, and a server takes orders."""
    await pair.reach("backup", "passive")
    found = await statuses(pair)
    assert {role: server["state"] for role, server in found.items()} == {
        "primary": "active",
        "backup": "passive",
    }
    assert found["primary"]["peer_state"] in ("passive", "syncing")
    assert 0 <= found["backup"]["peer_age"] < 1.0
    assert found["primary"]["epoch"] == found["backup"]["epoch"] > 0
    status, output, _ = await reactor("status", pair.control("primary"), pair.control("backup"))
    assert status == 0
    assert [line.split()[1:3] for line in output.splitlines()] == [
        ["role", "state"],
        ["primary", "active"],
        ["backup", "passive"],
    ]
    status, _, errors = await reactor("promote", pair.control("backup"))
    assert status == 1 and "the peer is active" in errors
    status, _, errors = await reactor("switchover", pair.control("backup"))
    assert status == 1 and "0 of these servers are active" in errors


async def test_a_switchover_under_load_fails_and_loses_no_write(pair):
    async with CloneClient(pair.endpoints) as client:
        writer = Writer(client)
        await pair.reach("backup", "passive")
        await writer.more(300)
        status, output, errors = await reactor(
            "switchover", pair.control("primary"), pair.control("backup"), "--json"
        )
        assert (status, errors) == (0, "")
        await writer.more(300)
        await writer.end()
        assert client.statistics_of_client().failed == 0
        assert writer.lost(client.items()) == {}
        assert writer.lost(await contents_of(pair.endpoint("backup"))) == {}
        found = await statuses(pair)
    assert (found["primary"]["state"], found["backup"]["state"]) == ("passive", "active")
    assert found["primary"]["conflicts"] == found["primary"]["diverged"] == 0


async def test_both_servers_are_restarted_one_after_the_other_under_load(pair):
    async with CloneClient(pair.endpoints) as client:
        writer = Writer(client)
        await pair.reach("backup", "passive")
        await writer.more(200)
        for role, other in (("backup", "primary"), ("primary", "backup")):
            assert pair.servers[role].terminate() == 0
            await pair.reach(other, "active")
            pair.restart(role)
            await pair.reach(role, "passive")
            await writer.more(200)
        await writer.end()
        assert client.statistics_of_client().failed == 0
        assert writer.lost(client.items()) == {}
        assert writer.lost(await contents_of(pair.endpoint("backup"))) == {}


@pytest.mark.parametrize(("at_primary", "at_backup"), [(30, 5), (5, 30)])
async def test_bs_3_f1_a_cut_makes_two_actives_and_the_heal_makes_one(
    start_server, at_primary, at_backup
):
    """Each client knows one server only, as in two halves of a network."""
    async with Link() as to_backup, Link() as to_primary:
        links = {"primary": to_backup.endpoint, "backup": to_primary.endpoint}
        pair = await asyncio.to_thread(Pair, start_server, links)
        to_backup.point_to(pair.state_endpoint("backup"))
        to_primary.point_to(pair.state_endpoint("primary"))
        await pair.reach("backup", "passive")
        async with CloneClient(pair.endpoint("primary")) as left:
            await left.set("before", "1")
            to_backup.cut()
            to_primary.cut()
            connections = to_primary.connections
            async with CloneClient(pair.endpoint("backup")) as right:
                await pair.reach("backup", "active")
                # Not the old one, for which TCP would have to find out that all is well again.
                await to_primary.more_than(connections)
                for number in range(at_primary):
                    await left.set(f"left/{number}", "x")
                for number in range(at_backup):
                    await right.set(f"right/{number}", "x")
                found = await statuses(pair)
                assert {server["state"] for server in found.values()} == {"active"}
                to_backup.heal()
                to_primary.heal()
                winner, loser = (
                    ("primary", "backup") if at_primary > at_backup else ("backup", "primary")
                )
                await pair.reach(loser, "passive")
        kept = dict(await contents_of(pair.endpoint(winner)))
        assert sum(key.startswith(b"left/") for key in kept) == (at_primary > at_backup) * 30
        assert sum(key.startswith(b"right/") for key in kept) == (at_backup > at_primary) * 30
        found = await statuses(pair)
        assert (found[winner]["state"], found[loser]["state"]) == ("active", "passive")
        assert found[winner]["sequence"] == found[loser]["sequence"]
        assert found[loser]["diverged"] == 5
        (given_up,) = pair.servers[loser].log("updates given up for the peer's")
        assert given_up["count"] == 5
        reports = {
            role: pair.servers[role].log("both servers were active") for role in pair.servers
        }
        assert [report["won"] for report in reports[loser]] == [False]
        assert all(report["won"] for report in reports[winner])
