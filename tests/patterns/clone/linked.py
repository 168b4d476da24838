"""The peer link of a passive server's rules, in calls: what the active server would send."""

from patterns.clone.messages import KTHXBAI, encode_sequence
from patterns.clone.packs import encode_pack
from patterns.clone.peer_link import encode_append, encode_hello, encode_position
from patterns.clone.server_protocol import SendSnapshot


def attempt_of(protocol):
    """The attempt under which the passive server hears now."""
    return protocol._follower.attempt


def hear(protocol, frames, now, attempt=None):
    """The passive server receives this, by default as an answer to its last hello."""
    attempt = attempt_of(protocol) if attempt is None else attempt
    return protocol.receive_from_active(frames, attempt, now)


def append(protocol, *entries, now):
    """The active server appends updates or refusals."""
    return hear(protocol, encode_append(entries), now)


def position(protocol, sequence, now, attempt=None):
    """All up to a number was sent before this."""
    return hear(protocol, encode_position(sequence, 1), now, attempt)


def send_entries(protocol, entries, now, attempt=None):
    """Some entries of a snapshot."""
    return hear(protocol, encode_pack(entries), now, attempt) if entries else []


def kthxbai(entries, sequence):
    """The end of a snapshot of so many entries."""
    return (KTHXBAI, encode_sequence(sequence), b"", b"chpx=1\nn=%d\n" % entries, b"")


def send_snapshot(protocol, entries, sequence, now, attempt=None):
    """The whole answer to a hello of a server that wants everything; what its end leads to."""
    position(protocol, sequence, now, attempt)
    send_entries(protocol, entries, now, attempt)
    return hear(protocol, kthxbai(len(entries), sequence), now, attempt)


def answer_hello(active, passive, sequence, now, identity=b"peer"):
    """Let an active server answer a hello, by its rules; what the passive server makes of it."""
    answer = active.receive_from_passive(identity, encode_hello(sequence, sequence), now)
    effects = deliver(active, passive, now)
    for snapshot in answer:
        if isinstance(snapshot, SendSnapshot):
            effects += send_entries(passive, snapshot.entries, now)
            effects += hear(passive, snapshot.end, now)
    return effects


def deliver(active, passive, now):
    """Take what the active server has for the link to the passive one."""
    effects = []
    while (message := active.replication.next_message()) is not None:
        active.replication.message_sent()
        effects += hear(passive, message, now)
    return effects
