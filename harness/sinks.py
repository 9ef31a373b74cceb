"""Where the users' answers go in one process: requests into bins, state-changing ones into the ledger's rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from harness.traffic import RequestLog, RequestRow

Counted = tuple[str, str, int, Mapping[int, int]]  # (name, outcome, status, {ms: n})


class Sinks:
    """*now* is the clock of this process: of the run where it is judged, of the machine on a worker."""

    def __init__(self, now: Callable[[], float]) -> None:
        self.now = now
        self.log = RequestLog(now)
        self._ledger: list[dict[str, Any]] = []

    def attach(self, environment: Any) -> None:
        """Users of *environment* find it by `counts` and `ledger`, and its clock by `clock_s`."""
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
