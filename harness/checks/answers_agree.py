"""Equal questions get equal answers in every field, and the audit trail holds each answer as the client got it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from harness.audit_entries import Entry, by_reference, entries_of
from harness.checks import finding
from harness.digests import canonical
from harness.fixed_answers import Answerer, answerers
from harness.ledger import AUDIT, NO_LEDGER, LedgerRow, Wrongs, not_read, span
from harness.ledger_row import TOLD_MAX, shortened, told_of
from harness.model import Finding, Invariant, Kind, Verdict
from harness.record import Record

DIGEST = "audit.digest"
# fields that must be equal on a target whose manifest promises no more
FIELDS = ("decision", "allowed", "approved", "requires_approval", "risk", "risk_score", "reason")
CONFIG = "config"  # the path that faults damage: what governance decides follows from it
FOLLOWS_S = 3.0  # the longest time until governance follows a configuration that was restored
ASKED_S = 10.0  # no client waits longer for an answer


@dataclass(frozen=True, kw_only=True)
class AnswersAgree:
    claim: str

    invariant: ClassVar[Invariant] = Invariant(
        order=3,
        claim="equal questions get equal answers, and the audit trail holds the answers that clients got",
        sources=(f"ledgers.{AUDIT}",),
    )
    sources: ClassVar[tuple[str, ...]] = (
        "ledger.jsonl",
        "target/audit.jsonl",
        "signals.csv: model_answered, model_answers_same, model_first, model_label_same, route_answer",
        "timeline: fault_ended, fault_healed, fault_injected, read_back, symptom_seen",
    )

    def check(self, record: Record) -> Finding:
        if record.ledger is None:
            return finding(self, Verdict.INCONCLUSIVE, NO_LEDGER, "plan.json:1", code="no_ledger")
        full = DIGEST in record.plan.offers
        lacking = () if full else (DIGEST,)
        rows = [row for row in (*record.ledger, *record.probes) if row.kind == "decision" and row.outcome == "accepted"]
        answered = [row for row in rows if row.told]
        spans = drifted(record)
        steady = [row for row in answered if not _within(row, spans)]
        questions = _by_question(steady)
        causes, held = Wrongs(), record.held(AUDIT)
        for question, asked in questions.items():
            _compare(question, asked, full, causes)
        pairs = _pairs(answered, entries_of(held or ()))
        _recorded(pairs, full, causes)
        heard = answerers(record)
        varying = [one for one in heard if one.wrong and one.varies(record.first_injection_s)]
        _changed([one for one in heard if one not in varying], causes)
        if causes:
            return finding(self, Verdict.FAIL, str(causes), *causes.cited, code=causes.codes, missing=lacking)
        cited = span(rows or record.ledger) or ("ledger.jsonl:1",)
        again = [asked for asked in questions.values() if len(asked) > 1]
        code, why = _open(rows, answered, again, pairs, held is None)
        if code:
            event = record.first(Kind.READ_BACK)
            return self._left_open(code, why, *cited, event, lacking=lacking)
        if varying:
            why = (
                f"{', '.join(one.name for one in varying)} had no steady answer before anything was done to the target"
            )
            return self._left_open("answers_vary", why, varying[0].wrong[0][1].place, lacking=lacking)
        why = f"{sum(map(len, again))} answers to {len(again)} questions that were asked more than once are equal"
        why += f"; {len(pairs)} answers are on record as the clients got them"
        why += (
            f"; {len(answered) - len(steady)} were not compared: a fault had changed the configuration" if spans else ""
        )
        if looks := sum(len(one.looks) for one in heard):
            names = ", ".join(one.name for one in heard if one.looks)
            why += f"; {looks} answers to fixed questions are as they must be ({names})"
        return finding(self, Verdict.PASS, why, *cited, *span([entry for _, entry in pairs]), missing=lacking)

    def _left_open(self, code: str, why: str, *evidence: Any, lacking: tuple[str, ...]) -> Finding:
        return finding(self, Verdict.INCONCLUSIVE, why, *evidence, code=code, missing=lacking)


def _open(
    rows: Sequence[LedgerRow],
    answered: Sequence[LedgerRow],
    again: Sequence[Sequence[LedgerRow]],
    pairs: Sequence[tuple[LedgerRow, Entry]],
    unread: bool,
) -> tuple[str, str]:
    """(code, reason) of what keeps this from being judged; ("", "") for nothing."""
    if unread:
        return "not_read", not_read(AUDIT)
    if not rows:
        return "no_work", "no question was answered"
    if len(answered) < len(rows):
        lacking = len(rows) - len(answered)
        return "not_told", f"the clients' ledger lacks the answers to {lacking} of {len(rows)} questions"
    if not again:
        return "no_equal_questions", f"none of {len(rows)} questions was asked twice"
    if not pairs:
        return "no_entry", f"none of {len(rows)} answers names an entry of the audit trail"
    return "", ""


def drifted(record: Record) -> list[tuple[float, float]]:
    """Times in which a fault had changed the configuration that governance decides by."""
    found = []
    for fault in record.faults:
        if fault.injected is None or not (fault.step.type.startswith(CONFIG) or fault.step.target == CONFIG):
            continue
        ends = [event.at_s for event in (fault.ended, fault.healed) if event]
        found.append((fault.injected.at_s, (max(ends) if ends else record.end_s) + FOLLOWS_S))
    return found


def _within(row: LedgerRow, spans: Sequence[tuple[float, float]]) -> bool:
    begun_s = row.at_s - ASKED_S if row.begun_s is None else row.begun_s
    return any(start_s <= row.at_s and begun_s <= end_s for start_s, end_s in spans)


def _by_question(rows: Sequence[LedgerRow]) -> dict[str, list[LedgerRow]]:
    found: dict[str, list[LedgerRow]] = {}
    for row in rows:
        found.setdefault(row.question, []).append(row)
    return found


def _compare(question: str, asked: Sequence[LedgerRow], full: bool, causes: Wrongs) -> None:
    """Every answer with the first one."""
    first = asked[0]
    for row in asked[1:]:
        names = different(first.told, row.told, full)
        if names:
            words = f"answers to {question!r} differ in {', '.join(names)}"
            causes.note("differs", words, [(first.id, first), (row.id, row)])
            return


def different(one: Mapping[str, Any], other: Mapping[str, Any], full: bool) -> list[str]:
    """Return the names of the fields in which two answers differ; only those of FIELDS, unless *full*."""
    names = sorted({*one, *other} if full else {name for name in FIELDS if name in one and name in other})
    missing = object()
    return [name for name in names if _text(one.get(name, missing)) != _text(other.get(name, missing))]


def _text(value: Any) -> str:
    try:
        return canonical(value)
    except TypeError:
        return "(absent)"


def _changed(heard: Sequence[Answerer], causes: Wrongs) -> None:
    """Fixed questions, to models and to routes."""
    for kind, code, words in (
        ("model", "model_differs", "answers of models to a fixed question differ, and no fault damages these models"),
        ("route", "route_differs", "answers of routes lack what they must hold, or differ"),
    ):
        causes.note(code, words, [row for one in heard if one.kind == kind for row in one.wrong])


def _pairs(answered: Sequence[LedgerRow], entries: Sequence[Entry]) -> list[tuple[LedgerRow, Entry]]:
    """Each answer with its entry; audit_trail_kept judges that there is one."""
    found = by_reference(entries)
    return [(row, found[row.reference][0]) for row in answered if row.reference and row.reference in found]


def _recorded(pairs: Sequence[tuple[LedgerRow, Entry]], full: bool, causes: Wrongs) -> None:
    rows, also = [], []
    for row, entry in pairs:
        names = [] if entry.row.text("result") == row.answer else ["result"]
        if full:
            said = entry.payload.get("told")
            names += different(told_of(said) if isinstance(said, Mapping) else {}, row.told, full=True)
            cut_off = "reason" not in row.told and len(row.told) >= TOLD_MAX
            names += [] if cut_off or str(shortened(entry.reason)) == str(row.told.get("reason", "")) else ["reason"]
        if names:
            rows.append((f"{row.id}: {', '.join(dict.fromkeys(names))}", row))
            also.append(entry)
    causes.note("told_otherwise", "answers are on record otherwise than the clients got them", rows, also)


CHECK = AnswersAgree
