"""execution_proven: a result that an execution does not give is red, and so is none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.model import Verdict
from tests.trails import OFFERS, found, trail

CHECK = "execution_proven"


def test_results_that_prove_the_execution_pass(tmp_path: Path) -> None:
    one = found(CHECK, trail().record(tmp_path))
    assert (one.verdict, one.missing) == (Verdict.PASS, ()) and "2 intents, 2 retrospectives" in one.because


@pytest.mark.parametrize("name", ["intents", "retrospectives"])
@pytest.mark.parametrize(("result", "code"), [("", "no_result"), (None, "no_result"), ("0" * 64, "wrong_result")])
def test_a_result_without_an_execution_fails(tmp_path: Path, name: str, result: Any, code: str) -> None:
    made = trail()
    made.held[name][1]["result"] = result
    one = found(CHECK, made.record(tmp_path))
    assert (one.verdict, one.code) == (Verdict.FAIL, f"execution_proven.{code}")
    assert f"target/{name}.jsonl:2" in one.evidence and any("ledger.jsonl" in place for place in one.evidence)


def test_the_result_of_another_request_fails(tmp_path: Path) -> None:
    made = trail()
    first, second = made.held["intents"]
    first["result"], second["result"] = second["result"], first["result"]
    assert found(CHECK, made.record(tmp_path)).code == "execution_proven.wrong_result"


def test_accepted_work_that_was_never_completed_proves_nothing(tmp_path: Path) -> None:
    made = trail()
    for row in made.held["retrospectives"]:
        row["status"] = "queued"
    one = found(CHECK, made.record(tmp_path))
    assert (one.verdict, one.code) == (Verdict.INCONCLUSIVE, "execution_proven.no_work")


@pytest.mark.parametrize(
    ("undone", "verdict", "code"), [(2, Verdict.PASS, "shown"), (3, Verdict.INCONCLUSIVE, "few_completed")]
)
def test_a_few_that_were_completed_prove_nothing_of_the_others(
    tmp_path: Path, undone: int, verdict: Verdict, code: str
) -> None:
    made = trail()
    for number in (3, 4):
        made.ask("intent", number)
    for row in made.held["intents"][:undone]:
        row.update(status="timeout", executions=0, result="")
    one = found("execution_proven", made.record(tmp_path))
    assert (one.verdict, one.code) == (verdict, f"execution_proven.{code}"), one.because


def test_no_accepted_work_is_inconclusive(tmp_path: Path) -> None:
    made = trail()
    made.sent = [row for row in made.sent or () if row["kind"] == "decision"]
    assert found(CHECK, made.record(tmp_path)).code == "execution_proven.no_work"


def test_a_kind_that_nobody_asked_for_is_not_needed(tmp_path: Path) -> None:
    made = trail()
    made.sent = [row for row in made.sent or () if row["kind"] != "retrospective"]
    assert found(CHECK, made.record(tmp_path)).verdict is Verdict.PASS


def test_clients_that_tell_no_proof_are_inconclusive(tmp_path: Path) -> None:
    made = trail()
    made.row("run-i1")["proof"] = ""
    assert found(CHECK, made.record(tmp_path)).code == "execution_proven.not_told"


def test_a_ledger_that_was_not_read_is_inconclusive(tmp_path: Path) -> None:
    made = trail()
    del made.held["intents"]
    assert found(CHECK, made.record(tmp_path)).code == "execution_proven.not_read"


def test_without_proof_in_the_manifest_it_is_not_judged(tmp_path: Path) -> None:
    made = trail()
    made.offers = tuple(key for key in OFFERS if "proof" not in key)
    one = found(CHECK, made.record(tmp_path))
    assert not one.judged and one.missing == ("ledgers.intents.proof", "ledgers.retrospectives.proof")
