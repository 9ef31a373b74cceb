"""report.html: one file that opens anywhere; the verdict first, then the one picture, then the evidence."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Any, ClassVar

from harness.fault_record import Achieved, FaultRecord
from harness.ledger import LEDGER, OUTCOMES
from harness.model import INVARIANT, Event, Finding, Kind, Verdict, invariants_judged, not_passed, overall
from harness.record import Record
from reports.picture import Picture

TEMPLATES = Path(__file__).with_name("templates")
FILES = (
    "signals.csv",
    "requests.csv",
    "timeline.jsonl",
    LEDGER,
)  # what evidence may link to, beside the timeline below
NONE = "–"
TARGET_FILE = re.compile(r"target/\w+\.jsonl")
OPEN_MAX = 8  # of what did not pass, above the picture; all of it stands below
# A shape for each verdict, so that no colour is needed to tell them apart.
SHAPES = {
    Verdict.PASS: '<circle cx="12" cy="12" r="11"/><path d="M6.5 12.5l4 4l7.5-8.5"/>',
    Verdict.FAIL: '<path class="s" d="M7.5 1h9L23 7.5v9L16.5 23h-9L1 16.5v-9z"/><path d="M7.5 7.5l9 9m0-9l-9 9"/>',
    Verdict.INCONCLUSIVE: '<path class="s" d="M12 1l11.5 21H.5z"/><path d="M12 8.5v7m0 2.5v1.5"/>',
    Verdict.NOT_APPLICABLE: '<path class="s" d="M2 2h20v20H2z"/><path d="M7 12h10"/>',
}
GROUPS = ("safeguard", "playbook", "verification", "criterion", INVARIANT, "validity")


class Html:
    """No network. The script only adds a cursor and a filter; all else is text, tables and SVG, all of it escaped."""

    filename: ClassVar[str] = "report.html"

    def render(self, record: Record, findings: Sequence[Finding]) -> str:
        answer = overall(findings)
        picture = Picture(record)
        script = (TEMPLATES / "report.js").read_text(encoding="utf-8")
        style = (TEMPLATES / "report.css").read_text(encoding="utf-8")
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
        body = (
            _head(record, findings, answer),
            _open_questions(findings),
            f"<section class=picture><h2>What happened</h2>{picture.render()}<output></output></section>",
            _findings(findings),
            _faults(record),
            _times(record),
            _ledger(record),
            _environment(record),
            _timeline(record),
        )
        return (
            '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f"<title>{escape(answer.value)}: {escape(record.plan.scenario_id)}</title>\n<style>\n{style}</style></head>"
            f"<body>\n{chr(10).join(body)}\n"
            f'<script type="application/json" id="data">{_json(picture.data())}</script>\n'
            f"<script>{script}</script>\n</body></html>\n"
        )


def _json(data: Any) -> str:
    """JSON that cannot end the element it stands in."""
    text = json.dumps(data, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _mark_of(finding: Finding) -> str:
    return _mark(finding.verdict, "" if finding.judged else "not judged")


def _mark(verdict: Verdict, words: str = "") -> str:
    shape = f'<svg class="mark" viewBox="0 0 24 24" aria-hidden="true">{SHAPES[verdict]}</svg>'
    return f'<span class="v {verdict.value}">{shape}{escape(words or verdict.value.replace("_", " "))}</span>'


def _facts(record: Record) -> dict[str, Any]:
    started = record.first(Kind.RUN_STARTED)
    return dict(started.detail) if started else {}


def _head(record: Record, findings: Sequence[Finding], answer: Verdict) -> str:
    plan, started = record.plan, record.first(Kind.RUN_STARTED)
    repeat = str(_facts(record).get("repeat", ""))
    subtitle = (
        f"{plan.name} · severity {plan.severity} · {plan.category.replace('_', ' ')} · seed {plan.seed}"
        f" · time scale {plan.time_scale:g}" + (" · control run, no faults" if plan.control else "")
    )
    judged = invariants_judged(findings)
    subtitle += f" · {judged}" if judged else ""
    tiles = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in _tiles(record, findings)
    )
    when = f"<p class=when>{escape(started.wall_time)}, {record.end_s:.0f} s</p>" if started else ""
    return (
        f'<header class="{answer.value}"><p class=verdict>{_mark(answer)}</p>'
        f"<div><h1>{escape(plan.scenario_id)}</h1><p class=subtitle>{escape(subtitle)}</p>{when}</div>"
        f"<dl class=tiles>{tiles}</dl><p class=repeat>repeat it: <code>{escape(repeat)}</code></p></header>"
    )


def _tiles(record: Record, findings: Sequence[Finding]) -> Iterable[tuple[str, str]]:
    plan = record.plan
    seen = [one for step in plan.steps if (one := record.detection(step.step_id))]
    times = [one.after_injected_s for one in seen]
    mean = f"{sum(times) / len(times):.2f} s" if times else NONE
    held = sum(not fault.shortfall for fault in record.faults)
    engaged = {one.safeguard for one in record.engagements} & set(plan.expected_safeguards)
    yield "claims shown", f"{sum(one.verdict is Verdict.PASS for one in findings)} of {len(findings)}"
    yield "safeguards", f"{len(engaged)} of {len(plan.expected_safeguards)}"
    yield "faults as asked", f"{held} of {len(plan.steps)}"
    yield ("mean time to detect" if len(times) > 1 else "time to detect"), mean
    recovery = NONE if record.recovery_s is None else f"{record.recovery_s:.1f} s"
    yield f"recovery (limit {plan.recovery_limit_s:g} s)", recovery


def _open_questions(findings: Sequence[Finding]) -> str:
    """What did not pass, the worst first, and causes before what follows from them."""
    bad = not_passed(findings)
    items = [
        f"<li>{_mark(one.verdict)} <div><b>{escape(one.claim)}</b><small>{escape(one.because)}</small></div></li>"
        for one in bad[:OPEN_MAX]
    ]
    if len(bad) > OPEN_MAX:
        items.append(f'<li><span></span><a href="#findings">and {len(bad) - OPEN_MAX} more</a></li>')
    return f"<section class=open><ul>{''.join(items)}</ul></section>" if items else ""


def _table(name: str, heads: Sequence[str], rows: Sequence[str], note: str = "") -> str:
    head = "".join(f"<th>{escape(one)}" for one in heads)
    note = f"<p class=note>{escape(note)}</p>" if note else ""
    body = f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
    return f'<section id="{name.split()[0].lower()}"><h2>{escape(name)}</h2>{note}{body}</section>'


def _cells(*cells: str) -> str:
    return "<tr>" + "".join(f"<td>{escape(cell)}" for cell in cells) + "</tr>"


def _findings(findings: Sequence[Finding]) -> str:
    rows = []
    known = [group for group in GROUPS if any(one.group == group for one in findings)]
    for group in [*known, *sorted({one.group for one in findings} - set(known))]:
        mine = [one for one in findings if one.group == group]
        for number, one in enumerate(mine):
            first = f'<th rowspan="{len(mine)}" scope="rowgroup">{escape(group)}</th>' if number == 0 else ""
            links = " ".join(_link(text) for text in one.evidence) or NONE
            rows.append(
                f"<tr>{first}<td>{escape(one.claim)}<td>{_mark(one.verdict)}<td>{escape(one.because)}<td>{links}</tr>"
            )
    return _table("Findings", ("group", "claim", "verdict", "because", "evidence"), rows)


def _link(evidence: str) -> str:
    name, _, number = evidence.rpartition(":")
    if name == "timeline":  # of a range, "3-120", the first row
        return f'<a href="#e{escape(number.partition("-")[0])}">#{escape(number)}</a>'
    if name in FILES or TARGET_FILE.fullmatch(name):
        return f'<a href="{name}">{escape(evidence)}</a>'
    return escape(evidence)


def _faults(record: Record) -> str:
    """A row for each magnitude that was asked for; what is of the fault as a whole stands in its first row."""
    rows = []
    for fault in record.faults:
        for number, one in enumerate(fault.table()):
            main = number == 0
            spread = (
                [f"{fault.achieved[key]:g}" for key in ("sd", "p5", "p95")] if main and fault.achieved else [NONE] * 3
            )
            rows.append(
                _cells(
                    fault.step.step_id if main else "",
                    fault.step.subject if main else "",
                    _asked(fault, one, main),
                    NONE if one.achieved is None else f"{one.achieved:g}",
                    NONE if one.witnessed is None else f"{one.witnessed:g}",
                    one.witness or NONE,
                    *spread,
                    *(_ending(fault) if main else ("", "")),
                )
            )
    heads = ("fault", "on", "asked", "achieved", "by a witness", "witness", "sd", "p5", "p95", "ended by", "healed")
    return _table("Asked against achieved", heads, rows, "Measured from attainment to the end of the fault.")


def _asked(fault: FaultRecord, one: Achieved, main: bool) -> str:
    asked = fault.step.asked
    if main:
        known = f"{asked.name} {asked.value:g} {asked.unit}".rstrip() + f", at least {asked.floor:g}"
        return asked.name if asked.is_state else known
    scaled = one.name == "duration" and fault.step.duration_s != fault.step.asked_duration_s
    return f"{one.name} {one.asked:g} {one.unit}" + (f" ({fault.step.asked_duration_s:g} s unscaled)" if scaled else "")


def _ending(fault: FaultRecord) -> tuple[str, str]:
    because = f": {fault.ended.detail.get('because')}" if fault.ended else ""
    verified = bool(fault.healed and fault.healed.detail.get("verified"))
    return f"{fault.ended_by or 'nobody'}{because}", "verified" if verified else "NO"


def _times(record: Record) -> str:
    rows = []
    for fault in record.faults:
        seen = record.detection(fault.step.step_id)
        rows.append(
            _cells(
                fault.step.step_id,
                _at(fault.injected),
                _after(fault.attained, fault.injected),
                NONE if seen is None else f"{seen.after_injected_s:.2f} s",
                NONE if seen is None or seen.after_attained_s is None else f"{seen.after_attained_s:.2f} s",
                NONE if seen is None else seen.safeguard,
                _after(fault.ended, fault.injected),
            )
        )
    limit = f"limit {record.plan.recovery_limit_s:g} s"
    if record.recovery_s is None:
        told = f"Not recovered ({limit})."
    else:
        told = f"Recovered {record.recovery_s:.2f} s after the last fault ended ({limit})."
    heads = ("fault", "injected at", "attained after", "detected after", "after attainment", "by", "ended after")
    return _table("Times to detect and to recover", heads, rows, told)


def _ledger(record: Record) -> str:
    """What was sent and what became of it; "" for a run that kept no ledger."""
    if not record.ledger:
        return ""
    kinds: dict[tuple[str, str, bool], Counter[str]] = {}
    attempts: Counter[tuple[str, str, bool]] = Counter()
    for row in record.ledger:
        key = (row.user, row.kind, row.valid)
        kinds.setdefault(key, Counter())[row.outcome] += 1
        attempts[key] += row.attempts
    rows = [
        _cells(
            user,
            kind,
            "valid" if valid else "invalid",
            str(sum(counts.values())),
            str(attempts[user, kind, valid]),
            *(str(counts[outcome]) for outcome in OUTCOMES),
        )
        for (user, kind, valid), counts in sorted(kinds.items())
    ]
    note = "Each state-changing request once, with its last answer. Unanswered: the target may hold it or not."
    heads = ("user", "what", "", "sent", "attempts", *OUTCOMES)
    return _table("Ledger of the clients", heads, rows, note)


def _at(event: Event | None) -> str:
    return NONE if event is None else f"{event.at_s:.2f} s"


def _after(event: Event | None, start: Event | None) -> str:
    return NONE if event is None or start is None else f"{event.at_s - start.at_s:.2f} s"


def _environment(record: Record) -> str:
    plan, facts = record.plan, _facts(record)
    rows = [_cells(name.replace("_", " "), str(value)) for name, value in facts.items() if name != "sha256"]
    rows += [_cells("users", str(plan.users)), _cells("run folder", record.folder.name)]
    rows += [_cells("expected behavior (shown, not judged)", text) for text in plan.expected_behavior]
    rows += [_cells("prerequisite", text) for text in plan.prerequisites]
    return _table("Environment", ("what", "value"), rows)


def _timeline(record: Record) -> str:
    rows = []
    for event in sorted(record.events, key=lambda one: (one.at_s, one.seq)):
        detail = json.dumps(dict(event.detail), ensure_ascii=False, sort_keys=True)
        cells = f"<td>{event.seq}<td>{event.at_s:.2f}<td>{event.kind.value}<td>{escape(event.subject)}"
        rows.append(
            f'<tr id="e{event.seq}" data-kind="{event.kind.value}">{cells}<td>{escape(event.source)}'
            f"<td class=detail>{escape(detail)}</tr>\n"
        )
    note = record.chain_problem and f"The rows from here on are not shown: {record.chain_problem}."
    return _table("Timeline", ("#", "at s", "kind", "subject", "seen by", "detail"), rows, note)


REPORTER = Html
