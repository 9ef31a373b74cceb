"""One run of one scenario: baseline, faults, recovery, verdict. Knows no Locust: it is told of requests and ticks."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import takewhile
from pathlib import Path
from typing import Any

import gevent

from harness import catalog, seal
from harness.clock import Clock
from harness.conductor import Conductor
from harness.contracts import Fault, Gates
from harness.deeds import HURRIED_S, LIMIT_S, deeds, log_deeds
from harness.dump import AFTER, BEFORE, Stacks, blamed, control_plane, hung, keep_logs
from harness.guardian_link import GuardianLink, GuardianLost
from harness.hosts import lapsed
from harness.journal import CsvWriter, Journal, SignalWriter
from harness.judge import DECIDED_AFTER_S, judge
from harness.ledger import AUDIT, LedgerWriter, awaited, maybe_held, read_ledger
from harness.ledger_start import cursors, ledger_starts
from harness.limits import Limits, below_floor, free_disk_mb, free_memory_mb
from harness.model import INVARIANT, WELL, Finding, Kind, Plan, Verdict
from harness.plan import plan_to_json
from harness.probe_rows import probe_rows
from harness.read_back import read_back
from harness.record import Record
from harness.reporting import write_reports
from harness.required import FORMAT_KEY, RUN_FORMAT
from harness.signing import PrivateKey, sign
from harness.state_taker import StateTaker
from harness.stop import WINDOW_S, StopWatch, parse_stop
from harness.target import ManifestTarget
from harness.traffic import HEADER, RequestRow, Traffic
from harness.watcher import Watcher

BASELINE_LIMIT_S = 30.0
READ_BACK_S = 60.0  # so long the target may take for what it has accepted, once nothing more comes
LAST_LOOK_S = 1.0  # observers look twice as often: they see the target also after its last work
CONTROL_S = 15.0
FRESH_S = 2.0
REQUESTS_MIN = 20
ABSENT_MIN = 3
FAILING_ROWS = 500  # that a reason is looked for in
MACHINE = ("cpu_percent", "memory_percent", "disk_busy_percent")
STALE_S = 3.0  # a value of the machine that is older is not known
LOG_CORRUPTION = "log_corruption"  # what it changes may be older than the run: then all of the log is read
LATE_ROWS_S = 5.0  # a worker's rows come up to so much later than others of their time


@dataclass(frozen=True)
class RunView:
    """contracts.View: what observers get."""

    target: ManifestTarget
    clock: Clock

    def now_s(self) -> float:
        return self.clock.now_s()

    def from_wall(self, wall_time_s: float) -> float:
        return self.clock.from_wall(wall_time_s)


class Run:
    """begin(), tick() until `done`, then settle(); abort() at any time."""

    def __init__(
        self,
        plan: Plan,
        faults: Mapping[str, Fault],
        target: ManifestTarget,
        folder: Path,
        facts: Mapping[str, Any],
        source: Path | None = None,
        gates: Gates | None = None,
        sign_key: PrivateKey | None = None,
    ) -> None:
        self.plan = plan
        self.target = target
        self.folder = folder
        self.facts = facts
        self.sign_key = sign_key
        self.phase = "load"  # load → baseline → faults → recovery → done
        self.findings: list[Finding] = []
        self.verdict: Verdict | None = None
        self.head = ""  # the hash of the timeline's last event, once the run is judged
        folder.mkdir(parents=True)
        (folder / "target").mkdir()
        (folder / "plan.json").write_text(plan_to_json(plan), encoding="utf-8")
        if source is not None:
            shutil.copy2(source, folder / "scenario.yaml")
        self.clock = Clock()
        self.journal = Journal(folder, self.clock)
        self.signals = SignalWriter(folder)
        self.requests = CsvWriter(folder / "requests.csv", HEADER)
        self.ledger = LedgerWriter(folder)
        self.rows: list[RequestRow] = []
        self.guardian = GuardianLink(folder, folder.name)
        view = RunView(target, self.clock)
        observers: list[Any] = []
        self.unseen: list[str] = []  # observers that the manifest gives nothing to look at
        for name, kind in catalog.observers().items():
            lacks = kind.missing(target) if hasattr(kind, "missing") else ""
            if lacks:
                self.unseen.append(f"{name}: the manifest has no {lacks}")
                continue
            observers += kind.instances(target) if hasattr(kind, "instances") else [kind(target)]
        self.stacks = Stacks(target, folder)
        self.watcher = Watcher(observers, view, self.journal, self.signals, self._asked)
        self.conductor = Conductor(
            plan, faults, target, self.guardian, self.journal, self.signals, self.clock.now_s, gates
        )
        self.limits = Limits().lifted(plan.unsafe)
        self.stopwatch = StopWatch([parse_stop(text) for text in plan.stop_when])
        self.baseline: Traffic | None = None
        self.cpu: list[tuple[float, float]] = []
        self.loaded_at_s = 0.0
        self.phase_at_s = 0.0
        self.unwell_at_s = 0.0
        self.unwell_because = ""
        self.recovered_at_s: float | None = None
        self.reading, self.enough = False, ""  # what the target holds; why somebody wants no more of that
        self.state = StateTaker(target, folder, self.clock, lambda: bool(self.enough), self._asked)
        self._last_s = 0.0
        self._finished = False

    def begin(self) -> None:
        facts = {
            **self.facts,
            FORMAT_KEY: RUN_FORMAT,
            **seal.at_start(self.folder),
            "observers": self.watcher.paces,
            **({"unseen": self.unseen} if self.unseen else {}),
        }
        facts |= {"unsafe": dict(self.plan.unsafe)} if self.plan.unsafe else {}
        damaged = {AUDIT} if any(step.type == LOG_CORRUPTION for step in self.plan.steps) else set()
        facts |= {"ledgers": found} if (found := ledger_starts(self.target, whole=damaged)) else {}
        self.journal.append(Kind.RUN_STARTED, self.plan.scenario_id, "run", facts, durable=True)
        for lack in self.unseen:
            if self._needed(lack.partition(":")[0]):
                self.journal.append(Kind.SIGNAL_LOST, lack.partition(":")[0], "run", {"error": lack})
        control_plane(self.target, self.folder, BEFORE)
        self.watcher.start()
        if self.plan.not_applicable:
            self.abort("the target lacks what the scenario needs")

    def _needed(self, observer: str) -> bool:
        """True when a claim of the plan rests on what *observer* sees.

        An invariant does not count: it is not judged where the manifest names no source for it.
        """
        return any(observer in catalog.observers_of(one) for one in self.plan.claims if one.group != INVARIANT)

    def users_ready(self) -> None:
        """All legitimate users are there: the baseline may be measured."""
        if self.phase == "load":
            self.loaded_at_s = self.clock.now_s()
            self.state.begin()
            self._enter("baseline")

    def add_rows(self, rows: Iterable[RequestRow]) -> None:
        rows = list(rows)
        self.rows += rows
        self.requests.rows(row.cells() for row in rows)

    def add_ledger(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """State-changing requests with their last answers."""
        self.ledger.append(rows)

    def _asked(self, request: Mapping[str, Any]) -> None:
        """A request of the harness itself: one that changes something is in the ledger as a client's is."""
        self.ledger.append(probe_rows(self.clock.now_s(), request))

    @property
    def begun(self) -> bool:
        """True once the timeline has its first row."""
        return bool(self.journal.events)

    @property
    def done(self) -> bool:
        return self.phase == "done"

    def _enter(self, phase: str) -> None:
        self.phase, self.phase_at_s = phase, self.clock.now_s()

    def tick(self) -> None:
        """Call a few times a second. Never blocks for long."""
        now_s = self.clock.now_s()
        if now_s - self._last_s >= 0.5:
            self._last_s = now_s
            self._keep_up()
        self._look(now_s)
        if not self.done and (reason := self._too_much(now_s)):
            self.abort(reason)
        step = {
            "baseline": self._baseline,
            "faults": self._faults,
            "recovery": self._recovery,
        }.get(self.phase)
        if step:
            step(now_s)

    def _keep_up(self) -> None:
        self.signals.flush()
        self.requests.flush()
        self.ledger.flush()
        if not self.done:
            try:
                self.guardian.lease()
            except GuardianLost as error:
                self.abort(f"the guardian is lost: {error}")

    # Does the run do more harm than it may?

    def _too_much(self, now_s: float) -> str:
        memory_mb, disk_mb = free_memory_mb(), free_disk_mb(self.folder)
        reason = below_floor(self.limits, memory_mb, disk_mb) or lapsed(self.target.permits, date.today())
        if reason or not self.stopwatch.conditions:
            return reason
        return self.stopwatch.tick(now_s, self._live_values(now_s, memory_mb, disk_mb))

    def _live_values(self, now_s: float, memory_mb: float, disk_mb: float) -> dict[str, float | None]:
        """The values of stop.NAMES; None for what is not known."""
        traffic = self.traffic(now_s - WINDOW_S, now_s)
        gone = sum(not self.watcher.latest.get(("kernel_pid", kernel), (0.0, 1.0))[1] for kernel in self.plan.kernels)
        seen = {name: self.watcher.latest.get((name, ""), (-1e9, 0.0)) for name in MACHINE}
        machine = {name: value if now_s - at_s <= STALE_S else None for name, (at_s, value) in seen.items()}
        silent = self.loaded_at_s > 0 and now_s - self.loaded_at_s >= WINDOW_S
        return {
            **machine,
            # no answer at all, though users are there, is no reason to go on
            "failure_percent": traffic.failed_percent if traffic.count else 100.0 if silent else None,
            "requests_per_s": traffic.count / WINDOW_S,
            "latency_p95_ms": traffic.percentile(95),
            "latency_p99_ms": traffic.percentile(99),
            "free_memory_mb": memory_mb,
            "free_disk_mb": disk_mb,
            "kernels_down": float(gone),
            "faults_in_force": float(len(self.conductor.active)),
        }

    # Is the target well?

    def _look(self, now_s: float) -> None:
        cpu = self.watcher.latest.get(("cpu_percent", ""))
        if cpu and (not self.cpu or self.cpu[-1] != cpu):
            self.cpu.append(cpu)
        self.stacks.take(hung(self.plan.kernels, self.watcher.kernel_states, self.watcher.latest), now_s)
        because = self._trouble(now_s)
        if because:
            self.unwell_at_s, self.unwell_because = now_s, because

    def _trouble(self, now_s: float) -> str:
        """What is not well at this moment; "" for nothing."""
        if self.watcher.engaged:
            return "engaged: " + ", ".join(sorted(f"{name} ({subject})" for name, subject in self.watcher.engaged))
        for kernel in self.plan.kernels:
            _, pid = self.watcher.latest.get(("kernel_pid", kernel), (0.0, 0.0))
            if not pid:
                return f"{kernel} has no process"
            if self.watcher.kernel_states.get(kernel, "running") not in WELL:
                return f"{kernel} is {self.watcher.kernel_states[kernel]}"
            at_s, age_s = self.watcher.latest.get(("kernel_heartbeat_age_s", kernel), (-1e9, 0.0))
            if "kernels" not in self.target.signals:
                continue  # it tells of no heartbeats: its processes and routes must do
            if now_s - at_s + age_s > FRESH_S + 1.0:
                return f"{kernel} has no fresh heartbeat"
        return ""

    def traffic(self, since_s: float, until_s: float) -> Traffic:
        """Legitimate requests that ended in between. Looks from the end: rows come nearly in the order of time."""
        rows = takewhile(lambda row: row.at_s >= since_s - LATE_ROWS_S, reversed(self.rows))
        return Traffic.of(row for row in rows if row.user == "legitimate" and since_s <= row.at_s <= until_s)

    def _unsteady(self, traffic: Traffic) -> str:
        """Why a stretch of legitimate traffic is not the steady state; "" when it is."""
        slo = self.plan.slo
        p95 = traffic.percentile(95)
        if traffic.count < REQUESTS_MIN or p95 is None:
            return few_answers(traffic.count, len(self.rows))
        if traffic.failed_percent > slo.failure_percent_max:
            return f"{traffic.failed_percent:.1f} % of the legitimate requests fail: {failing(self.rows)}"
        before = self.baseline.percentile(95) if self.baseline else None
        bound_ms = max(slo.latency_ms_p95_floor, slo.latency_p95_factor * (before or 0.0))
        if before is not None and p95 > bound_ms:
            return f"p95 {p95:.0f} ms, at most {bound_ms:.0f} ms"
        return ""

    # Phases

    def _baseline(self, now_s: float) -> None:
        since_s = max(self.loaded_at_s, self.unwell_at_s, now_s - self.plan.slo.baseline_s)
        cpu = [value for at_s, value in self.cpu if at_s >= now_s - self.plan.slo.baseline_s]
        cpu_percent = sum(cpu) / len(cpu) if cpu else 100.0
        because = self.unwell_because
        if now_s - since_s >= self.plan.slo.baseline_s * 0.98:
            absent = absent_routes(row for row in self.rows if since_s <= row.at_s <= now_s)
            if absent:
                lacks = [f"{name} answers 404: the target does not have it" for name in absent]
                self.abort("the target lacks what the scenario needs", lacks)
                return
            traffic = self.traffic(since_s, now_s)
            because = self._unsteady(traffic)
            if not because and cpu_percent > self.plan.slo.baseline_cpu_percent_max:
                because = f"the machine is busy to {cpu_percent:.0f} % before any fault"
            if not because and not self.state.ready(now_s):
                return
            if not because:
                self._steady(traffic, cpu_percent, now_s)
                return
        if now_s - self.phase_at_s > BASELINE_LIMIT_S:
            self.abort(f"the baseline was never steady: {because or 'too short'}")

    def _steady(self, traffic: Traffic, cpu_percent: float, now_s: float) -> None:
        self.baseline = traffic
        detail = {
            "latency_ms_p95": traffic.percentile(95),
            "failure_percent": round(traffic.failed_percent, 3),
            "cpu_percent": round(cpu_percent, 1),
            "requests": traffic.count,
        }
        self.journal.append(Kind.STEADY_STATE_MET, "baseline", "run", detail)
        self.conductor.start(now_s)
        self._enter("faults")

    def _faults(self, now_s: float) -> None:
        self.conductor.tick(now_s)
        for step_id, why in self.conductor.broken.items():
            self.abort(f"{step_id} was given up and healed: {why}")
            return
        if self.plan.control:
            if now_s - self.phase_at_s >= CONTROL_S:
                self._finish()
        elif self.conductor.done:
            self._enter("recovery")

    def _recovery(self, now_s: float) -> None:
        ended_s = max(self.conductor.ended.values())
        hold_s = self.plan.slo.hold_s
        # a successor may take over between two ticks: what follows from that is no relapse
        since_s = max(ended_s, self.unwell_at_s, self.watcher.changed_at_s)
        if self.recovered_at_s is None and now_s - since_s >= hold_s:
            self.unwell_because = self._unsteady(self.traffic(now_s - hold_s, now_s))
            if not self.unwell_because:
                self.recovered_at_s = max(since_s, now_s - hold_s)
                detail = {"window": [round(self.recovered_at_s, 3), round(now_s, 3)], "seen_at_s": round(now_s, 3)}
                self.journal.append(Kind.RECOVERED, self.plan.scenario_id, "run", detail, at_s=self.recovered_at_s)
        decided = now_s >= ended_s + DECIDED_AFTER_S
        if (self.recovered_at_s is not None and decided) or now_s >= ended_s + self.plan.recovery_limit_s:
            self._finish()

    def _finish(self) -> None:
        self._enter("done")
        self._finished = True

    def abort(self, reason: str, not_applicable: Sequence[str] = ()) -> None:
        """Heals first. What was decided stays decided; the rest is inconclusive, or *not_applicable* for reasons.

        While the target is read back there is nothing left to heal: then that ends, and the run is judged without it.
        """
        if self.reading:
            self.enough = self.enough or reason
        if self.done:
            return
        self._enter("done")
        self.conductor.halt()
        detail = {"reason": reason, **({"not_applicable": list(not_applicable)} if not_applicable else {})}
        self.journal.append(Kind.RUN_ABORTED, self.plan.scenario_id, "run", detail, durable=True)

    def spoil(self, reason: str) -> None:
        """What came in is not all that happened: the run is cut short, also when it had come to its end."""
        if self._finished or not self.done:
            self._enter("load")
            self._finished = False
            self.abort(reason)

    # The end

    def settle(self) -> Verdict:
        """After the load has stopped: closes what is open, judges the folder, writes every report."""
        if not self.done:
            self.abort("the load was stopped before the run was over")
        self.conductor.halt()
        self.state.stop()
        self.watcher.stop_posting()
        self.ledger.flush()
        if self._finished:
            self._read_back()
        self.watcher.stop()
        self.ledger.close()  # only now: the observers ask to the end
        self.guardian.close()
        self.signals.close()
        self.requests.close()
        self._log_deeds()
        control_plane(self.target, self.folder, AFTER)
        self._keep_target()
        if self._finished:
            self._take_blamed()
        self.stacks.wait()
        # from here on nothing is written but what judging writes
        later = [kind.filename for kind in catalog.reporters().values()]
        last = Kind.RUN_FINISHED if self._finished else Kind.RUN_SEALED
        self.journal.append(last, self.plan.scenario_id, "run", seal.at_end(self.folder, later), durable=True)
        self.journal.close()
        found = write_reports(self.folder)
        if self.sign_key is not None:
            sign(self.folder, found.record, self.sign_key)
        self.verdict, self.findings, self.head = found.verdict, list(found.findings), found.record.head
        name = f"chaos_{self.plan.scenario_id}_{self.folder.name}.json"  # where the users of incident files look
        shutil.copy2(self.folder / "incident.json", self.folder.parents[1] / name)
        return self.verdict

    def _take_blamed(self) -> None:
        """Keeps where the kernels stand that a claim fails about, by a first judgement of the open folder."""
        findings = judge(Record.load(self.folder))
        self.stacks.take(blamed(findings, self.plan.kernels), self.clock.now_s())

    def _read_back(self) -> None:
        """What the target holds of all that was sent, when it has had time to finish it: the load has stopped."""
        torn: list[str] = []
        began_s, self.reading = self.clock.now_s(), True
        rows = read_ledger(self.folder, torn) or ()
        problems = read_back(
            self.target,
            self.folder,
            awaited(rows),
            READ_BACK_S,
            pause=gevent.sleep,
            maybe=maybe_held(rows),
            since=cursors(self.journal.events),
            stopped=lambda: bool(self.enough),
        )
        if self.target.ledgers and not self.enough:
            gevent.sleep(LAST_LOOK_S)
        self.state.after()
        self.reading = False
        told: dict[str, Any] = {"rows": len(rows), "problems": [*torn, *problems], "interrupted": self.enough}
        self.journal.append(Kind.READ_BACK, self.plan.scenario_id, "run", {**told, "began_s": round(began_s, 3)})

    def _log_deeds(self) -> None:
        """What was done, into the target's own log: nothing of the verdict is read any more."""
        began_s, facts = self.clock.now_s(), {"harness_version": self.facts.get("harness_version")}
        entries = deeds(self.plan, self.folder.name, self.journal.events, facts)
        limit_s = LIMIT_S if self._finished else HURRIED_S
        since = cursors(self.journal.events).get(AUDIT, 0)
        told = log_deeds(self.target, self.folder, entries, pause=gevent.sleep, limit_s=limit_s, since=since)
        detail = {"began_s": round(began_s, 4), **told}
        self.journal.append(Kind.DEEDS_LOGGED, self.plan.scenario_id, "run", detail, durable=True)

    def _keep_target(self) -> None:
        """The target's manifest without its keys, and the ends of its logs."""
        manifest = self.target.file.read_text(encoding="utf-8") if self.target.file.exists() else ""
        keys = {"secret_key", *(one["secret_key"] for one in (self.target.bus or {}).get("spare_actors", ()))}
        keys |= {self.target.immutable_log.secret_key} if self.target.immutable_log else set()
        lines = [line for line in manifest.splitlines() if not any(key in line for key in keys)]
        (self.folder / "target" / "target.yaml").write_text("\n".join(lines) + "\n", encoding="utf-8")
        logs = self.target.paths.get("logs")
        if logs and logs.is_dir():
            keep_logs(logs, self.folder / "target" / "logs")


def few_answers(count: int, ever: int) -> str:
    """Reason why a stretch with *count* ended requests says nothing; *ever*: rows of requests since the run began."""
    if not ever:
        return "no legitimate request has had an answer yet: none was sent, or the target does not answer"
    return f"only {count} legitimate requests ended, at least {REQUESTS_MIN} are needed"


def failing(rows: Sequence[RequestRow]) -> str:
    """The route that failed most often lately, and how."""
    latest = (row for row in rows[-FAILING_ROWS:] if row.user == "legitimate" and row.outcome == "failed")
    counts: Counter[tuple[str, int]] = Counter()
    for row in latest:
        counts[row.name, row.status] += row.count
    if not counts:
        return "not lately"
    (name, status), count = counts.most_common(1)[0]
    return f"{name} {f'answers {status}' if status else 'does not answer'} ({count} x)"


def absent_routes(rows: Iterable[RequestRow]) -> list[str]:
    """The requests that were answered with 404 every time, and often enough to mean it."""
    seen: dict[str, Counter[bool]] = {}
    for row in rows:
        seen.setdefault(row.name, Counter())[row.status == 404] += row.count
    return sorted(name for name, answers in seen.items() if not answers[False] and answers[True] >= ABSENT_MIN)


def conclude(folder: Path) -> tuple[Verdict, list[Finding]]:
    """Judges a run folder and writes findings.json and the reports. The same, live and offline."""
    found = write_reports(folder)
    return found.verdict, list(found.findings)
