"""When nothing goes wrong any more, all have to hold the same."""

import pytest

from patterns.commands.chaos.agreement import disagreement

MAP = [["/a/1", 3, "aa", "x"], ["/b/1", 4, "bb", "y"]]
SUBTREES = {"all": [""], "some": ["/a/"]}


def state(kind, entries, unanswered=0):
    return {"state": kind, "entries": entries, "unanswered": unanswered}


@pytest.fixture
def servers():
    return {"primary": state("passive", MAP), "backup": state("active", MAP)}


@pytest.fixture
def clients():
    return {"all": state("live", MAP), "some": state("live", MAP[:1])}


def test_all_agree(servers, clients):
    assert disagreement(servers, clients, SUBTREES) is None


@pytest.mark.parametrize("name", ["all", "some"])
def test_a_client_that_holds_something_else_diverges(servers, clients, name):
    clients[name]["entries"] = [["/a/1", 3, "aa", "z"]]
    invariant, problem = disagreement(servers, clients, SUBTREES)
    assert invariant == "I10" and problem.startswith(f"{name} holds another map")


def test_a_server_that_holds_something_else_diverges(servers, clients):
    servers["primary"]["entries"] = MAP[1:]
    assert disagreement(servers, clients, SUBTREES)[0] == "I10"


def test_the_number_of_an_entry_counts_as_well(servers, clients):
    clients["some"]["entries"] = [["/a/1", 2, "aa", "x"]]
    assert disagreement(servers, clients, SUBTREES)[0] == "I10"


def test_a_client_that_is_not_live_is_stuck(servers, clients):
    clients["some"]["state"] = "syncing"
    assert disagreement(servers, clients, SUBTREES) == ("I11", "some is syncing")


def test_a_write_without_an_answer_is_stuck(servers, clients):
    clients["all"]["unanswered"] = 2
    assert disagreement(servers, clients, SUBTREES)[0] == "I11"


def test_two_actives_are_no_pair(servers, clients):
    servers["primary"]["state"] = "active"
    invariant, problem = disagreement(servers, clients, SUBTREES)
    assert (invariant, problem) == ("I11", "the servers are active and active")


@pytest.mark.parametrize("name", ["primary", "all"])
def test_who_does_not_answer_is_stuck(servers, clients, name):
    (servers if name in servers else clients)[name] = None
    assert disagreement(servers, clients, SUBTREES) == ("I11", f"{name} does not answer")
