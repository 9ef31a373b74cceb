"""Dependency breaker: a kernel that does not answer is asked no more until it does, and then a little at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from twin.config import Thresholds

CLOSED, OPEN, HALF_OPEN = "closed", "open", "half open"


@dataclass(frozen=True)
class BreakerChange:
    """A way to a callee that has been opened (nobody gets through), or is closed again."""

    callee: str
    opened: bool
    reason: str
    details: dict[str, Any]


@dataclass
class _Way:
    """What is known of the way to one callee. *turn* is another one after each change: an older call says nothing."""

    state: str = CLOSED
    turn: int = 0
    waiting: int = 0  # calls of this turn that have no answer yet
    answered: int = 0  # of this turn
    failed: int = 0
    heard: bool = False  # since the last look
    failures: deque[float] = field(default_factory=deque)  # in a row
    silent_looks: int = 0
    looks: int = 0  # since it is half open
    admitted: int = 0  # since the last look
    refused: int = 0  # since it was opened
    probing: bool = False

    def become(self, state: str) -> None:
        self.state, self.turn = state, self.turn + 1
        self.waiting = self.answered = self.failed = self.silent_looks = self.looks = self.admitted = 0
        self.failures.clear()


class DependencyBreaker:
    """admit() asks before a call, ended() tells of it after; tick() looks four times a second. Time is an argument.

    A way is opened when so many calls in a row have failed, or when so many wait and none is answered. While it is
    open a single probe is under way; its answer makes the way half open: as many calls as a callee that has only just
    begun can take, twice as many at each look, until it is closed. What fails meanwhile opens it again.
    """

    name = "dependency_breaker"
    playbook = ""  # the refusals themselves are what is done about it

    def __init__(self, thresholds: Thresholds) -> None:
        self.thresholds = thresholds
        self._ways: dict[str, _Way] = {}
        self._changes: list[BreakerChange] = []

    def resume(self, callees: Iterable[str]) -> None:
        """The ways to *callees* were open before a restart: each is tried first."""
        for callee in callees:
            self._way(callee).become(OPEN)

    def admit(self, callee: str) -> int | None:
        """The turn under which a call is made; None when it is refused."""
        way = self._way(callee)
        allowance = self.thresholds.breaker_first_calls * 2**way.looks  # half open: twice as many after each look
        if way.state == OPEN or (way.state == HALF_OPEN and way.admitted >= allowance):
            way.refused += 1
            return None
        way.admitted += 1
        way.waiting += 1
        return way.turn

    def ended(self, now_s: float, callee: str, turn: int, answered: bool | None) -> None:
        """*answered* None: the caller gave up, which says nothing of the callee."""
        way = self._way(callee)
        if turn != way.turn:
            return
        way.waiting -= 1
        if answered:
            way.answered += 1
            way.heard = True
            way.failures.clear()
        elif answered is False:
            way.failed += 1
            way.failures.append(now_s)
            self._judge(now_s, callee, way)

    def _judge(self, now_s: float, callee: str, way: _Way) -> None:
        """After a failure: whether that was one too many."""
        while way.failures and now_s - way.failures[0] > self.thresholds.breaker_within_s:
            way.failures.popleft()
        count = self.thresholds.breaker_failures
        if way.state == CLOSED and len(way.failures) >= count:
            self._open(callee, way, f"{count} calls in a row have failed")
        elif way.state == HALF_OPEN and way.failed > way.answered:
            self._open(callee, way, f"{way.failed} of the first calls have failed")

    def _open(self, callee: str, way: _Way, reason: str) -> None:
        details = {"waiting": way.waiting, "failed": way.failed, "was": way.state}
        if way.state == CLOSED:
            way.refused = 0
        way.become(OPEN)
        self._changes.append(BreakerChange(callee, True, reason, details))

    def tick(self) -> list[BreakerChange]:
        """What has changed since the last look. A callee that is opened again is told of again."""
        for callee, way in self._ways.items():
            if way.state != OPEN:
                self._look(callee, way)
        changes, self._changes = self._changes, []
        return changes

    def _look(self, callee: str, way: _Way) -> None:
        limits = self.thresholds
        few = 1 if way.state == HALF_OPEN else limits.breaker_silent_calls
        way.silent_looks = way.silent_looks + 1 if way.waiting >= few and not way.heard else 0
        way.heard, way.admitted = False, 0
        if way.silent_looks >= limits.breaker_silent_looks:
            self._open(callee, way, f"none of {way.waiting} calls is answered")
        elif way.state == HALF_OPEN:
            way.looks = min(way.looks + 1, limits.breaker_ramp_looks)
            if way.looks >= limits.breaker_ramp_looks and not way.silent_looks:
                details = {"refused": way.refused, "answered": way.answered, "failed": way.failed}
                way.become(CLOSED)
                self._changes.append(BreakerChange(callee, False, "its calls are answered again", details))

    def unprobed(self) -> list[str]:
        """Whom to try now: each gets one probe at a time, and probed() tells of it."""
        found = [callee for callee, way in self._ways.items() if way.state == OPEN and not way.probing]
        for callee in found:
            self._ways[callee].probing = True
        return found

    def probed(self, callee: str, answered: bool) -> None:
        way = self._way(callee)
        way.probing = False
        if answered and way.state == OPEN:
            way.become(HALF_OPEN)

    def _way(self, callee: str) -> _Way:
        return self._ways.setdefault(callee, _Way())
