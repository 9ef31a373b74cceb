"""How far each worker's clock is from the run's: asked by messages that come back, so that its rows stand in one time.

A worker stamps with its own clock, on whatever machine it is. The answer to a question that was asked at *a* and came
back at *b* holds a time between the two: that is the clock's offset, and half of b - a is how far it may be wrong. The
quickest answer counts. What no answer narrows down to ERROR_S_MAX is not known, and neither is what it stamps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

CLOCK = "grace_clock"  # the message that asks, and the one that answers
ERROR_S_MAX = 0.05  # half of a bin of requests.csv
ASK_EVERY_S = 1.0
STEP_S = 0.1  # more than a clock drifts in a run: who is off by so much more was set anew


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A worker's clock showed *base_s* when the run began, give or take *error_s*."""

    base_s: float
    error_s: float
    answers: int = 1


class WorkerClocks:
    """For one run. *now_s* is its clock; *run_id* keeps the answers of another run out."""

    def __init__(self, now_s: Callable[[], float], run_id: str) -> None:
        self.now_s = now_s
        self.run_id = run_id
        self.found: dict[str, Estimate] = {}
        self._stepped: dict[str, float] = {}
        self._asked_s: dict[str, float] = {}
        self._waiting: dict[str, list[Mapping[str, Any]]] = {}

    def readable(self, worker: str, told: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        """What *worker* has told, in its order, up to *told*: nothing yet while its clock is not known."""
        waiting = [*self._waiting.get(worker, ()), told]
        known = worker in self.found
        self._waiting[worker] = [] if known else waiting
        return waiting if known else []

    def due(self, worker: str) -> dict[str, Any] | None:
        """The question for *worker* when it is time for one: at once until it is known well, then now and then."""
        now_s, known = self.now_s(), self.found.get(worker)
        last_s = self._asked_s.get(worker)
        if last_s is not None and known and known.error_s <= ERROR_S_MAX / 5 and now_s - last_s < ASK_EVERY_S:
            return None
        self._asked_s[worker] = now_s
        return {"run_id": self.run_id, "asked_s": now_s}

    def heard(self, worker: str, answer: Mapping[str, Any]) -> bool:
        """Takes an answer; whether it is better than those before, by enough to be told of."""
        now_s = self.now_s()
        asked_s = float(answer["asked_s"])
        if answer["run_id"] != self.run_id or not 0 <= asked_s <= now_s:
            return False
        error_s = (now_s - asked_s) / 2
        base_s = float(answer["worker_s"]) - (now_s + asked_s) / 2
        best = self.found.get(worker)
        if best is None:
            self.found[worker] = Estimate(base_s=base_s, error_s=error_s)
            return True
        apart_s = abs(base_s - best.base_s) - error_s - best.error_s
        if apart_s > STEP_S:
            self._stepped[worker] = max(apart_s, self._stepped.get(worker, 0.0))
        if error_s >= best.error_s:
            self.found[worker] = Estimate(base_s=best.base_s, error_s=best.error_s, answers=best.answers + 1)
            return False
        self.found[worker] = Estimate(base_s=base_s, error_s=error_s, answers=best.answers + 1)
        return error_s < best.error_s / 2

    def to_run(self, worker: str) -> Callable[[float], float]:
        """The time of a worker whose clock is known → the run's."""
        base_s = self.found[worker].base_s
        return lambda worker_s: worker_s - base_s

    def problems(self) -> str:
        """Of all workers that have told something, in words; "" for none."""
        return "; ".join(problem for worker in sorted(self._waiting) if (problem := self._problem(worker)))

    def _problem(self, worker: str) -> str:
        """Why the times of *worker* are not known; "" when they are."""
        known = self.found.get(worker)
        if known is None:
            return f"the clock of worker {worker} is not known: it has answered no question"
        if known.error_s > ERROR_S_MAX:
            within = f"{1000 * known.error_s:.0f} ms, {1000 * ERROR_S_MAX:.0f} are allowed"
            return f"the clock of worker {worker} is known only to {within}"
        if worker in self._stepped:
            return f"the clock of worker {worker} was set anew in mid-run, by {self._stepped[worker]:.1f} s or more"
        return ""


def answer(question: Mapping[str, Any], clock: Callable[[], float]) -> dict[str, Any]:
    """What a worker says to a question."""
    return {**question, "worker_s": clock()}
