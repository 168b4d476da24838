"""The judge sees when a pair does not keep to its policy: doctored journals, each found."""

import pytest

from patterns.clone.messages import make_sequence
from patterns.commands.chaos.judge import judge_again
from patterns.commands.chaos.merged import CHAOS
from patterns.commands.chaos.policy import LOST_SECONDS, STEADY_SECONDS
from tests.patterns.commands.chaos.stories import Story, fault, kill_primary

UUID = "ab" * 16
REPLICATED = {"ack": "replicated", "without_peer": "degrade"}
REFUSE = {"ack": "replicated", "without_peer": "refuse"}
REFUSE_WHO_ASKS = {"ack": "applied", "without_peer": "refuse"}


@pytest.fixture
def tell(tmp_path):
    """Begins a story of a pair with this policy, of which the backup follows."""

    def begin(policy):
        story = Story(tmp_path, **policy)
        story.lead("primary", 1)
        story.follow("backup")
        return story

    return begin


def kill_backup(story):
    fault(story, 1, "kill passive", "crash", 35.0, "backup")
    story.write(CHAOS, "dead", who="backup", expected=True)


# I20: what is held back until the passive server confirms it


def test_i20_what_is_published_when_it_is_confirmed_is_well(tell):
    story = tell(REPLICATED)
    story.now += STEADY_SECONDS
    for number in range(3):
        story.put("primary", body=f"x{number}", peer="backup", holds_back=True)
    story.settle()
    verdict = judge_again(story.folder).verdict()
    assert verdict["violations"] == 0
    assert verdict["published"] == {"replicated": 3}


def test_i20_an_update_that_is_published_before_it_is_confirmed_is_found(tell):
    story = tell(REPLICATED)
    story.invoke("writer", UUID)
    story.publish("primary", UUID, holds_back=True)
    assert story.verdict() == ["I20"]


def test_i20_a_client_that_is_told_what_is_held_back_is_found(tell):
    story = tell(REPLICATED)
    story.invoke("writer", UUID)
    story.store("primary", UUID)
    told = [["put", "/a/1", "x", True]]
    story.write("reader", "told", sequence=story.sequence, live=True, effects=told)
    assert story.verdict() == ["I20"]


def test_i20_a_heartbeat_with_a_number_that_is_held_back_is_found(tell):
    story = tell(REPLICATED)
    story.invoke("writer", UUID)
    story.store("primary", UUID)
    beat = ["HUGZ", "", f"seq={story.sequence}\n", ""]
    story.write("primary", "published", sequence=0, update=beat, confirmed=0, holds_back=True)
    assert story.verdict() == ["I20"]


def publish_for_one(story):
    """An update leaves an active server that says it holds nothing back."""
    story.invoke("writer", UUID)
    story.publish("primary", UUID)


def test_i20_a_server_that_holds_nothing_back_with_nothing_wrong_is_found(tell):
    story = tell(REPLICATED)
    story.now += STEADY_SECONDS
    publish_for_one(story)
    story.settle()
    verdict = judge_again(story.folder).verdict()
    (found,) = verdict["first"]
    assert found.startswith("I20") and "unconfirmed" in found
    assert verdict["published"] == {"applied": 1}


def test_without_the_policy_nothing_is_held_back(tell):
    story = tell({})
    story.now += STEADY_SECONDS
    publish_for_one(story)
    assert story.verdict() == []


@pytest.mark.parametrize(
    ("kind", "nodes"),
    [("trickle", ("primary", "backup")), ("pause", ("backup",)), ("cut", ("primary", "backup"))],
)
def test_while_something_is_wrong_at_the_servers_one_alone_may_publish(tell, kind, nodes):
    story = tell(REPLICATED)
    fault(story, 1, kind, kind, 30.0, *nodes)
    story.now += STEADY_SECONDS
    publish_for_one(story)
    assert story.verdict() == []


def test_a_pair_has_a_while_to_be_in_step_again(tell):
    story = tell(REPLICATED)
    fault(story, 1, "cut pair", "cut", STEADY_SECONDS, "primary", "backup")
    story.now += STEADY_SECONDS
    story.write(CHAOS, "healed", number=1)
    story.now += STEADY_SECONDS / 2
    publish_for_one(story)
    assert story.verdict() == []


def test_a_passive_server_that_fetches_a_copy_has_that_while_as_well(tell):
    story = tell(REPLICATED)
    story.now += STEADY_SECONDS
    story.write("backup", "copy", sequence=story.sequence)
    story.now += STEADY_SECONDS / 2
    publish_for_one(story)
    assert story.verdict() == []


def test_what_is_wrong_at_a_client_does_not_let_a_server_publish(tell):
    story = tell(REPLICATED)
    fault(story, 1, "cut client link", "cut", 30.0, "writer", "primary")
    story.now += STEADY_SECONDS
    publish_for_one(story)
    assert story.verdict() == ["I20"]


def test_a_server_without_a_peer_may_publish(tell):
    story = tell(REPLICATED)
    kill_backup(story)
    story.write(CHAOS, "healed", number=1)
    story.now += STEADY_SECONDS
    publish_for_one(story)
    assert story.verdict() == []


# I21: what has to be refused is not taken, and what was refused is not applied


def lose_backup(story, kind, *nodes):
    if kind == "crash":
        kill_backup(story)
    else:
        fault(story, 1, kind, kind, 30.0, *nodes)


LOST = [
    ("crash", ("backup",)),
    ("pause", ("backup",)),
    ("cut", ("backup",)),
    ("cut", ("primary",)),
    ("cut", ("primary", "backup")),
]


@pytest.mark.parametrize(("kind", "nodes"), LOST)
def test_i21_a_write_that_is_taken_when_nobody_can_confirm_it_is_found(tell, kind, nodes):
    story = tell(REFUSE)
    lose_backup(story, kind, *nodes)
    story.now += LOST_SECONDS
    publish_for_one(story)
    assert story.verdict() == ["I21"]


@pytest.mark.parametrize(("kind", "nodes"), LOST)
def test_a_server_has_a_while_to_notice_that_its_peer_is_lost(tell, kind, nodes):
    story = tell(REFUSE)
    lose_backup(story, kind, *nodes)
    story.now += LOST_SECONDS / 2
    publish_for_one(story)
    assert story.verdict() == []


def test_a_server_that_stood_still_itself_has_that_while_afterwards(tell):
    story = tell(REFUSE)
    fault(story, 1, "stop active", "pause", 20.0, "primary")
    story.lead("backup", 2)
    story.now += 8.0
    story.sequence = make_sequence(1, 0)
    story.write(CHAOS, "healed", number=1)
    publish_for_one(story)
    story.write("primary", "yields")
    assert "I21" not in story.verdict()


def test_i21_a_server_whose_peer_leads_as_well_takes_nothing(tell):
    story = tell(REFUSE)
    fault(story, 1, "cut pair", "cut", 1.0, "primary", "backup")
    story.lead("backup", 2)
    story.sequence = make_sequence(1, 0)
    story.write(CHAOS, "healed", number=1)
    story.now += LOST_SECONDS
    publish_for_one(story)
    story.write("primary", "yields")
    assert "I21" in story.verdict()


def test_a_fault_that_has_ended_as_planned_is_not_the_cause_until_it_is_written_down(tell):
    story = tell(REFUSE)
    fault(story, 1, "unplug passive", "cut", LOST_SECONDS, "backup")
    story.now += LOST_SECONDS + 0.1
    publish_for_one(story)
    assert story.verdict() == []


def test_an_update_of_the_servers_own_is_never_refused(tell):
    story = tell(REFUSE)
    story.put("primary", peer="backup", holds_back=True)
    kill_backup(story)
    story.now += LOST_SECONDS
    story.publish("primary", UUID, body="")  # nobody has written this
    assert "I21" not in story.verdict()


@pytest.mark.parametrize(("level", "found"), [("applied", []), ("replicated", ["I21"])])
def test_i21_who_asks_is_refused_though_others_are_not(tell, level, found):
    story = tell(REFUSE_WHO_ASKS)
    kill_backup(story)
    story.now += LOST_SECONDS
    story.invoke("writer", UUID, level=level)
    story.publish("primary", UUID)
    assert story.verdict() == found


def test_a_server_that_degrades_takes_everything(tell):
    story = tell(REPLICATED)
    kill_backup(story)
    story.now += LOST_SECONDS
    publish_for_one(story)
    assert story.verdict() == []


def refuse_a_write(story):
    story.invoke("writer", UUID)
    story.refuse("primary", UUID)
    # Its client is disturbed, which is why the check of answers lets it go.
    fault(story, 9, "stop client", "pause", 1.0, "writer")
    failed = ["failed", UUID, "unreplicated", 0]
    story.write("writer", "told", sequence=0, live=False, effects=[failed])


def test_i21_what_was_refused_and_is_applied_is_found(tell):
    story = tell(REFUSE)
    refuse_a_write(story)
    story.publish("primary", UUID, peer="backup", holds_back=True)
    assert story.verdict() == ["I21"]


# I11: nothing is refused for nothing


def test_i11_a_server_that_refuses_with_nothing_wrong_is_found(tell):
    story = tell(REFUSE)
    story.now += STEADY_SECONDS
    refuse_a_write(story)
    assert story.verdict() == ["I11"]


def test_a_server_without_a_peer_may_refuse(tell):
    story = tell(REFUSE)
    kill_backup(story)
    story.write(CHAOS, "healed", number=1)
    story.now += STEADY_SECONDS
    refuse_a_write(story)
    story.settle()
    verdict = judge_again(story.folder).verdict()
    assert (verdict["violations"], verdict["failed"]) == (0, {"unreplicated": 1})


def test_what_was_refused_before_is_refused_again(tell):
    story = tell(REFUSE)
    refuse_a_write(story)
    story.now += STEADY_SECONDS
    story.refuse("primary", UUID)
    assert story.verdict() == []


def test_a_condition_that_does_not_hold_is_refused_at_any_time(tell):
    story = tell(REFUSE)
    story.now += STEADY_SECONDS
    story.invoke("writer", UUID)
    story.refuse("primary", UUID, reason="conflict")
    assert story.verdict() == []


# Service, of a server that refuses all writes


def fail_over_to_a_server_that_refuses(story):
    """The clients have its map, and hear of no update."""
    story.put("primary", peer="backup", holds_back=True)
    story.now += 5.0
    kill_primary(story)
    story.now += 2.0
    story.lead("backup", 2, make_sequence(1, 1), [("/a/1", "x")])
    for name in ("writer", "reader"):
        fields = {"sequence": story.sequence, "live": True, "effects": [["live", 1]]}
        story.write(name, "told", **fields)
    story.now += 9.0
    story.settle()
    return judge_again(story.folder).verdict()


def test_who_has_the_map_of_a_server_that_refuses_is_served(tell):
    verdict = fail_over_to_a_server_that_refuses(tell(REFUSE))
    assert verdict["violations"] == 0
    assert [round(each, 1) for each in verdict["failovers"]["kill active"]] == [2.0, 2.0]


def test_who_only_has_the_map_of_a_server_that_takes_writes_is_not(tell):
    verdict = fail_over_to_a_server_that_refuses(tell(REPLICATED))
    assert [line.partition(" ")[0] for line in verdict["first"]] == ["I11"]
