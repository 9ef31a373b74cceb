"""What the target knows: all of it once, or lost, doubled, bare, or trusted as it cannot be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness import catalog
from harness.model import Kind, Verdict
from tests.drafts import END
from tests.ledgers import World, world

PASS, FAIL, UNSURE = Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE
CHECK = "knowledge_whole"
Change = Callable[[World], None]


def piece(number: int, **changes: Any) -> dict[str, Any]:
    """Of a source that is known well, and fresh: 0.30 + 0.25 x 0.8 + 0 + 0.15 + 0.10 x 0.9."""
    row = {"number": number, "id": f"k{number}", "category": "platform", "content": "a sentence", "source": "handbook"}
    return {**row, "tags": '["grace"]', "confidence": 0.9, "used": 0, "trust": 0.74, **changes}


def knows(*pieces: dict[str, Any]) -> Change:
    def act(made: World) -> None:
        made.held["knowledge"] = list(pieces)

    return act


def unread(made: World) -> None:
    """Nobody asked."""


def without(piece: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in piece.items() if name not in names}


CASES: list[tuple[str, Change, Verdict, str]] = [
    (
        CHECK,
        knows(*map(piece, range(1, 5))),
        PASS,
        "4 pieces of knowledge, each once, none gone from between, 4 trusted",
    ),
    (CHECK, knows(piece(1), piece(2, trust=None)), PASS, "1 trusted"),
    (CHECK, knows(without(piece(1), "used")), PASS, "1 trusted"),
    (CHECK, knows(piece(1), piece(3)), FAIL, "1 times a piece is gone (between 1 and 3)"),
    (CHECK, knows(piece(1), piece(2, id="k1")), FAIL, "1 pieces are there twice"),
    (CHECK, knows(piece(1), piece(2, content="")), FAIL, "have no id or no content"),
    (CHECK, knows(piece(1, trust=1.4)), FAIL, "k1: 1.4, from 0.39 to 0.79 it may be"),
    (CHECK, knows(piece(1, trust=0.1)), FAIL, "trusted as their parts do not allow"),
    (CHECK, knows(piece(1, source="", trust=0.74)), FAIL, "from 0.32 to 0.71 it may be"),
    (CHECK, knows(without(piece(1, trust=7.0), "used")), FAIL, "from 0.00 to 1.00 it may be"),
    (CHECK, knows(), UNSURE, "the target knows nothing"),
    (CHECK, knows(without(piece(1), "number")), UNSURE, "not each piece has a number"),
    (CHECK, unread, UNSURE, "knowledge"),
]


@pytest.mark.parametrize(("check", "change", "expected", "words"), CASES)
def test_check(tmp_path: Path, check: str, change: Change, expected: Verdict, words: str) -> None:
    made = world()
    change(made)
    finding = catalog.checks()[check](claim=check).check(made.record(tmp_path))
    assert (finding.verdict, words in finding.because) == (expected, True), finding
    assert finding.evidence or expected is UNSURE


def failed_to_read(made: World) -> None:
    problems = ["ledger knowledge could not be read: its time was up, after 0 pages"]
    made.draft.add(END - 1.0, Kind.READ_BACK, made.draft.plan.scenario_id, "run", rows=1, problems=problems)


@pytest.mark.parametrize(
    ("change", "expected", "words"),
    [
        (knows(piece(1), piece(2)), PASS, "2 pieces of knowledge"),
        (knows(piece(1), piece(3)), FAIL, "the knowledge: 1 times a piece is gone"),
        (failed_to_read, UNSURE, "the knowledge: "),
        (unread, PASS, "the target does not tell what it knows"),
    ],
)
def test_a_state_is_consistent_only_with_its_knowledge(
    tmp_path: Path, change: Change, expected: Verdict, words: str
) -> None:
    made = world()
    made.draft.plan = replace(made.draft.plan, steps=made.draft.plan.steps[:3])  # without the flood of the ledgers
    change(made)
    finding = catalog.checks()["state_consistent"](claim="state consistent").check(made.record(tmp_path))
    assert (finding.verdict, words in finding.because) == (expected, True), finding
