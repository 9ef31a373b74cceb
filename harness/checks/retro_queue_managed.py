"""The queue of retrospectives has an end that was met and kept: never deeper, who met it came again, and it drained."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

from harness.checks import early, finding
from harness.checks.retros_completed import KIND
from harness.ledger import NO_LEDGER
from harness.model import Finding, Verdict
from harness.record import Record, Series, cite_rows
from harness.traffic import RequestRow

LOOKED_BACK_S = 2.0  # from the sample just before the attack: what was turned away before it was not for it
# What the target tells of it: how many wait, how many may, and how many it has turned away.
DEPTH, BOUND, REFUSED = "retro_queue_depth", "retro_queue_bound", "retro_queue_refused"


@dataclass(frozen=True, kw_only=True)
class RetroQueueManaged:
    """A bound that nobody runs into shows nothing: then this is INCONCLUSIVE.

    The depth is the target's own word. What an attack was answered is not: a 503 that says when to come again is
    "shed", one that does not is "failed".
    """

    claim: str
    sources: ClassVar[tuple[str, ...]] = (
        "ledger.jsonl",
        "requests.csv",
        "signals.csv: retro_queue_bound, retro_queue_depth, retro_queue_refused",
    )

    def check(self, record: Record) -> Finding:
        if record.ledger is None:
            return finding(self, Verdict.INCONCLUSIVE, NO_LEDGER, record.looked("ledger.jsonl"), code="no_ledger")
        users = {row.user for row in record.ledger if row.kind == KIND and row.attack}
        rows = [row for row in record.requests if row.user in users]
        depth, bounds = record.signals(DEPTH).rows, record.signals(BOUND).rows
        if not rows or not depth or not bounds:
            lacks = "no attack asked for retrospectives" if not rows else "the target tells no depth or no bound of it"
            return finding(
                self,
                Verdict.INCONCLUSIVE,
                lacks,
                record.looked("requests.csv"),
                record.looked("signals.csv"),
                code="nothing_asked" if not rows else "depth_unknown",
            )
        bound = min(value for _, value, _ in bounds)  # one that is raised while the queue grows is none
        peak_s, peak, peak_line = max(depth, key=lambda row: row[1])
        last_s, last, last_line = depth[-1]
        since_s = min(row.at_s for row in rows) - LOOKED_BACK_S
        told = record.signals(REFUSED).between(since_s, record.end_s)
        refused, deferred = _increase(told), _answers(rows, "shed")
        unsaid = _answers(rows, "failed")
        wrong, untold = [], ""
        if peak > bound:
            wrong.append(f"{peak:.0f} waited at {peak_s:.1f} s, and the queue is said to end at {bound:.0f}")
        if last and early(record, record.signals(DEPTH)):
            untold = f"{last:.0f} waited at {last_s:.1f} s, and nobody told what became of them"
        elif last:
            wrong.append(f"{last:.0f} still waited at its last sample, at {last_s:.1f} s")
        if unsaid:
            wrong.append(f"{_total(unsaid)} were answered 503 and not told when to come again")
        cited = (f"signals.csv:{peak_line}", f"signals.csv:{last_line}")
        if wrong:
            why = "; ".join(wrong)
            return finding(
                self,
                Verdict.FAIL,
                why,
                *cited,
                *cite_rows(unsaid),
                code="too_deep" if peak > bound else "not_drained" if last and not untold else "error_without_time",
            )
        if untold:
            return finding(self, Verdict.INCONCLUSIVE, untold, *cited, code="depth_told_early")
        if not refused or not deferred:
            why = f"the end of the queue at {bound:.0f} was never met: {peak:.0f} waited at most"
            return finding(self, Verdict.INCONCLUSIVE, why, *cited, code="bound_not_met")
        if last_s < max(row.at_s for row in rows):
            why = "its depth was not told after the last request"
            return finding(self, Verdict.INCONCLUSIVE, why, *cited, code="depth_told_early")
        why = f"{peak:.0f} waited at most, {bound:.0f} may; {_total(deferred)} were told to come again, and at"
        return finding(self, Verdict.PASS, f"{why} {last_s:.1f} s none waited", *cited, *cite_rows(deferred))


def _answers(rows: list[RequestRow], outcome: str) -> list[RequestRow]:
    return [row for row in rows if row.status == 503 and row.outcome == outcome]


def _total(rows: list[RequestRow]) -> int:
    return sum(row.count for row in rows)


def _increase(series: Series) -> float:
    """Of a counter, over all: one that falls has begun anew."""
    return sum(after - before if after >= before else after for (_, before, _), (_, after, _) in pairwise(series.rows))


CHECK = RetroQueueManaged
