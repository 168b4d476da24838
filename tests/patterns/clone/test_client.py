"""CloneClient in virtual time: reads, acknowledged writes, watches, and what goes wrong."""

import asyncio
import gc
import threading

import pytest
import structlog
import zmq

from patterns.clone.client import (
    WATCH_LIMIT,
    ClientClosed,
    CloneClient,
    Deleted,
    Expired,
    Live,
    Put,
    Stale,
    WatcherTooSlow,
    WriteError,
)
from patterns.clone.client_protocol import ClientState
from patterns.clone.outbox import OutboxFull
from patterns.clone.store import KeyValueStore
from reactor import EndpointError, ReactorError, Stream, WrongThread

from .services import BACKUP, PRIMARY, contents, update, updates

# Joining and reading


def test_it_is_live_within_a_round_trip(service, server):
    service.live(service.client(), timeout=0.1)


def test_waiting_for_a_service_that_is_not_there_ends_in_a_timeout(service):
    client = service.client()
    with pytest.raises(TimeoutError, match=f"not live after 2 s .*{PRIMARY}"):
        service.wait(client.wait_live(2.0))
    assert client.state is ClientState.CONNECTING


def test_it_may_be_there_before_its_server(service):
    client = service.client()
    service.loop.advance(20.0)
    service.server()
    service.live(client, timeout=40.0)


def test_it_reads_what_is_there_and_what_comes(service, server):
    writer = service.writer()
    writer.send(*update(b"/a/x", b"1"))
    client = service.live(service.client())
    assert (client.get("/a/x"), client.get(b"/a/x"), client.get("/a/y")) == (b"1", b"1", None)
    writer.send(*update(b"/a/y", b"2"))
    service.loop.run_pending()
    assert client.items() == [(b"/a/x", b"1"), (b"/a/y", b"2")]


def test_its_writes_are_numbered(service, server):
    """So that a server never applies one after a later one of its key."""
    client = service.live(service.run(CloneClient(PRIMARY, jitter=lambda: 0.5), "client"))
    service.wait(client.set("/a", "1"))
    first = server.protocol.store.get(b"/a")[2]
    service.wait(client.set("/a", "2"))
    second = server.protocol.store.get(b"/a")[2]
    assert first[:9] == second[:9]
    assert [int.from_bytes(each[9:]) for each in (first, second)] == [1, 2]


def test_it_holds_its_subtree_only(service, server):
    writer = service.writer()
    writer.send(*update(b"/a/x", b"1"))
    writer.send(*update(b"/b/x", b"1"))
    client = service.live(service.client(subtree="/a/"))
    writer.send(*update(b"/b/y", b"1"))
    writer.send(*update(b"/a/y", b"1"))
    service.loop.run_pending()
    assert [key for key, _ in client.items()] == [b"/a/x", b"/a/y"]


def test_a_client_of_one_key_is_not_disturbed_by_keys_that_begin_alike(service, server):
    client = service.live(service.client(subtree="key"))
    service.writer().send(*update(b"key-2", b"other"))
    service.wait(client.set("key", "own"))
    assert client.get("key") == b"own"


def test_the_key_that_begins_with_the_word_for_heartbeats_is_a_key(service, client):
    service.wait(client.set("HUGZ!", "1"))
    assert client.get("HUGZ!") == b"1"
    other = service.live(service.client(subtree="/a/", name="other"))
    service.wait(client.set("HUGZ!", "2"))
    assert other.items() == []


# Writing


def test_a_write_is_there_for_everybody_when_it_is_acknowledged(service, server, client):
    other = service.live(service.client(name="other"))
    sequence = service.wait(client.set("key", "value"))
    assert sequence == server.protocol.sequence
    assert contents(server) == {b"key": b"value"}
    assert client.get("key") == b"value"
    service.loop.run_pending()
    assert other.get("key") == b"value"


def test_the_own_map_changes_when_the_server_says_so(service, client):
    future = client.set("key", "value")
    assert client.get("key") is None
    service.wait(future)
    assert client.get("key") == b"value"


def test_delete_deletes(service, server, client):
    service.wait(client.set("key", "value"))
    service.wait(client.delete("key"))
    assert contents(server) == contents(client) == {}


def test_deleting_what_is_not_there_is_acknowledged_too(service, client):
    assert service.wait(client.delete("key")) > 0


def test_a_write_before_the_service_is_there_is_done_when_it_is(service):
    client = service.client()
    future = client.set("key", "early")
    service.loop.advance(5.0)
    server = service.server()
    service.wait(future)
    assert contents(server) == {b"key": b"early"}


def test_the_last_of_many_writes_to_a_key_wins_and_all_are_acknowledged(service, server, client):
    futures = [client.set("key", str(number)) for number in range(100)]
    service.wait(asyncio.wait_for(_all(futures), 5.0))
    assert contents(server) == contents(client) == {b"key": b"99"}


async def _all(futures):
    await asyncio.gather(*futures)


def test_a_write_whose_answer_is_lost_is_sent_again_and_applied_once(service, server, client):
    loss = service.network.drop(lambda frames: frames[0] == b"key", "server.publisher")
    future = client.set("key", "value")
    service.loop.advance(1.0)
    assert contents(server) == {b"key": b"value"} and not future.done()
    loss.cancel()
    service.wait(future)
    assert server.protocol.statistics().updates == 1


def test_a_write_that_nobody_answers_fails_in_time(service):
    client = service.client(write_timeout=7.0)
    with pytest.raises(WriteError) as failure:
        service.wait(client.set("key", "value"), timeout=9.0)
    assert failure.value.reason == "timeout"


def test_a_refusal_reaches_the_caller(service):
    server = service.server()
    server.protocol.store.max_keys = 1
    client = service.live(service.client())
    service.wait(client.set("first", "1"))
    with pytest.raises(WriteError) as failure:
        service.wait(client.set("second", "1"))
    assert failure.value.reason == "full"
    service.wait(client.set("first", "2"))


def test_a_full_outbox_is_told_to_the_caller(service):
    client = service.client(max_writes=3)
    for number in range(3):
        client.set(f"key-{number}", "1")
    with pytest.raises(OutboxFull):
        client.set("key-3", "1")
    service.server()
    service.loop.advance(40.0)
    service.wait(client.set("key-3", "1"))


@pytest.mark.parametrize(
    ("key", "value", "ttl"),
    [
        ("", "1", None),
        ("k" * 256, "1", None),
        ("HUGZ", "1", None),
        ("key", "", None),
        ("key", b"x" * ((1 << 20) + 1), None),
        ("key", "1", 0),
        ("key", "1", -1.0),
        ("key", "1", float("nan")),
        ("key", "1", float("inf")),
    ],
)
def test_what_no_server_would_take_is_an_error_of_the_caller(service, client, key, value, ttl):
    with pytest.raises(ValueError):
        client.set(key, value, ttl)
    assert client._writes == {}


@pytest.mark.parametrize("value", [{"a": 1}, ["1"], ("1",), 1, None])
@pytest.mark.parametrize("there", [True, False])
def test_a_value_of_a_wrong_type_is_an_error_and_disturbs_no_other_write(service, value, there):
    """One with a length was taken, and each time it was to be sent nothing after it was."""
    if there:
        service.server()
    client = service.client()
    if there:
        service.live(client)
    with pytest.raises(TypeError, match="text or bytes"):
        client.set("key", value)
    with pytest.raises(TypeError, match="text or bytes"):
        client.set(value, "1")
    assert client.statistics_of_client().unacknowledged == 0
    write = client.set("key", "1")
    if not there:
        service.server()
    service.wait(write, timeout=2.0)
    assert client.errors == 0


def test_what_its_owner_may_change_is_copied(service, client):
    service.network.partition("client", "server")
    value = bytearray(b"before")
    write = client.set("key", value)
    value[:] = b"after!"
    service.loop.advance(5.0)
    service.network.heal("client", "server")
    service.wait(write)
    assert client.get("key") == b"before"


def test_a_write_on_another_thread_is_an_error_and_not_done_later(service, server, client):
    told = []

    def write():
        try:
            client.set("key", "1")
        except WrongThread as error:
            told.append(error)

    thread = threading.Thread(target=write)
    thread.start()
    thread.join()
    assert len(told) == 1
    service.loop.advance(10.0)
    assert contents(server) == {}


@pytest.mark.parametrize(
    ("sequence", "error"),
    [(1.5, TypeError), ("7", TypeError), (-1, ValueError), (1 << 63, ValueError)],
)
def test_a_number_that_no_entry_has_is_an_error_of_the_caller(service, client, sequence, error):
    with pytest.raises(error):
        client.set("key", "1", if_sequence=sequence)
    assert client.statistics_of_client().unacknowledged == 0


def test_what_is_below_another_subtree_is_not_said_to_be_nothing(service, server):
    client = service.live(service.client(subtree="/a/"))
    assert client.items("/") == client.items("/a/b/") == []
    with pytest.raises(ValueError, match="outside"):
        client.items("/b/")


def test_a_change_that_nobody_answers_fails_as_any_write(service):
    """Not as if somebody else had been faster: it may have been applied."""
    client = service.client()
    with pytest.raises(WriteError, match="timeout"):
        service.wait(client.update("key", lambda value: "1", timeout=2.0))


def test_a_write_outside_the_own_subtree_is_an_error_of_the_caller(service, server):
    client = service.live(service.client(subtree="/a/"))
    with pytest.raises(ValueError, match="outside"):
        client.set("/b/x", "1")


def test_who_gives_up_waiting_for_a_write_hears_no_more_of_it(service):
    client = service.client(write_timeout=5.0)
    future = client.set("key", "1")
    with pytest.raises(TimeoutError):
        service.wait(_within(future, 1.0))
    service.loop.advance(10.0)
    assert (client._writes, client.errors) == ({}, 0)
    gc.collect()  # a future that failed unseen would complain to the loop now


async def _within(future, seconds):
    await asyncio.wait_for(future, seconds)


def test_a_write_that_nobody_waits_for_does_not_fail_in_silence(service):
    told = []
    service.loop.set_exception_handler(lambda _, context: told.append(context["exception"]))
    client = service.client(write_timeout=5.0)
    client.set("key", "1")
    service.loop.advance(10.0)
    gc.collect()
    assert [str(error) for error in told] == ["write of b'key' not done: timeout"]


def test_what_is_unacknowledged_at_the_end_is_told_once(service):
    client = service.client()
    futures = [client.set(f"key-{number}", "1") for number in range(3)]
    client.set("key", "nobody waits for this")
    with structlog.testing.capture_logs() as logs:
        service.stop(client)
    assert [(entry["event"], entry["count"]) for entry in logs if "count" in entry] == [
        ("stopped with writes unacknowledged", 4)
    ]
    for future in futures:
        with pytest.raises(WriteError, match="closed"):
            future.result()
    gc.collect()


def test_a_write_is_lost_to_no_server_that_connects_late(service, server):
    """Sent before the collector has subscribed, a plain PUB would drop it."""
    client = service.client()
    service.network.delay(0.5, "server.collector")
    service.wait(client.set("key", "1"), timeout=3.0)


# Time to live


def test_a_value_that_expires_is_an_event_of_its_own(service, client):
    events = service.watch(client)
    service.wait(client.set("key", "1", ttl=3.0))
    service.loop.advance(3.1)
    assert events[-2:] == [Put(b"key", b"1", added=True), Expired(b"key")]
    assert client.get("key") is None


# Watching


def test_a_watch_begins_with_what_is_there_then_live_then_what_comes(service, client):
    service.wait(client.set("b", "1"))
    service.wait(client.set("a", "1"))
    events = service.watch(client)
    service.loop.run_pending()
    there = [Put(b"a", b"1", added=True), Put(b"b", b"1", added=True), Live(0)]
    assert events == there
    service.wait(client.set("a", "2"))
    service.wait(client.delete("b"))
    service.loop.run_pending()
    assert events[3:] == [Put(b"a", b"2", added=False), Deleted(b"b")]


def test_a_watch_that_begins_before_the_snapshot_hears_the_same(service, server):
    service.writer().send(*update(b"a", b"1"))
    client = service.client()
    events = service.watch(client)
    service.live(client)
    service.loop.run_pending()
    assert events == [Put(b"a", b"1", added=True), Live(0)]


def test_a_watch_of_a_subtree_hears_of_nothing_else_but_live(service, client):
    events = service.watch(client, "/a/")
    service.wait(client.set("/a/x", "1"))
    service.wait(client.set("/b/x", "1"))
    service.loop.run_pending()
    assert events == [Live(0), Put(b"/a/x", b"1", added=True)]


def test_a_watcher_that_does_not_take_its_events_is_told_so(service, client):
    async def watch_slowly():
        count = 0
        async for _ in client.watch(limit=10):
            if not count:
                await asyncio.sleep(5.0)
            count += 1

    task = service.loop.create_task(watch_slowly())
    service.loop.run_pending()
    quick = service.watch(client)
    for number in range(50):
        service.wait(client.set("key", str(number)))
    with pytest.raises(WatcherTooSlow, match="10"):
        service.wait(task)
    assert len(quick) == 51
    assert len(client._watchers) == 1


def test_a_watcher_that_stays_behind_ends_with_an_error_after_what_found_room(service, client):
    """It never takes all that waits; a gap in what it takes would go unnoticed."""
    taken = []

    async def watch_slowly():
        async for event in client.watch(limit=3):
            taken.append(event)
            await asyncio.sleep(1.0)

    task = service.loop.create_task(watch_slowly())
    service.loop.run_pending()
    for number in range(20):
        service.wait(client.set(f"key-{number}", "1"))
        service.loop.advance(0.4)
    with pytest.raises(WatcherTooSlow):
        service.wait(task)
    keys = [event.key for event in taken if isinstance(event, Put)]
    assert keys == [b"key-%d" % number for number in range(len(keys))] and len(keys) < 12


def test_a_watch_that_is_left_is_forgotten(service, client):
    async def watch_one():
        events = client.watch()
        async for _ in events:
            break
        await events.aclose()

    service.wait(watch_one())
    assert client._watchers == ()


# Being called


def test_cl_18_a_callback_is_told_what_is_there_then_live_then_what_comes(service, client):
    service.wait(client.set("b", "1"))
    events = []
    watch = client.add_watch(events.append)
    assert events == [Put(b"b", b"1", added=True), Live(0)]
    service.wait(client.set("a", "2", ttl=2.0))
    service.wait(client.delete("b"))
    service.loop.advance(3.0)
    assert events[2:] == [Put(b"a", b"2", added=True), Deleted(b"b"), Expired(b"a")]
    watch.cancel()
    watch.cancel()
    service.wait(client.set("c", "1"))
    assert len(events) == 5 and client._watchers == ()


def test_a_callback_hears_the_difference_after_a_break(service, client):
    service.wait(client.set("/a/x", "1"))
    events = []
    client.add_watch(events.append, "/a/")
    service.network.partition("client", "server", reset=True)
    writer = service.writer()
    writer.send(*update(b"/a/x", b""))
    writer.send(*update(b"/b/x", b"1"))
    service.loop.advance(10.0)
    service.network.heal()
    service.live(client)
    assert events[-2:] == [Deleted(b"/a/x"), Live(0)]
    assert [type(event) for event in events] == [Put, Live, Stale, Deleted, Live]


def test_a_callback_that_raises_is_told_to_on_error_and_called_again(service, client):
    errors, events = [], []
    client.on_error = errors.append

    def callback(event):
        events.append(event)
        raise RuntimeError("not today")

    client.add_watch(callback)
    quick = service.watch(client)
    service.wait(client.set("key", "1"))
    service.wait(client.set("key", "2"))
    service.loop.run_pending()
    assert len(events) == len(errors) == len(quick) == 3


def test_a_callback_that_lets_a_cancelled_error_out_leaves_no_write_waiting(service, client):
    """The publication that it was called for also acknowledges the write."""
    errors, gone = [], service.loop.create_future()
    gone.cancel()
    client.on_error = errors.append
    client.add_watch(lambda event: gone.result() if isinstance(event, Put) else None)
    service.wait(client.set("key", "1"), timeout=1.0)
    service.stop(client)
    assert [type(error.__cause__) for error in errors] == [asyncio.CancelledError]


def test_a_callback_may_write_and_may_cancel_itself_and_others(service, client):
    events = []

    def first(event):
        if isinstance(event, Put):
            second.cancel()
            client.set("answer", "1")
            watch.cancel()

    watch = client.add_watch(first)
    second = client.add_watch(events.append)
    service.wait(client.set("question", "1"))
    service.loop.run_pending()
    assert events == [Live(0)]
    assert client.get("answer") == b"1"


def test_a_coroutine_function_is_no_callback(service, client):
    async def callback(event): ...

    with pytest.raises(TypeError, match="coroutine"):
        client.add_watch(callback)


def test_a_watch_of_a_client_that_has_stopped_is_over(service, client):
    watch = client.add_watch(lambda event: None)
    service.stop(client)
    assert not watch.active
    assert not client.add_watch(lambda event: None).active
    assert client._watchers == () and not client.protocol.watched  # in another life either


# Losses and changes of the server


def test_after_a_break_the_difference_comes_as_events_deletions_too(service, server, client):
    for key in ("same", "changed", "deleted"):
        service.wait(client.set(key, "1"))
    events = service.watch(client)
    writer = service.writer()
    service.network.partition("client", "server", reset=True)
    writer.send(*update(b"changed", b"2"))
    writer.send(*update(b"deleted", b""))
    writer.send(*update(b"added", b"1"))
    service.loop.advance(10.0)
    del events[:-1]
    assert isinstance(events.pop(), Stale)
    service.network.heal()
    service.live(client)
    service.loop.run_pending()
    assert events == [
        Deleted(b"deleted"),
        Put(b"changed", b"2", added=False),
        Put(b"added", b"1", added=True),
        Live(0),
    ]


@pytest.mark.parametrize("subtree", ["", "/a/"])
def test_a_lost_update_is_noticed_within_a_heartbeat_and_fetched(service, server, subtree):
    client = service.live(service.client(subtree=subtree))
    service.loop.advance(1.5)
    service.network.drop(1, "server.publisher", "client")
    service.writer().send(*update(b"/a/x", b"1"))
    service.loop.run_until(lambda: client.state is not ClientState.LIVE, timeout=1.1)
    service.live(client)
    assert client.get("/a/x") == b"1"
    assert client.statistics_of_client().losses == 1


def test_it_reads_on_while_no_server_is_there(service, server, client):
    service.wait(client.set("key", "1"))
    service.kill(server)
    service.loop.advance(60.0)
    assert client.state is not ClientState.LIVE
    assert client.get("key") == b"1"


def test_the_first_of_its_servers_is_preferred(service):
    service.server(5556)
    service.server(5566)
    client = service.live(service.client(BACKUP, PRIMARY))
    assert client.server == BACKUP


def test_the_log_names_the_server_that_is_lost_and_the_one_that_is_found(service):
    server = service.server(5556)
    service.server(5566, name="other")
    with structlog.testing.capture_logs() as logs:
        client = service.live(service.client(PRIMARY, BACKUP))
        service.kill(server)
        service.loop.run_until(lambda: client.state is not ClientState.LIVE)
        service.live(client)
    changes = [(entry["event"], entry["server"]) for entry in logs if "server" in entry]
    assert changes == [("live", PRIMARY), ("stale", PRIMARY), ("live", BACKUP)]


def test_a_server_that_is_not_there_is_left_for_the_next(service):
    service.server(5566)
    client = service.live(service.client(PRIMARY, BACKUP))
    assert client.server == BACKUP


def test_it_goes_round_its_servers_until_one_is_there(service):
    client = service.client(PRIMARY, BACKUP, "tcp://127.0.0.1:5576")
    tried = set()
    for _ in range(200):
        service.loop.advance(0.1)
        tried.add(client.server)
    assert tried == set(client.servers)
    service.server(5576)
    service.live(client, timeout=60.0)


def test_a_restarted_server_is_noticed_and_its_emptiness_believed(service, server, client):
    service.wait(client.set("key", "1"))
    events = service.watch(client)
    service.kill(server)
    service.loop.advance(61.0)
    service.server()
    service.live(client, timeout=60.0)
    service.loop.run_pending()
    assert events[-2:] == [Deleted(b"key"), Live(0)]


def test_sockets_come_and_go_without_a_leak(service, server, client):
    before = len(client.reactor.statistics().streams)
    for _ in range(20):
        service.network.partition("client", "server", reset=True)
        service.loop.advance(5.0)
        service.network.heal()
        service.live(client, timeout=60.0)
    service.loop.run_pending()
    assert len(client.reactor.statistics().streams) == before
    assert len(client._opened) <= before + 1


def test_between_two_attempts_no_socket_is_open_but_those_of_the_updates(service, server):
    client = service.live(service.client(jitter=lambda: 1.0))
    service.kill(server)
    service.loop.run_until(lambda: client.state is ClientState.STALE)
    service.loop.run_pending()
    names = [stream.name for stream in client.reactor.statistics().streams]
    assert names == ["client.updates-0"]


def test_a_snapshot_that_does_not_come_leaves_no_socket_either(service, server):
    service.network.partition("client.snapshot", "server")
    client = service.client(jitter=lambda: 1.0)
    service.loop.run_until(lambda: client.state is ClientState.SYNCING)
    service.loop.run_until(lambda: client.state is ClientState.STALE)
    names = [stream.name for stream in client.reactor.statistics().streams]
    assert names == ["client.updates-0"]


def test_updates_go_to_servers_that_have_subscribed_and_to_no_others(service):
    client = service.client()
    (publisher,) = client._sockets._publishers
    publisher.deliver(b"\x01")
    service.loop.run_pending()
    client.set("first", "1")
    publisher.deliver(b"\x00")
    service.loop.run_pending()
    client.set("second", "1")
    assert [frames[0] for frames in publisher.take_sent()] == [b"first"]
    publisher.deliver(b"\x01")
    service.loop.run_pending()
    assert [frames[0] for frames in publisher.take_sent()] == [b"first", b"second"]


# Malformed answers


@pytest.mark.parametrize(
    "frames",
    [(b"key",), (b"key",) * 9, (b"key", b"\0" * 7, b"", b"", b""), update(b"", b"1")],
)
def test_what_a_server_should_not_have_published_is_refused(service, server, client, frames):
    """M-12: it is counted and logged, and ends nothing."""
    server._publisher.send(*frames)
    service.loop.run_pending()
    assert (client.refused, client.errors) == (1, 0)
    service.wait(client.set("after", "1"))


def test_a_server_that_says_nonsense_does_not_stop_it(service):
    reactor = service.reactor()
    publisher = reactor.open_stream(zmq.XPUB, "@tcp://127.0.0.1:5557")
    router = reactor.open_stream(zmq.ROUTER, "@tcp://127.0.0.1:5556")
    collector = reactor.open_stream(zmq.XSUB, "@tcp://127.0.0.1:5558")
    client = service.client(PRIMARY, BACKUP)
    for _ in range(20):
        publisher.send(b"HUGZ", b"", b"")
        publisher.send(b"HUGZ", bytes(8), b"", b"seq=x\n", b"")
        publisher.send(*update(b"HUGZ", b""))
        collector.send(b"x")
        service.loop.advance(0.5)
        for identity, *_ in router.sent:
            router.send(identity, b"KTHXBAI")
    service.server(5566)
    service.live(client, timeout=60.0)
    assert client.server == BACKUP
    assert (client.refused > 0, client.errors) == (True, 0)


# What goes wrong on this side


@pytest.mark.parametrize("which", ["client.subscriber", "client.snapshot", "client.vote"])
def test_a_socket_that_cannot_be_opened_is_tried_again(service, monkeypatch, which):
    server = service.server()
    client = service.live(service.client())
    service.kill(server)
    real_open = Stream.open

    def fail(stream, *arguments):
        if stream.name == which:
            raise EndpointError("no descriptor is left")
        real_open(stream, *arguments)

    monkeypatch.setattr(Stream, "open", fail)
    with structlog.testing.capture_logs() as logs:
        service.loop.advance(20.0)
        service.server()
        service.loop.advance(20.0)
    assert client.errors > 0
    assert {entry["handler"] for entry in logs if entry["event"] == "hook failed"} == {"client"}
    monkeypatch.undo()
    service.live(client, timeout=60.0)


@pytest.mark.parametrize(
    "server",
    [
        "localhost",
        "tcp://127.0.0.1",
        "tcp://127.0.0.1:*",
        "tcp://127.0.0.1:0",
        "inproc://x",
        "tcp://127.0.0.1:65534",
        "tcp://127.0.0.1:99999",
        "",
        "udp://127.0.0.1:5556",
    ],
)
def test_an_endpoint_that_names_no_server_is_told_at_once(server):
    with pytest.raises(EndpointError, match="names no Clone server"):
        CloneClient(["tcp://127.0.0.1:5556", server])


@pytest.mark.parametrize("retry", [0.0, -1.0, float("nan")])
def test_a_write_cannot_be_sent_again_all_the_time(retry):
    with pytest.raises(ValueError, match="sent again"):
        CloneClient(retry=retry, servers=["tcp://127.0.0.1:5556"])


def test_an_endpoint_that_is_no_string_is_told_at_once():
    with pytest.raises(TypeError, match="a string"):
        CloneClient([5556])


def test_a_client_needs_a_server():
    with pytest.raises(ValueError):
        CloneClient([])


# Ending


def test_closing_fails_what_is_not_acknowledged_and_ends_watches_and_waits(service):
    client = service.client()
    write = client.set("key", "1")
    events = service.watch(client)
    waiting = service.loop.create_task(client.wait_live())
    service.loop.run_pending()
    service.stop(client)
    with pytest.raises(WriteError) as failure:
        service.wait(write)
    assert failure.value.reason == "closed"
    with pytest.raises(ClientClosed):
        service.wait(waiting)
    assert events == [] and client._watchers == ()


def test_a_watch_of_a_live_client_ends_without_a_word(service, client):
    events = service.watch(client)
    service.loop.run_pending()
    service.stop(client)
    assert events == [Live(0)]


def test_after_its_end_a_client_takes_nothing_and_hangs_nobody(service, server, client):
    service.wait(client.set("key", "1"))
    service.stop(client)
    with pytest.raises(ClientClosed):
        client.set("key", "2")
    with pytest.raises(ClientClosed):
        client.delete("key")
    with pytest.raises(ClientClosed):
        service.wait(client.wait_live())
    assert client.get("key") == b"1"
    assert service.watch(client) == []
    service.loop.run_pending()
    assert client._watchers == ()


def test_a_write_from_a_callback_of_the_end_is_refused_not_forgotten(service, server, client):
    """A task that writes again when a write fails must not wait for ever."""
    service.network.partition("client", "server")

    async def insist():
        failures = 0
        while True:
            try:
                await client.set("key", "1")
            except WriteError:
                failures += 1
            except ClientClosed:
                return failures

    task = service.loop.create_task(insist())
    service.loop.advance(1.0)
    service.stop(client)
    assert service.wait(task) == 1


def test_closing_is_nothing_to_warn_of(service, server, client):
    with structlog.testing.capture_logs() as logs:
        service.stop(client)
    assert [entry for entry in logs if entry["log_level"] != "info"] == []


def test_before_it_is_registered_a_client_has_no_reactor_to_write_with():
    with pytest.raises(ReactorError, match="not registered"):
        CloneClient(PRIMARY).set("key", "1")


def test_a_client_may_be_registered_again(service, server, client):
    reactor = client.reactor
    service.wait(reactor.unregister(client))
    assert reactor.statistics().streams == ()
    service.loop.advance(60.0)
    reactor.register(client)
    service.live(client)
    service.wait(client.set("key", "1"))


def test_what_is_published_and_asked_by_a_client_is_plain_rfc_12(service, server):
    """R12-12: the words on the wire, as a server of the Guide takes them."""
    client = service.live(service.client(subtree="/a/"))
    asked = next(s for s in server.reactor.statistics().streams if s.name == "server.snapshots")
    assert asked.messages_received == 1
    subscriber = service.subscriber()
    service.wait(client.set("/a/x", "1", ttl=2))
    (frames,) = [frames for frames in subscriber.arrived if frames[0] == b"/a/x"]
    assert (frames[3], frames[4], len(frames[2])) == (b"ttl=2\n", b"1", 16)
    assert updates(subscriber.arrived) == [(b"/a/x", b"1")]


# On a reactor of its own, on real sockets


async def test_a_client_that_cannot_start_leaves_nothing_open():
    with pytest.raises(EndpointError):
        async with CloneClient("tcp://no host:5556"):
            pass


async def test_an_error_in_the_block_ends_the_client():
    client = CloneClient("tcp://127.0.0.1:9")
    with pytest.raises(RuntimeError, match="a bug of the user"):
        async with client:
            raise RuntimeError("a bug of the user")
    with pytest.raises(ClientClosed):
        client.set("key", "1")


def test_a_watcher_has_room_for_the_largest_map_gone_and_another_one_in_its_place():
    assert KeyValueStore().max_keys * 2 < WATCH_LIMIT
