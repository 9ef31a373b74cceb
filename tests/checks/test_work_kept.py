"""work_kept: accepted work is held once, finished and as sent; each clause is seen green and red."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.checks.work_kept import RETRY_S
from harness.model import Verdict
from tests.drafts import CPU_END
from tests.ledgers import world
from tests.trails import NEW_FIELDS, OFFERS, Trail, found, trail

CHECK = "work_kept"
Break = Callable[[Trail], Any]


def held(made: Trail, name: str, number: int = 0) -> dict[str, Any]:
    return made.held[name][number]


def double(name: str) -> Break:
    return lambda made: made.held[name].append(dict(held(made, name)))


def change(name: str, **fields: Any) -> Break:
    return lambda made: held(made, name).update(fields)


def drop(name: str) -> Break:
    return lambda made: made.held[name].pop(0)


def stranger(name: str, **row: Any) -> Break:
    return lambda made: made.held[name].append({**held(made, name), **row})


def forget(name: str, field: str) -> Break:
    return lambda made: [row.pop(field) for row in made.held[name]]


def keep_turned_down(number: int, outcome: str) -> Break:
    def work(made: Trail) -> None:
        row = made.row(f"run-i{number}", flaw="" if outcome == "refused" else "negative_sla")
        made.held["intents"].append({**held(made, "intents"), "intent_id": row["id"]})

    return work


def answer_for_another(status: int, **more: Any) -> Break:
    """An intent that was lost, and answered so."""

    def work(made: Trail) -> None:
        row = made.row(held(made, "intents")["intent_id"])
        row.update(outcome="unanswered", status=status, lost=1, **more)
        drop("intents")(made)

    return work


RED: list[tuple[str, str, Break]] = [
    ("answered 2xx under another id", "answered_for_another", answer_for_another(202)),
    (
        "the same of an attack, refused afterwards",
        "answered_for_another",
        answer_for_another(429, user="htm_flood", misnamed=1),
    ),
    *((name, "lost", drop(name)) for name in ("intents", "retrospectives", "knowledge")),
    *((name, "doubled", double(name)) for name in ("intents", "retrospectives", "knowledge")),
    ("intent executed twice", "doubled", change("intents", executions=2)),
    ("retrospective executed twice", "doubled", change("retrospectives", executions=2)),
    ("never executed", "not_executed", change("intents", executions=0)),
    ("goal", "changed_field", lambda made: held(made, "intents")["intent"].update(goal="other")),
    ("nonce", "changed_field", lambda made: held(made, "intents")["intent"]["context"].update(nonce="other")),
    ("a field is gone", "changed_field", lambda made: held(made, "intents")["intent"].pop("created_by")),
    ("no row tells the intent", "changed_field", forget("intents", "intent")),
    ("events", "changed_field", change("retrospectives", events=[])),
    ("subject", "changed_field", change("retrospectives", subject="t")),
    ("tags", "changed_field", change("knowledge", tags='["x"]')),
    ("content", "changed_field", change("knowledge", content="d")),
    ("confidence", "changed_field", change("knowledge", confidence=0.9)),
    ("no row tells the tags", "changed_field", forget("knowledge", "tags")),
    ("open intent", "not_final", change("intents", status="executing")),
    ("open retrospective", "not_final", change("retrospectives", status="queued")),
    ("strange intent", "stranger", stranger("intents", intent_id="elsewhere-7")),
    ("strange retrospective", "stranger", stranger("retrospectives", id="elsewhere-7")),
    ("strange knowledge", "stranger", stranger("knowledge", id="elsewhere-7")),
    ("refused", "held_though_refused", keep_turned_down(8, "refused")),
    ("rejected", "held_though_rejected", keep_turned_down(9, "rejected")),
]


def only(made: Trail, **fields: Any) -> None:
    """None of the faults strikes what carries intents out, but for what *fields* say of the first one."""
    first, *others = (replace(one, target="rest") if one.target == "machine" else one for one in made.draft.plan.steps)
    made.draft.plan = replace(made.draft.plan, steps=(replace(first, **fields), *others))


@pytest.mark.parametrize(
    ("status", "fault", "verdict", "code"),
    [
        ("timeout", {}, Verdict.FAIL, "ended_unfinished"),
        ("failed", {}, Verdict.FAIL, "ended_unfinished"),
        ("timeout", {"type": "worker_stall"}, Verdict.PASS, "shown"),
        ("timeout", {"subject": "scheduler"}, Verdict.PASS, "shown"),
        ("timeout", {"target": "machine"}, Verdict.PASS, "shown"),
        ("failed", {"type": "worker_stall"}, Verdict.INCONCLUSIVE, "ended_unfinished"),
    ],
)
def test_work_that_was_given_up(
    tmp_path: Path, status: str, fault: dict[str, str], verdict: Verdict, code: str
) -> None:
    made = trail()
    only(made, **fault)
    change("intents", status=status)(made)
    one = found(CHECK, made.record(tmp_path))
    assert (one.verdict, one.code) == (verdict, f"work_kept.{code}"), one.because
    assert verdict is not Verdict.PASS or "ended as timeout" in one.because


@pytest.mark.parametrize(
    ("given_up", "of", "times", "verdict", "code"),
    [
        (1, 2, {}, Verdict.PASS, "shown"),
        (2, 99, {}, Verdict.INCONCLUSIVE, "many_given_up"),
        (58, 59, {}, Verdict.INCONCLUSIVE, "many_given_up"),
        (1, 2, {"accepted_at": 100.0, "completed_at": 100.01}, Verdict.FAIL, "ended_unfinished"),
        (1, 2, {"accepted_at": 100.0, "completed_at": 102.0}, Verdict.PASS, "shown"),
    ],
)
def test_only_a_little_is_given_up_for_a_fault_and_only_while_it_lasts(
    tmp_path: Path, given_up: int, of: int, times: dict[str, float], verdict: Verdict, code: str
) -> None:
    """The load on the CPU begins at 8.1 s, the first intent was accepted at 7 s."""
    made = trail()
    made.row("run-i1").update(at_s=7.0, begun_s=6.95)
    only(made)
    steps = tuple(
        replace(one, target="machine" if one.step_id == "cpu_spike" else "rest") for one in made.draft.plan.steps
    )
    made.draft.plan = replace(made.draft.plan, steps=steps)
    for number in range(10, 8 + of):
        made.ask("intent", number)
    for row in made.held["intents"][:given_up]:
        row.update(status="timeout", executions=0, result="", **times)
    one = found(CHECK, made.record(tmp_path))
    assert (one.verdict, one.code) == (verdict, f"work_kept.{code}"), one.because


def test_work_that_came_long_after_the_fault_is_not_given_up_for_it(tmp_path: Path) -> None:
    made = trail()
    made.at_s = CPU_END + RETRY_S + 1.0
    made.ask("intent", 50)
    made.held["intents"][-1].update(status="timeout", executions=0, result="")
    one = found(CHECK, made.record(tmp_path))
    assert (one.verdict, one.code) == (Verdict.FAIL, "work_kept.ended_unfinished"), one.because
    assert "run-i50: timeout" in one.because


def test_an_answer_that_was_lost_names_nobody(tmp_path: Path) -> None:
    made = trail()
    answer_for_another(0)(made)
    one = found(CHECK, made.record(tmp_path))
    assert (one.verdict, one.code) == (Verdict.PASS, "work_kept.shown"), one.because


def test_work_that_is_kept_passes(tmp_path: Path) -> None:
    one = found(CHECK, trail().record(tmp_path))
    assert (one.verdict, one.code, one.missing) == (Verdict.PASS, "work_kept.shown", ()), one.because
    assert any(place.startswith("target/knowledge.jsonl") for place in one.evidence)


@pytest.mark.parametrize(("what", "code", "broken"), RED, ids=[f"{code}: {what}" for what, code, _ in RED])
def test_each_clause_is_red(tmp_path: Path, what: str, code: str, broken: Break) -> None:
    made = trail()
    broken(made)
    one = found(CHECK, made.record(tmp_path))
    assert (one.verdict, one.code) == (Verdict.FAIL, f"work_kept.{code}"), one.because
    assert any(place.startswith(("target/", "ledger.jsonl:")) for place in one.evidence)


def test_a_changed_field_is_named_and_both_rows_are_cited(tmp_path: Path) -> None:
    made = trail()
    held(made, "intents")["intent"]["goal"] = "other"
    one = found(CHECK, made.record(tmp_path))
    assert "run-i1: goal" in one.because
    assert {"ledger.jsonl:1", "target/intents.jsonl:1"} <= set(one.evidence)


def test_another_form_of_the_same_value_is_no_change(tmp_path: Path) -> None:
    made = trail()
    change("knowledge", confidence=1, tags=["x", "y"])(made)
    change("retrospectives", events='["a", "b", "a"]')(made)
    assert found(CHECK, made.record(tmp_path)).verdict is Verdict.PASS


def test_what_was_there_before_the_run_is_no_stranger(tmp_path: Path) -> None:
    made = trail()
    made.held["knowledge"].insert(0, {"id": "handbook", "content": "c"})
    made.ledgers["knowledge"] = {"rows_before": 1}
    assert found(CHECK, made.record(tmp_path)).verdict is Verdict.PASS


def test_without_exclusive_only_ids_of_the_run_are_strange(tmp_path: Path) -> None:
    for name, verdict in (("elsewhere-7", Verdict.PASS), ("run-i77", Verdict.FAIL)):
        made = trail()
        made.offers = tuple(key for key in OFFERS if key != "exclusive")
        made.ledgers = {}
        stranger("intents", intent_id=name)(made)
        assert found(CHECK, made.record(tmp_path / name)).verdict is verdict


def test_a_start_that_nobody_knows_leaves_strangers_open(tmp_path: Path) -> None:
    made = trail()
    made.ledgers["intents"] = {"problem": "answers 503"}
    one = found(CHECK, made.record(tmp_path))
    assert (one.verdict, one.code) == (Verdict.INCONCLUSIVE, "work_kept.start_not_known")


def test_what_a_probe_asked_for_is_no_stranger(tmp_path: Path) -> None:
    """A probe's retrospective whose answer is lost may be held; a second one of the kind was never asked for."""
    for count, verdict in ((1, Verdict.PASS), (2, Verdict.FAIL)):
        made = trail()
        asked = {"subject": "probe", "events": ["a", "b"]}
        made.ask("retrospective", 7, user="probe", body={**asked, "nonce": ""}, id="named")
        lost = {"outcome": "unanswered", "status": 0, "lost": 1, "id": "probe-8", "reference": ""}
        made.ask("retrospective", 8, user="probe", body={**asked, "nonce": ""}, **lost)
        made.held["retrospectives"].pop()
        made.held["retrospectives"] += [
            {"id": f"x{number}", "status": "queued", "events": ["a", "b"], "subject": "probe"}
            for number in range(count)
        ]
        one = found(CHECK, made.record(tmp_path / str(count)))
        assert one.verdict is verdict, one.because


def test_the_probes_own_unfinished_work_is_not_the_runs(tmp_path: Path) -> None:
    made = trail()
    made.ask("retrospective", 7, user="probe", id="named")
    made.held["retrospectives"][-1]["status"] = "queued"
    assert found(CHECK, made.record(tmp_path)).verdict is Verdict.PASS


def test_a_request_without_an_answer_may_be_held_and_only_once(tmp_path: Path) -> None:
    for executions, verdict in ((1, Verdict.PASS), (2, Verdict.FAIL)):
        made = trail()
        made.row("run-i1").update(outcome="unanswered", status=0, lost=1)
        held(made, "intents")["executions"] = executions
        assert found(CHECK, made.record(tmp_path / str(executions))).verdict is verdict


def test_a_duplicate_that_was_rejected_does_not_count_as_held(tmp_path: Path) -> None:
    made = trail()
    made.turn_down("intent", 7, "rejected", "duplicate_intent", 409, valid=False, flaw="duplicate_id", id="run-i1")
    made.held["intents"].insert(
        0, {**held(made, "intents"), "intent_id": "run-i1", "intent": trail().held["intents"][0]["intent"]}
    )
    made.held["intents"][0]["result"] = made.row("run-i1")["proof"]
    assert found(CHECK, made.record(tmp_path)).verdict is Verdict.PASS


@pytest.mark.parametrize("name", ["intents", "retrospectives", "knowledge"])
def test_a_ledger_that_could_not_be_read_is_inconclusive(tmp_path: Path, name: str) -> None:
    made = trail()
    del made.held[name]
    one = found(CHECK, made.record(tmp_path))
    assert (one.verdict, one.code) == (Verdict.INCONCLUSIVE, "work_kept.not_read") and one.evidence


def test_clients_without_the_fields_sent_are_inconclusive(tmp_path: Path) -> None:
    made = trail()
    for row in made.sent or ():
        for field in NEW_FIELDS:
            row.pop(field, None)
    one = found(CHECK, made.record(tmp_path))
    assert (one.verdict, one.code) == (Verdict.INCONCLUSIVE, "work_kept.not_told")


def test_a_run_of_an_older_version_is_never_failed(tmp_path: Path) -> None:
    made = world()
    made.draft.plan = replace(made.draft.plan, offers=OFFERS)
    record = made.record(tmp_path)
    for check in ("work_kept", "execution_proven", "answers_agree", "audit_trail_kept"):
        assert found(check, record).verdict is Verdict.INCONCLUSIVE, check


def test_nothing_accepted_shows_nothing(tmp_path: Path) -> None:
    made = trail()
    made.sent = [row for row in made.sent or () if row["outcome"] != "accepted"]
    made.held = {name: [] for name in made.held}
    one = found(CHECK, made.record(tmp_path))
    assert (one.verdict, one.code) == (Verdict.INCONCLUSIVE, "work_kept.no_work")


def test_ledgers_that_the_manifest_lacks_are_named(tmp_path: Path) -> None:
    made = trail()
    made.offers = tuple(key for key in OFFERS if "knowledge" not in key and "retrospectives" not in key)
    del made.held["knowledge"], made.held["retrospectives"]
    one = found(CHECK, made.record(tmp_path))
    assert one.verdict is Verdict.PASS and one.missing == ("ledgers.retrospectives", "ledgers.knowledge")


def test_without_a_promise_only_fields_that_are_there_count(tmp_path: Path) -> None:
    made = trail()
    made.offers = tuple(key for key in OFFERS if "proof" not in key and "audit" not in key)
    for row in made.held["intents"]:
        row.pop("intent")
        row["priority"] = 5
    one = found(CHECK, made.record(tmp_path))
    assert one.verdict is Verdict.PASS and "ledgers.intents.proof" in one.missing, one.because
    made = trail()
    made.offers = tuple(key for key in OFFERS if "proof" not in key and "audit" not in key)
    held(made, "intents")["intent"]["goal"] = "other"
    assert found(CHECK, made.record(tmp_path / "changed")).code == "work_kept.changed_field"
