"""What a server lets go, against the history: an update too soon, a refusal without a cause."""

from __future__ import annotations

from itertools import takewhile

from patterns.clone.conditions import CONFLICT
from patterns.clone.duplicates import SUPERSEDED
from patterns.clone.levels import REPLICATED, UNREPLICATED
from patterns.clone.replication import Replication
from patterns.clone.simulation.history import Activity, History, Write

# What hides from a server that the other one has taken over is noticed within this time after it.
_NOTICE_SECONDS = 6.0
# That it leads is a heartbeat's way there, over a slow link perhaps.
_NEWS_SECONDS = 2.5


def is_replaced(history: History, activity: Activity, now: float) -> bool:
    """Whether the other server leads since, and neither a cut link nor a pause of it hides that.

    A slow link does not, unless that one began with nothing under it, since it had not heard this
    one: only a question and its answer tell then which of them yields. A server that stood still
    itself has to ask before it lets anything go.
    """
    later = takewhile(lambda each: each is not activity, reversed(history.activities))
    leading = [
        each
        for each in later
        if each.node != activity.node and each.ended is None and each.began + _NEWS_SECONDS < now
    ]
    rivals = {each.node for each in leading}
    return bool(rivals) and not any(
        begin <= now <= end + _NOTICE_SECONDS
        and (
            (kind in ("cut", "trickle") and {*nodes} <= {activity.node, *rivals})
            or (kind == "pause" and {*nodes} <= rivals)
            or (kind == "slow" and {*nodes} == {activity.node, *rivals})
            and all(not each.fork and begin <= each.began <= end for each in leading)
        )
        for begin, end, kind, nodes in history.faults
    )


def asks_for_a_copy(history: History, uuid: bytes) -> bool:
    """Whether the writer of this update has asked for it to be replicated."""
    write = history.writes.get(uuid)
    return write is not None and write.level == REPLICATED


def has_to_refuse(history: History, uuid: bytes, link: Replication) -> bool:
    """Whether a client's update must get no number now, for want of a passive server."""
    to_be_replicated = link.policy.level == REPLICATED or asks_for_a_copy(history, uuid)
    return link.refuses and uuid in history.writes and to_be_replicated


_BROKEN_BY = {CONFLICT: "I22", UNREPLICATED: "I21", SUPERSEDED: "I8"}


def broken_by_refusal(
    history: History, uuid: bytes, reason: str, link: Replication, *, was_late: bool = False
) -> str:
    """The invariant that a server breaks as it refuses an update; "" if there is a cause.

    Its peer follows it by `link`, and `was_late` at this very instant. A map is never full in a
    run. What a condition met, nobody knows any more when the refusal leaves: another update may
    have been ordered since, or the other server have refused it.
    """
    write = history.writes.get(uuid)
    if write is None:
        return ""
    causes = {
        CONFLICT: write.compares,
        UNREPLICATED: link.refuses or (was_late and link.policy.refuses),
        SUPERSEDED: _is_superseded(history, write),
    }
    return "" if causes.get(reason) else _BROKEN_BY.get(reason, "I11")


def _is_superseded(history: History, write: Write) -> bool:
    """Whether a later write of this client to this key has been given a number."""
    later = {
        uuid
        for uuid, each in history.writes.items()
        if (each.client, each.key) == (write.client, write.key) and each.number > write.number
    }
    return any(entry.uuid in later for activity in history.activities for entry in activity.entries)
