"""Who is sent what, decided here instead of in libzmq, so that a joiner can be served alone."""

from __future__ import annotations

from collections.abc import Sequence

import zmq

from reactor import EndpointError, OptionError, Reactor, Stream
from reactor.endpoints import parse_endpoints
from reactor.logs import get_logger

_BIND_AGAIN_SECONDS = 0.02


class Grants:
    """An XPUB in manual mode: each subscription is granted, and its first message sent alone.

    libzmq can send one message to the peer alone whose subscription was received last
    (XPUB_MANUAL_LAST_VALUE, which works in released versions although its manual calls it a
    draft). Left on, the option would do that to the next live message, if there is nothing cached;
    so it is on for the time of one send only, and plain XPUB_MANUAL otherwise. If some peer leaves
    within the some 50 us between the receiving and that send, libzmq 4.3.5 sends to all after all.

    Where the option is missing, `alone` is False, and libzmq grants everything by itself. This is
    found out, and the stream opened, by `open`: who came before could not be granted anything.
    """

    def __init__(self, stream: Stream, endpoints: str) -> None:
        self.alone = False
        self._stream = stream
        self._endpoints = endpoints
        self._log = get_logger(stream=stream.name)

    def open(self) -> None:
        """Choose the mode, then bind or connect; raises EndpointError."""
        # Counts without manual mode only: every subscription is heard, and every end of one.
        self._stream.set_option(zmq.XPUB_VERBOSER, 1)
        try:
            self._stream.set_option(zmq.XPUB_MANUAL_LAST_VALUE, 1)
            self._end_alone()
            self.alone = True
        except OptionError as error:
            self._log.warning("new subscribers are not served alone", reason=str(error))
        self._stream.open([self._endpoints], "bind")

    def grant(self, prefix: bytes) -> None:
        """Send whose subscription has just been received what begins with `prefix`."""
        if self.alone:
            self._stream.set_option(zmq.SUBSCRIBE, prefix)

    def revoke(self, prefix: bytes) -> None:
        """Undo `grant`; whose end of a subscription has just been received may be gone already."""
        if self.alone:
            self._stream.set_option(zmq.UNSUBSCRIBE, prefix)

    def send_alone(self, message: Sequence[bytes]) -> bool:
        """Send to whom has just been granted something; False when that cannot be, or is full."""
        if not self.alone:
            return False
        self._stream.set_option(zmq.XPUB_MANUAL_LAST_VALUE, 1)
        try:
            return self._stream.try_send(*message)
        finally:
            self._end_alone()

    def give_up(self, reactor: Reactor) -> None:
        """Let libzmq grant, and everybody subscribe again.

        For when a peer, which can only be an XSUB, has sent what is no subscription: libzmq 4.3.5
        then takes the peers of the next subscriptions for each other's, and nobody can tell whose
        they were. This costs a moment without live messages, once, and then the cached ones come.
        """
        if not self.alone:
            return
        self.alone = False
        self._stream.set_option(zmq.XPUB_MANUAL_LAST_VALUE, 0)
        self._log.warning("new subscribers are not served alone", reason="a peer sent a message")
        sides = [side for side, _ in parse_endpoints([self._endpoints], "bind")]
        bound = []
        for side, endpoint in zip(sides, self._stream.endpoints, strict=False):
            if side == "connect":
                self._stream.disconnect(endpoint)
                self._stream.connect(endpoint)
            elif not endpoint.startswith("inproc:"):  # whose connections would stay
                self._stream.unbind(endpoint)
                bound.append(endpoint)
        self._bind_again(reactor, bound)

    def _bind_again(self, reactor: Reactor, endpoints: list[str]) -> None:
        """Bind, as soon as libzmq has closed the old sockets, which it does in another thread."""
        while endpoints and not self._stream.closed:
            try:
                self._stream.bind(endpoints[0])
            except EndpointError:
                reactor.call_later(_BIND_AGAIN_SECONDS, self._bind_again, reactor, endpoints)
                return
            del endpoints[0]

    def _end_alone(self) -> None:
        self._stream.set_option(zmq.XPUB_MANUAL_LAST_VALUE, 0)
        self._stream.set_option(zmq.XPUB_MANUAL, 1)
