"""A zmq.Socket whose receive and send skip pyzmq's option handling: the only low-level file.

libzmq takes 140 ns for a frame. pyzmq's `recv_multipart` takes 2,200 ns for two frames, nearly
all of it enum look-ups for RCVMORE and flags. Here flags are plain integers, and RCVMORE and
EVENTS are read by calling `zmq_getsockopt` directly where it can be found (1,000 ns in all);
elsewhere `Frame.more`, which is public API, tells where a message ends (1,350 ns).
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import zmq
import zmq.backend

Receive = Callable[[], "list[bytes] | None"]
Send = Callable[[Sequence[bytes]], bool]

_NOBLOCK = int(zmq.NOBLOCK)
_NOBLOCK_MORE = int(zmq.NOBLOCK) | int(zmq.SNDMORE)
_RCVMORE = int(zmq.RCVMORE)
_EVENTS = int(zmq.EVENTS)


class OptionReader(Protocol):
    """Reads one integer option of one socket, by the option's number."""

    def __call__(self, option: int) -> int: ...  # noqa: D102


def _find_getsockopt(result: type[ctypes.c_int] | None) -> Any:
    """Return libzmq's zmq_getsockopt as pyzmq has loaded it; None with another backend."""
    try:
        from zmq.backend.cython import _zmq

        # PyDLL keeps the GIL: the call takes nanoseconds, and giving the GIL up costs more.
        function = ctypes.PyDLL(_zmq.__file__).zmq_getsockopt
    except (ImportError, OSError, AttributeError):
        return None
    function.restype = result
    return function


_getsockopt = _find_getsockopt(ctypes.c_int)
_ask = _find_getsockopt(None)  # for RCVMORE, which cannot fail: 20 ns less without a result


class FastSocket(zmq.Socket[bytes]):
    """A zmq.Socket for bytes: `receive()` and `try_send(frames)` never block and never raise Again.

    A ZMQStream on top of it is quicker too, since it finds `events` and `recv_multipart` here.
    An empty `send_multipart([])` sends nothing, so a ZMQStream can be asked to report writability.
    """

    receive: Receive = None  # type: ignore[assignment]
    try_send: Send = None  # type: ignore[assignment]
    _read_option: OptionReader | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._read_option = _option_reader(self)
        self.receive = _receiver(self, self._read_option)
        self.try_send = _sender(self)

    @property
    def events(self) -> int:
        """The POLLIN and POLLOUT bits that hold now; reading them clears the descriptor's edge."""
        if self._read_option is None:
            return int(self.get(zmq.EVENTS))
        return self._read_option(_EVENTS)

    EVENTS = events  # the spelling that ZMQStream uses when a descriptor wakes it

    def recv_multipart(self, flags: int = 0, copy: bool = True, track: bool = False) -> Any:
        """Receive one message as a list of bytes; raises zmq.Again when none waits."""
        frames = self.receive()
        if frames is None:
            raise zmq.Again
        return frames

    def send_multipart(self, msg_parts: Sequence[Any], *args: Any, **kwargs: Any) -> Any:
        """Send one message as zmq.Socket does; an empty one is no message at all."""
        if msg_parts:
            return super().send_multipart(msg_parts, *args, **kwargs)
        return None

    def close(self, linger: int | None = None) -> None:
        """Close the socket, and forget the raw handle first: it must never be used after this."""
        self._read_option = None
        super().close(linger)


def _option_reader(socket: FastSocket) -> OptionReader | None:
    if _getsockopt is None:
        return None
    getsockopt = _getsockopt
    handle = ctypes.c_void_p.from_param(socket.underlying)
    value = ctypes.c_int()
    size = ctypes.byref(ctypes.c_size_t(ctypes.sizeof(value)))
    target = ctypes.byref(value)

    def read(option: int) -> int:
        if getsockopt(handle, option, target, size):
            raise zmq.ZMQError()
        return value.value

    return read


def _receiver(socket: FastSocket, read_option: OptionReader | None) -> Receive:
    """Return the function that takes one message of any arity, or returns None."""
    receive_frame = super(zmq.Socket, socket).recv
    if read_option is None:
        return _portable_receiver(receive_frame)
    ask = _ask
    # from_param makes an argument that is ready: a c_void_p costs 20 ns more at every call.
    handle = ctypes.c_void_p.from_param(socket.underlying)
    answer = bytearray(ctypes.sizeof(ctypes.c_int))  # read back faster than c_int.value
    target = ctypes.byref(ctypes.c_int.from_buffer(answer))
    size = ctypes.byref(ctypes.c_size_t(len(answer)))
    again = zmq.Again

    def receive() -> list[bytes] | None:
        # receive_frame checks that the socket is open, so the handle is good right after it.
        try:
            frames = [receive_frame(_NOBLOCK)]
        except again:
            return None
        ask(handle, _RCVMORE, target, size)
        while answer[_LOW_BYTE]:
            frames.append(receive_frame(_NOBLOCK))
            ask(handle, _RCVMORE, target, size)
        return frames

    return receive


_LOW_BYTE = 0 if sys.byteorder == "little" else -1


def _portable_receiver(receive_frame: Callable[..., Any]) -> Receive:
    def receive() -> list[bytes] | None:
        try:
            frame = receive_frame(_NOBLOCK, False)
        except zmq.Again:
            return None
        frames = [frame.bytes]
        while frame.more:
            frame = receive_frame(_NOBLOCK, False)
            frames.append(frame.bytes)
        return frames

    return receive


def _sender(socket: FastSocket) -> Send:
    """Return the function that sends one message whole, or returns False when it would block.

    libzmq counts whole messages against the high-water mark, so only the first frame can be
    refused; frames must be bytes, for an error after the first would leave half a message behind.
    """
    send_frame = super(zmq.Socket, socket).send
    again = zmq.Again

    def try_send(frames: Sequence[bytes]) -> bool:
        try:
            if len(frames) == 2:  # the commonest arity: no slice and no loop, 75 ns less
                first, last = frames
                send_frame(first, _NOBLOCK_MORE)
            elif len(frames) == 5:  # the same for a key-value message: 200 ns less
                first, second, third, fourth, last = frames
                send_frame(first, _NOBLOCK_MORE)
                send_frame(second, _NOBLOCK_MORE)
                send_frame(third, _NOBLOCK_MORE)
                send_frame(fourth, _NOBLOCK_MORE)
            else:
                for frame in frames[:-1]:
                    send_frame(frame, _NOBLOCK_MORE)
                last = frames[-1]
            send_frame(last, _NOBLOCK)
        except again:
            return False
        except IndexError:
            raise ValueError("a message has at least one frame") from None
        return True

    return try_send
