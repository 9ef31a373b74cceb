"""answers_agree: equal questions get equal answers, as the audit trail holds them; each clause green and red."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.model import Verdict
from tests.drafts import INJECTED
from tests.trails import NEW_FIELDS, OFFERS, answer_to, found, trail

CHECK = "answers_agree"
FIELDS = ("decision", "allowed", "approved", "requires_approval", "risk_score", "reason")
OTHER: dict[str, Any] = {"decision": "review", "risk_score": 0.3, "reason": "another"}


def test_equal_answers_that_are_on_record_pass(tmp_path: Path) -> None:
    one = found(CHECK, trail().record(tmp_path))
    assert (one.verdict, one.missing) == (Verdict.PASS, ()) and "6 answers to 3 questions" in one.because, one.because
    assert any(place.startswith("target/audit.jsonl") for place in one.evidence)


@pytest.mark.parametrize("field", FIELDS)
def test_an_answer_that_differs_in_a_field_fails(tmp_path: Path, field: str) -> None:
    made = trail()
    row = made.row("run-d3")
    value = OTHER.get(field, not row["told"][field])
    row["told"] = {**row["told"], field: value}
    entry = made.entry(row["reference"])
    entry["payload"]["told"] = {**entry["payload"]["told"], field: value}
    one = found(CHECK, made.record(tmp_path))
    assert (one.verdict, one.code) == (Verdict.FAIL, "answers_agree.differs") and field in one.because
    assert len([place for place in one.evidence if place.startswith("ledger.jsonl")]) >= 2


@pytest.mark.parametrize("field", FIELDS)
def test_an_answer_that_is_on_record_otherwise_fails(tmp_path: Path, field: str) -> None:
    made = trail()
    entry = made.entry(made.row("run-d3")["reference"])
    entry["payload"]["told"][field] = OTHER.get(field, not entry["payload"]["told"][field])
    one = found(CHECK, made.record(tmp_path))
    assert (one.verdict, one.code) == (Verdict.FAIL, "answers_agree.told_otherwise") and field in one.because


@pytest.mark.parametrize("change", [{"result": "review"}, {"payload": {"reason": "risk 0.2: allow"}}])
def test_a_record_of_another_result_or_no_answer_fails(tmp_path: Path, change: dict[str, Any]) -> None:
    made = trail()
    made.entry(made.row("run-d3")["reference"]).update(change)
    assert found(CHECK, made.record(tmp_path)).code == "answers_agree.told_otherwise"


def test_another_reason_on_record_fails(tmp_path: Path) -> None:
    made = trail()
    made.entry(made.row("run-d3")["reference"])["payload"]["reason"] = "another"
    one = found(CHECK, made.record(tmp_path))
    assert one.code == "answers_agree.told_otherwise" and "reason" in one.because


@pytest.mark.parametrize(("kind", "verdict"), [("config_corruption", Verdict.PASS), ("model_corruption", Verdict.FAIL)])
def test_a_changed_configuration_may_change_answers(tmp_path: Path, kind: str, verdict: Verdict) -> None:
    made = trail()
    step = replace(made.draft.plan.steps[0], type=kind)
    made.draft.plan = replace(made.draft.plan, steps=(step, *made.draft.plan.steps[1:]))
    for number in (5, 7):
        made.ask("decision", number, decision="allow", at_s=2.0 + number / 10, begun_s=2.0)
    made.ask("decision", 9, decision="review", at_s=INJECTED + 0.5, begun_s=INJECTED + 0.4)
    for row in made.sent or ():
        if row["kind"] == "decision" and row["id"] in ("run-d1", "run-d3"):
            row.update(at_s=3.0, begun_s=2.9)
    one = found(CHECK, made.record(tmp_path))
    assert one.verdict is verdict, one.because
    assert ("a fault had changed the configuration" in one.because) is (verdict is Verdict.PASS)


def test_an_answer_after_the_configuration_was_restored_counts(tmp_path: Path) -> None:
    made = trail()
    step = replace(made.draft.plan.steps[0], type="config_corruption")
    made.draft.plan = replace(made.draft.plan, steps=(step, *made.draft.plan.steps[1:]))
    for number, decision in ((5, "allow"), (7, "review")):
        made.ask("decision", number, decision=decision, at_s=30.0 + number / 10, begun_s=30.0)
    assert found(CHECK, made.record(tmp_path)).code == "answers_agree.differs"


def test_no_question_asked_twice_is_inconclusive(tmp_path: Path) -> None:
    made = trail()
    kept = ("run-d1", "run-d2")
    made.sent = [row for row in made.sent or () if row["kind"] != "decision" or row["id"] in kept]
    assert found(CHECK, made.record(tmp_path)).code == "answers_agree.no_equal_questions"


def test_clients_that_do_not_tell_their_answers_are_inconclusive(tmp_path: Path) -> None:
    made = trail()
    for row in made.sent or ():
        for field in NEW_FIELDS:
            row.pop(field, None)
    assert found(CHECK, made.record(tmp_path)).code == "answers_agree.not_told"


def test_a_log_that_was_not_read_is_inconclusive(tmp_path: Path) -> None:
    record = trail().record(tmp_path)
    (record.folder / "target" / "audit.jsonl").unlink()
    one = found(CHECK, type(record).load(record.folder))
    assert one.code == "answers_agree.not_read" and one.evidence


def test_without_digests_only_the_known_fields_are_compared(tmp_path: Path) -> None:
    made = trail()
    made.offers = tuple(key for key in OFFERS if key != "audit.digest")
    for number, row in enumerate(made.sent or ()):
        if row["kind"] == "decision":
            row["told"] = {**row["told"], "took_ms": number}
    for one in made.entries:
        one["payload"].pop("told", None)
    agreed = found(CHECK, made.record(tmp_path / "green"))
    assert agreed.verdict is Verdict.PASS and agreed.missing == ("audit.digest",), agreed.because
    made = trail()
    made.offers = tuple(key for key in OFFERS if key != "audit.digest")
    made.row("run-d3")["told"] = answer_to("review")
    assert found(CHECK, made.record(tmp_path / "red")).code == "answers_agree.differs"


def test_without_an_audit_trail_it_is_not_judged(tmp_path: Path) -> None:
    made = trail()
    made.offers = tuple(key for key in OFFERS if "audit" not in key)
    one = found(CHECK, made.record(tmp_path))
    assert not one.judged and one.missing == ("ledgers.audit",)


@pytest.mark.parametrize("more", [{"reason": "r" * 600}, {f"z{number}": number for number in range(40, 10, -1)}])
def test_long_answers_are_compared_as_they_were_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: dict[str, Any]
) -> None:
    monkeypatch.setattr("tests.trails.answer_to", lambda decision: {**answer_to(decision), **more})
    one = found("answers_agree", trail().record(tmp_path))
    assert one.verdict is Verdict.PASS, one.because
