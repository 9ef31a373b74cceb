"""A run as its folder tells it: events, signals, requests, and what follows from them. Nothing else is read."""

from __future__ import annotations

import math
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from harness.besides import beside_each_other
from harness.fault_record import FaultRecord as FaultRecord
from harness.journal import read_journal
from harness.ledger import PROBE, HeldRow, LedgerRow, read_held, read_ledger
from harness.model import WELL, Event, Kind, Plan
from harness.plan import plan_from_json
from harness.required import completed
from harness.run_tables import Series, read_requests, read_signals
from harness.seal import changes
from harness.states import AFTER, BEFORE, State, read_state
from harness.traffic import RequestRow, Traffic
from harness.unmet import Unmet, unmet

DETECTION_GRACE_S = 30.0
ORDER_S = 1.0  # a playbook may seem to begin so long before what it runs for
LATER_S = 10.0  # a fault that begins so long after another one's end has engagements of its own
ROOM_S = 10.0  # a fault that lasts so long after its safeguard has let go of another one is one to be seen
PUT_OFF_S = 30.0  # so long a client may be told to wait before it asks again


@dataclass(frozen=True)
class Engagement:
    """A safeguard from its engagement to its release (None: still engaged)."""

    safeguard: str
    subject: str
    engaged: Event
    released: Event | None


@dataclass(frozen=True)
class PlaybookRun:
    """A playbook from its start to its end (None: not ended)."""

    playbook: str
    subject: str
    started: Event
    finished: Event | None

    @property
    def succeeded(self) -> bool:
        return self.finished is not None and self.finished.detail.get("outcome") == "succeeded"


@dataclass(frozen=True)
class Detection:
    """Which safeguard saw a fault, and how long after its injection and its attainment."""

    safeguard: str
    after_injected_s: float
    after_attained_s: float | None
    event: Event


def _subject(event: Event) -> str:
    return str(event.detail.get("subject", ""))


def _belongs(start: Event, end: Event) -> bool:
    incidents = start.detail.get("incident_id"), end.detail.get("incident_id")
    if start.subject != end.subject or incidents[0] != incidents[1]:
        return False
    return incidents[0] is not None or (_subject(start) == _subject(end) and end.at_s >= start.at_s)


def _in_the_way(one: Engagement, at_s: float) -> bool:
    """Whether a client that gave up at *at_s* may have been put off by it the last time that it asked."""
    until_s = one.released.at_s + PUT_OFF_S if one.released else math.inf
    return one.engaged.at_s <= at_s <= until_s


def cite_rows(rows: Iterable[RequestRow], most: int = 5) -> tuple[str, ...]:
    """The first of *rows*, at most so many, as evidence; their number is in the finding's words."""
    return tuple(f"requests.csv:{row.line}" for row in rows if row.line)[:most]


def _lines_of(path: Path) -> int | None:
    """The number of lines in a file, a last one without its end included; None when it cannot be read."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    return content.count(b"\n") + (not content.endswith(b"\n") and bool(content))


def cite(event: Event | None) -> tuple[str, ...]:
    return (f"timeline:{event.seq}",) if event else ()


class Record:
    """One run. Build it with Record.load(folder), also while the run goes on."""

    def __init__(
        self,
        folder: Path,
        plan: Plan,
        events: Iterable[Event],
        chain_problem: str,
        requests: Iterable[RequestRow],
        signals: dict[tuple[str, str], Series],
        torn: Iterable[str] = (),
    ) -> None:
        self.folder = folder
        self.plan = plan
        self.events = tuple(events)
        self.chain_problem = chain_problem
        self.requests = tuple(requests)
        self._signals = signals
        self._torn = tuple(torn)

    @staticmethod
    def load(folder: Path) -> Record:
        """Raises OSError or ValueError, in words, for a folder that is not a run.

        A run that was killed is one: what is torn is left out, and told in chain_problem and torn.
        """
        _no_pipe(folder)
        plan = plan_from_json((folder / "plan.json").read_text(encoding="utf-8"))
        events, problem = read_journal(folder / "timeline.jsonl")
        torn: list[str] = []
        requests, signals = read_requests(folder, torn), read_signals(folder, torn)
        return Record(folder, completed(plan, events), events, problem, requests, signals, torn)

    @cached_property
    def _ledgers(
        self,
    ) -> tuple[tuple[LedgerRow, ...] | None, dict[str, tuple[HeldRow, ...]], tuple[str, ...], tuple[LedgerRow, ...]]:
        """(what the clients sent, what the target held, what of both could not be read, what the probes sent)."""
        torn: list[str] = []
        sent = read_ledger(self.folder, torn)
        names = sorted(path.stem for path in (self.folder / "target").glob("*.jsonl"))
        held = {name: read_held(self.folder, name, torn) for name in names}
        known = {name: rows for name, rows in held.items() if rows is not None}
        if sent is None:
            return None, known, tuple(torn), ()
        probes = tuple(row for row in sent if row.user == PROBE)
        return tuple(row for row in sent if row.user != PROBE), known, tuple(torn), probes

    @property
    def ledger(self) -> tuple[LedgerRow, ...] | None:
        """Every state-changing request of the clients with its last answer; None for a run that kept no ledger."""
        return self._ledgers[0]

    @property
    def probes(self) -> tuple[LedgerRow, ...]:
        """State-changing requests that the harness itself made, to see that a route answers."""
        return self._ledgers[3]

    def held(self, name: str) -> tuple[HeldRow, ...] | None:
        """What the target finally held of *name*; None when it could not be asked."""
        return self._ledgers[1].get(name)

    @cached_property
    def torn(self) -> tuple[str, ...]:
        """What could not be read of the files besides the timeline, each with its place."""
        return (*self._torn, *self._ledgers[2], *self._states[2])

    @cached_property
    def _states(self) -> tuple[State | None, State | None, tuple[str, ...]]:
        torn: list[str] = []
        before, after = (read_state(self.folder, name, torn) for name in (BEFORE, AFTER))
        return before, after, tuple(torn)

    @property
    def states(self) -> tuple[State | None, State | None]:
        """The target's state before the first fault and after the recovery; None for one that was not read."""
        return self._states[:2]

    @property
    def head(self) -> str:
        """The hash of the last event: it covers the whole timeline, and by its last row every file of the run."""
        return self.events[-1].hash if self.events else ""

    @cached_property
    def altered(self) -> dict[str, str]:
        """{file: "changed", "added" or "missing"}: how the folder is not as the run left it."""
        return changes(self.folder, self.events[0] if self.events else None, self.sealed)

    def looked(self, name: str) -> str:
        """All rows of a file as evidence of absence: "timeline:1-120", "signals.csv:2-900", "ledger.jsonl:missing"."""
        if name == "timeline":
            return f"{name}:1-{len(self.events)}" if self.events else "timeline.jsonl:empty"
        first, count = (2 if name.endswith(".csv") else 1), _lines_of(self.folder / name)
        if count is None:
            return f"{name}:missing"
        return f"{name}:{first}-{count}" if count >= first else f"{name}:empty"

    def signals(self, name: str, subject: str = "") -> Series:
        return self._signals.get((name, subject), Series())

    def subjects(self, name: str) -> tuple[str, ...]:
        """Whom or what there are samples of *name* of; "" is the harness itself, or the machine."""
        return tuple(sorted(subject for one, subject in self._signals if one == name))

    def signal_times(self, name: str) -> list[tuple[float, int]]:
        """(at_s, line) of every sample of *name*, whatever its subject, in order of time."""
        return sorted(
            (at_s, line) for key, one in self._signals.items() if key[0] == name for at_s, _, line in one.rows
        )

    def of_kind(self, *kinds: Kind) -> tuple[Event, ...]:
        return tuple(event for event in self.events if event.kind in kinds)

    def first(self, kind: Kind, subject: str | None = None) -> Event | None:
        found = (e for e in self.events if e.kind is kind and subject in (None, e.subject))
        return next(found, None)

    def request_rows(
        self, since_s: float, until_s: float, user: str = "legitimate", names: frozenset[str] | None = None
    ) -> tuple[RequestRow, ...]:
        """What ended between *since_s* and *until_s*, of these request names (None: all)."""
        return tuple(
            row
            for row in self.requests
            if row.user == user and since_s <= row.at_s <= until_s and (names is None or row.name in names)
        )

    def traffic(
        self, since_s: float, until_s: float, user: str = "legitimate", names: frozenset[str] | None = None
    ) -> Traffic:
        """The totals of request_rows()."""
        return Traffic.of(self.request_rows(since_s, until_s, user, names))

    @cached_property
    def faults(self) -> tuple[FaultRecord, ...]:
        kinds = (Kind.FAULT_PLANNED, Kind.FAULT_INJECTED, Kind.FAULT_ATTAINED, Kind.FAULT_ENDED, Kind.FAULT_HEALED)
        found = (FaultRecord(step, *(self.first(kind, step.step_id) for kind in kinds)) for step in self.plan.steps)
        return beside_each_other(tuple(found), self.requests)

    def loop_lag(self, since_s: float, until_s: float, process: str = "") -> tuple[float, int] | None:
        """The 99th percentile of the lag of a worker ("": of this process) in ms, and the line that shows it."""
        rows = self.signals("loop_lag_ms", process).between(since_s, until_s).rows
        ordered = sorted((value, line) for _, value, line in rows)
        return ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))] if ordered else None

    def loop_lag_of(self, fault: FaultRecord, process: str = "") -> tuple[float, int] | None:
        """loop_lag() while *fault* was in force; None when it never was."""
        if fault.injected is None:
            return None
        return self.loop_lag(fault.injected.at_s, fault.ended.at_s if fault.ended else self.end_s, process)

    def fault(self, step_id: str) -> FaultRecord:
        return next(fault for fault in self.faults if fault.step.step_id == step_id)

    @cached_property
    def faulted_kernels(self) -> frozenset[str]:
        """The kernels that the plan's faults are aimed at."""
        aimed_at = {kernel for fault in self.faults for kernel in (fault.step.subject, *fault.step.kernels)}
        return frozenset(aimed_at & set(self.plan.kernels))

    @property
    def bystander_routes(self) -> frozenset[str]:
        """The requests that need no faulted kernel."""
        routes = self.plan.routes.items()
        return frozenset(name for name, kernels in routes if not self.faulted_kernels & set(kernels))

    def witness_route(self, kernel: str) -> str:
        return self.plan.witnesses.get(kernel, "")

    @property
    def baseline(self) -> Event | None:
        return self.first(Kind.STEADY_STATE_MET, "baseline")

    @property
    def recovered(self) -> Event | None:
        return self.first(Kind.RECOVERED)

    @property
    def aborted(self) -> Event | None:
        return self.first(Kind.RUN_ABORTED)

    @property
    def lacks(self) -> tuple[str, ...]:
        """Why this target cannot be judged by this scenario: known from its manifest, or seen in the baseline."""
        seen = self.aborted.detail.get("not_applicable") if self.aborted else None
        return (*self.plan.not_applicable, *(str(one) for one in seen or ()))

    @cached_property
    def unmet(self) -> tuple[Unmet, ...]:
        """The routes of attacks that never answered anybody in a way that shows that they work."""
        return tuple(unmet(self.requests))

    @property
    def finished(self) -> Event | None:
        return self.first(Kind.RUN_FINISHED)

    @property
    def sealed(self) -> Event | None:
        """The last event of a run that came to its end, or that was cut short: it has the hashes of all files."""
        return self.finished or self.first(Kind.RUN_SEALED)

    @property
    def end_s(self) -> float:
        """When nobody looked any more: what was done is written into the target's own log after that."""
        began_s = self._began_s(Kind.DEEDS_LOGGED)
        return max((event.at_s for event in self.events), default=0.0) if began_s is None else began_s

    @property
    def load_end_s(self) -> float:
        """When nobody sent requests any more: from then on the target was read back, where that was done."""
        return self.end_s if (began_s := self._began_s(Kind.READ_BACK)) is None else began_s

    def _began_s(self, kind: Kind) -> float | None:
        began_s = next((event.detail.get("began_s") for event in self.of_kind(kind)), None)
        return float(began_s) if isinstance(began_s, int | float) else None

    @property
    def first_injection_s(self) -> float | None:
        return min((f.injected.at_s for f in self.faults if f.injected), default=None)

    @property
    def last_fault_end_s(self) -> float | None:
        ends = [fault.ended.at_s for fault in self.faults if fault.ended]
        return max(ends) if ends and len(ends) == len(self.faults) else None

    @cached_property
    def engagements(self) -> tuple[Engagement, ...]:
        found = [
            Engagement(event.subject, _subject(event), event, ending)
            for event, ending in self._pairs(Kind.SAFEGUARD_ENGAGED, Kind.SAFEGUARD_RELEASED)
        ]
        return tuple(sorted(found, key=lambda one: one.engaged.at_s))

    @cached_property
    def playbook_runs(self) -> tuple[PlaybookRun, ...]:
        found = [
            PlaybookRun(event.subject, _subject(event), event, ending)
            for event, ending in self._pairs(Kind.PLAYBOOK_STARTED, Kind.PLAYBOOK_FINISHED)
        ]
        return tuple(sorted(found, key=lambda one: one.started.at_s))

    def _pairs(self, start: Kind, end: Kind) -> list[tuple[Event, Event | None]]:
        """Each start with the first end of the same incident, no end twice.

        A target whose events carry no incident id is paired by name, subject and order.
        """
        free = list(self.of_kind(end))
        pairs: list[tuple[Event, Event | None]] = []
        for event in self.of_kind(start):
            ending = next((one for one in free if _belongs(event, one)), None)
            if ending is not None:
                free.remove(ending)
            pairs.append((event, ending))
        return pairs

    def detection(self, step_id: str, safeguard: str = "") -> Detection | None:
        """The first engagement of a safeguard that covers this fault and names its subject, while it counts.

        With *safeguard*: the first of that one.
        """
        fault = self.fault(step_id)
        if fault.injected is None:
            return None
        covering = {name for name, _ in self.plan.coverage.get(step_id, ()) if safeguard in ("", name)}
        until_s = (fault.ended.at_s if fault.ended else self.end_s) + DETECTION_GRACE_S
        for one in self.engagements:
            if (
                one.safeguard in covering
                and one.subject == self.plan.subject_of(fault.step, one.safeguard)
                and fault.injected.at_s <= one.engaged.at_s <= until_s
                and not self._of_later(fault, one)
            ):
                attained = fault.attained.at_s if fault.attained else None
                after = None if attained is None else max(0.0, one.engaged.at_s - attained)
                return Detection(one.safeguard, one.engaged.at_s - fault.injected.at_s, after, one.engaged)
        return None

    def still_engaged(self, step_id: str, safeguard: str = "") -> Engagement | None:
        """The engagement that kept a safeguard from engaging for this fault: it was engaged for its subject already.

        Nobody can tell whether it would have seen this fault too. One that let go while the fault had ROOM_S left is
        no excuse. With *safeguard*: of that one only.
        """
        fault = self.fault(step_id)
        if fault.injected is None:
            return None
        covering = {name for name, _ in self.plan.coverage.get(step_id, ()) if safeguard in ("", name)}
        at_s, end_s = fault.injected.at_s, fault.ended.at_s if fault.ended else self.end_s
        for one in self.engagements:
            until_s = one.released.at_s if one.released else math.inf
            names = one.safeguard in covering and one.subject == self.plan.subject_of(fault.step, one.safeguard)
            if names and one.engaged.at_s < at_s < until_s and end_s - until_s < ROOM_S:
                return one
        return None

    def _of_later(self, fault: FaultRecord, one: Engagement) -> bool:
        """Whether *one* is for another fault that it sees as well, which began long after *fault* had ended."""
        over_s = fault.ended.at_s + LATER_S if fault.ended else math.inf
        later = [f.step for f in self.faults if f.injected and over_s <= f.injected.at_s <= one.engaged.at_s]
        return any(
            (one.safeguard, one.subject) == (name, self.plan.subject_of(step, name))
            for step in later
            for name, _ in self.plan.coverage.get(step.step_id, ())
        )

    def engagement_of(self, run: PlaybookRun) -> Engagement | None:
        """What a playbook ran for: by its incident's id; where none has that id, the last before it about its subject.

        One that is still open goes first.
        """
        incident = run.started.detail.get("incident_id")
        if incident is not None:
            for one in self.engagements:
                if one.engaged.detail.get("incident_id") == incident:
                    return one
        start_s = run.started.at_s
        about = [one for one in self.engagements if one.subject == run.subject]
        about = [one for one in about if one.engaged.at_s <= start_s + ORDER_S]
        still = [one for one in about if one.released is None or one.released.at_s > start_s]
        return next(reversed(still or about), None)

    def defers(self, one: Engagement, deferring: Sequence[str]) -> bool:
        """Whether the target began one of the playbooks *deferring* (they defer work) for the incident of *one*."""
        known = one.engaged.detail.get("incident_id")
        return any(
            run.playbook in deferring and (self.engagement_of(run) is one if known else run.subject == one.subject)
            for run in self.playbook_runs
        )

    def deferred_by_others(
        self, rows: Iterable[LedgerRow], deferring: Sequence[str]
    ) -> list[tuple[LedgerRow, Engagement]]:
        """Those of an attack's *rows* that were refused to the end, and that may be for what no fault of the plan does.

        Once such a safeguard has deferred some (503), what else was refused then (too many at once, or after one
        that was deferred) may be its doing as well.
        """
        pairs = [
            (fault.step, name) for fault in self.faults for name, _ in self.plan.coverage.get(fault.step.step_id, ())
        ]
        covered = {(name, self.plan.subject_of(step, name)) for step, name in pairs}
        others = [one for one in self.engagements if (one.safeguard, one.subject) not in covered]
        others = [one for one in others if self.defers(one, deferring)]
        refused = [row for row in self.ledger or () if row.attack and row.outcome == "refused"]
        deferred = [row for row in refused if row.status == 503]
        others = [one for one in others if any(_in_the_way(one, row.at_s) for row in deferred)]
        lines = {row.line for row in refused}
        found = ((row, next((one for one in others if _in_the_way(one, row.at_s)), None)) for row in rows)
        return [(row, one) for row, one in found if one is not None and row.line in lines]

    @property
    def relapse(self) -> Event | None:
        """The first sign after the recovery that the target is ill again."""
        return next(iter(self.relapses), None)

    @property
    def relapses(self) -> list[Event]:
        """Every sign after the recovery that the target is ill again: a safeguard engages, a kernel changes."""
        if self.recovered is None:
            return []
        signs = (
            event
            for event in self.of_kind(Kind.SAFEGUARD_ENGAGED, Kind.KERNEL_CHANGED)
            if event.at_s > self.recovered.at_s
            and (event.kind is Kind.SAFEGUARD_ENGAGED or event.detail.get("to") not in WELL)
        )
        return sorted(signs, key=lambda event: event.at_s)

    @property
    def recovery_s(self) -> float | None:
        """From the end of the last fault to the start of the first window in which all is well."""
        if self.recovered is None or self.last_fault_end_s is None:
            return None
        return self.recovered.at_s - self.last_fault_end_s


def _no_pipe(folder: Path) -> None:
    """Raises ValueError for a folder that holds a pipe or a device: reading it might never end."""
    for path in (folder, *folder.rglob("*")):
        try:
            mode = path.stat().st_mode
        except OSError:
            continue  # whoever reads it says so
        if stat.S_ISFIFO(mode) or stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
            raise ValueError(f"{path.relative_to(folder)} is not a regular file")
