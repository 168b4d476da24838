"""Where the data of a Clone server parted from all others': when it became active, in a new epoch.

What it has done since, a peer may never have heard of. When the two meet again, the fork decides
who of them leads, and tells what the other one gives up.
"""

from __future__ import annotations

from patterns.binary_star.conflicts import lacks_data_of
from patterns.binary_star.messages import Progress
from patterns.clone.messages import (
    MAX_COUNTER,
    Frames,
    counter_of,
    epoch_of,
    make_sequence,
    sequence_of,
)
from patterns.clone.store import KeyValueStore

# Deletions since the server became active that it can report if they are given up.
_DELETIONS_LIMIT = 100_000


def renewed(sequence: int, epoch: int) -> int:
    """The number from which an activity goes on in another epoch: it counts on, for its peer.

    That compares how much each of them has accepted. It counts anew when half is used up, long
    before the counter would run over into the next epoch.
    """
    counter = counter_of(sequence)
    return make_sequence(epoch, counter if counter <= MAX_COUNTER // 2 else 0)


class Fork:
    """The last fork of one server, and the writes of clients since, which the server counts.

    `epoch` is the highest that this server may have used in an earlier life; every one that it
    begins is higher.
    """

    def __init__(self, epoch: int = 0) -> None:
        self.writes = 0
        self.deletions: dict[bytes, Frames] = {}  # by clients, of keys that are gone
        self._sequence = 0
        self._first = 0  # the first number of this activity
        self._began = 0  # the epoch in which this server became active by itself
        self._epoch_floor = epoch

    def begin(self, sequence: int, epoch: int, *, force: bool) -> int:
        """The server becomes active, with all up to `sequence`; the number that it goes on from.

        That is in a new epoch: at least `epoch`, and higher than any seen.
        """
        self._sequence = sequence
        self.writes = 0
        self.deletions.clear()
        self._first = make_sequence(self._new_epoch(sequence, epoch), 0)
        # Who leads by an operator's word may have nothing.
        self._began = 0 if force else epoch_of(self._first)
        return self._first

    def go_on(self, sequence: int, epoch: int) -> int:
        """The server, which is active, begins a new epoch; the number that it goes on from.

        What it has done since the fork its peer may still not have heard of.
        """
        self._sequence = self._sequence or self._first
        return renewed(sequence, self._new_epoch(sequence, epoch))

    def _new_epoch(self, sequence: int, epoch: int) -> int:
        return max(epoch, epoch_of(sequence) + 1, self._epoch_floor + 1)

    def receive_epoch(self, epoch: int) -> None:
        """Somebody has seen this epoch: the next one begins above it."""
        self._epoch_floor = max(self._epoch_floor, epoch)

    def remember_deletion(self, frames: Frames) -> None:
        """A deletion leaves nothing in the map that could be reported if it is given up."""
        self.deletions.pop(frames[0], None)
        if not frames[4]:
            self.deletions[frames[0]] = frames
            if len(self.deletions) > _DELETIONS_LIMIT:
                del self.deletions[next(iter(self.deletions))]

    def changed_since(self, sequence: int, store: KeyValueStore) -> tuple[Frames, ...]:
        """The updates in the map after a number, then the deletions."""
        deletions = self.deletions.values()
        gone = (frames for frames in deletions if sequence_of(frames) > sequence)
        return (*store.changed_since(sequence), *gone)

    def lacks_data_of(self, held: int, sequence: int) -> bool:
        """True if it began with nothing, and what is held elsewhere is not of its data.

        Its data reach up to `sequence`. Who holds the other has to lead, not follow: the two hear
        of each other in their heartbeats, but perhaps a little later.
        """
        return lacks_data_of(self.progress(sequence), epoch_of(held))

    def progress(self, sequence: int) -> Progress:
        """How far a server has come that holds all up to `sequence`."""
        return Progress(
            epoch=epoch_of(sequence),
            sequence=sequence,
            writes=self.writes,
            fork_epoch=epoch_of(self._sequence) or self._began,
            fork_sequence=self._sequence,
        )
