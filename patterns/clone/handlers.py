"""The wiring of a Clone server: snapshots at port P, updates at P+1, the collector at P+2."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

import zmq

from patterns.binary_star.control import ControlPort, open_control
from patterns.binary_star.handlers import BinaryStar
from patterns.binary_star.messages import Role
from patterns.binary_star.protocol import BinaryStarStatistics
from patterns.clone.alarm import Alarm
from patterns.clone.figures import OwnFigures
from patterns.clone.interfaces import (
    CollectorInterface,
    PublisherInterface,
    SnapshotInterface,
    check_epoch,
)
from patterns.clone.link_handlers import LinkFollower, LinkSender
from patterns.clone.messages import (
    Frames,
    MalformedMessage,
    check_update,
    epoch_at,
)
from patterns.clone.ports import bind_in_a_row, publisher_of
from patterns.clone.replication import Replication, ReplicationPolicy
from patterns.clone.server_protocol import (
    Confirm,
    Effect,
    OutOfSync,
    Publish,
    ReportDiverged,
    ReportReplication,
    SayHello,
    SendSnapshot,
    ServerProtocol,
    ServerStatistics,
    Synchronised,
)
from patterns.clone.snapshots import SnapshotSender
from reactor import (
    Handler,
    HandlerSet,
    HandlerStatistics,
    PeriodicHandler,
)

_ALONE = "this server stands alone"


@dataclass(frozen=True, slots=True)
class CloneServerStatistics(HandlerStatistics):
    """What a Clone server holds and has done; `messages_refused` is of all its ports together."""

    messages_refused: int
    snapshots_sent: int
    snapshots_waiting: int
    snapshots_given_up: int
    diverged: int
    server: ServerStatistics
    star: BinaryStarStatistics | None


class CloneServer(HandlerSet):
    """A Clone server, alone or as one of a Binary Star pair (Guide chapter 5, Model Six; RFC 12).

    Binds a ROUTER for snapshots at `port` of `host`, an XPUB for updates at the next port and a SUB
    that collects clients' updates at the one after. `port=0`: the kernel chooses; `endpoint` tells.
    With a `role`, `state_bind` and `state_connect` are the endpoints of the pair's heartbeats and
    `peer` is the other server's snapshot endpoint. `heartbeat` and `timeout` (two heartbeats, if it
    is left out) are seconds, and those of the peer. At `control`, an endpoint, an operator may ask
    and order (`binary_star.control`). With `figures` the server publishes its own figures below
    `$SYS/`, where no client may write. `replication` says when writes are acknowledged only after
    the passive server has them. `collector` is zmq.SUB, as RFC 12 has it, or zmq.PULL.
    """

    peer_errors = (MalformedMessage,)

    def __init__(
        self,
        port: int = 5556,
        host: str = "127.0.0.1",
        *,
        collector: int = zmq.SUB,
        role: Role | None = None,
        state_bind: str = "",
        state_connect: str = "",
        peer: str = "",
        heartbeat: float = 1.0,
        timeout: float | None = None,
        control: str = "",
        figures: bool = False,
        replication: ReplicationPolicy | None = None,
        make_uuid: Callable[[], bytes] = lambda: uuid.uuid4().bytes,
        wall_clock: Callable[[], float] = time.time,  # noqa: TID251 - orders epochs of restarts only
    ) -> None:
        super().__init__()
        if role is not None and not (state_bind and state_connect and peer):
            raise ValueError("one of a pair needs state_bind, state_connect and peer")
        if replication is not None and role is None:
            raise ValueError("only one of a pair has somebody to replicate to")
        if peer:
            publisher_of(peer)  # a wrong endpoint is told here
        self.port = port
        self.host = host
        self.collector = collector
        self.peer = peer
        self.control = control
        self.endpoint = ""
        self._make_uuid = make_uuid
        self._wall_clock = wall_clock
        self.protocol = ServerProtocol(
            make_uuid=make_uuid,
            epoch=epoch_at(wall_clock()),
            heartbeat=heartbeat,
            figures=OwnFigures() if figures else None,
            replication=None if role is None else Replication(replication),
        )
        self.diverged = 0
        self.star: BinaryStar | None = None
        if role is not None:
            self.star = BinaryStar(
                role,
                self,
                state_bind=state_bind,
                state_connect=state_connect,
                heartbeat=heartbeat,
                timeout=timeout,
                progress=self.protocol.progress,
                replicates=True,
                received_all=self._received_all,
                wall_clock=wall_clock,
            )
        self._snapshots: SnapshotSender | None = None
        self._sender: LinkSender | None = None
        self._follower: LinkFollower | None = None

    def build(self) -> Iterable[Handler]:
        """Bind the three ports and return the handlers of each, those of the pair last."""
        streams = bind_in_a_row(self, self.host, self.port, zmq.ROUTER, zmq.XPUB, self.collector)
        self._router, self._publisher, self._collector = streams
        self.endpoint = self._router.endpoint
        self._snapshots = snapshots = SnapshotSender(
            self._router,
            on_turn=self._answer,
            promised=lambda: self.protocol.replication.snapshots_waiting,
        )
        self._alarm = Alarm(self.reactor, self.tick, self._hook_failed)
        if self.star is not None:
            self.star.name = f"{self.name}.star"
            self._sender = LinkSender(self._router, self)
            self._follower = LinkFollower(self, self, self.peer, self._make_uuid)
        handlers: list[Handler] = [
            snapshots,
            SnapshotInterface(self._router, self, subtrees=True, link=self._sender),
            PublisherInterface(self._publisher, self),
            CollectorInterface(self._collector, self),
            _Ticker(self),
        ]
        handlers += [each for each in (self._sender, self._follower, self.star) if each]
        if self.control:
            handlers.append(ControlPort(open_control(self, self.control), self))
        return handlers

    def on_start(self) -> None:
        """Serve at once, unless a pair has to agree first."""
        if self.star is None:
            self.become_active(epoch=0, forced=False)

    def on_stop(self) -> None:
        """Do nothing more by itself."""
        self._alarm.cancel()

    def statistics(self) -> CloneServerStatistics:
        """Return a frozen snapshot of every counter."""
        common = super().statistics()
        snapshots = self._snapshots
        return CloneServerStatistics(
            name=common.name,
            errors=common.errors,
            refused=common.refused,
            messages_refused=sum(member.refused for member in self._members()),
            snapshots_sent=snapshots.sent if snapshots else 0,
            snapshots_waiting=snapshots.waiting if snapshots else 0,
            snapshots_given_up=snapshots.given_up if snapshots else 0,
            diverged=self.diverged,
            server=self.protocol.statistics(),
            star=self.star.protocol.statistics() if self.star else None,
        )

    # What an operator orders

    def describe(self) -> dict[str, Any]:
        """What this server is and holds; `conflicts` are of a pair of which both were active."""
        figures = asdict(self.protocol.statistics())
        figures["conditions_refused"] = figures.pop("conflicts")  # the pair has others
        alone = {"role": "alone", "state": figures.pop("state").value, "serving": True}
        pair = self.star.describe() if self.star is not None else alone
        return {"endpoint": self.endpoint, **figures, **pair, "diverged": self.diverged}

    def switchover(self) -> str:
        """Hand over to the passive peer; returns why not, or nothing."""
        return self.star.switchover() if self.star is not None else _ALONE

    def promote(self, *, force: bool = False) -> str:
        """Be active; returns why not, or nothing."""
        return self.star.promote(force=force) if self.star is not None else _ALONE

    # What arrives

    def receive_update(self, frames: Sequence[bytes]) -> None:
        """A client's update: a vote, and then an update for the rules."""
        if self.star is not None:
            if not self.protocol.serving:
                check_update(frames, max_body=self.protocol.max_body)  # junk is no vote
            self.star.request(copied=True)
        publication = self.protocol.order_update(frames, self.reactor.now())
        if publication is not None:
            self._publisher.send(*publication)
        if self._sender is not None:
            self._sender.flush_soon()
        if frames[3] or publication is None:
            self.arm()  # a ttl or an update that waits may be the next thing that is due

    def receive_snapshot_request(self, identity: bytes, subtree: bytes, packed: bool) -> None:
        """A client joins: a vote, and an answer if this server is the active one."""
        if self.star is not None and not self.star.request():
            return
        assert self._snapshots is not None
        self._snapshots.request(identity, subtree, packed)

    def _answer(self, identity: bytes, subtree: bytes, packed: bool) -> None:
        self.observe()
        now = self.reactor.now()
        self.carry_out(
            self.protocol.receive_snapshot_request(identity, subtree, now, packed=packed)
        )

    def receive_epoch(self, epoch: int) -> None:
        """A client has seen this epoch. Raises MalformedMessage for one that cannot be yet."""
        check_epoch(epoch, self._wall_clock())
        self.observe()
        self.carry_out(self.protocol.receive_epoch(epoch, self.reactor.now()))

    def receive_subscription(self, topic: bytes, subscribed: bool) -> None:
        """Somebody listens at the publisher from now on, or not any more."""
        self.observe()
        self.carry_out(self.protocol.receive_subscription(topic, subscribed, self.reactor.now()))
        self.arm()

    def observe(self) -> None:
        """Notice a loop that stood still: nothing leaves before the peer has been asked."""
        if self.star is not None:
            self.star.observe()

    def tick(self) -> None:
        """Time has passed."""
        self.observe()
        self.carry_out(self.protocol.tick(self.reactor.now()))
        self.arm()

    # What the pair orders

    def become_active(self, epoch: int, forced: bool) -> None:
        """Serve: what clients sent to both servers is applied and published first."""
        if self._follower is not None:
            self._follower.close()
        self.carry_out(self.protocol.become_active(self.reactor.now(), epoch, force=forced))
        self.arm()

    def become_passive(self, diverged_since: int | None) -> None:
        """Follow the peer: fetch its data."""
        assert self._snapshots is not None
        self._snapshots.give_up()
        self.carry_out(self.protocol.become_passive(self.reactor.now(), diverged_since))
        self.resume()

    async def _received_all(self) -> None:
        """Wait until what a peer that has ended had sent is received, for a heartbeat at most."""
        assert self._follower is not None
        with suppress(TimeoutError):
            async with asyncio.timeout(self.protocol.heartbeat):
                await self._follower.ended.wait()

    def suspend(self) -> None:
        """Leave clients' messages in the sockets."""
        self.protocol.suspend(self.reactor.now())  # for the message that has just been taken
        self._router.pause()
        self._collector.pause()

    def resume(self) -> None:
        """Take clients' messages again."""
        self.carry_out(self.protocol.resume(self.reactor.now()))
        self.arm()
        self._router.resume()
        self._collector.resume()

    # What the rules say

    def carry_out(self, effects: list[Effect]) -> None:
        """Do what the rules say, in their order, at once."""
        for effect in effects:
            match effect:
                case Publish(frames):
                    self._publisher.send(*frames)
                case SendSnapshot():
                    assert self._snapshots is not None
                    self._snapshots.add(effect)
                case SayHello(attempt, sequence, held):
                    assert self._follower is not None
                    self._follower.say_hello(attempt, sequence, held)
                case Confirm():
                    assert self._follower is not None
                    self._follower.confirm_soon()
                case Synchronised():
                    if self.star is not None:
                        self.star.synchronised()
                case OutOfSync():
                    if self.star is not None:
                        self.star.out_of_sync()
                case ReportDiverged(entries):
                    self._report_diverged(entries)
                case ReportReplication(in_sync):
                    self._report_replication(in_sync)
        if self._sender is not None:
            self._sender.flush_soon()

    def _report_diverged(self, entries: tuple[Frames, ...]) -> None:
        self.diverged += len(entries)
        keys = [repr(entry[0]) for entry in entries[:10]]
        self.log.error("updates given up for the peer's", count=len(entries), first_keys=keys)

    def _report_replication(self, in_sync: bool) -> None:
        if in_sync:
            self.log.info("the passive server keeps up")
            return
        refuses = self.protocol.replication.policy.refuses
        self.log.warning(
            "the passive server does not confirm",
            replicated_writes="refused" if refuses else "applied, and their writers are told",
        )

    def arm(self) -> None:
        """Have `tick` called when the rules next have something to do."""
        deadline = self.protocol.deadline
        if deadline is not None:
            self._alarm.at(deadline)


class _Ticker(PeriodicHandler):
    """Ticks in every state; between ticks, `arm` wakes the rules when something is due."""

    def __init__(self, server: CloneServer) -> None:
        super().__init__(interval=server.protocol.heartbeat)
        self._server = server

    def on_tick(self) -> None:
        self._server.tick()
