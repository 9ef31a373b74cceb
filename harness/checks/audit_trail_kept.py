"""Every request that changes state, or was turned down, has one true entry, and the history is never rewritten."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar

from harness.alarms import has_no_cause, holds_log
from harness.audit_entries import (
    ACCEPTED,
    UNRECORDED,
    Entry,
    Group,
    by_digest,
    by_reference,
    entries_of,
    groups_of,
    out_of_order,
)
from harness.checks import finding
from harness.checks.audit_complete import chain_problem
from harness.checks.work_kept import EXCLUSIVE, unrecorded
from harness.ledger import AUDIT, NO_LEDGER, ROUTE_KINDS, HeldRow, LedgerRow, Wrongs, not_read, span
from harness.ledger_row import cut_word
from harness.ledger_start import last_before, rows_before
from harness.model import Event, Finding, Invariant, Kind, Verdict
from harness.record import FaultRecord, Record

HEAD, DIGEST, EVERY = "audit.head", "audit.digest", "audit.every_request"
GUARD, FULL, DAMAGE, LOG = "log_write_guard", "disk_full", "log_corruption", "immutable_log"
API = "api_server"
BLIND_S = 10.0  # the head is looked at once a second; so long a log may need to be back after a fault of it
SLACK_S = 0.005  # times of one process are rounded to a millisecond
CLOCKS_S = 0.12  # those of two are known to 50 ms each
BEFORE_S, AFTER_S = 1.0, 3.0  # a full disk is felt before the safeguard has seen it, and a while after


@dataclass(frozen=True, kw_only=True)
class AuditTrailKept:
    claim: str

    invariant: ClassVar[Invariant] = Invariant(
        order=4,
        claim="each request that changes state has one true entry in an audit trail that is never rewritten",
        sources=(f"ledgers.{AUDIT}",),
    )
    of_whole_ledger: ClassVar[tuple[str, ...]] = ("invented_entry",)
    sources: ClassVar[tuple[str, ...]] = (
        "ledger.jsonl",
        "signals.csv: audit_head_up",
        "target/audit.jsonl",
        "timeline: audit_head, clock_measured, deeds_logged, every row, fault_ended, fault_healed, fault_injected",
        "timeline: read_back, safeguard_engaged, safeguard_released, steady_state_met",
    )

    def check(self, record: Record) -> Finding:
        if record.ledger is None:
            return finding(self, Verdict.INCONCLUSIVE, NO_LEDGER, "plan.json:1", code="no_ledger")
        held, offers = record.held(AUDIT), record.plan.offers
        lacking = tuple(key for key in (HEAD, DIGEST, EVERY) if key not in offers)
        if held is None:
            event = record.first(Kind.READ_BACK)
            why = not_read(AUDIT)
            return finding(self, Verdict.INCONCLUSIVE, why, event or "plan.json:1", code="not_read", missing=lacking)
        trail = _Trail(record, held)
        causes = chain_problem(held, last_before(record.events, AUDIT))
        trail.heads(causes)
        trail.named(causes)
        if DIGEST in offers and EVERY in offers:
            trail.counted(causes)
            trail.ordered(causes)
            trail.unrecorded(causes)
        if causes:
            return finding(self, Verdict.FAIL, str(causes), *causes.cited, code=causes.codes, missing=lacking)
        code, why = trail.open_question()
        cited = (*span(trail.mine or record.ledger), *span(held))
        if code:
            evidence = cited or ("ledger.jsonl:1", "target/audit.jsonl:1")
            return self._left_open(code, why, *evidence, lacking=lacking)
        why = f"{len(trail.mine)} requests have true entries in a chain of {len(held)} entries"
        why += f", which holds each of the {len(trail.seen)} heads that were seen" if trail.seen else ""
        return finding(self, Verdict.PASS, why, *cited, *trail.seen[:1], *trail.seen[-1:], missing=lacking)

    def _left_open(self, code: str, why: str, *evidence: Any, lacking: tuple[str, ...]) -> Finding:
        return finding(self, Verdict.INCONCLUSIVE, why, *evidence, code=code, missing=lacking)


class _Trail:
    """What the clients asked and were told, beside the entries."""

    def __init__(self, record: Record, held: Sequence[HeldRow]) -> None:
        self.record, self.held = record, held
        self.every = DIGEST in record.plan.offers and EVERY in record.plan.offers
        self.entries = entries_of(held)
        self.references = by_reference(self.entries)
        self.rows = record.ledger or ()
        self.seen = record.of_kind(Kind.AUDIT_HEAD)
        answered = [row for row in (*self.rows, *record.probes) if row.outcome != "unanswered" and row.attempts]
        self.mine = [row for row in answered if self.every or (row.kind == "decision" and row.outcome == ACCEPTED)]
        self.reading_s = record.load_end_s

    # History

    def heads(self, causes: Wrongs) -> None:
        """Each head that was seen before the log was read must be in it; one seen later may lie behind its end."""
        known = {entry.sequence: entry.row.text("entry_hash") for entry in self.entries}
        before = last_before(self.record.events, AUDIT)
        if before:
            known.setdefault(int(before["sequence"]), str(before["entry_hash"]))
        first, last = min(known, default=0), max(known, default=0)
        gone = []
        for event in self.seen:
            sequence, digest = event.detail.get("sequence"), event.detail.get("entry_hash")
            if self._damaged(event) or type(sequence) is not int or sequence < first:
                continue
            if (sequence > last and event.at_s >= self.reading_s) or known.get(sequence) == digest:
                continue
            gone.append((f"entry {sequence}", _Cited(event)))
        causes.note("rewritten", "heads that were seen during the run are not in the final log", gone)

    def _damaged(self, event: Event) -> bool:
        """True while a fault of the plan changes the log."""
        spans = [
            (fault.injected.at_s, fault.healed.at_s if fault.healed else self.record.end_s)
            for fault in self.record.faults
            if fault.step.type == DAMAGE and fault.injected
        ]
        return any(start_s <= event.at_s <= end_s + AFTER_S for start_s, end_s in spans)

    # The entry that an answer names

    def named(self, causes: Wrongs) -> None:
        due = [row for row in self.mine if row.reference and row.at_s < self.reading_s]
        missing = [(row.id, row) for row in due if row.reference not in self.references]
        if self.every:
            found = {row.line: self._different(row) for row in due}
            for code, what in CODES.items():
                rows = [(f"{row.id}: {found[row.line][code]}", row) for row in due if code in found[row.line]]
                also = [self.references[row.reference][0] for _, row in rows]
                causes.note(code, f"entries have another {what} than the request", rows, also)
        else:
            self._decisions(due, causes)
        digested = [row for row in self.mine if self.every and row.digest]
        nameless = [row for row in digested if not row.reference and not self._without_entry(row)]
        causes.note("missing_entry", "answers name an entry that is not in the log", missing)
        causes.note("no_reference", "answers do not name their entry", [(row.id, row) for row in nameless])
        twice = [(row.id, row) for row in due if len(self.references.get(row.reference, ())) > 1]
        causes.note("extra_entry", "answers have more than one entry under their reference", twice)

    def _decisions(self, due: Sequence[LedgerRow], causes: Wrongs) -> None:
        """Without the promise of every_request only decisions are known to be on record."""
        found = [(row, self.references[row.reference][0]) for row in due if row.reference in self.references]
        for code, part, number in (("wrong_actor", "actor", 0), ("wrong_action", "action", 1)):
            rows = [(row.id, row) for row, one in found if one.row.text(part) != row.question.split("|")[number]]
            causes.note(code, f"decisions are on record with another {part}", rows)
        rows = [(row.id, row) for row, one in found if not row.question.endswith(f"|{one.row.text('resource')}")]
        causes.note("wrong_resource", "decisions are on record with another resource", rows)
        rows = [(row.id, row) for row, one in found if one.row.text("result") != row.answer]
        causes.note("wrong_result", "decisions are on record with another result", rows)

    @staticmethod
    def _without_entry(row: LedgerRow) -> bool:
        return row.error in UNRECORDED or not row.status

    def _different(self, row: LedgerRow) -> dict[str, str]:
        """Code → what the entry of *row* says otherwise."""
        entries = self.references.get(row.reference)
        if not entries or not row.digest:
            return {}
        entry, found = entries[0], {}
        for code, (part, allowed) in _expected(row, entry).items():
            if part not in allowed:
                found[code] = f"{part!r} instead of {' or '.join(map(repr, sorted(allowed)))}"
        if row.outcome != ACCEPTED and not entry.reason:
            found["no_reason"] = "''"
        elif row.outcome != ACCEPTED and row.error and cut_word(entry.reason) != row.error:
            found["wrong_reason"] = f"{entry.reason!r} instead of {row.error!r}"
        return found

    # As many as there were requests, in their order

    def counted(self, causes: Wrongs) -> None:
        groups = groups_of(self.rows, self.record.probes, self.reading_s)
        digests = by_digest(self.entries)
        probed = {row.digest for row in self.record.probes}
        short = [(g.rows[0].id, g.rows[0]) for key, g in groups.items() if g.lacking(digests.get(key, ()))]
        causes.note("missing_entry", "requests have fewer entries than answers", short)
        over = {
            f"{group.rows[0].id}: {surplus}": (group.rows[0], digests[key][-1])
            for key, group in groups.items()
            # the harness asks the same of a target before a run begins, and those entries may come late
            if key not in probed and (surplus := group.surplus(digests.get(key, ())))
        }
        rows, also = [(words, row) for words, (row, _) in over.items()], [entry for _, entry in over.values()]
        causes.note("extra_entry", "requests have more entries than attempts", rows, also)
        self._invented(groups, causes)

    def _invented(self, groups: dict[str, Group], causes: Wrongs) -> None:
        before = rows_before(self.record.events, AUDIT)
        if EXCLUSIVE not in self.record.plan.offers or before is None:
            return
        if any(unrecorded(self.record, kind) for kind in ROUTE_KINDS.values()):
            return
        written = [event.detail for event in self.record.of_kind(Kind.DEEDS_LOGGED)]
        own = [(str(one.get("actor")), str(deed["reference"])) for one in written for deed in one.get("entries", ())]
        mine = {row.reference for row in (*self.rows, *self.record.probes) if row.reference}
        strange = [
            entry
            for entry in self.entries[before:]
            if entry.digest not in groups
            and entry.row.text("reference") not in mine
            and not any(_is_deed(entry, *deed) for deed in own)
        ]
        rows = [(f"{one.row.text('action')} by {one.row.text('actor')}", one) for one in strange]
        causes.note("invented_entry", "entries of requests that were not sent", rows)

    def ordered(self, causes: Wrongs) -> None:
        """Entries of one kind: each kind of request has a way of its own into the log."""
        slack_s = CLOCKS_S if self.record.of_kind(Kind.CLOCK_MEASURED) else SLACK_S
        ways: dict[tuple[str, bool], list[tuple[LedgerRow, Entry]]] = {}
        for row in self.mine:
            if row.reference in self.references:
                way = (row.kind, row.kind == "decision" and row.outcome == ACCEPTED)
                ways.setdefault(way, []).append((row, self.references[row.reference][0]))
        found = [pair for pairs in ways.values() for pair in out_of_order(pairs, slack_s)]
        rows, also = [(row.id, row) for row, _ in found], [entry for _, entry in found]
        causes.note("reordered", "entries come after those of requests that began later", rows, also)

    def unrecorded(self, causes: Wrongs) -> None:
        """Only while the log has no room may a request be refused for want of a record."""
        refused = [row for row in self.rows if any(word in row.refusals for word in UNRECORDED)]
        spans = self._no_room()
        rows = [(f"{row.id}: {row.at_s:.1f} s", row) for row in refused if not _excused(row, spans)]
        words = "requests were refused because the log could not be written, while it could"
        causes.note("unrecorded_refusal", words, rows)

    def _no_room(self) -> list[tuple[float, float]]:
        record, end_s = self.record, self.record.end_s
        spans = [
            (fault.injected.at_s, fault.healed.at_s if fault.healed else end_s)
            for fault in record.faults
            if fault.injected and (_fills_log(fault) or LOG in (fault.step.subject, *fault.step.kernels))
        ]
        spans += [
            (one.engaged.at_s, one.released.at_s if one.released else end_s)
            for one in record.engagements
            if one.safeguard == GUARD and not has_no_cause(record, one)
        ]
        return [(start_s - BEFORE_S, until_s + AFTER_S) for start_s, until_s in spans]

    # What is left open

    def open_question(self) -> tuple[str, str]:
        """(code, reason) why this cannot be shown; ("", "") when it can."""
        if not any(row.reference for row in self.mine):
            return "no_work", "no answer names an entry of the log"
        offers = self.record.plan.offers
        if self.every and any(not row.digest for row in self.rows):
            return "not_told", "the clients' ledger lacks the digests of what was sent"
        if self.every and EXCLUSIVE in offers and rows_before(self.record.events, AUDIT) is None:
            return "start_not_known", "how many entries there were before the run is not known"
        heads = {event.detail.get("sequence") for event in self.seen}
        if HEAD in offers and len(heads) < 2:
            return "history_not_seen", f"the log's head was seen {len(heads)} times: that shows no history"
        blind = self._blind() if HEAD in offers else None
        if blind:
            return "history_not_seen", f"nobody saw the log's head from {blind[0]:.0f} s to {blind[1]:.0f} s"
        return "", ""

    def _blind(self) -> tuple[float, float] | None:
        """The first stretch in which nobody saw the log's head for longer than BLIND_S, though no fault struck it."""
        record = self.record
        start_s = record.baseline.at_s if record.baseline else 0.0
        up = [row[0] for row in record.signals("audit_head_up").between(start_s, self.reading_s).rows if row[1] == 1.0]
        struck = [
            (fault.injected.at_s, (fault.healed.at_s if fault.healed else record.end_s) + BLIND_S)
            for fault in record.faults
            if fault.injected
            and (
                _fills_log(fault) or fault.step.type == DAMAGE or {LOG, API} & {fault.step.subject, *fault.step.kernels}
            )
        ]
        for since_s, until_s in pairwise([start_s, *up, self.reading_s]):
            excused_s = sum(max(0.0, min(until_s, b) - max(since_s, a)) for a, b in struck)
            if until_s - since_s - excused_s > BLIND_S:
                return since_s, until_s
        return None


def _fills_log(fault: FaultRecord) -> bool:
    return fault.step.type == FULL and holds_log(fault)


CODES = {
    "wrong_digest": "payload digest",
    "wrong_actor": "actor",
    "wrong_action": "action",
    "wrong_resource": "resource",
    "wrong_result": "result",
    "no_reason": "reason",
    "wrong_reason": "reason",
}


def _expected(row: LedgerRow, entry: Entry) -> dict[str, tuple[str, set[str]]]:
    """Code → (what the entry says, what it may say). What is refused need not have been read: it has no names then."""
    accepted = row.outcome == ACCEPTED
    verb = {"rejected": "reject", "refused": "refuse"}.get(row.outcome, "")
    result = row.outcome if not accepted or row.kind != "decision" else row.answer
    names = {row.actor or entry.client} if accepted and row.valid else {row.actor or entry.client, entry.client}
    about = {row.resource or row.id} if accepted and row.valid else {row.resource, ""}
    return {
        "wrong_digest": (entry.digest, {row.digest}),
        "wrong_actor": (entry.row.text("actor"), names),
        "wrong_action": (entry.row.text("action"), {row.action if accepted else f"{verb}_{row.kind}"}),
        "wrong_resource": (entry.row.text("resource"), about),
        "wrong_result": (entry.row.text("result"), {result}),
    }


def _excused(row: LedgerRow, spans: Sequence[tuple[float, float]]) -> bool:
    """True when one of *spans* lies within the time in which the row was tried, as far as that is known."""
    start_s = row.begun_s if row.begun_s is not None and row.attempts == 1 else float("-inf")
    return any(begin_s <= row.at_s and start_s <= end_s for begin_s, end_s in spans)


def _is_deed(entry: Entry, actor: str, reference: str) -> bool:
    """Whether the harness itself wrote it in this run; a target may put something before the reference."""
    told = entry.row.text("reference")
    return entry.row.text("actor") == actor and (told == reference or told.endswith(f"/{reference}"))


@dataclass(frozen=True)
class _Cited:
    """An event, cited as a row of a file is."""

    event: Event

    @property
    def place(self) -> str:
        return f"timeline:{self.event.seq}"


CHECK = AuditTrailKept
