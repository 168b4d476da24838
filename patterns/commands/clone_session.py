"""What the commands that use a Clone service have in common: options, keys, one client."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import click

from patterns.clone.client import CloneClient, WriteError
from patterns.clone.levels import APPLIED, REPLICATED
from patterns.clone.messages import MAX_KEY, RESERVED_KEYS
from patterns.commands.exit_codes import no_answer
from patterns.commands.finite import Seconds
from patterns.commands.logs import log_to_stderr
from reactor import EndpointError

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])

DEFAULT_SERVER = "tcp://127.0.0.1:5556"
DEFAULT_TIMEOUT = 5.0
# Servers of ours answer a newcomer at once, those of the Guide beat once a second.
_SERVER_TTL = 1.5


def session_options(command: F) -> F:
    """Give a command the options `servers` and `timeout`."""
    command = click.option(
        "--timeout",
        type=Seconds(),
        default=DEFAULT_TIMEOUT,
        metavar="SECONDS",
        help="How long to wait for an answer.",
    )(command)
    return click.option(
        "--server",
        "servers",
        multiple=True,
        default=[DEFAULT_SERVER],
        metavar="ENDPOINT",
        help="A server by the first of its three ports; several in order of preference.",
    )(command)


def sequence_option(command: F) -> F:
    """Give a command the option `if_sequence`."""
    return click.option(
        "--if-sequence",
        type=click.IntRange(min=0),
        metavar="N",
        help='Only if `reactor get --sequence` would still print N, or "no such key" for 0.',
    )(command)


def ack_option(command: F) -> F:
    """Give a command the option `ack`."""
    return click.option(
        "--ack",
        type=click.Choice([APPLIED, REPLICATED]),
        default=APPLIED,
        show_default=True,
        help="Done when the active server has it, or when both servers of the pair do.",
    )(command)


def key_name(text: str) -> bytes:
    """The bytes of a key on the command line; raises click.UsageError for what no key can be."""
    name = os.fsencode(text)
    if not 0 < len(name) <= MAX_KEY:
        raise click.UsageError(f"a key has 1 to {MAX_KEY} bytes, not {len(name)}")
    if name in RESERVED_KEYS:
        raise click.UsageError(f"{text} is a word of the protocol and cannot be a key")
    return name


def subtree_names(texts: Sequence[str]) -> list[bytes]:
    """The bytes of the subtrees on the command line; none is everything."""
    return [os.fsencode(text) for text in texts] or [b""]


def run_session(
    work: Callable[[CloneClient], Awaitable[T]],
    servers: Sequence[str],
    timeout: float,
    subtree: bytes | list[bytes],
) -> T:
    """Return what `work(client)` returns, once the client is live; all of it within `timeout`.

    Raises click.UsageError, NoAnswer or, when the server refuses a write, click.ClickException.
    """

    async def session(client: CloneClient) -> T:
        async with asyncio.timeout(timeout):
            await client.wait_live()
            return await work(client)

    return run_client(session, servers, timeout, subtree, server_ttl=_SERVER_TTL)


def run_client(
    session: Callable[[CloneClient], Awaitable[T]],
    servers: Sequence[str],
    timeout: float,
    subtree: bytes | list[bytes],
    **options: Any,
) -> T:
    """As `run_session`, but `session(client)` begins at once and waits by itself."""
    log_to_stderr("warning")
    try:
        client = CloneClient(list(servers), subtree, write_timeout=timeout, **options)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    except EndpointError as error:
        raise click.BadParameter(str(error), param_hint="--server") from None

    async def run() -> T:
        async with client:
            return await session(client)

    try:
        return asyncio.run(run())
    except EndpointError as error:  # what only libzmq finds wrong
        raise click.BadParameter(str(error), param_hint="--server") from None
    except TimeoutError:
        raise no_answer(servers, timeout) from None
    except WriteError as error:
        if error.reason == "timeout":
            raise no_answer(servers, timeout) from None
        raise click.ClickException(str(error)) from None
