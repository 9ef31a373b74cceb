"""Run folders for the checks' tests: MF01 as it goes well, with one knob for each thing that can go wrong."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.model import Kind, Plan
from harness.record import Record
from harness.traffic import RequestRow
from tests import drafts
from tests.drafts import CHECK, END, INJECTED, KNOWLEDGE, RETRO, Draft, PaperTarget

GUARDS = {
    "acl_violation_monitor": "message_bus_acl_violation_fix",
    "resource_pressure_monitor": "resource_pressure_cpu",
    "kernel_watchdog": "kernel_restart",
}
STEPS = ("acl_flood", "cpu_spike", "kernel_pause")


def paper_target(folder: Path) -> PaperTarget:
    """A target to plan for; nothing runs behind it."""
    return PaperTarget(paths={"root": folder})


def paper_plan(folder: Path, **options: Any) -> Plan:
    return drafts.mf01_plan(**options)


def write_run(
    folder: Path,
    *,
    engaged: Sequence[str] = tuple(GUARDS),
    engaged_early: bool = False,
    ended_by: str = "",
    outcome: str = "succeeded",
    achieved: Mapping[str, float] | None = None,
    violations: float | None = None,
    cpu: float | None = None,
    lag_ms: float | None = None,
    workers: Mapping[str, float | None] | None = None,
    baseline: bool = True,
    planned: bool = True,
    healed: bool = True,
    recovered: bool = True,
    finished: bool = True,
    aborted: bool = False,
    restarted: bool = True,
    route_back_s: float | None = None,
    symptom: bool = True,
    dragged: bool = False,
    bystander_failures: int = 0,
    silent_s: float = 0.0,
    heard: bool = True,
    heard_after: int = 0,
    deaf_from_s: float | None = None,
    shed_at: Sequence[float] | None = None,
) -> Record:
    """Writes the run into *folder* and loads it. Times are seconds since the run started."""
    draft = drafts.healthy()
    _faults(draft, achieved or {}, ended_by, planned, healed)
    _guards(draft, engaged, engaged_early, outcome)
    _kernel(draft, restarted, route_back_s, symptom, dragged)
    _traffic(draft, bystander_failures, shed_at)
    _bus(draft, violations, heard, heard_after, deaf_from_s)
    for name, value in (("cpu_percent", cpu), ("loop_lag_ms", lag_ms)):
        if value is not None:
            draft.hold(name, value)
    for worker, late_ms in (workers or {}).items():  # None: it loads, and does not tell of its lag
        for at_s, name, _, _ in [row for row in draft.signals if row[1] == "loop_lag_ms" and not row[2]]:
            draft.signals.append((at_s, "worker_requests", worker, 10.0))
            draft.signals += [(at_s, name, worker, late_ms)] if late_ms is not None else []
    if silent_s:
        draft.add(12.0, Kind.SIGNAL_LOST, "resources", "watcher", error="silence")
        draft.add(12.0 + silent_s, Kind.SIGNAL_BACK, "resources", "watcher")
    for kind, kept in ((Kind.STEADY_STATE_MET, baseline), (Kind.RECOVERED, recovered), (Kind.RUN_FINISHED, finished)):
        if not kept:
            draft.drop(kind)
    if aborted:
        draft.add(35.5, Kind.RUN_ABORTED, draft.plan.scenario_id, "run", reason="interrupted")
    return draft.record(folder)


def edit_row(folder: Path, seq: int, **fields: Any) -> Record:
    """Changes a row of the timeline below *folder* without giving it another hash; the record as it then reads."""
    path = next(folder.rglob("timeline.jsonl"))
    lines = path.read_text(encoding="utf-8").splitlines()
    row = json.loads(lines[seq - 1])
    assert any(row[key] != value for key, value in fields.items()), "the edit must change something"
    lines[seq - 1] = json.dumps({**row, **fields})
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return Record.load(path.parent)


def _faults(draft: Draft, achieved: Mapping[str, float], ended_by: str, planned: bool, healed: bool) -> None:
    for step in STEPS:
        if not planned:
            for kind in (Kind.FAULT_PLANNED, Kind.FAULT_INJECTED, Kind.FAULT_ATTAINED, Kind.FAULT_ENDED):
                draft.drop(kind, step)
            draft.drop(Kind.FAULT_HEALED, step)
            continue
        if step in achieved:
            mean = {"mean": achieved[step], "sd": 0.0, "p5": achieved[step], "p95": achieved[step], "n": 20.0}
            draft.change(Kind.FAULT_ENDED, step, achieved=mean)
        if ended_by:
            draft.change(Kind.FAULT_ENDED, step, ended_by=ended_by)
        draft.change(Kind.FAULT_HEALED, step, verified=healed)


def _guards(draft: Draft, engaged: Sequence[str], early: bool, outcome: str) -> None:
    for guard, playbook in GUARDS.items():
        if guard not in engaged:
            draft.drop(Kind.SAFEGUARD_ENGAGED, guard).drop(Kind.SAFEGUARD_RELEASED, guard)
            draft.drop(Kind.PLAYBOOK_STARTED, playbook).drop(Kind.PLAYBOOK_FINISHED, playbook)
            continue
        draft.change(Kind.PLAYBOOK_FINISHED, playbook, outcome=outcome)
        if early:
            draft.add(1.0, Kind.SAFEGUARD_ENGAGED, guard, "control_plane", subject="old", incident_id="old")


def _kernel(draft: Draft, restarted: bool, back_s: float | None, symptom: bool, dragged: bool) -> None:
    if not restarted:
        draft.drop(Kind.KERNEL_CHANGED, "memory_fusion")
    if not symptom:
        draft.drop(Kind.SYMPTOM_SEEN, "memory_fusion", "routes")
    if dragged:
        draft.add(12.0, Kind.KERNEL_CHANGED, "librarian", "processes", what="process", pid=9, old_pid=8)
    if back_s is not None:
        down = [(a, n, s, 0.0) for a, n, s, v in draft.signals if (n, s) == ("route_up", KNOWLEDGE) and a > INJECTED]
        down += [(half / 2, "route_up", KNOWLEDGE, 0.0) for half in range(int(2 * END) + 1, int(2 * back_s))]
        draft.signals = [row for row in draft.signals if (row[0] <= INJECTED or row[1:3] != ("route_up", KNOWLEDGE))]
        draft.signals += [*down, (back_s, "route_up", KNOWLEDGE, 1.0)]


def _traffic(draft: Draft, bystander_failures: int, shed_at: Sequence[float] | None) -> None:
    if bystander_failures:
        draft.requests.append(
            RequestRow(12.0, "legitimate", CHECK, "failed", 500, bystander_failures, ((5, bystander_failures),))
        )
    if shed_at is not None:
        served = [replace(r, outcome="ok", status=200) if r.outcome == "shed" else r for r in draft.requests]
        shed = [RequestRow(at_s, "legitimate", RETRO, "shed", 503, 1, ((2, 1),)) for at_s in shed_at]
        draft.requests = sorted([*served, *shed], key=lambda row: row.at_s)


def _bus(draft: Draft, violations: float | None, heard: bool, heard_after: int, deaf_s: float | None) -> None:
    name = "message_bus.acl_violations"
    if violations is not None:
        draft.signals = [
            (a, n, s, 3.0 + (violations if a > INJECTED else 0.0)) if n == name else (a, n, s, v)
            for a, n, s, v in draft.signals
        ]
    if not heard:
        draft.silence("bus_delivered")
    draft.signals = [
        (a, n, s, v + (heard_after if n == "bus_delivered" and a > 12.0 else 0.0)) for a, n, s, v in draft.signals
    ]
    if deaf_s is not None:
        last = max(v for a, n, _, v in draft.signals if n == "bus_canary" and a <= deaf_s)
        draft.signals = [(a, n, s, min(v, last) if n == "bus_canary" else v) for a, n, s, v in draft.signals]
