"""Engagements of safeguards: explained by a fault of the plan, by our own witness (a side effect), or by nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from harness.ledger import LEGITIMATE
from harness.model import Event, Kind
from harness.record import DETECTION_GRACE_S, Engagement, FaultRecord, Record
from harness.run_tables import Series
from harness.strikes import CLOCK_S, crew, spans

BEFORE_S, AFTER_S = 8.0, 1.5  # our own samples around an engagement that may show its cause
EVENTS_BEFORE_S = 30.0  # a change of a process or a file is seen by others long before, or just after
LOG_DISK, LOG_PLACES = "log_disk", {"immutable_log", "audit_disk"}  # names of kernels, and of the manifest's paths
BEFORE, NOTED_BEFORE = "_before", ("cpu_percent",)
ANY = "*"
FAULTS, WITNESS, NOTHING, UNKNOWN = "fault", "side effect", "nothing", "unknown"


@dataclass(frozen=True)
class Alarm:
    """An engagement of this run and what gave cause to it."""

    engagement: Engagement
    cause: str  # FAULTS, WITNESS, NOTHING (a false alarm) or UNKNOWN (our witness is missing)
    because: str = ""
    evidence: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return f"{self.engagement.safeguard}({self.engagement.subject})"


def alarms(record: Record) -> list[Alarm]:
    """Each engagement that began while the run watched, with its cause."""
    mine = [one for one in record.engagements if not one.engaged.detail.get("before_run")]
    return [_alarm(record, one) for one in mine]


def has_no_cause(record: Record, one: Engagement) -> bool:
    """True for a false alarm of this run."""
    return not one.engaged.detail.get("before_run") and _alarm(record, one).cause == NOTHING


def shows_cause(record: Record, one: Engagement, at_s: float) -> bool:
    """True when our own witness of the quantity that *one* is about shows, at *at_s*, what gives cause to it."""
    row = _row(record, one)
    if row is None:
        return False
    then = replace(one, engaged=replace(one.engaged, at_s=at_s))
    answers = (ask(record, then, row) for ask in (_by_signal, _by_route, _by_requests))
    return any(answer[0] for answer in answers if answer is not None)


def by_others(record: Record, one: Engagement) -> bool:
    """True for an engagement of the time after the load, or that our own witness explains and no fault of the plan."""
    return one.engaged.at_s > record.load_end_s or (
        by_fault(record, one) is None and _alarm(record, one).cause == WITNESS
    )


def names_of(record: Record, fault: FaultRecord) -> set[str]:
    """All that a fault is aimed at or sent from: kernels, actors, files, workers, addresses.

    A kernel that the fault only passes by, such as the bus that a flood comes over, is none of them.
    """
    step = fault.step
    facts = fault.injected.detail if fault.injected else {}
    aimed_at = {step.subject, *step.kernels}
    texts = {step.target, *_texts(step.params), *_texts(facts), *facts.get("workers", ()), *facts.get("killed", ())}
    return aimed_at | (texts - set(record.plan.kernels))


def by_fault(record: Record, one: Engagement) -> FaultRecord | None:
    """The fault that explains *one*: in force, or over for at most the grace of a detection."""
    for fault in record.faults:
        if fault.injected is None:
            continue
        until_s = fault.ended.at_s + DETECTION_GRACE_S if fault.ended else record.end_s
        in_time = fault.injected.at_s - CLOCK_S <= one.engaged.at_s <= until_s
        if in_time and _explains(record, fault, one):
            return fault
    return None


def _explains(record: Record, fault: FaultRecord, one: Engagement) -> bool:
    """By scenarios/coverage.yaml for the type of the fault; a safeguard that only the scenario names, by the scenario.

    `detected_by` says what must detect a fault, and not what may: it takes no explanation away.
    """
    plan, names = record.plan, names_of(record, fault)
    covered = {(name, plan.subject_of(fault.step, name)) for name, _ in plan.coverage.get(fault.step.step_id, ())}
    if not plan.explains:  # a run folder of an earlier version: whatever names what the fault strikes
        only_covered = (_row(record, one) or {}).get("only_covered")
        return (one.safeguard, one.subject) in covered or (one.subject in names and not only_covered)
    rows = [row for row in plan.explains.get(fault.step.type, ()) if row.get("safeguard") == one.safeguard]
    if (fault.injected and fault.injected.detail.get("permitted")) or not rows:
        return (one.safeguard, one.subject) in covered
    return any(
        (one.subject == row["subject"] if row.get("subject") else one.subject in names)
        and (row.get("only") != LOG_DISK or holds_log(fault))
        for row in rows
    )


def holds_log(fault: FaultRecord) -> bool:
    """Whether the file system that the fault fills is the one that the log is on."""
    step, facts = fault.step, fault.injected.detail if fault.injected else {}
    path, known = str(step.params.get("path", "")), facts.get("holds")
    if known is None and path.startswith("/"):
        return True  # a run folder of an earlier version does not tell what lies there
    return bool({step.target, *step.kernels, path, *(known or ())} & LOG_PLACES)


def _row(record: Record, one: Engagement) -> Mapping[str, Any] | None:
    """The entry of `alarms` in scenarios/coverage.yaml for the safeguard and its subject; None without one."""
    rows: Mapping[str, Mapping[str, Any]] = record.plan.alarms.get(one.safeguard, {})
    return rows.get(one.subject, rows.get(ANY))


def _texts(value: Any) -> set[str]:
    if isinstance(value, str):
        return {value}
    inner: Iterable[Any] = value.values() if isinstance(value, Mapping) else value if _is_list(value) else ()
    return {text for one in inner for text in _texts(one)}


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple)


def _alarm(record: Record, one: Engagement) -> Alarm:
    fault = by_fault(record, one)
    if fault is not None:
        return Alarm(one, FAULTS, fault.step.step_id)
    row = _row(record, one)
    if row is None:
        return Alarm(one, UNKNOWN, "scenarios/coverage.yaml names no witness for it")
    told = [answer for answer in (ask(record, one, row) for ask in _WITNESSES) if answer is not None]
    shown = next((answer for answer in told if answer[0]), None)
    if shown is not None:
        return Alarm(one, WITNESS, shown[1], shown[2])
    if not told:
        return Alarm(one, UNKNOWN, "our own witness was silent")
    return Alarm(one, NOTHING, "; ".join(answer[1] for answer in told), tuple(e for _, _, some in told for e in some))


# (it had cause, words, evidence); None: this witness is not asked for, or has nothing to say
_Answer = tuple[bool, str, tuple[str, ...]] | None


def _by_signal(record: Record, one: Engagement, row: Mapping[str, Any]) -> _Answer:
    if "signal" not in row:
        return None
    at_s, best, line = one.engaged.at_s, None, 0
    for subject in row.get("subjects", (one.subject,)):
        near = _series(record, row["signal"], subject).between(at_s - BEFORE_S, at_s + AFTER_S)
        top = near.highest_mean(row["mean_s"]) if "mean_s" in row else None
        if top is None and "mean_s" not in row and near.rows:
            top = max((value, number) for _, value, number in near.rows)
        if top is not None and (best is None or top[0] > best):
            best, line = top
    if best is None:
        return None
    words = f"{row['signal']} was at most {best:.4g}, {row['above']:g} gives cause"
    return best >= row["above"], words, (f"signals.csv:{line}",)


def _series(record: Record, signal: str, subject: str) -> Series:
    """The values of a signal, with those that were noted before the run began."""
    before = record.signals(f"{signal}{BEFORE}", subject) if signal in NOTED_BEFORE else Series()
    return replace(before, rows=(*before.rows, *record.signals(signal, subject).rows))


def _by_route(record: Record, one: Engagement, row: Mapping[str, Any]) -> _Answer:
    """Of the routes that need what the safeguard names: a probe, or a request of a user, that was slow or failed."""
    if "route_ms" not in row:
        return None
    routes = [name for name, kernels in record.plan.routes.items() if one.subject in kernels]
    since_s, until_s = one.engaged.at_s - BEFORE_S, one.engaged.at_s + AFTER_S
    slowest, line, file = 0.0, 0, "signals.csv"
    for name in routes:
        for signal, worst in (("route_latency_ms", 1.0), ("route_up", 0.0)):
            for _, value, number in record.signals(signal, name).between(since_s, until_s + 2.0).rows:
                ms = value if worst else (row["route_ms"] if value == 0.0 else 0.0)
                slowest, line, file = max((slowest, line, file), (ms, number, "signals.csv"))
    for request in record.requests:
        if since_s <= request.at_s <= until_s + 2.0 and request.name in routes:
            ms = row["route_ms"] if request.outcome == "failed" else float(request.latency_ms[-1][0])
            slowest, line, file = max((slowest, line, file), (ms, request.line, "requests.csv"))
    if not line:
        return None
    words = f"routes of {one.subject} answered within {slowest:.0f} ms, {row['route_ms']:g} ms gives cause"
    return slowest >= row["route_ms"], words, (f"{file}:{line}",)


def _by_requests(record: Record, one: Engagement, row: Mapping[str, Any]) -> _Answer:
    if "requests_per_s" not in row:
        return None
    since_s = one.engaged.at_s - 2.0
    rows = record.request_rows(since_s, one.engaged.at_s + AFTER_S, row.get("user", LEGITIMATE))
    if not rows:
        return None
    per_s = max(sum(other.count for other in rows if at <= other.at_s < at + 1.0) for at in {r.at_s for r in rows})
    words = f"{per_s} requests a second came from {one.subject}, {row['requests_per_s']:g} gives cause"
    return per_s >= row["requests_per_s"], words, (f"requests.csv:{rows[0].line}",)


def _by_events(record: Record, one: Engagement, row: Mapping[str, Any]) -> _Answer:
    kinds = [Kind(word) for word in row.get("events", ())]
    if not kinds:
        return None
    since_s, until_s = one.engaged.at_s - EVENTS_BEFORE_S, one.engaged.at_s + AFTER_S
    near = [e for e in record.of_kind(*kinds) if e.subject == one.subject and since_s <= e.at_s <= until_s]
    mine = [e for e in near if e.kind is not Kind.KERNEL_CHANGED or _came_first(record, one, e)]
    words = f"no {' or '.join(row['events'])} of {one.subject} was seen"
    words += " before it, or before its own playbook" if near and not mine else ""
    cited = mine[0] if mine else one.engaged
    return bool(mine), f"{mine[0].kind} of {one.subject}" if mine else words, (f"timeline:{cited.seq}",)


def _came_first(record: Record, one: Engagement, change: Event) -> bool:
    """Whether a change of a process came before *one*, and is not the work of what the same safeguard started.

    The time of a successor is that of its start, and the target's is corrected by what its clock was off.
    """
    if change.at_s > one.engaged.at_s:
        return False
    same = [o for o in record.engagements if (o.safeguard, o.subject) == (one.safeguard, one.subject)]
    incidents = {o.engaged.detail.get("incident_id") for o in same} - {None}
    spans = [(o.engaged.at_s, o.released.at_s if o.released else record.end_s) for o in same]
    spans += [
        (run.started.at_s, (run.finished or run.started).at_s)
        for run in record.playbook_runs
        if run.subject == one.subject and run.started.detail.get("incident_id") in incidents
    ]
    return not any(start_s <= change.at_s <= end_s + CLOCK_S for start_s, end_s in spans)


def _by_safeguards(record: Record, one: Engagement, row: Mapping[str, Any]) -> _Answer:
    """Another safeguard that names the same, and is itself explained by a fault or by another witness."""
    if not row.get("safeguards"):
        return None
    since_s, until_s = one.engaged.at_s - EVENTS_BEFORE_S, one.engaged.at_s + AFTER_S
    for other in record.engagements:
        same = other.safeguard != one.safeguard and other.subject == one.subject
        if same and since_s <= other.engaged.at_s <= until_s and _alarm(record, other).cause in (FAULTS, WITNESS):
            return True, f"{other.safeguard} names it too", (f"timeline:{other.engaged.seq}",)
    return False, f"no other safeguard names {one.subject}", (f"timeline:{one.engaged.seq}",)


def _by_faults(record: Record, one: Engagement, row: Mapping[str, Any]) -> _Answer:
    if not row.get("only_faults") and not row.get("only_covered"):  # the latter in plans of earlier versions
        return None
    which = "only a fault that violates the rules" if row.get("only_covered") else "only a fault of the plan"
    return False, f"{which} could give cause", (f"timeline:{one.engaged.seq}",)


def _by_crew(record: Record, one: Engagement, row: Mapping[str, Any]) -> _Answer:
    """A fault that struck the kernel that hands out the workers' work; no such fault says nothing."""
    if not row.get("crew"):
        return None
    kernels = crew(record)
    for fault in record.faults:
        mine = kernels & set(fault.step.kernels)
        if fault.injected and any(a <= one.engaged.at_s <= b for a, b in spans(record, mine, process=True)):
            return True, f"{', '.join(sorted(mine))} was struck", (f"timeline:{fault.injected.seq}",)
    return None


_WITNESSES = (_by_signal, _by_route, _by_requests, _by_events, _by_safeguards, _by_crew, _by_faults)
