"""Endpoints on the command line: a mistake is wrong usage, and opens no other port."""

import click
import pytest

from patterns.commands.endpoints import Control, Endpoint
from patterns.commands.pub import endpoints_of

BEYOND = "tcp://127.0.0.1:99999"


@pytest.mark.parametrize(
    "arguments",
    [
        ("serve", "lvc", "--frontend", BEYOND),
        ("serve", "lvc", "--backend", BEYOND),
        ("serve", "lvc", "--conflated", BEYOND),
        ("serve", "espresso", "--frontend", BEYOND),
        ("serve", "espresso", "--backend", BEYOND),
        ("serve", "espresso", "--monitor", BEYOND),
        ("serve", "espresso", "--tap", BEYOND),
        ("serve", "snail-pub", "--frontend", BEYOND),
        ("serve", "snail-pub", "--backend", BEYOND),
        ("serve", "snail-pub", "--squawks", BEYOND),
        ("serve", "black-box", "--work", "a:b", "--feed", BEYOND),
        ("serve", "clone", "--control", "99999"),
        ("serve", "clone", "--state-bind", BEYOND),
        ("serve", "clone", "--state-connect", BEYOND),
        ("pub", "topic", "body", "--bind", BEYOND),
        ("pub", "topic", "body", "--connect", BEYOND),
        ("sub", "--bind", BEYOND),
        ("sub", "--connect", BEYOND),
        ("sub", "--snail", "1", "--squawk", BEYOND),
        ("tap", "--monitor", BEYOND),
        ("top", "--monitor", BEYOND),
        ("record", "x.esp", "--monitor", BEYOND),
        ("record", "x.esp", "--publisher", BEYOND),
        ("status", "99999"),
        ("switchover", BEYOND),
        ("promote", "99999"),
    ],
)
def test_a_port_that_tcp_does_not_have_is_wrong_usage(reactor_command, arguments):
    """libzmq binds port 34463 for 99999, and nobody would know."""
    result = reactor_command(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "a port is a number from 0 to 65535" in result.stderr


@pytest.mark.parametrize(
    "text",
    [
        *("127.0.0.1:5555", "", "5555", "tcp://127.0.0.1", "tcp://127.0.0.1:"),
        *("tcp://127.0.0.1:5555x", "tcp://127.0.0.1:-1", "tcp://h:1,tcp://h:65536", "tcp://h:٣"),
    ],
)
def test_what_is_no_endpoint_is_refused(text):
    with pytest.raises(click.BadParameter):
        Endpoint().convert(text, None, None)


@pytest.mark.parametrize(
    "text",
    [
        *("tcp://127.0.0.1:0", "tcp://*:*", "@tcp://[::1]:65535", ">tcp://eth0;host:1"),
        *("ipc:///run/a:b", "inproc://a", "tcp://host:1,@ipc://x"),
    ],
)
def test_what_is_one_stays_as_it_is(text):
    assert Endpoint().convert(text, None, None) == text


def test_an_empty_one_is_none_where_that_is_said():
    assert Endpoint(may_be_empty=True).convert("", None, None) == ""
    assert Control(may_be_empty=True).convert("", None, None) == ""


def test_a_control_port_may_be_a_number():
    assert Control().convert("5559", None, None) == "tcp://127.0.0.1:5559"


def test_the_mark_of_an_option_may_be_written_and_several_endpoints_too():
    given = endpoints_of(["@tcp://a:1", "tcp://b:2,tcp://c:3"], [">tcp://d:4"], "")
    assert given == ["@tcp://a:1", "@tcp://b:2", "@tcp://c:3", ">tcp://d:4"]


@pytest.mark.parametrize("option", [("--bind", ">tcp://h:1"), ("--connect", "@tcp://h:1")])
def test_a_mark_that_says_something_else_than_its_option_is_wrong_usage(reactor_command, option):
    result = reactor_command("sub", *option)
    assert result.exit_code == 2
    assert "its mark says" in result.stderr


def test_a_conflating_subscriber_has_one_cache(reactor_command):
    result = reactor_command("sub", "--conflate", "--connect", "tcp://h:1,tcp://h:2")
    assert result.exit_code == 2
    assert "one cache" in result.stderr
