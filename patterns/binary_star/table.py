"""The table of Binary Star: what an event does to a server in each of its states.

It is that of the Guide (chapter 4, High-Availability Pair), where nothing aborts, and SYNCING and
LEAVING are states of their own; an empty cell there is one that stays here.
"""

from __future__ import annotations

import enum
from typing import TypeAlias

from patterns.binary_star.messages import State


class Event(enum.Enum):
    """What can happen to a server of a pair, as the table sees it."""

    PEER_PRIMARY = "the peer is starting as primary"
    PEER_BACKUP = "the peer is starting as backup"
    PEER_ACTIVE = "the peer is active"
    PEER_ACTIVE_ANEW = "the peer is active and began with nothing, we hold what was before"
    PEER_ACTIVE_WINS = "both are active, the peer goes on"
    PEER_ACTIVE_LOSES = "both are active, we go on"
    PEER_ACTIVE_UNSURE = "both are active, the heartbeat may be old"
    PEER_ACTIVE_DECIDES = "both are active, the peer decides"
    PEER_PASSIVE = "the peer is passive"
    PEER_PASSIVE_AHEAD = "the peer is passive and holds more"
    PEER_SYNCING = "the peer has no complete copy"
    PEER_SYNCING_AHEAD = "the peer has no complete copy, but a newer one"
    PEER_LEAVING = "the peer hands over, and we lack what it holds"
    PEER_HANDS_OVER = "the peer hands over, and we hold all of it"
    PEER_GONE = "the peer's process has ended, its host says"
    REQUEST_PEER_FRESH = "a client asks, the peer is alive"
    REQUEST_PEER_SILENT = "a client asks, the peer is silent"
    REQUEST_UNCHECKED = "a client asks while the peer is checked"
    SYNCHRONISED = "our copy is complete"
    OUT_OF_SYNC = "our copy has a gap"
    PROMOTE = "the operator says so"
    SWITCHOVER = "the operator wants the peer to be active"
    HANDOVER_FAILED = "the peer has not taken over in time"


class Action(enum.Enum):
    """What a cell of the table has done, besides the change of state."""

    LEAD = "become active in a new epoch"
    FOLLOW = "become passive"
    SERVE = "serve the request"
    REFUSE = "refuse the request"
    REPORT_WON = "report a conflict that was won"
    REPORT_LOST = "report a conflict that was lost"
    ASK = "send a heartbeat at once"
    SUSPEND = "serve nobody for a moment"
    RESUME = "serve again"


_Cell: TypeAlias = tuple[State | None, tuple[Action, ...]]

_STAY: _Cell = (None, ())
_LEAD: _Cell = (State.ACTIVE, (Action.LEAD,))
_FOLLOW: _Cell = (State.SYNCING, (Action.FOLLOW,))
_TAKE_OVER: _Cell = (State.ACTIVE, (Action.LEAD, Action.SERVE))
_SERVE: _Cell = (None, (Action.SERVE,))
_REFUSE: _Cell = (None, (Action.REFUSE,))
_YIELD: _Cell = (State.SYNCING, (Action.REPORT_LOST, Action.FOLLOW))
_GO_ON: _Cell = (State.ACTIVE, (Action.REPORT_WON, Action.LEAD))
_COMPLETE: _Cell = (State.PASSIVE, ())
_INCOMPLETE: _Cell = (State.SYNCING, ())
_ASK: _Cell = (None, (Action.ASK,))
_LEAVE: _Cell = (State.LEAVING, (Action.SUSPEND,))
_STAY_ACTIVE: _Cell = (State.ACTIVE, (Action.RESUME,))
_LEAD_AGAIN: _Cell = (State.ACTIVE, (Action.LEAD, Action.RESUME))
_GO_ON_AGAIN: _Cell = (State.ACTIVE, (Action.REPORT_WON, Action.LEAD, Action.RESUME))

COLUMNS = (
    State.STARTING_PRIMARY,
    State.STARTING_BACKUP,
    State.ACTIVE,
    State.PASSIVE,
    State.SYNCING,
    State.LEAVING,
)
_ROWS: dict[Event, tuple[_Cell, _Cell, _Cell, _Cell, _Cell, _Cell]] = {
    #                          primary     backup   active   passive     syncing   leaving
    Event.PEER_PRIMARY: (_STAY, _STAY, _STAY, _LEAD, _STAY, _STAY_ACTIVE),
    Event.PEER_BACKUP: (_LEAD, _STAY, _STAY, _LEAD, _STAY, _STAY_ACTIVE),
    Event.PEER_ACTIVE: (_FOLLOW, _FOLLOW, _STAY, _STAY, _STAY, _FOLLOW),
    # It was started again, and could not hear us: two actives, and it is the one to yield. What we
    # hold, complete or not, is all there is.
    Event.PEER_ACTIVE_ANEW: (_FOLLOW, _FOLLOW, _STAY, _LEAD, _LEAD, _FOLLOW),
    Event.PEER_ACTIVE_WINS: (_STAY, _STAY, _YIELD, _STAY, _STAY, _YIELD),
    Event.PEER_ACTIVE_LOSES: (_STAY, _STAY, _GO_ON, _STAY, _STAY, _GO_ON_AGAIN),
    # What waited while the network was cut tells nothing of who has accepted more since.
    Event.PEER_ACTIVE_UNSURE: (_STAY, _STAY, _ASK, _STAY, _STAY, _ASK),
    Event.PEER_ACTIVE_DECIDES: (_STAY, _STAY, _ASK, _STAY, _STAY, _ASK),
    # A passive peer with the data takes over as soon as it hears that we are only starting.
    Event.PEER_PASSIVE: (_STAY, _STAY, _STAY, _LEAD, _STAY, _STAY),
    # Somebody was active after us: the peer takes over as soon as it hears that we follow.
    Event.PEER_PASSIVE_AHEAD: (_STAY, _STAY, _YIELD, _STAY, _STAY, _YIELD),
    # A peer that is syncing cannot lead. If it holds more than we who start with nothing, then
    # leading would replace its copy by an empty one: that is left to an operator.
    Event.PEER_SYNCING: (_LEAD, _LEAD, _STAY, _LEAD, _STAY, _STAY_ACTIVE),
    Event.PEER_SYNCING_AHEAD: (_STAY, _STAY, _LEAD, _LEAD, _STAY, _LEAD_AGAIN),
    Event.PEER_LEAVING: (_FOLLOW, _FOLLOW, _STAY, _STAY, _STAY, _STAY),
    Event.PEER_HANDS_OVER: (_FOLLOW, _FOLLOW, _STAY, _LEAD, _STAY, _STAY),
    # No client need ask first: its vote stands for the doubt whether a silent peer still serves
    # others, and there is none. A server that only starts does not know what the peer held.
    Event.PEER_GONE: (_STAY, _STAY, _STAY, _LEAD, _STAY, _STAY_ACTIVE),
    Event.REQUEST_PEER_FRESH: (_REFUSE, _REFUSE, _SERVE, _REFUSE, _REFUSE, _REFUSE),
    Event.REQUEST_PEER_SILENT: (_TAKE_OVER, _REFUSE, _SERVE, _TAKE_OVER, _REFUSE, _REFUSE),
    Event.REQUEST_UNCHECKED: (_REFUSE, _REFUSE, _REFUSE, _REFUSE, _REFUSE, _REFUSE),
    Event.SYNCHRONISED: (_STAY, _STAY, _STAY, _STAY, _COMPLETE, _STAY),
    Event.OUT_OF_SYNC: (_STAY, _STAY, _STAY, _INCOMPLETE, _STAY, _STAY),
    Event.PROMOTE: (_LEAD, _LEAD, _STAY, _LEAD, _LEAD, _LEAD_AGAIN),
    Event.SWITCHOVER: (_STAY, _STAY, _LEAVE, _STAY, _STAY, _STAY),
    Event.HANDOVER_FAILED: (_STAY, _STAY, _STAY, _STAY, _STAY, _STAY_ACTIVE),
}

TABLE: dict[tuple[State, Event], tuple[State, tuple[Action, ...]]] = {
    (state, event): (target or state, actions)
    for event, row in _ROWS.items()
    for state, (target, actions) in zip(COLUMNS, row, strict=True)
}


def as_markdown() -> str:
    """The table as `docs/binary_star.md` shows it: what each event does to each state."""
    rows = [["event", *(state.value for state in COLUMNS)], ["---"] * (len(COLUMNS) + 1)]
    rows += [[event.value, *(_cell(state, event) for state in COLUMNS)] for event in Event]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _cell(state: State, event: Event) -> str:
    target, actions = TABLE[state, event]
    words = [action.name.lower().replace("_", " ") for action in actions]
    return ", ".join([f"**{target.value}**", *words] if target is not state else words)
