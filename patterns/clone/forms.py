"""The two forms in which the Guide's programs send key-value messages: five frames, and three.

The rules know the full form alone: key, sequence, uuid, properties, body (kvmsg, models 5 and 6;
RFC 12). The simple form has key, sequence and body (kvsimple, models 1 to 4). It is converted
where it arrives and where it leaves, and the full form passes as it is.

The simple form has no place for properties. Number zero, which every client of the Guide discards,
frees its body for them: so heartbeats say what they say in the full form.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias, TypeVar

from patterns.clone.messages import Frames, is_snapshot_end, to_full, to_simple

_T = TypeVar("_T")
Reader: TypeAlias = Callable[[Sequence[bytes]], _T]

_ZERO = bytes(8)
_REFUSED = b"refused="
_MAX_WRITES = 10_000


class ClientForm(Protocol):
    """How one client reads and writes; it may keep something about its own writes."""

    def encode_update(self, frames: Frames) -> Frames:
        """A KVSET as it travels."""
        ...

    def published(self, receive: Reader[_T]) -> Reader[_T]:
        """What hands to `receive`, in the full form, what a publisher sent."""
        ...

    def snapshot(self, receive: Reader[_T]) -> Reader[_T]:
        """What hands to `receive`, in the full form, what came from a snapshot port."""
        ...


class Form(Protocol):
    """One of the forms of a message, on the server's side; `client()` is the other side."""

    full: bool
    """True if messages have a uuid and properties, and so perhaps a time to live."""

    def encode(self, frames: Frames) -> Frames:
        """KVSYNC, KTHXBAI, KVPUB or HUGZ as it travels."""
        ...

    def updates(self, receive: Reader[_T]) -> Reader[_T]:
        """What hands to `receive`, in the full form, what a client sent to the collector."""
        ...

    def client(self) -> ClientForm:
        """The form for one client."""
        ...


class FullForm:
    """Five frames: key, sequence of 8 bytes, uuid, properties, body. Costs nothing."""

    full = True

    def encode(self, frames: Frames) -> Frames:
        """Return the frames as they are."""
        return frames

    encode_update = encode

    def updates(self, receive: Reader[_T]) -> Reader[_T]:
        """Return `receive` itself."""
        return receive

    published = snapshot = updates

    def client(self) -> ClientForm:
        """Return this form: there is nothing to keep."""
        return self


class SimpleForm:
    """Three frames: key, sequence, body. No properties, and so no ttl; no uuid.

    `sequence_size` is 8 bytes, or the 4 of the Guide's kvsimple in Python, which cannot talk to
    its C programs. In these 4 travels the counter alone: after a restart, and after
    134 million updates, the numbers begin again.
    """

    full = False

    def __init__(self, sequence_size: int = 8) -> None:
        if sequence_size not in (4, 8):
            raise ValueError(f"a sequence has 8 bytes, or 4, not {sequence_size}")
        self.sequence_size = sequence_size

    def encode(self, frames: Frames) -> Frames:
        """The three frames of what a server sends."""
        if frames[1] == _ZERO:
            # The numbers in the properties have an epoch, for which 4 bytes have no room.
            body = b"" if self.sequence_size == 4 else frames[3]
            frames = (*frames[:4], body)
        return to_simple(frames, self.sequence_size)

    def decode(self, frames: Sequence[bytes]) -> Frames:
        """The five frames of a client's update, or of an entry. Raises MalformedMessage."""
        return to_full(frames, self.sequence_size)

    def updates(self, receive: Reader[_T]) -> Reader[_T]:
        """What hands to `receive` the five frames of what a client sent to the collector."""
        return lambda frames: receive(self.decode(frames))

    def client(self) -> ClientForm:
        """The form for one client, which knows its own writes when they come back."""
        return SimpleClientForm(self)


class SimpleClientForm:
    """The simple form at a client.

    Without a uuid, a write is known again by its key and its body: the outbox has one write of a
    key under way at a time. Somebody else's write of the same value counts as well, and as for the
    map it is the same. At most `max_writes` are remembered, the oldest forgotten first.
    """

    def __init__(self, form: SimpleForm, *, max_writes: int = _MAX_WRITES) -> None:
        self.max_writes = max_writes
        self._form = form
        self._number = bytes(form.sequence_size)
        self._writes: OrderedDict[bytes, tuple[bytes, bytes]] = OrderedDict()  # key: uuid, body

    def encode_update(self, frames: Frames) -> Frames:
        """The three frames of a write, which is remembered."""
        key, _, uuid, _, body = frames
        self._writes[key] = (uuid, body)
        self._writes.move_to_end(key)
        if len(self._writes) > self.max_writes:
            self._writes.popitem(last=False)
        return (key, self._number, body)

    def published(self, receive: Reader[_T]) -> Reader[_T]:
        """What hands to `receive` the five frames of what a publisher sent."""
        return lambda frames: receive(self._published(frames))

    def snapshot(self, receive: Reader[_T]) -> Reader[_T]:
        """What hands to `receive` the five frames of what came from a snapshot port."""
        return lambda frames: receive(self._entry(self._form.decode(frames)))

    def _published(self, frames: Sequence[bytes]) -> Frames:
        full = self._form.decode(frames)
        key, number, _, _, body = full
        if number != _ZERO:
            return self._entry(full)
        # Nobody publishes an update of number zero: it is a heartbeat, or a refusal.
        uuid = self._writes.get(key, (b"", b""))[0] if body.startswith(_REFUSED) else b""
        return (key, number, uuid, body, b"")

    def _entry(self, full: Frames) -> Frames:
        """The same message, with the uuid of the own write that it answers."""
        key, number, _, _, body = full
        write = self._writes.get(key)
        if write is None or write[1] != body or is_snapshot_end(full):
            return full
        del self._writes[key]
        return (key, number, write[0], b"", body)


FULL = FullForm()
SIMPLE = SimpleForm()
