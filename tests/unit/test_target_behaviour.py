"""The manifest's `behaviour` is read as written, or refused with its line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.contracts import TargetError
from harness.target_behaviour import QUESTIONS_MAX
from tests.fake_target import target

ASKED = {"name": "q", "method": "POST", "path": "/check", "body": {"a": 1}, "ignore": ["id", "rows.at"]}


def test_questions_are_read(tmp_path: Path) -> None:
    ledgers = {"knowledge": {"url": "/k?since={next}", "rows": "k"}}
    counting = {"name": "n", "method": "GET", "path": "/n", "counts": {"index.entries": "knowledge"}}
    one, two = target(tmp_path, behaviour=[ASKED, counting], ledgers=ledgers).behaviour
    assert (one.name, one.method, one.path, one.body) == ("q", "POST", "/check", {"a": 1})
    assert one.ignore == ("id", "rows.at") and one.counts == {}
    assert (two.body, two.ignore, two.counts) == (None, (), {"index.entries": "knowledge"})
    assert "behaviour" in target(tmp_path, behaviour=[ASKED]).offers
    assert target(tmp_path).behaviour == ()


@pytest.mark.parametrize(
    ("questions", "words"),
    [
        ([{"name": "q", "path": "/x"}], "behaviour[0].method is missing"),
        ([{**ASKED, "method": "POTS"}], "behaviour[0].method: 'POTS' is not known. Did you mean 'POST'?"),
        ([{**ASKED, "path": "http://example.org/x"}], "behaviour[0].path: a path from / on is expected"),
        ([{**ASKED, "ignored": []}], "ignored"),
        ([ASKED, ASKED], "behaviour[1]: 'q' stands here twice"),
        ([{**ASKED, "counts": {"n": "knowlege"}}], "behaviour[0].counts.n: no ledger is called 'knowlege'."),
        ([{**ASKED, "ignore": [["a"]]}], "behaviour[0].ignore"),
        ({"q": ASKED}, "behaviour"),
        ([{**ASKED, "name": f"q{n}"} for n in range(QUESTIONS_MAX + 1)], f"{QUESTIONS_MAX} are the limit"),
    ],
)
def test_what_is_no_question_is_refused_with_its_line(tmp_path: Path, questions: Any, words: str) -> None:
    with pytest.raises(TargetError) as caught:
        target(tmp_path, behaviour=questions)
    line = next(one for one in str(caught.value).splitlines() if words in one)
    assert line.split(":")[1].isdigit(), "each problem names its line"
