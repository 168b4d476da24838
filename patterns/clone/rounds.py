"""Which of its servers a client tries, and how long it pauses before: round and round, for ever."""

from __future__ import annotations

from collections.abc import Callable


class ServerRound:
    """The servers of one service, numbered in order of preference.

    `jitter` gives a number in 0..1 at each call and spreads the clients' attempts. A pause is at
    most `pause` seconds, and when all of them have failed twice as long each time, up to
    `max_pause`; at most `haste` seconds after the end of a server that was followed.
    """

    def __init__(
        self,
        servers: int,
        *,
        jitter: Callable[[], float],
        haste: float,
        pause: float,
        max_pause: float,
    ) -> None:
        if servers < 1:
            raise ValueError("a client needs a server")
        self.haste = haste
        self.pause = pause
        self.max_pause = max_pause
        self._jitter = jitter
        self._order = list(range(servers))  # the one that is tried, then those to try after it
        self._live_since: float | None = None
        self._hasty_attempts = 0
        self._tried = 0  # and will not do, in this round
        self._goes_on = False
        self._failures = 0  # rounds in which none would do

    @property
    def server(self) -> int:
        """The number of the server that is followed or tried."""
        return self._order[0]

    def receive_live(self, now: float) -> None:
        """The server is followed from now on."""
        self._live_since = now
        self._hasty_attempts = self._tried = 0

    def has_followed(self, seconds: float, now: float) -> bool:
        """True if the server has been followed for so long."""
        return self._live_since is not None and now - self._live_since >= seconds

    def hurry(self) -> None:
        """Ask all with next to no pause, twice round: who takes over needs about as long."""
        self._hasty_attempts = 2 * len(self._order)

    def begin_anew(self) -> None:
        """There is reason to believe that one of them will do soon: pause shortly again."""
        self._failures = 0

    def begin(self) -> bool:
        """An attempt begins; True if it is one of those in haste."""
        hasty = self._hasty_attempts > 0
        self._hasty_attempts -= hasty
        return hasty

    def go_on(self) -> None:
        """This server will not do: the next one is tried.

        When one that was followed is lost, the round begins with the most preferred of the others.
        Otherwise nothing leads back to a preferred server: while one serves it is followed, since
        every change costs all clients a snapshot, and of a pair only one serves at a time.
        """
        self._tried += 1
        self._goes_on = True
        lost = self._order.pop(0)
        if self._live_since is not None:
            self._order.sort()
        self._order.append(lost)

    def take_pause(self, server_ttl: float, now: float) -> float:
        """The instant of the next attempt, a random time from now; called once for each."""
        if self._live_since is not None and now - self._live_since > self.max_pause:
            self._failures = 0
        self._live_since = None
        goes_on, self._goes_on = self._goes_on, False
        if self._hasty_attempts:
            longest = min(self.haste, server_ttl / 20)
        elif goes_on and self._tried < len(self._order):  # the next one may serve
            longest = self.pause
        else:
            longest = self._longer_pause()
        return now + longest * self._jitter()

    def _longer_pause(self) -> float:
        self._tried = 0
        self._failures += 1
        doublings = min(self._failures - 1, 30)
        return min(self.max_pause, self.pause * float(2**doublings))
