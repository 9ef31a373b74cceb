"""A log that was changed: whether its entries are what they were, by the target's doing, and its chain is whole."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness import catalog
from harness.model import Kind, Magnitude, Verdict
from tests.drafts import INJECTED
from tests.ledgers import World, world

PASS, FAIL, UNSURE = Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE
Change = Callable[[World], Any]
NAME = "log_corruption"


def story() -> World:
    """Two entries are changed, and a second later they are what they were."""
    made = world()
    asked = Magnitude(name="corrupted", value=2.0, unit="entries", tolerance=0.0)
    step = replace(made.draft.plan.steps[0], step_id=NAME, type=NAME, subject="immutable_log", asked=asked)
    made.draft.plan = replace(made.draft.plan, steps=(*made.draft.plan.steps, step))
    rows = [{"key": row["sequence"], "sha256": digest(row["payload"])} for row in made.held["audit"][2:4]]
    made.draft.add(INJECTED, Kind.FAULT_PLANNED, NAME, "conductor", type=NAME)
    made.draft.add(INJECTED, Kind.FAULT_INJECTED, NAME, "conductor", entries=rows, column="payload")
    made.draft.add(INJECTED, Kind.FAULT_ATTAINED, NAME, "conductor", achieved=2.0)
    achieved = {"mean": 2.0, "sd": 0.0, "p5": 2.0, "p95": 2.0, "n": 3.0}
    made.draft.add(INJECTED + 1, Kind.FAULT_ENDED, NAME, "conductor", ended_by="target", because="", achieved=achieved)
    return made


def digest(value: Any) -> str:
    return hashlib.sha256(str(value).encode()).hexdigest()


def same(made: World) -> None:
    """As it goes well."""


def by_the_plan(made: World) -> None:
    made.draft.change(Kind.FAULT_ENDED, NAME, ended_by="plan")


def all_but_one_in_time(made: World) -> None:
    """The target has mended all but one entry when the time was up."""
    made.draft.change(Kind.FAULT_ENDED, NAME, ended_by="plan", told={"still_damaged": [4], "mended": [3]})


def lost(made: World) -> None:
    made.draft.change(Kind.FAULT_ENDED, NAME, ended_by="lost", because="the entries were given back by this harness")


def not_ended(made: World) -> None:
    made.draft.drop(Kind.FAULT_ENDED, NAME)


def left_as_it_was_made(made: World) -> None:
    made.held["audit"][2]["payload"] = '{"risk":9}'


def chained_anew(made: World) -> None:
    left_as_it_was_made(made)
    made.rechain()


def gone(made: World) -> None:
    del made.held["audit"][3:]


def unread(made: World) -> None:
    del made.held["audit"]


def other_plan(made: World) -> None:
    made.draft.plan = replace(made.draft.plan, steps=made.draft.plan.steps[:-1])


CASES: list[tuple[str, Change, Verdict, str]] = [
    ("log_restored", same, PASS, "2 changed entries say again what they said"),
    ("log_restored", by_the_plan, FAIL, "2 of 2 changed entries were not made what they were by the target in its"),
    ("log_restored", all_but_one_in_time, FAIL, "1 of 2 changed entries were not made what they were"),
    ("log_restored", lost, UNSURE, "the fault ended by lost: the entries were given back by this harness"),
    ("log_restored", left_as_it_was_made, FAIL, "the log: 1 entry is not what its hash was made of"),
    ("log_restored", chained_anew, FAIL, "entry 3 does not say what it said before"),
    ("log_restored", gone, FAIL, "entry 4 is gone from the log"),
    ("log_restored", unread, UNSURE, "its ledger audit could not be read"),
    ("log_restored", not_ended, UNSURE, "did not come to its end"),
    ("log_restored", other_plan, UNSURE, "no fault of this plan changes the log"),
]


@pytest.mark.parametrize(("check", "change", "expected", "words"), CASES)
def test_check(tmp_path: Path, check: str, change: Change, expected: Verdict, words: str) -> None:
    made = story()
    change(made)
    finding = catalog.checks()[check](claim=check).check(made.record(tmp_path))
    assert (finding.verdict, words in finding.because) == (expected, True), finding
    assert finding.evidence or expected is UNSURE
