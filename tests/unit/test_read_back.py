"""Reading back what the target holds: every page, after it had its time, and never for longer than it may last."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from harness.contracts import LedgerPage
from harness.read_back import PAGES_MAX, STALLED_S, TRIES, read_back
from tests.drafts import PaperTarget
from tests.fake_target import Answer, FakeServer, as_json, serving

PAGE = LedgerPage(url="/intents?since={next}&limit=2", rows="intents")
AUDIT = LedgerPage(url="/audit?since={next}", rows="entries")


@dataclass
class Clock:
    """Time passes where somebody waits."""

    now_s: float = 0.0
    waits: int = 0

    def now(self) -> float:
        return self.now_s

    def pause(self, seconds: float) -> None:
        self.now_s += max(seconds, 0.01)
        self.waits += 1


@dataclass
class Held:
    """The intents of a target; *finish* of them are completed more after each look at all of them."""

    rows: list[dict[str, Any]]
    finish: int = 0
    asked: list[int] = field(default_factory=list)

    def answer(self, path: str) -> Answer:
        since = int(parse_qs(urlsplit(path).query)["since"][0])
        self.asked.append(since)
        page = self.rows[since : since + 2]
        told = as_json({"intents": page, "next": since + len(page)})
        for row in [row for row in self.rows if row["status"] != "completed"][: 0 if page else self.finish]:
            row["status"] = "completed"
        return told


def intents(count: int, status: str = "completed") -> list[dict[str, Any]]:
    return [{"intent_id": f"r-{n}", "status": status, "executions": 1} for n in range(count)]


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with serving() as fake:
        yield fake


def target(server: FakeServer, **ledgers: LedgerPage) -> PaperTarget:
    return PaperTarget(base_url=server.base_url, ledgers=ledgers)


def rows_of(folder: Path, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "target" / f"{name}.jsonl").read_text().split("\n")[:-1]]


def test_every_page_is_read_and_kept_as_it_is(server: FakeServer, tmp_path: Path) -> None:
    held = Held(intents(5))
    held.rows[3]["note"] = "ä\u2028\n"
    server.answers["/intents"] = held.answer
    assert read_back(target(server, intents=PAGE), tmp_path, {"intents": {"r-0", "r-4"}}, 5.0) == []
    assert rows_of(tmp_path, "intents") == held.rows
    assert held.asked == [0, 2, 4, 5] and {seen[2] for seen in server.seen} == {"127.0.0.3"}


def test_it_waits_until_all_that_was_accepted_is_completed(server: FakeServer, tmp_path: Path) -> None:
    held, clock = Held(intents(6, "executing"), finish=1), Clock()
    server.answers["/intents"] = held.answer
    wanted = {f"r-{n}" for n in range(6)}
    assert read_back(target(server, intents=PAGE), tmp_path, {"intents": wanted}, 60.0, clock.now, clock.pause) == []
    assert [row["status"] for row in rows_of(tmp_path, "intents")] == ["completed"] * 6
    assert held.asked.count(0) == 3 < held.asked.count(4) == 7, "pages that cannot change any more are not read again"


def test_a_target_that_finishes_nothing_more_is_not_waited_for_to_the_end(server: FakeServer, tmp_path: Path) -> None:
    held, clock = Held([*intents(3), *intents(1, "created")]), Clock()
    server.answers["/intents"] = held.answer
    problems = read_back(
        target(server, intents=PAGE), tmp_path, {"intents": {"r-1", "gone"}}, 300.0, clock.now, clock.pause
    )
    assert problems == ["ledger intents still lacked 1 of 2 at the end: gone"]
    assert STALLED_S <= clock.now_s < STALLED_S + 2 and len(rows_of(tmp_path, "intents")) == 4


def test_the_deadline_ends_the_waiting(server: FakeServer, tmp_path: Path) -> None:
    clock = Clock()
    page = LedgerPage(url="/intents?since={next}", rows="intents")
    server.answers["/intents"] = lambda path: as_json(
        {"intents": intents(1, "created") if path.endswith("=0") else [], "next": 1}
    )
    problems = read_back(target(server, intents=page), tmp_path, {"intents": {"r-0"}}, 3.0, clock.now, clock.pause)
    assert problems and 3.0 <= clock.now_s < 4.0


def test_the_audit_is_read_last_and_waited_for_by_reference(server: FakeServer, tmp_path: Path) -> None:
    looks: list[str] = []

    def audit(path: str) -> Answer:
        looks.append(path)
        entries = [{"sequence": 1, "reference": "a"}, {"sequence": 2, "reference": "b"}]
        known = entries[: 1 if len(looks) < 4 else 2]
        since = int(path.rpartition("=")[2])
        return as_json({"entries": known[since:], "next": len(known)})

    clock = Clock()
    server.answers = {"/audit": audit, "/intents": Held(intents(1)).answer}
    both = target(server, audit=AUDIT, intents=PAGE)
    assert read_back(both, tmp_path, {"audit": {"a", "b"}}, 30.0, clock.now, clock.pause) == []
    assert [row["reference"] for row in rows_of(tmp_path, "audit")] == ["a", "b"]
    assert [seen[1].partition("?")[0] for seen in server.seen][:2] == ["/intents", "/intents"]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Answer(status=404), "answers 404"),
        (Answer(body=b"<html>"), "does not answer with JSON"),
        (as_json({"rows": []}), "has no list of rows called 'intents'"),
        (as_json({"intents": [1]}), "has no list of rows called 'intents'"),
        (as_json({"intents": [{}], "next": 0}), "no next cursor that goes on"),
        (as_json({"intents": [{}]}), "no next cursor that goes on"),
    ],
)
def test_a_ledger_that_cannot_be_read_is_said_and_leaves_no_file(
    server: FakeServer, tmp_path: Path, answer: Answer, words: str
) -> None:
    clock = Clock()
    server.answers = {"/intents": answer, "/audit": as_json({"entries": [], "next": 0})}
    both = target(server, intents=PAGE, audit=AUDIT)
    problems = read_back(both, tmp_path, {}, 30.0, clock.now, clock.pause)
    assert len(problems) == 1 and words in problems[0] and "ledger intents could not be read" in problems[0]
    assert not (tmp_path / "target" / "intents.jsonl").exists() and rows_of(tmp_path, "audit") == []
    assert len([seen for seen in server.seen if seen[1].startswith("/intents")]) <= 2 * TRIES


def test_a_page_that_a_busy_target_refuses_is_asked_for_again(server: FakeServer, tmp_path: Path) -> None:
    answers = [Answer(status=503), Answer(status=504)]
    held, clock = Held(intents(2)), Clock()
    server.answers["/intents"] = lambda path: answers.pop() if answers else held.answer(path)
    assert read_back(target(server, intents=PAGE), tmp_path, {}, 30.0, clock.now, clock.pause) == []
    assert len(rows_of(tmp_path, "intents")) == 2


def test_a_ledger_without_end_is_given_up(server: FakeServer, tmp_path: Path) -> None:
    clock = Clock()
    server.answers["/intents"] = lambda path: as_json(
        {"intents": [{"intent_id": "x", "status": "created"}], "next": int(path.split("=")[1].split("&")[0]) + 1}
    )
    problems = read_back(target(server, intents=PAGE), tmp_path, {}, 30.0, clock.now, clock.pause)
    assert problems == [f"ledger intents could not be read: it has more than {PAGES_MAX} pages"]


def test_a_cursor_is_the_targets_own_word(server: FakeServer, tmp_path: Path) -> None:
    pages = {"0": (["a"], "k&x=/1"), "k%26x%3D%2F1": (["b"], "end"), "end": ([], "end")}

    def answer(path: str) -> Answer:
        names, following = pages[path.partition("since=")[2].partition("&")[0]]
        return as_json({"intents": [{"intent_id": name} for name in names], "next": following})

    server.answers["/intents"] = answer
    assert read_back(target(server, intents=PAGE), tmp_path, {}, 5.0) == []
    assert [row["intent_id"] for row in rows_of(tmp_path, "intents")] == ["a", "b"]
