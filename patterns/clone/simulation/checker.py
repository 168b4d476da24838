"""The checks at the end of a run, over its whole history; see docs/guarantees.md."""

from __future__ import annotations

from collections.abc import Iterator

from patterns.clone.messages import epoch_of
from patterns.clone.simulation.history import DRIFT, Activity, Entry, Fault, History, Write
from patterns.clone.simulation.promises import check_promises, why_gone

# How long two servers may both be active after whatever kept them apart has ended.
DETECTION_SECONDS = 6.0
# After the last fault, writers have an active server again by then, and that a passive one.
RECOVERY_SECONDS = 6.0
# If the snapshot for that one was lost, it says so after a heartbeat and five seconds.
LOST_SNAPSHOT_SECONDS = 0.5
# After an outage that an operator has ended: clients pause ever longer while there is nobody.
COMEBACK_SECONDS = 20.0
# What a server has accepted its peer knows by then, of two actives that hear each other again; or
# later, over a slow link.
DECISION_SECONDS = 1.5
SLOW_SECONDS = 1.0
# An update that only the active had when it died: so long may replication have taken.
REPLICATION_SECONDS = 1.0
# A ttl is kept to the second in snapshots; then expiry, a failover, and what a fault held up.
EXPIRY_GRACE_SECONDS = 15.0


def check(history: History, last: Activity, healed_at: float, now: float) -> int:
    """Check a history that has ended with the activity `last`, healed since `healed_at`.

    Returns how many acknowledged writes are gone for a reason that counts: see `_excuse`.
    """
    entries = history.lineage(last)
    _check_order(history, entries)
    _check_fold(history, last, entries, now)
    _check_expiry(history, last, entries, healed_at, now)
    _check_overlaps(history, now)
    _check_journal(history)
    _check_winners(history)
    _check_answers(history)
    check_promises(history, last, now)
    _check_refusals(history, entries)
    return _check_acknowledged(history, entries)


def _check_order(history: History, entries: list[Entry]) -> None:
    """I1, I4, I7, I8, I22: numbers grow, nothing is applied unasked, twice, or in another order,

    nor over something else than its writer has seen.
    """
    seen: set[bytes] = set()
    holder: dict[bytes, bytes] = {}
    newest: dict[tuple[str, int, bytes], Write] = {}
    previous = 0
    for entry in entries:
        if entry.sequence <= previous:
            history.violate("I1", entry.at, f"{entry.sequence:x} follows {previous:x}")
        previous = entry.sequence
        if entry.uuid in seen:
            history.violate("I7", entry.at, f"{entry.key!r} is written twice by one update")
        seen.add(entry.uuid)
        over = holder.pop(entry.key, b"")
        if entry.body:
            holder[entry.key] = entry.uuid
        write = history.writes.get(entry.uuid)
        if write is None:
            if not entry.expiry:
                history.violate("I4", entry.at, f"nobody wrote what {entry.key!r} has")
            continue
        if write.compares and write.seen != over:
            text = f"{write.client}'s write on condition of {entry.key!r} meets another value"
            history.violate("I22", entry.at, text)
        place = (write.client, write.life, write.key)
        later = newest.setdefault(place, write)
        if write.number >= later.number:
            newest[place] = write
        else:
            history.violate("I8", entry.at, f"{write.client} wrote {write.key!r} in another order")


def _check_fold(history: History, last: Activity, entries: list[Entry], now: float) -> None:
    """I4: the map of the last active is what its updates make of nothing."""
    fold: dict[bytes, bytes] = {}
    for entry in entries:
        fold.pop(entry.key, None)
        if entry.body:
            fold[entry.key] = entry.body
    if fold != last.map:
        history.violate("I4", now, f"the updates make {fold}, the server holds {last.map}")


def _check_expiry(
    history: History, last: Activity, entries: list[Entry], healed_at: float, now: float
) -> None:
    """I12: nothing expires early, and nothing stays for long after its time."""
    held: dict[bytes, Entry] = {}
    for entry in entries:
        before = held.pop(entry.key, None)
        if entry.body:
            held[entry.key] = entry
        if before is not None:
            _check_lifetime(history, before, entry)
    for key, entry in held.items():
        over = max(entry.at + entry.ttl, healed_at) + EXPIRY_GRACE_SECONDS
        if entry.ttl and now > over and key in last.map:
            history.violate("I12", now, f"{key!r} should have expired by {over:.3f} s")


def _check_lifetime(history: History, before: Entry, entry: Entry) -> None:
    """I12: of a value that expires, or is there until something else comes in its place."""
    lived = entry.at - before.at
    if entry.expiry and (not before.ttl or lived < before.ttl * (1 - DRIFT) - history.slack):
        text = f"{entry.key!r} expired after {lived:.3f} of {before.ttl} s"
        history.violate("I12", entry.at, text)
    due = before.at + before.ttl * (1 + DRIFT)
    late = before.ttl and entry.at > due + EXPIRY_GRACE_SECONDS
    waited = _stood_still(history, before.at, due)  # at a passive server, which counts from then
    if late and _led(history, due, entry.at) > EXPIRY_GRACE_SECONDS + waited:
        text = f"{entry.key!r} was there for {lived:.3f} of {before.ttl} s"
        history.violate("I12", entry.at, text)


def _led(history: History, begin: float, end: float) -> float:
    """For how many seconds some server led; one that stood still lets nothing expire."""
    seconds, until = 0.0, begin
    for activity in history.activities:
        ended = end if activity.ended is None else min(activity.ended, end)
        seconds += max(0.0, ended - max(activity.began, until))
        until = max(until, ended)
    return seconds - _stood_still(history, begin, end)


def _stood_still(history: History, begin: float, end: float) -> float:
    """For how many seconds a server stood still."""
    pauses = (fault for fault in history.separations() if fault[2] == "pause")
    return sum(max(0.0, min(fault[1], end) - max(fault[0], begin)) for fault in pauses)


def _check_overlaps(history: History, now: float) -> None:
    """I2': two servers are active only while something keeps them apart, and shortly after."""
    activities, separations = history.activities, history.separations()
    for number, one in enumerate(activities):
        for other in activities[number + 1 :]:
            begin = max(one.began, other.began)
            end = min(one.ended or now, other.ended or now)
            for since, until in one.absences:
                if since <= begin < until:
                    begin = until
            if one.node == other.node or end <= begin:
                continue
            if end > _excused_until(separations, begin):
                text = f"{one.node} and {other.node} are both active from {begin:.3f} s"
                history.violate("I2'", end, text)


def _excused_until(separations: list[Fault], begin: float) -> float:
    """The last instant, from `begin` on, up to which some fault excuses two actives."""
    near = any(since <= begin <= until + DETECTION_SECONDS for since, until, *_ in separations)
    until = begin + DETECTION_SECONDS if near else begin
    for fault_begin, fault_end, *_ in separations:
        if fault_begin <= max(until, begin) and fault_end > begin:
            until = max(until, fault_end + DETECTION_SECONDS)
    return until


def _kept_apart(history: History, activity: Activity) -> bool:
    """Whether anything kept the servers apart up to when this activity was given up."""
    assert activity.yielded is not None
    since = activity.began - DETECTION_SECONDS
    return any(
        begin <= activity.yielded and end >= since for begin, end, *_ in history.separations()
    )


def _check_journal(history: History) -> None:
    """I15: what a server gave up for its peer's history, it has reported.

    That is the newest of each key: it may have been active in several epochs until it yielded.
    """
    for (node, at), losers in _yields(history).items():
        kept = {
            entry.uuid for loser in losers for entry in history.lineage(history.winner_over(loser))
        }
        reported = {uuid for loser in losers for uuid in loser.reported}
        newest = {entry.key: entry for loser in losers for entry in loser.entries}
        for entry in newest.values():
            given_up = entry.uuid not in kept and entry.uuid in history.writes
            if given_up and entry.uuid not in reported:
                history.violate("I15", at, f"{node} has given up {entry.key!r} without a word")


def _yields(history: History) -> dict[tuple[str, float], list[Activity]]:
    """Who has yielded, and when, to what it gave up then."""
    yields: dict[tuple[str, float], list[Activity]] = {}
    for activity in history.activities:
        if activity.yielded is not None:
            yields.setdefault((activity.node, activity.yielded), []).append(activity)
    return yields


def _check_winners(history: History) -> None:
    """I15: of two actives the one that has accepted more goes on, as far as each could know.

    Who began with nothing yields, whatever it has accepted since. And who goes on may count what
    it let expire.
    """
    for (node, at), losers in _yields(history).items():
        rival = _rival(history, node, at)
        if rival is None or _began_anew(history, losers[0], rival):
            continue
        if rival.node in history.set_back and history.began_below(rival.node, losers[-1]):
            continue  # and went on in a newer epoch, of which a client knew
        ours, theirs = history.reach(losers[-1].sequence), history.reach(rival.sequence)
        lost = _accepted(history, ours, theirs, _known_until(history, rival, at))
        kept = _accepted(history, theirs, ours, at, own=True)
        if lost > kept:
            text = f"{node} has accepted {lost} updates, and yields to who has {kept}"
            history.violate("I15", at, text)


def _rival(history: History, node: str, at: float) -> Activity | None:
    """The other server's activity at an instant; None if it leads only afterwards."""
    rivals = (
        each
        for each in reversed(history.activities)
        if each.node != node and each.began < at and (each.ended is None or each.ended >= at)
    )
    return next(rivals, None)


def _began_anew(history: History, activity: Activity, rival: Activity) -> bool:
    """Whether a server began with nothing, and the other one with data that is not of it."""
    anew = rival.fork and not activity.fork
    return bool(anew) and activity.epoch not in history.reach(rival.sequence)


def _known_until(history: History, rival: Activity, at: float) -> float:
    """What a server has accepted by this instant counts, where one yields to the other.

    That was settled as the winner went on in another epoch, if they heard each other then.
    """
    apart = [(kind, begin, end) for begin, end, kind, _ in history.separations()]
    goes_on = any(
        each.node == rival.node and each.ended == rival.began for each in history.activities
    )
    if goes_on and not any(begin <= rival.began <= end for _, begin, end in apart):
        at = rival.began
    late = [
        begin if kind == "trickle" else at - SLOW_SECONDS
        for kind, begin, end in apart
        if kind in ("slow", "trickle") and begin <= at <= end + SLOW_SECONDS
    ]
    return min([at, *late]) - DECISION_SECONDS


def _accepted(
    history: History,
    ours: dict[int, int],
    theirs: dict[int, int],
    until: float,
    *,
    own: bool = False,
) -> int:
    """How many updates a server had of those that the other one had not: clients', or all.

    Of each epoch both had all up to a number: see `History.reach`.
    """
    return sum(
        theirs.get(epoch, 0) < entry.sequence <= last
        and entry.at <= until
        and (own or entry.uuid in history.writes)
        for epoch, last in ours.items()
        if theirs.get(epoch, 0) < last and epoch in history.by_epoch
        for entry in history.by_epoch[epoch].entries
    )


_GIVEN_UP = ("timeout", "unsupported", "applied", "unreplicated", "full")


def _check_answers(history: History) -> None:
    """I11: a write is acknowledged, at its level, not given up, with nothing wrong.

    What is wrong is a fault, or an outage that it takes an operator to end.
    """
    for write in history.writes.values():
        if write.reason not in _GIVEN_UP or write.answered is None:
            continue
        begin, end = write.invoked, write.answered
        waited = any(
            since <= end and until >= begin - COMEBACK_SECONDS for since, until in history.outages
        )
        wrong = (
            history.concerns_servers(each) or each[2] == "switchover" or write.client in each[3]
            for each in _between(history, begin - RECOVERY_SECONDS - LOST_SNAPSHOT_SECONDS, end)
            if each[2] not in ("clock", "junk")
            and (each[2] == "drop" or each[1] >= begin - RECOVERY_SECONDS)
        )
        if not waited and not any(wrong):
            text = f"{write.client}'s write of {write.key!r} was given up, with nothing wrong"
            history.violate("I11", write.answered, text)


def check_callers(history: History) -> None:
    """I11: in the end every caller has been told what came of its write."""
    for write in history.writes.values():
        if not write.told:
            text = f"{write.client}'s write of {write.key!r} never ends for its caller"
            history.violate("I11", write.invoked, text)


def _check_acknowledged(history: History, entries: list[Entry]) -> int:
    """I6a, I5: an acknowledged write is there, or was, or is lost for a reason that counts.

    That it is overwritten by now says nothing: nine writes of ten are, in the end.
    """
    lost = 0
    numbers = {entry.sequence for entry in entries}
    for write in history.writes.values():
        sequence = write.applied if write.sequence is None else write.sequence
        if sequence is None or sequence in numbers:
            continue
        lost += 1
        if not _excuse(history, write.key, sequence):
            name = "I5" if not write.body else "I6a"
            text = f"{write.client}'s write of {write.key!r}, acknowledged, is gone"
            history.violate(name, write.answered or 0.0, text)
    return lost


def _check_refusals(history: History, entries: list[Entry]) -> None:
    """I21: what was refused is not applied, unless nobody knows of who refused it."""
    for entry in entries:
        if entry.uuid not in history.refused:
            continue
        activity, at = history.refused[entry.uuid]
        lost = _lost_conflict(history, activity) or _excuse_for_death(history, activity, at)
        if not lost:
            text = f"{entry.key!r} has what {activity.node} had refused at {at:.3f} s"
            history.violate("I21", entry.at, text)


def _lost_conflict(history: History, activity: Activity) -> bool:
    """Whether this one has yielded to who does not go on from it: what it told nobody else knows.

    Two were active; or it had begun with nothing, and the other one, passive, has data.
    """
    if activity.yielded is None:
        return False
    winner = history.winner_over(activity)
    return history.overlapped(activity) or _began_anew(history, activity, winner)


def _excuse(history: History, key: bytes, sequence: int) -> str:
    """Why an acknowledged write may be lost in a pair; "" if it may not."""
    activity = history.by_epoch[epoch_of(sequence)]
    if activity.yielded is not None:
        together = _yields(history)[activity.node, activity.yielded]
        newest = [each for one in together for each in one.entries if each.key == key][-1]
        if newest.expiry:
            return "it had expired"
        if newest.uuid in activity.reported and _kept_apart(history, activity):
            return "given up for the peer's history, and reported"
    accepted = next(each.at for each in activity.entries if each.sequence == sequence)
    for _ in history.activities:
        if activity.yielded is not None:  # to a server that had the write, and lost it
            activity = history.winner_over(activity)
    return _excuse_for_death(history, activity, accepted) or why_gone(history, sequence)


def _excuse_for_death(history: History, activity: Activity, since: float) -> str:
    """Why the other server may not know what this one did then; "" if it must."""
    if activity.died is None:
        return ""
    if activity.died - since < REPLICATION_SECONDS:
        return "not replicated yet when its server died"
    # The passive one was not in step meanwhile, or is hit as well, before anybody serves again.
    near = _between(history, since - DETECTION_SECONDS, activity.died + DETECTION_SECONDS)
    others = [fault for fault in near if history.concerns_servers(fault)]
    return "more than one fault at a time" if len(others) > 1 else ""


def _between(history: History, begin: float, end: float) -> Iterator[Fault]:
    return (fault for fault in history.faults if fault[0] <= end and fault[1] >= begin)
