"""Dependency latency monitor: sees that calls to a kernel are late or fail, and when they are well again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from twin.call_stats import CallSummary
from twin.config import Thresholds

LAG_FACTOR = 4.0  # a call passes so often through its caller's loop, which may be what is late


@dataclass(frozen=True)
class DependencyChange:
    """A callee that has become late, or is well again. *callers*: those who feel it."""

    callee: str
    engaged: bool
    reason: str
    callers: tuple[str, ...]
    details: dict[str, Any]


@dataclass
class _Link:
    """What one caller last told of one callee."""

    summary: CallSummary
    told_s: float
    lag_ms: float
    bad_looks: int = 0
    well_since_s: float | None = None


class DependencyLatencyMonitor:
    """take() is fed what callers tell of their calls, tick() decides; time is an argument of both.

    Late is a p50 above a floor and above a multiple of what is usual on that way, without the lag of the caller's own
    loop. A callee that waits for another is not blamed: the one behind it is.
    """

    name = "dependency_latency_monitor"
    playbook = "dependency_bypass"

    def __init__(self, thresholds: Thresholds) -> None:
        self.thresholds = thresholds
        self.links: dict[tuple[str, str], _Link] = {}
        self.engaged: set[str] = set()

    def take(self, now_s: float, caller: str, lag_ms: float, told: dict[str, CallSummary]) -> list[str]:
        """The callees whose way *caller* should try by itself: there may be something, and traffic may be rare."""
        for callee, summary in told.items():
            link = self.links.setdefault((caller, callee), _Link(summary, now_s, lag_ms))
            link.summary, link.told_s, link.lag_ms = summary, now_s, lag_ms
            bad = bool(self._trouble(link))
            link.bad_looks = link.bad_looks + 1 if bad else 0
            if bad or summary.failed or summary.calls < self.thresholds.dependency_calls_min:
                link.well_since_s = None
            elif link.well_since_s is None:
                link.well_since_s = now_s
        return sorted({callee for callee in told if self._suspect(self.links[(caller, callee)])} | self.engaged)

    def tick(self, now_s: float) -> list[DependencyChange]:
        stale_s = now_s - self.thresholds.dependency_told_s
        self.links = {key: link for key, link in self.links.items() if link.told_s >= stale_s}
        changes = []
        for callee in sorted({callee for _, callee in self.links} - self.engaged):
            callers = self._callers(callee, self.thresholds.dependency_looks)
            if callers and not self._waits_for_another(callee):
                self.engaged.add(callee)
                worst = self.links[(callers[0], callee)]
                felt = tuple(caller for caller, one in self.links if one == callee and self._felt(caller, callee))
                why = f"calls from {callers[0]}: {self._trouble(worst)}"
                changes.append(DependencyChange(callee, True, why, felt, self._details(callee)))
        for callee in sorted(self.engaged):
            links = [link for (_, one), link in self.links.items() if one == callee]
            if links and all(self._is_well(link, now_s) for link in links):
                self.engaged.discard(callee)
                slowest = max(link.summary.p50_ms for link in links)
                why = f"calls are answered again, the p50 is {slowest:.0f} ms"
                changes.append(DependencyChange(callee, False, why, (), self._details(callee)))
        return changes

    def limit_ms(self, link: _Link) -> float:
        limits = self.thresholds
        usual_ms = limits.dependency_slow_factor * link.summary.reference_ms
        return max(limits.dependency_slow_ms, usual_ms) + LAG_FACTOR * link.lag_ms

    def _trouble(self, link: _Link) -> str:
        """Why a way is not well; "" when it is, or when there are too few calls to tell."""
        limits, summary = self.thresholds, link.summary
        if summary.failed >= max(limits.dependency_failed_min, summary.calls * limits.dependency_failed_share):
            return f"{summary.failed} of {summary.calls} failed"
        if summary.calls - summary.failed < limits.dependency_calls_min or summary.p50_ms <= self.limit_ms(link):
            return ""
        return f"p50 {summary.p50_ms:.0f} ms, usual are {summary.reference_ms:.1f} ms"

    def _suspect(self, link: _Link) -> bool:
        return link.summary.failed > 0 or link.summary.p95_ms > self.limit_ms(link)

    def _felt(self, caller: str, callee: str) -> bool:
        return self._suspect(self.links[(caller, callee)])

    def _callers(self, callee: str, looks: int) -> list[str]:
        """Whose calls to *callee* were bad in so many looks in a row, the worst first."""
        bad = [(link.bad_looks, caller) for (caller, one), link in self.links.items() if one == callee]
        return [caller for count, caller in sorted(bad, reverse=True) if count >= looks]

    def _waits_for_another(self, kernel: str) -> bool:
        return any(caller == kernel and self._suspect(link) for (caller, _), link in self.links.items())

    def _is_well(self, link: _Link, now_s: float) -> bool:
        return link.well_since_s is not None and now_s - link.well_since_s >= self.thresholds.dependency_quiet_s

    def _details(self, callee: str) -> dict[str, Any]:
        return {
            caller: {
                "calls": link.summary.calls,
                "failed": link.summary.failed,
                "p50_ms": round(link.summary.p50_ms, 1),
                "p95_ms": round(link.summary.p95_ms, 1),
                "reference_ms": round(link.summary.reference_ms, 2),
                "limit_ms": round(self.limit_ms(link), 1),
                "lag_ms": round(link.lag_ms, 1),
            }
            for (caller, one), link in self.links.items()
            if one == callee
        }
