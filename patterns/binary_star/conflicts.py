"""Two actives: which of them goes on, and what the other one gives up.

The side that accepted more updates since the two parted, then the higher epoch, then the primary.
But who began with nothing, because it could not hear the one that held everything, yields to that.
"""

from __future__ import annotations

from patterns.binary_star.messages import COUNTER_BITS, PeerState, Progress, Role
from patterns.binary_star.table import Event


def resolve(role: Role, own: Progress, peer: PeerState) -> Event:
    """What a server that is active makes of a peer that is active too.

    Who decides is the one with the lower epoch, so that the two never both do. It either yields,
    or goes on in a higher epoch than the peer's and says that the peer's is settled; then the peer
    yields.
    """
    epoch, peer_epoch = own.epoch, peer.progress.epoch
    if is_settled(own, peer):
        return Event.PEER_ACTIVE_WINS
    decides = (epoch, role is not Role.PRIMARY)
    if decides > (peer_epoch, peer.role is not Role.PRIMARY):
        return Event.PEER_ACTIVE_DECIDES
    own_writes, peer_writes = writes_since_fork(own, peer.progress)
    own_data, peer_data = not began_anew(own, peer.progress), not began_anew(peer.progress, own)
    ours = (own_data, own_writes, epoch, role is Role.PRIMARY)
    theirs = (peer_data, peer_writes, peer_epoch, peer.role is Role.PRIMARY)
    return Event.PEER_ACTIVE_LOSES if ours > theirs else Event.PEER_ACTIVE_WINS


def is_settled(own: Progress, peer: PeerState) -> bool:
    """True if the peer has decided already, and goes on."""
    return peer.progress.epoch > own.epoch and peer.settled >= own.epoch


def writes_since_fork(own: Progress, theirs: Progress) -> tuple[int, int]:
    """The updates that each of two actives accepted since they parted: ours, theirs."""
    return _writes_since(own, theirs), _writes_since(theirs, own)


def began_anew(server: Progress, other: Progress) -> bool:
    """True if an active server began with nothing, and the other one with data that is not its."""
    return other.fork_sequence > 0 and lacks_data_of(server, other.fork_epoch)


def lacks_data_of(server: Progress, epoch: int) -> bool:
    """True if an active server began with nothing, and what is of that epoch is not of its data.

    Who leads by an operator's word tells no `fork_epoch`: it lacks nothing.
    """
    anew = server.fork_epoch > 0 and not server.fork_sequence
    return anew and epoch > 0 and not server.fork_epoch <= epoch <= server.epoch


def diverged_since(own: Progress, theirs: Progress, *, leads: bool = True) -> int:
    """The sequence up to which our data is the peer's too, which `leads` or is passive."""
    if began_anew(theirs, own):
        return 0
    if _left_from(own, theirs):
        return theirs.fork_sequence
    if not leads or _left_from(theirs, own):
        return own.fork_sequence
    return min(own.fork_sequence, theirs.fork_sequence)  # an operator has an old copy lead


def _left_from(own: Progress, other: Progress) -> bool:
    """True if the other became active with what it had of our activity, in whichever epoch of it.

    Its first epoch is told if it began with nothing (but not if an operator said so), and is later
    than that of the data it began with. It counts on in each epoch: who left has counted no more.
    """
    if other.fork_epoch == own.epoch:
        return True
    first = own.fork_epoch + (_count(own.fork_sequence) > 0)
    later = 0 < first <= other.fork_epoch <= own.epoch and own.fork_sequence < other.fork_sequence
    return later and _count(other.fork_sequence) <= _count(own.sequence)


def _writes_since(own: Progress, other: Progress) -> int:
    """If the other left from our activity, those after that; else all since we were active.

    Not every number is a client's update: a server that nobody reaches still expires values.
    """
    if not _left_from(own, other):
        return own.writes
    since = _count(own.sequence) - _count(other.fork_sequence)
    return min(own.writes, max(0, since))


def _count(sequence: int) -> int:
    return sequence & ((1 << COUNTER_BITS) - 1)
