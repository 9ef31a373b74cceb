"""An attack that changes nothing a ledger could hold cannot be judged by it: all_requests_processed names it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from harness.checks.all_requests_processed import AllRequestsProcessed
from harness.model import Magnitude, Verdict
from tests.ledgers import world


def test_an_attack_of_which_no_row_is_in_the_ledger_is_named(tmp_path: Path) -> None:
    made = world()
    spam = replace(
        made.draft.plan.steps[-1],
        step_id="api_spam",
        type="api_spam",
        asked=Magnitude(name="sent", value=7.0, unit="requests", tolerance=0.0),
    )
    made.draft.plan = replace(made.draft.plan, steps=(*made.draft.plan.steps, spam))
    for row in made.sent or ():
        row["id"] = row["id"].replace("run-", "run-api_flood-")
    found = AllRequestsProcessed(claim="all_requests_processed").check(made.record(tmp_path))
    assert found.verdict is Verdict.INCONCLUSIVE
    said = "none of them is of api_spam: what it sends changes nothing that a ledger holds, so it cannot be judged here"
    assert "the ledger has 13 requests of the attacks, and 20 were planned; " + said in found.because
