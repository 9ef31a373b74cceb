"""A fault reached what was asked of it, and held it for as long as it was in force."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from harness.checks import finding
from harness.fault_record import FaultRecord, Shortfall, less_than
from harness.model import Finding, Step, Verdict
from harness.record import Record
from harness.unmet import Unmet

INVALID_SHARE = "invalid share"


@dataclass(frozen=True, kw_only=True)
class FaultAttained:
    claim: str
    step_id: str
    sources: ClassVar[tuple[str, ...]] = (
        "requests.csv",
        "timeline: fault_attained, fault_ended, fault_healed, fault_injected",
    )

    def check(self, record: Record) -> Finding:
        fault = record.fault(self.step_id)
        asked = fault.step.asked
        rows = (fault.injected, fault.attained, fault.ended)
        if short := [*fault.shortfalls, *invalid_share(record, fault)]:
            why, timeline = "; ".join(one.because for one in short), record.looked("timeline")
            return finding(self, Verdict.INCONCLUSIVE, why, *rows, timeline, code=[one.code for one in short])
        if fault.injected is not None and fault.healed is None and fault.ended is None:
            return finding(
                self, Verdict.INCONCLUSIVE, "it has not ended", *rows, record.looked("timeline"), code="not_ended"
            )
        if fault.step.asked.unit == "requests" and (mute := _unmet(record, fault.step)):
            lines = (f"requests.csv:{line}" for line in mute.lines)
            return finding(self, Verdict.INCONCLUSIVE, mute.unsure, *rows, *lines, code="never_served")
        achieved = fault.achieved or {}
        if asked.is_state:
            seen = _witnessed(fault)
            return finding(self, Verdict.PASS, f"{asked.name}{seen}, ended by {fault.ended_by}", *rows)
        wanted = f"{asked.value:g} {asked.unit}".strip()
        why = (
            f"asked {wanted}, mean {achieved.get('mean', 0):g} (sd {achieved.get('sd', 0):g},"
            f" p5 {achieved.get('p5', 0):g}, p95 {achieved.get('p95', 0):g}){_witnessed(fault)},"
            f" ended by {fault.ended_by}"
        )
        if alone := [name for name in fault.unwitnessed if name != INVALID_SHARE]:  # the ledger shows that share
            why += f"; no second witness of its {', '.join(alone)}"
        return finding(self, Verdict.PASS, why, *rows)


def _unmet(record: Record, step: Step) -> Unmet | None:
    """The route of this attack, when nothing shows that it ever worked."""
    route = f"POST {step.params.get('endpoint', '')}"
    ratio = step.params.get("invalid_ratio")
    invalid = isinstance(ratio, int | float) and ratio >= 1  # none of its requests is to be served
    mute = (one for one in record.unmet if one.unsure and one.route == route and not (invalid and one.rejects))
    return next(mute, None)


def _witnessed(fault: FaultRecord) -> str:
    """What the second measure shows; "" for a fault that declares none."""
    mean = fault.witness.get("mean")
    return f", {mean:g} by {fault.witness.get('name')}" if isinstance(mean, int | float) else ""


def invalid_share(record: Record, fault: FaultRecord) -> list[Shortfall]:
    """A shortfall where the ledger, the witness of what the load generator says, has fewer invalid ones; or none."""
    asked = next((one for one in fault.step.also_asked if one.name == INVALID_SHARE), None)
    if asked is None or fault.injected is None or record.ledger is None:
        return []
    floods = [one for one in record.faults if one.step.type in ("api_flood", "api_spam")]
    rows = [row for row in record.ledger if row.attack and row.attempts]
    if len(floods) > 1 or not rows:  # nothing says which flood a row is of
        return []
    share = 100 * sum(not row.valid for row in rows) / len(rows)
    if not less_than(share, asked.value, asked.unit):
        return []
    why = f"{share:.1f} % of the {len(rows)} requests in ledger.jsonl are invalid, asked {asked.value:g} %"
    return [Shortfall("invalid_share_short", why)]


CHECK = FaultAttained
