"""A suite's report → one HTML page: the verdict, then each scenario with its reason and a link to its own report."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from html import escape
from typing import Any
from urllib.parse import quote

from harness.model import Verdict
from reports.html import NONE, SHAPES, TEMPLATES

ORDER = (Verdict.FAIL, Verdict.INCONCLUSIVE, Verdict.NOT_APPLICABLE, Verdict.PASS)
WAITS = {"waiting": "not run", "running": "runs", "not run": "not run"}
NO_BREAK = "\u00a0"
# the page's own, beside what it shares with the report of a run
STYLE = """
main td { vertical-align: top; } main .n { text-align: right; white-space: nowrap; width: 1%; } .wide { width: 60%; }
main small { display: block; color: var(--dim); } .live { color: var(--dim); font-weight: 650; }
main pre { white-space: pre-wrap; color: var(--dim); }
"""


def suite_html(report: Mapping[str, Any]) -> str:
    """No network, no script; the links lead to the run folders beside the page."""
    answer = Verdict(report["verdict"])
    style = (TEMPLATES / "report.css").read_text(encoding="utf-8")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{answer.value}: suite of {report['total_scenarios']}</title>\n<style>\n{style}{STYLE}</style></head>"
        f"<body>\n{_head(report, answer)}\n<main>{_escalations(report)}{_waves(report)}{_table(report)}</main>\n"
        "</body></html>\n"
    )


def _head(report: Mapping[str, Any], answer: Verdict) -> str:
    tiles = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in _tiles(report))
    subtitle = f"seed {report['seed']} · time scale {report['time_scale']:g}"
    if report["asked"]["control"]:
        subtitle += " · control runs, no faults"
    cut = "" if report["finished"] else f"not finished{': ' if report['cut'] else ''}{report['cut']}"
    again = "" if "waves" in report else f"grace-chaos run --resume {shlex.quote(report['report_file'])}"
    repeat = "" if report["finished"] or not again else f"<p class=repeat>go on: <code>{escape(again)}</code></p>"
    waves = f" in {len(report['waves'])} waves" if "waves" in report else ""
    return (
        f'<header class="{answer.value}"><p class=verdict>{_mark(answer)}</p>'
        f"<div><h1>Suite of {report['total_scenarios']}{waves}</h1><p class=subtitle>{escape(subtitle)}</p>"
        f"<p class=when>{escape(report['timestamp'])} {escape(cut)}</p></div>"
        f"<dl class=tiles>{tiles}</dl>{repeat}</header>"
    )


def _tiles(report: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    yield "passed", f"{report['passed']} of {report['total_scenarios']}"
    yield "success rate", f"{report['success_rate']:.1f} %"
    yield "failed", str(report["failed"])
    yield "inconclusive", str(report["inconclusive"])
    yield "not applicable", str(report["not_applicable"])


def _mark(verdict: Verdict) -> str:
    shape = f'<svg class="mark" viewBox="0 0 24 24" aria-hidden="true">{SHAPES[verdict]}</svg>'
    return f'<span class="v {verdict.value}">{shape}{escape(verdict.value.replace("_", " "))}</span>'


def _escalations(report: Mapping[str, Any]) -> str:
    """What stopped a test run in waves, or would have."""
    items = [
        f"<li>{_mark(Verdict(one['verdict']))} <div><b>after wave {one['wave']}:"
        f" {escape(one['scenario_id'])}: {escape(one['claim'])}</b><small>{escape(one['because'])}</small>"
        f"<small>not run for it: {escape(', '.join(one['stopped'])) or 'nothing'}</small></div></li>"
        for one in report.get("escalations", ())
    ]
    return f"<section class=open><h2>Escalated</h2><ul>{''.join(items)}</ul></section>" if items else ""


def _waves(report: Mapping[str, Any]) -> str:
    """The waves of a test run, in their order, with what each was to do."""
    body = "".join(
        f"<tr><td class=n>{one['number']}<td class=n>{one['severity']}<td>{escape(', '.join(one['scenarios']))}"
        f"{_apart(one)}<details><summary>plan</summary><pre>{escape(one['plan'])}</pre></details>"
        f"<td>{_state(one)}<td class=n>{_seconds(one['took_s'])}"
        f"<td class=n>{one['seed']}</tr>"
        for one in report.get("waves", ())
    )
    head = (
        "<th class=n>wave<th class=n>severity<th class=wide>at the same time<th>verdict<th class=n>took<th class=n>seed"
    )
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f"<section><h2>Waves</h2>{table}</section>" if body else ""


def _apart(wave: Mapping[str, Any]) -> str:
    told = [f"{name} is apart: {why}" for name, why in wave["apart"].items()]
    told += [f"not steady when it began: {wave['steady_before']}"] if wave["steady_before"] else []
    return "".join(f"<small>{escape(one)}</small>" for one in told)


def _state(row: Mapping[str, Any]) -> str:
    state = WAITS.get(row["state"])
    return f"<span class=live>{escape(state)}</span>" if state else _mark(Verdict(row["verdict"]))


def _seconds(value: float | None) -> str:
    return NONE if value is None else f"{value:.1f} s"


def _table(report: Mapping[str, Any]) -> str:
    incidents = {(one.get("scenario_id"), one.get("seed")): one for one in report["incidents"]}
    rows = sorted(report["scenarios"], key=lambda row: ORDER.index(Verdict(row["verdict"])))
    body = "".join(_row(row, incidents.get((row["scenario_id"], row["seed"]), {})) for row in rows)
    head = "<th>scenario<th>category<th class=n>severity<th>verdict<th>because"
    head += "".join(f"<th class=n>{one}" for one in ("recovery", "took", "seed"))
    return f"<section><h2>Scenarios</h2><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></section>"


def _row(row: Mapping[str, Any], incident: Mapping[str, Any]) -> str:
    title = escape(row["scenario_id"])
    if row["run_folder"] and incident.get("incident_id"):  # one that was killed has left no report
        title = f'<a href="{escape(quote(row["run_folder"]))}/report.html">{title}</a>'
    elif row["log"]:
        title += f' <a href="{escape(quote(row["log"]))}">log</a>'
    name = f"<small>{escape(row['name'])}</small>" if row["name"] != row["scenario_id"] else ""
    recovery = incident.get("recovery_time_seconds")
    note = f"<small>{escape(row['pause_because'])} when it began</small>" if row["pause_because"] else ""
    cells = (
        f"<td>{title}{name}<td>{escape(row['category'].replace('_', NO_BREAK))}"
        f"<td class=n>{row['severity'] or NONE}<td>{_state(row)}<td>{escape(row['because'])}{note}"
    )
    seconds = f"<td class=n>{_seconds(recovery)}<td class=n>{_seconds(row['took_s'])}"
    return f"<tr>{cells}{seconds}<td class=n>{row['seed']}</tr>"
