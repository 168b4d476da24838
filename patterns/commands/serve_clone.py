"""`reactor serve clone`: a Clone server, alone or as one of a Binary Star pair."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from importlib import import_module

import click
import zmq

from patterns.binary_star.messages import Role
from patterns.clone.handlers import CloneServer
from patterns.clone.model_server import ModelServer
from patterns.clone.ports import LAST_PORT
from patterns.commands.clone_feed import CloneFeed
from patterns.commands.endpoints import Control, Endpoint
from patterns.commands.exit_codes import SERVER_EXIT_CODES
from patterns.commands.finite import Seconds
from patterns.commands.replication_options import ack_option, policy_of, without_peer_option
from patterns.commands.serving import serve
from reactor import EndpointError, Handler

_FED = (1, 2)  # their clients do not write
_COLLECTORS = {"pull": zmq.PULL, "sub": zmq.SUB}


@click.command("clone", epilog=SERVER_EXIT_CODES)
@click.option(
    "--model",
    type=click.IntRange(1, 6),
    default=6,
    help="The Guide's number: 1 publishes, 2 has snapshots, 3 takes updates from clients, 4 has "
    "subtrees, 5 ephemeral values, 6 survives the death of a server.",
)
@click.option(
    "--port",
    type=click.IntRange(0, LAST_PORT),
    default=5556,
    help="The first of three ports in a row (1 in model 1, 2 in model 2); 0: the kernel chooses.",
)
@click.option("--host", default="127.0.0.1", help="The address to bind.")
@click.option(
    "--collector",
    type=click.Choice(list(_COLLECTORS)),
    help="The socket that takes clients' updates.  [default: pull in models 3 to 5, sub in 6]",
)
@click.option(
    "--role",
    type=click.Choice([role.value for role in Role]),
    help="Be this one of a pair; without it the server stands alone.",
)
@click.option("--state-bind", type=Endpoint(), help="Where the peer hears our state.")
@click.option("--state-connect", type=Endpoint(), help="Where we hear the peer's state.")
@click.option("--peer", metavar="ENDPOINT", help="The peer, by the first of its three ports.")
@click.option(
    "--heartbeat",
    type=Seconds(),
    default=1.0,
    metavar="SECONDS",
    help="Between heartbeats, to clients and to the peer.",
)
@click.option(
    "--timeout",
    type=Seconds(),
    metavar="SECONDS",
    help="A peer that is silent for so long is gone.  [default: two heartbeats]",
)
@click.option(
    "--control",
    type=Control(may_be_empty=True),
    default="",
    show_default=False,
    help="Where operators ask and order: `reactor status`, `switchover`, `promote`. A number is a"
    " port of 127.0.0.1. Whoever reaches it may order.",
)
@ack_option
@click.option(
    "--replication-timeout",
    type=Seconds(),
    metavar="SECONDS",
    help="How long a write waits for the passive server, and the others behind it.  [default: 1]",
)
@without_peer_option
@click.option(
    "--sys", "figures", is_flag=True, help="Publish the server's own figures below $SYS/."
)
def serve_clone(
    model: int,
    port: int,
    host: str,
    collector: str | None,
    role: str | None,
    state_bind: str | None,
    state_connect: str | None,
    peer: str | None,
    heartbeat: float,
    timeout: float | None,
    control: str,
    ack: str | None,
    replication_timeout: float | None,
    without_peer: str | None,
    figures: bool,
) -> None:
    """Hold a map that many clients share, and number their changes.

    Prints `ready tcp://HOST:PORT` when all is bound. Ends at Ctrl-C or SIGTERM. In models 1 and 2
    clients only read: the server publishes the lines of standard input, each a KEY, a space and a
    VALUE; a KEY alone deletes it.

    \b
    A pair:
      reactor serve clone --role primary --port 5556 --peer tcp://127.0.0.1:5566
        --state-bind tcp://127.0.0.1:5003 --state-connect tcp://127.0.0.1:5004
      reactor serve clone --role backup --port 5566 --peer tcp://127.0.0.1:5556
        --state-bind tcp://127.0.0.1:5004 --state-connect tcp://127.0.0.1:5003
    """
    of_a_pair = {
        "--timeout": timeout,
        "--ack": ack,
        "--replication-timeout": replication_timeout,
        "--without-peer": without_peer,
    }
    _check_pair(role, state_bind, state_connect, peer, of_a_pair)
    _check_model(model, role, collector, {"--control": control, "--sys": figures})
    socket_type = _COLLECTORS[collector] if collector else None
    try:
        if model != 6:
            _serve_model(model, port, _bracketed(host), heartbeat, socket_type)
            return
        server = CloneServer(
            port,
            _bracketed(host),
            collector=socket_type or zmq.SUB,
            role=Role(role) if role else None,
            state_bind=state_bind or "",
            state_connect=state_connect or "",
            peer=peer or "",
            heartbeat=heartbeat,
            timeout=timeout,
            control=control,
            figures=figures,
            replication=policy_of(ack, without_peer, replication_timeout) if role else None,
        )
    except (ValueError, EndpointError) as error:
        raise click.UsageError(str(error)) from None
    serve(server, lambda: [server.endpoint])


def _serve_model(model: int, port: int, host: str, heartbeat: float, collector: int | None) -> None:
    kind: type[ModelServer] = import_module(f"patterns.clone.model{model}").Server
    dialect = replace(kind.dialect, collector=collector) if collector else kind.dialect
    server = kind(port, host, dialect=dialect, heartbeat=heartbeat)
    others: list[Handler] = [CloneFeed(server, sys.stdin.buffer)] if model in _FED else []
    serve(server, lambda: [server.endpoint], *others)


def _check_model(
    model: int, role: str | None, collector: str | None, of_model_6: Mapping[str, object]
) -> None:
    if role and model != 6:
        raise click.UsageError(f"--role {role}: model {model} has no pairs, model 6 has.")
    if collector and model in _FED:
        raise click.UsageError(f"--collector: clients of model {model} do not write.")
    given = [name for name, value in of_model_6.items() if value]
    if given and model != 6:
        raise click.UsageError(f"{', '.join(given)}: model 6 has it, model {model} has not.")


def _check_pair(
    role: str | None,
    state_bind: str | None,
    state_connect: str | None,
    peer: str | None,
    of_a_pair: Mapping[str, object],
) -> None:
    pair = {"--state-bind": state_bind, "--state-connect": state_connect, "--peer": peer}
    missing = [name for name, value in pair.items() if not value]
    if role and missing:
        raise click.UsageError(f"--role {role} needs {', '.join(missing)} as well.")
    given = [name for name, value in {**pair, **of_a_pair}.items() if value]
    if not role and given:
        raise click.UsageError(
            f"{', '.join(given)}: for one of a pair. Add --role primary or --role backup."
        )


def _bracketed(host: str) -> str:
    """The host as an endpoint has it: an IPv6 address in brackets."""
    return f"[{host}]" if ":" in host and not host.startswith("[") else host
