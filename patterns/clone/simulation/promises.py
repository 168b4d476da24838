"""What the level `replicated` promises: what both servers held outlives any one of them.

A number is promised when a server says that its peer holds it too: to the writer who has asked, or
by publishing it where the policy is that all is held back until then.
"""

from __future__ import annotations

from patterns.clone.messages import epoch_of
from patterns.clone.simulation.history import Activity, Copy, Entry, History

# A server whose peer's machine is gone without a word notices it within this time, or later if
# something holds up what comes from it.
_NEWS_SECONDS = 3.0


def check_promises(history: History, last: Activity, now: float) -> None:
    """I6b: in the end no promise is broken."""
    reach = history.reach(last.sequence)
    for sequence, at in history.promised.items():
        held = sequence <= reach.get(epoch_of(sequence), 0)
        if not held and not why_gone(history, sequence):
            text = f"{_name(history, sequence)}, held by both servers at {at:.3f} s, is gone"
            history.violate("I6b", now, text)


def check_promotion(history: History, node: str, position: int, now: float) -> None:
    """I16: nobody leads with less than was promised, but with nothing, where nobody else is heard.

    `position` is the number up to which the server holds all.
    """
    reach = history.reach(position)
    for sequence in history.promised:
        if sequence <= reach.get(epoch_of(sequence), 0) or why_gone(history, sequence):
            continue
        if position or not _apart(history, node, now):
            text = f"{node} leads without {_name(history, sequence)}, which both servers held"
            history.violate("I16", now, text)
            return


def why_gone(history: History, sequence: int) -> str:
    """Why what both servers held is gone; "" if it is not, or must not be.

    Each copy of it has died with its server before another one was made: so both have, each within
    the other's recovery. None was given up for another history, but for that of a server which has
    lost its memory after its clock was set back: nothing tells its epochs from newer data.
    """
    died: set[str] = set()
    for copy in history.holders(sequence):
        if copy.died:
            died.add(copy.node)
        elif not _handed_on(history, copy, sequence):
            return _given_up_to_the_past(history, copy, sequence)
    return "both servers died with it" if len(died) > 1 else ""


def _given_up_to_the_past(history: History, copy: Copy, sequence: int) -> str:
    """Whether somebody began with nothing below the epoch of an update, as its clock went back."""
    below = any(
        activity.node in history.set_back
        and activity.node != copy.node
        and not activity.fork
        and activity.epoch < epoch_of(sequence)
        and copy.ended is not None
        and activity.began < copy.ended
        for activity in history.activities
        if activity.began > history.by_epoch[epoch_of(sequence)].began
    )
    return "its copy was given up to a server whose clock was set back" if below else ""


def peer_holds(history: History, node: str, sequence: int, now: float) -> bool:
    """Whether the other server holds an update, or has just died with it."""
    return any(
        copy.node != node
        and (
            copy.ended is None
            or _handed_on(history, copy, sequence)
            or (copy.died and _may_not_know(history, node, copy, now))
        )
        for copy in history.holders(sequence)
    )


def _may_not_know(history: History, node: str, copy: Copy, now: float) -> bool:
    """Whether news of the peer's death may still be under way, or what it said before."""
    assert copy.ended is not None
    return now < copy.ended + _NEWS_SECONDS or any(
        {*nodes} <= {node, copy.node}
        and (kind in ("cut", "slow", "trickle") or (kind == "pause" and node in nodes))
        and begin <= now <= end + _NEWS_SECONDS
        for begin, end, kind, nodes in history.faults
    )


def _handed_on(history: History, copy: Copy, sequence: int) -> bool:
    """Whether a copy has ended, and the one that its server holds in its place has the update."""
    if copy.ended is None:
        return False
    later = iter([each for each in history.copies if each.node == copy.node])
    next(each for each in later if each is copy)
    heir = next(later, None)
    return heir is not None and history.holds(heir.store.sequence, sequence)


def _apart(history: History, node: str, now: float) -> bool:
    """Whether something other than its own restart keeps a server from hearing its peer."""
    return any(
        begin <= now <= end + 6.0 and not (kind in ("crash", "power") and nodes == (node,))
        for begin, end, kind, nodes in history.separations()
    )


def entry_of(history: History, sequence: int) -> Entry:
    """The update that has a number."""
    activity = history.by_epoch[epoch_of(sequence)]
    return next(entry for entry in activity.entries if entry.sequence == sequence)


def _name(history: History, sequence: int) -> str:
    entry = entry_of(history, sequence)
    write = history.writes.get(entry.uuid)
    whose = f"{write.client}'s write" if write is not None else "an update"
    return f"{whose} {sequence:x} of {entry.key!r}"
