"""How long a Clone client waits: for a word of its server, for its snapshot, and before it votes.

Silence is not always death. If the client's own loop stood still, what the server said meanwhile
still waits to be read; and a server that has many clients to answer beats in the meantime.

Time is an argument: monotonic seconds.
"""

from __future__ import annotations

from patterns.clone.messages import MAX_INTERVAL

# How long a server may be silent, in its own heartbeats and in seconds.
_SILENT_INTERVALS = 2.1
_LEAST_TTL, _GREATEST_TTL = 0.1, _SILENT_INTERVALS * MAX_INTERVAL
# How long a server that beats may let a client wait for its snapshot, in times of `server_ttl`.
_TURN_INTERVALS = 10


class Patience:
    """When one client has waited long enough; the arguments are those of `ClientProtocol`.

    An attempt is one server tried: it begins, has a first word, and asks for its snapshots.
    """

    def __init__(
        self,
        *,
        server_ttl: float,
        join_after: float | None,
        vote_after: float,
        vote_interval: float,
        learns: bool,
    ) -> None:
        self.server_ttl = server_ttl
        self.heard_at = float("-inf")  # when the server said anything that counts
        self.join_at = float("inf")
        self.vote_at = float("inf")
        self._join_after = join_after
        self._vote_after = vote_after
        self._vote_interval = vote_interval
        self._learns = learns
        self._observed_at: float | None = None
        self._grace_until = float("-inf")
        self._first_word: float | None = server_ttl  # seconds until the first one, None after it
        self._greatest_first_word = server_ttl  # until one is heard, the next may come later
        self._wordless = 0  # attempts in a row without one
        self._vote_wait = vote_interval
        self._snapshot_expires_at = float("inf")
        self._turn_expires_at = float("-inf")
        self._part_intervals = 1.0  # how long a part of a snapshot may take, in `server_ttl`

    @property
    def deadline(self) -> float:
        """When to look again at the latest: a loop that stands still is noticed by that."""
        return min((self._observed_at or 0.0) + self.server_ttl / 4, self.join_at, self.vote_at)

    @property
    def silent_at(self) -> float:
        """When a server that beats is given up, if it says nothing more."""
        silence = self.server_ttl if self._first_word is None else self._first_word
        return max(self.heard_at + silence, self._grace_until)

    @property
    def without_snapshot_at(self) -> float:
        """When a server is given up that was asked for its snapshots, if no more of them comes."""
        return max(self._snapshot_expires_at, self._grace_until)

    def start(self, now: float) -> None:
        """The client's loop runs from now on."""
        self._observed_at = now

    def observe(self, now: float) -> None:
        """If our own loop stood still, the server was not silent: what it said still waits."""
        previous, self._observed_at = self._observed_at, now
        if previous is not None and now - previous > self.server_ttl / 2:
            self._grace_until = now + self.server_ttl / 2

    def learn(self, interval: float) -> None:
        """The server's own heartbeat interval, in seconds.

        A server that misses two heartbeats is silent. Its passive peer thinks so as well.
        """
        if self._learns:
            self.server_ttl = min(max(_SILENT_INTERVALS * interval, _LEAST_TTL), _GREATEST_TTL)
            self._vote_after, self._vote_interval = self.server_ttl / 6, self.server_ttl / 3

    # --- an attempt

    def begin(self, now: float, *, beats: bool, hasty: bool) -> None:
        """A server is tried. With `hasty`, for a short time, and with a vote at once."""
        self.heard_at = now
        self._first_word, self._vote_wait = self._patient_wait(), self._vote_interval
        if not beats and self._join_after is not None:
            self.join_at = now + self._join_after
        if self._join_after is None:  # who sends no heartbeats may stumble over a vote
            self.vote_at = now + self._vote_after
        if hasty:
            self._first_word, self._vote_wait = self.server_ttl / 6, self._vote_interval / 8
            self.vote_at = now
        else:
            self._wordless += 1

    def _patient_wait(self) -> float:
        """Two of its heartbeats may be shorter than the way to a server and back."""
        wait = self.server_ttl * float(2 ** min(self._wordless, 10))
        return min(wait, max(self.server_ttl, self._greatest_first_word))

    def end(self) -> None:
        """The attempt is over."""
        self.join_at = self.vote_at = float("inf")

    def vote(self, now: float) -> None:
        """A vote goes out; the next one waits twice as long as this one did, up to the interval."""
        self.vote_at = now + self._vote_wait
        self._vote_wait = min(2 * self._vote_wait, self._vote_interval)

    def ask(self, now: float) -> None:
        """The snapshots are asked for: nothing more is to be done for that."""
        self.join_at = self.vote_at = float("inf")
        self._first_word = None
        self._wordless = 0
        self._snapshot_expires_at = now + self.server_ttl
        self._turn_expires_at = now + _TURN_INTERVALS * self.server_ttl

    def receive_heartbeat(self, now: float) -> None:
        """The server is there, and answers many clients in their turn."""
        if now < self._turn_expires_at:
            self._snapshot_expires_at = max(self._snapshot_expires_at, now + self.server_ttl)

    def receive_snapshot(self, now: float) -> None:
        """A part of a snapshot has come, so it is this client's turn.

        A Guide server sends the whole snapshot in one go, and no heartbeat meanwhile.
        """
        self._snapshot_expires_at = now + self._part_intervals * self.server_ttl
        self._turn_expires_at = float("-inf")

    def give_up_snapshot(self) -> None:
        """No more of a snapshot came. The next one is given more time: large values take long."""
        self._part_intervals = min(2 * self._part_intervals, _TURN_INTERVALS)

    def receive_live(self) -> None:
        """All snapshots are there."""
        self._part_intervals = 1.0
