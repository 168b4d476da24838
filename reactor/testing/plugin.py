"""The pytest plugin: the fixtures `fake_loop`, `fake_network` and `fake_reactor`.

pytest loads this module in every project that has zmq-reactor installed, so what costs time is
imported by the fixtures, when a test asks for one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from reactor.testing.fixtures import FakeReactor
    from reactor.testing.loop import FakeLoop
    from reactor.testing.network import FakeNetwork


@pytest.fixture
def fake_loop() -> Iterator[FakeLoop]:
    """A FakeLoop at 0.0 s; an error that nobody has seen fails the test at its end."""
    from reactor.testing.loop import FakeLoop

    loop = FakeLoop()
    yield loop
    loop.close()


@pytest.fixture
def fake_network(fake_loop: FakeLoop) -> FakeNetwork:
    """A FakeNetwork with seed 0 on `fake_loop`."""
    from reactor.testing.network import FakeNetwork

    return FakeNetwork(fake_loop)


@pytest.fixture
def fake_reactor(fake_network: FakeNetwork) -> Iterator[FakeReactor]:
    """A started Reactor on `fake_loop` and `fake_network`; it is stopped at the test's end."""
    from reactor.testing.fixtures import fake_reactor as start

    reactor = start(fake_network)
    yield reactor
    reactor.close()
