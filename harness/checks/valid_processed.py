"""Every valid request was taken and done once: no intent is lost, none is doubled, and the target invented none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from harness.checks import finding, put_off, unkept
from harness.ledger import COMPLETED, HELD_IN, NO_LEDGER, HeldRow, LedgerRow, Wrongs, not_read, span
from harness.model import Finding, Verdict
from harness.record import Record

LEDGER, ID = HELD_IN["intent"]
RETRO = "retrospective"


@dataclass(frozen=True, kw_only=True)
class ValidProcessed:
    """Of an attack all valid requests must have been accepted, for it tries again as it is told to. A legitimate
    user may have been deferred; what was accepted of theirs is held to the same.
    """

    claim: str
    deferring: Sequence[str] = ()  # the playbooks that defer work
    of_whole_ledger: ClassVar[tuple[str, ...]] = ("stranger", "retrospective_stranger")
    sources: ClassVar[tuple[str, ...]] = (
        "ledger.jsonl",
        "target/intents.jsonl",
        "target/retrospectives.jsonl",
        "timeline: playbook_finished, playbook_started, safeguard_engaged, safeguard_released",
    )

    def check(self, record: Record) -> Finding:
        if record.ledger is None:
            return finding(self, Verdict.INCONCLUSIVE, NO_LEDGER, record.looked("ledger.jsonl"), code="no_ledger")
        valid = [row for row in record.ledger if row.valid]
        accepted = [row for row in valid if row.outcome == "accepted"]
        wrong = Wrongs()
        excused = record.deferred_by_others(valid, self.deferring)
        lines = {row.line for row, _ in excused}
        _not_taken([row for row in valid if row.line not in lines], _completed(record.held(LEDGER) or ()), wrong)
        intents = [row for row in valid if row.kind == "intent"]
        held = record.held(LEDGER)
        if held is not None:
            _compare(intents, record.ledger, held, wrong)
        analyses = record.held(HELD_IN[RETRO][0])
        _analysed(valid, record.ledger, analyses, wrong)
        if wrong:
            return finding(self, Verdict.FAIL, str(wrong), *wrong.cited, code=wrong.codes)
        if excused:
            return put_off(self, excused)
        if not accepted:
            why = "no valid request was sent"
            return finding(self, Verdict.INCONCLUSIVE, why, record.looked("ledger.jsonl"), code="nothing_sent")
        if intents and held is None:
            why = not_read(LEDGER)
            return finding(self, Verdict.INCONCLUSIVE, why, record.looked(f"target/{LEDGER}.jsonl"), code="not_read")
        if analyses is None and any(row.kind == RETRO for row in accepted):
            why = not_read(HELD_IN[RETRO][0])
            return finding(
                self, Verdict.INCONCLUSIVE, why, record.looked("target/retrospectives.jsonl"), code="not_read"
            )
        if untold := _untold(intents, held or ()):
            return finding(self, Verdict.INCONCLUSIVE, str(untold), *untold.cited, code="executions_unknown")
        if lacks := unkept(record):
            return finding(self, Verdict.INCONCLUSIVE, lacks, record.looked("ledger.jsonl"), code="no_attack_rows")
        done = sum(row.kind == "intent" for row in accepted)
        why = (
            f"{len(accepted)} of {len(valid)} valid requests were accepted; {done} of them intents, each executed once"
        )
        return finding(self, Verdict.PASS, why, *span(accepted), *span(held or ()))


def _analysed(
    valid: Sequence[LedgerRow], sent: Sequence[LedgerRow], held: Sequence[HeldRow] | None, wrong: Wrongs
) -> None:
    """The retrospectives, where the target tells of them: see retros_completed."""
    if held is None:
        return
    ours, by_id = [row for row in valid if row.kind == RETRO], {row.text(HELD_IN[RETRO][1]): row for row in held}
    done = {one for one, row in by_id.items() if row.text("status") == COMPLETED}
    open_ones = [(row.id, row) for row in ours if row.outcome == "accepted" and row.id not in done]
    wrong.add("accepted retrospectives are lost or not completed", open_ones, code="retrospective_lost")
    wrong.add("retrospectives are held that nobody sent", _strange(by_id, ours, sent), code="retrospective_stranger")


def _strange(
    by_id: Mapping[str, HeldRow], ours: Sequence[LedgerRow], sent: Sequence[LedgerRow]
) -> list[tuple[str, HeldRow]]:
    """What is held under an id of this run that was never sent; a target that lives on also holds other runs'."""
    known, prefixes = {row.id for row in sent}, {row.id.partition("-")[0] for row in ours}
    return [(one, row) for one, row in by_id.items() if one not in known and one.partition("-")[0] in prefixes]


def _untold(intents: Sequence[LedgerRow], held: Sequence[HeldRow]) -> Wrongs:
    """Accepted intents that are completed, and of which the target does not say how often it executed them."""
    accepted, untold = {row.id for row in intents if row.outcome == "accepted"}, Wrongs()
    rows = [row for row in held if row.text(ID) in accepted and row.fields.get("executions") is None]
    words = "completed intents: the target does not tell how often it executed them"
    untold.add(words, [(row.text(ID), row) for row in rows], code="executions_unknown")
    return untold


def _completed(held: Sequence[HeldRow]) -> set[str]:
    return {row.text(ID) for row in held if row.text("status") == COMPLETED}


def _not_taken(valid: Sequence[LedgerRow], completed: set[str], wrong: Wrongs) -> None:
    rejected = [(f"{row.id}: {row.status}", row) for row in valid if row.outcome == "rejected"]
    wrong.add("valid requests were rejected", rejected, code="rejected")
    refused = [(row.id, row) for row in valid if row.attack and row.outcome == "refused"]
    wrong.add("valid requests were refused to the end", refused, code="refused")
    silent = [(row.id, row) for row in valid if row.attack and row.outcome == "unanswered" and row.id not in completed]
    wrong.add("valid requests were never answered, and the target has not completed them", silent, code="unanswered")


def _compare(intents: Sequence[LedgerRow], sent: Sequence[LedgerRow], held: Sequence[HeldRow], wrong: Wrongs) -> None:
    """The clients' intents with those of the target."""
    by_id: dict[str, list[HeldRow]] = {}
    for row in held:
        by_id.setdefault(row.text(ID), []).append(row)
    accepted = [row for row in intents if row.outcome == "accepted"]
    wrong.add("accepted intents are lost", [(row.id, row) for row in accepted if row.id not in by_id], code="lost")
    found = [row for one in accepted for row in by_id.get(one.id, ())[:1]]
    undone = [(row.text(ID), row) for row in found if row.text("status") != COMPLETED]
    wrong.add("accepted intents are not completed", undone, code="not_completed")
    done = [row for row in found if row.text("status") == COMPLETED]
    never = [(row.text(ID), row) for row in done if row.fields.get("executions") == 0]
    wrong.add("accepted intents are called completed, and were never executed", never, code="never_executed")
    often = [row for row in done if row.fields.get("executions") not in (0, 1, None)]  # None: see _untold
    maybe = {row.id for row in intents if row.outcome == "unanswered"}
    often += [
        rows[0] for one, rows in by_id.items() if one in maybe and rows[0].fields.get("executions") not in (0, 1, None)
    ]
    wrong.add("intents were not executed just once", [(_executed(row), row) for row in often], code="executed_often")
    ours = {row.id for row in intents}
    twice = [(one, rows[1]) for one, rows in by_id.items() if one in ours and len(rows) > 1]
    wrong.add("intents are held twice", twice, code="held_twice")
    kept = [(row.id, by_id[row.id][0]) for row in intents if row.outcome in ("refused", "rejected") and row.id in by_id]
    wrong.add("intents were refused, and yet the target holds them", kept, code="refused_yet_held")
    firsts = {one: rows[0] for one, rows in by_id.items()}
    wrong.add("intents are held that nobody sent", _strange(firsts, intents, sent), code="stranger")


def _executed(row: HeldRow) -> str:
    return f"{row.text(ID)}: executions {row.text('executions')}"


CHECK = ValidProcessed
