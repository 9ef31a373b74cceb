"""The nouns of the harness: what is planned, what happened, what was seen, what is claimed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, is_dataclass
from enum import StrEnum
from functools import cache
from typing import Any, get_args, get_origin, get_type_hints


class Kind(StrEnum):
    """What a row of the timeline says. Edges only: a value that merely goes on is a signal, not an event."""

    RUN_STARTED = "run_started"
    STEADY_STATE_MET = "steady_state_met"
    FAULT_PLANNED = "fault_planned"
    FAULT_INJECTED = "fault_injected"
    FAULT_ATTAINED = "fault_attained"
    FAULT_ENDED = "fault_ended"
    FAULT_HEALED = "fault_healed"
    SYMPTOM_SEEN = "symptom_seen"
    KERNEL_CHANGED = "kernel_changed"
    FILE_CHANGED = "file_changed"
    SAFEGUARD_ENGAGED = "safeguard_engaged"
    SAFEGUARD_RELEASED = "safeguard_released"
    ALERT_RAISED = "alert_raised"
    PLAYBOOK_STARTED = "playbook_started"
    PLAYBOOK_FINISHED = "playbook_finished"
    SIGNAL_LOST = "signal_lost"
    SIGNAL_BACK = "signal_back"
    CLOCK_MEASURED = "clock_measured"
    RECOVERED = "recovered"
    LOAD_COUNTED = "load_counted"
    READ_BACK = "read_back"
    AUDIT_HEAD = "audit_head"
    DEEDS_LOGGED = "deeds_logged"
    RUN_ABORTED = "run_aborted"
    RUN_FINISHED = "run_finished"
    RUN_SEALED = "run_sealed"  # the last one of a run that was cut short


WELL = ("running", "R", "S")  # states of a kernel that works, as its control plane and /proc call them


class Verdict(StrEnum):
    """The four answers, with the exit code of each."""

    PASS = "PASS"
    FAIL = "FAIL"
    INCONCLUSIVE = "INCONCLUSIVE"
    NOT_APPLICABLE = "NOT_APPLICABLE"

    @property
    def exit_code(self) -> int:
        return {"PASS": 0, "FAIL": 1, "INCONCLUSIVE": 3, "NOT_APPLICABLE": 4}[self.value]

    @staticmethod
    def worst(verdicts: list[Verdict]) -> Verdict:
        """The one that decides: FAIL, then INCONCLUSIVE, then NOT_APPLICABLE, then PASS. Nothing is INCONCLUSIVE."""
        for verdict in (Verdict.FAIL, Verdict.INCONCLUSIVE, Verdict.NOT_APPLICABLE, Verdict.PASS):
            if verdict in verdicts:
                return verdict
        return Verdict.INCONCLUSIVE


@dataclass(frozen=True, kw_only=True)
class Event:
    """One row of timeline.jsonl.

    *at_s* is seconds of CLOCK_MONOTONIC since the run started; *wall_time* is ISO 8601 in UTC, for people.
    *subject* is what the event is about (a fault id, a kernel, a safeguard, a playbook), *source* who saw it.
    *prev_hash* and *hash* chain the rows: see harness/journal.py.
    """

    seq: int
    at_s: float
    wall_time: str
    kind: Kind
    subject: str
    source: str
    detail: Mapping[str, Any] = field(default_factory=dict)
    prev_hash: str = ""
    hash: str = ""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """One thing that an observer saw at *at_s*.

    With *value* and no *kind* it is a sample and goes to signals.csv as (at_s, name, subject, value).
    With *kind* it is an edge and goes to the timeline with *subject* and *detail*.
    With *asked* it is a request that the observer itself made, and goes to the ledger: see harness/probe_rows.py.
    """

    at_s: float
    name: str
    subject: str = ""
    value: float | None = None
    kind: Kind | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)
    asked: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Magnitude:
    """What a fault is asked to reach: attained when the achieved mean is at least value - tolerance."""

    name: str
    value: float
    unit: str
    tolerance: float

    @property
    def floor(self) -> float:
        return self.value - self.tolerance

    @property
    def is_state(self) -> bool:
        """What is or is not, such as "paused"; there is no more or less of it."""
        return self.value == 1.0 and not self.unit

    @property
    def words(self) -> str:
        """As a person says it: "90 %", "5000 messages", "paused"."""
        return self.name if self.is_state else f"{self.value:g} {self.unit or self.name}"


@dataclass(frozen=True, kw_only=True)
class Undo:
    """How to take a fault back, as plain data: primitives that harness/undo.py knows, with identities.

    Each primitive is a mapping with an "op" (resume, kill, ...) and what identifies its object for good.
    """

    primitives: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Effect:
    """What an injection really did, read back from the system: facts for the journal."""

    facts: Mapping[str, Any] = field(default_factory=dict)


class Hold(StrEnum):
    """Whether a fault is still in force, and if not, who ended it."""

    HOLDS = "holds"
    DONE = "done"  # a fault given by a count: all of it is done
    TARGET = "target"  # the target ended it, and a witness other than the fault shows it
    LOST = "lost"  # a helper died, a signal went missing: the fault is not what was asked for


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A fault's own measure of itself: *achieved* in the unit of its Magnitude (None: nothing measured yet)."""

    achieved: float | None
    hold: Hold = Hold.HOLDS
    because: str = ""
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Step:
    """A fault of the plan. *at_s* counts from the moment the faults begin; durations are seconds, already scaled."""

    step_id: str  # "acl_flood", a second one of the type: "acl_flood#2"
    type: str
    target: str
    params: Mapping[str, Any]  # the fields of the fault's class, scaled
    at_s: float
    duration_s: float
    asked_duration_s: float  # as written in the scenario
    subject: str  # what a safeguard that covers this fault names: a kernel, an actor, a resource
    asked: Magnitude
    where: str = ""  # "scenarios/enhanced/x.yaml:12"
    kernels: tuple[str, ...] = ()  # all that the fault is aimed at, where it names more than its subject
    also_asked: tuple[Magnitude, ...] = ()  # beside *asked* and the duration: a rate, a concurrency, a share
    witness: str = ""  # the independent measure of *asked* that the fault declares; "" in older run folders


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What a scenario does and expects, known before any run.

    *covered*: each fault with the (safeguard, playbook) pairs that count as its detection and answer. *routes*: the
    target's, each with the kernels that it needs. *drawn*: a run has some of the faults only.
    """

    covered: tuple[tuple[Step, tuple[tuple[str, str], ...]], ...]
    safeguards: tuple[str, ...] = ()  # that it expects
    routes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    kernels: tuple[str, ...] = ()
    drawn: bool = False

    @property
    def steps(self) -> tuple[Step, ...]:
        return tuple(step for step, _ in self.covered)

    @property
    def types(self) -> str:
        return ", ".join(sorted({step.type for step in self.steps})) or "none"

    def no_route_left(self) -> str:
        """Why no request is of what no fault strikes: each route needs a struck kernel; "" when one does not.

        Of faults that are drawn: only when each of them alone strikes every route.
        """
        known = set(self.kernels)
        struck = [{step.subject, *step.kernels} & known for step in self.steps]
        whole = struck if self.drawn else [set().union(*struck)]
        if not whole or not self.routes or not all(hit & set(of) for hit in whole for of in self.routes.values()):
            return ""
        names = ", ".join(sorted(set().union(*struck)))
        return f"each of the {len(self.routes)} routes of the target needs {names}, which a fault is aimed at"

    def uncovered(self) -> list[str]:
        """Types of faults that no safeguard is known to detect."""
        return sorted({step.type for step, rows in self.covered if not rows})

    def without(self, kind: str) -> str:
        """Why what only a fault of type *kind* can show is never shown; "" when there is such a fault."""
        return "" if any(step.type == kind for step in self.steps) else f"no fault is a {kind}: {self.types}"


@dataclass(frozen=True, kw_only=True)
class Claim:
    """Something that the run must show: a check, its arguments and the words it was written in."""

    claim: str  # "message_bus.acl_violations > 500"
    check: str  # the stem of a file in harness/checks
    args: Mapping[str, Any] = field(default_factory=dict)
    group: str = "verification"  # safeguard, playbook, verification, criterion, validity
    needs: tuple[str, ...] = ()  # step ids: not attained, the claim is INCONCLUSIVE
    where: str = ""
    of: str = ""  # in a wave: the scenario whose claim it is; "" = of all of them


@dataclass(frozen=True, kw_only=True)
class Slo:
    """The bounds by which steady state and health are judged. A scenario may only tighten them."""

    baseline_s: float = 5.0
    hold_s: float = 5.0
    failure_percent_max: float = 1.0
    latency_ms_p95_floor: float = 100.0
    latency_p95_factor: float = 2.0
    baseline_cpu_percent_max: float = 50.0
    bystander_success_percent_min: float = 99.0
    detect_s_max: float = 30.0
    loop_lag_ms_p99_max: float = 250.0
    responsive_success_percent_min: float = 95.0
    responsive_latency_ms_p99_max: float = 5000.0
    goodput_percent_min: float = 50.0  # of the baseline's, while a target degrades gracefully
    degraded_latency_ms_p95_max: float = 2000.0
    grown_mb_max: float = 64.0  # of each process of the target, from the baseline on


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All that a run will do, fixed before it starts. plan.json is this, and `verify` needs no more."""

    scenario_id: str
    name: str
    category: str
    severity: int
    seed: int
    time_scale: float
    control: bool
    steps: tuple[Step, ...]
    claims: tuple[Claim, ...]
    slo: Slo
    recovery_limit_s: float
    users: int
    expected_safeguards: tuple[str, ...]
    expected_playbooks: tuple[str, ...]
    # step id -> ((safeguard, playbook), ...): which safeguards count as the detection of a fault
    coverage: Mapping[str, tuple[tuple[str, str], ...]]
    # step id -> {safeguard: what it names when it sees the fault}, where that is not the step's own subject
    subjects: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    expected_behavior: tuple[str, ...] = ()
    prerequisites: tuple[str, ...] = ()
    stop_when: tuple[str, ...] = ()  # conditions of harness/stop.py
    unsafe: Mapping[str, float] = field(default_factory=dict)  # limits that the scenario lifts: name → value
    notes: tuple[str, ...] = ()  # what was drawn, cut or is done in another way than asked
    not_applicable: tuple[str, ...] = ()  # reasons why this target cannot be judged by this scenario
    # facts of the target that checks need offline: route name -> kernels that serve it
    routes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    kernels: tuple[str, ...] = ()
    witnesses: Mapping[str, str] = field(default_factory=dict)  # kernel -> the route that shows its life
    parts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # in a wave: scenario -> its step ids
    offers: tuple[str, ...] = ()  # dotted keys of the target's manifest: what invariants can be judged from
    effects: Mapping[str, Mapping[str, tuple[str, ...]]] = field(
        default_factory=dict
    )  # playbook -> what clients notice
    # safeguard -> {what it names, or "*": our own witness of that quantity}, of scenarios/coverage.yaml
    alarms: Mapping[str, Mapping[str, Mapping[str, Any]]] = field(default_factory=dict)
    # type of fault -> the alarms that it explains, of scenarios/coverage.yaml; a plan of earlier versions has none
    explains: Mapping[str, tuple[Mapping[str, str], ...]] = field(default_factory=dict)
    require: tuple[str, ...] = ()  # invariants that must be judged: without a source they are INCONCLUSIVE
    recovery_limits_s: Mapping[str, float] = field(default_factory=dict)  # in a wave: scenario -> its own limit

    def subject_of(self, step: Step, safeguard: str) -> str:
        """What *safeguard* names when it sees the fault of *step*."""
        return self.subjects.get(step.step_id, {}).get(safeguard, step.subject)

    @property
    def faults_end_s(self) -> float:
        """When the last fault is planned to end, counted from the moment the faults begin."""
        return max((step.at_s + step.duration_s for step in self.steps), default=0.0)


CUT_SHORT = "run_cut_short"  # the cause of a finding that would be a FAIL of a run that came to its end
INVARIANT = "invariant"  # the group of the claims that every run makes by itself


@dataclass(frozen=True, kw_only=True)
class Invariant:
    """What a check promises of every run, whatever the scenario says.

    *sources* are dotted keys of the target's manifest; a trailing ".*" stands for any key below. Any one of them is
    enough to judge by. A manifest that names none leaves the invariant "not judged"; no sources: always judged.
    """

    order: int  # position in the terminal and the report
    claim: str
    sources: tuple[str, ...] = ()

    def missing(self, offers: Iterable[str]) -> tuple[str, ...]:
        """The manifest keys whose absence leaves this invariant unjudged; () when one of them is there."""
        known = set(offers)
        return () if not self.sources or any(_offered(one, known) for one in self.sources) else self.sources


def _offered(source: str, offers: set[str]) -> bool:
    if source.endswith(".*"):
        return any(one.startswith(source[:-1]) for one in offers)
    return source in offers


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One judged claim. *evidence* cites "timeline:SEQ" or "FILE:LINE" of the run folder.

    *code* is stable, "CHECK.CAUSE" such as "restarted.no_new_process"; a PASS is "CHECK.shown". *also* are the codes
    of further causes, of a check that looks for several. *missing* names the keys that the target's manifest lacks: of
    an invariant that was not judged, or was judged in part only.
    """

    check: str
    verdict: Verdict
    claim: str
    because: str
    group: str = "verification"
    evidence: tuple[str, ...] = ()
    code: str = ""
    missing: tuple[str, ...] = ()
    also: tuple[str, ...] = ()

    @property
    def cause(self) -> str:
        """The code without the name of the check: "no_new_process"."""
        return self.code.partition(".")[2]

    @property
    def judged(self) -> bool:
        """False for an invariant that the target's manifest gives nothing to judge by."""
        return not (self.group == INVARIANT and self.verdict is Verdict.NOT_APPLICABLE and bool(self.missing))


# The checks whose findings make others inconclusive, causes before what follows from them.
ROOTS = ("control_clean", "baseline_steady", "run_complete", "journal_intact", "signals_complete", "fault_attained")


def not_passed(findings: Iterable[Finding]) -> list[Finding]:
    """What did not pass, the worst first, and causes before what follows from them."""
    order = (Verdict.FAIL, Verdict.INCONCLUSIVE, Verdict.NOT_APPLICABLE)

    def place(one: Finding) -> tuple[int, int, bool]:
        root = ROOTS.index(one.check) if one.check in ROOTS else len(ROOTS)
        return order.index(one.verdict), root, one.group != "validity"

    return sorted((one for one in findings if one.verdict is not Verdict.PASS and one.judged), key=place)


def overall(findings: Sequence[Finding]) -> Verdict:
    """FAIL, then INCONCLUSIVE, then NOT_APPLICABLE, then PASS; invariants that were not judged do not count.

    Nothing judged is INCONCLUSIVE, and so is a run of which only its validity was judged: it says nothing of Grace.
    """
    counted = [finding for finding in findings if finding.judged]
    worst = Verdict.worst([finding.verdict for finding in counted])
    if worst is Verdict.PASS and all(finding.group == "validity" for finding in counted):
        return Verdict.INCONCLUSIVE
    return worst


def invariants_judged(findings: Iterable[Finding]) -> str:
    """ "5 of 8 invariants judged, 2 in part"; "" for a run that claimed none.

    In part: some of it for want of a manifest key was not judged.
    """
    mine = [one for one in findings if one.group == INVARIANT]
    judged = [one for one in mine if one.verdict is not Verdict.NOT_APPLICABLE]
    in_part = sum(bool(one.missing) for one in judged)
    part = f", {in_part} in part" if in_part else ""
    return f"{len(judged)} of {len(mine)} invariants judged{part}" if mine else ""


PLAIN: dict[Any, tuple[type, ...]] = {str: (str,), bool: (bool,), int: (int,), float: (int, float)}


@cache
def _hints(kind: type) -> dict[str, Any]:
    """The types of a dataclass's fields: worked out once, as run folders hold many of each."""
    return get_type_hints(kind)


def check_fields(one: Any) -> None:
    """Raises TypeError or OverflowError for a field of a dataclass that does not hold what it says, such as null."""
    kind: type = type(one)
    for name, hint in _hints(kind).items():
        if hasattr(one, name):
            _check(getattr(one, name), hint, f"{type(one).__name__.lower()}.{name}")


def _check(value: Any, hint: Any, place: str) -> None:
    kinds = PLAIN.get(hint)
    if is_dataclass(hint):
        check_fields(value)
    elif kinds is not None:
        if (bool not in kinds and isinstance(value, bool)) or not isinstance(value, kinds):
            raise TypeError(f"{place}: {hint.__name__} is expected, not {str(value)[:20]!r}")
        if isinstance(value, int):
            float(value)  # an integer may be too large to be one
    elif get_origin(hint) is tuple and get_args(hint)[1:] == (...,):
        for number, item in enumerate(value):
            _check(item, get_args(hint)[0], f"{place}[{number}]")
    elif get_origin(hint) is Mapping:
        if not isinstance(value, Mapping):
            raise TypeError(f"{place}: a mapping is expected, not {str(value)[:20]!r}")
        for key, item in value.items():
            _check(item, get_args(hint)[1], f"{place}.{key}")
