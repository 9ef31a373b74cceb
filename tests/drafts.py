"""Builds run folders of MF01_triple_threat without running anything: healthy as they stand, and easy to break.

    draft = healthy()
    draft.drop(Kind.SAFEGUARD_ENGAGED, "kernel_watchdog")
    record = draft.record(tmp_path)

Times, figures and words are fixed, so that two calls write the same bytes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from harness import scenario, seal
from harness.clock import Clock
from harness.contracts import (
    AuditTrail,
    BehaviourQuestion,
    LedgerPage,
    Link,
    LogRoute,
    ProcessId,
    Question,
    Route,
    TargetError,
    WorkerPool,
)
from harness.journal import CsvWriter, Journal, SignalWriter, file_hashes
from harness.metrics import UNITS
from harness.model import Kind, Plan
from harness.plan import Options, build_plan, plan_to_json
from harness.record import Record
from harness.required import FORMAT_KEY
from harness.traffic import HEADER, RequestRow
from twin.config import PLAYBOOKS, SAFEGUARDS

STARTED_WALL_S = 1_790_000_000.0
NAME = "20260921T141320.000000Z"
KERNELS = (
    *("message_bus", "immutable_log", "self_healing", "coding_agent", "clarity_framework", "verification_framework"),
    *("secret_manager", "governance", "infrastructure_manager", "memory_fusion", "librarian", "sandbox"),
    *("agentic_spine", "voice_conversation", "meta_loop", "learning_integration", "health_monitor", "trigger_mesh"),
    *("scheduler", "api_server"),
)
KNOWLEDGE, CHECK, INTENT, RETRO = (
    "GET /api/knowledge",
    "POST /api/governance/check",
    "POST /api/htm/intents",
    "POST /api/meta_loop/retrospective",
)

# The story, in seconds since the run started.
BASELINE, INJECTED = 8.0, 8.1
PRESSURE, SHED_END = 10.2, 18.7
MISSED, RESTARTED, BACK = 10.7, 11.3, 11.6
PAUSE_END, FLOOD_END, CPU_END = 11.3, 15.2, 15.6
RECOVERED, END = 30.3, 36.0


def route(name: str, *kernels: str, witness_of: str = "") -> Route:
    method, path = name.split(" ")
    return Route(name=name, method=method, path=path, kernels=("api_server", *kernels), witness_of=witness_of)


@dataclass(frozen=True, kw_only=True)
class PaperTarget:
    """contracts.Target for planning: words, and no process behind them."""

    name: str = "grace-twin"
    base_url: str = "http://127.0.0.1:41234"
    kernels: tuple[str, ...] = KERNELS
    routes: tuple[Route, ...] = (
        route(KNOWLEDGE, "librarian", "memory_fusion", witness_of="memory_fusion"),
        route(CHECK, "governance", witness_of="governance"),
        route(INTENT, "scheduler"),
        route(RETRO, "meta_loop", witness_of="meta_loop"),
    )
    safeguards: tuple[str, ...] = SAFEGUARDS
    playbooks: tuple[str, ...] = PLAYBOOKS
    playbook_effects: Mapping[str, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)
    bus: Mapping[str, Any] | None = field(default_factory=lambda: {"spare_actors": [{}]})
    paths: Mapping[str, Path] = field(default_factory=dict)
    signals: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    event_rules: tuple[Mapping[str, str], ...] = ()
    capabilities: tuple[str, ...] = ()
    offers: tuple[str, ...] = ()
    permitted: tuple[str, ...] = ()
    links: Mapping[str, Link] = field(default_factory=dict)
    ledgers: Mapping[str, LedgerPage] = field(default_factory=dict)
    immutable_log: LogRoute | None = None
    audit: AuditTrail | None = None
    exclusive: bool = False
    workers: Mapping[str, WorkerPool] = field(
        default_factory=lambda: {"htm": WorkerPool(processes={"htm_worker_1": {}, "htm_worker_2": {}}, function="a:b")}
    )
    models: Mapping[str, Question] = field(default_factory=dict)
    behaviour: tuple[BehaviourQuestion, ...] = ()

    def process(self, name: str) -> ProcessId:
        raise TargetError(f"{name} is a word on paper")


@dataclass(frozen=True)
class Row:
    """An event before it has its hash; *seen_s* is when it was written, *at_s* when it happened."""

    at_s: float
    kind: Kind
    subject: str
    source: str
    detail: dict[str, Any] = field(default_factory=dict)
    seen_s: float | None = None


@dataclass
class Draft:
    """What a run folder will hold. Change the lists, then write."""

    plan: Plan
    events: list[Row]
    signals: list[tuple[float, str, str, float]]
    requests: list[RequestRow]
    files: dict[str, str] = field(default_factory=dict)  # more of the run folder: path → text

    def drop(self, kind: Kind, subject: str | None = None, source: str | None = None) -> Draft:
        """Takes out the events of *kind* (and *subject*, *source*). There must be one."""
        kept = [e for e in self.events if not _fits(e, kind, subject, source)]
        assert len(kept) < len(self.events), f"the story has no {kind} of {subject}"
        self.events = kept
        return self

    def change(self, kind: Kind, subject: str, /, at_s: float | None = None, **detail: Any) -> Draft:
        """Gives the events of *kind* and *subject* another time or other details. There must be one."""
        assert any(_fits(e, kind, subject, None) for e in self.events), f"the story has no {kind} of {subject}"
        self.events = [
            replace(e, at_s=e.at_s if at_s is None else at_s, seen_s=at_s or e.seen_s, detail={**e.detail, **detail})
            if _fits(e, kind, subject, None)
            else e
            for e in self.events
        ]
        return self

    def add(self, at_s: float, kind: Kind, subject: str, source: str, /, **detail: Any) -> Draft:
        self.events.append(Row(at_s, kind, subject, source, detail))
        return self

    def silence(self, name: str, subject: str | None = None) -> Draft:
        """Takes a signal out. It must be there."""
        kept = [s for s in self.signals if s[1] != name or subject not in (None, s[2])]
        assert len(kept) < len(self.signals), f"the story has no signal {name}"
        self.signals = kept
        return self

    def hold(self, name: str, value: float, subject: str = "") -> Draft:
        """Gives a signal one value for the whole run."""
        self.signals = [(a, n, s, value if (n, s) == (name, subject) else v) for a, n, s, v in self.signals]
        return self

    def cut_short(self, at_s: float, reason: str = "interrupted") -> Draft:
        """The run is stopped at *at_s*: nothing later is there, faults in force end by a halt."""
        kept = [e for e in self.events if e.at_s <= at_s and e.kind is not Kind.RUN_FINISHED]
        kept.append(Row(at_s, Kind.RUN_ABORTED, self.plan.scenario_id, "run", {"reason": reason}))
        begun = {e.subject for e in kept if e.kind is Kind.FAULT_INJECTED}
        for step in begun - {e.subject for e in kept if e.kind is Kind.FAULT_ENDED}:
            halt = {"ended_by": "halt", "because": "the run was halted", "achieved": None}
            kept.append(Row(at_s + 0.1, Kind.FAULT_ENDED, step, "conductor", halt))
            kept.append(Row(at_s + 0.1, Kind.FAULT_HEALED, step, "conductor", {"verified": True, "primitives": []}))
        self.events = kept
        self.signals = [row for row in self.signals if row[0] <= at_s]
        self.requests = [row for row in self.requests if row.at_s <= at_s]
        return self

    def write(self, folder: Path) -> Path:
        """Writes plan.json, timeline.jsonl, signals.csv and requests.csv into a new folder below *folder*."""
        made = folder / NAME
        made.mkdir(parents=True)
        (made / "plan.json").write_text(plan_to_json(self.plan), encoding="utf-8")
        signals = SignalWriter(made)
        for at_s, name, subject, value in sorted(self.signals):
            signals.write(at_s, name, subject, value)
        signals.close()
        requests = CsvWriter(made / "requests.csv", HEADER)
        requests.rows(row.cells() for row in self.requests)
        requests.close()
        for name, text in self.files.items():
            (made / name).parent.mkdir(parents=True, exist_ok=True)
            (made / name).write_text(text, encoding="utf-8")
        journal = Journal(made, Clock(monotonic_base_s=0.0, wall_base_s=STARTED_WALL_S))
        events = [*self.events, *self._counted()]
        for row in sorted(events, key=lambda e: e.at_s if e.seen_s is None else e.seen_s):
            told = self._witnessed(row) if row.kind is Kind.FAULT_ENDED else row.detail
            detail = {**told, **self._hashes(row.kind, made)}
            journal.append(row.kind, row.subject, row.source, detail, at_s=row.at_s)
        journal.close()
        return made

    @property
    def run_format(self) -> int:
        return int(self.events[0].detail.get(FORMAT_KEY, 1))

    def _hashes(self, kind: Kind, made: Path) -> dict[str, Any]:
        """What an event of *kind* records of the files, by the format of the run."""
        if kind is Kind.RUN_STARTED and self.run_format > 1:
            return seal.at_start(made)
        if kind not in (Kind.RUN_FINISHED, Kind.RUN_SEALED):
            return {}
        return seal.at_end(made, ()) if self.run_format > 1 else {"sha256": file_hashes(made)}

    def _witnessed(self, row: Row) -> dict[str, Any]:
        """The end of a fault, with a witness that agrees and its whole duration, where the story says nothing else."""
        step = next((one for one in self.plan.steps if one.step_id == row.subject), None)
        achieved = row.detail.get("achieved")
        if step is None or not isinstance(achieved, dict):
            return row.detail
        also = {one.name: one.value for one in step.also_asked}
        witness = {"name": step.witness, "mean": achieved["mean"], "error": 0.0}
        told = {"also": also, **row.detail.get("told", {})} if also else row.detail.get("told")
        agreed = {"lasted_s": step.duration_s, "witness": witness, **row.detail}
        return {**agreed, "told": told} if told else agreed

    def _counted(self) -> list[Row]:
        """Locust's own statistics as they agree with requests.csv, where the story has none of its own."""
        if any(row.kind is Kind.LOAD_COUNTED for row in self.events):
            return []
        locust: Counter[str] = Counter()
        for row in self.requests:
            locust[row.name] += row.count
        ended = sum(row.count for row in self.requests if row.user == "legitimate")
        users = {"": {"started": ended, "ended": ended, "cut": 0, "waiting": 0, "idle_s": 0.0}}
        detail = {"locust": dict(sorted(locust.items())), "reset": False, "users": users, "attacks": {}}
        after = (Kind.READ_BACK, Kind.DEEDS_LOGGED, Kind.RUN_FINISHED, Kind.RUN_SEALED)
        last_s = max((row.at_s for row in self.events if row.kind not in after), default=0.0)
        return [Row(last_s, Kind.LOAD_COUNTED, self.plan.scenario_id, "load", detail)]

    def record(self, folder: Path) -> Record:
        return Record.load(self.write(folder))


def _fits(event: Row, kind: Kind, subject: str | None, source: str | None) -> bool:
    return event.kind is kind and subject in (None, event.subject) and source in (None, event.source)


@cache
def _mf01() -> scenario.Scenario:
    """It is read once: thousands of tests plan by it."""
    return scenario.find("MF01_triple_threat")[0]


def mf01_plan(**options: Any) -> Plan:
    asked = Options(**{"seed": 7, "time_scale": 0.1, **options})
    plan, _ = build_plan(_mf01(), PaperTarget(), asked, UNITS)
    return plan


def healthy(**options: Any) -> Draft:
    """MF01 at a tenth of its length on a platform that does all it should."""
    plan = mf01_plan(**options)
    return Draft(plan, _events(plan), _signals(), _requests())


def _events(plan: Plan) -> list[Row]:
    run, told = "run", "control_plane"
    facts = {
        "scenario_id": plan.scenario_id,
        "seed": plan.seed,
        "time_scale": plan.time_scale,
        "control": plan.control,
        "target": "grace-twin",
        "base_url": "http://127.0.0.1:41234",
        "harness_version": "0.1.0",
        "repeat": f"locust -f locustfiles/grace.py --headless --scenario {plan.scenario_id}"
        f" --time-scale 0.1 --seed {plan.seed}",
    }
    steady = {"latency_ms_p95": 14.0, "failure_percent": 0.0, "cpu_percent": 21.5, "requests": 100}
    rows = [
        Row(0.0, Kind.RUN_STARTED, plan.scenario_id, run, facts),
        Row(BASELINE, Kind.STEADY_STATE_MET, "baseline", run, steady),
        *_fault(plan, "acl_flood", 9.2, FLOOD_END, "plan", "its time is up", 1000.4),
        *_fault(plan, "cpu_spike", 9.6, CPU_END, "plan", "its time is up", 90.3),
        *_fault(plan, "kernel_pause", INJECTED, PAUSE_END, "target", "pid 4242 is gone from /proc", 1.0),
        Row(INJECTED + 0.1, Kind.SYMPTOM_SEEN, "memory_fusion", "processes", {"what": "process_stopped"}),
        Row(INJECTED + 2.2, Kind.SYMPTOM_SEEN, "memory_fusion", "routes", {"what": "route_down", "route": KNOWLEDGE}),
        Row(BACK, Kind.SYMPTOM_SEEN, "memory_fusion", "routes", {"what": "route_back", "route": KNOWLEDGE}),
        Row(
            RESTARTED,
            Kind.KERNEL_CHANGED,
            "memory_fusion",
            "processes",
            {"what": "process", "old_pid": 4242, "pid": 5151, "old_start_ticks": 100, "start_ticks": 1600},
        ),
    ]
    incidents = (
        ("acl_violation_monitor", "rogue_kernel", "message_bus_acl_violation_fix", 8.15, 8.2, RECOVERED, "blacklisted"),
        ("resource_pressure_monitor", "cpu", "resource_pressure_cpu", PRESSURE, 10.25, SHED_END, "CPU above 80 %"),
        ("kernel_watchdog", "memory_fusion", "kernel_restart", MISSED, BACK, BACK + 0.05, "no heartbeat for 2.5 s"),
    )
    for number, (guard, subject, playbook, engaged, done, released, reason) in enumerate(incidents, 1):
        same = {"subject": subject, "incident_id": f"incident-{number}"}
        ok = {**same, "outcome": "succeeded"}
        rows += [
            Row(engaged, Kind.SAFEGUARD_ENGAGED, guard, told, {**same, "reason": reason}, engaged + 0.2),
            Row(engaged + 0.01, Kind.PLAYBOOK_STARTED, playbook, told, same, engaged + 0.2),
            Row(done, Kind.PLAYBOOK_FINISHED, playbook, told, ok, done + 0.2),
            Row(released, Kind.SAFEGUARD_RELEASED, guard, told, same, released + 0.2),
        ]
    window = {"window": [RECOVERED, RECOVERED + 5.0], "seen_at_s": RECOVERED + 5.0}
    rows.append(Row(RECOVERED, Kind.RECOVERED, plan.scenario_id, run, window, RECOVERED + 5.0))
    rows.append(Row(END, Kind.RUN_FINISHED, plan.scenario_id, run, {}))
    return rows


def _fault(
    plan: Plan, step_id: str, attained: float, end: float, ended_by: str, because: str, mean: float
) -> list[Row]:
    step = next(step for step in plan.steps if step.step_id == step_id)
    achieved = {"mean": mean, "sd": 0.0, "p5": mean, "p95": mean, "max": mean, "n": 20.0}
    by, asked = "conductor", {"type": step.type, "subject": step.subject, "duration_s": step.duration_s}
    return [
        Row(BASELINE + 0.02, Kind.FAULT_PLANNED, step_id, by, asked),
        Row(INJECTED, Kind.FAULT_INJECTED, step_id, by, {"mechanism": "on paper"}),
        Row(attained, Kind.FAULT_ATTAINED, step_id, by, {"achieved": mean, "after_s": round(attained - INJECTED, 3)}),
        Row(end, Kind.FAULT_ENDED, step_id, by, {"ended_by": ended_by, "because": because, "achieved": achieved}),
        Row(end + 0.05, Kind.FAULT_HEALED, step_id, by, {"verified": True, "primitives": []}),
    ]


def _signals() -> list[tuple[float, str, str, float]]:
    rows = []
    for half in range(int(END * 2) + 1):
        at_s = half / 2
        spiked = INJECTED + 1.0 <= at_s <= CPU_END
        rows += [
            (at_s, "cpu_percent", "", 91.0 if spiked else 20.0 + half % 3),
            (at_s, "memory_percent", "", 41.0),
            (at_s, "disk_busy_percent", "", 2.0 + half % 2),
            (at_s, "loop_lag_ms", "", 3.0 + half % 5),
            (at_s, "users", "", 20.0),
            (at_s, "users_present", "", 20.0),
            (at_s, "users_started", "", 20 * at_s),
            (at_s, "users_waiting", "", 1.0),
            (at_s, "users_idle_s", "", 1.2),
            (at_s, "route_up", KNOWLEDGE, 0.0 if INJECTED < at_s < BACK else 1.0),
            *((at_s, "route_up", name, 1.0) for name in (CHECK, RETRO)),
            (at_s, "kernel_heartbeat_age_s", "memory_fusion", max(0.2, at_s - 8.0) if 8 < at_s < BACK else 0.2),
            (at_s, "bus_canary", "", max(0.0, half - 1.0)),
            (at_s, "message_bus.acl_violations", "", 3.0 + 1000 * max(0.0, min(at_s, FLOOD_END) - INJECTED)),
        ]
        if at_s >= INJECTED:
            rows.append((at_s, "bus_delivered", "rogue_kernel", 12.0))
            rows += [(at_s, "fault_achieved", "acl_flood", 1000.0)] * (at_s <= FLOOD_END)
    return rows


def _requests() -> list[RequestRow]:
    """Twenty requests a second, half of them in each of two bins of 100 ms; knowledge fails while its kernel stands."""
    rows = []
    for tenth in range(10, int(END * 10)):
        at_s, busy = tenth / 10, INJECTED < tenth / 10 < CPU_END
        name = (KNOWLEDGE, CHECK, INTENT, CHECK, RETRO)[tenth % 5]
        spread = ((9 + tenth % 6 + 20 * busy, 2),)
        row = RequestRow(at_s, "legitimate", name, "ok", 200, 2, spread)
        if name == KNOWLEDGE and INJECTED + 2.0 <= at_s < BACK:
            row = replace(row, outcome="failed", status=504, latency_ms=((2000, 2),))
        if name == RETRO and PRESSURE <= at_s <= SHED_END:
            row = replace(row, outcome="shed", status=503, latency_ms=((2, 2),))
        rows.append(row)
    return rows
