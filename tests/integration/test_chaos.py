"""A short chaos on loopback: real processes, some faults, nothing found; and a doctored journal."""

import asyncio
import json

import pytest

from patterns.commands.chaos.cluster import SERVERS, Client
from patterns.commands.chaos.evidence import report_of
from patterns.commands.chaos.judge import judge_again
from patterns.commands.chaos.run import Plan, play

SMALL = (
    Client("writer-0", rate=50.0),
    Client("reader-1", ("/a/", "/t/")),
    Client("plain", kind="plain"),
)
SECONDS = 12.0
SEED = 2747  # the active server is killed, stopped, and the link cut one way, all within seconds


def alter_one_update(folder):
    """The last update that a client was told of gets another body in its journal."""
    path = max(folder.glob("writer-0.*.jsonl"), key=lambda each: each.stat().st_size)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    put = next(
        effect
        for line in reversed(lines)
        if line["what"] == "told" and line["live"]
        for effect in line["effects"]
        if effect[0] == "put"
    )
    put[2] += " doctored"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


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
    alter_one_update(tmp_path)
    doctored = await asyncio.to_thread(judge_again, tmp_path)
    assert {text.partition(" ")[0] for text in doctored.verdict()["first"]} == {"I4"}
