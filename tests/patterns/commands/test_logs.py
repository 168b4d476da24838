"""Logs of the commands: on standard error, from one level on, for people or as JSON lines."""

import json
import logging

import click
import pytest
import structlog

from patterns.commands.logs import LogOptions, log_to_stderr


def lines(capsys):
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err.splitlines()


def log_as(options, level="info"):
    """What a command does that was started with these options."""
    with click.Context(click.Command("test"), obj=options):
        log_to_stderr(level)


def test_logs_of_all_libraries_are_json_lines(capsys):
    log_as(LogOptions())
    structlog.get_logger("reactor").info("from us", frame=b"\xff", handler="Echo")
    logging.getLogger("asyncio").warning("from %s", "others")
    ours, theirs = [json.loads(line) for line in lines(capsys)]
    assert (ours["event"], ours["level"], ours["handler"]) == ("from us", "info", "Echo")
    assert (theirs["event"], theirs["level"]) == ("from others", "warning")
    assert theirs["logger"] == "asyncio"
    assert {"timestamp", "frame"} <= set(ours)


def test_an_error_stays_one_json_line_with_its_traceback(capsys):
    log_as(LogOptions())
    try:
        raise ValueError("bad")
    except ValueError as error:
        structlog.get_logger("reactor").error("hook failed", exc_info=error)
        logging.getLogger("tornado").error("callback failed", exc_info=error)
    for line in lines(capsys):
        assert "ValueError: bad" in json.loads(line)["exception"]


def test_for_people_there_is_no_json_and_without_a_terminal_no_colour(capsys):
    log_as(LogOptions(form="console"))
    structlog.get_logger("reactor").info("hello", handler="Echo")
    (line,) = lines(capsys)
    assert "hello" in line and "handler=Echo" in line
    assert "\x1b" not in line


def test_a_traceback_for_people_shows_no_local_variables(capsys):
    log_as(LogOptions(form="console"))
    secret = "what a peer has sent"
    try:
        raise ValueError(len(secret))
    except ValueError as error:
        structlog.get_logger("reactor").error("hook failed", exc_info=error)
    text = "\n".join(lines(capsys))
    assert "ValueError: 20" in text
    assert "peer has sent" not in text.replace('secret = "what a peer has sent"', "")


@pytest.mark.parametrize(
    ("options", "level", "logged"),
    [
        (LogOptions(), "info", ["info", "error"]),
        (LogOptions(), "warning", ["error"]),
        (LogOptions(level="debug"), "warning", ["debug", "info", "error"]),
        (LogOptions(level="error"), "debug", ["error"]),
    ],
)
def test_the_command_line_decides_on_the_level_before_the_command(capsys, options, level, logged):
    log_as(options, level)
    for name in ("debug", "info", "error"):
        getattr(structlog.get_logger("reactor"), name)(name)
    assert [json.loads(line)["event"] for line in lines(capsys)] == logged


def test_a_command_that_nobody_started_by_click_logs_as_well(capsys):
    log_to_stderr("info")
    structlog.get_logger("reactor").info("hello")
    assert len(lines(capsys)) == 1
