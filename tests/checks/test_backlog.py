"""The queue behind a full disk: worked off meanwhile, standing still, or empty all along."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from harness import catalog
from harness.model import Kind, Verdict
from tests.drafts import Draft, healthy

PASS, FAIL, UNSURE = Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE
CHECK, DEPTH, STEP = "backlog_worked_off", "htm_queue_depth", "cpu_spike"  # which of the story fills the disk here
FULL_S, ROOM_S = 10.1, 15.1
Change = Callable[[Draft], None]


def waiting(*depths: float) -> Change:
    """A second apart, the first just before the disk is full."""

    def act(draft: Draft) -> None:
        draft.signals = [row for row in draft.signals if row[1] != DEPTH]
        draft.signals += [(FULL_S - 0.5 + n, DEPTH, "", depth) for n, depth in enumerate(depths)]

    return act


def both(first: Change, second: Change) -> Change:
    def act(draft: Draft) -> None:
        first(draft)
        second(draft)

    return act


def short(draft: Draft) -> None:
    draft.drop(Kind.FAULT_ATTAINED, STEP)


def another(draft: Draft) -> None:
    draft.plan = replace(draft.plan, steps=tuple(replace(step, type="acl_flood") for step in draft.plan.steps))


WORKED = waiting(400, 300, 150, 0, 0, 0)
CASES: list[tuple[str, Change, Verdict, str]] = [
    (CHECK, WORKED, PASS, "of 400 that waited when the disk was full 0 still did 5 s later"),
    (CHECK, waiting(400, 380, 300, 250, 200, 200), PASS, "200 still did"),
    (CHECK, waiting(400, 400, 400, 400, 400, 400), FAIL, "of 400 that waited when the disk was full 400 still did"),
    (CHECK, waiting(400, 500, 600, 900, 1200, 1500), FAIL, "1500 still did"),
    (CHECK, waiting(3, 0, 0, 0, 0, 0), UNSURE, "3 waited when the disk was full"),
    (CHECK, waiting(0, 400, 0, 0, 0, 0), UNSURE, ": 0 waited when"),
    (CHECK, waiting(), UNSURE, "nobody told how many waited"),
    (CHECK, both(WORKED, short), UNSURE, "it never reached"),
    (CHECK, both(WORKED, another), UNSURE, "no fault of this plan fills a disk"),
]


@pytest.mark.parametrize(("check", "change", "expected", "words"), CASES)
def test_check(tmp_path: Path, check: str, change: Change, expected: Verdict, words: str) -> None:
    draft = healthy()
    steps = (replace(step, type="disk_full") if step.step_id == STEP else step for step in draft.plan.steps)
    draft.plan = replace(draft.plan, steps=tuple(steps))
    draft.change(Kind.FAULT_ATTAINED, STEP, at_s=FULL_S)
    draft.change(Kind.FAULT_ENDED, STEP, at_s=ROOM_S)
    change(draft)
    finding = catalog.checks()[check](claim=check).check(draft.record(tmp_path))
    assert (finding.verdict, words in finding.because) == (expected, True), finding
    assert finding.evidence or expected is UNSURE
