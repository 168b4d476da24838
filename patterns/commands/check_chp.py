"""`reactor check chp`: does a server keep RFC 12 (CHP)?"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable

import click

from patterns.clone.conformance.clauses import Finding, Outcome
from patterns.clone.conformance.handlers import ConformanceCheck
from patterns.clone.conformance.protocol import Report
from patterns.commands.exit_codes import NoAnswer
from patterns.commands.finite import Seconds
from patterns.commands.logs import log_to_stderr
from patterns.commands.output import printable
from reactor import EndpointError, ReactorError, run

_COLORS = {Outcome.PASS: "green", Outcome.NOTE: "yellow", Outcome.FAIL: "red"}


@click.command("chp")
@click.argument("endpoint")
@click.option("--strict", is_flag=True, help="A note counts as a failure.")
@click.option(
    "--gentle", is_flag=True, help="Send nothing that may end a server which trusts its peers."
)
@click.option(
    "--timeout",
    type=Seconds(),
    default=5.0,
    metavar="SECONDS",
    help="How long the server may take for one answer.",
)
@click.option("--json", "as_objects", is_flag=True, help="One JSON object a line.")
def check_chp(endpoint: str, strict: bool, gentle: bool, timeout: float, as_objects: bool) -> None:
    """Check the server at ENDPOINT, the first of its three ports, against RFC 12 (CHP).

    Prints a line for each clause: what was found, how binding the clause is, its name, and what
    was seen. Takes about ten seconds.

    \b
        pass   as the clause says
        note   not so, and harmless: servers of the Guide do it as well, or the clause is a SHOULD
        fail   not so, and clients stumble over it
        skip   nothing could be seen of it

    The check writes keys of its own, below /chp-check/ and a random word, and deletes them at the
    end. Last it sends what few clients or none send, and a server that trusts its peers may end or
    misbehave from then on. Use --gentle with one that others need.

    Exit codes: 0 no clause fails, 1 one does (or the check was broken off), 2 wrong usage,
    3 the server does not answer: it is not there, or the passive one of a pair.
    """
    log_to_stderr("warning")
    try:
        check = ConformanceCheck(endpoint, timeout=timeout, gentle=gentle)
        run(check)
    except EndpointError as error:
        raise click.BadParameter(str(error), param_hint="ENDPOINT") from None
    except (ReactorError, OSError) as error:
        raise click.ClickException(str(error)) from error
    report = check.report()
    if check.protocol.finished and not report.answered:
        raise NoAnswer(f"no answer from {endpoint}: {printable(report.findings[0].seen.encode())}")
    _print(report, as_json if as_objects else as_text)
    if not check.protocol.finished:
        raise click.ClickException("broken off")
    if not report.conforms(strict=strict):
        raise click.exceptions.Exit(1)


def _print(report: Report, line: Callable[[Finding], str]) -> None:
    for finding in report.findings:
        click.echo(line(finding))
    if line is as_text:
        counts = Counter(finding.outcome for finding in report.findings)
        click.echo(", ".join(f"{counts[outcome]} {outcome.value}" for outcome in Outcome))


def as_text(finding: Finding) -> str:
    """Return a finding as one line for people."""
    clause, outcome = finding.clause, finding.outcome
    word = click.style(f"{outcome.value:4}", fg=_COLORS.get(outcome))
    return f"{word}  {clause.level.value:6}  {clause.name:19}  {printable(finding.seen.encode())}"


def as_json(finding: Finding) -> str:
    """Return a finding as one JSON object."""
    clause = finding.clause
    return json.dumps(
        {
            "clause": clause.name,
            "level": clause.level.value,
            "rule": clause.rule,
            "outcome": finding.outcome.value,
            "seen": finding.seen,
        }
    )
