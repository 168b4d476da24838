"""The steps of a check, in their order: what is said to the server, and what its answers prove.

A step is a generator that waits by `yield`; it returns False when what follows makes no sense.
"""

from __future__ import annotations

from patterns.clone.conformance import clauses
from patterns.clone.conformance.clauses import Deviation
from patterns.clone.conformance.judging import (
    fail,
    is_numbered,
    judge_echo,
    judge_end_sequence,
    judge_entries,
    judge_heartbeats,
    judge_hugz,
    judge_kvpub,
    judge_kvsync,
    judge_sequences,
    judge_snapshot_end,
    note,
    shown,
)
from patterns.clone.conformance.session import Answer, Session, Step
from patterns.clone.messages import RESERVED_KEYS, Frames, KVMessage, sequence_of

COLLECTOR_SECONDS = 1.0
IDLE_SECONDS = 3.2
BEATS_WANTED = 3
TTL = 1
# The Guide's servers look for what is over once a second.
TTL_SLACK = 4.0
TTL_TOO_EARLY = 0.2
CLEANING_SECONDS = 0.2
# What may end a server that trusts its peers. An update without a uuid is allowed, and ends the
# passive server of a pair of the Guide's in C.
RISKY = (
    clauses.KVSET_WITHOUT_UUID,
    clauses.MALFORMED_REQUESTS,
    clauses.MALFORMED_UPDATES,
    clauses.RESERVED_KEYS,
)


def check(session: Session, gentle: bool) -> Step[None]:
    """The whole check. `gentle`: without what may end a server that trusts its peers."""
    if not (yield from join(session)):
        return
    yield from listen(session)
    writable = yield from find_collector(session)
    if writable:
        yield from update(session)
        yield from take_snapshots(session)
        yield from delete(session)
        yield from expire(session)
    for clause in RISKY if gentle else ():
        session.skip(clause, "left out")
    if not gentle:
        yield from misbehave(session, writable)
    judge_publications(session)
    yield from clean_up(session)


def join(session: Session) -> Step[bool]:
    """Ask for a subtree that nobody uses: the answer is its end alone."""
    answer = session.ask(session.key("nothing/"))
    began = session.now
    yield from session.wait_answered(answer)
    if answer.end is None:
        seen = f"{answer.count} messages and no KTHXBAI" if answer.count else "nothing"
        seen = f"{seen} within {session.timeout:g} s"
        session.conclude(clauses.SNAPSHOT_ANSWER, [fail(seen)], "")
        return False
    session.conclude(
        clauses.SNAPSHOT_ANSWER, [], f"KTHXBAI after {1000 * (session.now - began):.1f} ms"
    )
    judge_answer(session, answer, session.key("nothing/"))
    return is_numbered(answer.end)


def judge_answer(session: Session, answer: Answer, subtree: bytes) -> None:
    """What the messages of an answer look like; a later answer, with more in it, counts."""
    assert answer.end is not None
    session.conclude(
        clauses.KTHXBAI_FORM, judge_snapshot_end(answer.end, subtree), "as it should be"
    )
    if not answer.entries:
        session.skip(clauses.KVSYNC_FORM, "no KVSYNC was seen")
        session.skip(clauses.KTHXBAI_SEQUENCE, "no KVSYNC was seen")
        return
    found = [deviation for entry in answer.entries for deviation in judge_kvsync(entry)]
    session.conclude(clauses.KVSYNC_FORM, found, f"{len(answer.entries)} of them")
    if is_numbered(answer.end) and all(map(is_numbered, answer.entries)):
        session.conclude(
            clauses.KTHXBAI_SEQUENCE,
            judge_end_sequence(answer.entries, answer.end),
            f"{sequence_of(answer.end)}",
        )


def listen(session: Session) -> Step[None]:
    """Say nothing, and hear the heartbeats."""
    began = session.now
    yield from session.wait(lambda: len(session.beats) >= BEATS_WANTED, IDLE_SECONDS)
    count = len(session.beats)
    session.conclude(
        clauses.HUGZ_INTERVAL,
        judge_heartbeats(count, IDLE_SECONDS),
        f"{count} within {session.now - began:.1f} s",
    )


def find_collector(session: Session) -> Step[bool]:
    """Write by XPUB to a collector that subscribes, else by PUSH, until it comes back."""
    yield from session.wait(lambda: session.subscribed, COLLECTOR_SECONDS)
    if not session.subscribed:
        session.use_push()
    if not (yield from session.greet()):
        seen = f"nothing comes back within {session.timeout:g} s"
        session.conclude(clauses.KVPUB_BROADCAST, [fail(seen)], "")
        if not session.subscribed:
            session.conclude(clauses.COLLECTOR_SOCKET, [fail("neither SUB nor PULL")], "")
        else:
            session.conclude(clauses.COLLECTOR_SOCKET, [], "it subscribes")
        return False
    by_push = [] if session.subscribed else [note("a PULL: what clients send by PUB is lost")]
    session.conclude(clauses.COLLECTOR_SOCKET, by_push, "it subscribes")
    return True


def update(session: Session) -> Step[None]:
    """Write in each of the ways that the RFC allows."""
    plain = session.write("a/plain", b"one", properties=b"chp-check=1\n")
    again = session.write("a/again", b"first"), session.write("a/again", b"second")
    numbered = session.write("a/numbered", b"three", sequence=1)
    other = session.write("b/other", bytes(range(256)))
    messages = [plain, *again, numbered, other]
    yield from session.wait_published(*messages)
    missing = [
        fail(f"{shown(m.key)} is not published")
        for m in messages
        if m is not numbered and not session.published(m.key, m.body)
    ]
    session.conclude(clauses.KVPUB_BROADCAST, missing, f"{len(messages)} of {len(messages)}")
    judge_frames(session, plain, other)
    judge_numbered(session, numbered)


def judge_frames(session: Session, *messages: KVMessage) -> None:
    """Whether uuid and properties come back as they were sent."""
    uuids: list[Deviation] = []
    properties: list[Deviation] = []
    for message in messages:
        frames = session.published(message.key, message.body)
        if frames is not None and is_numbered(frames):
            uuids += judge_echo(message.uuid, frames[2], "uuid")
            properties += judge_echo(message.properties, frames[3], "properties frame")
    session.conclude(clauses.KVPUB_UUID, uuids, "it is that of the KVSET")
    session.conclude(clauses.KVPUB_PROPERTIES, properties, "they are those of the KVSET")


def judge_numbered(session: Session, message: KVMessage) -> None:
    """Whether the number of an update was of no significance."""
    frames = session.published(message.key, message.body)
    if frames is None:
        found = [fail(f"with the number {message.sequence} it is not published")]
    elif is_numbered(frames) and sequence_of(frames) == message.sequence:
        found = [fail(f"it is published with the number sent, {message.sequence}")]
    else:
        found = []
    session.conclude(clauses.KVSET_SEQUENCE, found, "it gets a number of the server's")


def take_snapshots(session: Session) -> Step[None]:
    """Two clients ask at once for different subtrees, and a third for everything."""
    subtrees = [session.key("a/"), session.key("b/")]
    answers = [session.ask(subtree) for subtree in subtrees]
    yield from session.wait_answered(*answers)
    found: list[Deviation] = []
    for subtree, answer in zip(subtrees, answers, strict=True):
        wanted = {k: v for k, v in session.values.items() if k.startswith(subtree)}
        found += _judge_complete(session, answer, subtree, wanted)
    counts = " and ".join(str(answer.count) for answer in answers)
    session.conclude(clauses.SNAPSHOT_SUBTREE, found, f"{counts} keys, no other")
    if answers[0].end is not None:
        judge_answer(session, answers[0], subtrees[0])
    yield from _take_everything(session)
    # By now whatever was sent to the wrong client has arrived.
    strays = [fail(f"{a.after_end} messages after KTHXBAI") for a in answers if a.after_end]
    unanswered = [fail("one got no KTHXBAI") for a in answers if a.end is None]
    session.conclude(clauses.SNAPSHOT_IDENTITY, strays + unanswered, "each got one KTHXBAI")


def _judge_complete(
    session: Session, answer: Answer, subtree: bytes, wanted: dict[bytes, bytes]
) -> list[Deviation]:
    if answer.end is None:
        return [fail(f"no KTHXBAI within {session.timeout:g} s")]
    return judge_entries([e for e in answer.entries if is_numbered(e)], subtree, wanted)


def _take_everything(session: Session) -> Step[None]:
    answer = session.ask(b"")
    complete = yield from session.wait_answered(answer)
    if not complete and answer.count:
        session.skip(
            clauses.SNAPSHOT_EVERYTHING,
            f"{answer.count} entries and no end within {session.timeout:g} s",
        )
        return
    found = _judge_complete(session, answer, b"", session.values)
    session.conclude(clauses.SNAPSHOT_EVERYTHING, found, f"{answer.count} keys")


def delete(session: Session) -> Step[None]:
    """Delete a key: that is published, and the key is in no snapshot any more."""
    message = session.write("a/plain", b"")
    found: list[Deviation] = []
    if not (yield from session.wait_published(message)):
        found.append(fail("the deletion is not published"))
    found += yield from _still_there(session, message.key)
    session.conclude(clauses.KVSET_DELETE, found, "published, and gone from snapshots")


def _still_there(session: Session, key: bytes) -> Step[list[Deviation]]:
    answer = session.ask(key)
    yield from session.wait_answered(answer)
    if answer.end is None:
        return [fail("no snapshot afterwards")]
    held = any(entry[0] == key for entry in answer.entries)
    return [fail("it is still in snapshots")] if held else []


def expire(session: Session) -> Step[None]:
    """Write a key that is to live for a second."""
    message = session.write("ttl", b"soon over", properties=b"ttl=%d\n" % TTL)
    yield from session.wait_published(message)
    began = session.now
    deletion = KVMessage(message.key)
    gone = yield from session.wait(
        lambda: session.published(deletion.key, b"") is not None, TTL + TTL_SLACK
    )
    took = session.now - began
    session.values.pop(message.key, None)
    if not gone:
        found = [note(f"no deletion within {TTL + TTL_SLACK:g} s, ttl was {TTL} s")]
    else:
        found = yield from _still_there(session, message.key)
        if took < TTL - TTL_TOO_EARLY:
            found.append(fail(f"deleted after {took:.2f} s, ttl was {TTL} s"))
    session.conclude(clauses.KVSET_TTL, found, f"deleted after {took:.2f} s, ttl was {TTL} s")


# --- what a peer should not send


def misbehave(session: Session, writable: bool) -> Step[None]:
    """Send what few peers or none send, each time followed by what every server answers."""
    if writable:
        yield from write_without_uuid(session)
    if (yield from misbehave_at_the_snapshot_port(session)) and writable:
        if (yield from misbehave_at_the_collector(session)):
            yield from write_reserved_keys(session)


def write_without_uuid(session: Session) -> Step[None]:
    """Write without a uuid, which is optional."""
    message = session.write("without-uuid", b"three", uuid=b"")
    taken = yield from session.wait_published(message)
    found = [] if taken else [fail("it is not published")]
    session.conclude(clauses.KVSET_WITHOUT_UUID, found, "taken")


def malformed_requests() -> dict[str, Frames]:
    """What is no request, by what is wrong with it."""
    return {
        "an empty frame": (b"",),
        "an unknown word": (b"hello",),
        "an unknown word and a subtree": (b"icanhaz?", b""),
        "a word of the server's": (b"KTHXBAI", b""),
        "three frames": (b"ICANHAZ?", b"", b""),
        "nine frames": (b"x",) * 9,
    }


def malformed_updates(session: Session) -> dict[str, Frames]:
    """What is no update, by what is wrong with it; the keys are the check's own."""

    def bad(number: int, *frames: bytes) -> Frames:
        return (session.key(f"bad/{number}"), *frames)

    zero, uuid = bytes(8), bytes(range(16))
    return {
        "one frame": bad(1),
        "two frames": bad(2, zero),
        "four frames": bad(3, zero, uuid, b""),
        "six frames": bad(4, zero, uuid, b"", b"x", b"x"),
        "nine frames": bad(5, *(b"x",) * 8),
        "a sequence of 7 bytes": bad(6, bytes(7), uuid, b"", b"x"),
        "no sequence": bad(7, b"", uuid, b"", b"x"),
        "a uuid of 15 bytes": bad(8, zero, uuid[1:], b"", b"x"),
        "properties that are none": bad(9, zero, uuid, b"\xff\xfe=\n\n==", b"x"),
        "a ttl that is no number": bad(10, zero, uuid, b"ttl=nan\n", b"x"),
        "no key": (b"", zero, uuid, b"", b"x"),
    }


def misbehave_at_the_snapshot_port(session: Session) -> Step[bool]:
    """Every malformed request on a socket of its own, and a good one after it."""
    junk = malformed_requests()
    for what, frames in junk.items():
        session.ask_raw(frames)
        good = session.ask(session.key("nothing/"))
        if not (yield from session.wait_answered(good)):
            session.conclude(
                clauses.MALFORMED_REQUESTS, [fail(f"no answer any more after {what}")], ""
            )
            return False
    session.conclude(clauses.MALFORMED_REQUESTS, [], f"{len(junk)} kinds survived")
    return True


def misbehave_at_the_collector(session: Session) -> Step[bool]:
    """Every malformed update, and a good one after it."""
    junk = malformed_updates(session)
    for what, frames in junk.items():
        session.write_raw(frames)
        if not (yield from session.greet()):
            session.conclude(
                clauses.MALFORMED_UPDATES, [fail(f"no KVPUB any more after {what}")], ""
            )
            return False
    keys = {frames[0]: what for what, frames in junk.items()}
    taken = [note(f"{keys[f[0]]} is published") for f in session.publications if f[0] in keys]
    session.conclude(clauses.MALFORMED_UPDATES, taken, f"{len(junk)} kinds survived")
    return True


def write_reserved_keys(session: Session) -> Step[None]:
    """Use the words of the protocol as keys; what is taken is deleted again."""
    body = session.prefix + b"word"
    found: list[Deviation] = []
    for word in sorted(RESERVED_KEYS):
        session.write_raw(KVMessage(word, 0, b"", b"", body).encode())
        yield from session.greet()
        answer = session.ask(word)
        yield from session.wait_answered(answer)
        answered = [*answer.entries, answer.end or ()]
        if any(frames[:1] == (word,) and frames[-1] == body for frames in answered):
            found.append(note(f"{word.decode()} is taken as a key"))
            session.erase(word)
        else:
            session.written.pop(word, None)
    session.conclude(clauses.RESERVED_KEYS, found, "refused")


# --- the end


def judge_publications(session: Session) -> None:
    """What all publications of the check together prove, and all heartbeats."""
    bad = session.key("bad/")
    regular = [frames for frames in session.publications if not frames[0].startswith(bad)]
    if regular:
        found = [deviation for frames in regular for deviation in judge_kvpub(frames)]
        session.conclude(clauses.KVPUB_FORM, found, f"{len(regular)} of them")
        numbered = [frames for frames in session.publications if is_numbered(frames)]
        session.conclude(
            clauses.KVPUB_SEQUENCE, judge_sequences(numbered), f"{len(numbered)} in a row"
        )
    if session.beats:
        found = [deviation for _, frames in session.beats for deviation in judge_hugz(frames)]
        session.conclude(clauses.HUGZ_FORM, found, f"{len(session.beats)} of them")


def clean_up(session: Session) -> Step[None]:
    """Delete every key of the check, until no snapshot holds one."""
    if not session.written:
        session.skip(clauses.NOTHING_LEFT, "nothing was written")
        return
    left = list(session.written)
    for _ in range(max(1, round(session.timeout / CLEANING_SECONDS))):
        for key in left:
            session.erase(key)
        answer = session.ask(session.prefix)
        if not (yield from session.wait_answered(answer)):
            break
        left = [entry[0] for entry in answer.entries if entry[0].startswith(session.prefix)]
        if not left:
            session.written.clear()
            session.conclude(clauses.NOTHING_LEFT, [], f"all below {shown(session.prefix)}")
            return
        yield from session.wait(lambda: False, CLEANING_SECONDS)
    keys = ", ".join(shown(key) for key in left)
    session.conclude(clauses.NOTHING_LEFT, [fail(f"these may still be there: {keys}")], "")
