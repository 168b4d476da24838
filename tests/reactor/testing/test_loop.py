"""FakeLoop: asyncio in virtual time, exact and deterministic."""

import asyncio
import gc

import pytest

from reactor.testing import FakeLoop


@pytest.fixture
def loop():
    loop = FakeLoop()
    yield loop
    loop.close()


def fail(message="broken"):
    raise LookupError(message)


# Time


def test_time_starts_where_it_is_told_and_stands_still():
    loop = FakeLoop(now=5.0)
    loop.call_soon(list)
    loop.run_pending()
    assert loop.time() == 5.0
    assert FakeLoop().time() == 0.0


def test_a_periodic_timer_fires_at_each_of_its_instants(loop):
    ticks = []

    def tick():
        ticks.append(loop.time())
        loop.call_later(1.0, tick)

    loop.call_later(1.0, tick)
    loop.advance(3.5)
    assert ticks == [1.0, 2.0, 3.0]
    assert loop.time() == 3.5


def test_a_timer_at_the_end_of_an_advance_fires(loop):
    ticks = []
    loop.call_later(2.0, ticks.append, "now")
    loop.advance(2.0)
    assert ticks == ["now"]


def test_steps_of_a_tenth_add_up_to_a_second(loop):
    """Ten times 0.1 is less than 1.0 in floating point; the timer fires all the same, not early."""
    ticks = []
    loop.call_at(1.0, lambda: ticks.append(loop.time()))
    for _ in range(10):
        loop.advance(0.1)
    assert ticks == [1.0]
    assert loop.time() >= 1.0


def test_a_callback_never_runs_before_its_instant(loop):
    early = []
    for step in range(1, 200):
        when = step * 0.1
        loop.call_at(when, lambda when=when: early.append(when) if loop.time() < when else None)
    for _ in range(200):
        loop.advance(0.1)
    assert early == []


@pytest.mark.parametrize("seconds", [-1, -0.001, float("nan")])
def test_time_never_goes_back(loop, seconds):
    with pytest.raises(ValueError, match="time goes forward"):
        loop.advance(seconds)


def test_advance_by_nothing_runs_what_is_due(loop):
    ran = []
    loop.call_soon(ran.append, "soon")
    loop.call_later(0, ran.append, "at once")
    loop.advance(0)
    assert ran == ["soon", "at once"]


def test_advance_runs_what_callbacks_make_ready_before_time_moves_on(loop):
    seen = []
    loop.call_later(1.0, lambda: loop.call_soon(lambda: seen.append(loop.time())))
    loop.call_later(2.0, lambda: seen.append(loop.time()))
    loop.advance(2.0)
    assert seen == [1.0, 2.0]


def test_advance_to_next_goes_from_deadline_to_deadline(loop):
    seen = []
    loop.call_later(3.0, seen.append, "b")
    loop.call_later(1.0, seen.append, "a")
    assert loop.advance_to_next() is True
    assert (seen, loop.time()) == (["a"], 1.0)
    assert loop.advance_to_next() is True
    assert (seen, loop.time()) == (["a", "b"], 3.0)
    assert loop.advance_to_next() is False
    assert loop.time() == 3.0


def test_advance_to_next_also_runs_what_is_ready_when_there_is_no_deadline(loop):
    ran = []
    loop.call_soon(ran.append, 1)
    assert loop.advance_to_next() is False
    assert ran == [1]


def test_a_deadline_in_the_past_is_due_at_once_and_moves_no_time():
    loop = FakeLoop(now=10.0)
    seen = []
    loop.call_at(3.0, lambda: seen.append(loop.time()))
    assert loop.run_pending() == 1
    assert seen == [10.0]


def test_deadlines_are_sorted_and_without_the_cancelled(loop):
    loop.call_later(2.0, list)
    loop.call_later(1.0, list)
    loop.call_later(1.5, list).cancel()
    loop.call_soon(list)
    assert loop.deadlines == (1.0, 2.0)


def test_a_cancelled_timer_never_fires_and_holds_nothing_up(loop):
    fired = []
    loop.call_later(1.0, fired.append, 1).cancel()
    assert loop.advance_to_next() is False
    loop.advance(2.0)
    assert fired == []


def test_many_cancelled_timers_do_not_pile_up(loop):
    kept = loop.call_later(3600.0, list)
    for _ in range(10_000):
        loop.call_later(60.0, list).cancel()
    assert len(loop._timers) < 500
    assert loop.deadlines == (kept.when(),)


# Order and turns


def test_callbacks_run_in_the_order_they_were_scheduled(loop):
    seen = []
    for number in range(5):
        loop.call_at(1.0, seen.append, number)
    for number in range(5, 8):
        loop.call_soon(seen.append, number)
    loop.advance(1.0)
    assert seen == [5, 6, 7, 0, 1, 2, 3, 4]


def test_run_pending_counts_and_never_moves_time(loop):
    loop.call_soon(loop.call_soon, loop.call_soon, list)
    loop.call_later(0.001, fail)
    assert loop.run_pending() == 3
    assert loop.run_pending() == 0
    assert loop.time() == 0.0


def test_a_cancelled_callback_is_not_run(loop):
    loop.call_soon(fail).cancel()
    assert loop.run_pending() == 0


def test_callbacks_without_end_are_an_error_and_not_a_hang(loop):
    loop.callback_limit = 1000

    def again():
        loop.call_soon(again)

    loop.call_soon(again)
    with pytest.raises(RuntimeError, match="time stands still.*again"):
        loop.run_pending()


def test_timers_without_delay_that_renew_themselves_are_an_error_and_not_a_hang(loop):
    loop.callback_limit = 1000

    def again():
        loop.call_later(0, again)

    loop.call_later(1.0, again)
    with pytest.raises(RuntimeError, match="time stands still"):
        loop.advance(2.0)


def test_a_callback_cannot_let_time_pass(loop):
    loop.call_soon(loop.advance, 1.0)
    with pytest.raises(RuntimeError, match="from outside its callbacks"):
        loop.run_pending()


def test_call_soon_threadsafe_is_call_soon(loop):
    seen = []
    loop.call_soon_threadsafe(seen.append, 1)
    loop.run_pending()
    assert seen == [1]


# Errors


def test_an_exception_in_a_callback_leaves_advance_at_its_instant(loop):
    seen = []
    loop.call_later(1.0, fail)
    loop.call_later(2.0, seen.append, "later")
    with pytest.raises(LookupError, match="broken"):
        loop.advance(5.0)
    assert loop.time() == 1.0
    loop.advance(4.0)
    assert (seen, loop.time()) == (["later"], 5.0)


def test_callbacks_after_a_raising_one_are_not_lost(loop):
    seen = []
    loop.call_soon(fail)
    loop.call_soon(seen.append, 1)
    with pytest.raises(LookupError):
        loop.run_pending()
    assert seen == []
    assert loop.run_pending() == 1
    assert seen == [1]


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_passes_through(loop, error):
    def interrupt():
        raise error

    loop.call_soon(interrupt)
    with pytest.raises(error):
        loop.run_pending()
    assert not loop.is_running()


def test_the_error_of_a_task_that_nobody_refers_to_is_raised(loop):
    async def task():
        fail("in a task")

    loop.create_task(task())
    with pytest.raises(LookupError, match="in a task"):
        loop.run_pending()


def test_the_error_of_a_task_that_is_forgotten_later_is_raised_then(loop):
    async def task():
        fail("kept for a while")

    kept = loop.create_task(task())
    loop.run_pending()
    del kept
    gc.collect()
    with pytest.raises(LookupError, match="kept for a while"):
        loop.run_pending()


def test_the_error_of_a_task_that_somebody_looks_at_is_not_raised_again(loop):
    async def task():
        fail()

    kept = loop.create_task(task())
    loop.run_pending()
    assert isinstance(kept.exception(), LookupError)
    del kept
    gc.collect()
    loop.run_pending()


def test_close_raises_an_error_that_nobody_has_seen():
    loop = FakeLoop()
    loop.call_exception_handler({"message": "unseen", "exception": LookupError("unseen")})
    with pytest.raises(LookupError, match="unseen"):
        loop.close()
    assert loop.is_closed()


def test_an_error_report_without_an_exception_is_raised_as_its_message(loop):
    loop.call_exception_handler({"message": "something is wrong"})
    with pytest.raises(RuntimeError, match="something is wrong"):
        loop.run_pending()


def test_an_exception_handler_gets_the_errors_instead(loop):
    contexts = []
    loop.set_exception_handler(lambda _, context: contexts.append(context["exception"]))
    loop.call_soon(fail)
    loop.run_pending()
    assert [type(error) for error in contexts] == [LookupError]
    assert loop.get_exception_handler() is not None


# Coroutines


def test_sleep_takes_virtual_time(loop):
    async def nap():
        await asyncio.sleep(1000)
        return asyncio.get_running_loop().time()

    assert loop.run_until_complete(nap()) == 1000.0


def test_a_timeout_fires_in_virtual_time(loop):
    async def wait():
        async with asyncio.timeout(2.5):
            await loop.create_future()

    with pytest.raises(TimeoutError):
        loop.run_until_complete(wait())
    assert loop.time() == 2.5


def test_task_groups_queues_and_gather_work(loop):
    async def main():
        queue = asyncio.Queue()
        async with asyncio.TaskGroup() as group:
            group.create_task(queue.put("a"))
            got = group.create_task(queue.get())
        naps = await asyncio.gather(asyncio.sleep(1, "b"), asyncio.sleep(2, "c"))
        return [got.result(), *naps]

    assert loop.run_until_complete(main()) == ["a", "b", "c"]
    assert loop.time() == 2.0


def test_tasks_take_turns_in_the_order_of_their_creation(loop):
    seen = []

    async def count(name):
        for number in range(2):
            seen.append(f"{name}{number}")
            await asyncio.sleep(0)

    for name in "ab":
        loop.create_task(count(name), name=name)
    loop.run_pending()
    assert seen == ["a0", "b0", "a1", "b1"]


def test_run_until_complete_raises_what_the_coroutine_raised(loop):
    async def main():
        fail("from main")

    with pytest.raises(LookupError, match="from main"):
        loop.run_until_complete(main())


def test_run_until_complete_stops_when_the_result_is_there(loop):
    loop.call_later(5.0, fail)
    assert (
        loop.run_until_complete(
            asyncio.sleep(
                1,
                "done",
            )
        )
        == "done"
    )
    assert loop.time() == 1.0
    assert loop.deadlines == (5.0,)


def test_waiting_for_what_can_never_come_is_a_deadlock_and_not_a_hang(loop):
    with pytest.raises(RuntimeError, match="deadlock"):
        loop.run_until_complete(loop.create_future())


def test_a_coroutine_that_is_given_up_is_cancelled(loop):
    ended = []

    async def main():
        try:
            await loop.create_future()
        finally:
            ended.append(True)

    with pytest.raises(RuntimeError, match="deadlock"):
        loop.run_until_complete(main())
    loop.run_pending()
    assert ended == [True]


def test_run_until_complete_gives_up_after_its_timeout(loop):
    def again():
        loop.call_later(1.0, again)

    again()
    with pytest.raises(TimeoutError):
        loop.run_until_complete(loop.create_future(), timeout=10)
    assert loop.time() == 10.0


def test_an_error_elsewhere_leaves_run_until_complete(loop):
    loop.call_later(1.0, fail)
    with pytest.raises(LookupError):
        loop.run_until_complete(asyncio.sleep(2))


def test_run_until_lets_just_enough_time_pass(loop):
    seen = []
    for when in (1.0, 2.0, 3.0):
        loop.call_at(when, seen.append, when)
    loop.run_until(lambda: len(seen) == 2)
    assert (seen, loop.time()) == ([1.0, 2.0], 2.0)


def test_run_until_runs_nothing_if_the_condition_holds(loop):
    ran = []
    loop.call_soon(ran.append, 1)
    loop.run_until(lambda: True)
    assert ran == []


def test_run_until_ends_within_the_instant(loop):
    seen = []
    loop.call_soon(seen.append, 1)
    loop.call_soon(loop.call_soon, seen.append, 2)
    loop.run_until(lambda: seen == [1])
    assert seen == [1]


def test_run_until_gives_up_at_its_timeout(loop):
    loop.call_later(61.0, fail)
    with pytest.raises(TimeoutError, match="60.0 s of virtual time"):
        loop.run_until(lambda: False)
    assert loop.time() == 60.0


def test_work_for_an_executor_is_done_on_the_spot(loop):
    async def main():
        with pytest.raises(LookupError, match="in a thread"):
            await asyncio.to_thread(fail, "in a thread")
        return await asyncio.to_thread(sum, [1, 2])

    assert loop.run_until_complete(main()) == 3


def test_callbacks_see_this_loop_running_and_nobody_else_does(loop):
    seen = []
    loop.call_soon(lambda: seen.append((asyncio.get_running_loop() is loop, loop.is_running())))
    loop.run_pending()
    assert seen == [(True, True)]
    assert not loop.is_running()
    with pytest.raises(RuntimeError):
        asyncio.get_running_loop()


async def test_it_runs_inside_another_running_loop():
    """As in a test that pytest-asyncio runs: the outer loop and task are put back, error or not."""
    outer, task = asyncio.get_running_loop(), asyncio.current_task()
    loop = FakeLoop()

    async def inner():
        await asyncio.sleep(3)
        return asyncio.get_running_loop(), asyncio.current_task().get_name()

    assert loop.run_until_complete(inner())[0] is loop
    loop.call_soon(fail)
    with pytest.raises(LookupError):
        loop.run_pending()
    loop.close()
    assert asyncio.get_running_loop() is outer
    assert asyncio.current_task() is task
    await asyncio.sleep(0)


def test_a_real_descriptor_is_refused_with_a_reason(loop):
    with pytest.raises(RuntimeError, match="open streams on a FakeNetwork"):
        loop.add_reader(0, list)


def test_debug_mode_is_kept(loop):
    loop.set_debug(True)
    assert loop.get_debug()
    loop.call_soon(list)
    loop.run_pending()


# The end


def test_close_cancels_tasks_that_are_left_in_their_order():
    loop = FakeLoop()
    ended = []

    async def work(name):
        try:
            await asyncio.sleep(1000)
        finally:
            ended.append(name)

    tasks = [loop.create_task(work(name)) for name in "abc"]
    loop.run_pending()
    loop.close()
    assert ended == ["a", "b", "c"]
    assert all(task.cancelled() for task in tasks)
    assert loop.deadlines == ()


def test_close_ends_a_task_that_never_ran():
    loop = FakeLoop()
    task = loop.create_task(asyncio.sleep(1))
    loop.close()
    assert task.cancelled()


def test_close_names_a_task_that_refuses_to_end():
    loop = FakeLoop()

    async def stubborn():
        for _ in range(2):
            try:
                await loop.create_future()
            except asyncio.CancelledError:
                continue

    task = loop.create_task(stubborn())
    loop.run_pending()
    with pytest.raises(RuntimeError, match="stubborn"):
        loop.close()
    assert loop.is_closed()
    task.get_coro().close()
    task._log_destroy_pending = False


def test_a_closed_loop_takes_nothing_any_more(loop):
    loop.close()
    loop.close()
    with pytest.raises(RuntimeError, match="closed"):
        loop.call_soon(list)
    with pytest.raises(RuntimeError, match="closed"):
        loop.call_later(1, list)
    with pytest.raises(RuntimeError, match="closed"):
        loop.advance(1)


def test_a_callback_cannot_close_its_loop(loop):
    loop.call_soon(loop.close)
    with pytest.raises(RuntimeError, match="cannot be closed"):
        loop.run_pending()


def test_asyncio_can_run_on_it():
    with asyncio.Runner(loop_factory=FakeLoop) as runner:
        assert runner.run(asyncio.sleep(3600, "an hour later")) == "an hour later"
