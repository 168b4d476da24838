"""Workers are started, watched, replaced and stopped; times are numbers."""

import pytest

from patterns.black_box.crew import (
    BuryWorker,
    Crew,
    KillWorker,
    StartWorker,
    StopWorker,
    WorkerId,
    WorkerState,
)

FIRST = WorkerId(0, 1)
SECOND = WorkerId(0, 2)


def ready_crew(size=1, patience=10.0, now=0.0):
    crew = Crew(size, patience=patience)
    crew.tick(now)
    for shard in range(size):
        assert crew.receive_ready(WorkerId(shard, 1), now)
    return crew


def test_each_shard_gets_one_worker():
    crew = Crew(2, patience=10)
    assert crew.tick(0) == [StartWorker(WorkerId(0, 1)), StartWorker(WorkerId(1, 1))]
    assert crew.tick(1) == []
    assert not crew.all_ready
    assert crew.receive_ready(WorkerId(0, 1), 1)
    assert crew.receive_ready(WorkerId(1, 1), 1)
    assert crew.all_ready


def test_a_worker_that_died_is_buried_and_replaced_at_once():
    crew = ready_crew()
    assert crew.receive_exit(FIRST, "signal 9", 20) == [
        BuryWorker(FIRST, "signal 9"),
        StartWorker(SECOND),
    ]
    assert crew.restarts(0) == 1


def test_workers_that_die_young_are_replaced_more_and_more_slowly():
    crew, now, starts = Crew(1, patience=10), 0.0, []
    crew.tick(now)
    for life in range(1, 9):
        crew.receive_exit(WorkerId(0, life), "", now)
        began = now
        while crew.state(0) is WorkerState.ABSENT:
            now += 0.05
            crew.tick(now)
        starts.append(round(now - began, 2))
    assert starts[0] == 0
    assert starts[1:] == sorted(starts[1:])
    assert starts[-1] == pytest.approx(5.0, abs=0.1)


def test_a_worker_that_has_settled_counts_as_no_failure():
    crew = ready_crew()
    for life in range(1, 6):
        worker, now = WorkerId(0, life), 20.0 * life
        assert StartWorker(WorkerId(0, life + 1)) in crew.receive_exit(worker, "", now)
        crew.receive_ready(WorkerId(0, life + 1), now)


def test_a_silent_worker_is_killed_and_not_replaced_before_it_has_ended():
    crew = ready_crew(patience=2)
    assert crew.tick(2.0) == []
    assert crew.tick(2.1) == [KillWorker(FIRST, "silent for 2 s")]
    assert crew.tick(60) == []
    assert crew.receive_exit(FIRST, "signal 9", 61) == [
        BuryWorker(FIRST, "silent for 2 s"),
        StartWorker(SECOND),
    ]


def test_a_beat_is_a_sign_of_life():
    crew = ready_crew(patience=2)
    crew.receive_beat(FIRST, 1.5)
    assert crew.tick(3.4) == []


def test_a_worker_that_does_not_get_ready_is_killed():
    crew = Crew(1, patience=1, start_patience=30)
    crew.tick(0)
    assert crew.tick(30) == []
    assert crew.tick(30.1) == [KillWorker(FIRST, "not ready after 30 s")]


@pytest.mark.parametrize(
    "worker", [WorkerId(0, 0), WorkerId(0, 2), WorkerId(1, 1), WorkerId(-1, 1)]
)
def test_nobody_else_is_heard(worker):
    crew = ready_crew()
    assert not crew.receive_ready(worker, 1)
    assert not crew.receive_beat(worker, 1)
    assert crew.receive_exit(worker, "", 1) == []


def test_a_worker_is_ready_once():
    assert not ready_crew().receive_ready(FIRST, 1)


def test_a_stop_lets_the_ready_finish_and_kills_the_others():
    crew = Crew(2, patience=10)
    crew.tick(0)
    crew.receive_ready(FIRST, 0)
    starting = WorkerId(1, 1)
    assert crew.stop(1) == [
        StopWorker(FIRST),
        KillWorker(starting, "not ready at the stop"),
    ]
    assert crew.receive_exit(FIRST, "ended", 2) == [BuryWorker(FIRST, "ended")]
    crew.receive_exit(starting, "", 2)
    assert crew.all_absent
    assert crew.tick(100) == []


def test_the_end_of_time_kills_who_is_left():
    crew = ready_crew(size=2)
    crew.stop(1)
    crew.receive_exit(FIRST, "ended", 1)
    left = WorkerId(1, 1)
    assert crew.kill_all() == [KillWorker(left, "has not ended in time")]


def test_zh_3_no_two_workers_have_the_same_routing_id():
    ids = [WorkerId(shard, life) for shard in range(120) for life in range(1, 12)]
    assert len({worker.identity for worker in ids}) == len(ids)


def test_a_worker_is_named_by_its_routing_id():
    assert WorkerId.from_identity(WorkerId(3, 17).identity) == WorkerId(3, 17)


@pytest.mark.parametrize("identity", [b"", b"x", b"1", b"1.", b".1", b"1.x", b"1.2.3", b"-1.2"])
def test_another_routing_id_is_nobodys(identity):
    assert WorkerId.from_identity(identity) is None


@pytest.mark.parametrize(("size", "patience"), [(0, 1.0), (1, 0.0), (1, float("nan"))])
def test_a_crew_that_makes_no_sense_is_refused(size, patience):
    with pytest.raises(ValueError):
        Crew(size, patience=patience)
