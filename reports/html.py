"""report.html: one file that opens anywhere; the verdict first, then the one picture, then the evidence."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import ClassVar

from harness.judge import verdict
from harness.model import Finding, Verdict
from harness.record import Record
from reports.picture import Picture

STYLE = Path(__file__).with_name("templates") / "report.css"
MARKS = {Verdict.PASS: "✔", Verdict.FAIL: "✘", Verdict.INCONCLUSIVE: "?", Verdict.NOT_APPLICABLE: "–"}


class Html:
    """No script, no network: text, tables and an inline SVG. Whatever the target said is escaped."""

    filename: ClassVar[str] = "report.html"

    def render(self, record: Record, findings: Sequence[Finding]) -> str:
        answer = verdict(findings)
        title = f"{record.plan.scenario_id}: {answer.value}"
        return "\n".join(
            (
                '<!doctype html><html lang="en"><head><meta charset="utf-8">',
                '<meta name="viewport" content="width=device-width, initial-scale=1">',
                f"<title>{escape(title)}</title><style>{STYLE.read_text(encoding='utf-8')}</style></head><body>",
                _head(record, findings, answer),
                f"<section class=picture>{Picture(record).render()}</section>",
                _findings(findings),
                _faults(record),
                _timeline(record),
                "</body></html>\n",
            )
        )


def _head(record: Record, findings: Sequence[Finding], answer: Verdict) -> str:
    plan = record.plan
    facts = dict(record.events[0].detail) if record.events else {}
    detections = [one for step in plan.steps if (one := record.detection(step.step_id))]
    mean = sum(one.after_injected_s for one in detections) / len(detections) if detections else None
    worst = [one for one in findings if one.verdict is answer] if answer is not Verdict.PASS else []
    rows = (
        ("severity", str(plan.severity)),
        ("seed", str(plan.seed)),
        ("time scale", f"{plan.time_scale:g}"),
        ("mean time to detect", "–" if mean is None else f"{mean:.2f} s over {len(detections)} faults"),
        ("time to recover", "–" if record.recovery_s is None else f"{record.recovery_s:.1f} s after the last fault"),
        ("target", f"{facts.get('target')} at {facts.get('base_url')}"),
        ("repeat", str(facts.get("repeat", ""))),
    )
    cells = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in rows)
    reasons = "".join(f"<li><b>{escape(one.claim)}</b>: {escape(one.because)}</li>" for one in worst[:6])
    return (
        f'<header class="{answer.value}"><p class=verdict>{MARKS[answer]} {answer.value}</p>'
        f"<h1>{escape(plan.scenario_id)} <small>{escape(plan.name)}</small></h1>"
        f"<ul class=reasons>{reasons}</ul><dl>{cells}</dl></header>"
    )


def _findings(findings: Sequence[Finding]) -> str:
    rows = []
    for one in findings:
        links = " ".join(_link(text) for text in one.evidence)
        rows.append(
            f'<tr class="{one.verdict.value}"><td class=v>{MARKS[one.verdict]} {one.verdict.value}</td>'
            f"<td>{escape(one.group)}</td><td>{escape(one.claim)}</td><td>{escape(one.because)}</td><td>{links}</td></tr>"
        )
    head = "<tr><th>verdict<th>group<th>claim<th>because<th>evidence</tr>"
    return f"<section><h2>Findings</h2><table>{head}{''.join(rows)}</table></section>"


def _link(evidence: str) -> str:
    name, _, number = evidence.rpartition(":")
    if name == "timeline":
        return f'<a href="#e{escape(number)}">{escape(evidence)}</a>'
    return f'<a href="{escape(name)}">{escape(evidence)}</a>'


def _faults(record: Record) -> str:
    rows = []
    for fault in record.faults:
        asked, got = fault.step.asked, fault.achieved
        detection = record.detection(fault.step.step_id)
        measured = "not measured"
        if got is not None:
            measured = f"{got['mean']:g} (sd {got['sd']:g}, p5 {got['p5']:g}, p95 {got['p95']:g})"
        attained = f"{fault.attained.at_s - fault.injected.at_s:.2f} s" if fault.attained and fault.injected else "–"
        seen = f"{detection.after_injected_s:.2f} s by {detection.safeguard}" if detection else "–"
        cells = (
            fault.step.step_id,
            f"{asked.value:g} {asked.unit}",
            measured,
            attained,
            seen,
            fault.ended_by or "–",
            "yes" if fault.healed and fault.healed.detail.get("verified") else "NO",
        )
        rows.append("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>")
    head = "<tr><th>fault<th>asked<th>achieved mean<th>attained after<th>detected after<th>ended by<th>healed</tr>"
    return f"<section><h2>Asked against achieved</h2><table>{head}{''.join(rows)}</table></section>"


def _timeline(record: Record) -> str:
    rows = []
    for event in sorted(record.events, key=lambda one: one.at_s):
        detail = json.dumps(dict(event.detail), ensure_ascii=False)
        rows.append(
            f"<tr id=e{event.seq}><td>{event.seq}</td><td>{event.at_s:.2f}</td><td>{event.kind.value}</td>"
            f"<td>{escape(event.subject)}</td><td>{escape(event.source)}</td>"
            f"<td class=detail>{escape(detail)}</td></tr>"
        )
    head = "<tr><th>#<th>s<th>kind<th>subject<th>seen by<th>detail</tr>"
    return f"<section><h2>Timeline</h2><table>{head}{''.join(rows)}</table></section>"


REPORTER = Html
