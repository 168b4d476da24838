"""The fixture of the tests on a fake network; those on real sockets have one of their own."""

import pytest

from reactor.testing import fake_reactor


@pytest.fixture
def reactor():
    """A hook that raises fails the test."""
    with fake_reactor(strict=True) as reactor:
        yield reactor
