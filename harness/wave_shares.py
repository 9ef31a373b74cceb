"""A wave's run folder → what of it is each scenario's: its findings, its verdict, its incident.

What a scenario claims of its own faults is judged by what was seen of them alone; what is shared stands for all.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness.judge import judge, judge_claim, verdict
from harness.model import Finding, Verdict
from harness.record import Record
from harness.suite_result import because
from harness.wave_view import NARROW, narrow
from reports.incident import incident_of


@dataclass(frozen=True, kw_only=True)
class Share:
    scenario_id: str
    verdict: Verdict
    because: str
    findings: tuple[Finding, ...]
    incident: dict[str, Any]


def shares(folder: Path) -> list[Share]:
    """Raises OSError or ValueError for what is no run folder. A run of one scenario is all its own."""
    record = Record.load(folder)
    findings = judge(record)
    parts = record.plan.parts or {record.plan.scenario_id: tuple(step.step_id for step in record.plan.steps)}
    found = [_share(record, findings, part) for part in parts]
    whole = verdict(findings)
    if whole in (Verdict.FAIL, Verdict.INCONCLUSIVE) and whole not in [one.verdict for one in found]:
        why = f"the run is {whole.value} ({because(findings, whole)}), which is in nobody's share alone"
        found = [_everybodys(one, whole, why) for one in found]
    return found


def _everybodys(share: Share, whole: Verdict, why: str) -> Share:
    """What the whole run shows and no share of it is each one's; what is shown of a share already is not bettered."""
    if Verdict.worst([share.verdict, whole]) is share.verdict:
        return share
    incident = {**share.incident, "verdict": whole.value, "exit_code": whole.exit_code, "success": False}
    return replace(share, verdict=whole, because=why, incident=incident)


def _share(record: Record, findings: list[Finding], part: str) -> Share:
    own = narrow(record, part)
    mine = []
    for claim, finding in zip(record.plan.claims, findings, strict=True):
        if claim.of not in ("", part):
            continue
        if claim.check in NARROW and not claim.of:  # of all, so judged by all of them until now
            finding = judge_claim(own, claim)
        mine.append(replace(finding, claim=finding.claim.removeprefix(f"{part}: ")))
    answer = verdict(mine)
    incident = incident_of(own, mine)
    return Share(
        scenario_id=part, verdict=answer, because=because(mine, answer), findings=tuple(mine), incident=incident
    )
