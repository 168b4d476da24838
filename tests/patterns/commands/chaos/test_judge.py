"""The judge sees: journals without a mistake pass, and a doctored line is found."""

import json

import pytest

from patterns.clone.messages import make_sequence
from patterns.commands.chaos.judge import Judge, judge_again
from patterns.commands.chaos.merged import CHAOS
from patterns.commands.chaos.workload import WRITES_OF_A_LIFE
from tests.patterns.commands.chaos.stories import Story, fault, kill_primary


@pytest.fixture
def story(tmp_path):
    story = Story(tmp_path)
    story.lead("primary", 1)
    return story


def test_a_run_without_a_mistake_passes(story):
    for number in range(5):
        story.put("primary", body=f"x{number}")
    story.write("backup", "holds", sequence=story.sequence, map=[("/a/1", "x4")])
    story.settle()
    verdict = judge_again(story.folder).verdict()
    assert verdict["violations"] == 0
    assert verdict["acknowledged"] == {"applied": 5}
    assert verdict["activities"] == 1
    assert verdict["lost"] == {"applied": 0}


def test_a_number_given_twice_is_found(story):
    story.put("primary")
    story.sequence -= 1
    story.put("primary", body="y")
    assert "I1" in story.verdict()


def test_a_value_that_nobody_wrote_is_found(story):
    story.put("primary")
    story.publish("primary", "ab" * 16)
    assert "I4" in story.verdict()


def test_a_client_that_was_told_something_else_is_found(story):
    story.put("primary", heard_as="y")
    assert "I4" in story.verdict()


def test_a_passive_server_that_holds_something_else_is_found(story):
    story.put("primary")
    story.write("backup", "holds", sequence=story.sequence, map=[("/a/1", "y")])
    assert story.verdict() == ["I4"]


def test_an_acknowledged_write_that_is_gone_is_found(story):
    story.put("primary")
    story.now += 20.0
    story.write(CHAOS, "dead", who="primary", expected=True)
    story.lead("backup", 2)
    story.settle()
    verdict = judge_again(story.folder).verdict()
    assert [text.partition(" ")[0] for text in verdict["first"]] == ["I6a"]
    assert (verdict["lost"], verdict["overwritten"]) == ({"applied": 1}, {"applied": 0})


def lose_a_replicated_write(story):
    """The passive server has it, and leads without it; returns the verdict."""
    story.put("primary", level="replicated", peer="backup")
    kill_primary(story)
    story.write("backup", "promotes", position=0)
    story.lead("backup", 2)
    story.put("backup", body="y")
    story.settle()
    return judge_again(story.folder).verdict()


def test_a_write_that_both_servers_had_and_that_is_gone_is_found(story):
    verdict = lose_a_replicated_write(story)
    assert "I6b" in {text.partition(" ")[0] for text in verdict["first"]}
    assert verdict["lost"]["replicated"] + verdict["overwritten"]["replicated"] == 1


def test_a_server_that_says_its_peer_has_what_it_has_not_is_found(story):
    story.put("primary", level="replicated")
    assert "I6b" in story.verdict()


def test_a_write_that_only_the_dead_server_had_is_counted(story):
    story.put("primary")
    kill_primary(story)
    story.lead("backup", 2)
    story.put("backup", body="y")
    story.settle()
    verdict = judge_again(story.folder).verdict()
    assert (verdict["lost"], verdict["overwritten"]) == ({"applied": 0}, {"applied": 1})


@pytest.mark.parametrize(("lives", "found"), [((2, 2), ["I8"]), ((2, 3), [])])
def test_i8_the_order_of_two_processes_of_a_writer_is_open(story, lives, found):
    """What a dead one had sent stood in the network, and came after what the new one wrote."""
    first, later = (life * WRITES_OF_A_LIFE + 7 - life for life in lives)
    later += lives[0] == lives[1]
    for uuid, number in (("01" * 16, first), ("02" * 16, later)):
        story.invoke("writer", uuid, body=str(number), number=number)
    for uuid, number in (("02" * 16, later), ("01" * 16, first)):
        story.publish("primary", uuid, body=str(number))
        told = [["put", "/a/1", str(number), number == later]]
        for client in ("writer", "reader"):
            story.write(client, "told", sequence=story.sequence, live=True, effects=told)
    assert story.verdict() == found


def test_a_process_that_ends_by_itself_is_found(story):
    story.put("primary")
    story.write(CHAOS, "dead", who="reader", expected=False)
    assert story.verdict() == ["I18"]


def test_what_the_chaos_has_found_itself_counts(story):
    story.write(CHAOS, "violates", invariant="I10", text="reader holds another map")
    assert story.verdict() == ["I10"]


def test_a_failover_is_measured_at_every_client(story):
    story.put("primary")
    kill_primary(story)
    story.now += 2.0
    story.lead("backup", 2, make_sequence(1, 1), [("/a/1", "x")])
    story.put("backup", body="y")
    story.settle()
    verdict = judge_again(story.folder).verdict()
    assert verdict["violations"] == 0
    assert set(verdict["failovers"]) == {"kill active"}
    assert [round(each, 1) for each in verdict["failovers"]["kill active"]] == [2.0, 2.0]


@pytest.mark.parametrize(("followed", "found"), [(5.0, ["I11"]), (4.0, [])])
def test_nobody_who_serves_within_ten_seconds_is_found(story, followed, found):
    """By who has followed for a while: others pause as if they had never been served."""
    story.put("primary")
    story.now += followed
    kill_primary(story)
    story.now += 10.1
    story.lead("backup", 2, make_sequence(1, 1), [("/a/1", "x")])
    assert story.verdict() == found


def test_a_client_that_is_disturbed_itself_does_not_count(story):
    story.put("primary")
    for number, name in enumerate(("reader", "writer"), 2):
        fault(story, number, "stop client", "pause", 20.0, name)
    kill_primary(story)
    story.now += 10.1
    story.lead("backup", 2, make_sequence(1, 1), [("/a/1", "x")])
    assert story.verdict() == []


def test_a_server_that_is_back_in_time_need_not_be_replaced(story):
    story.put("primary")
    fault(story, 1, "stop active", "pause", 1.5, "primary")
    story.now += 1.5
    story.write(CHAOS, "healed", number=1)
    story.now += 10.0
    story.put("primary", body="y")
    assert story.verdict() == []


def test_a_failover_that_comes_later_is_that_of_another_fault(story):
    story.put("primary")
    fault(story, 1, "stop active", "pause", 0.2, "primary")
    story.now += 0.2
    story.write(CHAOS, "healed", number=1)
    story.now += 2.0
    kill_primary(story)
    story.lead("backup", 2, make_sequence(1, 1), [("/a/1", "x")])
    story.put("backup", body="y")
    story.settle()
    assert set(judge_again(story.folder).verdict()["failovers"]) == {"kill active"}


def test_a_server_that_stands_still_for_long_has_to_be_replaced(story):
    story.put("primary")
    story.now += 5.0
    fault(story, 1, "stop active", "pause", 20.0, "primary")
    story.now += 11.0
    story.lead("backup", 2, make_sequence(1, 1), [("/a/1", "x")])
    assert "I11" in story.verdict()


def test_a_write_of_a_client_that_is_killed_is_unknown(story):
    story.invoke("writer", "ab" * 16)
    story.write(CHAOS, "dead", who="writer", expected=True)
    story.settle()
    verdict = judge_again(story.folder).verdict()
    assert (verdict["failed"], verdict["unanswered"]) == ({"crashed": 1}, 0)


def test_a_write_that_was_not_taken_is_none(story):
    story.invoke("writer", "ab" * 16)
    story.write("writer", "forgotten", uuid="ab" * 16)
    story.settle()
    assert judge_again(story.folder).verdict()["unanswered"] == 0


def test_what_is_written_later_is_taken_later(story):
    judge = Judge(story.folder)
    judge.take_until(story.now)
    story.put("primary")
    judge.take_until(story.now - 1.0)
    assert judge.verdict()["acknowledged"] == {}
    judge.take_until(story.now)
    assert judge.verdict()["acknowledged"] == {"applied": 1}
    story.settle()


def test_the_verdict_is_a_line_of_json(story):
    story.put("primary")
    story.settle()
    verdict = judge_again(story.folder).verdict()
    assert json.loads(json.dumps(verdict)) == verdict
