"""Where the users' answers go in one process: requests into bins, state-changing ones into the ledger's rows."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from harness.traffic import RequestLog, RequestRow

Counted = tuple[str, str, int, Mapping[int, int]]  # (name, outcome, status, {ms: n})


class Activity:
    """Requests as the users themselves begin and end them, apart from what is counted of their answers."""

    def __init__(self, clock_s: Callable[[], float] = time.monotonic) -> None:
        self.clock_s = clock_s
        self.started = self.ended = self.cut = 0  # cut: the user was stopped while it waited for an answer
        self._quiet_since_s: dict[str, float] = {}  # user → when it joined, or last had an answer
        self._waiting: set[str] = set()

    def joined(self, user: str) -> None:
        self._quiet_since_s[user] = self.clock_s()

    def left(self, user: str) -> None:
        """It was stopped on purpose; one that died stays, and is silent."""
        self._quiet_since_s.pop(user, None)
        self._waiting.discard(user)

    def begin(self, user: str) -> None:
        self.started += 1
        self._waiting.add(user)

    def end(self, user: str, answered: bool) -> None:
        self.ended += answered
        self.cut += not answered
        self._waiting.discard(user)
        if user in self._quiet_since_s:
            self._quiet_since_s[user] = self.clock_s()

    def told(self) -> dict[str, float]:
        """Counts so far, how many users wait for an answer, and for how long the quietest of the others has been so."""
        now_s = self.clock_s()
        quiet = [now_s - at_s for user, at_s in self._quiet_since_s.items() if user not in self._waiting]
        return {
            "started": self.started,
            "ended": self.ended,
            "cut": self.cut,
            "present": len(self._quiet_since_s),
            "waiting": len(self._waiting),
            "idle_s": round(max(quiet, default=0.0), 2),
        }


class Sinks:
    """*now* is the clock of this process: of the run where it is judged, of the machine on a worker."""

    def __init__(self, now: Callable[[], float]) -> None:
        self.now = now
        self.log = RequestLog(now)
        self.activity = Activity()
        self._ledger: list[dict[str, Any]] = []

    def attach(self, environment: Any) -> None:
        """Users of *environment* find it by `counts`, `ledger` and `activity`, and its clock by `clock_s`."""
        environment.activity = self.activity
        environment.counts, environment.ledger, environment.clock_s = self.counts, self.ledger, self.now

    def request(self, request_type: str, name: str, response_time: float, context: Any, exception: Any) -> None:
        """A request of a user who fires Locust's own event."""
        outcome = context.get("outcome") or ("failed" if exception else "ok")
        user, status = context.get("user", "legitimate"), context.get("status", 0)
        self.log.add(user, f"{request_type} {name}", outcome, status, response_time)

    def counts(self, user: str, rows: Iterable[Counted]) -> None:
        """What a flood has counted since it told last."""
        for name, outcome, status, spread in rows:
            self.log.add_spread(user, name, outcome, status, spread)

    def ledger(self, row: Mapping[str, Any]) -> None:
        """A state-changing request with its last answer: see harness/ledger.py."""
        self._ledger.append({"at_s": self.now(), **row})

    def take(self, all_of_it: bool = False) -> list[RequestRow]:
        return self.log.take(all_of_it)

    def take_ledger(self) -> list[dict[str, Any]]:
        rows, self._ledger = self._ledger, []
        return rows
