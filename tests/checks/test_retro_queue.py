"""The queue of retrospectives: its end was met and kept, was not, or nobody met it."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness import catalog
from harness.model import Verdict
from harness.traffic import RequestRow
from tests.checks.test_ledger_checks import Change, both, no_ledger, same, without
from tests.drafts import END
from tests.ledgers import FLOOD, World, world

PASS, FAIL, UNSURE = Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE
ROUTE = "POST /api/meta_loop/retrospective"


def told(name: str, *values: float) -> Change:
    """What the target told of it, a sample a second."""

    def change(world: World) -> None:
        others = [row for row in world.draft.signals if row[1] != f"retro_queue_{name}"]
        world.draft.signals = others + [(10.0 + n, f"retro_queue_{name}", "", value) for n, value in enumerate(values)]

    return change


def at_end(depth: float) -> Change:
    return lambda world: world.draft.signals.append((END - 0.5, "retro_queue_depth", "", depth))


def answered(outcome: str, status: int, count: int, at_s: float = 12.0) -> Change:
    row = RequestRow(at_s, FLOOD, ROUTE, outcome, status, count, ((3, count),))
    return lambda world: world.draft.requests.append(row)


FILLED = both(told("bound", 60, 60, 60, 60, 60), told("refused", 2, 42, 42, 42, 42), told("depth", 0, 60, 58, 20, 0))
MET = both(FILLED, answered("ok", 202, 100), answered("shed", 503, 40))
CASES: list[tuple[str, Change, Verdict, str]] = [
    ("retro_queue_managed", MET, PASS, "60 waited at most, 60 may; 40 were told to come again, and at 14.0 s none"),
    ("retro_queue_managed", both(MET, told("refused", 2, 42, 0, 3)), PASS, "none waited"),
    ("retro_queue_managed", both(MET, told("depth", 0, 61, 0)), FAIL, "61 waited at 11.0 s, and the queue is said to"),
    ("retro_queue_managed", both(MET, told("bound", 60, 100), told("depth", 0, 90, 0)), FAIL, "to end at 60"),
    ("retro_queue_managed", both(MET, told("depth", 0, 60, 0, 4)), UNSURE, "4 waited at 13.0 s, and nobody told what"),
    ("retro_queue_managed", both(MET, told("depth", 0, 60, 0), at_end(4)), FAIL, "4 still waited at its last sample"),
    ("retro_queue_managed", both(MET, answered("failed", 503, 3)), FAIL, "3 were answered 503 and not told when"),
    ("retro_queue_managed", both(MET, told("refused", 2, 2)), UNSURE, "at 60 was never met: 60 waited at most"),
    ("retro_queue_managed", both(FILLED, answered("ok", 202, 100)), UNSURE, "was never met"),
    # it was met before the attack, and by nobody since
    (
        "retro_queue_managed",
        both(FILLED, answered("ok", 202, 100, 13.5), answered("shed", 503, 40, 13.5)),
        UNSURE,
        "was never met",
    ),
    ("retro_queue_managed", both(MET, answered("ok", 202, 1, END - 1)), UNSURE, "not told after the last request"),
    ("retro_queue_managed", both(MET, told("depth")), UNSURE, "the target tells no depth"),
    ("retro_queue_managed", both(MET, told("bound")), UNSURE, "the target tells no depth or no bound"),
    ("retro_queue_managed", both(MET, without(kind="retrospective")), UNSURE, "no attack asked for retrospectives"),
    ("retro_queue_managed", both(same, no_ledger), UNSURE, "kept no ledger"),
]


@pytest.mark.parametrize(("check", "change", "expected", "words"), CASES)
def test_check(tmp_path: Path, check: str, change: Change, expected: Verdict, words: str) -> None:
    made = world()
    change(made)
    finding = catalog.checks()[check](claim=check).check(made.record(tmp_path))
    assert (finding.verdict, words in finding.because) == (expected, True), finding
    assert finding.evidence or expected is UNSURE
