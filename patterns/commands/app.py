"""The command's root: the table of commands, and the options that all of them have."""

from __future__ import annotations

import click

from patterns.commands.lazy import Lazy, LazyGroup
from patterns.commands.logs import FORMATS, LogOptions

# One line a command; `--help` shows them in this order.
SERVERS = {
    "lvc": Lazy("patterns.commands.serve_lvc:lvc", "Serve late subscribers what they missed."),
    "espresso": Lazy("patterns.commands.serve_espresso:espresso", "Forward, and show what passes."),
    "snail-pub": Lazy("patterns.commands.serve_snail_pub:snail_pub", "Publish, and stamp it."),
    "clone": Lazy("patterns.commands.serve_clone:serve_clone", "Hold a map that clients share."),
    "black-box": Lazy("patterns.commands.serve_black_box:black_box", "Spread a feed over workers."),
}
CHECKS = {
    "chp": Lazy("patterns.commands.check_chp:check_chp", "A Clone server, by RFC 12 (CHP)."),
}
BENCHES = {
    "blackbox": Lazy("patterns.commands.bench.command:blackbox", "One subscriber against a box."),
}
COMMANDS = {
    "serve": Lazy("patterns.commands.app:serve", "Run the server of a pattern."),
    "pub": Lazy("patterns.commands.pub:pub", "Publish a message, lines or files."),
    "sub": Lazy("patterns.commands.sub:sub", "Print what is published."),
    "get": Lazy("patterns.commands.get:get", "Print the value of a key of a Clone server."),
    "put": Lazy("patterns.commands.put:put", "Set a key."),
    "del": Lazy("patterns.commands.delete:delete", "Delete a key."),
    "ls": Lazy("patterns.commands.ls:ls", "Print keys and their values."),
    "watch": Lazy("patterns.commands.watch:watch", "Print the keys and what changes, as it does."),
    "status": Lazy("patterns.commands.status:status", "Show what the servers of a pair are."),
    "switchover": Lazy(
        "patterns.commands.switchover:switchover", "Hand over to the passive server."
    ),
    "promote": Lazy("patterns.commands.promote:promote", "Make a server the active one."),
    "tap": Lazy("patterns.commands.tap:tap", "Print what passes through an Espresso."),
    "top": Lazy("patterns.commands.top:top", "Show rates, busy topics and subscriptions."),
    "record": Lazy("patterns.commands.record:record", "Record what passes into a file."),
    "replay": Lazy("patterns.commands.replay:replay", "Publish a recording again."),
    "check": Lazy("patterns.commands.app:check", "Check a server of any make."),
    "bench": Lazy("patterns.commands.app:bench", "Measure a pattern on this machine."),
    "simulate": Lazy("patterns.commands.simulate:simulate", "Hammer a Clone pair in virtual time."),
    "chaos": Lazy("patterns.commands.chaos.command:chaos", "Hurt a Clone pair, as processes."),
    "demo": Lazy("patterns.commands.demo.command:demo", "Kill a server, compare every key."),
}

_SETTINGS = {
    "auto_envvar_prefix": "REACTOR",
    "help_option_names": ["-h", "--help"],
    "max_content_width": 100,
    "show_default": True,
}


def _print_version(ctx: click.Context, option: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        click.echo(_version())
        ctx.exit()


def _version() -> str:
    import platform
    from importlib import metadata

    import tornado
    import zmq

    try:
        version = metadata.version("zmq-reactor")
    except metadata.PackageNotFoundError:
        version = "(not installed)"
    return (
        f"reactor {version}, pyzmq {zmq.pyzmq_version()}, libzmq {zmq.zmq_version()}, "
        f"tornado {tornado.version}, Python {platform.python_version()}"
    )


@click.group(cls=LazyGroup, table=COMMANDS, context_settings=_SETTINGS)
@click.option(
    "-V",
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Show the versions of everything involved.",
)
@click.option("-v", "--verbose", is_flag=True, help="Log everything.")
@click.option("-q", "--quiet", is_flag=True, help="Log errors only.")
@click.option(
    "--log-format",
    type=click.Choice(FORMATS),
    default="auto",
    help="Logs go to standard error: for people, or one JSON object a line. "
    "auto: for people on a terminal.",
)
@click.pass_context
def app(ctx: click.Context, verbose: bool, quiet: bool, log_format: str) -> None:
    """Reliable publish-subscribe with ZeroMQ, without a broker.

    A server runs until Ctrl-C or SIGTERM. As soon as it can be reached it prints one line, the
    word "ready" and its endpoints; that and data is all that goes to standard output.

    \b
    To begin with, a map that is shared; in three terminals:
        reactor serve clone
        reactor watch
        reactor put greeting hello

    \b
    A cache between a publisher on port 5557 and its subscribers, now on port 5558:
        reactor serve lvc --frontend tcp://127.0.0.1:5557 --backend tcp://127.0.0.1:5558

    An endpoint is a tcp://HOST:PORT, ipc://PATH or inproc://NAME. "@" in front binds it, ">"
    connects it; without a mark each option does what its help says. A port "*" is chosen by the
    system.

    Every option is an environment variable too: REACTOR_LOG_FORMAT is --log-format, and
    REACTOR_SERVE_LVC_BACKEND is the --backend of "serve lvc".

    Exit codes: 0 success, 1 failure, 2 wrong usage, 3 no answer in time; 70: see "sub --help".
    """
    if verbose and quiet:
        raise click.UsageError("--verbose and --quiet exclude each other")
    ctx.obj = LogOptions("debug" if verbose else "error" if quiet else None, log_format)


@click.group(cls=LazyGroup, table=SERVERS)
def serve() -> None:
    """Run the server of a pattern until Ctrl-C or SIGTERM."""


@click.group(cls=LazyGroup, table=CHECKS)
def check() -> None:
    """Check from outside whether a server, of any make, keeps its protocol."""


@click.group(cls=LazyGroup, table=BENCHES)
def bench() -> None:
    """Measure what a pattern gains or costs on this machine."""
