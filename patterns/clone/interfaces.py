"""The interfaces of a Clone server, each a handler: snapshot, publisher, collector.

A model is a list of these.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from patterns.clone.forms import FULL, Form
from patterns.clone.messages import (
    MalformedMessage,
    decode_epoch_notice,
    decode_snapshot_request,
    epoch_at,
    wants_packs,
)
from patterns.clone.peer_link import is_from_passive
from reactor import Stream, StreamHandler

# A client may say that it has seen an epoch so far ahead of our clock (24 days), or it lies.
_EPOCHS_AHEAD = 1 << 25


def check_epoch(epoch: int, wall_seconds: float) -> None:
    """Raise MalformedMessage for an epoch that no server can have reached by this Unix time."""
    if epoch > epoch_at(wall_seconds) + _EPOCHS_AHEAD:
        raise MalformedMessage(f"epoch {epoch} is in the future")


class Service(Protocol):
    """What stands behind the interfaces."""

    def receive_update(self, frames: Sequence[bytes]) -> None:
        """A client's update, in the full form."""
        ...

    def receive_snapshot_request(self, identity: bytes, subtree: bytes, packed: bool) -> None:
        """A client asks for the entries of a subtree, perhaps for many of them in a message."""
        ...

    def receive_epoch(self, epoch: int) -> None:
        """A client has seen this epoch. Raises MalformedMessage for one that cannot be yet."""
        ...

    def receive_subscription(self, topic: bytes, subscribed: bool) -> None:
        """Somebody subscribes at the publisher, or nobody does any more."""
        ...


class Link(Protocol):
    """What stands behind the peer link at the snapshot port of one of a pair."""

    def receive(self, identity: bytes, frames: Sequence[bytes]) -> None:
        """The passive server of the pair says something. Raises MalformedMessage."""
        ...


class SnapshotInterface(StreamHandler):
    """Takes ICANHAZ? from clients: [identity, ICANHAZ?], with `subtrees` also the subtree.

    Without them every request is for everything, as at the Guide's models 2 and 3. What a passive
    server says goes to `link`.
    """

    peer_errors = (MalformedMessage,)

    def __init__(
        self, stream: Stream, service: Service, *, subtrees: bool = False, link: Link | None = None
    ) -> None:
        super().__init__(stream)
        self.name = stream.name
        self._service = service
        self._subtrees = subtrees
        self._link = link

    def on_message(self, frames: list[bytes]) -> None:
        """Have the request answered."""
        identity, *request = frames
        if self._link is not None and is_from_passive(request):
            self._link.receive(identity, request)
            return
        subtree = decode_snapshot_request(request)
        if not self._subtrees:
            subtree = b""
        if epoch := decode_epoch_notice(subtree):
            self._service.receive_epoch(epoch)
        self._service.receive_snapshot_request(identity, subtree, wants_packs(request))


class PublisherInterface(StreamHandler):
    """Hears who subscribes to what: one frame, 1 or 0 and the topic."""

    def __init__(self, stream: Stream, service: Service) -> None:
        super().__init__(stream)
        self.name = stream.name
        self._service = service

    def on_message(self, frames: list[bytes]) -> None:
        """Tell the service."""
        event = frames[0]
        if len(frames) != 1 or event[:1] not in (b"\0", b"\1"):
            self.refuse("neither a subscription nor its end")
            return
        self._service.receive_subscription(event[1:], event[:1] == b"\1")


class CollectorInterface(StreamHandler):
    """Takes KVSET from clients, in the form of the model."""

    peer_errors = (MalformedMessage,)

    def __init__(self, stream: Stream, service: Service, form: Form = FULL) -> None:
        super().__init__(stream)
        self.name = stream.name
        self._receive = form.updates(service.receive_update)

    def on_message(self, frames: list[bytes]) -> None:
        """Have the update applied and published."""
        self._receive(frames)
