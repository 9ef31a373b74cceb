"""What a process knows of its calls to kernels: how long they took of late, how many failed, and what is usual."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

WINDOW_S = 3.0
ROWS_MAX = 1000  # of one callee: more in a window would say nothing more
REFERENCE_WEIGHT = 0.05
LEARNS_FROM_CALLS = 3


@dataclass(frozen=True)
class CallSummary:
    """The calls to one callee within the window; latencies are of those that were answered."""

    calls: int
    failed: int  # no answer in time, or nobody there
    p50_ms: float
    p95_ms: float
    reference_ms: float  # the usual p50; 0 = not known yet


class CallStats:
    """note() each call, summaries() now and then; time is an argument of both.

    A window whose p50 is above *usual_ms_max* teaches nothing: what is slow must not become what is usual.
    """

    def __init__(self, usual_ms_max: float) -> None:
        self.usual_ms_max = usual_ms_max
        self._rows: dict[str, deque[tuple[float, float, bool]]] = {}
        self._reference_ms: dict[str, float] = {}

    def note(self, callee: str, now_s: float, took_s: float, answered: bool) -> None:
        rows = self._rows.get(callee)
        if rows is None:
            rows = self._rows[callee] = deque(maxlen=ROWS_MAX)
        rows.append((now_s, took_s, answered))

    def summaries(self, now_s: float) -> dict[str, CallSummary]:
        """{callee: its calls}; without those that were not called."""
        found = {}
        for callee, rows in self._rows.items():
            while rows and rows[0][0] <= now_s - WINDOW_S:
                rows.popleft()
            if rows:
                found[callee] = self._summary(callee, rows)
        return found

    def _summary(self, callee: str, rows: deque[tuple[float, float, bool]]) -> CallSummary:
        took_ms = sorted(1000 * took_s for _, took_s, answered in rows if answered)
        p50_ms = took_ms[len(took_ms) // 2] if took_ms else 0.0
        p95_ms = took_ms[int(len(took_ms) * 0.95)] if took_ms else 0.0
        failed = len(rows) - len(took_ms)
        if not failed and len(rows) >= LEARNS_FROM_CALLS and p50_ms <= self.usual_ms_max:
            usual_ms = self._reference_ms.get(callee, p50_ms)
            self._reference_ms[callee] = usual_ms + REFERENCE_WEIGHT * (p50_ms - usual_ms)
        return CallSummary(len(rows), failed, p50_ms, p95_ms, self._reference_ms.get(callee, 0.0))
