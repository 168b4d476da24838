"""Who of two servers is active: the guards in front of the table of states and events.

The rules are those of the Guide (chapter 4, High-Availability Pair) with these differences:

- It never aborts. Of two actives one yields, by rule, and says what it gives up; of two passives
  the one that holds more becomes active.
- SYNCING, passive without a complete copy of the active's data, is a state of its own. It becomes
  active on an operator's order, or when its peer has lost that data and begun with nothing.
- Every activity has an epoch, higher than any that this server or its peer knows of.
- A server whose loop stood still so long that the peer may have given it up asks the peer first,
  and serves nobody meanwhile: it may have been replaced.
- A peer whose host says that its process has ended is replaced at once. A connection that broke
  says nothing of the kind, and is no event.
- An operator hands over without a loss: the active serves nobody until the passive one, which
  holds all that it does, has become active.

Time is an argument: monotonic seconds. Call `tick` at least once per heartbeat.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from patterns.binary_star.conflicts import (
    diverged_since,
    is_settled,
    lacks_data_of,
    resolve,
    writes_since_fork,
)
from patterns.binary_star.effects import (
    BecomeActive,
    BecomePassive,
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
from patterns.binary_star.messages import (
    MalformedHeartbeat,
    PeerState,
    Progress,
    Role,
    State,
)
from patterns.binary_star.status import BinaryStarStatistics, BinaryStarStatus
from patterns.binary_star.table import TABLE, Action, Event

# How often a configuration that does not fit is reported.
_MISMATCH_SECONDS = 60.0

# After these a server leads with the copy that it has, complete or not: there is no better one.
_WITH_ANY_COPY = (Event.PROMOTE, Event.PEER_ACTIVE_ANEW)

# So many timeouts after its peer has fallen silent, a server takes copies for votes as well.
_COPIES_WAIT = 4


class BinaryStarProtocol:
    """One server of the pair: hears its peer and its clients, says what to do.

    `heartbeat` and `timeout` are seconds; ValueError unless the first is shorter. `progress` tells
    how far the data has come, when asked; a service without data leaves it out. With `replicates`,
    a server that becomes passive is SYNCING until `receive_synchronised`; without, it is PASSIVE at
    once. Heartbeats are numbered from `beats_from` on, which is higher in each process of this
    server than all that the one before it has sent.
    """

    def __init__(
        self,
        role: Role,
        heartbeat: float = 1.0,
        timeout: float = 2.0,
        *,
        progress: Callable[[], Progress] = Progress,
        replicates: bool = False,
        beats_from: int = 0,
    ) -> None:
        if not 0 < heartbeat < timeout:
            raise ValueError(f"heartbeat {heartbeat} s must be shorter than timeout {timeout} s")
        self.role = role
        self.heartbeat = heartbeat
        self.timeout = timeout
        self.replicates = replicates
        self.state = State.STARTING_PRIMARY if role is Role.PRIMARY else State.STARTING_BACKUP
        self.peer: PeerState | None = None
        self.mismatch = ""  # how the peer is configured differently
        self._progress = progress
        self._epoch = 0
        self._peer_epoch = 0  # the highest ever heard: a peer that restarts has forgotten it
        self._settled = 0
        self._beats_from = self._beats = beats_from
        self._next_beat: float | None = None
        self._observed_at: float | None = None
        self._peer_expires_at = float("inf")
        self._peer_heard_at: float | None = None
        self._peer_gone = False
        self._state_since: float | None = None
        self._handover_expires_at = float("inf")
        self._mismatch_reported_at = float("-inf")
        # While not None: only a heartbeat that answers a later beat than this one counts.
        self._check_after_beat: int | None = None
        self._check_expires_at = 0.0
        self._conflict_after_beat: int | None = None  # the same, while both are active
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
        effects = self.observe(now) + self._compare_timings(peer, now)
        self._received += 1
        self.peer = peer
        self._peer_heard_at = now
        self._peer_gone = False
        self._peer_epoch = max(self._peer_epoch, peer.progress.epoch)
        self._peer_expires_at = now + self.timeout
        if self._check_after_beat is not None:
            if not self._answers(peer, self._check_after_beat):
                # It waited in a queue while our loop stood still, and says nothing about now.
                return effects
            self._conflict_after_beat = self._check_after_beat  # this is the answer
            return effects + self._end_check_and_fire(self._peer_event(peer), now)
        return effects + self._fire(self._peer_event(peer), now)

    def receive_peer_gone(self, lost_at: float, now: float) -> list[Effect]:
        """The peer's host says that its process has ended; the connection broke at `lost_at`.

        Tell this only when all that the peer had sent has been received. A peer that was heard
        since has been started again.
        """
        effects = self.observe(now)
        if self._peer_heard_at is None or self._peer_heard_at > lost_at:
            return effects
        self._peer_gone = True
        self._peer_expires_at = now
        if self._check_after_beat is not None:
            return effects + self._end_check_and_fire(Event.PEER_GONE, now)
        return effects + self._fire(Event.PEER_GONE, now)

    def receive_client_request(self, now: float, *, copied: bool = False) -> list[Effect]:
        """A client wants service: its vote. Ends in ServeRequest or RefuseRequest.

        Of what clients send to both servers anyway a copy came here (`copied`): it says nothing of
        the peer, which may well have the other one. Counted as a vote, it would make two actives of
        every outage of the link between the servers. But if it never counted, a pair whose clients
        only write would never fail over: so it does when the peer is silent for much longer.
        """
        effects = self.observe(now)
        if self._check_after_beat is not None:
            event = Event.REQUEST_UNCHECKED
        elif now >= self._peer_expires_at + copied * _COPIES_WAIT * self.timeout:
            event = Event.REQUEST_PEER_SILENT
        else:
            event = Event.REQUEST_PEER_FRESH
        return effects + self._fire(event, now)

    def receive_synchronised(self, now: float) -> list[Effect]:
        """The copy of the active's data is complete."""
        return self.observe(now) + self._fire(Event.SYNCHRONISED, now)

    def receive_out_of_sync(self, now: float) -> list[Effect]:
        """The copy of the active's data has a gap and is being fetched again."""
        return self.observe(now) + self._fire(Event.OUT_OF_SYNC, now)

    def promote(self, now: float) -> list[Effect]:
        """An operator orders this server to be active, whatever it holds and hears.

        For a lone backup, or a pair of which neither has a complete copy.
        """
        effects = self.observe(now)
        if self._check_after_beat is not None:
            effects += self._end_check()
        return effects + self._fire(Event.PROMOTE, now)

    def handover_problem(self, now: float) -> str:
        """Why `switchover` cannot be ordered now; empty if it can."""
        if self.state is not State.ACTIVE:
            return f"this server is {self.state.value}: order it at the active one"
        if self._check_after_beat is not None or self.peer is None or now >= self._peer_expires_at:
            return "the peer is not heard: there is nobody to hand over to"
        if self.peer.state is not State.PASSIVE:
            return f"the peer is {self.peer.state.value}: it has no complete copy"
        return ""

    def switchover(self, now: float) -> list[Effect]:
        """An operator orders this active server to make its passive peer the active one.

        It serves nobody until the peer has taken over, or goes on after `timeout` seconds. Nothing
        happens while there is a `handover_problem`.
        """
        effects = self.observe(now)
        if self.handover_problem(now):
            return effects
        self._handover_expires_at = now + self.timeout
        return effects + self._fire(Event.SWITCHOVER, now)

    def tick(self, now: float) -> list[Effect]:
        """Send the heartbeat if it is due; end a check or a handover that the peer ignores."""
        effects = self.observe(now)
        unanswered = self._check_after_beat is not None and now >= self._check_expires_at
        if unanswered and not self._is_replaced(now):
            effects += self._end_check()
        leaving = self.state is State.LEAVING
        if leaving and now >= self._handover_expires_at and self._check_after_beat is None:
            return effects + self._fire(Event.HANDOVER_FAILED, now)
        # Who hands over says so at every tick: the peer may just have lacked the last update.
        if leaving or self._next_beat is None or now >= self._next_beat:
            self._next_beat = now + self.heartbeat
            effects.append(SendHeartbeat())
        return effects

    def heartbeat_frame(self) -> bytes:
        """The next heartbeat to the peer, numbered: ask once for each that is sent."""
        self._beats += 1
        return PeerState(
            role=self.role,
            state=self.state,
            progress=self._own(),
            settled=self._settled,
            beat=self._beats,
            heard=self.peer.beat if self.peer else 0,
            interval_ms=round(self.heartbeat * 1000),
            timeout_ms=round(self.timeout * 1000),
        ).encode()

    def status(self, now: float) -> BinaryStarStatus:
        """What an operator asks for."""
        peer, heard_at = self.peer, self._peer_heard_at
        return BinaryStarStatus(
            role=self.role,
            state=self.state,
            state_age=0.0 if self._state_since is None else now - self._state_since,
            serving=self.serving,
            epoch=self.epoch,
            sequence=self._progress().sequence,
            heartbeat=self.heartbeat,
            timeout=self.timeout,
            peer_state=peer.state if peer else None,
            peer_age=None if heard_at is None else now - heard_at,
            peer_epoch=peer.progress.epoch if peer else None,
            peer_sequence=peer.progress.sequence if peer else None,
            peer_gone=self._peer_gone,
            mismatch=self.mismatch,
            transitions=self._transitions,
            conflicts=self._conflicts,
        )

    def statistics(self) -> BinaryStarStatistics:
        """A frozen snapshot of the counters."""
        return BinaryStarStatistics(
            state=self.state,
            epoch=self.epoch,
            serving=self.serving,
            heartbeats_sent=self._beats - self._beats_from,
            heartbeats_received=self._received,
            heartbeats_refused=self._malformed,
            requests_served=self._served,
            requests_refused=self._refused,
            transitions=self._transitions,
            conflicts=self._conflicts,
            stalls=self._stalls,
        )

    def awaits_peer(self, now: float) -> bool:
        """True if a peer that is there may not have been heard yet: after a start, or a stall."""
        if self._check_after_beat is not None:
            return True
        heard_at = self._peer_heard_at
        unheard = heard_at is None or now - heard_at >= self.timeout
        return unheard and not self._peer_gone and now < self._peer_expires_at

    # --- time that has passed unnoticed

    def observe(self, now: float) -> list[Effect]:
        """Notice a loop that stood still: what we know about the peer is as old as that.

        All that the pair hears and is asked begins with it. A service calls it before it lets
        anything go that it does not ask the pair for: an answer, what was held back, an expiry.
        """
        previous, self._observed_at = self._observed_at, now
        if previous is None:
            self._state_since = now
            self._peer_expires_at = now + self.timeout
            return []
        if now - previous > self.heartbeat:
            # Our silence is not the peer's: what it said meanwhile waits to be heard.
            self._peer_expires_at = max(self._peer_expires_at, now + self.heartbeat / 2)
        if now - self._unheard_since(previous) <= self.timeout:
            return []
        self._stalls += 1
        self._peer_expires_at = now + self.timeout
        if self.peer is None and self.state is not State.ACTIVE:
            return []  # an active server may have been followed, and replaced, before it heard
        was_serving = self.serving
        self._check_after_beat = self._beats
        self._check_expires_at = now + self.timeout
        self._next_beat = now + self.heartbeat
        return [SuspendService(), SendHeartbeat()] if was_serving else [SendHeartbeat()]

    # --- guards

    def _check_fits(self, peer: PeerState) -> None:
        problem = ""
        if peer.role is self.role:
            problem = f"both servers are configured as {self.role.value}"
        elif peer.interval_ms >= self.timeout * 1000:
            problem = (
                f"the peer beats every {peer.interval_ms} ms and is given up after {self.timeout} s"
            )
        if problem:
            self.mismatch = problem
            raise MalformedHeartbeat(problem)

    def _compare_timings(self, peer: PeerState, now: float) -> list[Effect]:
        """Both servers must know alike when one gives the other up; until then, say so."""
        own = (round(self.heartbeat * 1000), round(self.timeout * 1000))
        theirs = (peer.interval_ms, peer.timeout_ms)
        self.mismatch = ""
        if own == theirs:
            self._mismatch_reported_at = float("-inf")
            return []
        self.mismatch = (
            f"heartbeat and timeout are {own[0]} and {own[1]} ms here,"
            f" {theirs[0]} and {theirs[1]} ms at the peer"
        )
        if now < self._mismatch_reported_at + _MISMATCH_SECONDS:
            return []
        self._mismatch_reported_at = now
        return [ReportMismatch(self.mismatch)]

    def _own(self) -> Progress:
        return replace(self._progress(), epoch=self.epoch)

    def _is_replaced(self, now: float) -> bool:
        """True if the peer was heard to lead in a newer epoch: its answer is only late."""
        peer = self.peer
        if peer is None or now >= self._peer_expires_at:
            return False
        return peer.state is State.ACTIVE and peer.progress.epoch > self.epoch

    def _unheard_since(self, previous: float) -> float:
        """Since when the peer may have heard nothing of us: an active may have been replaced."""
        if self.state is not State.ACTIVE or self._next_beat is None:
            return previous
        return min(previous, self._next_beat - self.heartbeat)

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
        if peer.state is not State.ACTIVE:
            self._conflict_after_beat = None
        if peer.state is State.STARTING_PRIMARY:
            return Event.PEER_PRIMARY
        if peer.state is State.STARTING_BACKUP:
            return Event.PEER_BACKUP
        if peer.state is State.ACTIVE:
            return self._peer_active(peer)
        if peer.state is State.LEAVING:
            return Event.PEER_HANDS_OVER if self._may_take_over(peer) else Event.PEER_LEAVING
        ahead = self._is_ahead(peer)
        if self.state is State.ACTIVE and lacks_data_of(self._own(), peer.progress.epoch):
            ahead = ahead and peer.state is State.PASSIVE  # an old copy is for its holder to lead
        if peer.state is State.PASSIVE:
            return Event.PEER_PASSIVE_AHEAD if ahead else Event.PEER_PASSIVE
        return Event.PEER_SYNCING_AHEAD if ahead else Event.PEER_SYNCING

    def _may_take_over(self, peer: PeerState) -> bool:
        """True if we hold exactly what a peer that hands over holds, and it still does so.

        One that has given up in vain goes on; its orders may have waited in the network.
        """
        own, theirs = self._own(), peer.progress
        same = (own.epoch, own.sequence) == (theirs.epoch, theirs.sequence)
        # It has heard the last or the last but one that we have said.
        return (same or not self.replicates) and self._answers(peer, self._beats - 2)

    def _peer_active(self, peer: PeerState) -> Event:
        own = self._own()
        took_over = peer.progress.epoch > own.epoch and peer.progress.fork_sequence >= own.sequence
        if self.state is State.ACTIVE or (self.state is State.LEAVING and not took_over):
            event = resolve(self.role, own, peer)
            ours_to_decide = event is not Event.PEER_ACTIVE_DECIDES and not is_settled(own, peer)
            if ours_to_decide and not self._is_answer(peer):
                return Event.PEER_ACTIVE_UNSURE
            return event
        return Event.PEER_ACTIVE_ANEW if self._began_anew(peer) else Event.PEER_ACTIVE

    def _began_anew(self, peer: PeerState) -> bool:
        """True if what we hold, as passive, is not of the peer's data, which began with nothing."""
        held = self._progress().epoch
        follows = self.state in (State.PASSIVE, State.SYNCING)
        if not follows or not lacks_data_of(peer.progress, held):
            self._conflict_after_beat = None
            return False
        # What waited in the network may be older than an epoch that we know from the peer itself.
        return held < peer.progress.fork_epoch or self._is_answer(peer)

    def _is_answer(self, peer: PeerState) -> bool:
        """True if the peer has heard what we sent since we first saw that both are active."""
        if self._conflict_after_beat is None:
            self._conflict_after_beat = self._beats
        return self._answers(peer, self._conflict_after_beat)

    def _answers(self, peer: PeerState, beat: int) -> bool:
        """True if the peer has heard a later beat than this one, of this process.

        What it has heard of one before, whose numbers are lower, is no answer; nor is it if our
        wall clock has been put back and they are higher.
        """
        return beat < peer.heard <= self._beats

    def _is_ahead(self, peer: PeerState) -> bool:
        """True if a peer that is not active holds more than we do."""
        own, epoch = self._progress(), self.epoch
        if self.state in (State.ACTIVE, State.LEAVING):
            # What counts is whether somebody was active after us.
            return peer.progress.epoch > epoch
        theirs = (peer.progress.epoch, peer.progress.sequence)
        if theirs == (epoch, own.sequence) and peer.state is State.PASSIVE:
            return peer.role is Role.PRIMARY
        return theirs > (epoch, own.sequence)

    def _report(self, *, won: bool) -> list[Effect]:
        assert self.peer is not None
        self._conflicts += 1
        theirs = self.peer.progress
        own_writes, peer_writes = writes_since_fork(self._own(), theirs)
        return [ReportConflict(won, own_writes, peer_writes, self.epoch, theirs.epoch)]

    # --- the table

    def _fire(self, event: Event, now: float) -> list[Effect]:
        old = self.state
        self.state, actions = TABLE[old, event]
        effects: list[Effect] = []
        for action in actions:
            effects += self._act(action, event, old)
        if self.state is not old:
            self._transitions += 1
            self._state_since = now
            effects.insert(0, Transition(old, self.state, event, self.epoch))
        if self.state is not old or Action.LEAD in actions:
            self._conflict_after_beat = None
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
                return [self._lead(event, old)]
            case Action.FOLLOW:
                return [BecomePassive(self._diverged_since(event, old))]
            case Action.REPORT_WON:
                return self._report(won=True)
            case Action.REPORT_LOST:
                return self._report(won=False)
            case Action.ASK:
                return [SendHeartbeat()]
            case Action.SUSPEND:
                return [SuspendService()]
            case Action.RESUME:
                return [ResumeService()]

    def _diverged_since(self, event: Event, old: State) -> int | None:
        conflict = event is not Event.PEER_ACTIVE and old in (State.ACTIVE, State.LEAVING)
        if not conflict or self.peer is None:
            return None
        leads = self.peer.state is State.ACTIVE
        return diverged_since(self._own(), self.peer.progress, leads=leads)

    def _lead(self, event: Event, old: State) -> BecomeActive:
        if event in (Event.PEER_ACTIVE_LOSES, Event.PROMOTE) and self.peer is not None:
            self._settled = self.peer.progress.epoch  # an operator's word is not put to the vote
        # At this very moment, the peer to which it hands over may begin the next one.
        self._epoch = max(self.epoch, self._peer_epoch) + (2 if old is State.LEAVING else 1)
        return BecomeActive(self._epoch, forced=event in _WITH_ANY_COPY)


__all__ = [
    "TABLE",
    "Action",
    "BecomeActive",
    "BecomePassive",
    "BinaryStarProtocol",
    "BinaryStarStatistics",
    "BinaryStarStatus",
    "Effect",
    "Event",
    "MalformedHeartbeat",
    "PeerState",
    "Progress",
    "RefuseRequest",
    "ReportConflict",
    "ReportMismatch",
    "ResumeService",
    "Role",
    "SendHeartbeat",
    "ServeRequest",
    "State",
    "SuspendService",
    "Transition",
]
