"""What commands that run a Clone pair have in common: when its servers let a write be seen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from patterns.clone.levels import LEVELS
from patterns.clone.replication import ReplicationPolicy

F = TypeVar("F", bound=Callable[..., Any])

WITHOUT_PEER = DEGRADE, REFUSE = ("degrade", "refuse")


def ack_option(command: F) -> F:
    """Give a command --ack, None if it is not said."""
    return click.option(
        "--ack",
        type=click.Choice(sorted(LEVELS)),
        help="Publish what clients write once this server has applied it, or once the passive one"
        " of the pair holds it too (replicated). Clients may ask for either themselves."
        "  [default: applied]",
    )(command)


def without_peer_option(command: F) -> F:
    """Give a command --without-peer, None if it is not said."""
    return click.option(
        "--without-peer",
        type=click.Choice(WITHOUT_PEER),
        help="What becomes of a write that is to be replicated while the passive server does not"
        " keep up: it is applied, and its writer told that this is all; or it is refused."
        "  [default: degrade]",
    )(command)


def policy_of(
    ack: str | None, without_peer: str | None, timeout: float | None = None
) -> ReplicationPolicy:
    """The policy that options make, each None if it is not said; `timeout` is in seconds."""
    default = ReplicationPolicy()
    return ReplicationPolicy(
        ack or default.level, timeout or default.timeout, refuses=without_peer == REFUSE
    )


def without_peer_of(policy: ReplicationPolicy) -> str:
    """What --without-peer says of a policy."""
    return REFUSE if policy.refuses else DEGRADE
