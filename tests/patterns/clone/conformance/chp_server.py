"""A small server that keeps RFC 12 to the letter, and whatever faults a test plants in it."""

from dataclasses import dataclass

import zmq

from patterns.clone.messages import RESERVED_KEYS, KVMessage, MalformedMessage, decode_update
from reactor import HandlerSet, PeriodicHandler, StreamHandler


def as_it_is(frames):
    return frames


@dataclass
class Faults:
    """What is wrong with a server; functions change a message that is sent, () drops it."""

    entry: object = as_it_is
    end: object = as_it_is
    publication: object = as_it_is
    beat: object = as_it_is
    collector: int = zmq.SUB
    silent: bool = False
    ignores_subtree: bool = False
    ignores_empty_subtree: bool = False
    forgets_keys: bool = False
    mixes_clients: bool = False
    wants_uuid: bool = False
    takes_numbers: bool = False
    keeps_what_is_deleted: bool = False
    keeps_what_has_expired: bool = False
    ttl_factor: float = 1.0
    repeats_number: bool = False
    end_number: object = as_it_is
    ends_at: str = ""  # "request" or "update": at what is malformed
    takes_malformed: bool = False
    takes_words: bool = False
    never_deletes: bool = False


class ChpServer(HandlerSet):
    """Three ports, a dict, and heartbeats once a second."""

    def __init__(self, port=5556, **faults):
        super().__init__()
        self.port = port
        self.faults = Faults(**faults)
        self.entries = {}
        self.sequence = 0
        self.asked = []

    def build(self):
        address = "@tcp://127.0.0.1"
        self.router = self.open_stream(zmq.ROUTER, f"{address}:{self.port}")
        self.publisher = self.open_stream(zmq.PUB, f"{address}:{self.port + 1}")
        kind = self.faults.collector
        subscribe = {"subscribe": (b"",)} if kind == zmq.SUB else {}
        collector = self.open_stream(kind, f"{address}:{self.port + 2}", **subscribe)
        return [Requests(self.router, self), Updates(collector, self), Heart(self)]

    # Snapshots

    def answer(self, identity, subtree):
        if self.faults.silent or (self.faults.ignores_empty_subtree and not subtree):
            return
        self.asked.append(identity)
        everything = self.faults.ignores_subtree
        entries = [
            entry
            for key, entry in self.entries.items()
            if (everything or key.startswith(subtree)) and not self.faults.forgets_keys
        ]
        for entry in entries:
            self._send(identity, self.faults.entry(entry))
        highest = max((int.from_bytes(entry[1]) for entry in entries), default=0)
        number = self.faults.end_number(highest).to_bytes(8)
        if self.faults.mixes_clients and len(entries) == 1:
            identity = self.asked[-2]
        self._send(identity, self.faults.end((b"KTHXBAI", number, b"", b"", subtree)))

    def _send(self, identity, frames):
        if frames:
            self.router.send(identity, *frames)

    # Updates

    def update(self, frames):
        message = KVMessage(*frames[:1], 0, *frames[2:])
        if self.faults.wants_uuid and not message.uuid:
            return
        if self.faults.takes_numbers and any(frames[1]):
            self._publish(tuple(frames))
            return
        self._apply(message.key, message.uuid, message.properties, message.body)
        if message.body and message.ttl and self.faults.ttl_factor is not None:
            self.reactor.call_later(
                message.ttl * self.faults.ttl_factor, lambda: self._expire(message.key)
            )

    def _apply(self, key, uuid, properties, body, keep=False):
        self.sequence += not (self.faults.repeats_number and self.sequence)
        number = self.sequence.to_bytes(8)
        if body:
            self.entries[key] = (key, number, b"", b"", body)
        elif not (keep or self.faults.keeps_what_is_deleted and b"plain" in key):
            self.entries.pop(key, None)
        self._publish((key, number, uuid, properties, body))

    def _expire(self, key):
        self._apply(key, b"", b"", b"", keep=self.faults.keeps_what_has_expired)

    def _publish(self, frames):
        if changed := self.faults.publication(frames):
            self.publisher.send(*changed)


class Requests(StreamHandler):
    def __init__(self, stream, server):
        super().__init__(stream)
        self.server = server

    def on_message(self, frames):
        identity, *request = frames
        if len(request) == 2 and request[0] == b"ICANHAZ?":
            self.server.answer(identity, request[1])
        elif self.server.faults.ends_at == "request":
            self.server.faults.silent = True


class Updates(StreamHandler):
    peer_errors = (MalformedMessage,)

    def __init__(self, stream, server):
        super().__init__(stream)
        self.server = server

    def on_message(self, frames):
        faults = self.server.faults
        if faults.ends_at == "updates":
            return
        deletes = len(frames) == 5 and not frames[4]
        if faults.never_deletes and deletes and not frames[0].endswith(b"plain"):
            return
        if faults.takes_words and len(frames) == 5 and frames[0] in RESERVED_KEYS:
            self.server._apply(frames[0], frames[2], frames[3], frames[4])
            return
        if faults.takes_malformed and len(frames) == 5 and len(frames[2]) == 15:
            self.server._publish((frames[0], (self.server.sequence + 1).to_bytes(8), *frames[2:]))
            return
        try:
            decode_update(frames)
        except MalformedMessage:
            if faults.ends_at == "update":
                faults.ends_at = "updates"
            raise
        self.server.update(frames)


class Heart(PeriodicHandler):
    def __init__(self, server):
        super().__init__(interval=1.0)
        self.server = server

    def on_tick(self):
        if changed := self.server.faults.beat((b"HUGZ", bytes(8), b"", b"", b"")):
            self.server.publisher.send(*changed)
