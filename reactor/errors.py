"""The errors of the framework, each named for what the caller can do about it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

import zmq


class ReactorError(Exception):
    """Any error that the framework raises on purpose."""


class EndpointError(ReactorError):
    """An endpoint cannot be bound or connected; the message names handler, stream, endpoint."""


class OptionError(ReactorError):
    """A socket type does not take an option or its value; the message names both."""


class StreamClosed(ReactorError):
    """The stream was closed before this call."""


class QueueFull(ReactorError):
    """The peer takes nothing and the send queue is at its limit (policy `Policy.ERROR`)."""


class WrongThread(ReactorError):
    """A stream was touched from another thread; `Reactor.call_soon_threadsafe` is the door."""


def as_exception(error: BaseException) -> Exception:
    """What `on_error` is told of an error in a hook.

    Nobody cancels a hook that the loop calls: a CancelledError is that of something it has asked.
    """
    if isinstance(error, Exception):
        return error
    told = ReactorError("a hook has let a CancelledError out")
    told.__cause__ = error
    return told


async def await_hook(waiting: Awaitable[None]) -> None:
    """Await what a coroutine hook has returned; raises what it raises, a CancelledError as above.

    Only who has cancelled the task itself, as a stop does, gets that as it is.
    """
    try:
        await waiting
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        raise as_exception(error) from error


def reason_of(error: zmq.ZMQError) -> str:
    """Why libzmq takes no endpoint, without pyzmq's " (addr=...)": who tells it names that."""
    return (error.strerror or str(error)).partition(" (addr=")[0]


class PeerError(ReactorError):
    """A peer broke the protocol: its message is refused, counted and logged; the loop goes on."""
