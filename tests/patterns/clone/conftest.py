"""The fixtures of the tests of the wiring; those of the rules need none."""

import pytest

from .services import Service


@pytest.fixture
def service(fake_network):
    """Servers and clients on one fake network; all are stopped at the end of the test."""
    service = Service(fake_network)
    yield service
    service.close()


@pytest.fixture
def server(service):
    """A server that stands alone."""
    return service.server()


@pytest.fixture
def client(service, server):
    """A client of it that is live."""
    return service.live(service.client())
