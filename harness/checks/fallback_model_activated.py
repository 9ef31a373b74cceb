"""Clients were answered by another model while theirs was degraded, as surely as before, and by their own after it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from harness.checks import finding
from harness.model import Finding, Setup, Verdict
from harness.record import FaultRecord, Record

WITHIN_S = 15.0  # from the injection: to see it, and to switch
BACK_WITHIN_S = 30.0  # from the end of the fault: to see that it is over, and to switch back
CONFIDENCE_MAY_MISS = 0.2  # a simpler model may be a little less sure
SAMPLES_MIN = 3
Row = tuple[float, float, int]


@dataclass(frozen=True, kw_only=True)
class FallbackModelActivated:
    observers: ClassVar[tuple[str, ...]] = ("model_fallback",)

    claim: str
    sources: ClassVar[tuple[str, ...]] = (
        "signals.csv: model_confidence, model_first, model_label_same",
        "timeline: fault_ended, fault_injected",
    )

    def never(self, setup: Setup) -> str:
        """Return why no run can pass, "" when one can."""
        return setup.without("model_degradation")

    def check(self, record: Record) -> Finding:
        faults = [fault for fault in record.faults if fault.step.type == "model_degradation"]
        if not faults:
            why = "no fault of this plan degrades a model"
            return finding(self, Verdict.INCONCLUSIVE, why, record.looked("plan.json"), code="no_such_fault")
        found = [self._one(record, fault) for fault in faults]
        worst = Verdict.worst([one.verdict for one in found])
        told = [one for one in found if one.verdict is worst]
        because = "; ".join(one.because for one in told)
        return finding(self, worst, because, *[line for one in told for line in one.evidence], code=told[0].cause)

    def _one(self, record: Record, fault: FaultRecord) -> Finding:
        model = fault.step.subject
        first, sure, same = (
            record.signals(name, model).rows for name in ("model_first", "model_confidence", "model_label_same")
        )
        if fault.injected is None or fault.ended is None:
            why = f"{model} was not degraded"
            return finding(
                self, Verdict.INCONCLUSIVE, why, fault.injected, record.looked("timeline"), code="not_injected"
            )
        begin_s, end_s = fault.injected.at_s, fault.ended.at_s
        before = [row for row in first if row[0] < begin_s]
        after = [row for row in first if row[0] > end_s]
        if min(len(before), len(first) - len(before) - len(after), len(after)) < SAMPLES_MIN:
            why = f"too few clients asked what {model} answers"
            return finding(self, Verdict.INCONCLUSIVE, why, fault.injected, code="too_few_answers")
        spoken = [{row[0] for row in rows} for rows in (sure, same)]
        if any(row[0] not in times for row in first for times in spoken):
            why = f"how sure the answers were that clients had of {model}, or what they said, was not always told"
            return finding(self, Verdict.INCONCLUSIVE, why, fault.injected, code="answers_incomplete")
        if early := [row for row in before if not row[1]]:
            why = f"another model than {model} answered before it was degraded"
            return self._red(why, early[0], code="fallback_early")
        others = [row for row in first if row[0] >= begin_s and not row[1]]
        if not others or others[0][0] > min(begin_s + WITHIN_S, end_s):
            why = f"no other model answered clients within {WITHIN_S:g} s, while {model} was degraded"
            return self._red(why, others[0] if others else after[0], code="no_fallback")
        since_s = others[0][0]
        if again := [row for row in first if since_s < row[0] <= end_s and row[1]]:
            why = f"{model} answered clients again while it was still degraded"
            return self._red(why, again[0], code="model_back_early")
        usual = _mean([row for row in sure if row[0] < begin_s])
        at = {row[0] for row in others}
        if worse := [row for row in sure if row[0] in at and row[1] < usual - CONFIDENCE_MAY_MISS]:
            why = f"the model that stood in for {model} was sure by {worse[0][1]:.2f}, and {usual:.2f} was usual"
            return self._red(why, worse[0], code="less_sure")
        if wrong := [row for row in same if row[0] in at and not row[1]]:
            why = f"the model that stood in for {model} said another thing than it had said"
            return self._red(why, wrong[0], code="answers_differ")
        back = next((row for row in after if row[1]), None)
        if back is None and first[-1][0] < end_s + BACK_WITHIN_S:
            why = f"nobody asked {model} for {BACK_WITHIN_S:g} s after it was well, and it had not come back until then"
            return finding(self, Verdict.INCONCLUSIVE, why, fault.ended, _line(first[-1]), code="return_not_seen")
        if back is None or back[0] > end_s + BACK_WITHIN_S or not first[-1][1]:
            why = f"{model} was not taken into use again, {BACK_WITHIN_S:g} s after it was well"
            return self._red(why, first[-1], code="not_back")
        if (sure_again := _mean([row for row in sure if row[0] >= back[0]])) < usual - CONFIDENCE_MAY_MISS:
            why = f"{model} was sure by {sure_again:.2f} afterwards, and {usual:.2f} was usual"
            return self._red(why, sure[-1], code="less_sure_after")
        during = _mean([row for row in sure if row[0] in at])
        why = (
            f"another model stood in for {model} after {since_s - begin_s:.1f} s, sure by {during:.2f} ({usual:.2f}"
            f" before), and made way {back[0] - end_s:.1f} s after the end"
        )
        return finding(self, Verdict.PASS, why, fault.injected, _line(others[0]), fault.ended, _line(back))

    def _red(self, because: str, row: Row, code: str) -> Finding:
        return finding(self, Verdict.FAIL, because, _line(row), code=code)


def _mean(rows: list[Row]) -> float:
    return sum(row[1] for row in rows) / len(rows) if rows else 0.0


def _line(row: Row) -> str:
    return f"signals.csv:{row[2]}"


CHECK = FallbackModelActivated
