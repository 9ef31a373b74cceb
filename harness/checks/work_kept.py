"""Every accepted request that changes state is finally held once, finished, as it was sent; and nothing else is."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from harness.checks import finding
from harness.digests import same_field
from harness.fault_record import FaultRecord
from harness.ledger import (
    COMPLETED,
    HELD_IN,
    KEPT,
    NO_LEDGER,
    OVER,
    ROUTE_KINDS,
    HeldRow,
    LedgerRow,
    Wrongs,
    not_read,
    span,
)
from harness.ledger_start import rows_before
from harness.model import Finding, Invariant, Kind, Verdict
from harness.record import Record

EXCLUSIVE = "exclusive"
# kind → the manifest key that promises every field of a held row as it was sent
TOLD_BY = {
    "intent": "ledgers.intents.proof",
    "retrospective": "ledgers.retrospectives.proof",
    "knowledge": "audit.every_request",
}
TIMEOUT = "timeout"  # given up after three tries: docs/kernels.md
MACHINE, SCHEDULER, ON_WORKERS = "machine", "scheduler", ("worker", "code_patch")
RETRY_S = 10.0  # so long after a fault work may still be given up for it
GIVEN_UP_PERCENT_MAX = 1.0  # of what was accepted; a single one always
DUPLICATE = "duplicate_id"  # bears the id of another request, which is held


@dataclass(frozen=True, kw_only=True)
class WorkKept:
    claim: str

    invariant: ClassVar[Invariant] = Invariant(
        order=1,
        claim="accepted work is held exactly once, finished and as it was sent, and nothing is held that was not sent",
        sources=tuple(f"ledgers.{name}" for name, _ in HELD_IN.values()),
    )
    of_whole_ledger: ClassVar[tuple[str, ...]] = ("stranger",)
    sources: ClassVar[tuple[str, ...]] = (
        "ledger.jsonl",
        "target/intents.jsonl",
        "target/knowledge.jsonl",
        "target/retrospectives.jsonl",
        "timeline: every row, fault_ended, fault_healed, fault_injected, read_back",
    )

    def check(self, record: Record) -> Finding:
        if record.ledger is None:
            return finding(self, Verdict.INCONCLUSIVE, NO_LEDGER, "plan.json:1", code="no_ledger")
        offers = set(record.plan.offers)
        kinds = [_Kind(record, kind) for kind, (name, _) in HELD_IN.items() if f"ledgers.{name}" in offers]
        lacking = tuple(f"ledgers.{name}" for name, _ in HELD_IN.values() if f"ledgers.{name}" not in offers)
        wrong, read_back = Wrongs(), record.first(Kind.READ_BACK)
        for one in kinds:
            one.judge(wrong)
        if wrong:
            return finding(self, Verdict.FAIL, str(wrong), *wrong.cited, read_back, code=wrong.codes, missing=lacking)
        if unread := [one.name for one in kinds if one.held is None]:
            why = "; ".join(not_read(name) for name in unread)
            return self._left_open("not_read", why, read_back or "plan.json:1", lacking=lacking)
        accepted = [row for one in kinds for row in one.accepted]
        if not accepted:
            why = f"none of {sum(len(one.sent) for one in kinds)} requests that change state was accepted"
            return self._left_open("no_work", why, *(span(record.ledger) or ("ledger.jsonl:1",)), lacking=lacking)
        for code in ("many_given_up", "ended_unfinished", "not_told", "start_not_known"):
            if untold := [words for one in kinds for found, words in one.untold if found == code]:
                return self._left_open(code, "; ".join(untold), *span(accepted), lacking=lacking)
        counts = ", ".join(f"{len(one.accepted)} {one.name}" for one in kinds)
        why = f"accepted and held once, finished and as sent: {counts}"
        why += "; nothing else is held" if EXCLUSIVE in offers else "; nothing else is held under an id of this run"
        why = "; ".join([why, *(words for one in kinds for words in one.remarks)])
        held = [place for one in kinds for place in span(one.held or ())]
        missing = (*lacking, *(key for one in kinds for key in one.missing))
        return finding(self, Verdict.PASS, why, *span(accepted), *held, read_back, missing=missing)

    def _left_open(self, code: str, why: str, *evidence: Any, lacking: tuple[str, ...]) -> Finding:
        return finding(self, Verdict.INCONCLUSIVE, why, *evidence, code=code, missing=lacking)


class _Kind:
    """The requests of one kind beside the rows of the target's ledger."""

    def __init__(self, record: Record, kind: str) -> None:
        self.kind, (self.name, self.id_field) = kind, HELD_IN[kind]
        self.record = record
        self.held = record.held(self.name)
        self.sent = [row for row in record.ledger or () if row.kind == kind]
        self.accepted = [row for row in self.sent if row.valid and row.outcome == "accepted"]
        self.probes = [row for row in record.probes if row.kind == kind]
        self.full = TOLD_BY[kind] in record.plan.offers
        self.missing: tuple[str, ...] = () if self.full or not self.accepted else (TOLD_BY[kind],)
        self.untold: list[tuple[str, str]] = []
        self.remarks: list[str] = []
        self.by_id: dict[str, list[HeldRow]] = {}
        for row in self.held or ():
            self.by_id.setdefault(row.text(self.id_field), []).append(row)

    def judge(self, wrong: Wrongs) -> None:
        if self.held is None:
            return
        lost = [(row.id, row) for row in self.accepted if row.id not in self.by_id]
        wrong.note("lost", f"accepted requests are not among the target's {self.name}", lost)
        words = f"requests were answered as accepted, but in the name of another of the {self.name}, or of none"
        wrong.note("answered_for_another", words, [(r.id, r) for r in (*self.sent, *self.probes) if r.for_another])
        self._twice(wrong)
        self._fields(wrong)
        self._status(wrong)
        self._turned_down(wrong)
        self._strangers(wrong)

    def _twice(self, wrong: Wrongs) -> None:
        maybe = {row.id for row in self.sent if row.outcome in ("accepted", "unanswered")}
        twice = [(one, rows[1]) for one, rows in self.by_id.items() if one in maybe and len(rows) > 1]
        wrong.note("doubled", f"{self.name} are held twice", twice)
        mine = [rows[0] for one, rows in self.by_id.items() if one in maybe]
        counts = [(row, row.fields.get("executions")) for row in mine if row.text("status") == COMPLETED]
        often = [(f"{row.text(self.id_field)}: {count}", row) for row, count in counts if count not in (None, 0, 1)]
        wrong.note("doubled", f"{self.name} were executed more than once", often)
        never = [(row.text(self.id_field), row) for row, count in counts if count == 0]
        wrong.note("not_executed", f"{self.name} are called completed and were never executed", never)
        if self.full and self.kind not in KEPT and any(count is None for _, count in counts):
            self.untold.append(("not_told", f"the target does not say how often it executed its {self.name}"))

    def _fields(self, wrong: Wrongs) -> None:
        mine = [row for row in self.sent if row.valid and row.outcome in ("accepted", "unanswered")]
        if any(not row.sent for row in mine if row.outcome == "accepted"):
            self.untold.append(("not_told", f"the clients' ledger lacks the fields of their {self.name}"))
        pairs = [(row, self.by_id[row.id][0]) for row in mine if row.sent and row.id in self.by_id]
        bodies = [(row, held, body_of(self.kind, held)) for row, held in pairs]
        known = {name for _, _, body in bodies for name in body}
        changed, others = [], []
        for row, held, body in bodies:
            names = [name for name, digest in row.sent.items() if self._differs(name, str(digest), body, known)]
            if names:
                changed.append((f"{row.id}: {', '.join(names)}", row))
                others.append(held)
        wrong.note("changed_field", f"{self.name} are held with other fields than were sent", changed, others)

    def _differs(self, name: str, digest: str, body: Mapping[str, Any], known: set[str]) -> bool:
        """A field that no row has is not known, unless the manifest promises all of them."""
        if name in body:
            return not same_field(digest, body[name])
        return self.full or name in known

    def _status(self, wrong: Wrongs) -> None:
        if self.kind in KEPT:
            return
        pairs = [(row, self.by_id[row.id][0]) for row in self.accepted if row.id in self.by_id]
        found = [held for _, held in pairs]
        stated = [row for row in found if "status" in row.fields]
        open_ones = [
            (f"{row.text(self.id_field)}: {row.text('status')}", row)
            for row in stated
            if row.text("status") not in OVER
        ]
        wrong.note("not_final", f"accepted {self.name} are not finished", open_ones)
        self._unfinished(pairs, wrong)
        if len(stated) < len(found):
            self.untold.append(("not_told", f"the target does not say the state of its {self.name}"))

    def _unfinished(self, pairs: Sequence[tuple[LedgerRow, HeldRow]], wrong: Wrongs) -> None:
        """Accepted work that was given up: only a fault of what carries it out may be the reason, and of little."""
        over = [(row, held) for row, held in pairs if held.text("status") in OVER and held.text("status") != COMPLETED]
        struck = [(fault.step.step_id, *_window(self.record, fault)) for fault in self._struck()]
        met = [[name for name, *window in struck if _lived_in(*one, *window)] for one in over]
        words = f"accepted {self.name} were given up"
        freely = [
            (f"{row.id}: {held.text('status')}", held)
            for (row, held), names in zip(over, met, strict=True)
            if not names
        ]
        wrong.note("ended_unfinished", f"{words}, and no fault struck what carries them out then", freely)
        excused = [held for (_, held), names in zip(over, met, strict=True) if names]
        if not excused:
            return
        named = ", ".join(dict.fromkeys(name for names in met for name in names))
        failed = [held for held in excused if held.text("status") != TIMEOUT]
        if len(excused) > max(1.0, GIVEN_UP_PERCENT_MAX / 100 * len(self.accepted)):
            why = f"{len(excused)} of {len(self.accepted)} {words}: more than {named} may be why"
            self.untold.append(("many_given_up", why))
        elif failed:
            self.untold.append(("ended_unfinished", f"{len(failed)} {words} as failed, and {named} may be why"))
        else:
            self.remarks.append(f"{len(excused)} {self.name} ended as {TIMEOUT}, for {named}")

    def _struck(self) -> list[FaultRecord]:
        """Faults of the plan on the whole machine, on workers, or on a kernel that work of this kind needs."""
        routes = self.record.plan.routes.items()
        needed = {one for name, some in routes if ROUTE_KINDS.get(name.partition(" ")[2]) == self.kind for one in some}
        return [
            fault
            for fault in self.record.faults
            if fault.injected
            and (
                fault.step.target == MACHINE
                or fault.step.type.startswith(ON_WORKERS)
                or {*needed, SCHEDULER} & {fault.step.subject, fault.step.target, *fault.step.kernels}
            )
        ]

    def _turned_down(self, wrong: Wrongs) -> None:
        taken = {row.id for row in self.sent if row.outcome in ("accepted", "unanswered")}
        for outcome in ("refused", "rejected"):
            mine = [row for row in self.sent if row.outcome == outcome and row.flaw != DUPLICATE]
            kept = [(row.id, row) for row in mine if row.id in self.by_id and row.id not in taken]
            also = [self.by_id[name][0] for name, _ in kept]
            wrong.note(f"held_though_{outcome}", f"requests were {outcome}, and yet are held", kept, also)

    def _strangers(self, wrong: Wrongs) -> None:
        """An exclusive target holds nothing but what was sent; another one nothing else under an id of this run."""
        known = {row.id for row in (*self.sent, *self.probes)}
        prefixes = {row.id.partition("-")[0] for row in self.sent}
        before = rows_before(self.record.events, self.name)
        exclusive = EXCLUSIVE in self.record.plan.offers
        if exclusive and before is None:
            self.untold.append(("start_not_known", f"how many {self.name} there were before the run is not known"))
            exclusive = False
        if unrecorded(self.record, self.kind):
            exclusive = False
        lost = [row for row in self.probes if row.outcome == "unanswered"]
        found = []
        for number, row in enumerate(self.held or ()):
            name = row.text(self.id_field)
            if name in known or (not exclusive and name.partition("-")[0] not in prefixes):
                continue
            if exclusive and number < (before or 0):
                continue
            probe = next((one for one in lost if self._same(one, row)), None)
            if probe is not None:
                lost.remove(probe)  # its answer was lost: it may be this one
            else:
                found.append((name, row))
        wrong.note("stranger", f"{self.name} are held that were not sent", found)

    def _same(self, probe: LedgerRow, held: HeldRow) -> bool:
        body = body_of(self.kind, held)
        return all(same_field(str(digest), body[name]) for name, digest in probe.sent.items() if name in body)


def _window(record: Record, fault: FaultRecord) -> tuple[float, float]:
    """When *fault* may have been the reason to give work up."""
    ends = [event.at_s for event in (fault.ended, fault.healed) if event]
    return fault.injected.at_s if fault.injected else 0.0, (max(ends) if ends else record.end_s) + RETRY_S


def _lived_in(row: LedgerRow, held: HeldRow, start_s: float, until_s: float) -> bool:
    """Whether work was under way in a stretch; where the target does not tell how long it had it, it may have been."""
    began_s, took_s = row.at_s if row.begun_s is None else row.begun_s, float("inf")
    taken, over = held.fields.get("accepted_at"), held.fields.get("completed_at")
    if isinstance(taken, int | float) and isinstance(over, int | float):
        took_s = max(0.0, over - taken)  # by one clock, whichever it is
    return began_s <= until_s and start_s <= row.at_s + took_s


def body_of(kind: str, row: HeldRow) -> Mapping[str, Any]:
    """Return what the target holds of a request's body, by the names that the request had for it."""
    fields = row.fields
    if kind == "intent":
        body = _read(fields.get("intent"))
        return body if isinstance(body, Mapping) else fields
    own = {"retrospective": "retro_id", "knowledge": "knowledge_id"}[kind]
    found = {**fields, own: fields.get("id")}
    for name in ("tags", "events"):
        if name in found:
            found[name] = _read(found[name])
    return found


def _read(value: Any) -> Any:
    """Return a list or an object that a ledger holds as JSON text."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value


def unrecorded(record: Record, kind: str) -> bool:
    """True when an attack of the plan sends requests of *kind* of which no ledger is kept."""
    asked = {str(step.params.get("endpoint", "")) for step in record.plan.steps}
    paths = [path for path, one in ROUTE_KINDS.items() if one == kind and path in asked]
    return bool(paths) and not any(row.attack and row.kind == kind for row in record.ledger or ())


CHECK = WorkKept
