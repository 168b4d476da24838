"""Fixtures for every test: what a test opens, it closes, or it fails.

Each check costs microseconds where nothing is wrong. They are autouse, so they are set up before
the other fixtures of a test and look after those are torn down.
"""

import asyncio
import inspect
import threading
from collections.abc import AsyncIterator, Iterator

import pytest
import zmq
from hypothesis import settings
from zmq.utils import garbage

# How long an example takes is the machine's business: no test of ours is a race against the clock.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")

# A thread that has been told to end may need a moment; one that has not never ends.
THREAD_GRACE_SECONDS = 1.0


@pytest.fixture
def context() -> Iterator[zmq.Context[zmq.Socket[bytes]]]:
    """A context for plain blocking sockets."""
    with zmq.Context() as context:
        yield context


@pytest.fixture(autouse=True)
def no_leaked_thread() -> Iterator[None]:
    """A test fails that leaves a thread running."""
    before = set(threading.enumerate())
    yield
    left = [thread for thread in threading.enumerate() if thread not in before and _ours(thread)]
    for thread in left:
        thread.join(THREAD_GRACE_SECONDS)
    names = [thread.name for thread in left if thread.is_alive()]
    if names:
        pytest.fail(f"leaked threads: {', '.join(names)}")


@pytest.fixture(autouse=True)
def no_leaked_socket() -> Iterator[None]:
    """A test fails that leaves a ZeroMQ socket or context open."""
    # Strong references: or the garbage collector would close what a test forgot, at some time.
    opened: list[zmq.Socket[bytes] | zmq.Context[zmq.Socket[bytes]]] = []

    def remember(cls):
        construct = cls.__init__

        def construct_and_remember(self, *args, **kwargs):
            construct(self, *args, **kwargs)
            opened.append(self)

        patch.setattr(cls, "__init__", construct_and_remember)

    with pytest.MonkeyPatch.context() as patch:
        remember(zmq.Context)
        remember(zmq.Socket)
        yield
    left = [thing for thing in opened if not thing.closed and _owned(thing)]
    names = [str(thing) for thing in left]
    for thing in left:
        # Without linger, so that a failed test cannot hang; destroy() closes the sockets as well.
        thing.destroy(linger=0) if isinstance(thing, zmq.Context) else thing.close(linger=0)
    if names:
        pytest.fail(f"left open: {', '.join(names)}")


@pytest.fixture(autouse=True)
def no_leaked_task(request: pytest.FixtureRequest) -> None:
    """A coroutine test fails that leaves an asyncio task unfinished."""
    # Asked for by name here only: as autouse it would start a loop for the plain tests too.
    if inspect.iscoroutinefunction(getattr(request.node, "obj", None)):
        request.getfixturevalue("_tasks_finished")


@pytest.fixture
async def _tasks_finished() -> AsyncIterator[None]:
    yield
    # The loop cancels what is left when it closes, which would hide the leak: look before.
    left = asyncio.all_tasks() - {asyncio.current_task()}
    if left:
        pytest.fail(f"leaked tasks: {', '.join(str(task.get_coro()) for task in left)}")


def _ours(thread: threading.Thread) -> bool:
    """Whether a test answers for the thread, not pyzmq, and not a loop that is closed after us."""
    return not (
        isinstance(thread, garbage.GarbageCollectorThread) or thread.name.startswith("asyncio_")
    )


def _owned(thing: zmq.Socket[bytes] | zmq.Context[zmq.Socket[bytes]]) -> bool:
    """Whether a test answers for it, not pyzmq, and not the owner of what a shadow shadows."""
    context = thing if isinstance(thing, zmq.Context) else thing.context
    return not thing._shadow and context is not garbage.gc._context
