"""A suite's report → one HTML page: the verdict, then each scenario with its reason and a link to its own report."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape
from typing import Any
from urllib.parse import quote

from harness.model import Verdict
from reports.html import NONE, SHAPES, TEMPLATES

ORDER = (Verdict.FAIL, Verdict.INCONCLUSIVE, Verdict.NOT_APPLICABLE, Verdict.PASS)
WAITS = {"waiting": "not run", "running": "runs"}
# the page's own, beside what it shares with the report of a run
STYLE = """
main td { vertical-align: top; } main td.n { text-align: right; white-space: nowrap; }
main small { display: block; color: var(--dim); } .live { color: var(--dim); font-weight: 650; }
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
        f"<body>\n{_head(report, answer)}\n<main>{_table(report)}</main>\n</body></html>\n"
    )


def _head(report: Mapping[str, Any], answer: Verdict) -> str:
    tiles = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in _tiles(report))
    subtitle = f"seed {report['seed']} · time scale {report['time_scale']:g}"
    if report["asked"]["control"]:
        subtitle += " · control runs, no faults"
    cut = "" if report["finished"] else f"not finished{': ' if report['cut'] else ''}{report['cut']}"
    again = f"grace-chaos run --resume {report['report_file']}"
    repeat = "" if report["finished"] else f"<p class=repeat>go on: <code>{escape(again)}</code></p>"
    return (
        f'<header class="{answer.value}"><p class=verdict>{_mark(answer)}</p>'
        f"<div><h1>Suite of {report['total_scenarios']}</h1><p class=subtitle>{escape(subtitle)}</p>"
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


def _table(report: Mapping[str, Any]) -> str:
    incidents = {(one.get("scenario_id"), one.get("seed")): one for one in report["incidents"]}
    rows = sorted(report["scenarios"], key=lambda row: ORDER.index(Verdict(row["verdict"])))
    body = "".join(_row(row, incidents.get((row["scenario_id"], row["seed"]), {})) for row in rows)
    heads = ("scenario", "category", "severity", "verdict", "because", "recovery", "took", "seed")
    head = "".join(f"<th>{escape(one)}" for one in heads)
    return f"<section><h2>Scenarios</h2><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></section>"


def _row(row: Mapping[str, Any], incident: Mapping[str, Any]) -> str:
    title = escape(row["scenario_id"])
    if row["run_folder"]:
        title = f'<a href="{escape(quote(row["run_folder"]))}/report.html">{title}</a>'
    elif row["log"]:
        title += f' <a href="{escape(quote(row["log"]))}">log</a>'
    state = WAITS.get(row["state"])
    mark = f"<span class=live>{escape(state)}</span>" if state else _mark(Verdict(row["verdict"]))
    recovery = incident.get("recovery_time_seconds")
    note = f"<small>{escape(row['pause_because'])} when it began</small>" if row["pause_because"] else ""
    cells = (
        f"<td>{title}<small>{escape(row['name'])}</small><td>{escape(row['category'].replace('_', ' '))}"
        f"<td class=n>{row['severity'] or NONE}<td>{mark}<td>{escape(row['because'])}{note}"
    )
    seconds = "".join(f"<td class=n>{NONE if one is None else f'{one:.1f} s'}" for one in (recovery, row["took_s"]))
    return f"<tr>{cells}{seconds}<td class=n>{row['seed']}</tr>"
