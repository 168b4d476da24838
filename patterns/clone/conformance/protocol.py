"""The rules of a check: takes what arrives and what time it is, says what to send, and judges.

Time is an argument: monotonic seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from patterns.clone.conformance.clauses import (
    CLAUSES,
    Finding,
    Outcome,
)
from patterns.clone.conformance.script import check
from patterns.clone.conformance.session import (
    Ask,
    Effect,
    Finish,
    Session,
    Wait,
    Write,
    WriteByPush,
)
from patterns.clone.messages import Frames


@dataclass(frozen=True, slots=True)
class Report:
    """What a check has found, one finding for each of CLAUSES, in their order.

    `answered` is False if the server has sent nothing to who asked: nothing is known of it then.
    """

    findings: tuple[Finding, ...]
    answered: bool

    def conforms(self, *, strict: bool = False) -> bool:
        """True if no clause fails, and with `strict` none has a note either."""
        bad = {Outcome.FAIL, Outcome.NOTE} if strict else {Outcome.FAIL}
        return not any(finding.outcome in bad for finding in self.findings)


class ConformanceProtocol:
    """One check of one server.

    `prefix` is the subtree of the check's own keys, which nobody else uses. `make_uuid` gives 16
    new bytes at each call. The server may take `timeout` seconds for an answer. With `gentle`
    nothing is sent that could end a server which trusts its peers.
    """

    def __init__(
        self,
        prefix: bytes,
        *,
        make_uuid: Callable[[], bytes],
        timeout: float = 5.0,
        gentle: bool = False,
    ) -> None:
        self.finished = False
        self._session = Session(prefix, make_uuid, timeout)
        self._script = check(self._session, gentle)
        self._wait: Wait | None = None
        self._expires_at = 0.0

    @property
    def deadline(self) -> float | None:
        """The instant at which `tick` has something to do next, None when all is done."""
        return self._expires_at if self._wait is not None else None

    def report(self) -> Report:
        """What has been found so far; what has not been reached is skipped."""
        session = self._session
        findings = (
            session.findings.get(clause, Finding(clause, Outcome.SKIP, "not reached"))
            for clause in CLAUSES
        )
        return Report(tuple(findings), any(a.messages for a in session.answers.values()))

    def start(self, now: float) -> list[Effect]:
        """Begin: the subscriber listens to `prefix` and to HUGZ."""
        self._session.now = now
        self._resume(None)
        return self._go_on()

    def receive_snapshot(self, frames: Sequence[bytes], request: int, now: float) -> list[Effect]:
        """Whatever came on the socket of a request."""
        self._session.answers[request].receive(tuple(frames))
        return self._go_on(now)

    def receive_published(self, frames: Sequence[bytes], now: float) -> list[Effect]:
        """Whatever the subscriber received."""
        self._session.receive_published(tuple(frames), now)
        return self._go_on(now)

    def receive_writable(self, now: float) -> list[Effect]:
        """The collector subscribes to what this check writes."""
        self._session.subscribed = True
        return self._go_on(now)

    def tick(self, now: float) -> list[Effect]:
        """Time has passed."""
        return self._go_on(now)

    def leftovers(self) -> list[Frames]:
        """The KVSETs that delete what the check has written, for one that is broken off."""
        return [self._session.erasure(key) for key in self._session.written]

    def _go_on(self, now: float | None = None) -> list[Effect]:
        """Take the steps that what has arrived, or the time, allows."""
        if now is not None:
            self._session.now = now
        while self._wait is not None:
            if self._wait.condition():
                self._resume(True)
            elif self._session.now >= self._expires_at:
                self._resume(False)
            else:
                break
        effects, self._session.effects = self._session.effects, []
        return effects

    def _resume(self, came_true: bool | None) -> None:
        try:
            self._wait = next(self._script) if came_true is None else self._script.send(came_true)
        except StopIteration:
            self._wait = None
            self.finished = True
            self._session.effects.append(Finish())
        else:
            self._expires_at = self._session.now + self._wait.seconds


__all__ = [
    "Ask",
    "ConformanceProtocol",
    "Effect",
    "Finding",
    "Finish",
    "Outcome",
    "Report",
    "Write",
    "WriteByPush",
]
