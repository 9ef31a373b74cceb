"""Each damaged model file is on the disk again byte for byte, by the target's doing, and the target answers by it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from harness.checks import FILES, early, finding
from harness.mendings import Mending, damaged, mendings, sum_up
from harness.model import Finding, Setup, Verdict
from harness.record import Record, Series

ANSWERS_WITHIN_S = 5.0  # a model that is whole on the disk must have been read again by then


@dataclass(frozen=True, kw_only=True)
class ModelsRestored:
    observers: ClassVar[tuple[str, ...]] = (FILES, "model_answers")

    claim: str
    sources: ClassVar[tuple[str, ...]] = (
        "signals.csv: model_answers_same",
        "timeline: fault_ended, fault_injected, fault_planned, file_changed, run_started, signal_back, signal_lost",
    )

    def never(self, setup: Setup) -> str:
        """Return why no run can pass, "" when one can."""
        return setup.without("model_corruption")

    def check(self, record: Record) -> Finding:
        faults = damaged(record, "model_corruption", "models")
        if not faults:
            why = "no fault of this plan damages a model"
            return finding(self, Verdict.INCONCLUSIVE, why, record.looked("plan.json"), code="no_such_fault")
        found = [one for fault in faults for one in mendings(record, fault)]
        signals = {one.name: record.signals("model_answers_same", one.name) for one in found}
        checked = [_answering(record, one, signals[one.name]) if one.mended else one for one in found]
        whole = sum_up(checked)
        lines = [
            f"signals.csv:{signals[one.name].rows[-1][2]}"
            for one in checked
            if one.verdict is whole.verdict and signals[one.name].rows
        ]
        return finding(self, whole.verdict, whole.because, *whole.rows, *lines, code=whole.code)


def _answering(record: Record, one: Mending, series: Series) -> Mending:
    """Whether the model's answer is what it was, soon after its file is, and still at the end."""
    assert one.mended is not None
    after = [row for row in series.rows if row[0] > one.mended.at_s]
    if not after:
        why = f"nobody asked {one.name} after it was restored"
        return replace(one, verdict=Verdict.INCONCLUSIVE, because=why, code="model_not_asked")
    if after[0][0] > one.mended.at_s + ANSWERS_WITHIN_S:
        why = f"nobody asked {one.name} in the {ANSWERS_WITHIN_S:g} s after it was restored"
        return replace(one, verdict=Verdict.INCONCLUSIVE, because=why, code="model_not_asked")
    back = next((row for row in after if row[1]), None)
    if back is None or back[0] > one.mended.at_s + ANSWERS_WITHIN_S or not after[-1][1]:
        why = f"{one.name} is whole on the disk, and the target does not answer by it as before"
        return replace(one, verdict=Verdict.FAIL, because=why, code="model_not_in_use")
    if stale := early(record, series):
        why = f"whether it answers by {one.name} {stale}"
        return replace(one, verdict=Verdict.INCONCLUSIVE, because=why, code="told_early")
    return replace(one, because=f"{one.because}; it answers as before {back[0] - one.mended.at_s:.1f} s later")


CHECK = ModelsRestored
