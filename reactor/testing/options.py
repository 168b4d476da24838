"""Options: which socket options a fake channel takes, and what it answers."""

from __future__ import annotations

import errno

import zmq

_PUBLISHERS = (zmq.PUB, zmq.XPUB)

# Options that belong to some socket types only; nobody can read them back.
_WRITE_ONLY: dict[int, tuple[int, ...]] = {
    zmq.SUBSCRIBE: (zmq.SUB, *_PUBLISHERS),  # of these only in manual mode
    zmq.UNSUBSCRIBE: (zmq.SUB, *_PUBLISHERS),
    zmq.XPUB_VERBOSE: _PUBLISHERS,
    zmq.XPUB_VERBOSER: _PUBLISHERS,
    zmq.XPUB_NODROP: _PUBLISHERS,
    zmq.XPUB_MANUAL: _PUBLISHERS,
    zmq.XPUB_MANUAL_LAST_VALUE: _PUBLISHERS,
    zmq.XPUB_WELCOME_MSG: _PUBLISHERS,
    zmq.ONLY_FIRST_SUBSCRIBE: (*_PUBLISHERS, zmq.XSUB),
    zmq.ROUTER_MANDATORY: (zmq.ROUTER,),
    zmq.ROUTER_HANDOVER: (zmq.ROUTER,),
    zmq.ROUTER_RAW: (zmq.ROUTER,),
    zmq.PROBE_ROUTER: (zmq.ROUTER, zmq.DEALER),
    zmq.CONNECT_ROUTING_ID: (zmq.ROUTER,),
    zmq.REQ_CORRELATE: (),
    zmq.REQ_RELAXED: (),
}
_READ_ONLY = {zmq.TYPE, zmq.EVENTS, zmq.FD, zmq.RCVMORE, zmq.LAST_ENDPOINT, zmq.MECHANISM}

_BYTES = {zmq.SUBSCRIBE, zmq.UNSUBSCRIBE, zmq.IDENTITY, zmq.CONNECT_ROUTING_ID}

_LEAST: dict[int, int] = {zmq.SNDHWM: 0, zmq.RCVHWM: 0, zmq.LINGER: -1}

# What a fake must not accept in silence, since it would then behave differently from libzmq.
_NOT_IMPLEMENTED = {
    zmq.XPUB_WELCOME_MSG,
    zmq.ONLY_FIRST_SUBSCRIBE,
    zmq.ROUTER_RAW,
    zmq.PROBE_ROUTER,
    zmq.CONFLATE,
    zmq.INVERT_MATCHING,
}


class Options:
    """The options of one socket; those that only tune a transport are kept and do nothing."""

    def __init__(self, socket_type: int) -> None:
        self.last_endpoint = b""
        self._socket_type = socket_type
        self._values: dict[int, int | bytes] = {
            zmq.TYPE: socket_type,
            zmq.RCVMORE: 0,
            zmq.SNDHWM: 1000,
            zmq.RCVHWM: 1000,
            zmq.LINGER: 0,
            zmq.IMMEDIATE: 0,
            zmq.IDENTITY: b"",
        }

    def set(self, option: int, value: int | bytes) -> None:
        """Set an option; raises zmq.ZMQError (EINVAL), or TypeError as pyzmq does."""
        self._check_known(option)
        if option in _READ_ONLY or self._socket_type not in _WRITE_ONLY.get(
            option, (self._socket_type,)
        ):
            raise zmq.ZMQError(errno.EINVAL)
        if option in _NOT_IMPLEMENTED:
            raise NotImplementedError(f"FakeNetwork has no {zmq.SocketOption(option).name}")
        _check_value(option, value)
        self._values[option] = value

    def get(self, option: int) -> int | bytes:
        """Return an option; raises zmq.ZMQError (EINVAL) where libzmq does."""
        self._check_known(option)
        if option == zmq.LAST_ENDPOINT:
            return self.last_endpoint
        if option in _WRITE_ONLY:
            raise zmq.ZMQError(errno.EINVAL)
        if option not in self._values:
            raise NotImplementedError(
                f"FakeNetwork knows no default for {zmq.SocketOption(option).name}"
            )
        return self._values[option]

    def number(self, option: int) -> int:
        """Return an option that is a number, 0 where it was never set."""
        value = self._values.get(option, 0)
        assert isinstance(value, int)
        return value

    def text(self, option: int) -> bytes:
        """Return an option that is bytes, empty where it was never set."""
        value = self._values.get(option, b"")
        assert isinstance(value, bytes)
        return value

    def _check_known(self, option: int) -> None:
        try:
            zmq.SocketOption(option)
        except ValueError:
            raise zmq.ZMQError(errno.EINVAL) from None


def _check_value(option: int, value: int | bytes) -> None:
    """Raise what pyzmq (wrong type) and libzmq (out of range) would; tuning options may be any."""
    if option in _BYTES:
        if not isinstance(value, bytes):
            raise TypeError(f"expected bytes, got: {value!r}")
        if option == zmq.IDENTITY and not 1 <= len(value) <= 255:
            raise zmq.ZMQError(errno.EINVAL)
    elif option in _WRITE_ONLY or option in _LEAST or option == zmq.IMMEDIATE:
        if not isinstance(value, int):
            raise TypeError(f"expected int, got: {value!r}")
        if value < _LEAST.get(option, 0):
            raise zmq.ZMQError(errno.EINVAL)
