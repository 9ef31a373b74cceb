"""Nothing was used up: no process of the target grew without end, and neither it nor the machine ran out of memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from harness.checks import early, finding
from harness.model import Finding, Verdict
from harness.record import Record, Series


@dataclass(frozen=True, kw_only=True)
class NoResourceExhaustion:
    """From the baseline to the end; growth is counted from the last sample before the first injection.

    Who is weighed before it must be weighed until the end: what grows unseen is not bounded.
    """

    claim: str

    memory_percent_max: ClassVar[float] = 90.0
    sources: ClassVar[tuple[str, ...]] = (
        "signals.csv: memory_percent, resident_mb",
        "timeline: fault_injected",
    )

    def check(self, record: Record) -> Finding:
        start_s, grown_mb_max = record.first_injection_s, record.plan.slo.grown_mb_max
        if start_s is None:
            why = "no fault was injected"
            return finding(self, Verdict.INCONCLUSIVE, why, record.looked("timeline"), code="not_injected")
        weighed = {name: record.signals("resident_mb", name) for name in record.subjects("resident_mb")}
        found = {name: _growth(series, start_s) for name, series in weighed.items()}
        grown = {name: one for name, one in found.items() if one is not None}
        unseen = set(record.plan.kernels) - set(grown)
        unseen |= {name for name, series in weighed.items() if name not in grown and series.rows[0][0] <= start_s}
        unseen |= {name for name in grown if early(record, weighed[name])}
        full = {
            one: record.signals("memory_percent", one).between(start_s, record.end_s).rows for one in ("", "target")
        }
        peaks = {one: max((value, line) for _, value, line in rows) for one, rows in full.items() if rows}
        cut = {one for one in peaks if early(record, record.signals("memory_percent", one))}
        if not grown or "" not in peaks:
            lacks = "the memory of any process" if not grown else "the machine's memory"
            why = f"{lacks} was not measured"
            return finding(self, Verdict.INCONCLUSIVE, why, record.looked("signals.csv"), code="not_measured")
        worst = max(grown, key=lambda name: grown[name][0])
        fullest = max(peaks, key=lambda one: peaks[one][0])
        where = "the target's memory" if fullest else "the machine's memory"
        why = (
            f"{worst} grew most, by {grown[worst][0]:.0f} MB, at most {grown_mb_max:g} are allowed;"
            f" {where} was full to {peaks[fullest][0]:.0f} %, at most {self.memory_percent_max:g} % are allowed"
        )
        held = grown[worst][0] <= grown_mb_max and peaks[fullest][0] <= self.memory_percent_max
        lines = (f"signals.csv:{grown[worst][1]}", f"signals.csv:{peaks[fullest][1]}")
        if held and (unseen or cut):
            lacks = f"the memory of {', '.join(sorted(unseen)[:3] or [one or 'the machine' for one in sorted(cut)])}"
            why = f"{lacks} was not measured to the end; otherwise: {why}"
            return finding(self, Verdict.INCONCLUSIVE, why, *lines, code="not_measured_to_end")
        return finding(self, Verdict.PASS if held else Verdict.FAIL, why, *lines, code="grew_or_full")


def _growth(series: Series, start_s: float) -> tuple[float, int] | None:
    """(the most that it had more than before *start_s*, that line); None without samples on both sides."""
    before = [row for row in series.rows if row[0] <= start_s]
    after = [row for row in series.rows if row[0] > start_s]
    if not before or not after:
        return None
    _, most, line = max(after, key=lambda row: row[1])
    return most - before[-1][1], line


CHECK = NoResourceExhaustion
