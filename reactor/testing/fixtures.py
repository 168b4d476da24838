"""fake_reactor(): a real Reactor on a fake loop and a fake network."""

from __future__ import annotations

from types import TracebackType
from typing import Any, cast

from reactor.reactor import Reactor
from reactor.testing.loop import FakeLoop
from reactor.testing.network import FakeNetwork
from reactor.testing.stream import FakeStream


class FakeReactor(Reactor):
    """A real Reactor whose `loop`, `network` and streams are fakes; made by `fake_reactor()`."""

    network: FakeNetwork
    _owns_loop = False

    @property
    def loop(self) -> FakeLoop:
        """The loop whose time the test moves."""
        return cast(FakeLoop, super().loop)

    def open_stream(self, socket_type: int, *endpoints: str, **options: Any) -> FakeStream:
        """Open a fake stream; arguments as for `Reactor.open_stream`."""
        return cast(FakeStream, super().open_stream(socket_type, *endpoints, **options))

    def close(self) -> None:
        """Stop and let virtual time pass until everything has ended; idempotent.

        Raises what made a strict reactor stop. A loop that came with a network is left open.
        """
        if self.loop.is_closed():
            return
        self.stop()
        try:
            self.loop.run_until_complete(self.stopped())
        finally:
            if self._owns_loop:
                self.loop.close()

    def __enter__(self) -> FakeReactor:
        """Be closed at the end of the with block."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self.close()
        except Exception:
            if error is None:
                raise


def fake_reactor(network: FakeNetwork | None = None, **options: Any) -> FakeReactor:
    """Return a started Reactor on a FakeLoop and a FakeNetwork, which measures no loop lag.

    Several reactors talk to each other when they are given the same `network`. `options` are those
    of Reactor; `strict=True` makes `close()` raise what a hook has raised.

        with fake_reactor() as reactor:
            stream = reactor.open_stream(zmq.PULL)
            reactor.register(Doubler(stream))
            stream.deliver(b"21")
            reactor.loop.run_pending()
    """
    owns_loop = network is None
    network = network or FakeNetwork(FakeLoop())
    options.setdefault("lag_interval", None)
    reactor = FakeReactor(network.loop, network=network, **options)
    reactor._owns_loop = owns_loop
    reactor.loop.run_until_complete(reactor.start())
    return reactor
