"""A short chaos on loopback: real processes, some faults, nothing found; and a doctored journal."""

import asyncio
import json

import pytest

from patterns.clone.levels import REPLICATED
from patterns.clone.replication import ReplicationPolicy
from patterns.commands.chaos.cluster import SERVERS, Client
from patterns.commands.chaos.evidence import chaos_lines, report_of
from patterns.commands.chaos.judge import judge_again
from patterns.commands.chaos.run import Plan, play

SMALL = (
    Client("writer-0", rate=50.0),
    Client("reader-1", ("/a/", "/t/")),
    Client("plain", kind="plain"),
)
SECONDS = 12.0
SEED = 2747  # the active server is killed, stopped, and the link cut one way, all within seconds


def alter(folder, name, change):
    """Change the lines of the longest journal of a process, among those that are judged.

    Until all have ended they write on, and nobody looks at that.
    """
    judged_until = max(line["at"] for line in chaos_lines(folder) if line["what"] == "settled")
    path = max(folder.glob(f"{name}.*.jsonl"), key=lambda each: each.stat().st_size)
    lines = [json.loads(line) for line in path.read_bytes().splitlines()]
    change([line for line in lines if line["at"] <= judged_until])
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def alter_one_update(lines):
    """The last update that a client was told of gets another body."""
    put = next(
        effect
        for line in reversed(lines)
        if line["what"] == "told" and line["live"]
        for effect in line["effects"]
        if effect[0] == "put"
    )
    put[2] += " doctored"


def forget_one_confirmation(lines):
    """The last update that was confirmed when it was published was not."""
    published = next(
        line
        for line in reversed(lines)
        if line["what"] == "published" and 0 < line["sequence"] <= line["confirmed"]
    )
    published["confirmed"] = published["sequence"] - 1


@pytest.mark.timeout(150)  # on a busy machine it has as long to settle as any run of the chaos
async def test_a_pair_that_is_hurt_keeps_its_promises_and_a_doctored_line_is_seen(tmp_path):
    plan = Plan(SECONDS, SEED, namespaces=False, clients=SMALL, server_rest=1.0)
    said = []
    report = await play(plan, tmp_path, said.append)
    assert report.passed, report.table()
    assert report.faults["kill active"] >= 1
    assert any("client" in name for name in report.faults)  # a busy machine has time for few
    assert min(report.acknowledged.values()) > 50
    assert set(report.acknowledged) == {"applied", "replicated"}
    assert report.activities >= 2
    assert said
    assert json.loads(report.as_json())["faults"] == report.faults
    again = await asyncio.to_thread(judge_again, tmp_path)
    assert report_of(tmp_path, again.verdict()) == report
    assert report.memory.keys() == {*SERVERS, *(client.name for client in SMALL)}
    alter(tmp_path, "writer-0", alter_one_update)
    doctored = await asyncio.to_thread(judge_again, tmp_path)
    assert {text.partition(" ")[0] for text in doctored.verdict()["first"]} == {"I4"}


@pytest.mark.timeout(150)
async def test_a_pair_that_refuses_holds_all_back_and_a_doctored_confirmation_is_seen(tmp_path):
    """The policy reaches both servers, the judge and the report. Nothing happens to the servers."""
    policy = ReplicationPolicy(REPLICATED, refuses=True)
    plan = Plan(5.0, SEED, namespaces=False, clients=SMALL, server_rest=60.0, policy=policy)
    report = await play(plan, tmp_path, lambda text: None)
    assert report.passed, report.table()
    assert (report.ack, report.without_peer) == ("replicated", "refuse")
    assert report.published[REPLICATED] > 10  # a busy machine has time for few
    assert set(report.acknowledged) == {"applied", "replicated"}
    again = await asyncio.to_thread(judge_again, tmp_path)
    assert report_of(tmp_path, again.verdict()) == report
    alter(tmp_path, "primary", forget_one_confirmation)
    doctored = await asyncio.to_thread(judge_again, tmp_path)
    assert {text.partition(" ")[0] for text in doctored.verdict()["first"]} == {"I20"}
