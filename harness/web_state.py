"""What the web page shows of the runs of this process, as JSON: the one that goes on and those that are over."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from harness.model import Event, Finding, Kind, Step, not_passed
from harness.traffic import Traffic

if TYPE_CHECKING:
    from harness.run import Run

REPORTS = ("report.html", "incident.json", "junit.xml")  # what the page links to
EVIDENCE = ("timeline.jsonl", "signals.csv", "requests.csv", "findings.json", "plan.json", "scenario.yaml")
RUNS_MAX = 50
EVENTS_MAX = 12
FINDINGS_MAX = 30
WORDS_MAX = 150
NOT_TOLD = ("target_", "seen_at", "clock_", "incident_id")
RECENT_S = 3.0
View = dict[str, Any]


@dataclass(frozen=True)
class PastRun:
    """A run that has its verdict: what the page says of it, and where its files are."""

    folder: Path
    view: View


class Board:
    """What the page says beside the run that goes on. It holds words, never runs, and not too many of them."""

    def __init__(self) -> None:
        self.starting = ""  # what a start waits for
        self.refused = ""  # why the last start was refused
        self.past: deque[PastRun] = deque(maxlen=RUNS_MAX)

    def over(self, run: Run) -> None:
        self.past.appendleft(PastRun(run.folder, view_of(run)))

    def file(self, run_id: str, name: str) -> Path | None:
        """A file of a run of this process, and nothing else of this machine."""
        for past in self.past:
            path = past.folder / name
            if past.view["run_id"] == run_id and name in (*REPORTS, *EVIDENCE) and path.is_file():
                return path if path.resolve().parent == past.folder.resolve() else None
        return None


class Watched(Protocol):
    """What the page needs of the session."""

    board: Board

    @property
    def shown(self) -> Run | None:
        """The run that goes on or is being judged."""

    def prepare(self, form: Mapping[str, str]) -> str:
        """Why a start with this form is refused; "" when it is not."""

    def halt_run(self) -> Mapping[str, bool] | None:
        """Heals, then stops the load: {fault: healed and verified}. None when no run goes on."""


# What a run looks like


def view_of(run: Run) -> View:
    """A run as JSON, at this moment. The same shape before and after the verdict, which is null until then."""
    now_s = run.clock.now_s()
    plan, events = run.plan, run.journal.events
    limit_s = {
        "baseline": plan.slo.baseline_s,
        "faults": max(plan.faults_end_s, 1.0),
        "recovery": plan.recovery_limit_s,
    }.get(run.phase)
    in_phase_s = now_s - run.phase_at_s
    return {
        "run_id": run.folder.name,
        "scenario_id": plan.scenario_id,
        "name": plan.name,
        "severity": plan.severity,
        "category": plan.category,
        "seed": plan.seed,
        "time_scale": plan.time_scale,
        "control": plan.control,
        "safeguards_off": str(run.facts.get("safeguards_off", "")),
        "target": f"{run.facts.get('target', '')} at {run.facts.get('base_url', '')}",
        "repeat": str(run.facts.get("repeat", "")),
        "folder": str(run.folder),
        "started": run.clock.wall_time(0.0),
        "elapsed_s": round(now_s, 1),
        "phase": run.phase,
        "phase_s": round(in_phase_s, 1),
        "phase_limit_s": limit_s,
        "phase_part": round(min(1.0, in_phase_s / limit_s), 3) if limit_s else None,
        "waits_for": run.unwell_because if run.phase in ("baseline", "recovery") else "",
        "now": _now(run, now_s),
        "faults": [_fault(step, run, now_s) for step in plan.steps],
        "safeguards": _safeguards(run),
        "playbooks": _playbooks(run),
        "events": [_event(event) for event in events[-EVENTS_MAX:][::-1]],
        **_verdict(run),
    }


def _now(run: Run, now_s: float) -> View:
    """The legitimate traffic of the last seconds, and the CPU. Rows come nearly in order: the tail is enough."""
    recent = takewhile(lambda row: row.at_s > now_s - RECENT_S - 1.0, reversed(run.rows))
    traffic = Traffic.of(row for row in recent if row.user == "legitimate" and row.at_s >= now_s - RECENT_S)
    cpu = run.watcher.latest.get(("cpu_percent", ""))
    return {
        "requests_per_s": round(traffic.count / RECENT_S, 1),
        "success_percent": round(100 - traffic.failed_percent, 1) if traffic.count else None,
        "latency_ms_p95": traffic.percentile(95),
        "cpu_percent": round(cpu[1], 1) if cpu else None,
    }


def _fault(step: Step, run: Run, now_s: float) -> View:
    seen = {event.kind: event for event in run.journal.events if event.subject == step.step_id}
    injected, ended, healed = (seen.get(kind) for kind in (Kind.FAULT_INJECTED, Kind.FAULT_ENDED, Kind.FAULT_HEALED))
    attained = seen.get(Kind.FAULT_ATTAINED)
    if healed:
        state = "healed" if healed.detail.get("verified") else "not healed"
    elif injected:
        state = "healing" if ended else "in force"
    else:
        state = "lost" if ended else "waiting"
    if ended and ended.detail.get("ended_by") == "lost":
        state = f"lost, {state}" if state != "lost" else state
    achieved = (ended.detail.get("achieved") or {}).get("mean") if ended else None
    if achieved is None and attained:
        achieved = attained.detail.get("achieved")
    until_s = ended.at_s if ended else now_s
    return {
        "id": step.step_id,
        "on": step.subject,
        "asked": step.asked.words,
        "asked_name": step.asked.name,
        "achieved": achieved,
        "state": state,
        "lasted_s": round(until_s - injected.at_s, 1) if injected else None,
        "duration_s": step.duration_s,
        "ended_by": str(ended.detail.get("ended_by", "")) if ended else "",
    }


def _safeguards(run: Run) -> list[View]:
    """Those that the scenario expects, and those that engaged all the same."""
    first: dict[str, Event] = {}
    for event in run.journal.events:
        if event.kind is Kind.SAFEGUARD_ENGAGED:
            first.setdefault(event.subject, event)
    engaged: dict[str, list[str]] = {}
    for name, subject in sorted(run.watcher.engaged):
        engaged.setdefault(name, []).append(subject)
    names = [*run.plan.expected_safeguards, *(name for name in first if name not in run.plan.expected_safeguards)]
    return [
        {
            "name": name,
            "expected": name in run.plan.expected_safeguards,
            "state": "engaged" if name in engaged else "released" if name in first else "not yet",
            "subjects": engaged.get(name, []),
            "first_at_s": round(first[name].at_s, 1) if name in first else None,
        }
        for name in names
    ]


def _playbooks(run: Run) -> list[View]:
    states: dict[str, str] = dict.fromkeys(run.plan.expected_playbooks, "not yet")
    for event in run.journal.events:
        if event.kind is Kind.PLAYBOOK_STARTED:
            states[event.subject] = "running"
        elif event.kind is Kind.PLAYBOOK_FINISHED:
            states[event.subject] = "done"
    return [{"name": name, "state": state} for name, state in states.items()]


def _says_something(key: str, value: object) -> bool:
    """Clocks and ids stand in the report; a person who watches wants the rest."""
    return isinstance(value, str | int | float) and value != "" and not key.startswith(NOT_TOLD)


def _event(event: Event) -> View:
    told = [f"{key} {value}" for key, value in event.detail.items() if _says_something(key, value)]
    words = ", ".join(told)
    return {
        "seq": event.seq,
        "at_s": round(event.at_s, 1),
        "kind": event.kind.value,
        "subject": event.subject,
        "words": words if len(words) <= WORDS_MAX else words[: WORDS_MAX - 1] + "…",
    }


def _verdict(run: Run) -> View:
    reasons = [event.detail.get("reason", "") for event in run.journal.events if event.kind is Kind.RUN_ABORTED]
    bad = not_passed(run.findings)
    return {
        "verdict": run.verdict.value if run.verdict else None,
        "cut_short": str(reasons[0]) if reasons else "",
        "claims": len(run.findings),
        "shown": len(run.findings) - len(bad),
        "open": [_finding(one) for one in bad[:FINDINGS_MAX]],
        "reports": list(REPORTS) if run.verdict else [],
    }


def _finding(one: Finding) -> View:
    return {"verdict": one.verdict.value, "claim": one.claim, "because": one.because, "group": one.group}


def state_of(session: Watched) -> View:
    """All that the page shows: the run that goes on or else the last one, and a line for each that is over."""
    board, run = session.board, session.shown
    past = [one.view for one in board.past]
    brief = ("run_id", "scenario_id", "seed", "verdict", "started", "cut_short", "claims", "shown", "reports", "folder")
    return {
        "running": run is not None,
        "starting": board.starting,
        "refused": board.refused,
        "run": view_of(run) if run is not None else (past[0] if past else None),
        "runs": [{key: one[key] for key in brief} for one in past],
    }


def rows_of(state: View) -> list[dict[str, str]]:
    """The same, short, for the table that Locust's own tab can show."""
    run = state["run"]
    rows = [("start refused", state["refused"]), ("starting", state["starting"])]
    if run:
        rows += [
            ("scenario", f"{run['scenario_id']}, seed {run['seed']}, time scale {run['time_scale']:g}"),
            ("phase", run["phase"] if run["phase_limit_s"] is None else f"{run['phase']}, {run['phase_s']:.0f} s"),
            ("faults in force", ", ".join(one["id"] for one in run["faults"] if one["state"] == "in force") or "none"),
            ("engaged", ", ".join(one["name"] for one in run["safeguards"] if one["state"] == "engaged") or "none"),
            ("verdict", run["verdict"] or "not yet"),
        ]
    rows.append(("live page, HALT, reports", "/grace/"))
    return [{"what": what, "state": told} for what, told in rows if told]
