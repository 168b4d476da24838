"""`reactor serve clone`: a Clone server, alone or as one of a Binary Star pair."""

from __future__ import annotations

import click

from patterns.binary_star.messages import Role
from patterns.clone.handlers import CloneServer
from patterns.clone.ports import LAST_PORT
from patterns.commands.clone_session import Seconds
from patterns.commands.serving import serve
from reactor import EndpointError


@click.command("clone")
@click.option(
    "--port",
    type=click.IntRange(0, LAST_PORT),
    default=5556,
    help="The first of three ports in a row; 0: the kernel chooses.",
)
@click.option("--host", default="127.0.0.1", help="The address to bind.")
@click.option(
    "--role",
    type=click.Choice([role.value for role in Role]),
    help="Be this one of a pair; without it the server stands alone.",
)
@click.option("--state-bind", metavar="ENDPOINT", help="Where the peer hears our state.")
@click.option("--state-connect", metavar="ENDPOINT", help="Where we hear the peer's state.")
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
def serve_clone(
    port: int,
    host: str,
    role: str | None,
    state_bind: str | None,
    state_connect: str | None,
    peer: str | None,
    heartbeat: float,
    timeout: float | None,
) -> None:
    """Hold a map that many clients share, and number their changes.

    Prints `ready tcp://HOST:PORT` when all is bound. Ends at Ctrl-C or SIGTERM.

    \b
    A pair:
      reactor serve clone --role primary --port 5556 --peer tcp://127.0.0.1:5566
        --state-bind tcp://127.0.0.1:5003 --state-connect tcp://127.0.0.1:5004
      reactor serve clone --role backup --port 5566 --peer tcp://127.0.0.1:5556
        --state-bind tcp://127.0.0.1:5004 --state-connect tcp://127.0.0.1:5003
    """
    _check_pair(role, state_bind, state_connect, peer, timeout)
    try:
        server = CloneServer(
            port,
            _bracketed(host),
            role=Role(role) if role else None,
            state_bind=state_bind or "",
            state_connect=state_connect or "",
            peer=peer or "",
            heartbeat=heartbeat,
            timeout=timeout,
        )
    except (ValueError, EndpointError) as error:
        raise click.UsageError(str(error)) from None
    serve(server, lambda: [server.endpoint])


def _check_pair(
    role: str | None,
    state_bind: str | None,
    state_connect: str | None,
    peer: str | None,
    timeout: float | None,
) -> None:
    pair = {"--state-bind": state_bind, "--state-connect": state_connect, "--peer": peer}
    missing = [name for name, value in pair.items() if not value]
    if role and missing:
        raise click.UsageError(f"--role {role} needs {', '.join(missing)} as well.")
    given = [name for name, value in {**pair, "--timeout": timeout}.items() if value]
    if not role and given:
        raise click.UsageError(
            f"{', '.join(given)}: for one of a pair. Add --role primary or --role backup."
        )


def _bracketed(host: str) -> str:
    """The host as an endpoint has it: an IPv6 address in brackets."""
    return f"[{host}]" if ":" in host and not host.startswith("[") else host
