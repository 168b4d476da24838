"""The wiring of one server of a Binary Star pair: two state sockets and a tick."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import asdict
from typing import Any, Protocol

import zmq

from patterns.binary_star.control import ControlPort, open_control
from patterns.binary_star.messages import MAX_HEARTBEAT, MalformedHeartbeat, Progress, Role, State
from patterns.binary_star.protocol import (
    BecomeActive,
    BecomePassive,
    BinaryStarProtocol,
    Effect,
    RefuseRequest,
    ReportConflict,
    ReportMismatch,
    ResumeService,
    SendHeartbeat,
    ServeRequest,
    SuspendService,
    Transition,
)
from patterns.binary_star.status import BinaryStarStatus
from reactor import Handler, HandlerSet, PeriodicHandler, Policy, Stream, StreamHandler

# libzmq hangs up on who announces a longer frame, before any of it is in memory.
_MAX_FRAME = 16 * MAX_HEARTBEAT
# When the peer's host is asked whether anybody listens, in seconds after the last time: a process
# that is killed may lose its listener a moment after its connections.
_QUESTIONS = (0.0, 0.002, 0.004, 0.01, 0.02, 0.05, 0.1, 0.2)


async def _nothing_to_receive() -> None:
    """For a service that receives nothing from the peer."""


class Service(Protocol):
    """What the pair makes highly available; each order is carried out before the next one."""

    def become_active(self, epoch: int, forced: bool) -> None:
        """Serve from now on, in `epoch` or a higher one."""

    def become_passive(self, diverged_since: int | None) -> None:
        """Serve nobody; what was accepted after that sequence is given up for the peer's."""

    def suspend(self) -> None:
        """Leave what clients send where it is."""

    def resume(self) -> None:
        """Go on with what clients sent."""


class BinaryStar(HandlerSet):
    """One server of a pair: tells the peer its state, hears the peer's, orders the service about.

    `state_bind` and `state_connect` are endpoints (the Guide's defaults: the primary binds 5003 and
    connects to 5004, the backup the other way round). `heartbeat` and `timeout` (two heartbeats, if
    it is left out) are seconds and must be the peer's. Ask `request()` before each client's request
    (Guide, chapter 4). With `replicates` the service fetches the active's data, and says
    `synchronised()`; `progress` tells how far it has come. `received_all` waits until it has all
    that a peer had sent whose process has ended. At `control`, an endpoint, an operator may ask and
    order (`control.py`).
    """

    peer_errors = (MalformedHeartbeat,)

    def __init__(
        self,
        role: Role,
        service: Service,
        *,
        state_bind: str,
        state_connect: str,
        heartbeat: float = 1.0,
        timeout: float | None = None,
        progress: Callable[[], Progress] = Progress,
        replicates: bool = False,
        received_all: Callable[[], Awaitable[None]] = _nothing_to_receive,
        control: str = "",
        wall_clock: Callable[[], float] = time.time,  # noqa: TID251 - tells restarts apart only
    ) -> None:
        super().__init__()
        self.state_bind = state_bind
        self.state_connect = state_connect
        self.protocol = BinaryStarProtocol(
            role,
            heartbeat,
            2 * heartbeat if timeout is None else timeout,
            progress=progress,
            replicates=replicates,
            beats_from=max(0, round(wall_clock() * 1000)),
        )
        self._service = service
        self._received_all = received_all
        self.control = control
        self._asking = False
        self._state_out: Stream | None = None

    def build(self) -> Iterable[Handler]:
        """Bind the state publisher, subscribe to the peer's, and tick."""
        options = {zmq.MAXMSGSIZE: _MAX_FRAME, **self._patience()}
        self._state_out = self.open_stream(
            zmq.PUB,
            self.state_bind,
            name="state-out",
            unmarked="bind",
            policy=Policy.DROP_OLDEST,
            options=options,
        )
        state_in = self.open_stream(
            zmq.SUB,
            self.state_connect,
            name="state-in",
            unmarked="connect",
            subscribe=(b"",),
            options=options,
        )
        state_in.on_error = self._hook_failed
        state_in.on_disconnected(lambda: self._peer_disconnected(state_in))
        handlers: list[Handler] = [
            StreamHandler(self._state_out),
            _PeerListener(state_in, self),
            _Ticker(self),
        ]
        if self.control:
            handlers.append(ControlPort(open_control(self, self.control), self))
        return handlers

    def _patience(self) -> dict[int, int]:
        """After so many milliseconds of silence a connection is replaced by a new one.

        TCP sends ever more rarely what is not received: after an outage of half a minute, it may be
        silent for as long again, and each server would take the other one for gone.
        """
        timeout_ms = round(self.protocol.timeout * 1000)
        return {
            zmq.HEARTBEAT_IVL: round(self.protocol.heartbeat * 1000),
            zmq.HEARTBEAT_TIMEOUT: timeout_ms,
            zmq.HANDSHAKE_IVL: timeout_ms,
            zmq.CONNECT_TIMEOUT: timeout_ms,
        }

    def request(self, *, copied: bool = False) -> bool:
        """A client asks for service, which is its vote; True if it is to be served now.

        What clients send to both servers is no vote for a while: say that it is `copied`.
        """
        now = self.reactor.now()
        return self.carry_out(self.protocol.receive_client_request(now, copied=copied))

    def observe(self) -> None:
        """Notice a loop that stood still before the service lets anything go."""
        self.carry_out(self.protocol.observe(self.reactor.now()))

    def synchronised(self) -> None:
        """The service's copy of the active's data is complete."""
        self.carry_out(self.protocol.receive_synchronised(self.reactor.now()))

    def out_of_sync(self) -> None:
        """The service's copy has a gap and is being fetched again."""
        self.carry_out(self.protocol.receive_out_of_sync(self.reactor.now()))

    # What an operator orders

    def status(self) -> BinaryStarStatus:
        """What this server is and hears."""
        return self.protocol.status(self.reactor.now())

    def describe(self) -> dict[str, Any]:
        """The same for the control port."""
        return {
            name: value.value if isinstance(value, (Role, State)) else value
            for name, value in asdict(self.status()).items()
        }

    def switchover(self) -> str:
        """Hand over to the passive peer, without a loss; returns why not, or nothing.

        It takes a moment: watch `status()` for the state to be LEAVING no more.
        """
        now = self.reactor.now()
        problem = self.protocol.handover_problem(now)
        if not problem:
            self.carry_out(self.protocol.switchover(now))
        return problem

    def promote(self, *, force: bool = False) -> str:
        """Be active, whatever this server holds; returns why not, or nothing.

        A peer that is active and alive should hand over instead, and one that does so, or holds
        more than this server, has updates that would be lost, unless `force` says otherwise. So has
        one that had no time yet to be heard.
        """
        self.observe()
        status = self.status()
        if status.state is State.ACTIVE:
            return "this server is active"
        alive = status.peer_age is not None and status.peer_age < self.protocol.timeout
        if alive and not status.peer_gone and not force:
            if status.peer_state is State.ACTIVE:
                return "the peer is active: order a switchover there, or force it"
            if status.peer_state is State.LEAVING:
                return "the peer is handing over: wait for the end of it, or force it"
            theirs, ours = status.peer_epoch or 0, status.epoch
            if (theirs, status.peer_sequence or 0) > (ours, status.sequence):
                return "the peer holds more than this server: promote that one, or force it"
        if not force and self.protocol.awaits_peer(self.reactor.now()):
            return "the peer had no time yet to be heard: wait for the timeout, or force it"
        self.carry_out(self.protocol.promote(self.reactor.now()))
        return ""

    # A peer that ends

    def _peer_disconnected(self, state_in: Stream) -> None:
        """The connection broke: that may be the network's doing. The peer's host knows better."""
        if not self._asking:
            self._asking = True
            self.reactor.spawn(self._ask_whether_gone(state_in, self.reactor.now()))

    async def _ask_whether_gone(self, state_in: Stream, lost_at: float) -> None:
        try:
            for pause in _QUESTIONS:
                await asyncio.sleep(pause)
                if state_in.closed:
                    return
                if await state_in.is_refused(timeout=self.protocol.heartbeat):
                    await self._received_all()
                    if not state_in.closed:
                        self.carry_out(self.protocol.receive_peer_gone(lost_at, self.reactor.now()))
                    return
        except Exception as error:
            self._hook_failed(error)
        finally:
            self._asking = False

    def carry_out(self, effects: list[Effect]) -> bool:
        """Do what the rules say, in their order, at once; True if a request is to be served."""
        serve = False
        for effect in effects:
            match effect:
                case ServeRequest():
                    serve = True
                case RefuseRequest():
                    serve = False
                case SendHeartbeat():
                    assert self._state_out is not None
                    self._state_out.send(self.protocol.heartbeat_frame())
                case BecomeActive(epoch, forced):
                    self._service.become_active(epoch, forced)
                case BecomePassive(diverged_since):
                    self._service.become_passive(diverged_since)
                case SuspendService():
                    if self.protocol.state is not State.LEAVING:
                        self.log.warning("the loop stood still: asking the peer before serving")
                    self._service.suspend()
                case ResumeService():
                    self._service.resume()
                case ReportConflict():
                    self._report(effect)
                case ReportMismatch(mismatch):
                    self.log.error("the two servers are configured differently", problem=mismatch)
                case Transition(old, new, cause, epoch):
                    self.log.info(
                        "state changed",
                        old=old.value,
                        new=new.value,
                        cause=cause.value,
                        epoch=epoch,
                    )
        return serve

    def _report(self, conflict: ReportConflict) -> None:
        self.log.error(
            "both servers were active",
            won=conflict.won,
            own_writes=conflict.own_writes,
            peer_writes=conflict.peer_writes,
        )


class _PeerListener(StreamHandler):
    """Hears the peer's heartbeats: one frame each."""

    peer_errors = (MalformedHeartbeat,)

    def __init__(self, stream: Stream, star: BinaryStar) -> None:
        super().__init__(stream)
        self.name = stream.name
        self._star = star

    def on_message(self, frames: list[bytes]) -> None:
        if len(frames) != 1:
            raise MalformedHeartbeat(f"{len(frames)} frames")
        self._star.carry_out(self._star.protocol.receive_peer_state(frames[0], self.reactor.now()))


class _Ticker(PeriodicHandler):
    """Ticks several times a heartbeat, so that none is late by as much as one."""

    def __init__(self, star: BinaryStar) -> None:
        super().__init__(interval=star.protocol.heartbeat / 4)
        self._star = star

    def on_tick(self) -> None:
        self._star.carry_out(self._star.protocol.tick(self.reactor.now()))
