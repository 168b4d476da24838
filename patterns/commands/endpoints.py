"""Endpoints on the command line: what is none is wrong usage."""

from __future__ import annotations

from typing import Any

import click
from click.types import StringParamType

from reactor.endpoints import parse_endpoints


class Endpoint(StringParamType):
    """An option's type: an endpoint, or several with commas; the text is left as it is.

    With `may_be_empty`, an empty text is none at all.
    """

    name = "endpoint"

    def __init__(self, *, may_be_empty: bool = False) -> None:
        self.may_be_empty = may_be_empty

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the text; raises click.BadParameter for what no socket can bind or connect to."""
        text: str = super().convert(value, param, ctx)
        if not text and self.may_be_empty:
            return text
        try:
            parse_endpoints([text], "connect")
        except ValueError as error:
            self.fail(str(error), param, ctx)
        return text


class Control(Endpoint):
    """An option's type: the control port of a server; a number alone is a port of this machine."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the endpoint; raises click.BadParameter as `Endpoint` does."""
        return super().convert(control_endpoint(str(value)), param, ctx)


def control_endpoint(text: str) -> str:
    """The endpoint of a control port; a number alone is a port of this machine."""
    return f"tcp://127.0.0.1:{text}" if text.isdigit() else text
