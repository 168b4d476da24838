"""Who of two servers is active: the guards in front of the table of states and events.

The rules are those of the Guide (chapter 4, High-Availability Pair) with these differences:

- It never aborts. Of two actives one yields, by rule, and says what it gives up; of two passives
  the one that holds more becomes active.
- SYNCING, passive without a complete copy of the active's data, is a state of its own. It becomes
  active on an operator's order only.
- Every activity has an epoch, higher than any that this server or its peer knows of.
- A server whose loop stood still for longer than the timeout asks its peer first, and serves
  nobody meanwhile: the peer may have taken over.

Time is an argument: monotonic seconds. Call `tick` at least once per heartbeat.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from patterns.binary_star.effects import (
    BecomeActive,
    BecomePassive,
    Effect,
    RefuseRequest,
    ReportConflict,
    ResumeService,
    SendHeartbeat,
    ServeRequest,
    SuspendService,
    Transition,
)
from patterns.binary_star.messages import (
    MalformedHeartbeat,
    PeerState,
    Progress,
    Role,
    State,
)
from patterns.binary_star.table import TABLE, Action, Event


@dataclass(frozen=True, slots=True)
class BinaryStarStatistics:
    """What a server of a pair has seen so far, as of one instant."""

    state: State
    epoch: int
    serving: bool
    heartbeats_sent: int
    heartbeats_received: int
    heartbeats_refused: int
    requests_served: int
    requests_refused: int
    transitions: int
    conflicts: int
    stalls: int


class BinaryStarProtocol:
    """One server of the pair: hears its peer and its clients, says what to do.

    `heartbeat` and `timeout` are seconds. `progress` tells how far the data has come, when asked;
    a service without data leaves it out. With `replicates`, a server that becomes passive is
    SYNCING until `receive_synchronised`; without, it is PASSIVE at once.
    """

    def __init__(
        self,
        role: Role,
        heartbeat: float = 1.0,
        timeout: float = 2.0,
        *,
        progress: Callable[[], Progress] = Progress,
        replicates: bool = False,
    ) -> None:
        if not 0 < heartbeat < timeout:
            raise ValueError(f"heartbeat {heartbeat} s must be shorter than timeout {timeout} s")
        self.role = role
        self.heartbeat = heartbeat
        self.timeout = timeout
        self.replicates = replicates
        self.state = State.STARTING_PRIMARY if role is Role.PRIMARY else State.STARTING_BACKUP
        self.peer: PeerState | None = None
        self._progress = progress
        self._epoch = 0
        self._settled = 0
        self._beats = 0
        self._next_beat: float | None = None
        self._observed_at: float | None = None
        self._peer_expires_at = float("inf")
        # While not None: only a heartbeat that answers a later beat than this one counts.
        self._check_after_beat: int | None = None
        self._check_expires_at = 0.0
        self._received = self._malformed = self._served = self._refused = 0
        self._transitions = self._conflicts = self._stalls = 0

    @property
    def epoch(self) -> int:
        """The epoch of this server's activity or of its data, whichever is higher."""
        return max(self._epoch, self._progress().epoch)

    @property
    def serving(self) -> bool:
        """True if the server is active and is not just checking its peer."""
        return self.state is State.ACTIVE and self._check_after_beat is None

    # --- what arrives

    def receive_peer_state(self, frame: bytes, now: float) -> list[Effect]:
        """A heartbeat of the peer. Raises MalformedHeartbeat, with nothing changed by it."""
        try:
            peer = PeerState.decode(frame)
            self._check_fits(peer)
        except MalformedHeartbeat:
            self._malformed += 1
            raise
        effects = self._observe(now)
        self._received += 1
        self.peer = peer
        self._peer_expires_at = now + self.timeout
        if self._check_after_beat is not None:
            if peer.heard <= self._check_after_beat:
                # It waited in a queue while our loop stood still, and says nothing about now.
                return effects
            return effects + self._end_check_and_fire(self._peer_event(peer), now)
        return effects + self._fire(self._peer_event(peer), now)

    def receive_client_request(self, now: float) -> list[Effect]:
        """A client wants service: its vote. Ends in ServeRequest or RefuseRequest.

        Writes are votes as well as snapshot requests, or a pair whose clients only write would
        never fail over.
        """
        effects = self._observe(now)
        if self._check_after_beat is not None:
            event = Event.REQUEST_UNCHECKED
        elif now >= self._peer_expires_at:
            event = Event.REQUEST_PEER_SILENT
        else:
            event = Event.REQUEST_PEER_FRESH
        return effects + self._fire(event, now)

    def receive_synchronised(self, now: float) -> list[Effect]:
        """The copy of the active's data is complete."""
        return self._observe(now) + self._fire(Event.SYNCHRONISED, now)

    def receive_out_of_sync(self, now: float) -> list[Effect]:
        """The copy of the active's data has a gap and is being fetched again."""
        return self._observe(now) + self._fire(Event.OUT_OF_SYNC, now)

    def promote(self, now: float) -> list[Effect]:
        """An operator orders this server to be active, whatever it holds and hears.

        For a lone backup, or a pair of which neither has a complete copy.
        """
        effects = self._observe(now)
        if self._check_after_beat is not None:
            effects += self._end_check()
        return effects + self._fire(Event.PROMOTE, now)

    def tick(self, now: float) -> list[Effect]:
        """Send the heartbeat if it is due; end a check that the peer has not answered."""
        effects = self._observe(now)
        if self._check_after_beat is not None and now >= self._check_expires_at:
            effects += self._end_check()
        if self._next_beat is None or now >= self._next_beat:
            self._next_beat = now + self.heartbeat
            effects.append(SendHeartbeat())
        return effects

    def heartbeat_frame(self) -> bytes:
        """The next heartbeat to the peer, numbered: ask once for each that is sent."""
        self._beats += 1
        return PeerState(
            role=self.role,
            state=self.state,
            progress=replace(self._progress(), epoch=self.epoch),
            settled=self._settled,
            beat=self._beats,
            heard=self.peer.beat if self.peer else 0,
            interval_ms=round(self.heartbeat * 1000),
        ).encode()

    def statistics(self) -> BinaryStarStatistics:
        """A frozen snapshot of the counters."""
        return BinaryStarStatistics(
            state=self.state,
            epoch=self.epoch,
            serving=self.serving,
            heartbeats_sent=self._beats,
            heartbeats_received=self._received,
            heartbeats_refused=self._malformed,
            requests_served=self._served,
            requests_refused=self._refused,
            transitions=self._transitions,
            conflicts=self._conflicts,
            stalls=self._stalls,
        )

    # --- guards

    def _check_fits(self, peer: PeerState) -> None:
        if peer.role is self.role:
            raise MalformedHeartbeat(f"both servers are configured as {self.role.value}")
        if peer.interval_ms >= self.timeout * 1000:
            raise MalformedHeartbeat(
                f"the peer beats every {peer.interval_ms} ms and is given up after {self.timeout} s"
            )

    def _observe(self, now: float) -> list[Effect]:
        """Notice a loop that stood still: what we know about the peer is as old as that."""
        previous, self._observed_at = self._observed_at, now
        if previous is None:
            self._peer_expires_at = now + self.timeout
            return []
        if now - previous <= self.timeout:
            return []
        self._stalls += 1
        # Our silence is not the peer's: give it the time to be heard.
        self._peer_expires_at = now + self.timeout
        if self.peer is None:
            return []
        was_serving = self.serving
        self._check_after_beat = self._beats
        self._check_expires_at = now + self.timeout
        self._next_beat = now + self.heartbeat
        return [SuspendService(), SendHeartbeat()] if was_serving else [SendHeartbeat()]

    def _end_check(self) -> list[Effect]:
        self._check_after_beat = None
        return [ResumeService()] if self.serving else []

    def _end_check_and_fire(self, event: Event, now: float) -> list[Effect]:
        """The peer has spoken: resume only if that leaves us active."""
        was_active = self.state is State.ACTIVE
        self._check_after_beat = None
        effects = self._fire(event, now)
        if was_active and self.state is State.ACTIVE:
            effects.append(ResumeService())
        return effects

    def _peer_event(self, peer: PeerState) -> Event:
        if peer.state is State.STARTING_PRIMARY:
            return Event.PEER_PRIMARY
        if peer.state is State.STARTING_BACKUP:
            return Event.PEER_BACKUP
        if peer.state is State.ACTIVE:
            return self._conflict(peer) if self.state is State.ACTIVE else Event.PEER_ACTIVE
        ahead = self._is_ahead(peer)
        if peer.state is State.PASSIVE:
            return Event.PEER_PASSIVE_AHEAD if ahead else Event.PEER_PASSIVE
        return Event.PEER_SYNCING_AHEAD if ahead else Event.PEER_SYNCING

    def _is_ahead(self, peer: PeerState) -> bool:
        """True if a peer that is not active holds more than we do."""
        own, epoch = self._progress(), self.epoch
        if self.state is State.ACTIVE:
            # What counts is whether somebody was active after us.
            return peer.progress.epoch > epoch
        theirs = (peer.progress.epoch, peer.progress.sequence)
        if theirs == (epoch, own.sequence) and peer.state is State.PASSIVE:
            return peer.role is Role.PRIMARY
        return theirs > (epoch, own.sequence)

    # --- two actives

    def _conflict(self, peer: PeerState) -> Event:
        """Who decides is the one with the lower epoch, so that the two never both do.

        It either yields, or goes on in a higher epoch than the peer's and says that the peer's is
        settled; then the peer yields.
        """
        epoch = self.epoch
        if peer.progress.epoch > epoch and peer.settled >= epoch:
            return Event.PEER_ACTIVE_WINS
        decides = (epoch, self.role is not Role.PRIMARY)
        if decides > (peer.progress.epoch, peer.role is not Role.PRIMARY):
            return Event.PEER_ACTIVE_DECIDES
        own_writes, peer_writes = self._writes_since_fork(peer)
        own = (own_writes, epoch, self.role is Role.PRIMARY)
        theirs = (peer_writes, peer.progress.epoch, peer.role is Role.PRIMARY)
        return Event.PEER_ACTIVE_LOSES if own > theirs else Event.PEER_ACTIVE_WINS

    def _writes_since_fork(self, peer: PeerState) -> tuple[int, int]:
        own, theirs = replace(self._progress(), epoch=self.epoch), peer.progress
        return _writes_since(own, theirs), _writes_since(theirs, own)

    def _diverged_since(self) -> int | None:
        """The sequence up to which our data is the peer's too."""
        if self.peer is None:
            return None
        theirs = self.peer.progress
        if theirs.fork_epoch == self.epoch:
            return theirs.fork_sequence
        return self._progress().fork_sequence

    def _report(self, *, won: bool) -> list[Effect]:
        assert self.peer is not None
        self._conflicts += 1
        own_writes, peer_writes = self._writes_since_fork(self.peer)
        peer_epoch = self.peer.progress.epoch
        return [ReportConflict(won, own_writes, peer_writes, self.epoch, peer_epoch)]

    # --- the table

    def _fire(self, event: Event, now: float) -> list[Effect]:
        old = self.state
        self.state, actions = TABLE[old, event]
        effects: list[Effect] = []
        for action in actions:
            effects += self._act(action, event, old)
        if self.state is not old:
            self._transitions += 1
            effects.insert(0, Transition(old, self.state, event, self.epoch))
        if self.state is not old or Action.LEAD in actions:
            # At once: until the peer knows, it may do the same.
            self._next_beat = now + self.heartbeat
            effects.append(SendHeartbeat())
        if self.state is State.SYNCING and not self.replicates:
            effects += self._fire(Event.SYNCHRONISED, now)
        return effects

    def _act(self, action: Action, event: Event, old: State) -> list[Effect]:
        match action:
            case Action.SERVE:
                self._served += 1
                return [ServeRequest()]
            case Action.REFUSE:
                self._refused += 1
                return [RefuseRequest()]
            case Action.LEAD:
                return [self._lead(event)]
            case Action.FOLLOW:
                return [BecomePassive(self._diverged_since() if old is State.ACTIVE else None)]
            case Action.REPORT_WON:
                return self._report(won=True)
            case Action.REPORT_LOST:
                return self._report(won=False)

    def _lead(self, event: Event) -> BecomeActive:
        peer_epoch = self.peer.progress.epoch if self.peer else 0
        if event is Event.PEER_ACTIVE_LOSES:
            self._settled = peer_epoch
        self._epoch = max(self.epoch, peer_epoch) + 1
        return BecomeActive(self._epoch, forced=event is Event.PROMOTE)


def _writes_since(own: Progress, other: Progress) -> int:
    """The updates that one active accepted since the two parted.

    If the other left from our present epoch, all after that point; else all since we became
    active ourselves.
    """
    if other.fork_epoch == own.epoch:
        return max(0, own.sequence - other.fork_sequence)
    return own.writes


__all__ = [
    "TABLE",
    "Action",
    "BecomeActive",
    "BecomePassive",
    "BinaryStarProtocol",
    "BinaryStarStatistics",
    "Effect",
    "Event",
    "MalformedHeartbeat",
    "PeerState",
    "Progress",
    "RefuseRequest",
    "ReportConflict",
    "ResumeService",
    "Role",
    "SendHeartbeat",
    "ServeRequest",
    "State",
    "SuspendService",
    "Transition",
]
