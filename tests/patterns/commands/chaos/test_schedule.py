"""The schedule of the chaos: a seed decides it, and it has what was asked for."""

from collections import Counter
from itertools import islice

import pytest

from patterns.commands.chaos.schedule import client_faults, server_faults

LANES = (server_faults, client_faults)


@pytest.mark.parametrize("lane", LANES)
def test_a_seed_decides_everything(lane):
    first = list(islice(lane(7, plugs=True), 100))
    assert first == list(islice(lane(7, plugs=True), 100))
    assert first != list(islice(lane(8, plugs=True), 100))


def test_the_lanes_have_chance_of_their_own():
    servers = [fault.seconds for fault in islice(server_faults(7, plugs=True), 100)]
    clients = [fault.seconds for fault in islice(client_faults(7, plugs=True), 100)]
    assert servers != clients


@pytest.mark.parametrize("lane", LANES)
def test_every_kind_comes(lane):
    counts = Counter(fault.kind for fault in islice(lane(1, plugs=True), 500))
    assert set(counts) == {"kill", "stop", "unplug", "cut", "reset", "delay", "trickle"}
    assert min(counts.values()) > 10


@pytest.mark.parametrize("lane", LANES)
def test_without_plugs_nobody_is_unplugged(lane):
    assert all(fault.kind != "unplug" for fault in islice(lane(1, plugs=False), 500))


@pytest.mark.parametrize("lane", LANES)
def test_most_faults_are_short_and_some_outlast_every_timeout(lane):
    stops = [fault.seconds for fault in islice(lane(1, plugs=True), 2000) if fault.kind == "stop"]
    assert 0.1 <= min(stops) and 20.0 < max(stops) <= 30.0
    assert sorted(stops)[len(stops) // 2] < 3.0


def test_there_is_more_than_a_fault_every_eleven_seconds():
    """The lane of the clients alone has it; that of the servers waits for the pair as well."""
    for lane, limit in ((server_faults, 13.0), (client_faults, 8.0)):
        faults = list(islice(lane(1, plugs=True), 1000))
        assert sum(fault.seconds + fault.after for fault in faults) / 1000 < limit


def test_servers_can_be_kept_and_have_all_other_faults():
    kinds = {fault.kind for fault in islice(server_faults(1, plugs=True, kills=False), 500)}
    assert kinds == {"stop", "unplug", "cut", "reset", "delay", "trickle"}


def test_a_one_way_cut_is_counted_apart():
    cuts = [fault for fault in islice(server_faults(1, plugs=True), 500) if fault.kind == "cut"]
    assert {(fault.way == "both", fault.name) for fault in cuts} == {
        (True, "cut pair"),
        (False, "cut pair, one way"),
    }
