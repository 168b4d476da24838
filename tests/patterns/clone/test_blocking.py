"""Clone, the blocking face: on real sockets, for its threads are the point of it."""

import asyncio
import gc
import os
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from time import monotonic

import pytest

from patterns.clone.blocking import Clone
from patterns.clone.client import (
    ClientClosed,
    ClientState,
    CloneClient,
    Deleted,
    Live,
    OutboxFull,
    Put,
    WatcherTooSlow,
    WriteError,
)
from patterns.clone.handlers import CloneServer
from patterns.clone.reactor_thread import ReactorThread
from reactor import EndpointError, Handler, ReactorError

ROOT = Path(__file__).parents[3]
SECONDS = 20.0
NOBODY = "tcp://127.0.0.1:1"


class Server:
    """A real server in a thread, which can be stopped and started again at its port."""

    def __init__(self):
        self.port = 0
        self.start()

    def start(self):
        self.handler = CloneServer(self.port, wall_clock=lambda: 1_800_000_000.0)
        self._thread = ReactorThread(self.handler, "server")
        self._thread.start(SECONDS)
        self.endpoint = self.handler.endpoint
        self.port = int(self.endpoint.rpartition(":")[2])

    def stop(self):
        self._thread.stop()

    def contents(self):
        store = self.handler.protocol.store
        return self._thread.call(
            lambda: {entry[0]: entry[4] for entry in store.snapshot()}, SECONDS
        )


@pytest.fixture(scope="module")
def shared():
    """One server for the tests that only use it; each has keys of its own."""
    server = Server()
    yield server
    server.stop()


@pytest.fixture
def server():
    server = Server()
    yield server
    server.stop()


@pytest.fixture
def clone(shared):
    with Clone(shared.endpoint, timeout=SECONDS) as clone:
        yield clone


@pytest.fixture
def key(request):
    return f"/{request.node.name}"


def wait_until(condition):
    """Wait on the condition itself, at most so long."""
    for _ in range(int(SECONDS / 0.01)):
        if condition():
            return
        threading.Event().wait(0.01)
    pytest.fail("it never came true")


# The Guide's API


def test_the_guides_example_works_with_its_own_words(shared, key):
    host, _, port = shared.endpoint.rpartition(":")
    clone = Clone()
    clone.subtree = key
    clone.connect(host, int(port))
    clone.set(key, "value", 30)
    assert clone.get(key) == b"value"
    clone.set(key, "value", 0)  # for ever, as in the Guide
    clone.close()


def test_cl_2_no_subtree_is_everything(clone, key):
    clone.set(key, "1")
    clone.set("and-" + key, "2")
    assert (clone.get(key), clone.get("and-" + key)) == (b"1", b"2")


def test_cl_13_what_comes_too_late_is_an_error(clone):
    with pytest.raises(ReactorError, match="before the first call"):
        clone.connect(NOBODY)
    with pytest.raises(ReactorError, match="before the first call"):
        clone.subtree = "/a/"


def test_cl_13_there_may_be_more_than_two_servers(shared, key):
    clone = Clone(NOBODY, timeout=SECONDS, server_ttl=0.2)
    clone.connect("tcp://127.0.0.1:4")
    clone.connect(shared.endpoint)
    with clone:
        clone.set(key, "1")
        assert clone.server == shared.endpoint


def test_without_a_server_there_is_nothing_to_start():
    with pytest.raises(ReactorError, match=r"connect\(\) first"):
        Clone().get("key")


def test_a_wrong_endpoint_is_told_at_once():
    with pytest.raises(EndpointError):
        Clone().connect("tcp://127.0.0.1")
    with pytest.raises(EndpointError):
        Clone("nonsense")
    with pytest.raises(TypeError, match=r"a string, tcp://HOST:PORT, not \['tcp://"):
        Clone(["tcp://127.0.0.1:5556"])


def test_a_client_that_cannot_start_leaves_nothing_behind():
    with pytest.raises(ValueError, match="subtree"):
        Clone("tcp://127.0.0.1:5556", subtree="HUGZ").get("key")


# Reading and writing


def test_cl_1_an_unknown_key_is_none_and_the_next_call_works(clone, key):
    assert clone.get(key) is None
    clone.set(key, "1")
    assert clone.get(key) == b"1"


def test_cl_11_a_set_right_after_the_start_is_there_for_everybody(shared, clone, key):
    with Clone(shared.endpoint, timeout=SECONDS) as quick:
        quick.set(key, "1")
    assert shared.contents()[key.encode()] == b"1"


def test_cl_10_without_a_server_every_call_ends_in_time():
    with Clone(NOBODY, timeout=0.2) as clone:
        with pytest.raises(TimeoutError):
            clone.get("key")
        with pytest.raises(TimeoutError):
            clone.items(timeout=0.1)
        began = monotonic()
        with pytest.raises(WriteError, match="timeout"):
            clone.set("key", "1", timeout=0.05)
        assert monotonic() - began < 1.0
        with pytest.raises(TimeoutError):
            clone.wait_live(0.1)
        assert clone.state is ClientState.CONNECTING and not clone.live


def test_reads_go_on_without_a_server_and_tell_their_age(server):
    with Clone(server.endpoint, timeout=SECONDS, server_ttl=0.5) as clone:
        clone.set("/a", "1")
        clone.set("/b", "2")
        assert clone.age < SECONDS
        server.stop()
        wait_until(lambda: not clone.live)
        assert clone.get("/a") == b"1"
        assert clone.items() == [(b"/a", b"1"), (b"/b", b"2")]
        assert 0.0 < clone.age < SECONDS
        assert clone.server == server.endpoint


def test_a_key_outside_the_subtree_is_an_error(shared, key):
    with Clone(shared.endpoint, subtree=[key, "/x/"], timeout=SECONDS) as clone:
        clone.set(key, "1")
        for call in (clone.get, clone.delete, lambda k: clone.set(k, "1")):
            with pytest.raises(ValueError, match="outside"):
                call("/elsewhere")


def test_conditions(clone, key):
    first = clone.create(key, "1")
    assert clone.entry(key) == (b"1", first)
    with pytest.raises(WriteError, match="conflict"):
        clone.create(key, "2")
    second = clone.set(key, "2", if_sequence=first)
    with pytest.raises(WriteError, match="conflict"):
        clone.delete(key, if_sequence=first)
    clone.delete(key, if_sequence=second)
    assert clone.entry(key) == (None, 0)


def test_a_level_that_the_server_cannot_reach_is_told_to_the_caller(clone, key):
    for write in (clone.set, clone.create):
        with pytest.raises(WriteError, match="unsupported"):
            write(key, "1", ack="replicated")
    with pytest.raises(WriteError, match="unsupported"):
        clone.delete(key, ack="replicated")
    with pytest.raises(WriteError, match="unsupported"):
        clone.update(key, lambda _: "1", ack="replicated")
    with pytest.raises(ValueError, match="'all' is neither"):
        clone.set(key, "1", ack="all")
    assert clone.get(key) is None


def test_a_full_outbox_is_told_to_the_caller():
    with Clone(NOBODY, timeout=SECONDS, max_writes=1) as clone:
        waiting = threading.Thread(target=lambda: pytest.raises(WriteError, clone.set, "a", "1"))
        waiting.start()
        wait_until(lambda: clone.statistics().unacknowledged == 1)
        with pytest.raises(OutboxFull):
            clone.set("b", "1")
        clone.close()
        waiting.join(SECONDS)
        assert not waiting.is_alive()


def test_the_mapping_is_done_when_it_returns(shared, key):
    with Clone(shared.endpoint, subtree=key, timeout=SECONDS) as clone:
        view = clone.mapping()
        view[key + "/a"] = "1"
        view.update({key + "/b": "2", key + "/c": "3"})
        del view[key + "/c"]
        name = key.encode()
        assert dict(view) == {name + b"/a": b"1", name + b"/b": b"2"}
        assert {name + b"/a", name + b"/b"} <= set(shared.contents())
        assert len(view) == 2 and "/elsewhere" not in view
        with pytest.raises(KeyError):
            del view[key + "/c"]
        with pytest.raises(ValueError, match="outside"):
            view["/elsewhere"] = "1"


def test_a_mapping_without_a_server_raises():
    with Clone(NOBODY, timeout=0.1) as clone, pytest.raises(WriteError, match="timeout"):
        clone.mapping()["/a"] = "1"


def test_a_value_is_kept_as_long_as_the_block(shared, clone, key):
    with clone.keep(key, "1", ttl=1) as kept:
        assert kept.held and clone.get(key) == b"1"
        kept.set("2")
        assert clone.get(key) == b"2"
        wait_until(lambda: clone.statistics().acknowledged >= 4)  # it is renewed
        assert kept.lost(0.01) is None
    assert clone.get(key) is None and not kept.held
    assert key.encode() not in shared.contents()


def test_one_of_two_has_a_lease(shared, clone, key):
    with Clone(shared.endpoint, timeout=SECONDS) as other:
        with clone.keep(key, "1", ttl=1, exclusive=True) as lease:
            with pytest.raises(WriteError, match="conflict"):
                other.keep(key, "2", ttl=1, exclusive=True).start()
            other.set(key, "rude")
            assert lease.lost(SECONDS) == "conflict"
        assert other.get(key) == b"rude"


def test_a_kept_value_of_a_closed_client_is_over(shared, key):
    clone = Clone(shared.endpoint, timeout=SECONDS)
    with clone.keep(key, "1", ttl=1) as kept:
        clone.close()
    assert not kept.held
    with pytest.raises(ReactorError, match="not kept yet"):
        Clone(NOBODY).keep(key, "1", ttl=1).set("2")


# Threads


def test_cl_9_no_increment_is_lost_among_threads(clone, key):
    def count():
        for _ in range(20):
            clone.update(key, lambda value: str(int(value or b"0") + 1))

    threads = [threading.Thread(target=count) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)
    assert clone.get(key) == b"160"
    assert clone.update(key, lambda value: None) is None
    assert clone.get(key) is None


@pytest.mark.parametrize(("reading", "left"), [(1.5, [0.5]), (2.5, [])])
def test_an_update_takes_what_it_has_waited_to_read_off_the_time_to_write(
    monkeypatch, reading, left
):
    clock, limits = [0.0], []

    class Slow(Clone):
        def entry(self, key, timeout=None):
            clock[0] += reading
            return b"0", 1

        def set(self, *arguments, timeout=None, **options):
            limits.append(timeout)
            raise WriteError("timeout")

    monkeypatch.setattr("patterns.clone.blocking.monotonic", lambda: clock[0])
    with pytest.raises(TimeoutError if not left else WriteError):
        Slow(NOBODY, timeout=2.0).update("/key", lambda value: "1")
    assert limits == left


def test_cl_9_each_thread_hears_its_own_answers(clone, key):
    wrong = []

    def run(number):
        for step in range(30):
            clone.set(f"{key}/{number}", f"{number}:{step}")
            if clone.get(f"{key}/{number}") != f"{number}:{step}".encode():
                wrong.append((number, step))

    threads = [threading.Thread(target=run, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)
    assert wrong == []


def test_cl_8_a_busy_writer_is_no_reason_to_leave_the_server(clone, key):
    for number in range(500):
        clone.set(key, str(number))
    statistics = clone.statistics()
    assert (statistics.snapshots, statistics.losses) == (1, 0)


def test_it_works_inside_a_running_event_loop(shared, key):
    async def notebook():
        with Clone(shared.endpoint, timeout=SECONDS) as clone:
            clone.set(key, "1")
            return clone.get(key)

    assert asyncio.run(notebook()) == b"1"


def test_its_own_thread_cannot_wait_for_itself(clone):
    thread, client = clone._running()
    with pytest.raises(ReactorError, match="itself"):
        thread.call(lambda: clone.set("key", "1"), SECONDS)


# Watching


def test_cl_18_a_callback_is_told_what_is_there_and_what_comes(clone, key):
    clone.set(key, "1")
    events = []
    watch = clone.watch(events.append, key)
    clone.set(key, "2")
    clone.delete(key)
    wait_until(lambda: len(events) == 4)
    name = key.encode()
    assert events == [
        Put(name, b"1", added=True),
        Live(0),
        Put(name, b"2", added=False),
        Deleted(name),
    ]
    assert watch.active
    watch.cancel()
    watch.cancel()
    clone.set(key, "3")
    assert len(events) == 4 and not watch.active


def test_a_callback_may_use_the_client_and_cancel_itself(clone, key):
    done = threading.Event()

    def callback(event):
        if isinstance(event, Put):
            clone.set(key + "/copy", event.body)
            watch.cancel()
            done.set()

    watch = clone.watch(callback, key)
    clone.set(key, "1")
    assert done.wait(SECONDS)
    assert clone.get(key + "/copy") == b"1"


def test_a_callback_that_raises_is_called_again(clone, key):
    events = []

    def callback(event):
        events.append(event)
        raise RuntimeError("not today")

    clone.watch(callback, key)
    clone.set(key, "1")
    clone.set(key, "2")
    wait_until(lambda: len(events) == 3)


def test_a_callback_that_is_too_slow_ends_its_watch_and_nothing_else(clone, key):
    go_on = threading.Event()
    events = []

    def callback(event):
        events.append(event)
        go_on.wait(SECONDS)

    watch = clone.watch(callback, key, limit=3)
    wait_until(lambda: events)  # this one waits no more
    for number in range(10):
        clone.set(key, str(number))
    wait_until(lambda: watch.error is not None)
    assert clone.wait_for(watchers) == len(clone._watches) == 0  # it costs nothing any more
    go_on.set()
    assert isinstance(watch.error, WatcherTooSlow) and not watch.active
    wait_until(lambda: not watch._thread.is_alive())
    puts = [event.body for event in events if isinstance(event, Put)]
    assert puts == [b"0", b"1", b"2"]  # those that had found room
    clone.set(key, "11")


def test_a_watch_that_what_is_there_is_too_much_for_leaves_nothing_behind(clone, key):
    for number in range(5):
        clone.set(f"{key}/{number}", "1")
    go_on = threading.Event()
    watch = clone.watch(lambda event: go_on.wait(SECONDS), key, limit=2)
    assert isinstance(watch.error, WatcherTooSlow) and not watch.active
    assert clone.wait_for(watchers) == len(clone._watches) == 0
    go_on.set()


def test_what_cannot_be_watched_is_an_error(shared, key):
    async def callback(event): ...

    with Clone(shared.endpoint, subtree=key, timeout=SECONDS) as clone:
        with pytest.raises(ValueError, match="outside"):
            clone.watch(print, "/elsewhere")
        with pytest.raises(TypeError, match="coroutine"):
            clone.watch(callback)


# The end


def test_cl_12_nothing_is_left_after_many_clients(shared):
    def cycle():
        with Clone(shared.endpoint, timeout=SECONDS) as clone:
            clone.wait_live()

    cycle()
    gc.collect()  # of what earlier tests have left to it
    descriptors, threads = len(os.listdir("/proc/self/fd")), threading.active_count()
    for _ in range(30):
        cycle()
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) <= descriptors
    assert threading.active_count() <= threads


def test_cl_12_every_call_after_the_end_is_an_error(shared, key):
    clone = Clone(shared.endpoint, timeout=SECONDS)
    clone.set(key, "1")
    clone.close()
    clone.close()
    for call in (
        lambda: clone.get(key),
        lambda: clone.set(key, "1"),
        lambda: clone.watch(print),
        lambda: clone.age,
        clone.wait_live,
    ):
        with pytest.raises(ClientClosed):
            call()


def test_a_client_closed_before_it_started_never_starts():
    clone = Clone(NOBODY)
    clone.close()
    with pytest.raises(ClientClosed):
        clone.get("key")


def test_who_waits_is_told_of_the_end():
    clone = Clone(NOBODY, timeout=SECONDS)
    errors = []

    def write():
        try:
            clone.set("key", "1")
        except (WriteError, ClientClosed) as error:
            errors.append(error)

    threads = [threading.Thread(target=write) for _ in range(3)]
    for thread in threads:
        thread.start()
    wait_until(lambda: clone.statistics().unacknowledged == 3)
    clone.close()
    for thread in threads:
        thread.join(SECONDS)
    assert len(errors) == 3


def test_a_start_that_nobody_waits_for_leaves_no_thread(shared, monkeypatch):
    """Each call would have left one more, with a client that runs for ever."""
    goes_on = threading.Event()
    build = CloneClient.build

    def slow_build(client):
        goes_on.wait(SECONDS)
        return build(client)

    monkeypatch.setattr(CloneClient, "build", slow_build)
    before = threading.active_count()
    clone = Clone(shared.endpoint, timeout=0.05)
    for _ in range(3):
        began = monotonic()
        with pytest.raises(TimeoutError):
            clone.get("key")
        assert monotonic() - began < 1.0
    clone.close()
    goes_on.set()
    wait_until(lambda: threading.active_count() == before)


def test_two_threads_may_close_it_while_others_call(shared):
    errors = []

    def insist(call, times):
        try:
            for _ in range(times):
                call()
        except ClientClosed:
            pass
        except Exception as error:
            errors.append(error)

    for _ in range(30):
        clone = Clone(shared.endpoint, timeout=SECONDS)
        clone.wait_live()
        threads = [
            threading.Thread(target=insist, args=arguments)
            for arguments in ((clone.statistics, 100_000), (clone.close, 3), (clone.close, 3))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(SECONDS)
    assert errors == []


def test_the_garbage_collector_does_not_wait_for_a_client_that_is_forgotten():
    """It runs on any thread: that of another client, or of the program's loop."""
    before = threading.active_count()
    clone = Clone(NOBODY, timeout=0.5, server_ttl=0.3)
    with pytest.raises(TimeoutError):
        clone.get("key")
    began = monotonic()
    del clone
    gc.collect()
    assert monotonic() - began < 0.5
    wait_until(lambda: threading.active_count() == before)


def test_without_a_server_the_end_is_no_slower():
    """What nobody took was a vote; nobody waits until it is."""
    clone = Clone(NOBODY, timeout=1.0, server_ttl=0.3)
    with pytest.raises(TimeoutError):
        clone.get("key")
    began = monotonic()
    clone.close()
    assert monotonic() - began < 0.5


def test_a_client_that_is_forgotten_is_closed(shared):
    before = threading.active_count()
    clone = Clone(shared.endpoint, timeout=SECONDS)
    clone.wait_live()
    assert threading.active_count() > before
    del clone
    gc.collect()
    wait_until(lambda: threading.active_count() == before)


FORGETFUL = """
    import sys
    from patterns.clone.blocking import Clone

    clone = Clone(sys.argv[1], timeout=10)
    clone.set("/forgetful", "1")
    watch = clone.watch(lambda event: None)
    Clone("tcp://127.0.0.1:1").connect("tcp://127.0.0.1:4")
    never = Clone("tcp://127.0.0.1:1", timeout=0.1)
    try:
        never.get("key")
    except TimeoutError:
        print("done", clone.get("/forgetful"))
"""


def test_cl_17_a_program_that_never_closes_ends_all_the_same(shared):
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(FORGETFUL), shared.endpoint],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert (result.returncode, result.stdout) == (0, "done b'1'\n"), result.stderr
    assert [line for line in result.stderr.splitlines() if "[info " not in line] == []


def test_cl_16_importing_it_configures_no_logging_and_starts_nothing():
    source = (
        "import logging, threading, structlog, patterns.clone as clone\n"
        "[getattr(clone, name) for name in clone.__all__]\n"
        "print(logging.root.handlers, structlog.is_configured(), threading.active_count())"
    )
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", source],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert (result.stdout, result.stderr) == ("[] False 1\n", "")


class Failing(Handler):
    def on_start(self):
        raise RuntimeError("no")


def test_a_thread_whose_handler_does_not_start_says_why():
    thread = ReactorThread(Failing(), "failing")
    with pytest.raises(RuntimeError, match="no"):
        thread.start(SECONDS)
    thread.stop()
    with pytest.raises(ClientClosed):
        thread.call(lambda: None, SECONDS)


# What outlives nobody's patience


def test_a_lease_that_nobody_waits_for_any_more_is_not_held(server, key):
    """The first write may be under way when the time is over, and a server be there later."""
    endpoint = server.endpoint
    server.stop()
    with Clone(endpoint, timeout=SECONDS) as clone:
        kept = clone.keep(key, "me", ttl=30, exclusive=True)
        with pytest.raises(TimeoutError):
            kept.start(timeout=0.05)
        assert not kept.held
        server.start()
        clone.wait_live()
        wait_until(lambda: clone.statistics().acknowledged >= 2)  # the late write, and its end
        assert clone.get(key) is None
        with clone.keep(key, "again", ttl=30, exclusive=True) as again:
            assert again.held


def test_waiting_for_the_end_of_a_lease_leaves_nothing_behind(clone, key):
    async def tasks(client):
        return len(asyncio.all_tasks())

    with clone.keep(key, "me", ttl=30) as kept:
        before = clone.wait_for(tasks)
        assert [kept.lost(0.001) for _ in range(10)] == [None] * 10
        assert clone.wait_for(tasks) == before


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # as Python 3.12 says
def test_a_process_that_was_forked_is_told_and_its_parent_goes_on(clone, key):
    """The map that the child got would stay as it is, and look current for ever."""
    clone.set(key, "1")
    child = os.fork()
    if child == 0:  # no assert, no exception may leave this branch
        told = 0
        for call in (clone.get, clone.entry, lambda _: clone.state, lambda _: clone.items()):
            try:
                call(key)
            except ReactorError:
                told += 1
            except BaseException:
                told = -100
        clone.close()
        os._exit(told)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 4
    assert clone.set(key, "2") > 0
    assert clone.get(key) == b"2"


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # as Python 3.12 says
def test_a_process_that_is_forked_while_a_thread_starts_the_client_does_not_hang(monkeypatch):
    started, goes_on = threading.Event(), threading.Event()
    start = ReactorThread.start

    def slow_start(thread, timeout):  # inside the lock, which the child gets as it is
        started.set()
        goes_on.wait(SECONDS)
        start(thread, timeout)

    monkeypatch.setattr(ReactorThread, "start", slow_start)
    clone = Clone(NOBODY, timeout=SECONDS)
    thread = threading.Thread(target=clone.__enter__)
    thread.start()
    started.wait(SECONDS)
    child = os.fork()
    if child == 0:  # no assert, no exception may leave this branch
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(10)
        told = 1
        try:
            clone.get("key")
        except ReactorError:
            clone.close()
            told = 7
        finally:
            os._exit(told)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    goes_on.set()
    thread.join(SECONDS)
    clone.close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_callback_that_ends_its_thread_ends_the_watch(clone, key):
    watch = clone.watch(lambda event: sys.exit(), key)
    wait_until(lambda: not watch.active)
    clone.set(key, "1")
    assert clone.wait_for(watchers) == 0
    watch.cancel()


async def watchers(client):
    return len(client._watchers)
