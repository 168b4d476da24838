"""The fake channels by socket type: who gets a message, and what is said about it."""

from __future__ import annotations

import asyncio
import errno
from collections import deque
from collections.abc import Iterable

import zmq

from reactor.testing.channels import FakeChannel
from reactor.testing.exchange import Exchange
from reactor.testing.pipes import Message, Pipe

_SUBSCRIBE, _UNSUBSCRIBE = b"\x01", b"\x00"


class Publisher(FakeChannel):
    """PUB and XPUB: to everybody who has subscribed and has room; XPUB hears of subscriptions.

    With XPUB_MANUAL, who is sent what is the user's choice: SUBSCRIBE and UNSUBSCRIBE as options
    are about the peer whose subscription was received last. With XPUB_MANUAL_LAST_VALUE, the next
    message goes to that peer alone.
    """

    _blocked: Iterable[Pipe] = ()  # those for whom XPUB_NODROP refused the last message

    def __init__(
        self, exchange: Exchange, socket_type: int, loop: asyncio.AbstractEventLoop
    ) -> None:
        super().__init__(exchange, socket_type, loop)
        self._manual = self._to_last_alone = False
        self._last: Pipe | None = None
        # As libzmq has it: one for each subscription that waits, none for an XSUB's own message.
        self._askers: deque[Pipe | None] = deque()

    def set_option(self, option: int, value: int | bytes) -> None:
        """Set an option; in manual mode SUBSCRIBE and UNSUBSCRIBE are about one peer."""
        if option in (zmq.SUBSCRIBE, zmq.UNSUBSCRIBE) and not self._manual:
            raise zmq.ZMQError(errno.EINVAL)
        super().set_option(option, value)
        if option == zmq.XPUB_MANUAL:
            self._manual = bool(value)
        elif option == zmq.XPUB_MANUAL_LAST_VALUE:
            self._manual = self._to_last_alone = bool(value)
        elif self._last is not None and isinstance(value, bytes):
            if option == zmq.SUBSCRIBE:
                self._last.topics[value] = None
            elif option == zmq.UNSUBSCRIBE:
                self._last.topics.pop(value, None)

    def receive(self) -> list[bytes] | None:
        """Take one message, and in manual mode note whose subscription it is."""
        frames = super().receive()
        for _ in frames or ():
            if self._manual and self._askers:
                pipe = self._askers.popleft()
                self._last = pipe if pipe in self.pipes else None
        return frames

    def transmit(self, message: Message) -> bool:
        """Send to the pipes with a matching prefix; drop the message where there is no room."""
        topic = message[0]
        pipes = self.pipes
        if self._to_last_alone and self._last is not None:
            pipes, self._last = [self._last], None
        pipes = [pipe for pipe in pipes if topic.startswith(tuple(pipe.topics))]
        if self.int_option(zmq.XPUB_NODROP):
            self._blocked = [pipe for pipe in pipes if not pipe.has_room()]
            if self._blocked:
                return False
        for pipe in pipes:
            if not pipe.write(message):
                self._exchange.overflowed += 1
        return True

    def has_room(self) -> bool:
        """False after a refusal, until there is room where it was missing."""
        blocked = self._blocked if self.int_option(zmq.XPUB_NODROP) else ()
        return all(pipe.has_room() for pipe in blocked if pipe in self.pipes)

    def arrived(self, pipe: Pipe, message: Message) -> None:
        """Take note of a subscription at once; anything else is an XSUB's own message."""
        pipe.acknowledge()
        kind, topic = message[0][:1], message[0][1:]
        if kind not in (_SUBSCRIBE, _UNSUBSCRIBE):
            self._report(message)
        elif self._manual:
            _note(pipe.asked, kind, topic)
            self._askers.append(pipe)
            self._report(message)
        else:
            known = self._has_subscriber(topic)
            _note(pipe.topics, kind, topic)
            if kind == _UNSUBSCRIBE:
                self._report_unsubscribed(topic)
            elif not known or self._is(zmq.XPUB_VERBOSE, zmq.XPUB_VERBOSER):
                self._report(message)

    def left(self, pipe: Pipe) -> None:
        """A peer that is gone has unsubscribed from everything."""
        topics, pipe.topics = sorted(pipe.topics), {}
        if not self._manual:
            for topic in topics:
                self._report_unsubscribed(topic)
            return
        if self._last is pipe:
            self._last = None
        for topic in sorted(pipe.asked):
            self._askers.append(None)
            self._report((_UNSUBSCRIBE + topic,))

    def keep_own(self, message: Message) -> None:
        """Let a message wait that comes from no pipe; a subscription is then nobody's."""
        if self._manual and message[0][:1] in (_SUBSCRIBE, _UNSUBSCRIBE):
            self._askers.append(None)
        super().keep_own(message)

    def _report_unsubscribed(self, topic: bytes) -> None:
        if not self._has_subscriber(topic) or self._is(zmq.XPUB_VERBOSER):
            self._report((_UNSUBSCRIBE + topic,))

    def _report(self, message: Message) -> None:
        if self.socket_type == zmq.XPUB:
            super().keep_own(message)

    def _has_subscriber(self, topic: bytes) -> bool:
        return any(topic in pipe.topics for pipe in self.pipes)

    def _is(self, *options: int) -> bool:
        return any(self.int_option(option) for option in options)


def _note(topics: dict[bytes, None], kind: bytes, topic: bytes) -> None:
    if kind == _SUBSCRIBE:
        topics[topic] = None
    else:
        topics.pop(topic, None)


class Subscriber(FakeChannel):
    """SUB and XSUB: tells every publisher what it wants; a SUB filters once more itself."""

    subscribes = True

    def __init__(
        self, exchange: Exchange, socket_type: int, loop: asyncio.AbstractEventLoop
    ) -> None:
        super().__init__(exchange, socket_type, loop)
        self._topics: dict[bytes, int] = {}

    def set_option(self, option: int, value: int | bytes) -> None:
        """Set an option; SUBSCRIBE and UNSUBSCRIBE go to the publishers."""
        super().set_option(option, value)
        if option == zmq.SUBSCRIBE and isinstance(value, bytes):
            self.transmit((_SUBSCRIBE + value,))
        elif option == zmq.UNSUBSCRIBE and isinstance(value, bytes):
            self.transmit((_UNSUBSCRIBE + value,))

    def transmit(self, message: Message) -> bool:
        """Send to all publishers; an unsubscription only if it takes back the last of its kind."""
        kind, topic = message[0][:1], message[0][1:]
        if kind == _SUBSCRIBE:
            self._topics[topic] = self._topics.get(topic, 0) + 1
        elif kind == _UNSUBSCRIBE and not self._forget(topic):
            return True
        about_topic = kind in (_SUBSCRIBE, _UNSUBSCRIBE)
        for pipe in self.pipes:
            if pipe.peer is not None or not about_topic:  # joined() tells a new peer the topics
                pipe.write(message)
        return True

    def joined(self, pipe: Pipe) -> None:
        """Tell the publisher all topics, in libzmq's order."""
        for topic in sorted(self._topics):
            pipe.write((_SUBSCRIBE + topic,))

    def wants(self, message: Message) -> bool:
        """Whether a SUB is still subscribed; an XSUB takes all that comes."""
        return self.socket_type == zmq.XSUB or message[0].startswith(tuple(self._topics))

    def _forget(self, topic: bytes) -> bool:
        count = self._topics.pop(topic, 0)
        if count > 1:
            self._topics[topic] = count - 1
        return count == 1


class Router(FakeChannel):
    """ROUTER: the first frame names the peer, when sending as when receiving."""

    _blocked: Pipe | None = None  # the peer for whom ROUTER_MANDATORY refused the last message

    def __init__(
        self, exchange: Exchange, socket_type: int, loop: asyncio.AbstractEventLoop
    ) -> None:
        super().__init__(exchange, socket_type, loop)
        self._routes: dict[bytes, Pipe] = {}

    def attach(self, pipe: Pipe) -> None:
        """Name the peer of a connect() beforehand if CONNECT_ROUTING_ID says how."""
        super().attach(pipe)
        if pipe.connected_to and (name := self.options.text(zmq.CONNECT_ROUTING_ID)):
            self.options.set(zmq.CONNECT_ROUTING_ID, b"")
            self._route(name, pipe)

    def joined(self, pipe: Pipe) -> None:
        """Name the peer: as it wishes, or at random. A name that is taken leaves it unheard."""
        assert pipe.peer is not None
        if pipe.routing_id:
            return  # it reconnects
        name = pipe.peer.channel.options.text(zmq.IDENTITY) or self._random_name()
        if name not in self._routes:
            self._route(name, pipe)
        elif self.int_option(zmq.ROUTER_HANDOVER):
            self._routes[name].routing_id = b""
            self._route(name, pipe)

    def arrived(self, pipe: Pipe, message: Message) -> None:
        """Put the sender's name in front; without one, nobody reads it."""
        if pipe.routing_id:
            self.keep(pipe, (pipe.routing_id, *message))

    def transmit(self, message: Message) -> bool:
        """Send to the peer named; drop the message if that cannot be, unless ROUTER_MANDATORY."""
        mandatory = bool(self.int_option(zmq.ROUTER_MANDATORY))
        name, *frames = message
        if not frames:
            return True  # a name and no message: libzmq ignores it
        pipe = self._routes.get(name)
        if pipe is None:
            if mandatory:
                raise zmq.ZMQError(errno.EHOSTUNREACH)
            return True
        sent = pipe.write(tuple(frames))
        if not sent and not mandatory:
            self._exchange.overflowed += 1
        self._blocked = None if sent else pipe
        return sent or not mandatory

    def has_room(self) -> bool:
        """False after a refusal, until that peer has room or is gone."""
        blocked = self._blocked
        return blocked is None or blocked not in self.pipes or blocked.has_room()

    def left(self, pipe: Pipe) -> None:
        """Forget the name of a peer that is gone."""
        if self._routes.get(pipe.routing_id) is pipe:
            del self._routes[pipe.routing_id]

    def _route(self, name: bytes, pipe: Pipe) -> None:
        pipe.routing_id = name
        self._routes[name] = pipe

    def _random_name(self) -> bytes:
        while (name := b"\x00" + self._exchange.random.randbytes(4)) in self._routes:
            pass
        return name


class Balancer(FakeChannel):
    """PUSH and DEALER: to one peer after the other, except those without room."""

    def transmit(self, message: Message) -> bool:
        """Send to the next pipe with room; False when none has any."""
        for pipe in self.pipes:
            if pipe.write(message):
                self.pipes.remove(pipe)
                self.pipes.append(pipe)
                return True
        return False

    def has_room(self) -> bool:
        """Whether any pipe has room."""
        return any(pipe.has_room() for pipe in self.pipes)


class Pair(Balancer):
    """PAIR: one peer at most."""

    def attach(self, pipe: Pipe) -> None:
        """Hang up if this is a second connect()."""
        if self.pipes:
            pipe.hang_up(0)
        else:
            super().attach(pipe)

    def accepts_peer(self) -> bool:
        """Whether there is no peer yet."""
        return not self.pipes


CHANNELS: dict[int, type[FakeChannel]] = {
    zmq.PUB: Publisher,
    zmq.XPUB: Publisher,
    zmq.SUB: Subscriber,
    zmq.XSUB: Subscriber,
    zmq.ROUTER: Router,
    zmq.DEALER: Balancer,
    zmq.PUSH: Balancer,
    zmq.PULL: FakeChannel,
    zmq.PAIR: Pair,
}
