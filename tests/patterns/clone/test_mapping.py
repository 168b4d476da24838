"""The views as mappings: what is set is seen, and what fails vanishes and is told."""

import asyncio

import pytest

from patterns.clone.client import OutboxFull, WriteError

from .services import contents, update


def test_it_is_a_mapping(service, server, client):
    view = client.mapping()
    view["/a"] = "1"
    view[b"/b"] = b"2"
    view.update({"/c": "3", "/d": "4"})
    assert view.pop("/c") == b"3"
    assert view.setdefault("/a", "9") == b"1"
    del view["/d"]
    assert dict(view) == {b"/a": b"1", b"/b": b"2"}
    assert (len(view), "/a" in view, "/c" in view, view.get("/c")) == (2, True, False, None)
    service.wait(view.flush())
    assert contents(server) == dict(view) == {b"/a": b"1", b"/b": b"2"}
    assert view._pending == {}


def test_what_is_set_is_seen_through_it_at_once_and_elsewhere_when_it_is_done(service, client):
    view = client.mapping()
    view["/a"] = "1"
    assert (view["/a"], client.get("/a")) == (b"1", None)
    view["/a"] = "2"
    service.wait(view.flush())
    assert (view["/a"], client.get("/a")) == (b"2", b"2")
    service.writer().send(*update(b"/a", b"3"))
    service.loop.run_pending()
    assert view["/a"] == b"3"


def test_what_is_not_there_is_a_key_error(client):
    view = client.mapping()
    with pytest.raises(KeyError):
        view["/a"]
    with pytest.raises(KeyError):
        del view["/a"]


def test_what_is_outside_is_missing_and_cannot_be_set(service, server):
    view = service.live(service.client(subtree="/a/")).mapping()
    assert "/b/x" not in view
    with pytest.raises(ValueError, match="outside"):
        view["/b/x"] = "1"
    assert list(view) == []


def test_a_refused_write_vanishes_and_is_told_twice(service):
    server = service.server()
    server.protocol.store.max_keys = 1
    client = service.live(service.client())
    told = []
    client.on_error = told.append
    view = client.mapping()
    view["/a"] = "1"
    view["/b"] = "2"
    with pytest.raises(ExceptionGroup) as failure:
        service.wait(view.flush())
    assert [str(error) for error in failure.value.exceptions] == ["write of b'/b' not done: full"]
    assert told == list(failure.value.exceptions)
    assert dict(view) == {b"/a": b"1"}
    service.wait(view.flush())  # of what there was since


def test_the_end_of_the_block_is_a_flush(service, client):
    async def work():
        async with client.mapping() as view:
            view["/a"] = "1"
        assert client.get("/a") == b"1"
        with pytest.raises(RuntimeError):
            async with client.mapping() as view:
                view["/a"] = "2"
                raise RuntimeError
        with pytest.raises(ExceptionGroup):
            async with asyncio.timeout(10), client.mapping() as view:
                view["/a"] = "3"
                client.reactor.stop()

    client.on_error = lambda error: None
    service.wait(work())


def test_a_full_outbox_is_told_where_it_is_set(service):
    view = service.client(max_writes=1).mapping()
    view["/a"] = "1"
    with pytest.raises(OutboxFull):
        view["/b"] = "2"
    assert dict(view) == {b"/a": b"1"}


def test_who_never_flushes_is_told_by_on_error(service):
    told = []
    client = service.client(write_timeout=2.0)
    client.on_error = told.append
    client.mapping()["/a"] = "1"
    service.loop.advance(3.0)
    assert [type(error) for error in told] == [WriteError]


def test_failures_that_nobody_asks_for_do_not_pile_up(service, server, client, monkeypatch):
    monkeypatch.setattr("patterns.clone.mapping._MAX_ERRORS", 3)
    server.protocol.store.max_keys = 0
    view = client.mapping()
    for number in range(9):
        view[f"/{number}"] = "1"
    with pytest.raises(ExceptionGroup) as failure:
        service.wait(view.flush())
    assert len(failure.value.exceptions) == 3


def test_what_can_be_no_key_is_missing_as_in_any_other_mapping(client):
    view = client.mapping()
    assert 5 not in view
    assert view.get(None) is None


def test_all_is_deleted_at_once(service, server, client, monkeypatch):
    view = client.mapping()
    view.update({f"/{number}": "1" for number in range(20)})
    service.wait(view.flush())
    asked = []
    monkeypatch.setattr(client, "items", lambda items=client.items: asked.append(1) or items())
    view.clear()
    assert (len(asked), list(view)) == (1, [])
    service.wait(view.flush())
    assert contents(server) == {}
