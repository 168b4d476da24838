"""Who of the two is active: the table cell by cell, the guards, and two servers joined by hand."""

import itertools
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from patterns.binary_star.conflicts import diverged_since, resolve, writes_since_fork
from patterns.binary_star.messages import (
    COUNTER_BITS,
    MalformedHeartbeat,
    PeerState,
    Progress,
    Role,
    State,
)
from patterns.binary_star.protocol import (
    TABLE,
    Action,
    BecomeActive,
    BecomePassive,
    BinaryStarProtocol,
    Event,
    RefuseRequest,
    ReportConflict,
    ReportMismatch,
    ResumeService,
    SendHeartbeat,
    ServeRequest,
    SuspendService,
    Transition,
)
from patterns.binary_star.table import COLUMNS

PRIMARY, BACKUP = Role.PRIMARY, Role.BACKUP

# One line an event, one letter a state: starting primary, starting backup, active, passive,
# syncing, leaving. "." stays, "A" becomes active, "S" follows, "I" and "P" are told; "s" serves,
# "r" refuses, "V" becomes active and serves; "L" reports and follows, "W" reports and goes on;
# "a" sends a heartbeat, "H" hands over, "B" is active again, in a new epoch "N", after a
# conflict "C".
EXPECTED = {
    Event.PEER_PRIMARY: "...A.B",
    Event.PEER_BACKUP: "A..A.B",
    Event.PEER_ACTIVE: "SS...S",
    Event.PEER_ACTIVE_ANEW: "SS.AAS",
    Event.PEER_ACTIVE_WINS: "..L..L",
    Event.PEER_ACTIVE_LOSES: "..W..C",
    Event.PEER_ACTIVE_UNSURE: "..a..a",
    Event.PEER_ACTIVE_DECIDES: "..a..a",
    Event.PEER_PASSIVE: "...A..",
    Event.PEER_PASSIVE_AHEAD: "..L..L",
    Event.PEER_SYNCING: "AA.A.B",
    Event.PEER_SYNCING_AHEAD: "..AA.N",
    Event.PEER_LEAVING: "SS....",
    Event.PEER_HANDS_OVER: "SS.A..",
    Event.PEER_GONE: "...A.B",
    Event.REQUEST_PEER_FRESH: "rrsrrr",
    Event.REQUEST_PEER_SILENT: "VrsVrr",
    Event.REQUEST_UNCHECKED: "rrrrrr",
    Event.SYNCHRONISED: "....P.",
    Event.OUT_OF_SYNC: "...I..",
    Event.PROMOTE: "AA.AAN",
    Event.SWITCHOVER: "..H...",
    Event.HANDOVER_FAILED: ".....B",
}
MEANING = {
    ".": (None, ()),
    "A": (State.ACTIVE, (Action.LEAD,)),
    "S": (State.SYNCING, (Action.FOLLOW,)),
    "I": (State.SYNCING, ()),
    "P": (State.PASSIVE, ()),
    "s": (None, (Action.SERVE,)),
    "r": (None, (Action.REFUSE,)),
    "V": (State.ACTIVE, (Action.LEAD, Action.SERVE)),
    "L": (State.SYNCING, (Action.REPORT_LOST, Action.FOLLOW)),
    "W": (State.ACTIVE, (Action.REPORT_WON, Action.LEAD)),
    "a": (None, (Action.ASK,)),
    "H": (State.LEAVING, (Action.SUSPEND,)),
    "B": (State.ACTIVE, (Action.RESUME,)),
    "N": (State.ACTIVE, (Action.LEAD, Action.RESUME)),
    "C": (State.ACTIVE, (Action.REPORT_WON, Action.LEAD, Action.RESUME)),
}


@pytest.mark.parametrize(
    ("state", "event"), list(itertools.product(COLUMNS, Event)), ids=lambda each: each.name
)
def test_every_cell_of_the_table(state, event):
    target, actions = MEANING[EXPECTED[event][COLUMNS.index(state)]]
    assert TABLE[state, event] == (target or state, actions)


def test_the_table_is_complete():
    assert set(TABLE) == set(itertools.product(State, Event))


@pytest.mark.parametrize(
    ("state", "event", "target"),
    [
        # The transitions of the Guide's program, in its own order.
        (State.STARTING_PRIMARY, Event.PEER_BACKUP, State.ACTIVE),
        (State.STARTING_BACKUP, Event.PEER_ACTIVE, State.SYNCING),
        (State.STARTING_PRIMARY, Event.PEER_ACTIVE, State.SYNCING),
        (State.PASSIVE, Event.PEER_PRIMARY, State.ACTIVE),
        (State.PASSIVE, Event.PEER_BACKUP, State.ACTIVE),
        (State.PASSIVE, Event.REQUEST_PEER_SILENT, State.ACTIVE),
        (State.STARTING_BACKUP, Event.REQUEST_PEER_SILENT, State.STARTING_BACKUP),
    ],
)
def test_bs_13_the_guides_transitions_are_there(state, event, target):
    assert TABLE[state, event][0] is target


def test_f9_s6_8_a_server_without_a_complete_copy_leads_if_there_is_no_better_one():
    leading = {event for event in Event if TABLE[State.SYNCING, event][0] is State.ACTIVE}
    assert leading == {Event.PROMOTE, Event.PEER_ACTIVE_ANEW}


def server(role=PRIMARY, progress=None, *, replicates=True, now=0.0, state=None, beats_from=0):
    progress = progress or Progress()
    star = BinaryStarProtocol(
        role, progress=lambda: progress, replicates=replicates, beats_from=beats_from
    )
    star.tick(now)
    if state is not None:
        star.state = state
    return star


def beat(role=BACKUP, state=State.PASSIVE, progress=None, **fields):
    return PeerState(role, state, progress or Progress(), **fields).encode()


def kinds(effects):
    return [type(effect) for effect in effects]


class TestHeartbeat:
    @given(
        st.sampled_from([(role, state) for role in Role for state in State]),
        st.lists(st.integers(0, 2**63 - 1), min_size=10, max_size=10),
    )
    def test_decoding_inverts_encoding(self, pair, numbers):
        role, state = pair
        if state.value.startswith("starting") and role.value not in state.value:
            return
        peer = PeerState(role, state, Progress(*numbers[:5]), *numbers[5:])
        assert PeerState.decode(peer.encode()) == peer

    def test_a_heartbeat_is_one_frame_of_lines(self):
        frame = beat(BACKUP, State.ACTIVE, Progress(2, 30, 4, 1, 20), beat=7, heard=6)
        assert frame == (
            b"pair=1\nrole=backup\nstate=active\nepoch=2\nsequence=30\nwrites=4\nfork_epoch=1\n"
            b"fork_sequence=20\nsettled=0\nbeat=7\nheard=6\ninterval_ms=1000\ntimeout_ms=2000\n"
        )

    def test_names_of_a_later_version_are_left_out(self):
        assert PeerState.decode(beat() + b"new=thing\n") == PeerState.decode(beat())

    @pytest.mark.parametrize("digit", [b"1", b"2", b"3", b"4", b"5", b"9"])
    def test_bs_5_a_digit_of_a_guide_server_is_refused_and_named(self, digit):
        star = server(BACKUP, state=State.PASSIVE)
        with pytest.raises(MalformedHeartbeat, match="Guide server"):
            star.receive_peer_state(digit, 1.0)
        assert star.state is State.PASSIVE

    @pytest.mark.parametrize(
        "frame",
        [
            b"",
            b"junk",
            b"\xff",
            b"pair=1\n",
            b"x" * 2000,
            beat().replace(b"pair=1", b"pair=2"),
            beat().replace(b"role=backup", b"role=king"),
            beat().replace(b"state=passive", b"state=on"),
            beat().replace(b"state=passive", b"state=starting-primary"),
            beat().replace(b"epoch=0", b"epoch=-1", 1),
            beat().replace(b"epoch=0", b"epoch=x", 1),
            beat().replace(b"epoch=0\n", b"", 1),
            beat() + b"beat=1\n",
            beat() + b"line\n",
            beat() + b"=\n",
        ],
    )
    def test_bs_5_junk_is_refused_and_does_not_hide_a_dead_peer(self, frame):
        star = server(BACKUP, state=State.PASSIVE)
        star.tick(1.0)
        with pytest.raises(MalformedHeartbeat):
            star.receive_peer_state(frame, 1.9)
        assert star.statistics().heartbeats_refused == 1
        assert ServeRequest() in star.receive_client_request(2.0)

    @given(st.binary(max_size=200))
    def test_any_bytes_are_a_heartbeat_or_malformed(self, frame):
        try:
            PeerState.decode(frame)
        except MalformedHeartbeat:
            pass

    def test_a_peer_of_the_same_role_is_refused(self):
        with pytest.raises(MalformedHeartbeat, match="both servers are configured as primary"):
            server(PRIMARY).receive_peer_state(beat(PRIMARY), 1.0)

    def test_a_peer_that_beats_more_slowly_than_it_is_given_up_is_refused(self):
        with pytest.raises(MalformedHeartbeat, match="beats every 2000 ms"):
            server().receive_peer_state(beat(interval_ms=2000), 1.0)

    def test_the_own_heartbeat_must_be_shorter_than_the_timeout(self):
        with pytest.raises(ValueError, match="shorter"):
            BinaryStarProtocol(PRIMARY, heartbeat=2.0, timeout=2.0)

    def test_a_heartbeat_is_sent_each_interval(self):
        star = BinaryStarProtocol(PRIMARY)
        sent = [now / 4 for now in range(12) if star.tick(now / 4) == [SendHeartbeat()]]
        assert sent == [0.0, 1.0, 2.0]

    def test_a_heartbeat_tells_role_state_and_progress(self):
        star = server(BACKUP, Progress(3, 40, 5, 2, 30), state=State.ACTIVE)
        star.receive_peer_state(beat(PRIMARY, State.SYNCING, beat=9), 1.0)
        peer = PeerState.decode(star.heartbeat_frame())
        assert peer == PeerState(
            BACKUP, State.ACTIVE, Progress(3, 40, 5, 2, 30), beat=1, heard=9, interval_ms=1000
        )
        assert PeerState.decode(star.heartbeat_frame()).beat == 2


class TestVote:
    def test_a_passive_server_serves_when_a_client_asks_and_the_peer_is_silent(self):
        star = server(BACKUP, state=State.PASSIVE)
        star.receive_peer_state(beat(PRIMARY, State.ACTIVE, Progress(4)), 1.0)
        star.tick(2.0)
        assert star.receive_client_request(2.9) == [RefuseRequest()]
        effects = star.receive_client_request(3.0)
        cause = Event.REQUEST_PEER_SILENT
        assert effects == [
            Transition(State.PASSIVE, State.ACTIVE, cause, 5),
            BecomeActive(5),
            ServeRequest(),
            SendHeartbeat(),
        ]

    def test_s6_7_becoming_active_comes_before_serving(self):
        star = server(PRIMARY)
        star.tick(1.0)
        star.tick(1.9)
        effects = kinds(star.receive_client_request(2.0))
        assert effects.index(BecomeActive) < effects.index(ServeRequest)

    def test_silence_alone_changes_nothing(self):
        star = server(BACKUP, state=State.PASSIVE)
        for now in range(1, 100):
            assert star.tick(float(now)) == [SendHeartbeat()]
        assert star.state is State.PASSIVE

    def test_a_starting_primary_waits_for_the_peer_first(self):
        star = server(PRIMARY)
        assert star.receive_client_request(1.9) == [RefuseRequest()]
        assert star.state is State.STARTING_PRIMARY

    def test_bs_6_a_lone_backup_is_promoted_by_an_operator(self):
        star = server(BACKUP)
        for now in range(1, 10):
            assert RefuseRequest() in star.receive_client_request(float(now))
        assert BecomeActive(1, forced=True) in star.promote(10.0)
        assert star.receive_client_request(10.0) == [ServeRequest()]

    def test_bs_8_any_request_is_a_vote_so_writers_alone_bring_a_failover(self):
        # The wiring asks for every update too: nothing here knows what kind of request it is.
        star = server(BACKUP, state=State.PASSIVE)
        star.tick(1.0)
        star.tick(1.9)
        assert BecomeActive(1) in star.receive_client_request(2.0)

    def test_bs_7_only_the_given_time_counts(self):
        star = server(BACKUP, state=State.PASSIVE, now=1e9)
        star.receive_peer_state(beat(PRIMARY, State.ACTIVE), 1e9 + 1)
        assert star.receive_client_request(1e9 + 2.5) == [RefuseRequest()]

    def test_f9_a_syncing_server_refuses_whatever_the_silence(self):
        star = server(BACKUP, state=State.SYNCING)
        star.tick(1.0)
        star.tick(1.9)
        assert star.receive_client_request(2.0) == [RefuseRequest()]
        assert star.receive_synchronised(2.1) == [
            Transition(State.SYNCING, State.PASSIVE, Event.SYNCHRONISED, 0),
            SendHeartbeat(),
        ]
        assert ServeRequest() in star.receive_client_request(2.2)

    def test_f30_a_server_that_lost_something_does_not_promote(self):
        star = server(BACKUP, state=State.PASSIVE)
        star.receive_out_of_sync(1.9)
        assert star.receive_client_request(2.0) == [RefuseRequest()]

    def test_a_service_without_data_is_passive_at_once(self):
        star = server(BACKUP, replicates=False)
        effects = star.receive_peer_state(beat(PRIMARY, State.ACTIVE), 1.0)
        assert star.state is State.PASSIVE
        assert kinds(effects) == [
            Transition,
            BecomePassive,
            SendHeartbeat,
            Transition,
            SendHeartbeat,
        ]


class TestPassives:
    @pytest.mark.parametrize(
        ("role", "own", "peer", "state"),
        [
            (PRIMARY, (1, 5), (1, 5), State.ACTIVE),
            (BACKUP, (1, 5), (1, 5), State.PASSIVE),
            (BACKUP, (1, 6), (1, 5), State.ACTIVE),
            (PRIMARY, (1, 5), (1, 6), State.PASSIVE),
            (BACKUP, (2, 1), (1, 9), State.ACTIVE),
            (PRIMARY, (1, 9), (2, 1), State.PASSIVE),
        ],
    )
    def test_bs_4_of_two_passives_the_one_that_holds_more_leads(self, role, own, peer, state):
        star = server(role, Progress(*own), state=State.PASSIVE)
        other = BACKUP if role is PRIMARY else PRIMARY
        star.receive_peer_state(beat(other, State.PASSIVE, Progress(*peer)), 1.0)
        assert star.state is state
        if state is State.ACTIVE:
            assert star.epoch == max(own[0], peer[0]) + 1

    def test_f8_a_restarted_primary_leaves_the_lead_to_the_passive_that_has_the_data(self):
        primary, backup = server(PRIMARY), server(BACKUP, Progress(1, 9), state=State.PASSIVE)
        primary.receive_peer_state(backup.heartbeat_frame(), 1.0)
        assert primary.state is State.STARTING_PRIMARY
        backup.receive_peer_state(primary.heartbeat_frame(), 1.0)
        assert backup.state is State.ACTIVE
        primary.receive_peer_state(backup.heartbeat_frame(), 1.0)
        assert primary.state is State.SYNCING

    def test_f9_a_server_that_starts_empty_does_not_overrule_an_incomplete_copy(self):
        star = server(PRIMARY)
        star.receive_peer_state(beat(BACKUP, State.SYNCING, Progress(1, 9)), 1.0)
        assert star.state is State.STARTING_PRIMARY

    @pytest.mark.parametrize("role", list(Role))
    def test_a_server_that_starts_leads_if_the_syncing_peer_holds_nothing_more(self, role):
        star = server(role)
        other = BACKUP if role is PRIMARY else PRIMARY
        star.receive_peer_state(beat(other, State.SYNCING), 1.0)
        assert star.state is State.ACTIVE

    @pytest.mark.parametrize("state", [State.PASSIVE, State.SYNCING])
    def test_f9_nobody_with_data_follows_one_that_began_with_nothing_later(self, state):
        """What a server that is syncing holds is all there is, then (mixed, seed 10076301)."""
        star = server(BACKUP, Progress(1, 9), state=state)
        empty = Progress(3, 20, 2, fork_epoch=3, fork_sequence=0)
        effects = star.receive_peer_state(beat(PRIMARY, State.ACTIVE, empty), 1.0)
        assert star.state is State.ACTIVE
        assert BecomeActive(4, forced=True) in effects

    @pytest.mark.parametrize("state", [State.PASSIVE, State.SYNCING])
    def test_f9_nor_one_that_began_with_nothing_and_whose_clock_went_back(self, state):
        """What says so may have waited in the network: it must have heard us."""
        star = server(BACKUP, Progress(5, 9), state=state)
        empty = Progress(3, 20, 2, fork_epoch=3, fork_sequence=0)
        star.heartbeat_frame()
        for now in (1.0, 1.1):
            star.receive_peer_state(beat(PRIMARY, State.ACTIVE, empty, heard=1), now)
            assert star.state is state
        star.heartbeat_frame()
        effects = star.receive_peer_state(beat(PRIMARY, State.ACTIVE, empty, heard=2), 1.2)
        assert BecomeActive(6, forced=True) in effects

    def test_a_passive_server_follows_one_that_began_with_nothing_in_all_its_epochs(self):
        star = server(BACKUP, Progress(5, 9), state=State.PASSIVE)
        ours = Progress(7, 20, 2, fork_epoch=3, fork_sequence=0)
        for heard in range(4):
            star.heartbeat_frame()
            star.receive_peer_state(beat(PRIMARY, State.ACTIVE, ours, heard=heard), float(heard))
        assert star.state is State.PASSIVE

    def test_f9_who_began_with_nothing_leaves_an_old_copy_of_a_later_epoch_to_its_holder(self):
        began = Progress(3, 20, 2, fork_epoch=3, fork_sequence=0)
        star = server(PRIMARY, began, state=State.ACTIVE)
        effects = star.receive_peer_state(beat(BACKUP, State.SYNCING, Progress(4, 5)), 1.0)
        assert (effects, star.epoch) == ([], 3)

    @pytest.mark.parametrize("fork", [(1, 0), (1, 5)], ids=["nothing, and then ours", "our data"])
    def test_f9_a_passive_server_follows_one_that_holds_its_data(self, fork):
        star = server(BACKUP, Progress(1, 9), state=State.PASSIVE)
        star.receive_peer_state(beat(PRIMARY, State.ACTIVE, Progress(3, 20, 2, *fork)), 1.0)
        assert star.state is State.PASSIVE

    def test_an_active_server_yields_to_a_passive_one_of_a_later_epoch(self):
        star = server(PRIMARY, Progress(1, 9, 3, 0, 6), state=State.ACTIVE)
        effects = star.receive_peer_state(beat(BACKUP, State.PASSIVE, Progress(2, 5)), 1.0)
        assert star.state is State.SYNCING
        assert BecomePassive(diverged_since=6) in effects

    def test_an_active_server_outbids_an_incomplete_copy_of_a_later_epoch(self):
        star = server(PRIMARY, Progress(1, 9), state=State.ACTIVE)
        effects = star.receive_peer_state(beat(BACKUP, State.SYNCING, Progress(4, 5)), 1.0)
        assert effects == [BecomeActive(5), SendHeartbeat()]
        assert star.serving


class Conflict:
    """Two actives: the primary in epoch 1, the backup promoted to epoch 2 after number 100."""

    def __init__(self, primary_writes, backup_writes):
        self.progress = {
            PRIMARY: Progress(1, 100 + primary_writes, 80, 0, 0),
            BACKUP: Progress(2, backup_writes, backup_writes, 1, 100),
        }
        self.primary, self.backup = (self._active(role) for role in (PRIMARY, BACKUP))

    def _active(self, role):
        star = BinaryStarProtocol(role, progress=lambda: self.progress[role], replicates=True)
        star.tick(0.0)
        star.state = State.ACTIVE
        return star

    def tell(self, source, target, now):
        effects = target.receive_peer_state(source.heartbeat_frame(), now)
        for effect in effects:
            if isinstance(effect, BecomeActive):
                old = self.progress[target.role]
                self.progress[target.role] = Progress(effect.epoch, 0, 0, old.epoch, old.sequence)
        return effects

    def meet(self, now):
        """Hear of each other for the first time; the next heartbeats are answers."""
        self.tell(self.backup, self.primary, now)
        self.tell(self.primary, self.backup, now)
        assert self.states == (State.ACTIVE, State.ACTIVE)

    @property
    def states(self):
        return self.primary.state, self.backup.state


class TestActives:
    def test_f1_what_waited_while_the_network_was_cut_decides_nothing(self):
        """The backup's first heartbeats as active tell of no writes; many came after them."""
        pair = Conflict(primary_writes=5, backup_writes=0)
        waiting = [pair.backup.heartbeat_frame() for _ in range(3)]
        pair.progress[BACKUP] = Progress(2, 30, 30, 1, 100)
        first, *rest = (pair.primary.receive_peer_state(frame, 1.0) for frame in waiting)
        assert first == [SendHeartbeat()] and not any(BecomeActive in kinds(e) for e in rest)
        assert pair.tell(pair.primary, pair.backup, 1.1) == [SendHeartbeat()]
        pair.tell(pair.backup, pair.primary, 1.1)
        assert pair.states == (State.SYNCING, State.ACTIVE)

    def test_bs_3_f1_what_a_server_publishes_of_its_own_is_no_write(self):
        """One that was cut off from all clients, and expired 90 values meanwhile, gives way."""
        alone = Progress(1, 100, writes=10)
        other = PeerState(BACKUP, State.ACTIVE, Progress(2, 14, 11, fork_epoch=1, fork_sequence=10))
        assert writes_since_fork(alone, other.progress) == (10, 11)
        assert resolve(PRIMARY, alone, other) is Event.PEER_ACTIVE_WINS

    def test_f9_who_began_with_nothing_yields_to_who_holds_what_was_before(self):
        """A backup took over and stood still; its primary came back empty and was voted active."""
        held = Progress(2, 150, writes=0, fork_epoch=1, fork_sequence=100)
        empty = Progress(3, 250, writes=50, fork_epoch=3, fork_sequence=0)
        assert resolve(BACKUP, held, PeerState(PRIMARY, State.ACTIVE, empty)) is (
            Event.PEER_ACTIVE_LOSES
        )
        settled = PeerState(BACKUP, State.ACTIVE, replace(held, epoch=4), settled=3)
        assert resolve(PRIMARY, empty, settled) is Event.PEER_ACTIVE_WINS
        assert diverged_since(empty, held) == 0
        assert diverged_since(held, empty) == 0  # by an operator's word: it gives up everything

    def test_bs_3_what_both_hold_counts_for_nobody_in_whichever_epoch_it_was_accepted(self):
        """A client that had followed the backup told the primary of its epoch."""
        bits = COUNTER_BITS
        primary = Progress(4, (4 << bits) + 1005, writes=1005, fork_epoch=1, fork_sequence=0)
        backup = Progress(2, (2 << bits) + 500, writes=500, fork_epoch=1)
        backup = replace(backup, fork_sequence=(1 << bits) + 1000)
        assert writes_since_fork(primary, backup) == (5, 500)
        assert resolve(BACKUP, backup, PeerState(PRIMARY, State.ACTIVE, primary)) is (
            Event.PEER_ACTIVE_LOSES
        )
        assert diverged_since(primary, backup) == backup.fork_sequence
        assert diverged_since(backup, primary) == backup.fork_sequence
        gone_on = replace(primary, epoch=5, fork_sequence=1 << bits)  # it began with nothing
        assert writes_since_fork(gone_on, backup) == (5, 500)
        assert diverged_since(backup, gone_on) == backup.fork_sequence

    def test_bs_3_who_yields_to_an_old_copy_by_an_operators_word_gives_up_what_that_lacks(
        self,
    ):
        bits = COUNTER_BITS
        own = Progress(3, (3 << bits) + 9, writes=9, fork_epoch=2, fork_sequence=(2 << bits) + 100)
        old = Progress(4, 4 << bits, fork_epoch=1, fork_sequence=(1 << bits) + 60)
        assert diverged_since(own, old) == old.fork_sequence
        assert diverged_since(own, Progress(4, 4 << bits)) == 0  # one that has nothing
        assert diverged_since(own, old, leads=False) == own.fork_sequence

    def test_bs_3_f1_the_side_with_fewer_writes_since_the_fork_yields_and_reports(self):
        pair = Conflict(primary_writes=5, backup_writes=9)
        pair.meet(0.9)
        at_primary = pair.tell(pair.backup, pair.primary, 1.0)
        assert pair.states == (State.SYNCING, State.ACTIVE)
        assert at_primary == [
            Transition(State.ACTIVE, State.SYNCING, Event.PEER_ACTIVE_WINS, 1),
            ReportConflict(won=False, own_writes=5, peer_writes=9, own_epoch=1, peer_epoch=2),
            BecomePassive(diverged_since=100),
            SendHeartbeat(),
        ]

    def test_bs_3_f2_the_incumbent_with_more_writes_goes_on_in_a_higher_epoch(self):
        pair = Conflict(primary_writes=9, backup_writes=5)
        pair.meet(0.9)
        at_primary = pair.tell(pair.backup, pair.primary, 1.0)
        assert at_primary == [
            ReportConflict(won=True, own_writes=9, peer_writes=5, own_epoch=1, peer_epoch=2),
            BecomeActive(3),
            SendHeartbeat(),
        ]
        assert pair.states == (State.ACTIVE, State.ACTIVE)
        at_backup = pair.tell(pair.primary, pair.backup, 1.1)
        assert pair.states == (State.ACTIVE, State.SYNCING)
        assert BecomePassive(diverged_since=100) in at_backup
        assert pair.primary.epoch == 3

    def test_of_equal_writes_the_later_epoch_wins(self):
        pair = Conflict(primary_writes=5, backup_writes=5)
        pair.meet(0.9)
        pair.tell(pair.backup, pair.primary, 1.0)
        assert pair.states == (State.SYNCING, State.ACTIVE)

    def test_of_equal_writes_and_epochs_the_primary_wins(self):
        primary = server(PRIMARY, Progress(2, 0, 5), state=State.ACTIVE)
        backup = server(BACKUP, Progress(2, 0, 5), state=State.ACTIVE)
        for _ in range(2):
            backup.receive_peer_state(primary.heartbeat_frame(), 1.0)
            assert backup.state is State.ACTIVE
            primary.receive_peer_state(backup.heartbeat_frame(), 1.0)
        backup.receive_peer_state(primary.heartbeat_frame(), 1.0)
        assert (primary.state, backup.state) == (State.ACTIVE, State.SYNCING)

    def test_the_one_that_does_not_decide_goes_on_until_the_other_has(self):
        pair = Conflict(primary_writes=9, backup_writes=5)
        frame = pair.primary.heartbeat_frame()
        for _ in range(3):
            assert pair.backup.receive_peer_state(frame, 1.0) == [SendHeartbeat()]
        assert pair.backup.state is State.ACTIVE

    @given(st.integers(0, 20), st.integers(0, 20), st.lists(st.booleans(), min_size=4, max_size=12))
    @settings(deadline=None)
    def test_bs_3_a_healed_partition_ends_with_one_active(self, mine, theirs, order):
        # Heartbeats arrive in any interleaving; both directions work again in the end.
        pair = Conflict(mine, theirs)
        now = 1.0
        for to_backup in [*order, True, False, True, False, True, False]:
            now += 0.1
            for star in (pair.primary, pair.backup):
                star.tick(now)
            source, target = (
                (pair.primary, pair.backup) if to_backup else (pair.backup, pair.primary)
            )
            pair.tell(source, target, now)
        expected = State.ACTIVE if mine > theirs else State.SYNCING
        assert pair.states[0] is expected
        assert pair.states.count(State.ACTIVE) == 1


class TestStall:
    def test_bs_11_f6_an_active_that_stood_still_asks_before_it_serves(self):
        star = server(PRIMARY, Progress(1, 9), state=State.ACTIVE)
        star.receive_peer_state(beat(BACKUP, State.PASSIVE, Progress(1, 9)), 1.0)
        effects = star.tick(4.0)
        assert effects == [SuspendService(), SendHeartbeat()]
        assert not star.serving
        assert star.receive_client_request(4.0) == [RefuseRequest()]

    def test_it_goes_on_when_a_fresh_heartbeat_says_that_nothing_happened(self):
        star = server(PRIMARY, Progress(1, 9), state=State.ACTIVE)
        star.receive_peer_state(beat(BACKUP, State.PASSIVE, Progress(1, 9)), 1.0)
        star.tick(4.0)
        PeerState.decode(star.heartbeat_frame())
        old = beat(BACKUP, State.PASSIVE, Progress(1, 9), heard=0)
        assert star.receive_peer_state(old, 4.1) == []
        assert not star.serving
        fresh = beat(BACKUP, State.PASSIVE, Progress(1, 9), heard=1)
        assert star.receive_peer_state(fresh, 4.2) == [ResumeService()]
        assert star.serving

    def test_it_yields_when_the_peer_has_taken_over_meanwhile(self):
        star = server(PRIMARY, Progress(1, 9), state=State.ACTIVE)
        star.receive_peer_state(beat(BACKUP, State.PASSIVE, Progress(1, 9)), 1.0)
        star.tick(4.0)
        star.heartbeat_frame()
        newer = beat(BACKUP, State.ACTIVE, Progress(2, 3, 3, 1, 9), heard=1)
        effects = star.receive_peer_state(newer, 4.2)
        assert star.state is State.SYNCING
        assert kinds(effects) == [Transition, ReportConflict, BecomePassive, SendHeartbeat]

    def test_it_goes_on_when_the_peer_does_not_answer(self):
        star = server(PRIMARY, Progress(1, 9), state=State.ACTIVE)
        star.receive_peer_state(beat(), 1.0)
        star.tick(4.0)
        assert ResumeService() not in star.tick(5.9)
        assert ResumeService() in star.tick(6.0)
        assert star.receive_client_request(6.0) == [ServeRequest()]

    def test_it_serves_nobody_while_it_hears_that_it_was_replaced_however_late_the_answer_is(self):
        """The way there and back took longer than the timeout (mixed, 11204745)."""
        star = server(PRIMARY, Progress(1, 9), state=State.ACTIVE)
        star.receive_peer_state(beat(BACKUP, State.PASSIVE, Progress(1, 9)), 1.0)
        star.tick(4.0)
        star.heartbeat_frame()
        leads = beat(BACKUP, State.ACTIVE, Progress(2, 1, 1, 1, 9), heard=0)
        star.receive_peer_state(leads, 5.5)
        assert ResumeService() not in star.tick(6.0) and not star.serving
        star.receive_peer_state(leads, 6.5)
        assert not star.serving
        effects = [each for tenth in range(66, 86) for each in star.tick(tenth / 10)]
        assert ResumeService() in effects and star.serving  # it is gone

    def test_a_passive_that_stood_still_does_not_take_its_own_silence_for_the_peers(self):
        star = server(BACKUP, state=State.PASSIVE)
        star.receive_peer_state(beat(PRIMARY, State.ACTIVE), 1.0)
        assert star.receive_client_request(9.0) == [SendHeartbeat(), RefuseRequest()]
        assert star.state is State.PASSIVE

    def test_a_heartbeat_that_waited_through_a_stall_promotes_nobody(self):
        star = server(PRIMARY, Progress(1, 9), state=State.PASSIVE)
        star.receive_peer_state(beat(BACKUP, State.ACTIVE, beat=1), 1.0)
        stale = beat(BACKUP, State.PASSIVE, Progress(1, 5), beat=2)
        star.receive_peer_state(stale, 9.0)
        assert star.state is State.PASSIVE

    def test_a_server_that_stood_still_at_its_start_listens_before_it_leads(self):
        star = server(PRIMARY)
        assert star.receive_client_request(9.0) == [RefuseRequest()]
        star.tick(10.0)
        assert ServeRequest() in star.receive_client_request(11.0)

    def test_an_active_server_that_stood_still_before_it_ever_heard_its_peer_asks(self):
        """The peer may have heard it, followed, and replaced it by then (mixed, 11270755)."""
        star = server(PRIMARY, Progress(1, 9), state=State.ACTIVE)
        assert star.receive_client_request(60.0) == [
            SuspendService(),
            SendHeartbeat(),
            RefuseRequest(),
        ]
        leads = beat(BACKUP, State.ACTIVE, Progress(2, 1, 1, 1, 9), heard=0)
        star.receive_peer_state(leads, 60.1)
        assert not star.serving

    def test_what_its_peer_has_heard_of_a_process_before_is_no_answer(self):
        """That had sent more heartbeats than this one (mixed, 11761725)."""
        star = server(PRIMARY, Progress(2, 9), state=State.ACTIVE)
        star.receive_peer_state(beat(BACKUP, State.PASSIVE, Progress(2, 9)), 1.0)
        star.tick(9.0)
        asked = PeerState.decode(star.heartbeat_frame()).beat
        star.receive_peer_state(beat(BACKUP, State.PASSIVE, Progress(2, 9), heard=asked + 20), 9.1)
        assert not star.serving
        star.receive_peer_state(beat(BACKUP, State.PASSIVE, Progress(2, 9), heard=asked), 9.2)
        assert star.serving

    def test_nor_is_what_it_has_heard_of_one_that_had_sent_less(self):
        star = server(PRIMARY, Progress(2, 9), state=State.ACTIVE, beats_from=5_000)
        star.receive_peer_state(beat(BACKUP, State.PASSIVE, Progress(2, 9)), 1.0)
        star.tick(9.0)
        asked = PeerState.decode(star.heartbeat_frame()).beat
        assert asked == 5_001
        for heard in (1, 2, 4_999):
            star.receive_peer_state(beat(BACKUP, State.PASSIVE, Progress(2, 9), heard=heard), 9.1)
            assert not star.serving
        star.receive_peer_state(beat(BACKUP, State.PASSIVE, Progress(2, 9), heard=asked), 9.2)
        assert star.serving
        assert star.statistics().heartbeats_sent == 1

    def test_a_lone_server_that_stood_still_serves_again_after_the_timeout(self):
        star = server(PRIMARY, Progress(1, 9), state=State.ACTIVE)
        star.tick(60.0)
        assert ResumeService() in star.tick(62.0)
        assert star.receive_client_request(62.0) == [ServeRequest()]

    def test_an_operator_ends_the_check(self):
        star = server(BACKUP, state=State.PASSIVE)
        star.receive_peer_state(beat(PRIMARY, State.ACTIVE), 1.0)
        star.tick(9.0)
        star.promote(9.1)
        assert star.serving

    def test_f6_an_active_whose_heartbeat_is_overdue_asks_even_after_a_shorter_pause(self):
        """The peer counts from the last heartbeat; our pause began almost one interval later."""
        star = server(PRIMARY, Progress(1, 9), state=State.ACTIVE)
        star.receive_peer_state(beat(BACKUP, State.PASSIVE, Progress(1, 9)), 0.9)
        assert star.receive_client_request(2.1) == [
            SuspendService(),
            SendHeartbeat(),
            RefuseRequest(),
        ]

    def test_f6_a_passive_hears_what_waited_through_a_pause_before_it_takes_over(self):
        star = server(BACKUP, state=State.PASSIVE)
        star.receive_peer_state(beat(PRIMARY, State.ACTIVE), 0.9)
        assert star.receive_client_request(2.9) == [RefuseRequest()]
        star.receive_peer_state(beat(PRIMARY, State.ACTIVE), 2.9)
        assert star.receive_client_request(3.5) == [RefuseRequest()]


class TestGone:
    def test_a_passive_replaces_a_peer_whose_process_has_ended_without_a_vote(self):
        star = server(BACKUP, Progress(4, 9), state=State.PASSIVE)
        star.receive_peer_state(beat(PRIMARY, State.ACTIVE, Progress(4, 9)), 1.0)
        assert star.receive_peer_gone(1.2, 1.201) == [
            Transition(State.PASSIVE, State.ACTIVE, Event.PEER_GONE, 5),
            BecomeActive(5),
            SendHeartbeat(),
        ]
        assert star.status(1.3).peer_gone

    def test_f9_an_incomplete_copy_does_not(self):
        star = server(BACKUP, state=State.SYNCING)
        star.receive_peer_state(beat(PRIMARY, State.ACTIVE), 1.0)
        assert star.receive_peer_gone(1.2, 1.201) == []

    def test_a_peer_that_was_heard_since_is_not_gone(self):
        star = server(BACKUP, state=State.PASSIVE)
        star.receive_peer_state(beat(PRIMARY, State.ACTIVE), 1.0)
        assert star.receive_peer_gone(0.9, 1.1) == []
        assert star.receive_client_request(1.2) == [RefuseRequest()]

    def test_a_peer_that_was_never_heard_is_not_gone(self):
        star = server(PRIMARY)
        assert star.receive_peer_gone(0.5, 0.6) == []
        assert star.receive_client_request(0.7) == [RefuseRequest()]

    def test_a_starting_primary_need_not_wait_for_it(self):
        star = server(PRIMARY)
        star.receive_peer_state(beat(BACKUP, State.SYNCING, Progress(1, 9)), 1.0)
        star.receive_peer_gone(1.1, 1.2)
        assert star.state is State.STARTING_PRIMARY
        assert ServeRequest() in star.receive_client_request(1.3)

    def test_a_peer_that_is_heard_again_is_there(self):
        star = server(BACKUP, state=State.PASSIVE)
        star.receive_peer_state(beat(PRIMARY, State.ACTIVE), 1.0)
        star.receive_peer_gone(1.1, 1.2)
        star.receive_peer_state(beat(PRIMARY, State.STARTING_PRIMARY), 1.5)
        assert not star.status(1.5).peer_gone
        assert star.state is State.ACTIVE

    def test_a_server_that_checks_its_peer_takes_the_answer_of_the_host(self):
        star = server(BACKUP, state=State.PASSIVE)
        star.receive_peer_state(beat(PRIMARY, State.ACTIVE), 1.0)
        star.tick(9.0)
        star.receive_peer_gone(9.1, 9.2)
        assert star.serving


class TestHandover:
    def pair(self, backup=(1, 9)):
        self.progress = {PRIMARY: Progress(1, 9, writes=9), BACKUP: Progress(*backup)}
        active, passive = (
            BinaryStarProtocol(
                role, progress=lambda role=role: self.progress[role], replicates=True
            )
            for role in (PRIMARY, BACKUP)
        )
        active.state, passive.state = State.ACTIVE, State.PASSIVE
        for star in (active, passive):
            star.tick(0.0)
        passive.receive_peer_state(active.heartbeat_frame(), 0.1)
        active.receive_peer_state(passive.heartbeat_frame(), 0.1)
        return active, passive

    def test_the_passive_takes_over_and_nobody_reports_a_conflict(self):
        active, passive = self.pair()
        cause = Event.SWITCHOVER
        assert active.switchover(0.2) == [
            Transition(State.ACTIVE, State.LEAVING, cause, 1),
            SuspendService(),
            SendHeartbeat(),
        ]
        assert active.receive_client_request(0.2) == [RefuseRequest()]
        assert BecomeActive(2) in passive.receive_peer_state(active.heartbeat_frame(), 0.3)
        self.progress[BACKUP] = Progress(2, 10, 1, 1, 9)
        effects = active.receive_peer_state(passive.heartbeat_frame(), 0.4)
        assert BecomePassive(None) in effects
        assert not [effect for effect in effects if isinstance(effect, ReportConflict)]
        assert passive.serving and active.state is State.SYNCING

    def test_a_backup_that_hands_over_takes_an_equal_passive_primary_for_no_winner(self):
        """Its heartbeat was under way before it took over: nothing has been given up."""
        backup = server(BACKUP, Progress(2, 9, 9, 1, 3), state=State.ACTIVE)
        equal = beat(PRIMARY, State.PASSIVE, Progress(2, 9))
        backup.receive_peer_state(equal, 0.1)
        backup.switchover(0.2)
        effects = backup.receive_peer_state(equal, 0.3)
        assert backup.state is State.LEAVING
        assert not [each for each in effects if isinstance(each, (ReportConflict, BecomePassive))]

    def test_the_passive_waits_for_the_last_update(self):
        active, passive = self.pair(backup=(1, 8))
        active.switchover(0.2)
        assert passive.receive_peer_state(active.heartbeat_frame(), 0.2) == []
        assert active.tick(0.4) == [SendHeartbeat()]
        self.progress[BACKUP] = Progress(1, 9)
        passive.receive_peer_state(active.heartbeat_frame(), 0.4)
        assert passive.state is State.ACTIVE

    def test_an_order_that_waited_in_the_network_is_not_followed(self):
        """The active went on when nobody took over; what it said then is heard much later."""
        active, passive = self.pair()
        active.switchover(0.2)
        waiting = active.heartbeat_frame()
        for now in (1.1, 2.1, 3.1):
            for _ in passive.tick(now):
                passive.heartbeat_frame()
        assert passive.receive_peer_state(waiting, 3.2) == []
        self.progress[BACKUP] = Progress(1, 10)  # or it shows that updates have gone on
        active, passive = self.pair(backup=(1, 10))
        active.switchover(0.2)
        assert passive.receive_peer_state(active.heartbeat_frame(), 0.3) == []

    def test_a_handover_is_not_given_up_while_the_peer_is_checked(self):
        active, _ = self.pair()
        active.switchover(0.2)
        assert ResumeService() not in active.tick(5.0)
        assert not active.serving

    def test_the_active_goes_on_when_the_peer_does_not_take_over(self):
        active, _ = self.pair()
        active.switchover(0.2)
        for now in (0.7, 1.2, 1.7):
            assert active.tick(now) == [SendHeartbeat()]
        assert ResumeService() in active.tick(2.2)
        assert active.receive_client_request(2.2) == [ServeRequest()]

    @pytest.mark.parametrize("state", [State.SYNCING, State.ACTIVE, State.STARTING_BACKUP])
    def test_there_must_be_a_passive_peer(self, state):
        star = server(PRIMARY, state=State.ACTIVE)
        assert "nobody to hand over to" in star.handover_problem(0.1)
        star.receive_peer_state(beat(BACKUP, state), 0.2)
        star.state = State.ACTIVE
        assert "no complete copy" in star.handover_problem(0.3)
        assert star.switchover(0.3) == []
        assert star.state is State.ACTIVE

    def test_the_peer_must_be_heard(self):
        active, _ = self.pair()
        assert active.handover_problem(0.2) == ""
        assert "not heard" in active.handover_problem(2.2)

    def test_only_the_active_hands_over(self):
        _, passive = self.pair()
        assert "order it at the active one" in passive.handover_problem(0.2)

    def test_two_actives_are_a_conflict_also_while_one_hands_over(self):
        active, _ = self.pair()
        active.switchover(0.2)
        stranger = Progress(2, 5, 5, fork_epoch=1, fork_sequence=3)
        active.receive_peer_state(beat(BACKUP, State.ACTIVE, stranger), 0.3)
        heard = PeerState.decode(active.heartbeat_frame()).beat
        answer = beat(BACKUP, State.ACTIVE, stranger, heard=heard)
        effects = active.receive_peer_state(answer, 0.3)
        assert ReportConflict(True, 6, 5, 1, 2) in effects
        assert kinds(effects)[-3:] == [BecomeActive, ResumeService, SendHeartbeat]

    def test_a_promotion_at_the_passive_is_not_put_to_the_vote(self):
        active, passive = self.pair()
        self.progress[PRIMARY] = Progress(1, 99, 99)
        passive.promote(0.2)
        self.progress[BACKUP] = Progress(2, 2, 0, 1, 9)
        active.receive_peer_state(passive.heartbeat_frame(), 0.3)
        assert active.state is not State.ACTIVE and passive.serving


class TestTimings:
    def test_a_peer_with_other_timings_is_reported_once_in_a_while_and_shown(self):
        star = server(PRIMARY)
        other = beat(BACKUP, State.STARTING_BACKUP, interval_ms=500, timeout_ms=2000)
        (report,) = [e for e in star.receive_peer_state(other, 1.0) if type(e) is ReportMismatch]
        assert "1000 and 2000 ms here, 500 and 2000 ms at the peer" in report.mismatch
        assert star.status(1.0).mismatch == report.mismatch
        now, reports = 1.0, 0
        while now < 121.0:
            now += 0.5
            reports += ReportMismatch in kinds(star.receive_peer_state(other, now))
        assert reports == 2

    def test_it_is_over_when_the_peer_comes_back_with_the_same(self):
        star = server(PRIMARY)
        star.receive_peer_state(beat(BACKUP, State.STARTING_BACKUP, timeout_ms=9000), 1.0)
        star.receive_peer_state(beat(BACKUP, State.PASSIVE), 1.5)
        assert star.status(1.5).mismatch == ""

    def test_what_is_refused_is_shown_too(self):
        star = server(PRIMARY)
        with pytest.raises(MalformedHeartbeat):
            star.receive_peer_state(beat(PRIMARY), 1.0)
        assert star.status(1.0).mismatch == "both servers are configured as primary"


class TestStatus:
    def test_it_tells_role_state_epoch_sequence_and_peer_age(self):
        star = server(PRIMARY, Progress(3, 40), state=State.STARTING_PRIMARY)
        assert star.status(0.5).peer_age is None
        star.receive_peer_state(beat(BACKUP, State.SYNCING, Progress(2, 30)), 1.0)
        status = star.status(1.75)
        assert (status.role, status.state, status.epoch, status.sequence) == (
            PRIMARY,
            State.ACTIVE,
            4,
            40,
        )
        assert (status.peer_state, status.peer_epoch, status.peer_sequence) == (
            State.SYNCING,
            2,
            30,
        )
        assert (status.state_age, status.peer_age) == (0.75, 0.75)


class Pair:
    """Two servers and the frames between them, moved by hand."""

    def __init__(self, **progress):
        self.stars = {
            role: BinaryStarProtocol(
                role, progress=lambda role=role: progress.get(role.value, Progress())
            )
            for role in Role
        }

    def run(self, seconds, start=0.0, *, to_primary=True, to_backup=True):
        now = start
        while now < start + seconds:
            for role, peer, open_ in ((PRIMARY, BACKUP, to_backup), (BACKUP, PRIMARY, to_primary)):
                self._tick(self.stars[role], self.stars[peer], open_, now)
            now += 0.25
        return now

    def _tick(self, star, peer, open_, now):
        waiting = [(star, peer, effect) for effect in star.tick(now)]
        for _ in range(20):
            moved = []
            for source, target, effect in waiting:
                if isinstance(effect, SendHeartbeat):
                    frame = source.heartbeat_frame()
                    if open_ and source is star or target is star:
                        answers = target.receive_peer_state(frame, now)
                        moved += [(target, source, answer) for answer in answers]
            waiting = moved
            if not waiting:
                return
        raise AssertionError("the two servers never stop to answer each other")

    @property
    def states(self):
        return [self.stars[role].state for role in (PRIMARY, BACKUP)]


class TestPair:
    def test_a_pair_that_starts_has_the_primary_active(self):
        pair = Pair()
        pair.run(3.0)
        assert pair.states == [State.ACTIVE, State.PASSIVE]

    def test_the_backup_serves_when_the_primary_dies_and_goes_on_when_it_is_back(self):
        pair = Pair()
        now = pair.run(3.0)
        while now < 6.0:
            pair.stars[BACKUP].tick(now)
            now += 0.25
        assert ServeRequest() in pair.stars[BACKUP].receive_client_request(now)
        pair.stars[PRIMARY] = BinaryStarProtocol(PRIMARY)
        now = pair.run(3.0, now)
        assert pair.states == [State.PASSIVE, State.ACTIVE]
        assert pair.stars[BACKUP].epoch > 1

    def test_bs_3_bs_11_partition_and_heal_leave_exactly_one_active(self):
        pair = Pair()
        now = pair.run(3.0)
        now = pair.run(3.0, now, to_primary=False, to_backup=False)
        pair.stars[BACKUP].receive_client_request(now)
        assert pair.states == [State.ACTIVE, State.ACTIVE]
        pair.run(3.0, now)
        assert sorted(state.value for state in pair.states) == ["active", "passive"]

    def test_statistics_are_a_frozen_snapshot(self):
        pair = Pair()
        pair.run(3.0)
        numbers = pair.stars[PRIMARY].statistics()
        assert (numbers.state, numbers.epoch, numbers.serving) == (State.ACTIVE, 1, True)
        assert numbers.heartbeats_received > 0
        with pytest.raises(AttributeError):
            numbers.epoch = 2


def test_an_epoch_is_above_all_that_were_heard_from_a_peer_that_has_forgotten_them():
    """Found by `reactor simulate --scenario mixed --first 51`: two servers led in one epoch."""
    protocol = BinaryStarProtocol(PRIMARY, replicates=True)
    protocol.tick(0.0)
    for state, epoch in ((State.ACTIVE, 7), (State.STARTING_BACKUP, 0)):
        peer = PeerState(BACKUP, state, Progress(epoch=epoch))
        protocol.receive_peer_state(peer.encode(), 0.1)
    (lead,) = [each for each in protocol.promote(0.2) if isinstance(each, BecomeActive)]
    assert lead.epoch == 8


def test_a_server_ordered_to_lead_while_it_hands_over_leaves_the_next_epoch_to_its_peer():
    """The peer may begin it at this very moment."""
    own = Progress(epoch=7, sequence=1)
    star = server(progress=own)
    star.state = State.LEAVING
    star.receive_peer_state(beat(progress=own), 0.1)
    (lead,) = [each for each in star.promote(0.2) if isinstance(each, BecomeActive)]
    assert lead.epoch == 9
