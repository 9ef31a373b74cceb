"""A fault reached what was asked of it, and held it for as long as it was in force."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from harness.checks import finding
from harness.fault_record import FaultRecord, Shortfall, less_than
from harness.ledger import ROUTE_KINDS
from harness.model import Finding, Magnitude, Step, Verdict
from harness.record import Record
from harness.unmet import Unmet

INVALID_SHARE = "invalid share"
FLOODS = ("api_flood", "api_spam")


@dataclass(frozen=True, kw_only=True)
class FaultAttained:
    claim: str
    step_id: str
    sources: ClassVar[tuple[str, ...]] = (
        "ledger.jsonl",
        "requests.csv",
        "timeline: fault_attained, fault_ended, fault_healed, fault_injected, fault_planned",
    )

    def check(self, record: Record) -> Finding:
        fault = record.fault(self.step_id)
        asked = fault.step.asked
        rows = (fault.injected, fault.attained, fault.ended)
        by_ledger = share_of(record, fault)
        if short := [*fault.shortfalls, *invalid_share(by_ledger)]:
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
        if alone := [name for name in fault.unwitnessed if name != INVALID_SHARE or by_ledger is None]:
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


@dataclass(frozen=True)
class Share:
    """How many of an attack's requests the ledger has as invalid, and how many were asked for, in percent."""

    asked: Magnitude
    value: float
    wanted: float
    rows: int
    floods: tuple[str, ...]


def share_of(record: Record, fault: FaultRecord) -> Share | None:
    """What the ledger, the witness of what the load generator says, shows of an invalid share.

    Floods of one route are judged together: no row says which of them it is of. None: no share is asked, or the ledger
    keeps no rows of that route.
    """
    asked = next((one for one in fault.step.also_asked if one.name == INVALID_SHARE), None)
    if asked is None or fault.injected is None or record.ledger is None:
        return None
    endpoint = str(fault.step.params.get("endpoint", ""))
    floods = [one for one in record.faults if one.injected and one.step.params.get("endpoint") == endpoint]
    others = [one for one in record.faults if one.injected and one.step.type in FLOODS and one not in floods]
    rows = [
        row
        for row in record.ledger
        if row.attack and row.attempts and (not others or row.kind == ROUTE_KINDS.get(endpoint))
    ]
    total = sum(one.step.asked.value for one in floods)
    if not rows or not total:
        return None
    wanted = sum(one.step.asked.value * _share_asked(one.step) for one in floods) / total
    value = 100 * sum(not row.valid for row in rows) / len(rows)
    names = tuple(one.step.step_id for one in floods if one is not fault)
    return Share(asked=asked, value=value, wanted=wanted, rows=len(rows), floods=names)


def _share_asked(step: Step) -> float:
    return next((one.value for one in step.also_asked if one.name == INVALID_SHARE), 0.0)


def invalid_share(seen: Share | None) -> list[Shortfall]:
    """A shortfall where the ledger has fewer invalid ones; or none."""
    if seen is None or not less_than(seen.value, seen.wanted, seen.asked.unit):
        return []
    beside = f" of {', '.join(seen.floods)} and this" if seen.floods else ""
    why = f"{seen.value:.1f} % of the {seen.rows} requests{beside} in ledger.jsonl are invalid"
    return [Shortfall("invalid_share_short", f"{why}, asked {seen.wanted:g} %")]


CHECK = FaultAttained
